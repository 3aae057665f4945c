"""Plans: differences of the desired state in an order that never lets clear text pass."""

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.bundles import Bundle
from netlink.model import (
    AddPolicy,
    AddSa,
    DeletePolicy,
    DeleteSa,
    Operation,
    Policy,
    PolicyId,
    SaKeys,
    UpdatePolicy,
)
from netlink.reference import encode_reference
from netlink.secret import Secret
from sad.core.desired import policies_of, sas_of
from sad.core.planning import describe, plan_install, plan_policies, plan_remove, undo_of
from sad.core.set_bundle import Standing, first_install, operations_of
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association, AssociationState
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Role
from sad.model.rules import Layout
from tests.support.make import (
    ALL_PAIRS,
    CK,
    IK,
    LAYOUT,
    LIFETIMES,
    association,
    sa_set,
    second_set,
)

KEYS = SaKeys(integrity=Secret(bytes(20)), encryption=Secret(b""))
STATES = st.sampled_from([s for s in AssociationState if s is not AssociationState.ENDED])


def install(siblings: list[Association], new: Association) -> list[Operation]:
    return list(plan_install(siblings, new, KEYS, LAYOUT, LIFETIMES, 0.0))


def test_sas_come_before_the_policies_that_demand_them() -> None:
    """A policy whose SA is missing drops packets; an SA without a policy harms nobody."""
    operations = install([], association())

    kinds = [type(o) for o in operations]
    assert kinds == [AddSa] * 4 + [AddPolicy] * 10


def test_a_second_set_leaves_the_shared_policies_alone() -> None:
    """Design 7: doing them again per set would answer EEXIST or drop packets."""
    operations = install([association(state=AssociationState.IN_USE)], second_set())

    assert [type(o) for o in operations] == [AddSa] * 4 + [AddPolicy] * 7


def test_taking_a_new_set_into_use_is_one_policy_update() -> None:
    """T24-P-9: only the shared outbound policy moves."""
    before = [association(state=AssociationState.IN_USE), second_set()]
    after = [
        association(state=AssociationState.RETIRING),
        second_set(state=AssociationState.IN_USE),
    ]

    (operation,) = plan_policies(before, after, LAYOUT, LIFETIMES)
    assert isinstance(operation, UpdatePolicy)
    assert operation.policy.template is not None
    assert operation.policy.template.reqid == second_set().reqid_out[1]


def test_removal_goes_update_out_in_policies() -> None:
    """Peers X2: what remains keeps working, outbound SAs go first, own policies last."""
    old, new = association(state=AssociationState.IN_USE), second_set()

    operations = plan_remove([old, new], old, LAYOUT, LIFETIMES)

    kinds = [type(o) for o in operations]
    assert kinds == [UpdatePolicy] + [DeleteSa] * 4 + [DeletePolicy] * 7
    inbound = [
        next(n.inbound for n in sas_of(old, LAYOUT, LIFETIMES, 0.0) if n.sa.id == o.id)
        for o in operations
        if isinstance(o, DeleteSa)
    ]
    assert inbound == [False, False, True, True]


def test_the_last_set_takes_every_policy_with_it() -> None:
    """Nothing of a registration stays behind."""
    operations = plan_remove([association()], association(), LAYOUT, LIFETIMES)

    gone = {o.id for o in operations if isinstance(o, DeletePolicy)}
    assert gone == set(policies_of([association()], LAYOUT, LIFETIMES))


def apply(policies: dict[PolicyId, Policy], operations: list[Operation]) -> dict[PolicyId, Policy]:
    result = dict(policies)
    for operation in operations:
        if isinstance(operation, AddPolicy):
            assert operation.policy.id not in result
            result[operation.policy.id] = operation.policy
        elif isinstance(operation, UpdatePolicy):
            assert operation.policy.id in result
            result[operation.policy.id] = operation.policy
        elif isinstance(operation, DeletePolicy):
            del result[operation.id]
    return result


