"""User agents behind a real NAT, by ESP in UDP (TS 33.203 Annex M)."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_hooks.client import CallError
from tests.support import eye
from tests.support.daemon import endpoint_settings, running
from tests.support.make import CK, IK
from tests.support.nat_world import (
    FIRST_PORTS,
    LATER_PORTS,
    OUTSIDE,
    OUTSIDE6,
    PRIVATE,
    PRIVATE6,
    UE_SERVERS,
    NatWorld,
    nat_world,
)
from tests.support.pair import EDGE, EDGE_SERVER, UE_SERVER
from tests.support.sniffer import Sniffer

pytestmark = pytest.mark.kernel

FORGET_SECONDS = 3


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatWorld]:
    settings = "\n[lifetimes]\nnat_keepalive_seconds = 1\n"
    with nat_world(tmp_path_factory.mktemp("nat"), settings=settings) as found:
        yield found


@pytest.fixture
def world(built: NatWorld) -> Iterator[NatWorld]:
    yield built
    built.clean()
    assert eye.states(built.edge) == []


def refusal_of(world: NatWorld, row: str, **more: Any) -> CallError:
    with pytest.raises(CallError) as refused:
        world.offer(row, **more)
    return refused.value


@pytest.mark.parametrize("version", [4, 6])
def test_nat_is_passed_both_ways_by_udp_and_tcp(world: NatWorld, version: int) -> None:
    """T33-M-a, T33-M-b: tunnel mode in UDP, the NAT's port learnt, nothing in clear."""
    with world.nat.enter():  # at the edge one would also see what comes out of the tunnel
        sniffer = Sniffer(world.nat.outside)
    with sniffer:
        answer = world.offer(world.row(0), version=version)
        association = answer["association"]
        assert "mod=UDP-enc-tun" in answer["securityServer"]
        assert association["ipsec3gpp"]["ueAddress"] == (PRIVATE if version == 4 else PRIVATE6)[0]
        assert association["ipsec3gpp"]["udpEncapsulation"] == {
            "peerAddress": OUTSIDE if version == 4 else OUTSIDE6,
            "peerPort": 0,
            "localPort": 4500,
        }
        world.take(association)
        up, *_, back = pairs = world.port_pairs(association)
        assert world.udp(*up, b"REGISTER")  # the UE is the first to speak
        world.wait_for_port(association["id"], FIRST_PORTS)

        assert all(world.udp(*pair, b"over UDP") for pair in pairs)
        # SA1 with SA2, SA3 with SA4: a connection opened by either side.
        assert world.tcp(*up, b"over TCP" * 500)
        assert world.tcp(*pairs[2], b"over TCP" * 500)
        assert back == (pairs[2][1], pairs[2][0])
        assert sniffer.clear_on({EDGE_SERVER, UE_SERVER}) == []


def test_nat_is_passed_by_a_daemon_of_role_ue(world: NatWorld, tmp_path: Path) -> None:
    """T33-M-c: a user agent's selectors are its own address and the P-CSCF's, inside and outside.

    Its socket on 4500 is somebody else's there.
    """
    nat = 'nat_traversal = true\nnat_networks = ["192.168.0.0/16"]\nnat_socket = "shared"\n'
    settings = endpoint_settings(
        "phone", (PRIVATE[1],), UE_SERVERS[1], "6802-6803", role="ue", extra=nat
    )
    with running(world.phones[1], tmp_path / "phone", settings) as phone:
        association = world.offer(world.row(1), 1)["association"]
        udp = {"peerAddress": EDGE[4], "peerPort": 4500, "localPort": 4500}
        keys = {"integrityKey": IK.hex(), "cipherKey": CK.hex(), "udpEncapsulation": udp}
        phone.call(
            "Install",
            endpoint="phone",
            role="ue",
            registration=association["registration"],
            mechanism="ipsec-3gpp",
            ipsec3gpp=association["ipsec3gpp"] | keys,
            lifetimeSeconds=120,
        )
        up, *_ = pairs = world.port_pairs(association)
        assert world.udp(*up, b"REGISTER")
        world.wait_for_port(association["id"])
        assert all(world.udp(*pair, b"both ends are sad") for pair in pairs)
        for one in phone.associations():
            phone.call("Release", id=one["id"])


