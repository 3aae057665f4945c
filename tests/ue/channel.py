"""One way between a UE and its P-CSCF: the unprotected ports, or the ports of one SA set.

The counterpart of a row of the UE's SA table (T33-7.1-u1): which flows belong to the set, where
its requests leave and where their answers must arrive (T33-7.1-d).
"""

import asyncio
import enum
import secrets
import socket
from dataclasses import dataclass

from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.security import SaSet
from tests.ue.transport import Receiver, TcpConnection, UdpHop, UdpPort, bound_socket

_ATTEMPTS = 200


class ChannelState(enum.Enum):
    UNPROTECTED = "unprotected"
    TEMPORARY = "temporary"
    ESTABLISHED = "established"
    OLD = "old"
    RETIRING = "retiring"
    GONE = "gone"


@dataclass(slots=True)
class ClientPort:
    """A reserved port_uc: both transports are bound before it is offered."""

    udp: UdpPort
    tcp: socket.socket | None

    @property
    def number(self) -> int:
        return self.udp.local.port

    def close(self) -> None:
        self.udp.close()
        if self.tcp is not None:
            self.tcp.close()

    @classmethod
    async def reserve(
        cls, address: str, ports: tuple[int, int], receiver: Receiver, namespace: str | None
    ) -> "ClientPort":
        """Bind a random port of ``ports`` (inclusive) that is free for UDP and TCP."""
        for _ in range(_ATTEMPTS):
            local = HostPort(address, ports[0] + secrets.randbelow(ports[1] - ports[0] + 1))
            try:
                tcp = bound_socket(socket.SOCK_STREAM, local, namespace)
            except OSError:
                continue
            try:
                udp = await UdpPort.open(local, receiver, namespace=namespace)
            except OSError:
                tcp.close()
                continue
            return cls(udp, tcp)
        raise OSError(f"no free port of {ports[0]}-{ports[1]} at {address}")


class Channel:
    """Ports of both ends; c: client port, s: server port. Unprotected: c and s are one."""

    def __init__(
        self,
        client: ClientPort,
        server: UdpPort,
        *,
        receiver: Receiver,
        remote_server: HostPort,
        remote_client: HostPort,
        sa_set: SaSet | None = None,
        answer_from_server_port: bool = False,
        namespace: str | None = None,
        connect_seconds: float = 32.0,
    ) -> None:
        self._client = client
        self._server = server
        self._receiver = receiver
        self._answer_from_server_port = answer_from_server_port
        self._namespace = namespace
        self._connect_seconds = connect_seconds
        self._opening = asyncio.Lock()
        self._lifetime: asyncio.TimerHandle | None = None
        self.remote_server = remote_server
        self.remote_client = remote_client
        self.sa_set = sa_set
        self.tcp: TcpConnection | None = None
        self.state = ChannelState.TEMPORARY if sa_set else ChannelState.UNPROTECTED
        self.ends_at = 0.0

    @property
    def label(self) -> str:
        return "clear" if self.sa_set is None else self.sa_set.label

    @property
    def local_client(self) -> HostPort:
        return self._client.udp.local

    @property
    def local_server(self) -> HostPort:
        """What Via and Contact name (T24-UE-3)."""
        return self._server.local

    def datagram_flows(self) -> tuple[Flow, ...]:
        """Flows on which UDP may arrive: p.c -> u.s; with cross pairs p.s -> u.s too."""
        remotes = [self.remote_client]
        if self.sa_set is not None and self.sa_set.cross_pairs:
            remotes.append(self.remote_server)
        return tuple(Flow("UDP", self.local_server, remote) for remote in remotes)

    def accepts(self, flow: Flow) -> bool:
        """Whether a message on ``flow`` may belong to this channel."""
        if self.state is ChannelState.GONE:
            return False
        if flow.transport == "UDP":
            return flow in self.datagram_flows()
        if self.tcp is not None and flow == self.tcp.flow:
            return True
        opened_by_peer = flow.local == self.local_server
        if self.sa_set is None:
            return opened_by_peer and flow.remote.host == self.remote_server.host
        return opened_by_peer and flow.remote == self.remote_client

    def datagrams(self) -> UdpHop:
        """The way of UDP requests: from u.c to p.s, answered p.c -> u.s."""
        return UdpHop(self._client.udp, self.remote_server, self.datagram_flows())

    def datagram_replies(self) -> UdpHop:
        """The way of UDP responses: from u.c to p.s too, or u.s to p.s as INTEROP-1 saw it."""
        port = self._server if self._answer_from_server_port else self._client.udp
        return UdpHop(port, self.remote_server)

    async def connection(self) -> TcpConnection:
        """The connection u.c -> p.s, opened when first needed."""
        async with self._opening:
            if self.tcp is None or not self.tcp.is_open:
                sock = self._client.tcp
                self._client.tcp = None
                if sock is None:
                    port = self.local_client.port if self.sa_set else 0
                    local = HostPort(self.local_client.host, port)
                    sock = bound_socket(socket.SOCK_STREAM, local, self._namespace)
                self.tcp = await TcpConnection.open(
                    sock, self.remote_server, self._receiver, seconds=self._connect_seconds
                )
            return self.tcp

    async def hop(self, transport: str) -> Hop:
        return self.datagrams() if transport == "UDP" else await self.connection()

    def live_until(self, at: float, expired: asyncio.TimerHandle) -> None:
        """Set the SIP-level lifetime; ``expired`` is its armed timer."""
        if self._lifetime is not None:
            self._lifetime.cancel()
        self.ends_at, self._lifetime = at, expired

    def close(self) -> None:
        """Close what the set alone uses: u.c of both transports."""
        self.state = ChannelState.GONE
        if self._lifetime is not None:
            self._lifetime.cancel()
        if self.tcp is not None:
            self.tcp.abort()
        self._client.close()
