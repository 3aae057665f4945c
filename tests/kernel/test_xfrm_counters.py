"""Notices of counters on a real kernel: at a bounded rate, of what has moved, and none too few."""

import asyncio
import contextlib
import dataclasses
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable

import pytest

from netlink.counter_events import CounterStream
from netlink.counters import ObservedCounters
from netlink.kernel import KernelIpsec
from netlink.model import (
    AddPolicy,
    Direction,
    Overrun,
    Policy,
    PolicyAction,
    PolicyId,
    ReplayState,
    SaId,
    SecurityAssociation,
    Template,
)
from tests.support import eye
from tests.support.contract_world import applied
from tests.support.event_sink import EventSink
from tests.support.namespaces import Namespace, connect
from tests.support.xfrm_values import add_sa, security_association, selector

SENDER, RECEIVER = "192.0.2.1", "192.0.2.2"
#: So many packets that a notice of every other one is told apart from one a second.
PACKETS = 2000
TOLD, UNTOLD, IDLE = 1, 2, 3  # SPIs

Sink = EventSink[ObservedCounters | Overrun]


def one_way(spi: int) -> SecurityAssociation:
    """An SA from sender to receiver; the port of its packets is its SPI."""
    return dataclasses.replace(
        security_association(spi, replay_window=128, hard_add_seconds=600),
        id=SaId(RECEIVER, spi),
        source=SENDER,
        selector=selector(SENDER, RECEIVER),
    )


def demand(sa: SecurityAssociation) -> AddPolicy:
    port = selector(SENDER, RECEIVER, port=sa.id.spi)
    template = Template(source=SENDER, destination=RECEIVER, reqid=sa.reqid)
    return AddPolicy(
        Policy(
            id=PolicyId(Direction.OUT, port),
            action=PolicyAction.ALLOW,
            priority=1000,
            template=template,
        )
    )


@dataclasses.dataclass
class Side:
    """One end: its namespace, its kernel, and what was told there of counters."""

    namespace: Namespace
    kernel: KernelIpsec
    sink: Sink

    def notices(self) -> Counter[int]:
        """How many of each SPI."""
        told = (e for e in self.sink.events if isinstance(e, ObservedCounters))
        return Counter(e.id.spi for e in told)

    async def wait_for(self, spi: int, replay: ReplayState) -> None:
        """Wait until an SA was told to stand there."""
        async with asyncio.timeout(60):
            while not any(
                isinstance(e, ObservedCounters) and (e.id.spi, e.replay) == (spi, replay)
                for e in self.sink.events
            ):
                await self.sink.wait_for_count(len(self.sink.events) + 1, patience=60)


@contextlib.asynccontextmanager
async def side(namespace: Namespace, buffer_bytes: int = 8 << 20) -> AsyncIterator[Side]:
    sink = Sink()
    with namespace.enter():
        kernel = await KernelIpsec.open()
        stream = CounterStream(sink.take, buffer_bytes=buffer_bytes)
    try:
        yield Side(namespace, kernel, sink)
    finally:
        stream.close()
        kernel.close()


@pytest.fixture
def ends(netns: Callable[[str], Namespace]) -> tuple[Namespace, Namespace]:
    """Two namespaces and a cable."""
    sender, receiver = netns("sender"), netns("receiver")
    connect(sender, receiver, (f"{SENDER}/24", f"{RECEIVER}/24"), None)
    return sender, receiver


def send(sender: Namespace, spi: int, count: int) -> None:
    """Send datagrams on an SA; that nobody listens there must not keep the next one back."""
    with sender.enter(), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((SENDER, 0))
        for _ in range(count):  # unconnected: errors of earlier ones are nobody's
            sock.sendto(b"MESSAGE", (RECEIVER, spi))


async def test_counters_are_told_once_in_a_while_however_many_packets_pass(
    ends: tuple[Namespace, Namespace],
) -> None:
    """At both ends; of others at every other packet, of those at rest never; the last is exact."""
    async with side(ends[0]) as sender, side(ends[1]) as receiver:
        for end in (sender, receiver):
            for spi in (TOLD, UNTOLD, IDLE):
                addition = add_sa(one_way(spi), tell_counters=spi != UNTOLD)
                await applied(end.kernel, addition)
        await applied(sender.kernel, *(demand(one_way(spi)) for spi in (TOLD, UNTOLD)))
        begun = time.monotonic()
        for _ in range(PACKETS // 100):
            send(ends[0], TOLD, 100)
            send(ends[0], UNTOLD, 100)
            await asyncio.sleep(0)
        await sender.wait_for(TOLD, ReplayState(sent=PACKETS))
        await receiver.wait_for(TOLD, ReplayState(received=PACKETS))
        seconds = time.monotonic() - begun

        for end in (sender, receiver):
            told = end.notices()
            assert 1 <= told[TOLD] <= 2 * seconds + 3
            assert told[UNTOLD] >= PACKETS // 4
            assert told[IDLE] == 0
            standing = {c.id.spi: c.replay for c in await end.kernel.dump_counters()}
            assert standing[IDLE] == ReplayState()
        assert eye.statistics(ends[1])["XfrmInStateSeqError"] == 0


async def test_each_packet_of_a_seldom_used_association_is_told(
    ends: tuple[Namespace, Namespace],
) -> None:
    """An SA that goes on from another node, and is seldom used: its next number is known."""
    async with side(ends[0]) as sender:
        sa = one_way(TOLD)
        numbers = ReplayState(sent=1 << 24)
        await applied(sender.kernel, add_sa(sa, numbers, tell_counters=True), demand(sa))
        for number in range(1, 4):
            send(ends[0], TOLD, 1)
            await sender.wait_for(TOLD, ReplayState(sent=numbers.sent + number))

        last = sender.sink.events[-1]
        assert isinstance(last, ObservedCounters)
        assert last.current.packets == 3


async def test_lost_notices_are_an_overrun(ends: tuple[Namespace, Namespace]) -> None:
    """More than the buffer holds is told as such, and the stream goes on."""
    async with side(ends[0], buffer_bytes=2048) as sender:
        sas = [one_way(spi) for spi in range(1, 201)]
        await applied(sender.kernel, *map(add_sa, sas), *map(demand, sas))
        for sa in sas:
            send(ends[0], sa.id.spi, 4)
        async with asyncio.timeout(60):
            while Overrun() not in sender.sink.events:
                await sender.sink.wait_for_count(len(sender.sink.events) + 1, patience=60)
        told = sender.notices()
        assert len(told) < len(sas)

        standing = {c.id.spi: c.replay.sent for c in await sender.kernel.dump_counters()}
        assert standing == dict.fromkeys(range(1, 201), 4)
