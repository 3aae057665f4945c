"""The event stream: every notice an event, every loss an event, no key kept."""

import asyncio
import errno
import itertools
import socket
from collections.abc import Iterator

import pytest

from netlink import notices, uapi
from netlink.events import EventStream
from netlink.model import KernelEvent, Overrun, SaAdded, SadFlushed, SaExpired
from netlink.schema import Head, encode_message
from tests.support import kernel_messages as kernel
from tests.support.event_sink import EventSink
from tests.support.xfrm_values import OWNER, observed_sa


class NoticeSocket(socket.socket):
    """The daemon's end of a pair; :attr:`losses` makes the next reads fail as an overrun does."""

    losses = 0

    def recv_into(self, *arguments: object, **options: object) -> int:
        if self.losses:
            self.losses -= 1
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return super().recv_into(*arguments, **options)  # type: ignore[arg-type]  # passed on


class Pair:
    """Our end, the kernel's end, and what the stream said."""

    def __init__(self) -> None:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.ours = NoticeSocket(fileno=ours.detach())
        self.sink = EventSink()

    @property
    def events(self) -> list[KernelEvent]:
        return self.sink.events

    def say(self, *datagrams: bytes) -> None:
        for datagram in datagrams:
            self.kernel.send(datagram)

    async def wait_for(self, count: int) -> list[KernelEvent]:
        return await self.sink.wait_for_count(count)


@pytest.fixture
def pair() -> Iterator[Pair]:
    made = Pair()
    yield made
    made.kernel.close()
    made.ours.close()


def expiry(spi: int) -> bytes:
    return kernel.sa_expiry(observed_sa(spi), hard=True)


def expired(spi: int) -> SaExpired:
    return SaExpired(observed_sa(spi).id, OWNER, hard=True)


async def test_events_come_in_order(pair: Pair) -> None:
    """Each notice is one event, in the kernel's order."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.say(*(expiry(spi) for spi in range(1, 6)))

    assert await pair.wait_for(5) == [expired(spi) for spi in range(1, 6)]
    stream.close()


async def test_events_of_an_overrun_go_on(pair: Pair) -> None:
    """ENOBUFS is an event among the others, and not the end."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.ours.losses = 1
    pair.say(expiry(1))
    await pair.wait_for(2)
    pair.ours.losses = 1
    pair.say(expiry(2))

    assert await pair.wait_for(4) == [Overrun(), expired(1), Overrun(), expired(2)]
    stream.close()


async def test_events_that_cannot_be_read_count_as_lost(pair: Pair) -> None:
    """Something was said: without knowing what, the kernel must be asked."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.say(b"\x05\x00\x00\x00rubbish-of-some-length", expiry(1))

    assert await pair.wait_for(2) == [Overrun(), expired(1)]
    stream.close()


async def test_events_pass_over_what_says_nothing(pair: Pair) -> None:
    """Notices of other kinds are no event and no loss."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    acquire = encode_message(Head(uapi.XFRM_MSG_ACQUIRE), {})
    pair.say(acquire, encode_message(Head(uapi.XFRM_MSG_FLUSHSA, port_id=9), {"proto": 50}))

    assert await pair.wait_for(1) == [SadFlushed(50, 9)]
    stream.close()


async def test_events_leave_no_key_behind(pair: Pair) -> None:
    """The notice of a new association carries its keys; the buffer is wiped after reading."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    sa = observed_sa()
    pair.say(kernel.sa_message(sa, Head(uapi.XFRM_MSG_NEWSA, port_id=5)))

    assert await pair.wait_for(1) == [SaAdded(sa.id, OWNER, 5)]
    assert not any(stream._buffer)
    stream.close()


async def test_events_of_a_burst_let_the_loop_run(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wake-up reads only so many datagrams; the next turn reads on."""
    monkeypatch.setattr(notices, "DATAGRAMS_PER_WAKE_UP", 2)
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.say(*(expiry(spi) for spi in range(1, 8)))
    seen: list[int] = []
    while len(pair.events) < 7:
        await asyncio.sleep(0)
        seen.append(len(pair.events))

    assert all(after - before <= 2 for before, after in itertools.pairwise(seen))
    stream.close()


async def test_events_end_with_the_stream(pair: Pair) -> None:
    """After close nothing is delivered, not even what already lay there; twice is harmless."""
    stream = EventStream(pair.sink.take, opened=pair.ours)

    def close_at_the_first(event: KernelEvent) -> None:
        pair.sink.take(event)
        stream.close()

    stream._deliver = close_at_the_first
    pair.say(expiry(1), expiry(2))

    assert await pair.wait_for(1) == [expired(1)]
    stream.close()
    assert pair.ours.fileno() < 0
    assert pair.events == [expired(1)]


async def test_events_survive_a_receiver_that_fails(pair: Pair) -> None:
    """An exception of the receiver goes to the loop's handler, and the next event comes."""
    told: list[str] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(repr(context["exception"])))

    def deliver(event: KernelEvent) -> None:
        pair.sink.take(event)
        if len(pair.events) == 1:
            raise ZeroDivisionError

    stream = EventStream(deliver, opened=pair.ours)
    pair.say(expiry(1), expiry(2))

    assert await pair.wait_for(2) == [expired(1), expired(2)]
    assert told == ["ZeroDivisionError()"]
    stream.close()
