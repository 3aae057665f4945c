"""UDP ports and TCP connections of a SIP test agent: the only file that touches sockets.

The counterpart of :mod:`tests.ue.transaction`: bytes and flows go up, bytes come down. Every
socket is bound before use, because with ipsec-3gpp the source port decides about protection.
"""

import asyncio
import contextlib
import ctypes
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, cast

from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.headers import SipError
from tests.ue.sip import StreamFramer

_CLONE_NEWNET = 0x40000000
_SO_RCVBUFFORCE = 33  # the socket module does not know it
_RECEIVE_BUFFER = 8 << 20


class Receiver(Protocol):
    """Who gets what arrives."""

    def received(self, data: bytes, flow: Flow, hop: Hop) -> None:
        """Take one message; ``hop`` leads back to the sender."""

    def connected(self, connection: "TcpConnection") -> None:
        """Take note of a connection that the peer opened."""

    def closed(self, connection: "TcpConnection", reason: str) -> None:
        """Take note of a connection's end, whoever opened it."""


@contextlib.contextmanager
def network_namespace(name: str | None) -> Iterator[None]:
    """Make the sockets of the body in a named network namespace (None: in the present one)."""
    if name is None:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)

    def enter(descriptor: int) -> None:
        if libc.setns(descriptor, _CLONE_NEWNET) != 0:
            raise OSError(ctypes.get_errno(), f"cannot enter network namespace {name}")

    with (
        Path("/proc/thread-self/ns/net").open("rb") as home,
        Path(f"/run/netns/{name}").open("rb") as there,
    ):
        enter(there.fileno())
        try:
            yield
        finally:
            enter(home.fileno())


def bound_socket(kind: int, local: HostPort, namespace: str | None = None) -> socket.socket:
    """Return a non-blocking socket bound to ``local``; OSError if the port is taken."""
    family = socket.AF_INET6 if ":" in local.host else socket.AF_INET
    with network_namespace(namespace):
        sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    try:
        if kind == socket.SOCK_DGRAM:
            _enlarge(sock)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(local)
    except OSError as error:
        sock.close()
        raise OSError(error.errno, f"{local}: {os.strerror(error.errno or 0)}") from error
    return sock


def _enlarge(sock: socket.socket) -> None:
    """Give room for what hundreds of agents of one process send before one of them reads."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)


def _host_port(name: Any) -> HostPort:
    return HostPort(str(name[0]), int(name[1]))


class UdpPort(asyncio.DatagramProtocol):
    """One bound UDP port."""

    def __init__(self, receiver: Receiver) -> None:
        self._receiver = receiver
        self._transport: asyncio.DatagramTransport | None = None
        self.local = HostPort("", 0)

    @classmethod
    async def open(
        cls, local: HostPort, receiver: Receiver, *, namespace: str | None = None
    ) -> "UdpPort":
        sock = bound_socket(socket.SOCK_DGRAM, local, namespace)
        loop = asyncio.get_running_loop()
        _, port = await loop.create_datagram_endpoint(lambda: cls(receiver), sock=sock)
        return port

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)
        self.local = _host_port(transport.get_extra_info("sockname"))

    def datagram_received(self, data: bytes, addr: Any) -> None:
        remote = _host_port(addr)
        flow = Flow("UDP", self.local, remote)
        self._receiver.received(data, flow, UdpHop(self, remote))

    def send_to(self, data: bytes, remote: HostPort) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError(f"UDP port {self.local} is closed")
        self._transport.sendto(data, remote)

    def close(self) -> None:
        if self._transport is not None:
            self._transport.abort()


@dataclass(frozen=True, slots=True)
class UdpHop:
    """Sends from one UDP port to one peer.

    ``answered_at``: where responses must arrive if not where they were sent from (T33-7.1-d:
    from port_pc to port_us, while the request went from port_uc to port_ps).
    """

    port: UdpPort
    remote: HostPort
    answered_at: tuple[Flow, ...] = ()

    @property
    def flow(self) -> Flow:
        return Flow("UDP", self.port.local, self.remote)

    def send(self, data: bytes) -> None:
        self.port.send_to(data, self.remote)

    def answers(self, flow: Flow) -> bool:
        return flow in (self.answered_at or (self.flow,))


class TcpConnection(asyncio.Protocol):
    """One TCP connection, opened by us or by the peer; also its own :class:`Hop`."""

    def __init__(self, receiver: Receiver, *, accepted: bool) -> None:
        self._receiver = receiver
        self._framer = StreamFramer()
        self._transport: asyncio.Transport | None = None
        self._reason = "closed by the peer"
        self.accepted = accepted
        self.flow = Flow("TCP", HostPort("", 0), HostPort("", 0))

    @classmethod
    async def open(
        cls, sock: socket.socket, remote: HostPort, receiver: Receiver, *, seconds: float
    ) -> "TcpConnection":
        """Connect a bound socket; raises OSError or TimeoutError and closes the socket."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(seconds):
                await loop.sock_connect(sock, remote)
        except BaseException:
            sock.close()
            raise
        _, connection = await loop.create_connection(
            lambda: cls(receiver, accepted=False), sock=sock
        )
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        # asyncio does it only for sockets that were made with the protocol number.
        sock = transport.get_extra_info("socket")
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        local, remote = (transport.get_extra_info(name) for name in ("sockname", "peername"))
        self.flow = Flow("TCP", _host_port(local), _host_port(remote))
        if self.accepted:
            self._receiver.connected(self)

    def data_received(self, data: bytes) -> None:
        try:
            for message in self._framer.feed(data):
                self._receiver.received(message, self.flow, self)
        except SipError as error:
            self._reason = f"broken stream: {error}"
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        self._receiver.closed(self, self._reason if exc is None else str(exc))

    @property
    def is_open(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def send(self, data: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise ConnectionError(f"{self.flow} is closed")
        self._transport.write(data)

    def answers(self, flow: Flow) -> bool:
        return flow == self.flow

    def abort(self) -> None:
        """End with a RST: nothing may linger beyond the SAs under it."""
        if self._transport is not None:
            sock = self._transport.get_extra_info("socket")
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self._reason = "closed by us" if self.is_open else self._reason
            self._transport.abort()


async def listen(
    local: HostPort, receiver: Receiver, *, namespace: str | None = None
) -> asyncio.Server:
    """Accept TCP connections at ``local``."""
    sock = bound_socket(socket.SOCK_STREAM, local, namespace)
    loop = asyncio.get_running_loop()
    return await loop.create_server(
        lambda: TcpConnection(receiver, accepted=True), sock=sock, backlog=1024
    )
