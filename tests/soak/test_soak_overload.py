"""More callers than the daemon serves: who floods is told Busy, who is polite is answered."""

import collections
import contextlib
import itertools
import json
import os
import re
import selectors
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_hooks.client import CallError, Client
from tests.support.daemon import ASSOCIATIONS, PATIENCE, Daemon, endpoint_settings, running
from tests.support.make import CK, IK, security_client
from tests.support.namespaces import Namespace

EDGE = "10.10.0.1"
UIDS = range(2001, 2009)
CONNECTIONS_OF_A_UID = 8
FLOOD_SECONDS = 20.0
#: Calls that one connection has sent and that are not answered.
PIPELINED = 256
#: How long a polite client waits for an answer while all the others flood: half of its calls, and
#: the longest, which falls into the first burst: the daemon reads all that has come before it
#: works on any of it.
USUAL_WAIT = PATIENCE / 30
LONGEST_WAIT = PATIENCE / 2
#: What the flood may cost: requests that wait, their connections, and the sets that it got.
RSS_GROWTH_KB = 96 << 10

_SETTINGS = """socket_mode = 0o666
log_level = "warning"
[limits]
offers_per_second = 100000
max_calls_at_once = 16
"""


def _offer(number: int) -> dict[str, Any]:
    """Return the Offer of a user agent of its own."""
    address = f"10.{100 + number // 62_500}.{number // 250 % 250}.{number % 250 + 1}"
    row = security_client(spi_c=1000, spi_s=1001, port_c=10_000, port_s=6800)
    return {
        "endpoint": "access",
        "registration": {"privateIdentity": f"ue{number}@ims", "publicIdentities": []},
        "flow": {
            "peerAddress": address,
            "peerPort": 5060,
            "localAddress": EDGE,
            "localPort": 5060,
        },
        "transaction": {"callId": f"call{number}", "cseq": 1, "branch": "z9hG4bKa"},
        "association": None,
        "securityClient": [row],
        "integrityKey": IK.hex(),
        "cipherKey": CK.hex(),
    }


class Flood:
    """Sends Offers on every connection without waiting, in a thread; counts what is answered."""

    def __init__(self, path: Path) -> None:
        self.answers: collections.Counter[str] = collections.Counter()
        self.retry_after: list[int] = []
        self._numbers = itertools.count(1)
        self._selector = selectors.DefaultSelector()
        self._ending = False
        for uid in UIDS:
            for _ in range(CONNECTIONS_OF_A_UID):
                self._selector.register(
                    _connect_as(uid, path), selectors.EVENT_READ | selectors.EVENT_WRITE, _Line()
                )
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def end(self) -> None:
        """Hang up everywhere."""
        self._ending = True
        self._thread.join()
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
        self._selector.close()

    def _run(self) -> None:
        while not self._ending:
            for key, events in self._selector.select(0.1):
                assert isinstance(key.fileobj, socket.socket)
                with contextlib.suppress(BlockingIOError):
                    if events & selectors.EVENT_READ:
                        self._take(key.data, key.fileobj.recv(1 << 16))
                    if events & selectors.EVENT_WRITE:
                        self._give(key.data, key.fileobj)
            time.sleep(0.001)

    def _take(self, line: "_Line", data: bytes) -> None:
        if not data:
            raise AssertionError("the daemon has hung up")
        *messages, line.half = (line.half + data).split(b"\0")
        line.waiting -= len(messages)
        for message in messages:
            reply = json.loads(message)
            name = reply.get("error", "offered").rpartition(".")[2]
            self.answers[name] += 1
            if name == "Busy":
                self.retry_after.append(reply["parameters"]["retryAfterMilliseconds"])

    def _give(self, line: "_Line", sock: socket.socket) -> None:
        if not line.unsent and line.waiting < PIPELINED:
            call = {"method": f"{ASSOCIATIONS}.Offer", "parameters": _offer(next(self._numbers))}
            line.unsent = json.dumps(call).encode() + b"\0"
            line.waiting += 1
        if line.unsent:
            line.unsent = line.unsent[sock.send(line.unsent) :]


