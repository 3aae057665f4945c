"""Where the sequence numbers of this node's sets stand: heard from the kernel, kept for others.

Notices say which SAs have moved, at most once a second for each (:mod:`netlink.counter_events`).
Those of one set become one snapshot, made when somebody asks. After an overrun, at the start, and
when snapshots must be exact, the kernel is asked for all of it.
"""

import asyncio
import dataclasses
import logging
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, TypeAlias

from netlink.counters import ObservedCounters
from netlink.errors import DumpInterrupted, KernelError
from netlink.model import Overrun
from sad.core.restoring import hear, never_read, raised
from sad.core.table import AssociationTable
from sad.model.association import Association, Phase
from sad.model.cluster import CounterSnapshot
from sad.runtime.ports import Clock

log = logging.getLogger(__name__)

Dump: TypeAlias = Callable[[], Awaitable[list[ObservedCounters]]]
Snapshots: TypeAlias = Mapping[str, tuple[CounterSnapshot, ...]]

#: Notices that were lost are no reason to read all SAs more often than this.
PAUSE_SECONDS: Final = 30.0


class CounterBook:
    """The numbers of the sets of ``ipsec-3gpp`` in ``table``; ``dump`` is that of the kernel.

    Snapshots come by endpoint. None says less than an earlier one of its set.
    """

    def __init__(self, table: AssociationTable, clock: Clock, dump: Dump) -> None:
        self._table = table
        self._clock = clock
        self._dump = dump
        self._known: dict[str, CounterSnapshot] = {}
        #: Sets that have moved since the last answer, and when that was heard first.
        self._moved: dict[str, float] = {}
        self._news = asyncio.Event()
        self._lost = False
        self._read_at = -PAUSE_SECONDS

    def hear(self, told: ObservedCounters | Overrun) -> None:
        """Take a notice of the kernel; that of an SA of somebody else says nothing."""
        if isinstance(told, Overrun):
            self._lost = True
            self._news.set()
        else:
            self._take(told, self._clock.realtime())

    def leap(self, association: Association, lives: int) -> CounterSnapshot:
        """Take over that SAs of a set were made again here; return where it stands now."""
        known = self._known.get(association.id) or never_read(association)
        leapt = raised(association, known, self._clock.realtime(), lives) or known
        self._known[association.id] = leapt
        return leapt

    def note(self, snapshot: CounterSnapshot) -> None:
        """Take over where a set begins that has come from another node."""
        self._known[snapshot.association_id] = snapshot

    def known(self, association_id: str) -> CounterSnapshot | None:
        """Return the last word of a set; None: there was none. Its age is that of the word."""
        return self._known.get(association_id)

    def forget(self, association: Association) -> None:
        """Forget a set that has ended."""
        self._known.pop(association.id, None)
        self._moved.pop(association.id, None)

    async def wait(self) -> None:
        """Wait until there is something for :meth:`changed`."""
        await self._news.wait()

    async def changed(self) -> Snapshots:
        """Return the sets that have moved since the last call.

        If notices were lost that is every set that has, by a dump, but not sooner than
        PAUSE_SECONDS after the last one.
        """
        self._news.clear()
        if self._lost and self._clock.boottime() >= self._read_at + PAUSE_SECONDS:
            try:
                await self._read()
            except (KernelError, DumpInterrupted) as error:
                log.warning("counters of SAs could not be read: %s", error)
        if self._lost:
            self._news.set()  # there is something left to be done
        moved, self._moved = self._moved, {}
        return self._snapshots(moved)

    async def read(self, endpoint: str | None = None) -> Snapshots:
        """Ask the kernel where every set of an endpoint stands, or of all, moved or not.

        Raises KernelError, DumpInterrupted.
        """
        begun = self._clock.realtime()
        await self._read()
        found = {
            a.id: begun
            for a in self._table
            if a.id in self._known and endpoint in (None, a.endpoint)
        }
        for association_id in found:
            self._moved.pop(association_id, None)
        return self._snapshots(found)

    async def _read(self) -> None:
        self._read_at, self._lost = self._clock.boottime(), False
        begun = self._clock.realtime()
        try:
            for told in await self._dump():
                self._take(told, begun)
        except BaseException:
            self._lost = True
            raise

    def _take(self, told: ObservedCounters, at: float) -> None:
        association = self._table.of_spi(told.id.destination, told.id.spi)
        if (
            association is None
            or association.ipsec_3gpp is None
            or association.phase is not Phase.INSTALLED
        ):
            return
        known = self._known.get(association.id) or never_read(association)
        self._known[association.id] = after = hear(known, association, told)
        if after is not known:
            self._moved.setdefault(association.id, at)
            self._news.set()

    def _snapshots(self, read_at: Mapping[str, float]) -> Snapshots:
        found: defaultdict[str, list[CounterSnapshot]] = defaultdict(list)
        for association_id, at in read_at.items():
            association = self._table.get(association_id)
            if association is not None:
                known = dataclasses.replace(self._known[association_id], read_at=at)
                found[association.endpoint].append(known)
        return {endpoint: tuple(snapshots) for endpoint, snapshots in found.items()}
