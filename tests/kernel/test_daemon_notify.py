"""What a service manager hears of a real daemon: start, reload, watchdog, stop."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_hooks.client import CallError, Unreachable
from tests.support.daemon import PATIENCE, Daemon, endpoint_settings
from tests.support.namespaces import Namespace

pytestmark = pytest.mark.kernel

EDGE = "10.10.0.1"
WATCHDOG_SECONDS = 0.4


class Manager:
    """Listens where systemd would."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._socket.settimeout(PATIENCE)

    def until(self, word: str) -> list[str]:
        """Return what is heard up to a datagram that begins with ``word``."""
        heard: list[str] = []
        while not heard or not heard[-1].startswith(word):
            heard.append(self._socket.recv(4096).decode())
        return heard

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Manager]:
    manager = Manager(tmp_path / "notify")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
    monkeypatch.setenv("WATCHDOG_USEC", str(int(WATCHDOG_SECONDS * 1e6)))
    monkeypatch.delenv("WATCHDOG_PID", raising=False)
    yield manager
    manager.close()


@pytest.fixture
def edge(tmp_path: Path, manager: Manager) -> Iterator[Daemon]:
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        settings = endpoint_settings("access", (EDGE,), 5064, "5068-5071")
        yield Daemon(namespace, tmp_path / "edge", settings)


def test_a_life_under_a_service_manager(edge: Daemon, manager: Manager) -> None:
    """READY only after the kernel was compared; every step told; the watchdog fed by the loop."""
    edge.spawn()

    starting = manager.until("READY=1")
    assert any(re.match(r"EXTEND_TIMEOUT_USEC=\d{8}$", line) for line in starting)
    told = [line.removeprefix("STATUS=") for line in starting if line.startswith("STATUS=")]
    assert told[-1] == "comparing the kernel with the journal"
    assert edge.status()["lastReconcile"]["reason"] == "start"

    begun = time.monotonic()
    for _ in range(3):
        manager.until("WATCHDOG=1")
    assert time.monotonic() - begun < max(10 * WATCHDOG_SECONDS, PATIENCE / 3)
    assert "STATUS=0 associations" in manager.until("STATUS=")

    os.kill(edge.pid, signal.SIGHUP)
    *_, reloading = manager.until("RELOADING=1")
    assert re.search(r"^MONOTONIC_USEC=\d+$", reloading, re.MULTILINE)
    assert manager.until("READY=1")[-1] == "READY=1\nSTATUS=settings read again"

    edge.config.write_text(edge.config.read_text() + "no_such_setting = 1\n")
    os.kill(edge.pid, signal.SIGHUP)
    manager.until("RELOADING=1")
    assert "reload refused" in manager.until("READY=1")[-1]

    os.kill(edge.pid, signal.SIGTERM)
    manager.until("STOPPING=1")
    assert edge.stop() == 0, edge.words()


def test_a_loop_that_hangs_feeds_no_watchdog(edge: Daemon, manager: Manager) -> None:
    """The sign of life comes from the loop that serves: a daemon that stands still is silent."""
    edge.spawn()
    manager.until("READY=1")
    manager.until("WATCHDOG=1")

    os.kill(edge.pid, signal.SIGSTOP)
    manager._socket.settimeout(0.2)
    with pytest.raises(TimeoutError):
        while True:  # what was sent before it stood still
            manager._socket.recv(4096)
    manager._socket.settimeout(5 * WATCHDOG_SECONDS)
    with pytest.raises(TimeoutError):
        manager._socket.recv(4096)
    os.kill(edge.pid, signal.SIGCONT)
    manager._socket.settimeout(PATIENCE)
    manager.until("WATCHDOG=1")

    os.kill(edge.pid, signal.SIGABRT)  # what systemd's watchdog sends
    assert edge._process is not None
    assert edge._process.wait(PATIENCE) == -signal.SIGABRT
    assert not list(edge.folder.rglob("core*"))


def test_who_calls_while_it_starts_is_told_when_to_come_again(
    edge: Daemon, manager: Manager
) -> None:
    """Before READY the socket answers status, and Busy with a time to all else."""
    edge.spawn()
    refusals: list[CallError] = []
    while not refusals or refusals[-1].short_name == "Busy":
        try:
            edge.call("Find", flow=_FLOW)
        except Unreachable:
            continue
        except CallError as error:
            refusals.append(error)
    assert edge.status()["state"] == "ready"
    *early, last = refusals
    assert all(e.parameters["retryAfterMilliseconds"] > 0 for e in early)
    assert last.short_name == "UnknownFlow"
    manager.until("READY=1")
    assert edge.stop() == 0


_FLOW = {
    "peerAddress": "10.20.0.1",
    "peerPort": 7000,
    "localAddress": EDGE,
    "localPort": 5064,
}
