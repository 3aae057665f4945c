"""What sad keeps through an operator's changes and a foreign hand, and what its journal tells."""

import json

from tests.acceptance.edge import SADCTL, SETTINGS
from tests.acceptance.machines import wait_until
from tests.acceptance.runner import scenario
from tests.acceptance.world import World

_SECOND = """
[[endpoint]]
name = "annex"
addresses = ["10.20.0.10"]
server_port = 7064
client_ports = "7068-7071"
users = ["kamailio"]
"""


@scenario("reload of settings")
def reload(world: World) -> None:
    """An endpoint comes with its blocks and its guard; settings with an error change nothing."""
    edge, phones = world.edge, world.phones
    phones.register("alice", 1)
    before = edge.show("sad.service", "MainPID")
    edge.machine.write(SETTINGS, edge.settings + _SECOND)
    edge.machine.run("systemctl", "reload", "sad.service")
    wait_until(lambda: "annex" in edge.machine.out(SADCTL, "status"), "the endpoint is served")
    wait_until(
        lambda: "7064" in edge.machine.out("nft", "list", "ruleset"), "the guard stands before it"
    )
    world.look("the second endpoint is there")
    world.assert_blocked(4, 7064)

    edge.machine.write(SETTINGS, edge.settings.replace("5064", '"many"'))
    assert edge.machine.run("systemctl", "reload", "sad.service", check=False).returncode != 0
    assert edge.show("sad.service", "MainPID") == before
    assert phones.call("message", ue="alice", to="alice") == {"status": 200, "received": True}
    assert "annex" in edge.machine.out(SADCTL, "status")

    edge.machine.write(SETTINGS, edge.settings)
    edge.machine.run("systemctl", "reload", "sad.service")
    wait_until(lambda: "annex" not in edge.machine.out(SADCTL, "status"), "it is gone again")
    assert phones.call("register", ue="alice")["status"] == 200
    world.assert_protected()


@scenario("flush, with a sealing key")
def flush(world: World) -> None:
    """All SAs are flushed: they come back with their keys, over a restart too."""
    edge, phones = world.edge, world.phones
    edge.machine.shell(
        "head --bytes=32 /dev/urandom >/etc/sad/sad-seal; chmod 0400 /etc/sad/sad-seal"
    )
    edge.drop_in("[Service]\nLoadCredential=sad-seal:/etc/sad/sad-seal\n")
    edge.machine.write(SETTINGS, 'on_kernel_loss = "rebuild"\n' + edge.settings)
    edge.machine.run("systemctl", "restart", "sad.service")
    edge.wait_ready()
    phones.register("alice", 1)
    for when in ("while it runs", "while it does not"):
        if when == "while it runs":
            edge.machine.run("ip", "xfrm", "state", "flush")
        else:
            edge.machine.shell("systemctl kill --signal=KILL sad.service; ip xfrm state flush")
            edge.wait_ready()
        wait_until(lambda: edge.count() == 4, f"the SAs are back ({when})")
        wait_until(
            lambda: phones.call("message", ue="alice", to="alice")["received"],
            f"calls go on without a new registration ({when})",
        )
        world.look(f"flushed {when}")
    world.assert_protected()
    edge.machine.run("rm", "/etc/sad/sad-seal")


@scenario("a life in the journal")
def journal(world: World) -> None:
    """SAD_ASSOCIATION=ID picks one life out of it, in order, each step with its MESSAGE_ID."""
    edge, phones = world.edge, world.phones
    phones.register("alice", 1)
    (association,) = edge.associations()
    edge.machine.run(SADCTL, "release", association["id"])
    edge.wait_empty()

    lines = edge.journal(f"SAD_ASSOCIATION={association['id']}", "--output=json").splitlines()

    records = [json.loads(line) for line in lines]
    told = [r["MESSAGE"].split(maxsplit=2)[2] for r in records if r.get("MESSAGE_ID")]
    world.note("\n".join(told))
    assert told[0].startswith("installed on access for ")
    assert told[1].startswith("in use")
    assert told[-1] == "ended: released"
    assert len({r["MESSAGE_ID"] for r in records if r.get("MESSAGE_ID")}) >= 3
    assert {r["SAD_ENDPOINT"] for r in records if r.get("MESSAGE_ID")} == {"access"}
