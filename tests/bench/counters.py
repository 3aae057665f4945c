"""How sequence numbers are read for another node: by notices, or by dumps of the SAD.

A dump costs by how many SAs there are, notices by how many have carried packets: the figure is how
many notices one dump is worth. Where fewer SAs move between two looks, notices are cheaper.
"""

import asyncio
import dataclasses
import time
from collections.abc import Iterator
from typing import Final

from netlink.counter_events import CounterStream
from netlink.counters import ObservedCounters
from netlink.kernel import KernelIpsec
from netlink.model import CurrentLifetime, MoveLifetime, Overrun, SaId
from tests.bench.figures import Row, summary
from tests.bench.world import World
from tests.support.event_sink import EventSink
from tests.support.namespaces import Namespace
from tests.support.xfrm_values import add_sa, security_association

SAS: Final = 100_000
NOTICES: Final = 4000
_AT_ONCE: Final = 1000


def rows(world: World) -> Iterator[Row]:
    """Measure both in one namespace, in turn."""
    count = world.population(SAS)
    with Namespace("counters") as namespace:
        worth = asyncio.run(_measure(world, namespace, count))
    best, median = summary(worth, most=True)
    yield Row(
        number=0,
        what="notices of counters that cost as much CPU as one dump of all of them",
        layout=f"{count} SAs, replay window 128, hmac-sha-1-96/null",
        unit="notices",
        best=best,
        median=median,
        trials=len(worth),
    )


async def _measure(world: World, namespace: Namespace, count: int) -> list[float]:
    sink = EventSink[ObservedCounters | Overrun]()
    with namespace.enter():
        kernel = await KernelIpsec.open()
        stream = CounterStream(sink.take, buffer_bytes=64 << 20)
    sas = [
        dataclasses.replace(
            security_association(spi, replay_window=128),
            id=SaId(f"10.{20 + (spi >> 16)}.{spi >> 8 & 255}.{spi & 255}", spi),
        )
        for spi in range(1, count + 1)
    ]
    for start in range(0, count, _AT_ONCE):
        assert not any(await kernel.commit([add_sa(s) for s in sas[start : start + _AT_ONCE]]))
    world.say(f"{count} SAs laid")
    worth = []
    for number in range(world.repeat + 1):
        begun = time.process_time()
        assert len(await kernel.dump_counters()) == count
        dump = time.process_time() - begun
        sink.events.clear()
        # What a packet brings about is the same notice as what NEWAE does.
        moves = [_moved(sa.id, sa.source, sa.reqid, number) for sa in sas[:NOTICES]]
        assert not any(await kernel.commit(moves))
        begun = time.process_time()
        await sink.wait_for_count(len(moves), patience=120)
        notice = (time.process_time() - begun) / len(moves)
        if number:  # the first warms up
            worth.append(dump / notice)
            world.say(f"a dump {1e3 * dump:.0f} ms, a notice {1e6 * notice:.1f} µs of CPU")
    stream.close()
    kernel.close()
    return worth


def _moved(sa_id: SaId, source: str, reqid: int, number: int) -> MoveLifetime:
    current = CurrentLifetime(bytes=0, packets=number, add_time=int(time.time()), use_time=0)
    return MoveLifetime(id=sa_id, source=source, reqid=reqid, current=current)
