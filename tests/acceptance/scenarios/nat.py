"""Phones behind a NAT of nftables, on Debian's own kernel (TS 33.203 Annex M).

The port of encapsulated ESP is the daemon's by ``sad-encap.socket``, under the real systemd.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

from tests.acceptance import capture
from tests.acceptance.edge import SETTINGS
from tests.acceptance.machines import wait_until
from tests.acceptance.nat import FIRST_PORTS, LATER_PORTS, Nat
from tests.acceptance.plan import EDGE, GATEWAY, PRIVATE, UE
from tests.acceptance.runner import scenario
from tests.acceptance.world import World

_NAT: Final = """
nat_traversal = true
nat_networks = ["192.168.0.0/16", "fd00::/8"]
"""
_IDLE_SECONDS: Final = 180
#: When a NAT forgets UDP; the edge sends every 20 s. And until when nobody else may speak: after
#: 120 s Kamailio closes the connections by which REGISTERs came.
_MEMORY_SECONDS, _SILENT_SECONDS = 60, 90
_FORBIDDEN: Final = 403


@contextlib.contextmanager
def _nat(world: World) -> Iterator[Nat]:
    """Put a NAT before new phones, and have the edge serve such as mechanisms.md says."""
    edge, nat = world.edge, Nat(world.ue)
    # A NAT that is changed by hand in the middle of a registration takes its time.
    settings = edge.settings.replace("reg_await_auth_seconds = 20", "reg_await_auth_seconds = 240")
    edge.machine.write(SETTINGS, settings + _NAT)
    try:
        nat.open()
        edge.machine.shell(
            f"ip route add {GATEWAY[4]}/24 via {UE[4]}; ip route add {GATEWAY[6]}/64 via {UE[6]}"
        )
        edge.machine.shell(
            "systemctl enable --quiet sad-encap.socket && systemctl restart sad.service"
        )
        yield nat
        world.look("before the NAT is taken away")
    finally:
        world.phones.call("reset")
        nat.close()
        edge.machine.write(SETTINGS, edge.settings)
        edge.machine.shell(
            f"ip route flush via {UE[4]}; ip -6 route flush via {UE[6]}; "
            "systemctl disable --quiet --now sad-encap.socket; systemctl restart sad.service",
            check=False,
        )


def _ports(world: World) -> dict[str, int]:
    """The NAT's port by private address, as the edge has learnt it."""
    sets = [association["ipsec3gpp"] for association in world.edge.associations()]
    return {
        s["ueAddress"]: s["udpEncapsulation"]["peerPort"]
        for s in sets
        if s["udpEncapsulation"] is not None
    }


def _wait_for_port(world: World, private: str, ports: range) -> None:
    wait_until(lambda: _ports(world).get(private) in ports, f"{private} has a port of {ports}")


def _calls(world: World, *pairs: tuple[str, str]) -> None:
    for caller, callee in pairs:
        assert world.phones.call("call", ue=caller, to=callee) == {"status": 200}


def _assert_encapsulated(world: World, version: int) -> None:
    """Both ways ESP passed in UDP, and nothing in clear (T33-M-b)."""
    sources = {p.source for p in capture.encapsulated(world.wire())}
    assert {EDGE[version], UE[version]} <= sources, sources
    world.assert_protected()


@scenario("NAT, two phones behind it")
def two_phones(world: World) -> None:
    """T33-M-a, -c: each has a port of the NAT, calls and is called; taken ports are refused."""
    edge, phones = world.edge, world.phones
    with _nat(world):
        assert edge.is_active("sad-encap.socket")
        for ue, number, place in (("alice", 1, {"behind": 0}), ("carol", 3, {"behind": 1})):
            phones.register(ue, number, **place)
        phones.register("bob", 2)  # has no NAT
        ports = _ports(world)
        assert set(ports) == set(PRIVATE[4])
        assert len(set(ports.values()) & set(FIRST_PORTS)) == 2, ports
        _calls(world, ("alice", "bob"), ("bob", "alice"), ("carol", "alice"))

        cursor = edge.cursor()
        phones.call("open", ue="mallory", number=4, behind=0, ports_of="alice")
        assert phones.call("register", ue="mallory") == {"status": _FORBIDDEN}
        wait_until(
            lambda: "FlowInUse" in edge.since(cursor, "kamailio.service"), "the log says why"
        )
        assert len(edge.associations()) == 3
        _calls(world, ("bob", "alice"))
        world.look("two phones are behind the NAT")

        assert phones.call("register", ue="alice")["status"] == 200
        _calls(world, ("alice", "bob"), ("bob", "alice"))
        for ue in ("alice", "bob", "carol"):
            assert phones.call("deregister", ue=ue)["status"] == 200
        edge.wait_empty()
        world.assert_blocked(4, 5064)
        _assert_encapsulated(world, 4)


