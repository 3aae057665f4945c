"""The daemon, Kamailio and the machine are restarted under load."""

from typing import Self

from tests.acceptance.machines import Failed, wait_until
from tests.acceptance.plan import PATIENCE
from tests.acceptance.runner import scenario
from tests.acceptance.world import World

#: Messages before and after whatever happens.
_SOME = 5


class _Talk:
    """A stream of MESSAGEs from alice to bob around something that happens."""

    def __init__(self, world: World) -> None:
        self._world = world

    def __enter__(self) -> Self:
        phones = self._world.phones
        phones.register("alice", 1)
        phones.register("bob", 2)
        phones.call("begin_stream", ue="alice", to="bob")
        self.some_more()
        return self

    def some_more(self) -> None:
        """Wait until some more messages have been answered."""
        phones = self._world.phones
        goal = phones.call("sent", ue="alice")["answered"] + _SOME
        wait_until(lambda: phones.call("sent", ue="alice")["answered"] >= goal, "messages flow")

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        counts = self._world.phones.call("end_stream", ue="alice")
        self._world.note(f"stream: {counts}")
        if kind is None:
            assert set(counts["answers"]) == {"200"}, counts
            assert counts["lost"] == [], counts
            assert counts["twice"] == 0, counts


def _kernel(world: World) -> set[str]:
    """The SPIs that the edge's kernel holds."""
    text = world.edge.machine.out("ip", "xfrm", "state", "list", "nokeys")
    return {line.split()[3] for line in text.splitlines() if line.strip().startswith("proto esp")}


@scenario("restart in a stream")
def restart(world: World) -> None:
    """No MESSAGE is lost while sad restarts, no SA changes, who comes is at most delayed."""
    edge = world.edge
    with _Talk(world) as talk:
        before = _kernel(world)
        edge.machine.run("systemctl", "restart", "sad.service")
        talk.some_more()
        assert _kernel(world) == before
        world.phones.call("open", ue="carol", number=3)
        assert world.phones.call("recover", ue="carol", within=PATIENCE)["status"] == 200
        world.look("sad has restarted")
    assert len(edge.associations()) == 3
    world.assert_protected()


@scenario("SIGKILL in a stream")
def kill(world: World) -> None:
    """Killed, sad comes back by itself and knows everybody; no MESSAGE is lost."""
    edge = world.edge
    with _Talk(world) as talk:
        before, restarts = _kernel(world), edge.restarts()
        edge.machine.run("systemctl", "kill", "--signal=KILL", "sad.service")
        talk.some_more()
        wait_until(lambda: edge.restarts() > restarts, "systemd starts sad again")
        edge.wait_ready()
        assert _kernel(world) == before
        talk.some_more()
    assert edge.states() == ["inUse", "inUse"]
    assert world.phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()


@scenario("SIGABRT leaves no core")
def abort(world: World) -> None:
    """The watchdog's own signal leaves nothing of the memory behind; sad comes back."""
    edge = world.edge
    # A program that takes cores gets them whatever the limit is and wherever /var/tmp lies.
    cores, catcher = "/var/tmp/cores", "/var/tmp/catch-core"
    edge.machine.write(catcher, f'#!/bin/sh\ncat >"{cores}/$1.$2"\n')
    edge.machine.shell(
        f"rm -rf {cores}; mkdir -p {cores} && chmod 755 {catcher} && "
        f"echo '|{catcher} %e %p' >/proc/sys/kernel/core_pattern"
    )
    edge.machine.shell("kill -ABRT $$", check=False)
    wait_until(lambda: edge.machine.out("ls", cores).startswith("sh."), "a core is caught")
    world.phones.register("alice", 1)
    restarts = edge.restarts()
    edge.machine.run("systemctl", "kill", "--signal=ABRT", "sad.service")
    wait_until(lambda: edge.restarts() > restarts, "systemd starts sad again")
    edge.wait_ready()
    found = edge.machine.out("ls", cores).split()
    assert all(name.startswith("sh.") for name in found), found
    assert len(edge.associations()) == 1
    assert world.phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()


@scenario("restart of Kamailio")
def kamailio(world: World) -> None:
    """Kamailio forgets everybody and comes back; the sets stay, phones are served again."""
    edge = world.edge
    world.phones.register("alice", 1)
    world.phones.register("bob", 2)
    before = _kernel(world)
    edge.machine.run("systemctl", "restart", "kamailio.service")
    edge.wait_ready("kamailio.service")
    assert _kernel(world) == before
    for ue in ("alice", "bob"):
        assert world.phones.call("recover", ue=ue, within=PATIENCE)["status"] == 200
    assert world.phones.call("message", ue="alice", to="bob") == {"status": 200, "received": True}
    world.assert_protected()


@scenario("reboot of the edge")
def reboot(world: World) -> None:
    """After a boot nothing stale is left, the ports are guarded, phones recover by themselves."""
    edge = world.edge
    world.phones.register("alice", 1)
    stale = _kernel(world)
    edge.machine.reboot()
    recovering = world.phones.begin("recover", ue="alice", within=2 * PATIENCE)

    def is_up() -> bool:
        try:
            return edge.is_active("sad.service") and edge.is_active("kamailio.service")
        except Failed:
            return False

    wait_until(is_up, "sad and Kamailio are up by themselves")
    assert recovering.result(4 * PATIENCE)["status"] == 200
    assert edge.restarts() == 0
    assert len(edge.associations()) == 1
    assert _kernel(world).isdisjoint(stale)
    world.assert_blocked(4, 5064)
    world.assert_protected()


@scenario("watchdog")
def watchdog(world: World) -> None:
    """A daemon that hangs is ended by systemd's watchdog and comes back with all it had."""
    edge = world.edge
    world.phones.register("alice", 1)
    before, restarts, cursor = _kernel(world), edge.restarts(), edge.cursor()
    edge.machine.run("systemctl", "kill", "--signal=STOP", "sad.service")
    assert world.phones.call("message", ue="alice", to="alice")["received"]
    wait_until(lambda: edge.restarts() > restarts, "systemd ends and starts sad")
    edge.wait_ready()
    assert "result 'watchdog'" in edge.journal(f"--cursor={cursor}", "--identifier=systemd")
    assert _kernel(world) == before
    assert world.phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()


@scenario("upgrade by make install")
def upgrade(world: World) -> None:
    """Installed again over a running sad: another environment runs, nobody notices."""
    edge = world.edge
    old = edge.machine.out("readlink", "/opt/sad/current")
    with _Talk(world) as talk:
        before, pid = _kernel(world), edge.show("sad.service", "MainPID")
        # The machine reaches no index; compiling takes minutes without KVM.
        install = "cd /srv/sad && PIP_NO_INDEX=1 PIP_FIND_LINKS=/srv/wheels make install"
        world.note(edge.machine.run("sh", "-c", install, seconds=10 * PATIENCE).stdout)
        edge.wait_ready()
        talk.some_more()
        assert _kernel(world) == before
    assert edge.machine.out("readlink", "/opt/sad/current") != old
    assert edge.show("sad.service", "MainPID") != pid
    assert len(edge.associations()) == 2
    assert world.phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()
