"""A SIP node with several ports: what an S-CSCF and a P-CSCF share below their decisions.

The counterpart of :mod:`tests.ue.agent` for proxies. It parses strictly, opens and keeps TCP
connections, and finds the way back of responses; it decides nothing.
"""

import asyncio
import secrets
import socket
from collections.abc import Callable, Coroutine
from typing import Any

from tests.ue.flow import Flow, Hop, HostPort
from tests.ue.headers import SipError
from tests.ue.sip import Request, Response, parse
from tests.ue.transport import TcpConnection, UdpHop, UdpPort, bound_socket, listen

# Called with "sent" or "received", the flow and the message.
OnTrace = Callable[[str, Flow, bytes], None]


class Node:
    """Ports of one SIP server. ``violations`` holds what its peers must not do."""

    def __init__(
        self,
        *,
        namespace: str | None = None,
        on_trace: OnTrace | None = None,
        connect_seconds: float = 32.0,
    ) -> None:
        self.violations: list[str] = []
        self.secret = secrets.token_hex(8)
        self.on_trace = on_trace or (lambda *_: None)
        self._namespace = namespace
        self._connect_seconds = connect_seconds
        self._ports: dict[HostPort, UdpPort] = {}
        self._listeners: list[asyncio.Server] = []
        self._names: dict[Flow, str] = {}
        self._connections: dict[str, TcpConnection] = {}
        self._opening: dict[tuple[HostPort, HostPort], asyncio.Task[TcpConnection]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        raise NotImplementedError

    async def open(self, local: HostPort, *, listening: bool = True) -> None:
        """Serve a port by UDP, and accept TCP connections if ``listening``."""
        self._ports[local] = await UdpPort.open(local, self, namespace=self._namespace)
        if listening:
            self._listeners.append(await listen(local, self, namespace=self._namespace))

    async def close(self) -> None:
        tasks = [*self._tasks, *self._opening.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in [*self._connections.values()]:
            connection.abort()
        for port in self._ports.values():
            port.close()
        for server in self._listeners:
            server.close()
            await server.wait_closed()
        await asyncio.sleep(0)  # the transports close their sockets in the next turn

    def complain(self, text: str) -> None:
        """Note what a peer must not do."""
        self.violations.append(text)

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something on the side; what goes wrong in it is a violation."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            if not task.cancelled() and (error := task.exception()) is not None:
                self.complain(f"{type(error).__name__}: {error}")

        task.add_done_callback(done)

    # Out

    def send(self, hop: Hop, data: bytes) -> None:
        self.on_trace("sent", hop.flow, data)
        hop.send(data)

    def datagrams(self, local: HostPort, remote: HostPort) -> UdpHop:
        """UDP from one of the node's ports; its peers may answer from anywhere they like."""
        return UdpHop(self._ports[local], remote)

    async def connection(
        self, local: HostPort, remote: HostPort, *, reuse: bool = True
    ) -> TcpConnection:
        """The connection from ``local`` (port 0: any) to ``remote``, opened when first needed.

        ``reuse``: a connection between the two that the peer opened serves as well.
        """
        for known in self._connections.values():
            same = known.flow.remote == remote and known.flow.local.host == local.host
            mine = not known.accepted and local.port in {0, known.flow.local.port}
            if same and known.is_open and (mine or (reuse and known.accepted)):
                return known
        key = (local, remote)
        if key not in self._opening:
            task = asyncio.get_running_loop().create_task(self._open_connection(local, remote))
            self._opening[key] = task
            task.add_done_callback(lambda _: self._opening.pop(key, None))
        return await asyncio.shield(self._opening[key])

    async def _open_connection(self, local: HostPort, remote: HostPort) -> TcpConnection:
        sock = bound_socket(socket.SOCK_STREAM, local, self._namespace)
        connection = await TcpConnection.open(sock, remote, self, seconds=self._connect_seconds)
        self.connected(connection)
        return connection

    def named(self, name: str | None) -> TcpConnection | None:
        """The open connection of a name from :meth:`name_of`."""
        connection = self._connections.get(name or "")
        return connection if connection is not None and connection.is_open else None

    def name_of(self, flow: Flow) -> str | None:
        """The name of a TCP connection, to find it when the response comes."""
        return self._names.get(flow)

    # In

    def connected(self, connection: TcpConnection) -> None:
        name = secrets.token_hex(6)
        self._names[connection.flow] = name
        self._connections[name] = connection

    def closed(self, connection: TcpConnection, reason: str) -> None:
        if reason.startswith("broken stream"):
            self.complain(f"{connection.flow}: {reason}")
        name = self._names.get(connection.flow)
        if name is not None and self._connections.get(name) is connection:
            del self._names[connection.flow], self._connections[name]
        self.on_closed(connection)

    def received(self, data: bytes, flow: Flow, hop: Hop) -> None:
        if not data.strip(b"\r\n"):
            return  # keep-alive, RFC 3261 7.5
        self.on_trace("received", flow, data)
        line = data.partition(b"\r\n")[0].decode(errors="replace")
        try:
            message = parse(data, stream=flow.transport == "TCP")
            if isinstance(message, Response):
                self.on_response(message, flow)
            else:
                self.on_request(message, flow, hop)
        except (SipError, ConnectionError) as error:
            self.complain(f"{line} on {flow}: {error}")

    # What a server adds

    def on_request(self, request: Request, flow: Flow, hop: Hop) -> None:
        raise NotImplementedError

    def on_response(self, response: Response, flow: Flow) -> None:
        raise NotImplementedError

    def on_closed(self, connection: TcpConnection) -> None:
        """Take note of the end of a connection."""
