"""Registrations through both machines, from the first REGISTER to the end of their sets."""

from tests.acceptance import capture
from tests.acceptance.machines import wait_until
from tests.acceptance.plan import EDGE, MARGIN
from tests.acceptance.runner import scenario
from tests.acceptance.world import World


def _life(world: World, *, version: int, transport: str) -> None:
    """Register, talk, register again, talk, leave."""
    edge, phones = world.edge, world.phones
    settings = {"version": version, "transport": transport}
    phones.register("alice", 1, **settings)
    phones.register("bob", 2, **settings)
    assert edge.count() == 8
    assert phones.call("message", ue="alice", to="bob") == {"status": 200, "received": True}
    assert edge.states() == ["inUse", "inUse"]
    world.look("two are registered")

    again = phones.call("register", ue="alice")
    assert again["status"] == 200
    assert phones.call("message", ue="alice", to="bob") == {"status": 200, "received": True}
    assert phones.call("message", ue="bob", to="alice") == {"status": 200, "received": True}
    wait_until(lambda: edge.count() == 8, "the old set has gone")
    world.look("alice has registered again")

    for ue in ("alice", "bob"):
        assert phones.call("deregister", ue=ue)["status"] == 200
    edge.wait_empty()
    for port in (5064, 5068):
        world.assert_blocked(version, port)
    world.assert_protected()


@scenario("registration UDP IPv4")
def udp4(world: World) -> None:
    """Registers, registers again and leaves; the old set goes, nothing is in clear."""
    _life(world, version=4, transport="UDP")


@scenario("registration TCP IPv4")
def tcp4(world: World) -> None:
    """The same over TCP."""
    _life(world, version=4, transport="TCP")


@scenario("registration UDP IPv6")
def udp6(world: World) -> None:
    """The same over IPv6."""
    _life(world, version=6, transport="UDP")


@scenario("registration TCP IPv6")
def tcp6(world: World) -> None:
    """The same over TCP and IPv6."""
    _life(world, version=6, transport="TCP")


@scenario("expiry")
def expiry(world: World) -> None:
    """A phone without a battery: its sets end with its registration and the margin."""
    world.phones.call("grant", lasting=10)
    world.phones.register("erin", 5)
    (association,) = world.edge.associations()
    world.note(f"a registration of 10 s, margin {MARGIN} s: {association}")
    world.phones.call("drop", ue="erin")
    assert world.edge.count() == 4
    world.edge.wait_empty()
    world.assert_protected()


@scenario("TCP connection ends inside ESP")
def reset_inside(world: World) -> None:
    """De-registered over TCP, the edge ends the set's connection by a RST that ESP carries."""
    phones = world.phones
    phones.register("frank", 6, transport="TCP", ealg="null", stays=True)
    assert phones.call("connection", ue="frank") == {"open": True}
    assert phones.call("deregister", ue="frank")["status"] == 200
    world.edge.wait_empty()
    wait_until(lambda: not phones.call("connection", ue="frank")["open"], "frank hears of it")
    packets = world.wire()
    resets = [p for p in capture.esp(packets) if capture.is_reset_inside(p)]
    assert EDGE[4] in {p.source for p in resets}, f"{len(resets)} RST inside ESP, none of the edge"
    world.note(f"RST inside ESP: {[(p.source, hex(p.spi)) for p in resets]}")
    world.assert_protected()
