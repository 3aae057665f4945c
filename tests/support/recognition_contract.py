"""What every kernel shows of what was installed: the promises behind sad.core.recognition."""

import pytest
from msgspec import structs

from netlink.model import AddPolicy, AddSa, DeletePolicy, DeleteSa, Operation, UpdatePolicy
from netlink.secret import Secret
from sad.core.planning import plan_install
from sad.core.recognition import Recognition
from sad.core.table import AssociationTable
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.endpoint import Role
from tests.support.contract_world import World, applied, moved
from tests.support.make import ALL_PAIRS, CK, IK, LAYOUT, LIFETIMES, association, sa_set

V6 = {"ue_address": "2001:db8::2", "pcscf_address": "2001:db8::1"}


def seen_by(world: World, one: Association) -> Recognition:
    """Return what recognises an association in a world whose BOOTTIME began an hour ago."""
    table = AssociationTable()
    table.put(one)
    return Recognition(table, LAYOUT, LIFETIMES, world.now() - NOW)


NOW = 3600.0


def operations_of(one: Association) -> list[Operation]:
    s = one.sa_set
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    keys = derive_keys(pair, Secret(IK), Secret(CK))
    return list(plan_install((), one, keys, LAYOUT, LIFETIMES, NOW))


class RecognitionContract:
    """The promises."""

    @pytest.mark.parametrize("addresses", [{}, V6], ids=["IPv4", "IPv6"])
    @pytest.mark.parametrize("role", Role)
    @pytest.mark.parametrize("algorithms", ALL_PAIRS, ids="/".join)
    async def test_a_set_shows_what_was_installed(
        self, world: World, algorithms: tuple[str, str], role: Role, addresses: dict[str, str]
    ) -> None:
        """Of none of its entries a value is made, and of all others there is one."""
        integrity, encryption = algorithms
        s = sa_set(
            role=role, integrity_algorithm=integrity, encryption_algorithm=encryption, **addresses
        )
        one = association(sa_set=s, deadline_at=NOW + 600)
        await applied(world.kernel, *operations_of(one))

        known = seen_by(world, one)
        assert await world.kernel.dump_sas(known.sas) == []
        assert await world.kernel.dump_policies(known.policies) == []
        seen = known.seen_of(one)
        assert seen is not None
        assert seen.whole

        stranger = structs.replace(one, id="9", reqid_in=77)
        unknown = seen_by(world, stranger)
        assert len(await world.kernel.dump_sas(unknown.sas)) == 2
        assert len(await world.kernel.dump_policies(unknown.policies)) == 4

    async def test_what_lacks_or_differs_is_not_seen(self, world: World) -> None:
        """One SA gone, one policy gone and one altered: everything else is still told."""
        one = association(deadline_at=NOW + 600)
        operations = operations_of(one)
        await applied(world.kernel, *operations)
        sas = [o.sa for o in operations if isinstance(o, AddSa)]
        policies = [o.policy for o in operations if isinstance(o, AddPolicy)]
        other = structs.replace(one, reqid_out=(71, 72))
        altered = [o.policy for o in operations_of(other) if isinstance(o, AddPolicy)][2]
        changes = DeleteSa(sas[1].id), DeletePolicy(policies[0].id), UpdatePolicy(altered)
        await applied(world.kernel, *changes)

        known = seen_by(world, one)
        assert await world.kernel.dump_sas(known.sas) == []
        (left,) = await world.kernel.dump_policies(known.policies)
        assert left.id == altered.id
        assert known.seen_of(one) == (0b1101, 0b1111111010)

    async def test_a_refreshed_limit_is_told_with_the_deadline_that_it_follows(
        self, world: World
    ) -> None:
        """NEWAE moves the time origin: known by the new deadline, and not by the old one."""
        one = association(deadline_at=NOW + 600)
        operations = operations_of(one)
        await applied(world.kernel, *operations)
        later = structs.replace(one, deadline_at=NOW + 1200)
        origin = int(world.now()) + 600
        sas = [o.sa for o in operations if isinstance(o, AddSa)]
        await applied(world.kernel, *(moved(sa, origin) for sa in sas))

        assert len(await world.kernel.dump_sas(seen_by(world, one).sas)) == 4
        assert await world.kernel.dump_sas(seen_by(world, later).sas) == []
