"""Two edges with manual keys: two namespaces, a cable, a real daemon and key files in each."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from tests.support.daemon import CONTROL, Daemon, wait_until
from tests.support.key_files import instant, key_set, toml
from tests.support.namespaces import Cable, Namespace, connect

A = {4: "10.50.0.1", 6: "2001:db8:50::1"}
B = {4: "10.50.0.2", 6: "2001:db8:50::2"}
PORT = 5064

#: Chosen so that a packet that is lost fails a test soon, and one that is late does not.
ANSWER_SECONDS = 5.0
SILENCE_SECONDS = 0.3


def settings(addresses: dict[int, str], folder: Path, more: str = "") -> str:
    """Settings of one edge: profile rfc3329 with ipsec-man, its key files in ``folder``."""
    return (
        f'key_directory = "{folder}"\n{more}\n'
        f'[[endpoint]]\nname = "peering"\naddresses = {json.dumps(list(addresses.values()))}\n'
        f'server_port = {PORT}\nclient_ports = "5068-5069"\nusers = [{os.getuid()}]\n'
        'profile = "rfc3329"\nmechanisms = ["ipsec-man"]\naccept_unreplayed_verify = true\n'
    )


def other_side(fields: dict[str, Any], address: str) -> dict[str, Any]:
    """The same set as the peer has it in its file."""
    turned = fields | {"peer_address": address}
    for one, other in (
        ("spi_in", "spi_out"),
        ("local_ports", "peer_ports"),
        ("integrity_key_in", "integrity_key_out"),
        ("encryption_key_in", "encryption_key_out"),
    ):
        for mine, theirs in ((one, other), (other, one)):
            if theirs in fields:
                turned[mine] = fields[theirs]
    return turned


@dataclasses.dataclass
class ManWorld:
    """Both edges; ``a`` and ``b`` are namespaces, the daemons stand beside them."""

    folder: Path
    a: Namespace
    b: Namespace
    cable: Cable
    a_daemon: Daemon
    b_daemon: Daemon

    def keys_of(self, side: str) -> Path:
        """The directory of key files of a side, ``a`` or ``b``."""
        return self.folder / side / "keys.d"

    def write(self, name: str, *sets: dict[str, Any], version: int = 4) -> None:
        """Write a key file on both sides; the sets are as ``a`` has them."""
        for side, given in (
            ("a", sets),
            ("b", [other_side(s, A[version]) for s in sets]),
        ):
            path = self.keys_of(side) / name
            path.write_text(toml(*given))
            path.chmod(0o600)

    def reload(self) -> None:
        """Have both daemons read their files again; return when they have."""
        for daemon in (self.a_daemon, self.b_daemon):
            before = daemon.words().count("settings read again")
            os.kill(daemon.pid, signal.SIGHUP)
            wait_until(
                lambda d=daemon, n=before: d.words().count("settings read again") > n,  # type: ignore[misc]  # mypy: defaults of lambdas
                "the settings are read again",
            )

    def clean(self) -> None:
        """Leave neither key files nor SAs behind."""
        for side in ("a", "b"):
            for path in self.keys_of(side).iterdir():
                path.unlink()
        self.reload()
        for daemon in (self.a_daemon, self.b_daemon):
            for key in self.keys(daemon):
                daemon.client.call(f"{CONTROL}.RemoveKey", {"name": key["name"]})
            wait_until(lambda d=daemon: not d.associations(), "the associations are gone")  # type: ignore[misc]  # as above

    def keys(self, daemon: Daemon) -> list[dict[str, Any]]:
        """What a daemon holds."""
        found = daemon.client.call(f"{CONTROL}.ListKeys", {})
        keys: list[dict[str, Any]] = found["keys"]
        return keys

    def wait_in_force(self, *names: str) -> None:
        """Wait until SAs of these sets stand on both sides, and of no others."""
        for daemon in (self.a_daemon, self.b_daemon):

            def stand(daemon: Daemon = daemon) -> bool:
                found = {k["name"] for k in self.keys(daemon) if k["state"] == "standing"}
                return found == set(names)

            wait_until(stand, f"in force: {names}")

    def socket(self, where: tuple[str, int], kind: int = socket.SOCK_DGRAM) -> socket.socket:
        """A bound socket on the side that has the address."""
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        namespace = self.a if where[0] in A.values() else self.b
        with namespace.enter():
            made = socket.socket(family, kind)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(where)
        return made

    def passes(self, version: int = 4, ports: tuple[int, int] = (PORT, PORT)) -> bool:
        """Whether a request of ``a`` reaches ``b`` and its answer comes back; waits a while."""
        with (
            self.socket((A[version], ports[0])) as one,
            self.socket((B[version], ports[1])) as other,
        ):
            one.settimeout(ANSWER_SECONDS)
            other.settimeout(ANSWER_SECONDS)
            one.sendto(b"OPTIONS sip:b SIP/2.0", (B[version], ports[1]))
            text, source = other.recvfrom(65535)
            other.sendto(b"SIP/2.0 200 OK", source)
            return text.startswith(b"OPTIONS") and one.recv(65535).endswith(b"OK")

    def is_silent(self, version: int = 4, ports: tuple[int, int] = (PORT, PORT)) -> bool:
        """Whether nothing passes, either way; waits only a moment."""
        arrived = 0
        for source, destination in (
            ((A[version], ports[0]), (B[version], ports[1])),
            ((B[version], ports[1]), (A[version], ports[0])),
        ):
            with self.socket(destination) as receiver, self.socket(source) as sender:
                receiver.settimeout(SILENCE_SECONDS)
                with contextlib.suppress(OSError):
                    sender.sendto(b"probe", destination)
                with contextlib.suppress(TimeoutError):
                    arrived += receiver.recv(65535) == b"probe"
        return arrived == 0


class Traffic:
    """Numbered messages both ways between two ports at a rate, for the length of a block."""

    def __init__(self, world: ManWorld, rate: float, version: int = 4) -> None:
        ends = (A[version], PORT), (B[version], PORT)
        self._sockets = [world.socket(end) for end in ends]
        self._interval = 1 / rate
        self.sent = [0, 0]
        self.received: list[set[int]] = [set(), set()]
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=part, args=(side, ends[1 - side]))
            for side in (0, 1)
            for part in (self._send, self._receive)
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()
        for sock in self._sockets:
            sock.close()

    def _send(self, side: int, target: tuple[str, int]) -> None:
        begun = time.monotonic()
        while not self._stopped.is_set():
            with contextlib.suppress(OSError):  # refused by a policy: it counts as lost
                self._sockets[side].sendto(b"MESSAGE %d" % self.sent[side], target)
            self.sent[side] += 1
            ahead = begun + self.sent[side] * self._interval - time.monotonic()
            self._stopped.wait(max(0.0, ahead))

    def _receive(self, side: int, _: tuple[str, int]) -> None:
        self._sockets[side].settimeout(0.1)
        end = None
        while end is None or (self._lost(side) and time.monotonic() < end):
            with contextlib.suppress(TimeoutError):
                number = int(self._sockets[side].recv(65535).split()[1])
                self.received[side].add(number)
            if end is None and self._stopped.is_set():
                end = time.monotonic() + ANSWER_SECONDS

    def _lost(self, side: int) -> set[int]:
        return set(range(self.sent[1 - side])) - self.received[side]

    @property
    def lost(self) -> list[list[int]]:
        """The numbers that did not arrive, of each side."""
        return [sorted(self._lost(side)) for side in (0, 1)]


@contextlib.contextmanager
def man_world(more: str = "") -> Iterator[ManWorld]:
    """Build both edges and start their daemons; ``more`` are further settings of both."""
    with contextlib.ExitStack() as stack:
        # A memory file system of this guest: the owner of what lies there is this user.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="man-", dir="/run")))
        a = stack.enter_context(Namespace("edge-a"))
        b = stack.enter_context(Namespace("edge-b"))
        cable = connect(a, b, (f"{A[4]}/24", f"{B[4]}/24"), (f"{A[6]}/64", f"{B[6]}/64"))
        daemons = []
        for side, namespace, addresses in (("a", a, A), ("b", b, B)):
            keys = folder / side / "keys.d"
            keys.mkdir(parents=True, mode=0o700)
            daemon = Daemon(namespace, folder / side, settings(addresses, keys, more))
            stack.callback(daemon.stop)
            daemon.spawn()
            daemons.append(daemon)
        for daemon in daemons:
            daemon.wait_ready()
        yield ManWorld(folder, a, b, cable, *daemons)


def set_for(
    seconds: float,
    changes: dict[str, Any] | None = None,
    *,
    begins: float = 0.0,
    version: int = 4,
) -> dict[str, Any]:
    """A set of ``a`` that is valid for so long, from ``begins`` seconds on."""
    now = time.time()
    times = {
        "not_before": instant(now + begins),
        "not_after": instant(now + begins + seconds),
    }
    return key_set(**({"peer_address": B[version]} | times | (changes or {})))
