"""What must lie in the kernel for a set: the table of TS 33.203 7.1, row by row."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from netlink.model import Direction, Policy, PolicyAction, SaId
from sad.core.desired import (
    endpoint_policies,
    outbound_set,
    policies_of,
    port_cover,
    sas_of,
)
from sad.model.association import Association, AssociationState
from sad.model.endpoint import Role
from sad.model.sa_pair import SaPairParameters
from tests.support.make import (
    ALL_PAIRS,
    EDGE_ADDRESS,
    LAYOUT,
    LIFETIMES,
    OWNER,
    UE_ADDRESS,
    association,
    endpoint,
    sa_set,
    second_set,
)

P, U = EDGE_ADDRESS, UE_ADDRESS


@pytest.mark.parametrize("names", ALL_PAIRS)
def test_combined_algorithms_have_a_limit_of_packets(names: tuple[str, str]) -> None:
    """T33-I-b: half a block for each SA of aes-gcm and aes-gmac, no limit for the others."""
    alg, ealg = names
    set_ = sa_set(integrity_algorithm=alg, encryption_algorithm=ealg)
    rows = sas_of(association(sa_set=set_), LAYOUT, LIFETIMES, 0.0)

    limit = 1 << 23 if "aes-gcm" in names or "aes-gmac" in names else 0
    assert [row.sa.hard_packets for row in rows] == [limit] * 4


@pytest.mark.parametrize("role", [Role.EDGE, Role.UE])
def test_the_sa_table_holds_row_by_row(role: Role) -> None:
    """T33-7.1-a, T33-H-f: each SA has the destination, SPI and direction of its row."""
    rows = sas_of(association(sa_set=sa_set(role=role)), LAYOUT, LIFETIMES, 0.0)

    edge = role is Role.EDGE
    assert [(r.name, r.sa.source, r.sa.id, r.inbound) for r in rows] == [
        ("SA1", U, SaId(P, 70002), edge),
        ("SA2", P, SaId(U, 25656), not edge),
        ("SA3", P, SaId(U, 25657), not edge),
        ("SA4", U, SaId(P, 70001), edge),
    ]


def test_both_ends_of_a_set_agree_on_every_sa() -> None:
    """What is inbound at the edge is outbound at the UE, under the same identity."""
    edge = sas_of(association(), LAYOUT, LIFETIMES, 0.0)
    ue = sas_of(association(sa_set=sa_set(role=Role.UE)), LAYOUT, LIFETIMES, 0.0)

    assert [r.sa.id for r in edge] == [r.sa.id for r in ue]
    assert all(a.inbound != b.inbound for a, b in zip(edge, ue, strict=True))


def test_selectors_are_by_host_and_any_protocol() -> None:
    """Design 7: an SA's selector is /32 or /128, protocol any, and carries our tag."""
    for ue, pcscf, prefix in ((U, P, 32), ("2001:db8:1::2", "2001:db8:1::1", 128)):
        a = association(sa_set=sa_set(ue_address=ue, pcscf_address=pcscf))
        for row in sas_of(a, LAYOUT, LIFETIMES, 0.0):
            s = row.sa.selector
            assert (s.source_prefix, s.destination_prefix) == (prefix, prefix)
            assert (s.protocol, s.source_port_mask, s.destination_port_mask) == (0, 0, 0)
            assert s.owner == OWNER


def test_the_backstop_lies_a_little_beyond_the_deadline() -> None:
    """Design 6: a dead daemon leaves nothing behind for ever."""
    rows = sas_of(association(deadline_at=1000.0), LAYOUT, LIFETIMES, 400.5)

    assert {r.sa.hard_add_seconds for r in rows} == {615}  # 599.5 + 15, rounded up


def pair_of(policy: Policy) -> tuple[Direction, int, int]:
    s = policy.id.selector
    return policy.id.direction, s.source_port, s.destination_port


def allowed(sets: list[Association]) -> dict[tuple[Direction, int, int], Policy]:
    policies = policies_of(sets, LAYOUT, LIFETIMES).values()
    return {pair_of(p): p for p in policies if p.action is PolicyAction.ALLOW}


def test_four_port_pairs_each_way_are_covered() -> None:
    """T33-7.1-b, INTEROP-1: the two pairs of the table and the two cross pairs, in and out."""
    found = allowed([association()])

    expected = {(Direction.IN, u, p) for u, p in itertools.product((6301, 6300), (5068, 5064))}
    expected |= {(Direction.OUT, p, u) for u, p in itertools.product((6301, 6300), (5068, 5064))}
    assert set(found) == expected


def test_outbound_policies_name_the_sa_of_their_destination_port() -> None:
    """T33-H-f: spi-c belongs to the client port, spi-s to the server port."""
    found = allowed([association()])

    for own in (5068, 5064):
        to_client = found[Direction.OUT, own, 6301].template
        to_server = found[Direction.OUT, own, 6300].template
        assert to_client is not None
        assert to_server is not None
        assert (to_client.reqid, to_server.reqid) == association().reqid_out


def test_inbound_policies_share_the_registrations_reqid() -> None:
    """INTEROP-1: whatever inbound SA of the registration a packet came on, it passes."""
    found = allowed([association(), second_set()])

    inbound = [p for (d, _, _), p in found.items() if d is Direction.IN]
    assert {p.template.reqid for p in inbound if p.template} == {0x2000_0001}


