"""What the kernel has lost is made again from sealed records, where the settings want it.

Manually keyed pairs are always made again: their keys are there anyway.

The set stays in force for the SIP side: same SPIs, ports, reqids and deadline. What still stands
in the kernel is not touched. The journal's row says throughout that the set is to be there, so a
death in the middle leaves a set that misses SAs, which the next start finds. Where anything is in
doubt the answer is no, and the set ends as it does without records.
"""

import logging
from collections.abc import Mapping
from typing import Final

from netlink.model import ReplayState, SaDeleted, SaId
from sad.core.rebuilding import next_record
from sad.model.association import Association, Phase
from sad.model.errors import JournalUnavailable, KernelRefused, Lost
from sad.model.key_record import KeyRecord
from sad.model.views import WatchKind
from sad.runtime.ports import KeyRecords
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)

#: Rebuilds of one set in so many seconds: who deletes it again and again means it.
MOST: Final = 3
PERIOD_SECONDS: Final = 60.0


class Rebuilds:
    """Rebuilds associations, and remembers what the kernel told of the SAs that went."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared
        self._heard: dict[SaId, ReplayState] = {}
        self._times: dict[str, list[float]] = {}
        shared.rebuild_locked = self.rebuild_locked

    def hear(self, event: SaDeleted) -> None:
        """Keep the sequence numbers with which an SA of ours was deleted by somebody else."""
        wanted = self._shared.records is not None or self._shared.own_records
        if wanted and event.replay is not None:
            self._heard[event.id] = event.replay

    def heard(self) -> Mapping[SaId, ReplayState]:
        """What was heard up to now, for :meth:`drop`."""
        return dict(self._heard)

    def drop(self, heard: Mapping[SaId, ReplayState]) -> None:
        """Forget what was heard before a comparison that has ended: it has done its work."""
        for sa_id, replay in heard.items():
            if self._heard.get(sa_id) is replay:
                del self._heard[sa_id]
        since = self._shared.clock.boottime() - PERIOD_SECONDS
        self._times = {i: times for i, times in self._times.items() if times[-1] > since}

    async def rebuild(self, association_id: str) -> bool:
        """Rebuild an association if that is wanted and possible; False: it is to end."""
        association = self._shared.table.get(association_id)
        if association is None or self._shared.records_of(association) is None:
            return False
        async with self._shared.lock(association.registration):
            return await self.rebuild_locked(association_id)

    async def rebuild_locked(self, association_id: str) -> bool:
        """As :meth:`rebuild`, for a caller that holds the lock of the registration."""
        shared = self._shared
        association = shared.table.get(association_id)
        if association is None or association.phase is not Phase.INSTALLED:
            return False
        records = shared.records_of(association)
        if records is None or not self._may_again(association):
            return False
        try:
            record = records.get(association)
            if record is None:
                log.warning(
                    "association %s: there is no record to rebuild it from", association.id
                )
                return False
            try:
                return await self._rebuild(association, record, records)
            finally:
                record.wipe()
        except (JournalUnavailable, KernelRefused) as error:
            shared.tell_refusal(f"association {association.id} could not be rebuilt", error)
        except Lost as error:
            log.warning("association %s: somebody else's SA stands for %s", association.id, error)
        return False

    def _may_again(self, association: Association) -> bool:
        now = self._shared.clock.boottime()
        times = [t for t in self._times.get(association.id, ()) if t > now - PERIOD_SECONDS]
        if len(times) >= MOST:
            log.warning("association %s: rebuilt %d times in vain", association.id, MOST)
            return False
        self._times[association.id] = [*times, now]
        return association.deadline_at > now

    async def _rebuild(
        self, association: Association, record: KeyRecord, records: KeyRecords
    ) -> bool:
        following = next_record(association, record, self._heard)
        if following is None:
            log.warning("association %s: no sequence numbers or IVs are left", association.id)
            return False
        # First the record: numbers that were used once are never used again, whoever dies here.
        await records.put(association, following)
        self._shared.cluster.leapt(association, following.leaps)
        mechanism = self._shared.mechanisms[association.mechanism]
        rebuilt = await mechanism.rebuild(association, following)
        if rebuilt:
            log.warning("association %s: the kernel lacked %s", association.id, ", ".join(rebuilt))
            self._shared.tell(WatchKind.CHANGED, Step.REBUILT, association)
        return True
