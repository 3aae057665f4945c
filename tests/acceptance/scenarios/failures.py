"""What an operator does wrong: the failure is clear, and nothing opens."""

from tests.acceptance.edge import SETTINGS, Edge
from tests.acceptance.machines import wait_until
from tests.acceptance.plan import PATIENCE
from tests.acceptance.runner import scenario
from tests.acceptance.world import World


@scenario("configuration with an error")
def configuration(world: World) -> None:
    """Told with its line by the check and by the start that fails; calls and guard go on."""
    edge, phones = world.edge, world.phones
    phones.register("alice", 1)
    edge.machine.write(
        SETTINGS, edge.settings.replace("server_port = 5064", "server_port = 70000")
    )
    checked = edge.machine.run("/opt/sad/bin/sad", "--check-config", check=False)
    assert checked.returncode == 78, checked
    assert "server_port" in checked.stdout + checked.stderr

    cursor = edge.cursor()
    assert edge.machine.run("systemctl", "restart", "sad.service", check=False).returncode != 0
    said = edge.since(cursor)
    assert "status=78/CONFIG" in said, said
    assert "sad.toml:13: endpoint[0].server_port: 70000" in said, said
    assert_given_up(edge, cursor, "78")
    assert phones.call("message", ue="alice", to="alice") == {"status": 200, "received": True}
    world.assert_blocked(4, 5064)
    world.look("sad does not run")

    edge.machine.write(SETTINGS, edge.settings)
    edge.start()
    assert len(edge.associations()) == 1
    assert phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()


@scenario("CAP_NET_ADMIN taken away")
def capability(world: World) -> None:
    """A drop-in takes the capability: sad says which one is missing; calls and guard go on."""
    edge = world.edge
    world.phones.register("alice", 1)
    edge.drop_in("[Service]\nAmbientCapabilities=\nCapabilityBoundingSet=\n")
    cursor = edge.cursor()
    assert edge.machine.run("systemctl", "restart", "sad.service", check=False).returncode != 0
    said = edge.since(cursor)
    assert "status=69/UNAVAILABLE" in said, said
    assert "cannot start without the capability CAP_NET_ADMIN" in said, said
    assert "AmbientCapabilities" in said, said
    assert_given_up(edge, cursor, "69")
    world.assert_blocked(6, 5064)
    wait_until(
        lambda: world.phones.call("message", ue="alice", to="alice")["received"], "calls go on"
    )
    world.assert_protected()


def assert_given_up(edge: Edge, cursor: str, status: str) -> None:
    """It was tried once, and nobody who calls starts it again."""
    shown = edge.machine.run(
        "systemctl", "show", "sad.service", "--property=ExecMainStatus,ActiveState,NRestarts"
    ).stdout
    assert f"ExecMainStatus={status}" in shown, shown
    assert "ActiveState=failed" in shown, shown
    assert "NRestarts=0" in shown, shown
    wait_until(
        lambda: (
            not edge.machine.run(
                "systemctl", "is-active", "sad.socket", check=False
            ).stdout.startswith("active")
        ),
        "the socket is closed",
    )
    assert edge.since(cursor).count(f"status={status}/") == 1


@scenario("network cut")
def cut(world: World) -> None:
    """Cut for longer than a registration lasts: its sets end, the phone comes back by itself."""
    world.phones.call("grant", lasting=15)
    world.phones.register("alice", 1)
    world.ue.run("networkctl", "down", "eth1")
    try:
        world.edge.wait_empty()
    finally:
        world.ue.run("networkctl", "up", "eth1")
    world.phones.call("grant", lasting=3600)
    assert world.phones.call("recover", ue="alice", within=PATIENCE)["status"] == 200
    assert world.phones.call("message", ue="alice", to="alice")["received"]
    world.assert_protected()


@scenario("full /run")
def full(world: World) -> None:
    """Without room for the journal nobody new is let in; calls go on, and it heals with room."""
    edge, phones = world.edge, world.phones
    phones.register("alice", 1)
    edge.machine.shell("head --bytes=10G /dev/zero >/run/acceptance.filler", check=False)
    try:
        phones.call("open", ue="bob", number=2)
        refused = phones.call("register", ue="bob")
        world.look("/run is full")
        assert refused["status"] == 503, refused
        assert edge.count() == 4
        assert phones.call("message", ue="alice", to="alice")["received"]
    finally:
        edge.machine.run("rm", "/run/acceptance.filler")
    assert phones.call("recover", ue="bob", within=PATIENCE)["status"] == 200
    assert phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()
