"""Ending connections over a scripted socket: every answer is read, and what is unknown is said.

What a real kernel does is in ``tests/host``; this is for what it cannot be made to do.
"""

import asyncio
import errno
import struct
from collections.abc import Iterable
from typing import cast

import pytest
from pyroute2.netlink.diag import inet_diag_req

from netlink import diag, uapi
from netlink.connections import CHUNK, KernelConnections
from netlink.decode import Message
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.model import packed_address
from netlink.tcp import ConnectionId, TcpConnection, TcpState
from tests.support.connections_contract import ConnectionsContract
from tests.support.fake_connections import FakeConnections
from tests.support.kernel_messages import error
from tests.support.scripted_socket import (
    Answer,
    Script,
    ScriptedSocket,
    acknowledge,
    overrun,
    silent,
)

ESTABLISHED = 1
COOKIE = 77
EPERM_WORDS = "not for you"


def connection(number: int) -> TcpConnection:
    return TcpConnection("192.0.2.1", 5064, "198.51.100.1", 1024 + number)


def socket_answer(sequence: int, state: int, cookie: int) -> bytes:
    """The kernel's inet_diag_msg."""
    body = struct.pack("=BBBB", uapi.AF_INET, state, 0, 0) + bytes(40)
    body += struct.pack("=Q", cookie) + bytes(20)
    return struct.pack("=IHHII", 16 + len(body), uapi.SOCK_DIAG_BY_FAMILY, 0, sequence, 0) + body


