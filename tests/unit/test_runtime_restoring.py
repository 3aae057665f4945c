"""A population from another node: each set whole or not at all, and every refusal told."""

import asyncio
import dataclasses
import errno
from collections.abc import AsyncIterator

import pytest
from msgspec import structs

from netlink.model import ReplayState, SaId
from netlink.secret import Secret
from sad.core.nonces import BLOCK
from sad.core.rebuilding import first_record
from sad.core.restoring import advance
from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.cluster import CounterSnapshot, StoredSet
from sad.model.errors import JournalUnavailable, KernelRefused, MechanismUnavailable
from sad.runtime.installs import Installs
from sad.runtime.restoring import AT_ONCE, Restoring
from tests.support.make import CK, IK
from tests.support.rebuilding import memory, settled, take_away
from tests.support.shell import USER, Shell, grant_of, second_request, ue_request, until

AES = "aes-cbc"


class Nodes:
    """The node that had it all, and the one that takes it over; one clock for both."""

    def __init__(self) -> None:
        self.old = Shell()
        self.new = Shell(clock=self.old.clock, records=memory())
        self.noted: list[CounterSnapshot] = []
        self.restoring = Restoring(
            self.new.shared, Installs(self.new.shared, self.new.endings), self.noted.append
        )

    def stored(self, one: Association, counters: CounterSnapshot | None = None) -> StoredSet:
        return StoredSet(
            association=one, keys=first_record(one, Secret(IK), Secret(CK)), counters=counters
        )

    def going(
        self, *sets: Association, received: int = 0
    ) -> list[tuple[StoredSet, CounterSnapshot]]:
        """What etcd gives of these sets, and the numbers they go on with."""
        population = []
        for one in sets:
            known = CounterSnapshot(
                association_id=one.id,
                read_at=self.old.clock.realtime(),
                sent=(17, 4),
                received=(received, received),
            )
            stored = self.stored(one, known)
            advanced = advance(stored, self.new.clock.realtime())
            assert advanced is not None
            population.append((stored, advanced))
        return population


@pytest.fixture
async def nodes() -> AsyncIterator[Nodes]:
    made = Nodes()
    for shell in (made.old, made.new):
        await shell.reconciler.reconcile("the endpoints' block policies")
    yield made
    await made.new.shared.background.drain()


def sas(shell: Shell) -> dict[SaId, tuple[object, ...]]:
    return {
        i: (s.sa.reqid, s.sa.selector, s.sa.mode, s.integrity_key, s.encryption_key, s.limit)
        for i, s in shell.tables.sas.items()
    }


async def test_a_population_is_the_same_at_the_new_node(nodes: Nodes) -> None:
    """SAs with keys and limits, policies, table, journal, deadlines: as if they were its own."""
    population = [
        await nodes.old.install(ue_request(n, encryption_algorithm=AES))
        for n in range(AT_ONCE + 9)
    ]
    first = await nodes.old.install()
    await nodes.old.service.confirm(USER, grant_of(first.id, 600))
    population.append(nodes.old.shared.table.get(first.id) or first)
    population.append(await nodes.old.install(second_request()))
    going = nodes.going(*population, received=4711)

    restored = await nodes.restoring.restore(going)

    assert set(restored.in_force) == {a.id for a in population}
    assert (restored.expired, restored.forbidden, restored.refused) == ((), (), {})
    assert sas(nodes.new) == sas(nodes.old)
    assert nodes.new.snapshot == nodes.old.snapshot
    for stored, _ in going:
        one = nodes.new.shared.table.get(stored.association.id)
        assert one is not None
        assert one == structs.replace(
            stored.association, phase=Phase.INSTALLED, policies_until=one.policies_until
        )
        assert nodes.new.journal.rows[one.id] == one
        for sa_id in ids(one):
            replay = nodes.new.tables.sas[sa_id].replay
            inbound = sa_id.destination == one.sa_set.local_address
            wanted = ReplayState(received=4711) if inbound else ReplayState(sent=BLOCK)
            assert replay == wanted
    assert {c.association_id: c for c in nodes.noted} == {
        stored.association.id: counters for stored, counters in going
    }
    assert not await differences(nodes.new)


def ids(one: Association) -> list[SaId]:
    s = one.sa_set
    return [SaId(s.local_address, spi) for spi in s.local_spis] + [
        SaId(s.peer_address, spi) for spi in s.peer_spis
    ]


async def differences(shell: Shell) -> int:
    """How much the reconciler finds to mend."""
    report = await shell.reconciler.reconcile("a test")
    return report.repaired + report.ended + report.removed


async def test_what_was_taken_over_is_an_ordinary_set(nodes: Nodes) -> None:
    """It is confirmed, refreshed, expires and is released as any other of this node."""
    before = nodes.new.snapshot
    one = await nodes.old.install()
    await nodes.restoring.restore(nodes.going(one))

    await nodes.new.service.confirm(USER, grant_of(one.id, 600))
    confirmed = nodes.new.shared.table.get(one.id)
    assert confirmed is not None
    assert confirmed.state is AssociationState.ESTABLISHED
    await nodes.new.expire(700)
    assert nodes.new.snapshot == before
    assert nodes.new.journal.rows == {}


async def test_it_is_rebuilt_above_its_numbers_if_this_kernel_loses_it(nodes: Nodes) -> None:
    """The sealed record begins where the takeover did."""
    one = await nodes.old.install()
    await nodes.restoring.restore(nodes.going(one, received=99))
    for sa_id in ids(one):
        take_away(nodes.new, sa_id)

    await settled(nodes.new)

    replays = [nodes.new.tables.sas[sa_id].replay for sa_id in ids(one)]
    assert replays == [ReplayState(received=99)] * 2 + [ReplayState(sent=2 * BLOCK)] * 2


