"""What every :class:`netlink.interface.Connections` promises: one suite, the fake's and the real.

A module subclasses :class:`ConnectionsContract` and provides the fixture ``world``. Versions are
of IP.
"""

import asyncio
import dataclasses
from typing import Protocol

import pytest

from netlink.errors import KernelClosed
from netlink.interface import Connections
from netlink.model import TcpConnection

VERSIONS = (4, 6)


class World(Protocol):
    """A node where something listens, and user agents that connect to it."""

    connections: Connections

    def open(self, version: int) -> TcpConnection:
        """Have a new connection and return what the node calls it."""

    def is_alive(self, connection: TcpConnection) -> bool:
        """Whether one of :meth:`open` is still there."""


def nobodys(connection: TcpConnection) -> TcpConnection:
    """The same listener, and a port of the peer that nobody uses."""
    return dataclasses.replace(connection, peer_port=9)


class ConnectionsContract:
    """The promises."""

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_connections_that_are_named_end_and_no_others(
        self, world: World, version: int
    ) -> None:
        """Design 7: exactly those of the set; their number is returned."""
        opened = [world.open(version) for _ in range(4)]

        assert await world.connections.destroy(opened[:2]) == 2
        assert [world.is_alive(c) for c in opened] == [False, False, True, True]

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_connections_that_do_not_exist_are_no_error(
        self, world: World, version: int
    ) -> None:
        """What has gone, what never was, and nothing at all; the listener stays."""
        opened = world.open(version)
        await world.connections.destroy([opened])

        assert await world.connections.destroy([opened, nobodys(opened)]) == 0
        assert await world.connections.destroy([]) == 0
        assert world.is_alive(world.open(version))

    async def test_connections_of_many_callers_are_counted_for_each(self, world: World) -> None:
        """A mass expiry: every caller learns of his own, of both families, with gaps."""
        opened = [world.open(VERSIONS[i % 2]) for i in range(300)]
        counts = await asyncio.gather(
            *(
                world.connections.destroy([*opened[i : i + i % 4], nobodys(opened[i])])
                for i in range(0, 300, 3)
            )
        )

        assert counts == [min(i % 4, 3) for i in range(0, 300, 3)]
        assert sum(not world.is_alive(c) for c in opened) == sum(counts)

    async def test_connections_of_one_call_may_be_many(self, world: World) -> None:
        """More than one send takes: all are ended."""
        opened = [world.open(4) for _ in range(300)]

        assert await world.connections.destroy(opened) == 300
        assert not any(world.is_alive(c) for c in opened)

    async def test_connections_are_not_touched_after_the_close(self, world: World) -> None:
        """A closed socket is told as such."""
        opened = world.open(4)
        world.connections.close()
        world.connections.close()

        with pytest.raises(KernelClosed):
            await world.connections.destroy([opened])
        assert world.is_alive(opened)
