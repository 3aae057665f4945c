"""Twenty thousand sets that end at once, and a Kamailio that is told."""

import asyncio
import time
from collections.abc import Callable

import pytest

from tests.edge.many import Crowded, a_set, crowded
from tests.support.api import until
from tests.support.daemon import PATIENCE

SETS = 20_000
_SOME = 4_000
ENTRIES = 5  # of a set: four flows and a registration
_PATIENCE = 4 * PATIENCE


async def settled(crowd: Crowded, entries: int) -> tuple[float, float]:
    """Wait until the tables hold so many; return the seconds, and the longest answer meanwhile."""
    begun, longest = time.monotonic(), 0.0
    while True:
        asked = time.monotonic()
        known = await asyncio.to_thread(crowd.known)
        now = time.monotonic()
        longest = max(longest, now - asked)
        if known == entries:
            return now - begun, longest
        assert now - begun < _PATIENCE, known
        await asyncio.sleep(0.02)


@pytest.mark.timeout(900)
async def test_soak_twenty_thousand_sets_end_at_once(say: Callable[[str], None]) -> None:
    """Design section 1, point 2: the tables follow, in bounded memory, and nobody waits for it.

    1. The daemon comes and lists them all: all stay.
    2. One ends, and a worker writes it late: it goes again.
    3. All end, more than a subscriber's queue holds: the reader begins anew, and all go.
    4. The daemon comes again and lists every other one: the rest goes.
    """
    sets = [a_set(number) for number in range(SETS)]
    with crowded() as crowd:
        await asyncio.to_thread(crowd.put, sets)
        assert crowd.known() == SETS * ENTRIES
        before = crowd.megabytes()
        crowd.store.associations = {one.id: one for one in sets}
        async with crowd.serving():
            await until(lambda: len(crowd.store.watch), _PATIENCE)
            crowd.store.end(sets[0].id)
            await settled(crowd, (SETS - 1) * ENTRIES)  # it has been told
            await asyncio.to_thread(crowd.put, sets[:1])
            late, _ = await settled(crowd, (SETS - 1) * ENTRIES)
            for association_id in [*crowd.store.associations]:
                crowd.store.end(association_id)
            ended, longest = await settled(crowd, 0)
        await asyncio.to_thread(crowd.put, sets[:_SOME])
        crowd.store.associations = {one.id: one for one in sets[:_SOME:2]}
        async with crowd.serving():
            again, waited = await settled(crowd, _SOME // 2 * ENTRIES)
        grown = crowd.megabytes() - before
        slowest = max(longest, waited)
        say(
            f"{SETS} sets: written late gone after {late:.1f} s, all gone after {ended:.1f} s, "
            f"half of {_SOME} gone {again:.1f} s after a restart; the reader grew by "
            f"{grown:.0f} MB; Kamailio answered within {slowest * 1000:.0f} ms meanwhile"
        )
        assert grown < 128
        assert slowest < 1
