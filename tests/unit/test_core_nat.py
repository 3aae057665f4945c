"""User agents behind a NAT: when there is one, what is made for them, and who may have what."""

from typing import Any

import pytest
from msgspec import structs

from netlink.model import Encapsulation, Mode, SaId, Template
from sad.core.agreement import choose, security_server
from sad.core.decision import decide_install
from sad.core.desired import policies_of, sas_of
from sad.core.nat import user_agent_end
from sad.core.occupancy import check_against_table
from sad.core.table import AssociationTable
from sad.model.association import Association, AssociationState
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Role
from sad.model.errors import BadParameter, FlowInUse, NoCommonMechanism
from tests.support.make import (
    EDGE_ADDRESS,
    LAYOUT,
    LIFETIMES,
    UE_ADDRESS,
    association,
    circumstances,
    clear_flow,
    endpoint,
    install_request,
    sa_set,
    security_client,
)

NAT, PRIVATE = "203.0.113.7", "192.168.1.10"
BEHIND = endpoint(nat_port=4500, nat_networks=("192.168.0.0/16", "fd00::/8"))
UDP = UdpEncapsulation(peer_address=NAT, peer_port=0)
NOTHING: frozenset[str] = frozenset()
TUNNELLED = security_client().replace("mod=trans", "mod=UDP-enc-tun")


def nat_set(**changes: Any) -> Association:
    """An association through the NAT; ``udp`` changes its outer header, the rest its set."""
    udp = structs.replace(UDP, **changes.pop("udp", {}))
    of_association = {k: changes.pop(k) for k in ("id", "private_identity") if k in changes}
    values = {"ue_address": PRIVATE, "encapsulation": udp} | changes
    return association(sa_set=sa_set(**values), **of_association)


def test_nat_is_where_the_via_names_another_address() -> None:
    """T33-M-a: the packet's source against Via; a name, and the same address, tell of none."""
    flow = clear_flow(peer_address=NAT)
    end = user_agent_end(flow, PRIVATE, None, BEHIND)

    assert (end.address, end.encapsulation, end.nat) == (PRIVATE, UDP, True)
    for via in (None, NAT):
        assert user_agent_end(flow, via, None, BEHIND).nat is False
    assert user_agent_end(flow, PRIVATE, None, endpoint()).address == NAT


def test_nat_of_a_set_is_that_of_its_registration() -> None:
    """On a set the flow is the inner one: what is known of the NAT stays."""
    on = nat_set(udp={"peer_port": 61234})
    end = user_agent_end(clear_flow(peer_address=PRIVATE), None, on, BEHIND)

    assert end.address == PRIVATE
    assert end.encapsulation == structs.replace(UDP, peer_port=61234)


@pytest.mark.parametrize(("port", "sent_to"), [(0, 4500), (61234, 61234)])
def test_nat_sas_run_between_the_outer_addresses(port: int, sent_to: int) -> None:
    """T33-M-a to -c: tunnel mode in UDP, inside the addresses of the set; the port when known."""
    rows = {r.name: r.sa for r in sas_of(nat_set(udp={"peer_port": port}), LAYOUT, LIFETIMES, 0)}

    up, down = rows["SA1"], rows["SA3"]
    assert {sa.mode for sa in rows.values()} == {Mode.TUNNEL}
    assert (up.source, up.id) == (NAT, SaId(EDGE_ADDRESS, 70002))
    assert (up.selector.source, up.selector.destination) == (PRIVATE, EDGE_ADDRESS)
    assert up.encapsulation == Encapsulation(source_port=port, destination_port=4500)
    assert (down.source, down.id) == (EDGE_ADDRESS, SaId(NAT, 25657))
    assert (down.selector.source, down.selector.destination) == (EDGE_ADDRESS, PRIVATE)
    assert down.encapsulation == Encapsulation(source_port=4500, destination_port=sent_to)


def test_nat_policies_demand_the_tunnel() -> None:
    """T33-M-c: selectors of the inner addresses, templates of the outer ones."""
    policies = policies_of([nat_set()], LAYOUT, LIFETIMES)
    templates = {p.template for p in policies.values() if p.template is not None}

    assert len(policies) == 10
    assert {(t.source, t.destination, t.mode) for t in templates} == {
        (NAT, EDGE_ADDRESS, Mode.TUNNEL),
        (EDGE_ADDRESS, NAT, Mode.TUNNEL),
    }
    for policy_id in policies:
        ends = {policy_id.selector.source, policy_id.selector.destination}
        assert ends == {PRIVATE, EDGE_ADDRESS}


