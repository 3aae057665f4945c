"""Row 13: ``sadctl list`` of 100 000: when it begins to print, and what it takes of memory.

No kernel is asked, so this is done without one: the daemon of :mod:`tests.bench.own_cpu` with as
many associations in its table, and ``sadctl`` as a process of its own.
"""

import asyncio
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from tests.bench.figures import Row
from tests.bench.own_cpu import HostDaemon, host_daemon
from tests.bench.world import World
from tests.support.many_sets import boottime, sets

ASSOCIATIONS: Final = 100_000
MOST_TRIALS: Final = 5
#: What a list may grow the daemon by, and its client: less than a tenth of what is listed.
MOST_MEBIBYTES: Final = 16.0


class Listing(NamedTuple):
    """What one list took, in seconds and MiB; ``client`` is the most that sadctl had."""

    first: float
    whole: float
    grown: float
    client: float


def resident_mebibytes(process: int | str = "self") -> float:
    """Return what a process has resident."""
    found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{process}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0  # a process that has ended has none


async def listed(daemon: HostDaemon, count: int) -> Listing:
    """Have sadctl list all into a pipe."""
    before = most = resident_mebibytes()
    begun = time.monotonic()
    listing = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "sad.ctl", "--socket", str(daemon.path), "list",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert listing.stdout is not None
    assert await listing.stdout.readline(), "nothing was listed"
    first = time.monotonic() - begun
    lines, client = 1, 0.0
    while data := await listing.stdout.read(1 << 16):
        lines += data.count(b"\n")
        most = max(most, resident_mebibytes())
        client = max(client, resident_mebibytes(listing.pid))
    assert await listing.wait() == 0
    assert lines == count, lines
    return Listing(first, time.monotonic() - begun, most - before, client)


async def trials(folder: Path, count: int, number: int) -> list[Listing]:
    """List so many associations a few times."""
    async with host_daemon(folder) as daemon:
        for association in sets(count, deadline_at=boottime() + 3600):
            daemon.shared.table.put(association)
        return [await listed(daemon, count) for _ in range(number)]


def rows(world: World) -> Iterator[Row]:
    """List all, and look at the clock and at the memory."""
    count = world.population(ASSOCIATIONS)
    number = min(world.repeat, MOST_TRIALS)
    with tempfile.TemporaryDirectory(dir=world.folder) as folder:
        found = asyncio.run(trials(Path(folder), count, number))
    client = max(listing.client for listing in found)
    whole = statistics.median(listing.whole for listing in found)
    world.say(f"all {count} lines within {whole:.1f} s, sadctl had {client:.0f} MiB at most")
    firsts = [listing.first for listing in found]
    layout = f"{count} associations, no kernel"
    yield Row(
        number=13,
        what="sadctl list of all: seconds to its first line, its own start included",
        layout=layout,
        unit="s",
        best=min(firsts),
        median=statistics.median(firsts),
        trials=number,
        at_most=0.3,
    )
    growths = [listing.grown for listing in found]
    yield Row(
        number=13,
        what="sadctl list of all: what the daemon grew by meanwhile",
        layout=layout,
        unit="MiB",
        best=min(growths),
        median=statistics.median(growths),
        trials=number,
        at_most=MOST_MEBIBYTES,
    )
    yield Row(
        number=13,
        what="sadctl list of all: most that sadctl had resident",
        layout=layout,
        unit="MiB",
        best=client,
        median=client,
        trials=number,
        at_most=3 * MOST_MEBIBYTES,
    )
