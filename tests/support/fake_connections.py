"""TCP connections in memory: what the real kernel says of them, and refusals on demand.

:mod:`tests.support.connections_contract` holds it to what the real one does.
"""

import asyncio
import itertools
from collections.abc import Callable, Collection

from netlink.errors import KernelClosed
from netlink.tcp import (
    ConnectionEnded,
    ConnectionEvent,
    ConnectionId,
    ObservedConnection,
    TcpConnection,
    TcpState,
)


class FakeConnections:
    """Implements :class:`netlink.interface.Connections`.

    ``alive`` are the connections there are. Of each call ``asked`` keeps what was named, and
    ``looking`` is called first, for tests of order. ``broken`` are raised, one a call. What was
    destroyed is told as ended when its program closes it: by :meth:`close_socket`, or at once
    if ``programs_close``.
    """

    def __init__(self) -> None:
        self.alive: set[TcpConnection] = set()
        self.asked: list[tuple[TcpConnection | ConnectionId, ...]] = []
        self.broken: list[Exception] = []
        self.looking: Callable[[], None] = lambda: None
        self.programs_close = True
        self.can_destroy = True
        self.can_look_up = True
        self._cookies: dict[TcpConnection, int] = {}
        self._unclosed: dict[TcpConnection, ConnectionId] = {}
        self._next_cookie = itertools.count(1)
        self._streams: list[FakeConnectionEvents] = []
        self._closed = False

    def name_of(self, connection: TcpConnection) -> ConnectionId:
        """Return the name for ever of what lies there now."""
        if connection not in self._cookies:
            self._cookies[connection] = next(self._next_cookie)
        return ConnectionId(connection, self._cookies[connection])

    def close_socket(self, connection: TcpConnection) -> None:
        """Have the program close one: alive or destroyed."""
        ended = self._unclosed.pop(connection, None)
        if connection in self.alive:
            ended = self.name_of(connection)
            self._forget(connection)
        if ended is not None:
            self.tell(ConnectionEnded(ended))

    def listen(
        self, deliver: Callable[[ConnectionEvent], None], local_ports: Collection[int]
    ) -> "FakeConnectionEvents":
        """Return a listener of its own."""
        self._streams.append(FakeConnectionEvents(self, deliver, local_ports))
        return self._streams[-1]

    def tell(self, event: ConnectionEvent) -> None:
        """Have every listener hear of it in a later turn, as far as it watches the port."""
        for stream in self._streams:
            if not isinstance(event, ConnectionEnded) or (
                event.id.connection.local_port in stream.local_ports
            ):
                asyncio.get_running_loop().call_soon(stream.hear, event)

    async def look_up(self, connection: TcpConnection) -> ObservedConnection | None:
        self._begin()
        if connection not in self.alive:
            return None
        return ObservedConnection(self.name_of(connection), TcpState.ESTABLISHED)

    async def dump(self, local_ports: Collection[int]) -> list[ObservedConnection]:
        self._begin()
        await asyncio.sleep(0)
        return [
            ObservedConnection(self.name_of(connection), TcpState.ESTABLISHED)
            for connection in self.alive
            if connection.local_port in local_ports
        ]

    async def destroy(self, connections: Collection[TcpConnection | ConnectionId]) -> int:
        if self._closed:
            raise KernelClosed
        self.looking()
        self.asked.append(tuple(connections))
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken.pop(0)
        if not self.can_destroy:
            return 0
        ending = {found for named in connections if (found := self._find(named)) is not None}
        for connection in ending:
            self._unclosed[connection] = self.name_of(connection)
            self._forget(connection)
            if self.programs_close:
                self.close_socket(connection)
        return len(ending)

    def close(self) -> None:
        self._closed = True

    def forget_stream(self, stream: "FakeConnectionEvents") -> None:
        if stream in self._streams:
            self._streams.remove(stream)

    def _begin(self) -> None:
        if self._closed:
            raise KernelClosed
        if self.broken:
            raise self.broken.pop(0)

    def _find(self, named: TcpConnection | ConnectionId) -> TcpConnection | None:
        connection = named.connection if isinstance(named, ConnectionId) else named
        if connection not in self.alive:
            return None
        if isinstance(named, ConnectionId) and named != self.name_of(connection):
            return None
        return connection

    def _forget(self, connection: TcpConnection) -> None:
        self.alive.discard(connection)
        self._cookies.pop(connection, None)


class FakeConnectionEvents:
    """One listener, as :class:`netlink.connection_events.ConnectionEvents`."""

    def __init__(
        self,
        connections: FakeConnections,
        deliver: Callable[[ConnectionEvent], None],
        local_ports: Collection[int],
    ) -> None:
        self.local_ports = local_ports
        self._connections = connections
        self._deliver = deliver
        self._closed = False

    def hear(self, event: ConnectionEvent) -> None:
        """Deliver it, unless this was closed meanwhile."""
        if not self._closed:
            self._deliver(event)

    def watch(self, local_ports: Collection[int]) -> None:
        """Tell of these ports from now on."""
        self.local_ports = local_ports

    def close(self) -> None:
        """Hear nothing more. May be called twice."""
        self._closed = True
        self._connections.forget_stream(self)
