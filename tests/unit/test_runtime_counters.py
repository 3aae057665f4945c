"""Sequence numbers of sets: heard SA by SA, told as snapshots, read whole after a loss."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from netlink.counters import ObservedCounters
from netlink.errors import KernelError
from netlink.model import CurrentLifetime, Overrun, ReplayState, SaId
from sad.core.nonces import BLOCK
from sad.model.association import Association
from sad.model.cluster import CounterSnapshot
from sad.runtime.counters import PAUSE_SECONDS, CounterBook
from tests.support.shell import USER, Shell, release_of, ue_request

NEVER = CurrentLifetime(bytes=0, packets=0, add_time=0, use_time=0)


class World:
    """A daemon's sets, their numbers in the kernel, and the book that follows them."""

    def __init__(self) -> None:
        self.shell = Shell()
        self.dumps = 0
        self.broken: list[Exception] = []
        self.book = CounterBook(self.shell.shared.table, self.shell.clock, self.dump)
        self.shell.shared.end_listeners.append(self.book.forget)

    async def dump(self) -> list[ObservedCounters]:
        self.dumps += 1
        if self.broken:
            raise self.broken.pop()
        return await self.shell.kernel.dump_counters()

    def carry(self, sa_id: SaId, *, sent: int = 0, received: int = 0, told: bool = True) -> None:
        """Have an SA carry packets, and the kernel tell of it, or not."""
        replay = ReplayState(sent=sent, received=received)
        self.shell.tables.sas[sa_id].replay = replay
        if told:
            self.book.hear(ObservedCounters(id=sa_id, replay=replay, current=NEVER))

    async def changed(self) -> list[CounterSnapshot]:
        return [s for of_endpoint in (await self.book.changed()).values() for s in of_endpoint]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    made = World()
    yield made
    await made.shell.shared.background.drain()


def inbound(one: Association, index: int = 0) -> SaId:
    return SaId(one.sa_set.local_address, one.sa_set.local_spis[index])


def outbound(one: Association, index: int = 0) -> SaId:
    return SaId(one.sa_set.peer_address, one.sa_set.peer_spis[index])


async def test_the_sas_of_a_set_become_one_snapshot(world: World) -> None:
    """Whatever was told of them in between, by endpoint, and with when it was heard first."""
    one, _ = await world.shell.install(), await world.shell.install(ue_request(1))
    heard_at = world.shell.clock.realtime()
    world.carry(outbound(one, 1), sent=3)
    world.shell.clock.advance(1)
    world.carry(inbound(one, 0), received=8)
    world.carry(outbound(one, 1), sent=5)

    assert await world.book.changed() == {
        "access": (
            CounterSnapshot(
                association_id=one.id, read_at=heard_at, sent=(0, 5), received=(8, 0), lives=0
            ),
        )
    }
    assert await world.book.changed() == {}


async def test_a_later_snapshot_has_all_that_was_heard_before(world: World) -> None:
    """One notice is of one SA, the snapshot of four."""
    one = await world.shell.install()
    world.carry(outbound(one), sent=3)
    await world.book.changed()
    world.carry(inbound(one), received=4)

    (snapshot,) = await world.changed()
    assert (snapshot.sent, snapshot.received) == ((3, 0), (4, 0))


async def test_a_notice_that_says_nothing_new_is_none(world: World) -> None:
    """Neither does one of an SA of somebody else, or of a set that has ended."""
    one = await world.shell.install()
    world.carry(outbound(one), sent=3)
    await world.book.changed()
    world.carry(outbound(one), sent=3)
    world.book.hear(
        ObservedCounters(id=SaId("192.0.2.7", 9), replay=ReplayState(sent=1), current=NEVER)
    )
    assert await world.book.changed() == {}

    world.carry(outbound(one), sent=4)
    await world.shell.service.release(USER, release_of(one.id))
    assert await world.book.changed() == {}


async def test_whoever_waits_hears_of_news(world: World) -> None:
    """And waits again once it was taken."""
    one = await world.shell.install()
    waiting = asyncio.ensure_future(world.book.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    world.carry(outbound(one), sent=1)
    await waiting

    await world.book.changed()
    waiting = asyncio.ensure_future(world.book.wait())
    await asyncio.sleep(0)
    assert not waiting.done()
    waiting.cancel()


async def test_lost_notices_are_made_up_for_by_one_dump(world: World) -> None:
    """Everything that has moved is told, the rest is not; no more dumps than one in a while."""
    moved, still = await world.shell.install(), await world.shell.install(ue_request(1))
    world.carry(outbound(moved), sent=2)
    await world.book.changed()
    world.carry(outbound(moved), sent=700, told=False)
    world.book.hear(Overrun())
    world.book.hear(Overrun())

    (snapshot,) = await world.changed()
    assert (snapshot.association_id, snapshot.sent) == (moved.id, (700, 0))
    assert world.dumps == 1

    world.carry(outbound(still), sent=9, told=False)
    world.book.hear(Overrun())
    assert await world.book.changed() == {}
    assert world.dumps == 1
    world.shell.clock.advance(PAUSE_SECONDS)
    (snapshot,) = await world.changed()
    assert (snapshot.association_id, snapshot.sent) == (still.id, (9, 0))


async def test_a_dump_that_fails_is_tried_again(world: World) -> None:
    """What was lost stays lost until it is made up for, and the waiter knows."""
    one = await world.shell.install()
    world.carry(outbound(one), sent=5, told=False)
    world.book.hear(Overrun())
    world.broken = [KernelError(12)]
    assert await world.book.changed() == {}
    await world.book.wait()
    world.shell.clock.advance(PAUSE_SECONDS)

    (snapshot,) = await world.changed()
    assert snapshot.sent == (5, 0)


async def test_all_of_an_endpoint_is_read_at_once(world: World) -> None:
    """For the last word before its SAs go: moved or not, exact, and not told again."""
    one, two = await world.shell.install(), await world.shell.install(ue_request(1))
    at = world.shell.clock.realtime()
    world.carry(outbound(one), sent=6)
    world.carry(inbound(two), received=7, told=False)

    found = await world.book.read("access")

    by_id = {s.association_id: s for s in found["access"]}
    assert (by_id[one.id].sent, by_id[one.id].received) == ((6, 0), (0, 0))
    assert (by_id[two.id].sent, by_id[two.id].received) == ((0, 0), (7, 0))
    assert {s.read_at for s in by_id.values()} == {at}
    assert await world.book.read("another") == {}
    assert await world.book.changed() == {}


async def test_a_set_from_another_node_counts_on_from_there(world: World) -> None:
    """What it began with is known without a word of the kernel, and the life it is in."""
    one = await world.shell.install()
    world.book.note(
        CounterSnapshot(
            association_id=one.id, read_at=0.0, sent=(BLOCK, BLOCK), received=(3, 4), lives=1
        )
    )
    world.carry(outbound(one), sent=2 * BLOCK + 1)

    (snapshot,) = await world.changed()
    assert snapshot.sent == (2 * BLOCK + 1, BLOCK)
    assert (snapshot.received, snapshot.lives) == ((3, 4), 2)