class _Line:
    def __init__(self) -> None:
        self.unsent = b""
        self.half = b""
        self.waiting = 0


def _connect_as(uid: int, path: Path) -> socket.socket:
    """Connect as another user: the kernel vouches for who connected."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.seteuid(uid)
    try:
        sock.connect(str(path))
    finally:
        os.seteuid(0)
    sock.setblocking(False)
    return sock


@pytest.fixture
def edge() -> Iterator[Daemon]:
    """Give a daemon whose socket every user can reach: pytest's own folders are private."""
    folder = Path("/run/soak-overload")
    users = [0, *UIDS]
    settings = re.sub(
        r"(?m)^users = .*$",
        f"users = {users}",
        endpoint_settings("access", (EDGE,), 5064, "5068-5071"),
    )
    with Namespace("edge") as namespace:
        namespace.run(["ip", "addr", "add", f"{EDGE}/24", "dev", "lo"])
        folder.mkdir(mode=0o755)
        try:
            with running(namespace, folder, _SETTINGS + settings) as daemon:
                yield daemon
        finally:
            shutil.rmtree(folder)


def _rss(daemon: Daemon) -> int:
    found = re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{daemon.pid}/status").read_text())
    assert found is not None
    return int(found[1])


def _register(client: Client, number: int, waits: list[float]) -> str:
    """Register politely: one call after the other; return what became of it."""

    def call(method: str, **parameters: Any) -> dict[str, Any]:
        begun = time.monotonic()
        try:
            return client.call(f"{ASSOCIATIONS}.{method}", parameters)
        finally:
            waits.append(time.monotonic() - begun)

    offer = _offer(number)
    try:
        association = call("Offer", **offer)["association"]
        call("Confirm", id=association["id"], expiresSeconds=600)
        call("Release", id=association["id"])
    except CallError as error:
        return error.short_name
    return "registered"


@pytest.mark.timeout(300)
def test_soak_a_flood_is_told_busy_and_costs_bounded_memory(
    edge: Daemon, say: Callable[[str], None]
) -> None:
    """Design 6: excess is Busy; memory is bounded; a polite user is served meanwhile."""
    before = highest = _rss(edge)
    waits: list[float] = []
    polite: collections.Counter[str] = collections.Counter()
    flood = Flood(edge.socket)
    try:
        with Client(str(edge.socket), timeout=PATIENCE) as client:
            end = time.monotonic() + FLOOD_SECONDS
            for number in itertools.count(1_000_000):
                polite[_register(client, number, waits)] += 1
                highest = max(highest, _rss(edge))
                if time.monotonic() > end:
                    break
                time.sleep(0.05)
    finally:
        flood.end()
    waits.sort()
    say(
        f"overload: {len(UIDS) * CONNECTIONS_OF_A_UID} connections of {len(UIDS)} users got "
        f"{dict(flood.answers)} in {FLOOD_SECONDS:.0f} s, retry after "
        f"{min(flood.retry_after, default=0)} to {max(flood.retry_after, default=0)} ms; "
        f"a polite one {dict(polite)}, answers within {waits[len(waits) // 2] * 1000:.0f} ms "
        f"(median), {waits[-1] * 1000:.0f} ms (longest); RSS {before // 1024} -> "
        f"{highest // 1024} MB"
    )
    assert set(flood.answers) <= {"offered", "Busy"}
    assert flood.answers["Busy"] > 0
    assert flood.answers["offered"] > 0
    assert min(flood.retry_after) > 0
    # Where the common queue is full, a user who has nothing in it may be told Busy, too.
    assert set(polite) <= {"registered", "Busy"}
    assert polite["registered"] > 0
    assert waits[len(waits) // 2] < USUAL_WAIT
    assert waits[-1] < LONGEST_WAIT
    assert highest < before + RSS_GROWTH_KB
    assert edge.reconcile()["ended"] == 0
