"""What every :class:`netlink.interface.Connections` promises: one suite, the fake's and the real.

A module subclasses :class:`ConnectionsContract` and provides the fixture ``world``. Versions are
of IP.
"""

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Collection
from typing import Protocol

import pytest

from netlink.errors import KernelClosed
from netlink.interface import Connections
from netlink.tcp import (
    ConnectionEnded,
    ConnectionEvent,
    ConnectionId,
    ObservedConnection,
    TcpConnection,
    TcpState,
)
from tests.support.event_sink import EventSink

VERSIONS = (4, 6)


class Listening(Protocol):
    """A stream of endings."""

    def watch(self, local_ports: Collection[int]) -> None:
        """Tell of these ports from now on."""

    def close(self) -> None:
        """Tell nothing more."""


class World(Protocol):
    """A node where something listens, and user agents that connect to it."""

    server_port: int

    @property
    def connections(self) -> Connections:
        """What is under test."""

    def open(self, version: int) -> TcpConnection:
        """Have a new connection and return what the node calls it."""

    def is_alive(self, connection: TcpConnection) -> bool:
        """Whether one of :meth:`open` is still there."""

    def close(self, connection: TcpConnection) -> None:
        """Have both programs close one, alive or destroyed."""

    def reopen(self, connection: TcpConnection) -> None:
        """Have a new connection between the ports of one that has ended."""

    def listen_for_endings(
        self, deliver: Callable[[ConnectionEvent], None], local_ports: Collection[int]
    ) -> Listening:
        """Return the stream of endings; the contract closes it."""


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
        with pytest.raises(KernelClosed):
            await world.connections.look_up(opened)
        with pytest.raises(KernelClosed):
            await world.connections.dump([world.server_port])
        assert world.is_alive(opened)

    # --- one connection for ever -----------------------------------------------------------------

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_a_connection_that_is_looked_up_has_a_name_for_ever(
        self, world: World, version: int
    ) -> None:
        """The same cookie each time, another for each; nobody's and the listener are none."""
        first, second = world.open(version), world.open(version)
        found = [await looked_up(world, named) for named in (first, second, first)]

        assert [f.id.connection for f in found] == [first, second, first]
        assert all(f.state is TcpState.ESTABLISHED and f.is_open for f in found)
        assert found[0] == found[2]
        assert found[0].id.cookie != found[1].id.cookie
        assert await world.connections.look_up(nobodys(first)) is None

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_a_connection_named_by_its_cookie_ends_and_no_later_one(
        self, world: World, version: int
    ) -> None:
        """Design 9: exactly that one; what came in its place has another name and lives."""
        named, other = world.open(version), world.open(version)
        name = (await looked_up(world, named)).id

        assert await world.connections.destroy([name]) == 1
        assert not world.is_alive(named)
        world.close(named)
        world.reopen(named)
        assert await world.connections.destroy([name]) == 0
        assert world.is_alive(named)
        assert (await looked_up(world, named)).id.cookie != name.cookie
        assert world.is_alive(other)

    async def test_connections_by_either_name_end_in_one_call(self, world: World) -> None:
        """Mixed, with gaps: each is counted once."""
        opened = [world.open(VERSIONS[i % 2]) for i in range(6)]
        names = [(await looked_up(world, named)).id for named in opened]
        never = ConnectionId(opened[4], names[5].cookie)

        assert await world.connections.destroy([names[0], opened[1], never, names[3]]) == 3
        assert [world.is_alive(c) for c in opened] == [False, False, True, False, True, True]

    async def test_connections_of_a_dump_are_those_of_the_ports(self, world: World) -> None:
        """Both families, with the names that a lookup gives; no listener, and of no other port."""
        opened = [world.open(VERSIONS[i % 2]) for i in range(40)]
        dumped = await world.connections.dump([world.server_port])

        assert sorted(d.id.cookie for d in dumped) == sorted(
            [(await looked_up(world, named)).id.cookie for named in opened]
        )
        assert {d.id.connection for d in dumped} == set(opened)
        await world.connections.destroy(opened[:39])
        assert [d.id.connection for d in await world.connections.dump([9, world.server_port])] == [
            opened[39]
        ]
        assert await world.connections.dump([9]) == []
        assert await world.connections.dump([]) == []

    # --- endings ---------------------------------------------------------------------------------

    @pytest.mark.parametrize("version", VERSIONS)
    async def test_an_ending_is_told_when_the_program_closes(
        self, world: World, version: int
    ) -> None:
        """By its name for ever: after a destruction, and when the peer or the program ends it."""
        named = [world.open(version) for _ in range(2)]
        names = [(await looked_up(world, each)).id for each in named]
        sink = EventSink[ConnectionEvent]()
        with contextlib.closing(world.listen_for_endings(sink.take, [world.server_port])):
            await world.connections.destroy([names[0]])
            assert sink.events == []
            for each in named:
                world.close(each)
            await sink.wait_for_count(2)

        assert sorted(map(str, sink.events)) == sorted(str(ConnectionEnded(n)) for n in names)

    async def test_endings_of_other_ports_are_not_told(self, world: World) -> None:
        """Those of the ports that are watched, from when on they are."""
        first, second, third = (world.open(4) for _ in range(3))
        name = (await looked_up(world, second)).id
        sink, all_of_it = EventSink[ConnectionEvent](), EventSink[ConnectionEvent]()
        with (
            contextlib.closing(world.listen_for_endings(all_of_it.take, [world.server_port])),
            contextlib.closing(world.listen_for_endings(sink.take, [9])) as listening,
        ):
            world.close(first)
            await all_of_it.wait_for_count(1)  # only then was it told, or kept back
            listening.watch([9, 10, world.server_port])
            world.close(second)
            assert await sink.wait_for_count(1) == [ConnectionEnded(name)]
            listening.watch([])
            world.close(third)
            await all_of_it.wait_for_count(3)
        assert len(sink.events) == 1


async def looked_up(world: World, named: TcpConnection) -> ObservedConnection:
    """Look up one that is there."""
    found = await world.connections.look_up(named)
    assert found is not None
    return found