@scenario("NAT, called after three idle minutes")
def idle(world: World) -> None:
    """RFC 3948 4: longer than the NAT remembers; the edge's keep-alive packets hold the way."""
    with _nat(world) as nat:
        world.phones.register("alice", 1, behind=0)
        world.phones.register("bob", 2)
        _calls(world, ("alice", "bob"))
        before = _ports(world)
        seen = len(world.wire())
        nat.forget_after(_MEMORY_SECONDS)
        time.sleep(_SILENT_SECONDS)
        meanwhile = world.wire()[seen:]
        assert {p.source for p in capture.keep_alives(meanwhile)} == {EDGE[4]}
        assert capture.encapsulated(meanwhile) == []  # nobody else kept it awake
        time.sleep(_IDLE_SECONDS - _SILENT_SECONDS)
        _calls(world, ("bob", "alice"))
        assert _ports(world) == before
        _assert_encapsulated(world, 4)


@scenario("NAT that forgets")
def forgets(world: World) -> None:
    """T33-M-b: challenged through one port, answered through another; followed ever after."""
    phones = world.phones
    (private, _) = PRIVATE[4]
    with _nat(world) as nat:
        phones.register("bob", 2)
        phones.call("open", ue="alice", number=1, behind=0)
        assert phones.call("begin_registration", ue="alice") == {"status": 401}
        nat.forget(LATER_PORTS)
        assert phones.call("finish_registration", ue="alice")["status"] == 200
        _wait_for_port(world, private, LATER_PORTS)
        _calls(world, ("bob", "alice"))

        nat.forget(FIRST_PORTS)
        assert phones.call("message", ue="alice", to="bob") == {"status": 200, "received": True}
        _wait_for_port(world, private, FIRST_PORTS)
        _calls(world, ("bob", "alice"))
        (association,) = [
            a for a in world.edge.associations() if a["ipsec3gpp"]["ueAddress"] == private
        ]
        world.note(world.edge.machine.out("/opt/sad/bin/sadctl", "show", association["id"]))
        _assert_encapsulated(world, 4)


@scenario("NAT, a start that is refused")
def refused(world: World) -> None:
    """Settings with an error close UDP 4500, too; mended, a start opens it and phones pass."""
    edge = world.edge
    with _nat(world):
        good = edge.machine.out("cat", SETTINGS)
        edge.machine.write(SETTINGS, good.replace("server_port = 5064", "server_port = 70000"))
        cursor = edge.cursor()
        assert edge.machine.run("systemctl", "restart", "sad.service", check=False).returncode
        wait_until(lambda: not edge.is_active("sad-encap.socket"), "the socket is closed")
        assert "status=78/CONFIG" in edge.since(cursor)
        edge.machine.write(SETTINGS, good)
        edge.machine.run("systemctl", "start", "sad.service")
        assert edge.is_active("sad-encap.socket")
        world.phones.register("alice", 1, behind=0)
        _assert_encapsulated(world, 4)


@scenario("NAT, TCP IPv6")
def tcp6(world: World) -> None:
    """T33-M-a: the same by IPv6, and connections through the tunnel."""
    phones = world.phones
    settings = {"version": 6, "transport": "TCP"}
    with _nat(world):
        phones.register("alice", 1, behind=0, **settings)
        phones.register("bob", 2, **settings)
        _wait_for_port(world, PRIVATE[6][0], FIRST_PORTS)
        _calls(world, ("alice", "bob"), ("bob", "alice"))
        for ue in ("alice", "bob"):
            assert phones.call("deregister", ue=ue)["status"] == 200
        world.edge.wait_empty()
        _assert_encapsulated(world, 6)
