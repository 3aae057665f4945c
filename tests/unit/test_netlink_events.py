"""The event stream: every notice an event, every loss an event, no key kept."""

import asyncio
import errno
import itertools
import socket
from collections.abc import Iterator

import pytest

from netlink import datagrams, notices, uapi
from netlink.datagrams import SLOT, Datagrams
from netlink.events import EventStream
from netlink.model import KernelEvent, Overrun, SaAdded, SadFlushed, SaExpired
from netlink.schema import Head, encode_message
from tests.support import kernel_messages as kernel
from tests.support.event_sink import EventSink
from tests.support.xfrm_values import OWNER, observed_sa


class Pair:
    """Our end, the kernel's end, and what the stream said.

    :attr:`losses` makes the next reads fail as an overrun does.
    """

    def __init__(self) -> None:
        ours, self.kernel = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        ours.setblocking(False)
        self.ours = ours
        self.losses = 0
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
def pair(monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    made = Pair()
    receive = Datagrams.receive

    def lossy(self: Datagrams, most: int) -> list[int]:
        if made.losses:
            made.losses -= 1
            raise OSError(errno.ENOBUFS, "No buffer space available")
        return receive(self, most)

    monkeypatch.setattr(Datagrams, "receive", lossy)
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
    pair.losses = 1
    pair.say(expiry(1))
    await pair.wait_for(2)
    pair.losses = 1
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
    assert not any(stream._datagrams.buffer)
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


async def test_events_of_more_than_one_read_come_whole_and_in_order(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One call brings some, the next the rest."""
    monkeypatch.setattr(datagrams, "MOST", 3)
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.say(*(expiry(spi) for spi in range(8)))

    assert await pair.wait_for(8) == [expired(spi) for spi in range(8)]
    stream.close()


async def test_events_of_one_datagram_are_all_told(pair: Pair) -> None:
    """Several messages may share one; what is behind them unread is a loss."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    pair.say(expiry(1) + expiry(2), expiry(3) + b"\x01", expiry(4))

    assert await pair.wait_for(5) == [expired(1), expired(2), expired(3), Overrun(), expired(4)]
    stream.close()


@pytest.mark.parametrize("size", [1, 15, SLOT + 4, 3 * SLOT])
async def test_events_that_are_not_all_there_count_as_lost(pair: Pair, size: int) -> None:
    """Whatever the length in their header says, and however long they were."""
    stream = EventStream(pair.sink.take, opened=pair.ours)
    whole = expiry(1) + bytes(3 * SLOT)
    pair.say(size.to_bytes(4, "little") + whole[4:size], expiry(2))

    assert await pair.wait_for(2) == [Overrun(), expired(2)]
    assert not any(stream._datagrams.buffer)
    stream.close()


async def test_events_come_on_after_a_receiver_that_fails(pair: Pair) -> None:
    """Its exception goes to the loop's handler, and the events behind are nobody's loss."""
    told: list[object] = []
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(lambda _loop, context: told.append(context["exception"]))
    stream = EventStream(pair.sink.take, opened=pair.ours)

    def fail_at_the_first(event: KernelEvent) -> None:
        pair.sink.take(event)
        if len(pair.events) == 1:
            raise ZeroDivisionError

    stream._deliver = fail_at_the_first
    pair.say(expiry(1), expiry(2), expiry(3))

    assert await pair.wait_for(3) == [expired(1), expired(2), expired(3)]
    assert [type(error) for error in told] == [ZeroDivisionError]
    stream.close()