def test_nat_has_two_phones_behind_it(world: NatWorld) -> None:
    """T33-M-c: one address outside, two ports of the NAT; each phone gets what is its own."""
    first, second = world.registered(0), world.registered(1)

    ports = [world.nat_port(a["id"]) for a in (first, second)]
    assert len(set(ports)) == 2
    for association in (first, second):
        assert all(world.udp(*pair, b"mine") for pair in world.port_pairs(association))


def test_nat_phone_with_taken_ports_is_refused(world: NatWorld) -> None:
    """T33-M-c: the same private address and port a second time, wherever its NAT is."""
    world.registered(0)

    other = {"registration": {"privateIdentity": "other@ims.example", "publicIdentities": []}}
    assert refusal_of(world, world.row(0), **other).short_name == "FlowInUse"
    flow = {"peerAddress": "10.10.0.77", "peerPort": 1, "localAddress": EDGE[4], "localPort": 5060}
    elsewhere = world.row(0, given={"spi-c": 9001, "spi-s": 9002})
    assert refusal_of(world, elsewhere, flow=flow, **other).short_name == "FlowInUse"
    assert refusal_of(world, elsewhere, flow=flow).short_name == "FlowInUse"


def test_nat_needs_what_passes_it(world: NatWorld) -> None:
    """T33-M-a: transport mode alone is refused behind a NAT, UDP-enc-tun alone without one."""
    error = refusal_of(world, world.row(0, mode="trans"))
    assert error.short_name == "NoCommonMechanism"
    (why,) = error.parameters["refusals"]
    assert (why["reason"], why["rule"]) == ("mode-not-supported", "T33-M-a")

    error = refusal_of(world, world.row(0), viaAddress=OUTSIDE)
    (why,) = error.parameters["refusals"]
    assert (why["reason"], why["rule"]) == ("mode-not-supported", "T33-M-a")

    error = refusal_of(world, world.row(0), viaAddress="172.31.0.9")
    assert (error.short_name, error.parameters["rule"]) == ("BadParameter", "T33-M-c")


def test_nat_and_transport_mode_stand_beside_each_other(world: NatWorld) -> None:
    """T33-M-a: on one endpoint the mode follows the user agent's way."""
    behind = world.registered(0)
    answer = world.offer(world.row(1, mode="trans"), 1, viaAddress=OUTSIDE)

    assert "mod=trans" in answer["securityServer"]
    assert answer["association"]["ipsec3gpp"]["udpEncapsulation"] is None
    modes = sorted(s.mode for s in eye.states(world.edge))
    assert modes == ["transport"] * 4 + ["tunnel"] * 4
    assert world.udp(*world.port_pairs(behind)[2], b"still")


def test_nat_is_kept_awake(world: NatWorld) -> None:
    """RFC 3948 4: a phone that was silent for longer than its NAT remembers can be called."""
    world.nat.forget_after(FORGET_SECONDS)
    try:
        association = world.registered(0)
        port = world.nat_port(association["id"])
        time.sleep(2 * FORGET_SECONDS)

        assert world.udp(*world.port_pairs(association)[2], b"INVITE")
        assert world.nat_port(association["id"]) == port
    finally:
        world.nat.forget_after(180)


def test_nat_that_forgets_is_followed(world: NatWorld) -> None:
    """T33-M-b: another port in the middle of a registration; calls go there from then on."""
    association = world.registered(0)
    up, _, down, _ = world.port_pairs(association)
    world.nat.forget()
    assert world.udp(*up, b"from another port")
    world.wait_for_port(association["id"], LATER_PORTS)

    assert world.udp(*down, b"INVITE")
    assert world.tcp(*down, b"INVITE" * 100)
    report = world.edge_daemon.reconcile()
    assert (report["repaired"], report["ended"]) == (0, 0)
    history = world.edge_daemon.call("Get", id=association["id"], whole=True)["history"]
    assert "natFollowed" in [step["step"] for step in history]


def test_nat_port_survives_a_kill(world: NatWorld) -> None:
    """Design 8: what was learnt is in the journal, and the kernel needs no repair."""
    association = world.registered(0)
    port = world.nat_port(association["id"])
    world.edge_daemon.kill()
    world.edge_daemon.start()

    assert world.nat_port(association["id"]) == port
    assert world.udp(*world.port_pairs(association)[2], b"INVITE")
