"""How associations end, each under its registration's lock.

Order of an ending: journal (intent), mechanism, journal (result), event. A mechanism that refuses
leaves the association in phase REMOVING: it is no longer offered to anyone, and the reconciler
tries again.
"""

import logging
from collections.abc import Iterable

from msgspec import structs

from sad.core import lifecycle
from sad.model.association import Association, EndReason, Phase, RegistrationKey
from sad.model.errors import KernelRefused
from sad.model.journal import Forget, Put
from sad.model.views import WatchKind
from sad.runtime.slices import in_slices
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)


class Endings:
    """Ends associations."""

    def __init__(self, shared: Shared) -> None:
        self._shared = shared

    def expire_due(self) -> None:
        """End what is due. The timer's callback."""
        due = self._shared.deadlines.fire()
        if due:
            self._shared.background.start(self.end_all(due, EndReason.EXPIRED))

    async def end_all(self, ids: Iterable[str], reason: EndReason) -> int:
        """End many, in slices; one that fails stops none of the others. Return how many ended."""
        pending = tuple(ids)
        ended = 0
        results = await in_slices(lambda i: self.end(i, reason), pending)
        for association_id, result in zip(pending, results, strict=True):
            if isinstance(result, BaseException):
                self._shared.tell_problem(
                    f"association {association_id} could not be ended: {type(result).__name__}",
                    "a defect of sad: please report it",
                )
            elif result is not None:
                ended += 1
        return ended

    async def end(self, association_id: str, reason: EndReason) -> Association | None:
        """End one association now; None if it had ended already, or the mechanism refused."""
        try:
            return await self.end_or_refuse(association_id, reason)
        except KernelRefused:
            return None  # told, and the reconciler tries again

    async def end_or_refuse(self, association_id: str, reason: EndReason) -> Association | None:
        """End one association now; None if it had ended already.

        Raises KernelRefused: it is offered to nobody any more and the reconciler tries again.
        """
        association = self._shared.table.get(association_id)
        if association is None:
            return None
        async with self._shared.lock_of(association):
            return await self.end_locked(association_id, reason)

    async def end_locked(self, association_id: str, reason: EndReason) -> Association | None:
        """As :meth:`end_or_refuse`, for a caller that holds the lock of the registration."""
        shared = self._shared
        association = shared.table.get(association_id)
        if association is None or association.phase is Phase.INSTALLING:
            return None
        if (
            reason is EndReason.EXPIRED
            and association.phase is Phase.INSTALLED
            and association.deadline_at > shared.clock.boottime()
        ):
            # It was lengthened while this ending waited for the lock.
            shared.deadlines.set(association.id, association.deadline_at)
            return None
        told = lifecycle.expiry_reason(association) if reason is EndReason.EXPIRED else reason
        if (
            reason is EndReason.KERNEL_LOST
            and association.phase is Phase.INSTALLED
            and association.deadline_at <= shared.clock.boottime()
        ):
            # Its time was over (a suspend, a hung daemon): the kernel ended it for that.
            told = lifecycle.expiry_reason(association)
        if told is EndReason.EXPIRED and association.end_reason is EndReason.RELEASED:
            told = EndReason.RELEASED  # its linger is over: that is what it was given
        removing = structs.replace(association, phase=Phase.REMOVING, end_reason=reason)
        shared.table.put(removing)
        shared.deadlines.remove(association.id)
        await shared.record_tolerant(Put(removing))
        sets = shared.settled(association.registration)
        try:
            await shared.mechanisms[association.mechanism].remove(sets, removing)
        except Exception as error:
            if isinstance(error, KernelRefused):
                shared.tell_refusal(f"association {association.id} could not be removed", error)
            shared.request_reconcile("a removal failed")
            raise
        shared.table.remove(association.id)
        await shared.record_tolerant(Forget(association.id))
        ended = lifecycle.end(association, told)
        shared.tell(WatchKind.ENDED, Step.ENDED, ended)
        return ended

    async def finish_removals(self, registration: RegistrationKey) -> None:
        """Try again what is being removed from a registration. The caller holds its lock.

        Raises KernelRefused. Who adds to a registration must know what lies in the kernel of it.
        """
        for association in self._shared.settled(registration):
            if association.phase is Phase.REMOVING:
                await self.end_locked(association.id, association.end_reason or EndReason.RELEASED)
