"""SIGHUP on a living daemon: endpoints come, change and go, associations live on."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_hooks.client import CallError
from tests.support import eye
from tests.support.daemon import Daemon, endpoint_settings, wait_until
from tests.support.make import CK, IK
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE, OTHER = "10.10.0.1", "10.10.0.9"
ACCESS = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
SECOND = endpoint_settings("second", (OTHER,), 6064, "6068-6071")


def settings_with(edge: Daemon, endpoints: str) -> str:
    """Its own paths, and other endpoints or sections."""
    own = [line for line in edge.config.read_text().splitlines() if " = " in line][:2]
    return "\n".join(own) + "\n" + endpoints


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Daemon]:
    with Namespace("edge") as namespace:
        for address in (EDGE, OTHER):
            namespace.run(["ip", "addr", "add", f"{address}/24", "dev", "lo"])
        daemon = Daemon(namespace, tmp_path / "edge", ACCESS)
        daemon.start()
        yield daemon
        assert daemon.stop() == 0, daemon.words()


def install(edge: Daemon, endpoint: str, local: str, number: int) -> dict[str, Any]:
    answer = edge.call(
        "Install",
        endpoint=endpoint,
        registration={"privateIdentity": f"ue{number}@ims", "publicIdentities": []},
        mechanism="ipsec-3gpp",
        ipsec3gpp={
            "ueAddress": f"10.20.0.{number}",
            "pcscfAddress": local,
            "spiUc": 1000 + 2 * number,
            "spiUs": 1001 + 2 * number,
            "portUc": 7000,
            "portUs": 7001,
            "integrityAlgorithm": "hmac-sha-1-96",
            "encryptionAlgorithm": "null",
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        },
        lifetimeSeconds=300,
    )
    return dict(answer["association"])


def blocked(edge: Daemon) -> set[str]:
    """Addresses on whose ports clear text is blocked."""
    blocks = [p for p in eye.policies(edge.namespace) if "action block" in p]
    return {a for a in (EDGE, OTHER) if any(f"{a}/32" in p for p in blocks)}


def test_endpoints_come_and_go_and_associations_live_on(edge: Daemon) -> None:
    """Design 2: the blocks follow the endpoints; what no endpoint serves any more ends."""
    first = install(edge, "access", EDGE, 1)
    with pytest.raises(CallError, match="NoSuchEndpoint"):
        install(edge, "second", OTHER, 2)

    edge.reload(settings_with(edge, ACCESS + SECOND))
    assert blocked(edge) == {EDGE, OTHER}
    second = install(edge, "second", OTHER, 2)
    assert {a["id"] for a in edge.associations()} == {first["id"], second["id"]}

    edge.reload(settings_with(edge, SECOND))
    wait_until(lambda: blocked(edge) == {OTHER}, "the blocks of the gone endpoint go")
    assert {a["id"] for a in edge.associations()} == {second["id"]}
    assert len(eye.states(edge.namespace)) == 4
    assert "access is no longer configured" in edge.words()
    edge.call("Confirm", id=second["id"], expiresSeconds=600)

    edge.kill()  # the next life begins with what the last one ran with
    edge.start()
    assert {a["id"] for a in edge.associations()} == {second["id"]}


def test_settings_with_an_error_change_nothing(edge: Daemon) -> None:
    """The old ones hold in every part, status says what is wrong and the way out."""
    first = install(edge, "access", EDGE, 1)
    for settings in (
        ACCESS + SECOND.replace("6064", '"many"'),
        ACCESS + SECOND.replace(str(os.getuid()), '"nobody-of-this-name"'),
        "endpoint = [",
    ):
        edge.reload(settings_with(edge, settings))
        assert edge.status()["lastProblem"].startswith("the settings were not read again")
        assert "--check-config" in edge.status()["lastProblemHint"]
        assert blocked(edge) == {EDGE}
        with pytest.raises(CallError, match="NoSuchEndpoint"):
            install(edge, "second", OTHER, 2)
        assert [a["id"] for a in edge.associations()] == [first["id"]]

    edge.config.unlink()
    before = edge.words().count("settings")
    os.kill(edge.pid, signal.SIGHUP)
    wait_until(lambda: edge.words().count("settings") > before, "the missing file is told")
    assert [a["id"] for a in edge.associations()] == [first["id"]]


def test_lifetimes_and_users_are_taken_over(edge: Daemon) -> None:
    """Kernel limits follow a new backstop; who is no user any more is refused."""
    association = install(edge, "access", EDGE, 1)
    assert {s.hard_add for s in eye.states(edge.namespace)} == {315}

    longer = "[lifetimes]\nbackstop_seconds = 60\nlongest_registration_seconds = 900\n"
    edge.reload(settings_with(edge, longer + ACCESS))
    wait_until(lambda: edge.status()["lastReconcile"]["reason"] == "reload", "it is compared")
    with pytest.raises(CallError, match="BadParameter"):
        edge.call("Confirm", id=association["id"], expiresSeconds=901)
    edge.call("Confirm", id=association["id"], expiresSeconds=600)

    edge.reload(settings_with(edge, ACCESS.replace(f"users = [{os.getuid()}]", "users = [4711]")))
    with pytest.raises(CallError, match="NotPermitted"):
        edge.call("Confirm", id=association["id"], expiresSeconds=700)
    edge.call("Release", id=association["id"])  # root may control
    assert eye.states(edge.namespace) == []


def test_what_only_a_restart_takes_up_is_named(edge: Daemon) -> None:
    """It keeps its value until then, everything else holds."""
    edge.reload(settings_with(edge, "[kernel]\nreplay_window = 64\n" + ACCESS + SECOND))

    assert "kernel.replay_window" in edge.status()["lastProblem"]
    assert "restart" in edge.status()["lastProblemHint"]
    install(edge, "second", OTHER, 2)
    assert {s.replay_window for s in eye.states(edge.namespace)} <= {0, 128}