def there(
    *positions: int, state: int = ESTABLISHED, but: dict[int, Answer] | None = None
) -> Script:
    """Answer a lookup: at these positions is a socket, at those of ``but`` something else."""

    def script(messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        for position, message in enumerate(messages):
            if but and position in but:
                yield but[position]
            elif position in positions:
                yield socket_answer(message.sequence, state, COOKIE + position)
            else:
                yield error(message.sequence, errno.ENOENT)

    return script


def refusing(*positions: int, number: int = errno.EPERM) -> Script:
    """Refuse at these positions, acknowledge the others."""

    def script(messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        for position, message in enumerate(messages):
            refused = position in positions
            yield error(message.sequence, *((number, EPERM_WORDS) if refused else ()))

    return script


def done(status: int) -> Script:
    """End a dump with a status."""

    def script(messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        (message,) = messages
        header = struct.pack("=IHHII", 20, uapi.NLMSG_DONE, 2, message.sequence, 0)
        yield header + struct.pack("=i", status)

    return script


def opened(scripted: ScriptedSocket) -> KernelConnections:
    return KernelConnections(cast("object", scripted))  # type: ignore[arg-type]  # it quacks


def kinds(scripted: ScriptedSocket) -> list[list[int]]:
    return [[message.type for message in messages] for messages in scripted.sent]


# --- what goes out -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("local", "peer"), [("192.0.2.1", "198.51.100.7"), ("2001:db8::1", "2001:db8:9::2")]
)
def test_requests_are_those_of_pyroute2(local: str, peer: str) -> None:
    """The oracle: lookup and destruction byte by byte, both families."""
    named = TcpConnection(local, 5064, peer, 40001)
    for kind, flags, cookie, ours in (
        (20, 1, 2**64 - 1, diag.lookup(named, 7)),
        (21, 5, COOKIE, diag.destruction(ConnectionId(named, COOKIE), 7)),
    ):
        request = inet_diag_req()
        request["header"] = {"type": kind, "flags": flags, "sequence_number": 7, "pid": 0}
        request["sdiag_family"] = 10 if ":" in local else 2
        request["sdiag_protocol"] = 6
        request["idiag_states"] = 0xFFFF_FFFF
        request["idiag_sport"], request["idiag_dport"] = 5064, 40001
        for name, address in (("idiag_src", local), ("idiag_dst", peer)):
            request[name] = struct.unpack(">4I", packed_address(address).ljust(16, b"\0"))
        request["idiag_cookie"] = cookie
        request.encode()
        assert bytes(request.data) == ours


async def test_callers_of_one_turn_share_two_sends() -> None:
    """A mass expiry costs no round trip for each set; only what is there is destroyed."""
    scripted = ScriptedSocket(there(1, 2))
    target = opened(scripted)

    counts = await asyncio.gather(*(target.destroy([connection(i)]) for i in range(4)))

    assert counts == [0, 1, 1, 0]
    assert kinds(scripted) == [[uapi.SOCK_DIAG_BY_FAMILY] * 4, [uapi.SOCK_DESTROY] * 2]


async def test_a_turn_of_the_loop_does_one_chunk() -> None:
    """Never blocks the loop: more than a chunk leaves the others their turns."""
    scripted = ScriptedSocket(*[there()] * 3)
    call = asyncio.ensure_future(
        opened(scripted).destroy([connection(i) for i in range(2 * CHUNK + 1)])
    )
    seen = []
    while not call.done():
        await asyncio.sleep(0)
        seen.append(len(scripted.sent))

    assert [len(messages) for messages in scripted.sent] == [CHUNK, CHUNK, 1]
    assert {1, 2, 3} <= set(seen)


async def test_a_listener_is_never_destroyed() -> None:
    """Ports without a connection resolve to the listener: it is looked at, not touched."""
    scripted = ScriptedSocket(there(0, state=TcpState.LISTEN))

    assert await opened(scripted).destroy([connection(0)]) == 0
    assert kinds(scripted) == [[uapi.SOCK_DIAG_BY_FAMILY]]


async def test_a_destruction_names_the_cookie_that_was_looked_at() -> None:
    """By ports alone it could end the listener, or a later connection."""
    cookies: list[int] = []

    def destructions(messages: list[Message], sent: bytes) -> Iterable[Answer]:
        cookies.extend(
            struct.unpack_from("=Q", sent, message.end - struct.calcsize("=Q"))[0]
            for message in messages
        )
        return acknowledge(messages, sent)

    scripted = ScriptedSocket(there(0, 2), destructions)

    assert await opened(scripted).destroy([connection(i) for i in range(3)]) == 2
    assert cookies == [COOKIE, COOKIE + 2]


async def test_a_connection_that_ends_by_itself_meanwhile_is_no_error() -> None:
    """Between the lookup and the destruction: its cookie is nobody's any more."""
    scripted = ScriptedSocket(there(0, 1), refusing(0, number=errno.ENOENT))

    assert await opened(scripted).destroy([connection(0), connection(1)]) == 1


async def test_who_left_is_not_served() -> None:
    """A cancelled caller's connections are not sent."""
    scripted = ScriptedSocket(there(0))
    target = opened(scripted)
    left = asyncio.ensure_future(target.destroy([connection(0)]))
    stays = asyncio.ensure_future(target.destroy([connection(1)]))
    asyncio.get_running_loop().call_soon(left.cancel)
    await asyncio.sleep(0)

    assert await stays == 1
    assert [len(messages) for messages in scripted.sent] == [1, 1]
    with pytest.raises(asyncio.CancelledError):
        await left


# --- what comes back -----------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["lookup", "destruction"])
async def test_a_refusal_has_its_number_and_words_and_stops_nothing_else(step: str) -> None:
    """The kernel's own words, to the caller whose connection it was."""
    if step == "lookup":
        refused = error(1, errno.EPERM, EPERM_WORDS)
        scripted = ScriptedSocket(there(1, 2, but={0: refused}))
    else:
        scripted = ScriptedSocket(there(0, 1, 2), refusing(0))
    target = opened(scripted)

    first, second = await asyncio.gather(
        target.destroy([connection(0), connection(1)]),
        target.destroy([connection(2)]),
        return_exceptions=True,
    )

    assert isinstance(first, KernelError)
    assert (first.errno, first.message) == (errno.EPERM, EPERM_WORDS)
    assert second == 1
    assert len(scripted.sent[1]) == (2 if step == "lookup" else 3)


@pytest.mark.parametrize(
    "scripts",
    [
        (silent,),
        (there(0, but={0: overrun()}),),
        (there(0, but={0: b"\x10\0\0\0"}),),
        (there(0), silent),
        (there(0), there(0, but={0: OSError(errno.EIO, "broken")})),
    ],
    ids=["silent", "overrun", "malformed", "destruction silent", "destruction broken"],
)
async def test_lost_answers_are_never_called_success(scripts: tuple[Script, ...]) -> None:
    """Nobody knows whether it has ended; it may be asked again, and nothing is left unread."""
    scripted = ScriptedSocket(*scripts, there(0))
    target = opened(scripted)

    with pytest.raises(OutcomeUnknown):
        await target.destroy([connection(0)])
    assert scripted.unread == 0
    assert await target.destroy([connection(0)]) == 1


async def test_a_send_that_is_refused_is_told() -> None:
    """Nothing was done, and its errno says why."""

    def refuse_send(_messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    with pytest.raises(KernelError) as told:
        await opened(ScriptedSocket(refuse_send)).destroy([connection(0)])
    assert told.value.errno == errno.ENOBUFS


async def test_an_answer_to_nobodys_request_is_dropped() -> None:
    """Sequence numbers are compared: an old refusal does not meet a new request."""

    def late(messages: list[Message], _sent: bytes) -> Iterable[Answer]:
        (message,) = messages
        yield error(message.sequence + 9, errno.EPERM)
        yield socket_answer(message.sequence, ESTABLISHED, COOKIE)

    scripted = ScriptedSocket(late)

    assert await opened(scripted).destroy([connection(0)]) == 1
    assert scripted.unread == 0


async def test_a_close_fails_who_waits() -> None:
    """What was not yet sent never will be."""
    scripted = ScriptedSocket()
    target = opened(scripted)
    waiting = asyncio.ensure_future(target.destroy([connection(0)]))
    asyncio.get_running_loop().call_soon(target.close)

    with pytest.raises(KernelClosed):
        await waiting
    assert scripted.closed
    assert scripted.sent == []


# --- kernels that cannot -------------------------------------------------------------------------


async def test_a_kernel_that_can_is_found_able() -> None:
    """Both families are asked, with nobody's ports; nothing is walked and nothing ended."""
    scripted = ScriptedSocket(
        refusing(0, number=errno.ENOENT), done(0), refusing(0, number=errno.ENOENT), done(0)
    )
    target = opened(scripted)

    assert target.probe() is None
    assert kinds(scripted) == [[uapi.SOCK_DESTROY], [uapi.SOCK_DIAG_BY_FAMILY]] * 2
    scripted.scripts.append(there(0))
    assert await target.destroy([connection(0)]) == 1


@pytest.mark.parametrize(
    ("scripts", "number"),
    [
        ((refusing(0, number=errno.EOPNOTSUPP),), errno.EOPNOTSUPP),
        ((refusing(0, number=errno.ENOENT), done(-errno.ENOENT)), errno.ENOENT),
        (
            (refusing(0, number=errno.ENOENT), refusing(0, number=errno.ENOENT)),
            errno.ENOENT,
        ),
        (
            (
                refusing(0, number=errno.ENOENT),
                done(0),
                refusing(0, number=errno.ENOENT),
                done(-errno.ENOENT),
            ),
            errno.ENOENT,
        ),
    ],
    ids=["no INET_DIAG_DESTROY", "no tcp_diag", "no inet_diag", "no IPv6"],
)
async def test_a_kernel_that_cannot_says_so_once_and_is_not_asked_again(
    scripts: tuple[Script, ...], number: int
) -> None:
    """Without the modules a lookup says "not there": it must not pass for success."""
    scripted = ScriptedSocket(*scripts)
    target = opened(scripted)
    lacking = target.probe()

    assert lacking is not None
    assert lacking.errno == number
    sent = len(scripted.sent)
    assert await target.destroy([connection(0)]) == 0
    assert len(scripted.sent) == sent


# --- the fake ------------------------------------------------------------------------------------


class FakeWorld:
    """Connections that are only names."""

    server_port = 5064

    def __init__(self) -> None:
        self.connections = FakeConnections()
        self.connections.programs_close = False
        self.listen_for_endings = self.connections.listen
        self.close = self.connections.close_socket
        self._opened = 0

    def open(self, version: int) -> TcpConnection:
        self._opened += 1
        addresses = {4: ("192.0.2.1", "192.0.2.2"), 6: ("2001:db8::1", "2001:db8::2")}
        local, peer = addresses[version]
        named = TcpConnection(local, self.server_port, peer, 1024 + self._opened)
        self.reopen(named)
        return named

    def reopen(self, named: TcpConnection) -> None:
        self.connections.alive.add(named)

    def is_alive(self, named: TcpConnection) -> bool:
        return named in self.connections.alive


@pytest.fixture
def world() -> FakeWorld:
    return FakeWorld()


class TestFakeConnections(ConnectionsContract):
    """The promises of every one."""