def test_nat_elsewhere_takes_no_pair_of_ports_away() -> None:
    """T24-P-5: whoever names another's identity and address gets nothing of its policies."""
    mine = nat_set()
    claimed = structs.replace(
        nat_set(id="2", udp={"peer_address": "198.51.100.9"}, port_uc=6399, spi_uc=1, spi_us=2),
        state=AssociationState.TEMPORARY,
        reqid_out=(7, 8),
    )
    before = policies_of([mine], LAYOUT, LIFETIMES)

    after = policies_of([mine, claimed], LAYOUT, LIFETIMES)
    assert {i: after[i] for i in before} == before
    own = Template(
        source="198.51.100.9", destination=EDGE_ADDRESS, reqid=mine.reqid_in, mode=Mode.TUNNEL
    )
    assert own in [p.template for p in after.values()]


def test_nat_flow_in_use_is_of_the_private_address() -> None:
    """T33-M-c: the same address and port a second time is refused, whatever the NAT."""
    table = AssociationTable()
    table.put(nat_set())
    other = {"spi_uc": 1, "spi_us": 2, "spi_pc": 3, "spi_ps": 4}
    elsewhere = {"peer_address": "198.51.100.9"}

    for changes in ({}, {"udp": elsewhere}, {"port_uc": 6399}):
        with pytest.raises(FlowInUse):
            check_against_table(nat_set(id="2", private_identity="b@x", **other, **changes), table)
    with pytest.raises(FlowInUse):  # its own identity, but it may be anybody's word
        check_against_table(nat_set(id="2", udp=elsewhere, **other), table, came_back=True)
    check_against_table(nat_set(id="2", **other), table, came_back=True)
    fresh = {"port_uc": 6399, "port_us": 6400, "private_identity": "b@x"}
    check_against_table(nat_set(id="2", **other, **fresh), table)
    with pytest.raises(FlowInUse, match=f"SPI 25656 at {NAT}"):  # two of one NAT
        check_against_table(nat_set(id="2", **(other | {"spi_uc": 25656}), **fresh), table)


def test_nat_mode_follows_the_way() -> None:
    """T33-M-a: UDP-enc-tun through a NAT, trans without; each refused in the other's place."""
    both = f"{TUNNELLED}, {security_client()}"
    for rows, nat, refused in ((both, True, 1), (both, False, 0)):
        (refusal,) = choose([rows], BEHIND, NOTHING, nat=nat).refusals
        assert (refusal.offer_index, refusal.rule) == (refused, "T33-M-a")
    for rows, nat in ((TUNNELLED, False), (security_client(), True)):
        with pytest.raises(NoCommonMechanism):
            choose([rows], BEHIND, NOTHING, nat=nat)
    assert "mod=UDP-enc-tun" in security_server(nat_set().sa_set, BEHIND, NOTHING)
    assert "mod=UDP-enc-tun" not in security_server(sa_set(), BEHIND, NOTHING)


@pytest.mark.parametrize(
    ("changes", "udp", "parameter"),
    [
        ({"ue_address": "172.16.0.9"}, {}, "ipsec3gpp.ueAddress"),  # outside nat_networks
        ({"ue_address": EDGE_ADDRESS}, {}, "ipsec3gpp.ueAddress"),
        ({}, {"peer_address": "127.0.0.1"}, "ipsec3gpp.udpEncapsulation.peerAddress"),
        ({}, {"peer_address": "2001:db8::7"}, "ipsec3gpp.udpEncapsulation.peerAddress"),
        ({}, {"local_port": 4501}, "ipsec3gpp.udpEncapsulation.localPort"),
        ({}, {"peer_port": 65536}, "ipsec3gpp.udpEncapsulation.peerPort"),
        ({"role": Role.UE}, {}, "ipsec3gpp.ueAddress"),  # this node has another
    ],
)
def test_nat_parameters_are_judged(
    changes: dict[str, Any], udp: dict[str, Any], parameter: str
) -> None:
    """T33-M-b, T33-M-c: what a caller or a user agent says of itself is not taken on trust."""
    values = {"ue_address": PRIVATE, "encapsulation": structs.replace(UDP, **udp)} | changes
    request = install_request(**values)
    with pytest.raises(BadParameter) as refused:
        decide_install(
            request, BEHIND, AssociationTable(), circumstances(), lambda below: below - 1
        )

    assert refused.value.parameter == parameter


def test_nat_is_off_by_default() -> None:
    """An endpoint without NAT traversal installs nothing in UDP."""
    request = install_request(ue_address=PRIVATE, encapsulation=UDP)
    with pytest.raises(BadParameter, match="nat_port"):
        decide_install(request, endpoint(), AssociationTable(), circumstances(), lambda _: 0)


def test_nat_table_keeps_the_order_when_a_port_is_learnt() -> None:
    """T24-P-9: "oldest first" decides who carries what is sent."""
    table = AssociationTable()
    old, new = nat_set(id="1"), nat_set(id="2", port_uc=6302, spi_uc=1, spi_us=2)
    for one in (old, new):
        table.put(one)
    table.put(nat_set(id="1", udp={"peer_port": 61234}))

    assert [a.id for a in table.of_registration(old.registration)] == ["1", "2"]
    assert table.of_spi(NAT, 25656) is not None
    assert table.of_spi(UE_ADDRESS, 25656) is None