def test_ports_of_the_peer_are_blocked_for_clear_text() -> None:
    """Design 7: nothing leaves in clear to port_uc or port_us, whatever port of ours sends it."""
    policies = policies_of([association()], LAYOUT, LIFETIMES).values()
    blocks = [p for p in policies if p.action is PolicyAction.BLOCK]

    assert {(p.id.selector.destination, p.id.selector.destination_port) for p in blocks} == {
        (U, 6301),
        (U, 6300),
    }
    assert all(p.id.direction is Direction.OUT for p in blocks)
    assert all(p.id.selector.source_port_mask == 0 for p in blocks)
    assert all(p.priority > LAYOUT.policy_priority for p in blocks)


def test_the_server_pair_belongs_to_the_registration() -> None:
    """INTEROP-6, design 7: p.s/u.s stay, so a second set adds only its own pairs."""
    one = policies_of([association()], LAYOUT, LIFETIMES)
    two = policies_of([association(), second_set()], LAYOUT, LIFETIMES)

    new = {pair_of(p) for i, p in two.items() if i not in one}
    assert (Direction.OUT, 5064, 6300) not in new
    assert (Direction.OUT, 5069, 6302) in new
    assert len(two) == len(one) + 7  # 6 allow policies and the block toward the new port_uc


@pytest.mark.parametrize(
    ("old", "new", "carrier"),
    [
        (AssociationState.IN_USE, AssociationState.TEMPORARY, "000000000001"),
        (AssociationState.IN_USE, AssociationState.ESTABLISHED, "000000000001"),
        (AssociationState.RETIRING, AssociationState.IN_USE, "000000000002"),
        (AssociationState.ESTABLISHED, AssociationState.ESTABLISHED, "000000000001"),
        (AssociationState.RETIRING, AssociationState.TEMPORARY, "000000000001"),
        (AssociationState.RETIRING, AssociationState.ESTABLISHED, "000000000002"),
    ],
)
def test_outbound_follows_the_set_in_use(
    old: AssociationState, new: AssociationState, carrier: str
) -> None:
    """T24-P-9: outbound moves to the new set with its first request, not before."""
    sets = [association(state=old), second_set(state=new)]

    chosen = outbound_set(sets)
    assert chosen is not None
    assert chosen.id == carrier
    template = allowed(sets)[Direction.OUT, 5064, 6300].template
    assert template is not None
    assert template.reqid == chosen.reqid_out[1]


def test_endpoint_policies_block_every_protected_port_both_ways() -> None:
    """IPS-8: clear text to and from protected ports is dropped, on both IP versions."""
    policies = list(endpoint_policies(endpoint(), LAYOUT).values())

    for address in endpoint().addresses:
        for port in endpoint().ports:
            for direction in (Direction.IN, Direction.OUT):
                assert any(_covers(p, direction, address, port) for p in policies)
    assert not any(_covers(p, Direction.IN, EDGE_ADDRESS, 5060) for p in policies)
    assert all(p.action is PolicyAction.BLOCK for p in policies)
    assert all(p.hard_add_seconds == 0 for p in policies)
    assert all(p.priority == 4_000_000_000 for p in policies)


def _covers(policy: Policy, direction: Direction, address: str, port: int) -> bool:
    s = policy.id.selector
    own, value, mask = (
        (s.destination, s.destination_port, s.destination_port_mask)
        if direction is Direction.IN
        else (s.source, s.source_port, s.source_port_mask)
    )
    return policy.id.direction is direction and own == address and port & mask == value


def test_an_aligned_block_is_one_selector() -> None:
    """Design 2: ports in one aligned block need one masked policy."""
    assert port_cover(range(5064, 5072)) == ((5064, 0xFFF8),)
    assert port_cover([5064, 5068, 5069, 5070, 5071]) == ((5064, 0xFFFF), (5068, 0xFFFC))


@given(st.sets(st.integers(1, 65535), max_size=24))
def test_a_cover_is_exact_and_disjoint(ports: set[int]) -> None:
    """A block policy touches protected ports and no other."""
    blocks = port_cover(ports)

    covered = [
        port for value, mask in blocks for port in range(value, value + (0xFFFF & ~mask) + 1)
    ]
    assert sorted(covered) == sorted(ports)
    assert all(value & mask == value for value, mask in blocks)


def pair(**changes: object) -> Association:
    """A manually keyed pair in force."""
    parameters = SaPairParameters(
        role=Role.EDGE,
        local_address=P,
        peer_address=U,
        spi_in=70001,
        spi_out=80001,
        local_ports=(5070, 5060),
        peer_ports=(5060,),
        integrity_algorithm="hmac-sha-1-96",
        encryption_algorithm="aes-cbc-128",
        key_set="west",
    )
    return association(
        mechanism="ipsec-man",
        ipsec_3gpp=None,
        ipsec_man=parameters,
        reqid_out=(0x2000_0002,),
        **changes,
    )


def test_a_manually_keyed_pair_is_one_sa_each_way_without_replay_window() -> None:
    """R3329-2.4-man-a, IPS-2: all pairs of its ports are protected by the same two SAs."""
    inbound, outbound = sas_of(pair(), LAYOUT, LIFETIMES, 0.0)

    assert (inbound.inbound, inbound.sa.id, inbound.sa.source) == (True, SaId(P, 70001), U)
    assert (outbound.inbound, outbound.sa.id, outbound.sa.source) == (False, SaId(U, 80001), P)
    assert inbound.sa.replay_window == outbound.sa.replay_window == 0
    policies = policies_of([pair()], LAYOUT, LIFETIMES)
    allowed = [p for p in policies.values() if p.template is not None]
    assert len(allowed) == 4  # two own ports, one of the peer, each way
    assert {p.template.reqid for p in allowed if p.template} == {
        inbound.sa.reqid,
        outbound.sa.reqid,
    }
    assert len(policies) == 5  # and nothing in clear to the peer's port
