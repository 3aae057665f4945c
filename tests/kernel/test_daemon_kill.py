"""SIGKILL at moments that nobody chose: what the next start finds, it adopts or removes whole."""

import contextlib
import itertools
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_hooks.client import CallError, Client, ClientError
from tests.support import eye
from tests.support.daemon import (
    ASSOCIATIONS,
    PATIENCE,
    Daemon,
    endpoint_settings,
    wait_until,
)
from tests.support.make import CK, IK
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE = "10.10.0.1"
ROUNDS = 4


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[Daemon]:
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        settings = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
        daemon = Daemon(namespace, tmp_path / "edge", settings)
        yield daemon
        daemon.stop()


class Worker:
    """A SIP server that installs, confirms and releases until its daemon is gone."""

    def __init__(self, daemon: Daemon, numbers: Iterator[int], seed: int) -> None:
        self.answered: set[str] = set()  # installs whose answer arrived, less releases
        self.unsure: set[str] = set()  # releases whose answer did not arrive
        self.calls = 0
        self._client = Client(str(daemon.socket), timeout=PATIENCE)
        self._numbers = numbers
        self._random = random.Random(seed)
        self._thread = threading.Thread(target=self._work)
        self._thread.start()

    def _work(self) -> None:
        with contextlib.suppress(ClientError), self._client:
            while True:
                self._step()
                self.calls += 1

    def _step(self) -> None:
        action = self._random.choice(["install", "install", "confirm", "release"])
        if action == "install" or not self.answered:
            association = self._call("Install", **_request(next(self._numbers)))["association"]
            self.answered.add(association["id"])
            return
        chosen = self._random.choice(sorted(self.answered))
        if action == "confirm":
            self._call("Confirm", id=chosen, expiresSeconds=600)
            return
        self.answered.discard(chosen)
        self.unsure.add(chosen)
        self._call("Release", id=chosen)
        self.unsure.discard(chosen)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._client.call(f"{ASSOCIATIONS}.{method}", parameters)

    def is_at_work(self) -> bool:
        """Whether it has got some answers."""
        return self.calls > 3

    def join(self) -> None:
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def _request(number: int) -> dict[str, Any]:
    return {
        "endpoint": "access",
        "registration": {"privateIdentity": f"ue{number}@ims", "publicIdentities": []},
        "mechanism": "ipsec-3gpp",
        "ipsec3gpp": {
            "ueAddress": f"10.20.{number // 250}.{number % 250 + 1}",
            "pcscfAddress": EDGE,
            "spiUc": 1000 + 2 * number,
            "spiUs": 1001 + 2 * number,
            "portUc": 7000,
            "portUs": 7001,
            "integrityAlgorithm": "hmac-sha-1-96",
            "encryptionAlgorithm": "null",
            "integrityKey": IK.hex(),
            "cipherKey": CK.hex(),
        },
        "lifetimeSeconds": 300,
    }


def test_a_kill_at_any_moment_leaves_nothing_half_and_loses_nothing(edge: Daemon) -> None:
    """Design 8: after each kill and start, kernel and daemon agree, and every answer holds."""
    numbers = itertools.count()
    chosen = random.Random(20261124)
    held: set[str] = set()
    edge.start()
    for round_ in range(ROUNDS):
        worker = Worker(edge, numbers, round_)
        wait_until(worker.is_at_work, "the worker is at work")
        time.sleep(chosen.random() * 0.3)  # the moment of the kill: any will do
        edge.kill()
        worker.join()
        assert all(s.hard_add > 0 for s in eye.states(edge.namespace))

        edge.start()
        live = {a["id"] for a in edge.associations()}
        held |= worker.answered
        # An install or release without an answer may have happened or not; all else is certain.
        assert held <= live, "an answered install was lost"
        assert len(live - held - worker.unsure) <= 1, "more than the one unanswered call"
        assert len(eye.states(edge.namespace)) == 4 * len(live)
        held = live
    for association_id in held:
        edge.call("Release", id=association_id)
    assert eye.states(edge.namespace) == []
    assert all("action block" in p for p in eye.policies(edge.namespace))


def test_without_the_capability_it_says_so_and_ends(edge: Daemon) -> None:
    """Peers K1: a daemon without CAP_NET_ADMIN names what is missing and does not start."""
    process = edge.spawn(wrapper=("setpriv", "--bounding-set=-net_admin"))

    assert process.wait(PATIENCE) == 69
    assert "CAP_NET_ADMIN" in edge.words()


def test_a_second_daemon_on_the_same_socket_is_refused(edge: Daemon) -> None:
    """It names the socket, and the first one goes on."""
    edge.start()
    second = Daemon(edge.namespace, edge.folder.parent / "second", "")
    second.config.write_text(
        edge.config.read_text().replace(str(edge.folder / "state"), "/run/s2")
    )

    assert second.spawn().wait(PATIENCE) == 69
    assert "another process serves" in second.words()
    assert edge.status()["state"] == "ready"


def test_an_illegal_call_names_the_rule_and_the_daemon_goes_on(edge: Daemon) -> None:
    """Bad input over the real socket: a typed error, and nothing in the kernel."""
    edge.start()
    request = _request(1)
    request["ipsec3gpp"]["spiUc"] = 0

    with pytest.raises(CallError) as refusal:
        edge.call("Install", **request)

    assert refusal.value.short_name == "BadParameter"
    assert refusal.value.parameters["rule"] == "IPS-1"
    assert eye.states(edge.namespace) == []
    assert IK.hex() not in edge.words()
