"""Ending real TCP connections: the named ones and no others, and never a listener (design 7)."""

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Iterator

import pytest

from netlink import connection_events, decode, diag, uapi
from netlink.connection_events import ConnectionEvents
from netlink.model import Overrun
from netlink.sockets import open_socket
from netlink.tcp import (
    ConnectionEnded,
    ConnectionEvent,
    ConnectionId,
    ObservedConnection,
    TcpConnection,
    TcpState,
)
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from tests.support.connections_contract import VERSIONS, ConnectionsContract, nobodys
from tests.support.daemon import wait_until
from tests.support.event_sink import EventSink
from tests.support.fake_kernel import FakeKernel, FakeTables
from tests.support.make import LAYOUT, LIFETIMES, association, sa_set
from tests.support.tcp_world import EDGE, NOBODY, SERVER_PORT, UE, TcpWorld, state_of

SO_COOKIE = 57  # asm-generic/socket.h


@pytest.fixture
def world() -> Iterator[TcpWorld]:
    with TcpWorld.made() as made:
        assert made.connections.probe() is None
        yield made


class TestRealConnections(ConnectionsContract):
    """The promises of every one."""


class Asking:
    """A second program with a socket of its own, for single messages."""

    def __init__(self, world: TcpWorld) -> None:
        with world.edge.enter():
            self._socket = open_socket(1 << 16, family=uapi.NETLINK_SOCK_DIAG)
        world.keep(self._socket)

    def destroy(self, connection: TcpConnection, cookie: int) -> int:
        data = self._answer(diag.destruction(ConnectionId(connection, cookie), 2))
        (message,) = decode.messages(data, len(data))
        return decode.answer(data, message)[0]

    def _answer(self, request: bytes) -> bytes:
        self._socket.send(request)
        return self._socket.recv(65536)


def error_of(opened: socket.socket) -> int | None:
    """What a program hears that reads from its socket."""
    try:
        opened.recv(1)
    except OSError as error:
        return error.errno
    return None


@pytest.mark.parametrize("version", VERSIONS)
async def test_both_ends_hear_of_it_at_once(world: TcpWorld, version: int) -> None:
    """T24-P-10: the SIP server does not reuse a dead connection, and the UE gets a RST."""
    named = world.open(version)
    await world.connections.destroy([named])

    edge = world.ends[named].edge
    assert edge is not None
    assert error_of(edge) == errno.ECONNABORTED
    assert error_of(world.ends[named].ue) == errno.ECONNRESET


@pytest.mark.parametrize("version", VERSIONS)
async def test_by_its_ports_alone_a_listener_would_be_ended(world: TcpWorld, version: int) -> None:
    """Why there are two steps: without a cookie the kernel ends the listener instead."""
    alive = world.open(version)
    gone = nobodys(alive)
    assert await world.connections.destroy([gone]) == 0
    assert state_of(world.listeners[version]) == TcpState.LISTEN

    assert Asking(world).destroy(gone, uapi.INET_DIAG_NOCOOKIE) == 0
    assert state_of(world.listeners[version]) == TcpState.CLOSE


async def test_a_connection_that_nobody_accepted_yet_ends(world: TcpWorld) -> None:
    """It would come to the SIP server after its set had gone."""
    named, ue = world.dial(4)

    assert await world.connections.destroy([named]) == 1
    assert error_of(ue) == errno.ECONNRESET
    assert state_of(world.listeners[4]) == TcpState.LISTEN


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_handshake_under_way_ends(world: TcpWorld, version: int) -> None:
    """The request socket of SYN-RECV goes, its listener stays."""
    late = world.listen(EDGE[version], 5080)
    late.setsockopt(socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 60)
    named, _ = world.dial(version, 5080)

    assert await world.connections.destroy([named]) == 1
    assert await world.connections.destroy([named]) == 0
    assert state_of(late) == TcpState.LISTEN


async def test_a_connection_that_the_edge_is_opening_ends(world: TcpWorld) -> None:
    """The P-CSCF connects from port_pc too: the caller hears it instead of waiting."""
    with world.edge.enter():
        opened = world.keep(socket.socket())
    opened.bind((EDGE[4], 5068))
    opened.setblocking(False)
    assert opened.connect_ex((NOBODY[4], 5060)) == errno.EINPROGRESS
    assert state_of(opened) == TcpState.SYN_SENT

    named = TcpConnection(EDGE[4], 5068, NOBODY[4], 5060)
    assert await world.connections.destroy([named]) == 1
    assert opened.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == errno.ECONNABORTED


