"""What every :class:`netlink.interface.Kernel` promises: one suite for the fake and the real one.

A module subclasses :class:`KernelContract` and provides the fixture ``world``. Each test begins
with an empty SAD and SPD.
"""

import asyncio
import dataclasses
import errno
from collections.abc import Sequence

import pytest

from netlink.errors import KernelClosed
from netlink.interface import Counts
from netlink.model import (
    AddPolicy,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    Direction,
    Operation,
    PolicyAction,
    PolicyAdded,
    PolicyDeleted,
    PolicyExpired,
    ReplayState,
    SaAdded,
    SaDeleted,
    ShortenSa,
    UpdatePolicy,
)
from tests.support.contract_world import FOREIGN_OWNER, World, applied, expired, moved, names, spis
from tests.support.xfrm_values import (
    AES,
    GCM,
    OWNER,
    PAIRS,
    SHA1,
    Pair,
    add_sa,
    name_of,
    policy,
    security_association,
)


class KernelContract:
    """The promises. Versions are of IP."""

    # --- associations ----------------------------------------------------------------------------

    @pytest.mark.parametrize("version", [4, 6])
    async def test_an_association_is_added_seen_and_deleted(
        self, world: World, version: int
    ) -> None:
        """What was added is in the dump and found by identity, value by value, until deleted."""
        sa = security_association(version=version, hard_add_seconds=240)
        await applied(world.kernel, add_sa(sa))

        (seen,) = await world.kernel.dump_sas()
        assert await world.kernel.get_sa(sa.id) == seen
        absent = sa.id._replace(spi=sa.id.spi ^ 1)
        assert await world.kernel.get_sas((absent, sa.id)) == (None, seen)
        assert (seen.id, seen.source, seen.reqid) == (sa.id, sa.source, sa.reqid)
        assert (seen.selector, seen.mode) == (sa.selector, sa.mode)
        assert (seen.hard_add_seconds, seen.replay_window) == (240, 64)
        assert (seen.replay_failures, seen.integrity_failures) == (0, 0)
        assert abs(seen.current.add_time - world.now()) <= 2
        assert (seen.current.bytes, seen.current.packets, seen.current.use_time) == (0, 0, 0)

        await applied(world.kernel, DeleteSa(sa.id))
        assert await world.kernel.dump_sas() == []
        assert await world.kernel.get_sa(sa.id) is None

    @pytest.mark.parametrize("window", [0, 1, 32, 33, 64, 4096])
    async def test_a_replay_window_is_kept_in_either_form(self, world: World, window: int) -> None:
        """None, the legacy byte up to 32 packets, and the attribute beyond read back the same."""
        sa = security_association(replay_window=window)
        await applied(world.kernel, add_sa(sa))

        (seen,) = await world.kernel.dump_sas()
        assert seen.replay_window == window

    @pytest.mark.parametrize("window", [0, 32, 64, 4096])
    @pytest.mark.parametrize("version", [4, 6])
    async def test_an_association_goes_on_with_its_sequence_numbers(
        self, world: World, window: int, version: int
    ) -> None:
        """RFC 4303 3.3.3: what an earlier SA sent and received is kept, and told at its end."""
        sa = security_association(replay_window=window, version=version)
        numbers = ReplayState(sent=0xFF00_0000, received=0x0123_4567)
        await applied(world.kernel, add_sa(sa, numbers))
        await applied(world.foreign, DeleteSa(sa.id))

        await world.wait_for(SaDeleted(sa.id, OWNER, world.foreign.port_id, numbers))

    async def test_an_association_is_unique_by_destination_and_spi(self, world: World) -> None:
        """A second one of the same identity is refused whatever else differs."""
        first = security_association(1, hard_add_seconds=100)
        other = dataclasses.replace(
            first, reqid=first.reqid + 1, hard_add_seconds=50, source="203.0.113.9"
        )
        await applied(world.kernel, add_sa(first))

        assert names(await world.kernel.commit([add_sa(other)])) == ["EEXIST"]
        (seen,) = await world.kernel.dump_sas()
        assert (seen.reqid, seen.hard_add_seconds) == (first.reqid, 100)
        await applied(world.kernel, add_sa(security_association(2)))
        assert await spis(world.kernel) == [1, 2]

    async def test_what_does_not_exist_is_refused_by_name(self, world: World) -> None:
        """Operations on missing objects have their errno: ESRCH for SAs, ENOENT for policies."""
        sa, demand = security_association(), policy()
        outcomes = await world.kernel.commit(
            [DeleteSa(sa.id), ShortenSa(sa), moved(sa, 1), DeletePolicy(demand.id)]
        )

        assert names(outcomes) == ["ESRCH", "ESRCH", "ESRCH", "ENOENT"]
        assert await world.kernel.get_policy(demand.id) is None

    async def test_an_unknown_algorithm_is_refused_in_the_kernels_words(
        self, world: World
    ) -> None:
        """The extended acknowledgement says which algorithm it was."""
        unknown = dataclasses.replace(SHA1, name="hmac(nobody)")
        outcome, *_ = await world.kernel.commit(
            [add_sa(security_association(pair=(unknown, AES)))]
        )

        assert outcome is not None
        assert outcome.errno == errno.ENOSYS
        assert outcome.message == "Requested AUTH_TRUNC algorithm not found"

    async def test_an_unknown_combined_algorithm_is_refused_in_the_kernels_words(
        self, world: World
    ) -> None:
        """It has an attribute and words of its own."""
        unknown = dataclasses.replace(GCM, name="rfc4106(gcm(nobody))")
        outcome, *_ = await world.kernel.commit(
            [add_sa(security_association(pair=(None, unknown)))]
        )

        assert outcome is not None
        assert (outcome.name, outcome.message) == ("ENOSYS", "Requested AEAD algorithm not found")

    async def test_a_limit_of_packets_stays_when_the_time_is_shortened(self, world: World) -> None:
        """UPDSA writes all limits, so each request must name this one again."""
        sa = security_association(pair=(None, GCM), hard_add_seconds=1000, hard_packets=1 << 23)
        await applied(world.kernel, add_sa(sa))
        assert (await world.kernel.dump_sas())[0].hard_packets == 1 << 23

        await applied(world.kernel, ShortenSa(dataclasses.replace(sa, hard_add_seconds=500)))
        (seen,) = await world.kernel.dump_sas()
        assert (seen.hard_add_seconds, seen.hard_packets) == (500, 1 << 23)

    @pytest.mark.parametrize("pair", PAIRS, ids=name_of)
    @pytest.mark.parametrize("version", [4, 6])
    async def test_every_pair_of_algorithms_is_taken(
        self, world: World, pair: Pair, version: int
    ) -> None:
        """The pairs of RFC 3329 and TS 33.203 Annex H can be added, shortened and deleted."""
        sa = security_association(version=version, pair=pair)
        await applied(world.kernel, add_sa(sa), ShortenSa(sa), DeleteSa(sa.id))

    # --- batches ---------------------------------------------------------------------------------

    async def test_an_error_in_a_batch_stops_nothing_else(self, world: World) -> None:
        """Each operation has its own outcome, in order; what could be done was done."""
        one, two = security_association(1), security_association(2)
        outcomes = await world.kernel.commit(
            [
                add_sa(one),
                add_sa(one),
                DeleteSa(security_association(99).id),
                AddPolicy(policy(5060)),
                AddPolicy(policy(5060)),
                DeletePolicy(policy(5999).id),
                add_sa(two),
            ]
        )

        assert names(outcomes) == ["", "EEXIST", "ESRCH", "", "EEXIST", "ENOENT", ""]
        assert await spis(world.kernel) == [1, 2]
        assert len(await world.kernel.dump_policies()) == 1

    async def test_a_batch_of_errors_only_is_told_completely(self, world: World) -> None:
        """More errors than a default receive buffer holds are all reported."""
        ids = [security_association(spi).id for spi in range(1, 1001)]
        outcomes = await world.kernel.commit([DeleteSa(sa_id) for sa_id in ids])

        assert names(outcomes) == ["ESRCH"] * 1000

    async def test_callers_of_one_turn_hear_of_their_own_errors(self, world: World) -> None:
        """Commits that share a send keep their outcomes apart."""
        sets: list[list[Operation]] = [
            [AddPolicy(policy(5000 + i)), DeleteSa(security_association(i + 1).id)]
            for i in range(50)
        ]
        sets[7][0] = DeletePolicy(policy(9999).id)
        outcomes = await asyncio.gather(*(world.kernel.commit(one) for one in sets))

        expected = [["", "ESRCH"]] * 50
        expected[7] = ["ENOENT", "ESRCH"]
        assert [names(one) for one in outcomes] == expected
        assert len(await world.kernel.dump_policies()) == 49

    async def test_what_cannot_be_said_is_refused_before_anything_is_done(
        self, world: World
    ) -> None:
        """A ValueError leaves the kernel as it was."""
        bad: Sequence[Operation] = [AddPolicy(policy(1)), AddPolicy(policy(priority=1 << 32))]

        with pytest.raises(ValueError, match="does not fit"):
            await world.kernel.commit(bad)
        assert await world.kernel.dump_policies() == []
        assert await world.kernel.commit([]) == ()

    async def test_tables_are_counted(self, world: World) -> None:
        """The counts are those of the dumps, anybody's objects included."""
        assert await world.kernel.count() == Counts(sas=0, policies=0)
        await applied(world.kernel, add_sa(security_association(1)), AddPolicy(policy(1)))
        await applied(world.foreign, AddPolicy(policy(2)), AddPolicy(policy(3)))

        assert await world.kernel.count() == Counts(sas=1, policies=3)

    # --- policies --------------------------------------------------------------------------------

    @pytest.mark.parametrize("version", [4, 6])
    @pytest.mark.parametrize("direction", Direction)
    @pytest.mark.parametrize("action", PolicyAction)
    async def test_a_policy_is_added_seen_and_deleted(
        self, world: World, version: int, direction: Direction, action: PolicyAction
    ) -> None:
        """What was added is in the dump and found by identity, value by value, until deleted."""
        wanted = policy(version=version, direction=direction, action=action, hard_add_seconds=600)
        await applied(world.kernel, AddPolicy(wanted))

        (seen,) = await world.kernel.dump_policies()
        assert await world.kernel.get_policy(wanted.id) == seen
        assert (seen.id, seen.action, seen.priority) == (wanted.id, wanted.action, wanted.priority)
        assert (seen.template, seen.hard_add_seconds) == (wanted.template, 600)
        assert seen.index & 7 == direction
        assert abs(seen.add_time - world.now()) <= 2

        await applied(world.kernel, DeletePolicy(wanted.id))
        assert await world.kernel.dump_policies() == []

    async def test_a_policy_is_unique_by_direction_and_selector(self, world: World) -> None:
        """Another priority or template is the same policy; another owner or direction is not."""
        first = policy(priority=1)
        await applied(world.kernel, AddPolicy(first))
        block = policy(priority=2, action=PolicyAction.BLOCK)
        assert names(await world.kernel.commit([AddPolicy(block)])) == ["EEXIST"]

        others = [
            policy(owner=FOREIGN_OWNER),
            policy(direction=Direction.IN),
            policy(5061),
        ]
        await applied(world.kernel, *map(AddPolicy, others))
        assert len(await world.kernel.dump_policies()) == 4

    async def test_a_policy_is_replaced_or_created_by_update(self, world: World) -> None:
        """UPDPOLICY changes everything but the identity and the handle, and creates if absent."""
        first = policy(priority=1)
        await applied(world.kernel, UpdatePolicy(first))
        (before,) = await world.kernel.dump_policies()
        block = policy(priority=2, action=PolicyAction.BLOCK, hard_add_seconds=77)
        await applied(world.kernel, UpdatePolicy(block))

        (after,) = await world.kernel.dump_policies()
        assert (after.priority, after.action, after.template) == (2, PolicyAction.BLOCK, None)
        assert (after.hard_add_seconds, after.index) == (77, before.index)

    # --- lifetimes -------------------------------------------------------------------------------

    async def test_limits_end_associations_and_policies(self, world: World) -> None:
        """After its hard limit each is gone, with a notice; what has none stays."""
        short, endless = security_association(1, hard_add_seconds=1), security_association(2)
        demand = policy(1, hard_add_seconds=1)
        await applied(world.kernel, add_sa(short), add_sa(endless))
        await applied(world.kernel, AddPolicy(demand), AddPolicy(policy(2)))

        await world.wait_for(expired(short))
        await world.wait_for(PolicyExpired(demand.id, hard=True))
        assert await spis(world.kernel) == [2]
        assert [p.id for p in await world.kernel.dump_policies()] == [policy(2).id]

    async def test_a_shortened_association_ends_early_and_keeps_its_keys(
        self, world: World
    ) -> None:
        """UPDSA moves the limit, counted from the original add time; nothing else changes."""
        sa = security_association(1, hard_add_seconds=1000)
        await applied(world.kernel, add_sa(sa))
        before = await world.kernel.get_sa(sa.id)
        await applied(world.kernel, ShortenSa(dataclasses.replace(sa, hard_add_seconds=2)))

        assert before is not None
        assert await world.kernel.get_sa(sa.id) == dataclasses.replace(before, hard_add_seconds=2)
        await world.wait_for(expired(sa))
        assert await spis(world.kernel) == []

    async def test_a_lengthened_association_outlives_its_limit(self, world: World) -> None:
        """NEWAE moves the origin of the limit, even into the future, and writes the counters."""
        kept, clock = (security_association(spi, hard_add_seconds=2) for spi in (1, 2))
        later = int(world.now()) + 300
        await applied(world.kernel, add_sa(kept), moved(kept, later, packets=7))
        seen = await world.kernel.get_sa(kept.id)

        assert seen is not None
        assert seen.current == CurrentLifetime(bytes=700, packets=7, add_time=later, use_time=0)
        await applied(world.kernel, add_sa(clock))
        await world.wait_for(expired(clock))
        assert await spis(world.kernel) == [1]

    # --- notices ---------------------------------------------------------------------------------

    async def test_changes_are_told_with_their_author(self, world: World) -> None:
        """Every change is a notice with owner and port: our own port for what we did."""
        sa, demand = security_association(), policy()
        await applied(world.kernel, add_sa(sa), AddPolicy(demand))
        await applied(world.foreign, DeleteSa(sa.id), DeletePolicy(demand.id))
        ours, theirs = world.kernel.port_id, world.foreign.port_id
        await world.wait_for(PolicyDeleted(demand.id, theirs))

        assert ours != theirs
        assert world.events == [
            SaAdded(sa.id, OWNER, ours),
            PolicyAdded(demand.id, ours),
            SaDeleted(sa.id, OWNER, theirs, ReplayState()),
            PolicyDeleted(demand.id, theirs),
        ]

    async def test_updates_are_told_as_additions(self, world: World) -> None:
        """UPDSA and UPDPOLICY are notices too."""
        sa, demand = security_association(), policy()
        await applied(world.kernel, add_sa(sa), AddPolicy(demand))
        await applied(world.foreign, ShortenSa(sa), UpdatePolicy(demand))
        theirs = world.foreign.port_id

        await world.wait_for(SaAdded(sa.id, OWNER, theirs))
        await world.wait_for(PolicyAdded(demand.id, theirs))

    async def test_what_failed_is_not_told(self, world: World) -> None:
        """A refused operation leaves no notice."""
        sa = security_association()
        await applied(world.kernel, add_sa(sa))
        await world.kernel.commit([add_sa(sa), DeleteSa(security_association(9).id)])
        await applied(world.kernel, DeleteSa(sa.id))
        port = world.kernel.port_id
        gone = SaDeleted(sa.id, OWNER, port, ReplayState())
        await world.wait_for(gone)

        assert world.events == [SaAdded(sa.id, OWNER, port), gone]

    # --- others ----------------------------------------------------------------------------------

    async def test_objects_of_others_stay_and_are_told_apart(self, world: World) -> None:
        """Deleting ours touches nobody else's, and the owner tag says whose is whose."""
        ours, theirs = security_association(1), security_association(2, owner=FOREIGN_OWNER)
        await applied(world.foreign, add_sa(theirs), AddPolicy(policy(owner=FOREIGN_OWNER)))
        await applied(world.kernel, add_sa(ours), AddPolicy(policy()))
        await applied(world.kernel, DeleteSa(ours.id), DeletePolicy(policy().id))

        assert [sa.selector.owner for sa in await world.kernel.dump_sas()] == [FOREIGN_OWNER]
        (left,) = await world.kernel.dump_policies()
        assert left.id.selector.owner == FOREIGN_OWNER

    async def test_tables_of_thousands_are_dumped_whole(self, world: World) -> None:
        """Every SA of many is in the dump once, and the loop has its turns meanwhile."""
        count = 3000
        operations = [add_sa(security_association(spi)) for spi in range(1, count + 1)]
        assert set(await world.kernel.commit(operations)) == {None}

        turns = 0
        dump = asyncio.create_task(world.kernel.dump_sas())
        while not dump.done():
            await asyncio.sleep(0)
            turns += 1
        assert sorted(sa.id.spi for sa in await dump) == list(range(1, count + 1))
        assert turns >= 2
        assert (await world.kernel.count()).sas == count

    async def test_a_closed_kernel_says_so(self, world: World) -> None:
        """Every request after close raises KernelClosed, and closing twice is harmless."""
        world.kernel.close()
        world.kernel.close()

        for request in (
            world.kernel.commit([DeleteSa(security_association().id)]),
            world.kernel.dump_sas(),
            world.kernel.dump_policies(),
            world.kernel.get_sa(security_association().id),
            world.kernel.get_policy(policy().id),
            world.kernel.count(),
        ):
            with pytest.raises(KernelClosed):
                await request
