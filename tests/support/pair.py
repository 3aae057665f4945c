"""An edge and a user agent: two namespaces, a cable, a real daemon in each (roles edge and ue)."""

import contextlib
import dataclasses
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from tests.support.daemon import Daemon, endpoint_settings
from tests.support.make import CK, IK
from tests.support.namespaces import Cable, Namespace, connect

EDGE = {4: "10.10.0.1", 6: "2001:db8:1::1"}
UE = {4: "10.10.0.2", 6: "2001:db8:1::2"}
EDGE_SERVER, EDGE_CLIENTS = 5064, (5068, 5069, 5070, 5071)
UE_SERVER, UE_CLIENTS = 6800, (6802, 6803)

#: Chosen so that a packet that is lost fails a test soon, and one that is late does not.
ANSWER_SECONDS = 5.0
SILENCE_SECONDS = 0.2


@dataclasses.dataclass
class Ends:
    """Both sides: two namespaces and the cable between them."""

    edge: Namespace
    ue: Namespace
    cable: Cable

    def namespace_of(self, address: str) -> Namespace:
        """Return the side that has an address."""
        return self.edge if address in EDGE.values() else self.ue

    def udp(self, source: tuple[str, int], destination: tuple[str, int], text: bytes) -> bool:
        """Send one datagram; say whether it arrived."""
        with (
            self._bound(destination, socket.SOCK_DGRAM) as receiver,
            self._bound(source, socket.SOCK_DGRAM) as sender,
        ):
            receiver.settimeout(ANSWER_SECONDS)
            try:
                sender.sendto(text, destination)
            except OSError:
                return False  # EPERM: a block policy refused it
            return receiver.recv(65535) == text

    def udp_arrives(self, source: tuple[str, int], destination: tuple[str, int]) -> bool:
        """As :meth:`udp`, for what must not arrive: waits only a moment."""
        with (
            self._bound(destination, socket.SOCK_DGRAM) as receiver,
            self._bound(source, socket.SOCK_DGRAM) as sender,
        ):
            receiver.settimeout(SILENCE_SECONDS)
            with contextlib.suppress(OSError):
                sender.sendto(b"probe", destination)
            try:
                return receiver.recv(65535) == b"probe"
            except TimeoutError:
                return False

    def tcp(self, source: tuple[str, int], destination: tuple[str, int], text: bytes) -> bool:
        """Connect, send, and get the same back; say whether it worked."""
        with (
            self._bound(destination, socket.SOCK_STREAM) as listener,
            self._bound(source, socket.SOCK_STREAM) as client,
        ):
            listener.listen()
            client.settimeout(ANSWER_SECONDS)
            listener.settimeout(ANSWER_SECONDS)
            client.connect(destination)
            server, _ = listener.accept()
            with server:
                server.settimeout(ANSWER_SECONDS)
                client.sendall(text)
                server.sendall(_all_of(server, len(text)))
                answer = _all_of(client, len(text))
                # The client closes first with a reset, so that no port lingers in TIME_WAIT.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            return answer == text

    @contextlib.contextmanager
    def _bound(self, where: tuple[str, int], kind: int) -> Iterator[socket.socket]:
        family = socket.AF_INET6 if ":" in where[0] else socket.AF_INET
        with self.namespace_of(where[0]).enter():
            sock = socket.socket(family, kind)
        with sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind(where)
            yield sock

    def port_pairs(self, edge: dict[str, Any]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        """The rows SA1 to SA4 of a set as (source, destination)."""
        s = edge["ipsec3gpp"]
        u, p = s["ueAddress"], s["pcscfAddress"]
        return [
            ((u, s["portUc"]), (p, s["portPs"])),
            ((p, s["portPs"]), (u, s["portUc"])),
            ((p, s["portPc"]), (u, s["portUs"])),
            ((u, s["portUs"]), (p, s["portPc"])),
        ]

    def cross_pairs(self, edge: dict[str, Any]) -> list[tuple[tuple[str, int], tuple[str, int]]]:
        """The pairs of INTEROP-1, both ways."""
        s = edge["ipsec3gpp"]
        u, p = s["ueAddress"], s["pcscfAddress"]
        pairs = [((u, s["portUs"]), (p, s["portPs"])), ((u, s["portUc"]), (p, s["portPc"]))]
        return pairs + [(b, a) for a, b in pairs]


@dataclasses.dataclass
class EdgeEnd(Ends):
    """With a daemon at the edge."""

    edge_daemon: Daemon

    def install_edge(
        self,
        version: int = 4,
        *,
        integrity: str = "hmac-sha-1-96",
        encryption: str = "null",
        lifetime: int | None = 120,
        client: int = 0,
        spis: tuple[int, int] = (17775, 17776),
        endpoint: str = "access",
    ) -> dict[str, Any]:
        """Install one set at the edge, which chooses its own SPIs and port."""
        return dict(
            self.edge_daemon.call(
                "Install",
                endpoint=endpoint,
                registration=_registration(version),
                mechanism="ipsec-3gpp",
                ipsec3gpp=_KEYS
                | {
                    "ueAddress": UE[version],
                    "pcscfAddress": EDGE[version],
                    "spiUc": spis[0],
                    "spiUs": spis[1],
                    "portUc": UE_CLIENTS[client],
                    "portUs": UE_SERVER,
                    "integrityAlgorithm": integrity,
                    "encryptionAlgorithm": encryption,
                },
                lifetimeSeconds=lifetime,
            )["association"]
        )


_KEYS = {"integrityKey": IK.hex(), "cipherKey": CK.hex()}


def _registration(version: int) -> dict[str, Any]:
    return {"privateIdentity": f"ue{version}@ims.example", "publicIdentities": []}


@dataclasses.dataclass
class Pair(EdgeEnd):
    """With a daemon on each side."""

    ue_daemon: Daemon

    def install(
        self, version: int = 4, *, lifetime: int | None = 120, **settings: Any
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        """Install one set on both sides; ``settings`` are of :meth:`install_edge`."""
        edge = self.install_edge(version, lifetime=lifetime, **settings)
        ue = self.ue_daemon.call(
            "Install",
            endpoint="phone",
            role="ue",
            registration=_registration(version),
            mechanism="ipsec-3gpp",
            ipsec3gpp=edge["ipsec3gpp"] | _KEYS,
            lifetimeSeconds=lifetime,
        )["association"]
        return edge, ue


def _all_of(sock: socket.socket, size: int) -> bytes:
    received = b""
    while len(received) < size and (more := sock.recv(size - len(received))):
        received += more
    return received


@contextlib.contextmanager
def two_ends() -> Iterator[Ends]:
    """Build both sides without a daemon on either."""
    with Namespace("edge") as edge, Namespace("ue") as ue:
        addresses = (f"{EDGE[4]}/24", f"{UE[4]}/24"), (f"{EDGE[6]}/64", f"{UE[6]}/64")
        yield Ends(edge, ue, connect(edge, ue, *addresses))


def daemon_at_edge(edge: Namespace, folder: Path, settings: str, endpoints: str = "") -> Daemon:
    """Make the edge's daemon, with more ``endpoints`` than "access" if they are given."""
    access = endpoint_settings("access", tuple(EDGE.values()), EDGE_SERVER, "5068-5071")
    return Daemon(edge, folder, settings + access + endpoints)


@contextlib.contextmanager
def pair_of_daemons(
    folder: Path,
    *,
    settings: str = "",
    edge_settings: str = "",
    beside: Callable[[Ends, contextlib.ExitStack], None] | None = None,
) -> Iterator[Pair]:
    """Build both sides, start both daemons; take everything down at the end.

    ``settings`` are those of both, ``edge_settings`` come before them at the edge. ``beside``
    starts what the daemons are to find.
    """
    with contextlib.ExitStack() as stack:
        ends = stack.enter_context(two_ends())
        edge, ue = ends.edge, ends.ue
        if beside is not None:
            beside(ends, stack)
        edge_daemon = daemon_at_edge(edge, folder / "edge", edge_settings + settings)
        ue_daemon = Daemon(
            ue,
            folder / "ue",
            settings
            + endpoint_settings("phone", tuple(UE.values()), UE_SERVER, "6802-6803", role="ue"),
        )
        stack.callback(edge_daemon.stop)
        stack.callback(ue_daemon.stop)
        edge_daemon.spawn()
        ue_daemon.spawn()
        edge_daemon.wait_ready()
        ue_daemon.wait_ready()
        yield Pair(edge, ue, ends.cable, edge_daemon, ue_daemon)
