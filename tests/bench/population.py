"""Rows 8, 9 and 11: a daemon with very many registrations: its start, its memory, their end.

All 100 000 of the rows take some ten minutes. ``make bench ARGS="--module population --scale
0.1"`` is a look at a tenth of them.

One life for all of them: the sets are laid past the daemon and written into its journal, as an
earlier life would have left them; it starts and adopts them; then all of them reach their deadline
at one instant, while a SIP server goes on asking.
"""

import asyncio
import gc
import re
import statistics
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

from netlink.reference import dump_request
from netlink.sockets import open_socket
from netlink.uapi import NLMSG_DONE, XFRM_MSG_GETPOLICY, XFRM_MSG_GETSA
from netlink.walk import messages
from sad.model.association import Association
from tests.bench.figures import Row
from tests.bench.world import World
from tests.support.daemon import Daemon, wait_until
from tests.support.many_sets import boottime, fill_journal, lay, sets
from tests.support.namespaces import Namespace
from tests.support.prober import Prober, first_answers
from tests.support.scale import Counter, edge_daemon

REGISTRATIONS: Final = 100_000
LAYOUT: Final = "4 SAs and 10 policies a set, hmac-sha-1-96/null"

#: Until the deadline of all: what laying, starting and listing may take, in seconds.
_HEAD_START: Final = 60.0
_SECONDS_EACH: Final = 0.003
_KEPT: Final = 900_000
_PATIENCE: Final = 900.0
#: Between two questions to a daemon that is starting: it shares its processor with who asks.
_PAUSE: Final = 0.1
_BUFFER: Final = 4 << 20
_AT_ONCE: Final = 5000


def rows(world: World) -> Iterator[Row]:
    """Measure one long life."""
    count = world.population(REGISTRATIONS)
    with edge_daemon(world.folder / "edge") as daemon:
        empty = resident_kilobytes_of_empty(daemon)
        deadline = boottime() + _HEAD_START + _SECONDS_EACH * count
        begun = time.monotonic()
        (kept,) = sets(1, deadline_at=boottime() + 3600, first=_KEPT)
        asyncio.run(_live(daemon, [kept]))
        for first in range(0, count, _AT_ONCE):
            size = min(_AT_ONCE, count - first)
            asyncio.run(_live(daemon, sets(size, deadline_at=deadline, first=first)))
            gc.collect()
        world.say(f"{count} sets laid in {time.monotonic() - begun:.0f} s")
        raw = [raw_dump_seconds(daemon.namespace, count) for _ in range(2)]
        world.say(f"raw dump: {min(raw):.1f} s")
        daemon.spawn()
        begun = time.monotonic()
        said = first_answers(daemon, patience=_PATIENCE, pause=_PAUSE)
        took = time.monotonic() - begun
        assert "starting" in said["states"], "nobody was answered during the start"
        listed = daemon.status()["associations"]
        assert sum(c["count"] for c in listed) == count + 1, listed
        world.say(f"start: {took:.1f} s, {len(said['states'])} answers meanwhile")
        layout = f"{count} registrations, {LAYOUT}"
        yield Row(
            number=9,
            what="start with live registrations, everything adopted and the socket answering, "
            "against the raw dump of the kernel's tables",
            layout=layout,
            unit="times",
            best=took / min(raw),
            median=took / statistics.median(raw),
            trials=1,
            at_most=2.0,
        )
        kilobytes = (resident_kilobytes(daemon) - empty) / count
        yield Row(
            number=8,
            what="daemon's memory for each registration, after their adoption",
            layout=layout,
            unit="KiB",
            best=kilobytes,
            median=kilobytes,
            trials=1,
            at_most=2.5,
        )
        yield from _ending(world, daemon, kept, deadline, count, layout)


async def _live(daemon: Daemon, associations: Sequence[Association]) -> None:
    await lay(daemon.namespace, associations)
    await fill_journal(daemon.folder / "state", associations)


def resident_kilobytes(daemon: Daemon) -> float:
    """Return what a daemon has resident now, in KiB."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    found = re.search(r"VmRSS:\s+(\d+) kB", status)
    assert found is not None
    return float(found[1])


def resident_kilobytes_of_empty(daemon: Daemon) -> float:
    """Return what a daemon without associations has resident."""
    daemon.start()
    kilobytes = resident_kilobytes(daemon)
    daemon.kill()
    return kilobytes


def raw_dump_seconds(namespace: Namespace, count: int) -> float:
    """Fetch both tables and look at nothing but where the end is."""
    with namespace.enter():
        opened = open_socket(_BUFFER)
    buffer = bytearray(1 << 16)
    sizes = []
    begun = time.monotonic()
    for number, table in enumerate((XFRM_MSG_GETSA, XFRM_MSG_GETPOLICY), 1):
        opened.send(dump_request(table, number))
        sizes.append(0)
        while True:
            size = opened.recv_into(buffer)
            if next(iter(messages(buffer, size))).type == NLMSG_DONE:
                break
            sizes[-1] += size
    took = time.monotonic() - begun
    opened.close()
    assert sizes[0] > count * 4 * 400, "not all SAs were dumped"
    assert sizes[1] > count * 10 * 200, "not all policies were dumped"
    return took


# --- all end at once -----------------------------------------------------------------------------


def _ending(
    world: World, daemon: Daemon, kept: Association, deadline: float, count: int, layout: str
) -> Iterator[Row]:
    """Let all reach their deadline at one instant while a SIP server asks."""
    known = daemon.call("Get", id=kept.id)["association"]
    early = asyncio.run(_early(daemon, deadline, count))
    prober = Prober(daemon, known)
    begun = time.monotonic()
    try:
        wait_until(lambda: _confirmed(daemon) <= 1, "all have ended", _PATIENCE)
        took = time.monotonic() - begun
    finally:
        prober.stop()
    assert not prober.failures, prober.failures[:3]
    left = asyncio.run(_left(daemon, prober))
    waits = sorted(wait for waits in prober.seconds.values() for wait in waits)
    slowest = waits[int(0.99 * len(waits))]
    world.say(f"ended in {took:.0f} s; {prober.words()}")
    for what, unit, value, limit in (
        ("mass expiry: SAs left", "SAs", float(left), 0.0),
        ("mass expiry: SAs gone before their time", "SAs", float(early), 0.0),
        ("mass expiry: p99 of what a SIP server waits meanwhile", "ms", 1000 * slowest, 100.0),
        ("mass expiry: until all have ended", "s", took, None),
    ):
        yield Row(
            number=11,
            what=what,
            layout=layout,
            unit=unit,
            best=value,
            median=value,
            trials=1,
            at_most=limit,
        )


async def _early(daemon: Daemon, deadline: float, count: int) -> int:
    """Return how many SAs lack when the deadline is near."""
    counter = await Counter.open(daemon.namespace)
    try:
        assert boottime() < deadline, "the deadline came before the start had ended"
        await asyncio.sleep(max(0.0, deadline - boottime() - 1.0))
        there = await counter.sas()
        assert boottime() < deadline
        await asyncio.sleep(deadline - boottime())
        return 4 * (count + 1) - there
    finally:
        counter.close()


async def _left(daemon: Daemon, prober: Prober) -> int:
    """Return how many SAs there are beyond those of the kept set and of the SIP server's."""
    counter = await Counter.open(daemon.namespace)
    try:
        return await counter.sas() - 4 * (1 + len(prober.seconds["Offer"]))
    finally:
        counter.close()


def _confirmed(daemon: Daemon) -> int:
    time.sleep(0.2)
    counts = {c["state"]: c["count"] for c in daemon.status()["associations"]}
    return int(counts.get("established", 0))
