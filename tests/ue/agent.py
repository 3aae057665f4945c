"""The strict middle of a UE: every message in and out passes here and is judged.

The counterpart of the P-CSCF's access side. What arrives on a flow that no SA set explains, or
that RFC 3261, TS 33.203 or TS 24.229 forbid, is dropped and noted in :attr:`Agent.violations`.
What to do with good messages is the business of :mod:`tests.ue.ue`.
"""

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from tests.ue.channel import Channel, ChannelState, ClientPort
from tests.ue.config import UeConfig
from tests.ue.dialog import make_response, new_branch, response_target, stamp_received
from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.headers import SipError, Via, same_host
from tests.ue.sip import Request, Response, parse
from tests.ue.transaction import (
    ClientTransaction,
    ServerTransaction,
    Transactions,
    TransactionTimeout,
)
from tests.ue.transport import TcpConnection, UdpPort, listen
from tests.ue.xfrm import Xfrm

# Called with each outgoing request, whole, and its purpose; what it returns is sent. A request
# that proves too large for UDP is built for TCP and comes by a second time.
Alter = Callable[[Request, str], Request]
_AGREEMENT = ("Security-Client", "Security-Server", "Security-Verify")


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing that happened: ``kind`` is sent, received, violation or security."""

    kind: str
    text: str
    label: str
    flow: Flow | None = None
    raw: bytes = b""


class Agent:
    """Sockets, channels and transactions of one UE."""

    def __init__(
        self,
        config: UeConfig,
        xfrm: Xfrm,
        *,
        alter: Alter | None = None,
        on_trace: Callable[[Trace], None] | None = None,
    ) -> None:
        self.config = config
        self.xfrm = xfrm
        self.alter = alter or (lambda request, _: request)
        self.on_trace = on_trace or (lambda _: None)
        self.violations: list[str] = []
        self.violated = asyncio.Event()
        self.installed = 0
        self._installed_changed = asyncio.Event()
        self.channels: list[Channel] = []
        self.unprotected: Channel | None = None
        self.transactions = Transactions(
            config.timers, send=self._send, on_request=self.on_request, complain=self.complain
        )
        self._listeners: list[asyncio.Server] = []
        self._server_port: UdpPort | None = None
        self._peer_connections: set[TcpConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    # Life

    async def start(self) -> None:
        """Open the unprotected port."""
        config = self.config
        local = HostPort(config.address, config.port)
        udp = await UdpPort.open(local, self, namespace=config.namespace)
        if not config.secure:
            # T33-7.1-u1: with protection nobody may call on the unprotected port.
            self._listeners.append(await listen(udp.local, self, namespace=config.namespace))
        self.unprotected = Channel(
            ClientPort(udp, None),
            udp,
            receiver=self,
            remote_server=config.pcscf,
            remote_client=config.pcscf,
            namespace=config.namespace,
            connect_seconds=config.timers.timeout,
        )

    async def close(self) -> None:
        """Leave without a word: sockets and SAs go, nobody is told."""
        for task in [*self._tasks]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.transactions.close()
        for channel in [*self.channels]:
            await self.remove(channel)
        await self.close_server_port()
        if self.unprotected is not None:
            self.unprotected.close()
        for connection in [*self._peer_connections]:
            connection.abort()
        for server in self._listeners:
            server.close()
            await server.wait_closed()

    async def server_port(self) -> UdpPort:
        """port_us, bound for UDP and TCP; it stays until the last set goes (T33-7.1-g)."""
        if self._server_port is None:
            config = self.config
            ports = (config.port_us, config.port_us) if config.port_us else config.protected_ports
            reserved = await ClientPort.reserve(config.address, ports, self, config.namespace)
            assert reserved.tcp is not None
            reserved.tcp.close()
            self._server_port = reserved.udp
            server = await listen(reserved.udp.local, self, namespace=config.namespace)
            self._listeners.append(server)
        return self._server_port

    async def close_server_port(self) -> None:
        if self._server_port is not None:
            self._server_port.close()
            self._server_port = None
            server = self._listeners.pop()
            server.close()
            await server.wait_closed()

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something on the side; what goes wrong in it is a violation."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.complain(f"{type(error).__name__}: {error}")

        task.add_done_callback(done)

    async def remove(self, channel: Channel) -> None:
        """Remove a set: connections first, so that their RST travels in ESP, then its SAs."""
        if channel not in self.channels:
            return
        for connection in [*self._peer_connections]:
            if channel.accepts(connection.flow):
                connection.abort()
        self.channels.remove(channel)
        channel.close()
        # The transports close their sockets in the next turn of the loop.
        await asyncio.sleep(0)
        if channel.sa_set is not None:
            await self.xfrm.remove(channel.sa_set, last=not self.channels)
            self.count_installed(-1)
            self.note("security", f"SA set {channel.label} removed", channel)

    def count_installed(self, change: int) -> None:
        """Count the sets that the kernel holds."""
        self.installed += change
        self._installed_changed.set()

    async def sets_become(self, count: int) -> None:
        """Wait until the kernel holds ``count`` sets of this UE."""
        while self.installed != count:
            self._installed_changed.clear()
            await self._installed_changed.wait()

    # Notes

    def note(self, kind: str, text: str, channel: Channel | None = None) -> None:
        self.on_trace(Trace(kind, text, "" if channel is None else channel.label))

    def complain(self, text: str) -> None:
        """Note what the other side must not do."""
        self.violations.append(text)
        self.violated.set()
        self.note("violation", text)

    # Out

    def _send(self, hop: Hop, data: bytes) -> None:
        line = data.partition(b"\r\n")[0].decode(errors="replace")
        channel = self._channel_from(hop.flow)
        label = "" if channel is None else channel.label
        self.on_trace(Trace("sent", line, label, hop.flow, data))
        hop.send(data)

    def _channel_from(self, flow: Flow) -> Channel | None:
        known = [*self.channels, *([self.unprotected] if self.unprotected else [])]
        for channel in known:
            if flow.local in {channel.local_client, channel.local_server} and (
                flow.remote in {channel.remote_server, channel.remote_client}
            ):
                return channel
        return None

    async def _ready(
        self, request: Request, channel: Channel, purpose: str
    ) -> tuple[Request, Hop]:
        """Complete a request with Via for the transport that its size allows."""
        transport = self.config.transport
        while True:
            via = Via(transport, *channel.local_server, (("branch", new_branch()),))
            ready = self.alter(request.prepend("Via", str(via)), purpose)
            if transport == "TCP" or len(ready.encode()) <= self.config.datagram_limit:
                break
            transport = "TCP"  # RFC 3261 18.1.1
        try:
            return ready, await channel.hop(transport)
        except OSError as error:  # TimeoutError included
            raise TransactionTimeout(f"no connection for {ready.start_line}: {error}") from error

    async def start_request(
        self, request: Request, channel: Channel, purpose: str
    ) -> ClientTransaction:
        """Send a request; its transaction belongs to ``channel``."""
        ready, hop = await self._ready(request, channel, purpose)
        return self.transactions.start(ready, hop, channel)

    async def send_request(self, request: Request, channel: Channel, purpose: str) -> Response:
        """Send a request and return its final response; TransactionTimeout without one."""
        return await (await self.start_request(request, channel, purpose)).final

    async def send_ack(self, request: Request, channel: Channel) -> Callable[[], None]:
        """Send the ACK of a 2xx, which is no transaction; the result sends it once more."""
        ready, hop = await self._ready(request, channel, "ack")
        data = ready.encode()
        self._send(hop, data)
        return lambda: self._send(hop, data)

    # In

    def connected(self, connection: TcpConnection) -> None:
        known = [*self.channels, *([self.unprotected] if self.unprotected else [])]
        if any(channel.accepts(connection.flow) for channel in known):
            self._peer_connections.add(connection)
        else:
            self.complain(f"connection on {connection.flow}, which no SA set explains")
            connection.abort()

    def closed(self, connection: TcpConnection, reason: str) -> None:
        self._peer_connections.discard(connection)
        if reason.startswith("broken stream"):
            self.complain(f"{connection.flow}: {reason}")
        self.transactions.broken(connection)

    def received(self, data: bytes, flow: Flow, hop: Hop) -> None:
        if not data.strip(b"\r\n"):
            return  # keep-alive, RFC 3261 7.5
        line = data.partition(b"\r\n")[0].decode(errors="replace")
        known = [*self.channels, *([self.unprotected] if self.unprotected else [])]
        channel = next((c for c in known if c.accepts(flow)), None)
        label = "" if channel is None else channel.label
        self.on_trace(Trace("received", line, label, flow, data))
        if channel is None:
            self.complain(f"{line} on {flow}, which no SA set explains")
            return
        try:
            message = parse(data, stream=flow.transport == "TCP")
            if isinstance(message, Response):
                if self.transactions.response(message, flow) is not None:
                    self.on_protected_message(channel, message)
            else:
                self._take_request(message, flow, hop, channel)
        except SipError as error:
            self.complain(f"{line} on {flow}: {error}")

    def _take_request(self, request: Request, flow: Flow, hop: Hop, channel: Channel) -> None:
        self._check_request(request, flow, channel)
        request = stamp_received(request, flow, rport=False)
        if flow.transport == "UDP":
            target = response_target(request.vias[0], rport=False)
            expected = channel.remote_server
            if target.port != expected.port or not same_host(target.host, expected.host):
                raise SipError(f"Via asks for responses to {target} instead of {expected}")
            hop = channel.datagram_replies()
        self.on_protected_message(channel, request)
        self.transactions.request(request, hop, channel, flow)

    def _check_request(self, request: Request, flow: Flow, channel: Channel) -> None:
        """What a request from the P-CSCF must keep."""
        if self.config.secure and channel.state in {
            ChannelState.UNPROTECTED,  # T33-7.1-u1
            ChannelState.TEMPORARY,  # T24-P-5
        }:
            raise SipError(f"request on {channel.state.value} ports")
        via = request.vias[0]
        if via.transport != flow.transport:
            raise SipError(f"Via names {via.transport}, it came over {flow.transport}")
        if request.number("Max-Forwards") is None:
            raise SipError("Max-Forwards is missing")  # RFC 3261 16.6 step 3
        for name in _AGREEMENT:
            if request.rows(name):
                raise SipError(f"{name} of somebody else's first hop")
        options = [*request.options("Require"), *request.options("Proxy-Require")]
        if "sec-agree" in options:
            raise SipError("sec-agree was not removed")  # R3329-2.3.1-p
        if request.method not in {"ACK", "CANCEL"} and options:
            raise SipError(f"Require or Proxy-Require: {', '.join(options)}")

    # What the UE adds

    def on_protected_message(self, channel: Channel, message: Request | Response) -> None:
        """Take note of a good message on ``channel``."""

    def on_request(self, transaction: ServerTransaction) -> None:
        """Answer a new request; this class knows none."""
        transaction.respond(make_response(transaction.request, 405))