async def test_the_rest_of_a_closed_connection_ends(world: TcpWorld) -> None:
    """TIME-WAIT: a later set with the same ports finds nothing of this one."""
    named = world.open(4)
    ends = world.ends[named]
    assert ends.edge is not None
    ends.edge.close()
    ends.ue.close()
    wait_until(lambda: waiting(world), "the edge's TIME-WAIT")

    assert await world.connections.destroy([named]) == 1
    assert waiting(world) == ""


def waiting(world: TcpWorld) -> str:
    """The edge's connections in TIME-WAIT, as ss prints them."""
    return world.edge.run(["ss", "-Htan", "state", "time-wait"]).stdout


async def test_a_v4_connection_of_a_v6_listener_ends(world: TcpWorld) -> None:
    """The kernel holds it as a mapped IPv6 socket: it is found by its IPv4 addresses."""
    listener = world.listen("::", 5090, dualstack_ipv6=True)
    named, ue = world.dial(4, 5090)
    accepted = world.keep(listener.accept()[0])

    found = await world.connections.look_up(named)
    assert found == ObservedConnection(name_of(named, accepted), TcpState.ESTABLISHED)
    assert await world.connections.dump([5090]) == [found]
    sink = EventSink[ConnectionEvent]()
    with contextlib.closing(world.listen_for_endings(sink.take, [5090])):
        assert await world.connections.destroy([nobodys(named)]) == 0
        assert await world.connections.destroy([found.id]) == 1
        assert error_of(accepted) == errno.ECONNABORTED
        accepted.close()
        assert await sink.wait_for_count(1) == [ConnectionEnded(found.id)]
    assert error_of(ue) == errno.ECONNRESET
    assert state_of(listener) == TcpState.LISTEN


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_cookie_is_the_one_that_the_program_sees(world: TcpWorld, version: int) -> None:
    """SO_COOKIE of the SIP server's own socket: all 64 bits, in order."""
    named = world.open(version)
    found = await world.connections.look_up(named)
    edge = world.ends[named].edge

    assert edge is not None
    assert found is not None
    assert found.id == name_of(named, edge)


async def test_what_a_closed_connection_left_is_not_open(world: TcpWorld) -> None:
    """TIME-WAIT bears the name on, but no program holds it: no dump tells it."""
    named = world.open(4)
    name = await world.connections.look_up(named)
    ends = world.ends[named]
    assert ends.edge is not None
    assert name is not None
    ends.edge.close()
    ends.ue.close()
    wait_until(lambda: waiting(world), "the edge's TIME-WAIT")

    assert await world.connections.look_up(named) == ObservedConnection(
        name.id, TcpState.TIME_WAIT
    )
    assert await world.connections.dump([SERVER_PORT]) == []


async def test_endings_of_a_crowd_run_the_buffer_over_and_are_told_as_lost(
    world: TcpWorld,
) -> None:
    """ENOBUFS: whoever listens must compare with a dump."""
    opened = [world.open(4) for _ in range(200)]
    sink = EventSink[ConnectionEvent]()
    with world.edge.enter():
        listening = ConnectionEvents(sink.take, [SERVER_PORT], buffer_bytes=8192)
        told = world.keep(
            open_socket(1 << 20, connection_events.GROUPS, family=uapi.NETLINK_SOCK_DIAG)
        )
    with contextlib.closing(listening):
        for named in opened:
            world.close(named)
        for _ in opened:
            told.recv(65536)  # all was told before the loop has its turn
        last = world.open(4)
        await sink.wait_for(Overrun())
        name = await world.connections.look_up(last)
        assert name is not None
        world.close(last)
        await sink.wait_for(ConnectionEnded(name.id))


def name_of(named: TcpConnection, opened: socket.socket) -> ConnectionId:
    """What the program itself reads of its socket."""
    (cookie,) = struct.unpack("=Q", opened.getsockopt(socket.SOL_SOCKET, SO_COOKIE, 8))
    return ConnectionId(named, cookie)


@pytest.mark.parametrize("version", VERSIONS)
async def test_the_end_of_a_set_ends_its_connections(world: TcpWorld, version: int) -> None:
    """T24-D-1: from the driver down to the RST, with the SAs of a kernel in memory."""
    of_set, of_another = world.open(version, own_port=6301), world.open(version)
    kernel = FakeKernel(FakeTables(time.time))
    driver = Ipsec3gpp(kernel, world.connections, LAYOUT, LIFETIMES, lambda: 0.0, time.time)
    ending = association(sa_set=sa_set(ue_address=UE[version], pcscf_address=EDGE[version]))

    await driver.remove([ending], ending)

    assert not world.is_alive(of_set)
    assert error_of(world.ends[of_set].ue) == errno.ECONNRESET
    assert world.is_alive(of_another)
