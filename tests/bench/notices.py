"""Row 12: how long draining the kernel's notices takes, and that none is lost unnoticed.

Policies only, so that it runs on a kernel without ESP: their notices are as long as those of SAs.
All lie in the receive buffer when the clock starts: what is measured is ours, with decoding.
"""

import asyncio
import time
from collections.abc import Iterator
from typing import Final

from netlink.events import EventStream
from netlink.kernel import KernelIpsec
from netlink.model import AddPolicy, KernelEvent, Overrun, PolicyAdded, PolicyId
from tests.bench.baselines import LIBRARY, Baselines, Image
from tests.bench.figures import Row, summary
from tests.bench.sets import Sets
from tests.bench.world import World

SETS: Final = 500
BUFFER: Final = 32 << 20
SMALL_BUFFER: Final = 106_496  # net.core.rmem_default is twice this


def rows(world: World) -> Iterator[Row]:
    """Drain what fits, then what does not."""
    baselines = Baselines(world.program(LIBRARY))
    sets = Sets.of(SETS, "null")
    policies = [[o for o in one if isinstance(o, AddPolicy)] for one in sets.installs]
    additions = Image.of(policies)
    deletions = Image.of([one[-len(policies[0]) :] for one in sets.removals])
    count = sum(map(len, policies))
    asyncio.run(_drain(baselines, additions, deletions, count))  # warm
    spans = [
        asyncio.run(_drain(baselines, additions, deletions, count)) for _ in range(world.repeat)
    ]
    best, median = summary(spans, most=False)
    yield Row(
        number=12,
        what="draining a notice of the kernel, decoded and delivered",
        layout=f"{2 * count:,} notices of policies, all waiting",
        unit="µs",
        best=best * 1e6,
        median=median * 1e6,
        trials=world.repeat,
        at_most=3.0,
    )
    lost = [
        asyncio.run(_lost(baselines, additions, deletions, count)) for _ in range(world.repeat)
    ]
    yield Row(
        number=12,
        what="policies that nobody knows of after an overrun and the dump that it asks for",
        layout=f"{count:,} policies, default receive buffer",
        unit="lost",
        best=max(lost),
        median=max(lost),
        trials=world.repeat,
        at_most=0,
    )


class Collected:
    """What a stream delivered; ``enough`` is set after so many notices, or at an overrun."""

    def __init__(self, wanted: int) -> None:
        self.present: set[PolicyId] = set()
        self.overrun = False
        self.enough = asyncio.Event()
        self._left = wanted

    def count(self, _event: KernelEvent) -> None:
        """Take an event for the clock."""
        self._left -= 1
        if not self._left:
            self.enough.set()

    def take(self, event: KernelEvent) -> None:
        """Take an event for its meaning."""
        if isinstance(event, PolicyAdded):
            self.present.add(event.id)
        elif isinstance(event, Overrun):
            self.overrun = True
            self.enough.set()
        self.count(event)


async def _drain(baselines: Baselines, additions: Image, deletions: Image, count: int) -> float:
    """Return seconds for each notice."""
    collected = Collected(2 * count)
    stream = EventStream(collected.count, buffer_bytes=BUFFER)
    try:
        baselines.replay(additions)
        baselines.replay(deletions)
        begun = time.perf_counter()
        await collected.enough.wait()
        return (time.perf_counter() - begun) / (2 * count)
    finally:
        stream.close()


async def _lost(baselines: Baselines, additions: Image, deletions: Image, count: int) -> int:
    """Return how many policies an observer does not know of who dumps after an overrun."""
    collected = Collected(count)
    stream = EventStream(collected.take, buffer_bytes=SMALL_BUFFER)
    kernel = await KernelIpsec.open()
    try:
        baselines.replay(additions)
        await collected.enough.wait()
        known = collected.present
        if collected.overrun:
            known = {policy.id for policy in await kernel.dump_policies()}
        return count - len(known)
    finally:
        stream.close()
        kernel.close()
        baselines.replay(deletions)