@given(st.lists(STATES, min_size=3, max_size=3), st.permutations([0, 1, 2]))
def test_policies_follow_the_sets_in_every_order(
    states: list[AssociationState], order: list[int]
) -> None:
    """Whatever sets come and go, what the plans left is what the sets that remain need."""
    third = association(
        id="000000000003",
        sa_set=sa_set(spi_uc=1256, spi_us=1257, spi_pc=91, spi_ps=92, port_uc=6303, port_pc=5070),
        reqid_out=(0x2000_0006, 0x2000_0007),
    )
    candidates = [association(state=states[0]), second_set(state=states[1]), third]
    held: list[Association] = []
    policies: dict[PolicyId, Policy] = {}
    for index in order:
        policies = apply(policies, install(held, candidates[index]))
        held.append(candidates[index])
        assert policies == policies_of(held, LAYOUT, LIFETIMES)
    for index in reversed(order[1:]):
        gone = candidates[index]
        policies = apply(policies, list(plan_remove(held, gone, LAYOUT, LIFETIMES)))
        held.remove(gone)
        assert policies == policies_of(held, LAYOUT, LIFETIMES)


def test_an_install_can_be_taken_back() -> None:
    """All or nothing: every operation of a first install has its opposite."""
    undo = [undo_of(o) for o in install([], association())]

    assert all(isinstance(u, DeleteSa | DeletePolicy) for u in undo)


def test_errors_name_the_row_and_never_a_key() -> None:
    """An operator reads which SA of the table was refused."""
    named = sas_of(association(), LAYOUT, LIFETIMES, 0.0)
    operations = install([], association())

    assert describe(operations[0], named) == "SA1 to 10.10.0.1 spi 0x00011172"
    assert describe(operations[4], named).startswith("policy ")
    assert "Secret" not in describe(operations[0], named)
    assert "00000000" not in repr(operations[0])


@pytest.mark.parametrize(
    ("role", "layout", "addresses"),
    [
        (Role.EDGE, LAYOUT, ("10.10.0.2", "10.10.0.1")),
        (
            Role.UE,
            dataclasses.replace(LAYOUT, tell_counters=True),
            ("2001:db8::2", "2001:db8::1"),
        ),
    ],
    ids=["edge", "ue"],
)
@pytest.mark.parametrize("pair", ALL_PAIRS, ids="/".join)
@pytest.mark.parametrize(
    "standing", [None, Standing((1 << 24, 7), (0, 4711), 1_800_000_000)], ids=["new", "goes on"]
)
def test_the_first_set_of_a_registration_is_one_bundle(
    standing: Standing | None,
    pair: tuple[str, str],
    addresses: tuple[str, str],
    layout: Layout,
    role: Role,
) -> None:
    """It is sent as the bytes of exactly those operations, whatever its algorithms."""
    new = association(
        sa_set=sa_set(
            role=role,
            ue_address=addresses[0],
            pcscf_address=addresses[1],
            integrity_algorithm=pair[0],
            encryption_algorithm=pair[1],
        )
    )
    keys = derive_keys(AlgorithmPair(*pair), Secret(IK), Secret(CK))

    planned = first_install(new, keys, layout, LIFETIMES, 7.25, standing)

    assert isinstance(planned, Bundle)
    plain = operations_of(new, keys, layout, LIFETIMES, 7.25, standing)
    assert tuple(planned) == tuple(plain)
    buffer = bytearray(planned.form.size)
    planned.encode_into(buffer, 0, 9, 5)
    assert bytes(buffer) == b"".join(encode_reference(o, 9 + n, 5) for n, o in enumerate(plain))


@pytest.mark.parametrize(
    "same",
    [
        {"port_uc": 6300},
        {"port_pc": 5064},
        {"spi_uc": 25657},
        {"spi_pc": 70002},
        {"ue_address": "10.10.0.1"},
        {
            "encapsulation": UdpEncapsulation(
                peer_address="192.0.2.1", peer_port=4500, local_port=4500
            )
        },
    ],
    ids=lambda same: next(iter(same)),
)
def test_a_set_whose_values_are_not_apart_is_planned_one_by_one(same: dict[str, Any]) -> None:
    """Two ports that are one have one policy: a bundle would install it twice."""
    new = association(sa_set=sa_set(**same))
    planned = plan_install((), new, KEYS, LAYOUT, LIFETIMES, 0.0)

    assert not isinstance(planned, Bundle)
    ids = [o.policy.id for o in planned if isinstance(o, AddPolicy)]
    assert len(ids) == len(set(ids))
