"""TCP connections in memory: what the real kernel says of them, and refusals on demand.

:mod:`tests.support.connections_contract` holds it to what the real one does.
"""

import asyncio
from collections.abc import Callable, Collection

from netlink.errors import KernelClosed
from netlink.model import TcpConnection


class FakeConnections:
    """Implements :class:`netlink.interface.Connections`.

    ``alive`` are the connections there are. Of each call ``asked`` keeps what was named, and
    ``looking`` is called first, for tests of order. ``broken`` are raised, one a call.
    """

    def __init__(self) -> None:
        self.alive: set[TcpConnection] = set()
        self.asked: list[tuple[TcpConnection, ...]] = []
        self.broken: list[Exception] = []
        self.looking: Callable[[], None] = lambda: None
        self._closed = False

    async def destroy(self, connections: Collection[TcpConnection]) -> int:
        if self._closed:
            raise KernelClosed
        self.looking()
        self.asked.append(tuple(connections))
        await asyncio.sleep(0)
        if self.broken:
            raise self.broken.pop(0)
        ending = self.alive.intersection(connections)
        self.alive -= ending
        return len(ending)

    def close(self) -> None:
        self._closed = True