@pytest.mark.parametrize("message", range(1, 15))
async def test_a_refused_set_leaves_nothing_and_keeps_no_other_away(
    nodes: Nodes, message: int
) -> None:
    """All or nothing, with errno and the kernel's words, whichever message is refused."""
    sets = [await nodes.old.install(ue_request(number)) for number in range(3)]
    nodes.new.kernel.fail_message(message, errno.ENOMEM, "out of luck")

    restored = await nodes.restoring.restore(nodes.going(*sets))

    ((refused, error),) = restored.refused.items()
    assert isinstance(error, KernelRefused)
    assert (error.errno, error.message) == (errno.ENOMEM, "out of luck")
    assert set(restored.in_force) == {a.id for a in sets} - {refused}
    assert nodes.new.shared.table.get(refused) is None
    assert set(nodes.new.journal.rows) == set(restored.in_force)
    others = [a for a in sets if a.id != refused]
    assert set(nodes.new.tables.sas) == {i for a in others for i in ids(a)}
    assert not await differences(nodes.new)


async def test_lost_answers_are_a_refusal_and_leave_nothing(nodes: Nodes) -> None:
    """On doubt the kernel is asked, and what had come of the set goes again."""
    one = await nodes.old.install()
    nodes.new.kernel.lose_answers(applied=6)

    restored = await nodes.restoring.restore(nodes.going(one))

    assert list(restored.refused) == [one.id]
    assert not nodes.new.tables.sas
    assert not await differences(nodes.new)


async def test_a_journal_that_cannot_be_written_is_told_for_each(nodes: Nodes) -> None:
    """Nothing is in the kernel that the journal does not know."""
    sets = [await nodes.old.install(ue_request(number)) for number in range(3)]
    nodes.new.journal.full = True

    restored = await nodes.restoring.restore(nodes.going(*sets))

    assert {type(e) for e in restored.refused.values()} == {JournalUnavailable}
    assert len(restored.refused) == len(sets)
    assert not nodes.new.tables.sas


async def test_who_is_no_longer_the_owner_installs_nothing_more(nodes: Nodes) -> None:
    """It is asked for each set at the last moment."""
    sets = [await nodes.old.install(ue_request(number)) for number in range(3)]
    answers = iter([True, False, False])

    restored = await nodes.restoring.restore(nodes.going(*sets), lambda: next(answers))

    (there,) = restored.in_force
    assert set(restored.forbidden) == {a.id for a in sets} - {there}
    assert {s.sa.reqid for s in nodes.new.tables.sas.values()} == {
        r for a in sets if a.id == there for r in (a.reqid_in, *a.reqid_out)
    }
    assert set(nodes.new.journal.rows) == {there}


async def test_what_is_over_is_not_brought_back(nodes: Nodes) -> None:
    """T24-P-12: a deadline that has passed on the way is one."""
    short = await nodes.old.install(ue_request(1))
    long = await nodes.old.install(ue_request(2))
    long = structs.replace(long, deadline_at=long.deadline_at + 1000)
    ended = await nodes.old.install(ue_request(3))
    ended = structs.replace(ended, state=AssociationState.ENDED, end_reason=EndReason.RELEASED)
    going = nodes.going(short, long, ended)
    nodes.old.clock.advance(short.deadline_at - nodes.old.clock.boottime())

    restored = await nodes.restoring.restore(going)

    assert restored.in_force == (long.id,)
    assert set(restored.expired) == {short.id, ended.id}


async def test_what_cannot_go_on_says_so(nodes: Nodes) -> None:
    """A mechanism without keys of ours to carry on with."""
    one = await nodes.old.install()
    going = nodes.going(one)
    other = structs.replace(one, mechanism="ipsec-ike")
    stored = dataclasses.replace(going[0][0], association=other)

    restored = await nodes.restoring.restore([(stored, going[0][1])])

    assert isinstance(restored.refused[one.id], MechanismUnavailable)
    assert not nodes.new.tables.sas


async def test_no_key_is_left_in_memory(nodes: Nodes) -> None:
    """Whatever becomes of a set, its keys are wiped; those in the kernel were others' copies."""
    sets = [await nodes.old.install(ue_request(n, encryption_algorithm=AES)) for n in range(4)]
    going = nodes.going(*sets)
    nodes.new.kernel.fail_message(3, errno.ENOMEM)
    answers = iter([True, True, False, True])

    await nodes.restoring.restore(going, lambda: next(answers))

    for stored, _ in going:
        assert not any(stored.keys.integrity_key.reveal())
        assert stored.keys.cipher_key is not None
        assert not any(stored.keys.cipher_key.reveal())
    for held in nodes.new.tables.sas.values():
        assert any(held.integrity_key)


async def test_sets_go_together(nodes: Nodes) -> None:
    """All of a population are asked of the kernel in one turn, so they share its sends."""
    sets = [await nodes.old.install(ue_request(number)) for number in range(AT_ONCE)]
    with nodes.new.kernel_held():
        task = asyncio.ensure_future(nodes.restoring.restore(nodes.going(*sets)))
        await until(lambda: nodes.new.kernel.waiting > 0)
        assert nodes.new.kernel.waiting == AT_ONCE

    assert len((await task).in_force) == AT_ONCE
