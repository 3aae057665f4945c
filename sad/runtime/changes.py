"""How installed associations change: journal, mechanism, table, event; all of it or nothing.

The counterpart of :mod:`sad.runtime.endings`. What changes at one blow (a set comes into use,
older ones retire or end) is one :class:`~sad.core.replacement.Succession` and one journal entry:
a daemon that dies in the middle goes on with all of it.
"""

from collections.abc import Sequence

from msgspec import structs

from sad.core.replacement import Succession
from sad.model.association import Association, EndReason, Phase
from sad.model.errors import KernelRefused, Lost, SadError
from sad.model.journal import Put
from sad.model.views import WatchKind
from sad.runtime.endings import Endings
from sad.runtime.ports import MechanismDriver
from sad.runtime.state import Shared
from sad.runtime.story import step_between


class Changes:
    """Changes of installed associations. Callers hold the lock of the registration."""

    def __init__(self, shared: Shared, endings: Endings) -> None:
        self._shared = shared
        self._endings = endings

    async def succeed(self, before: Association, after: Succession) -> Association:
        """Bring about a succession inside the registration of ``before``.

        Raises as :meth:`change`. What the kernel has lost is rebuilt on the way, if the settings
        want it; else an older set that it has lost is ended.
        ``elsewhere`` is left to the caller, who must not hold this lock for it.
        """
        retiring = after.retiring
        while True:
            changed = (after.association, *retiring)
            try:
                await self._change(before, changed, (*after.replaced, *after.elsewhere))
                break
            except _LostOne as error:
                lost = error.association
                if await self._shared.rebuild_locked(lost.id):
                    continue
                lost_as = self._shared.mechanisms[lost.mechanism].lost_as
                await self._endings.end_locked(lost.id, lost_as)
                if lost.id == before.id:
                    raise Lost(error.what) from error
                retiring = tuple(a for a in retiring if a.id != lost.id)
        for association in after.replaced:
            await self.replace(association)
        return self._shared.table.get(before.id) or after.association

    async def change(self, before: Association, after: Association) -> Association:
        """Bring an association into a new state or to a new deadline.

        Raises KernelRefused or JournalUnavailable with everything as before; an association that
        the kernel has lost, and that is not rebuilt, is ended, then Lost is raised.
        """
        return await self.succeed(before, Succession(association=after))

    async def replace(self, association: Association) -> None:
        """End a set whose successor stands; one that is refused is left to the reconciler."""
        try:
            await self._endings.end_locked(association.id, EndReason.REPLACED)
        except KernelRefused:
            return  # told, and it is offered to nobody any more

    async def _change(
        self,
        before: Association,
        changed: Sequence[Association],
        ending: Sequence[Association],
    ) -> None:
        shared = self._shared
        mechanism = shared.mechanisms[before.mechanism]
        old_sets = shared.settled(before.registration)
        becomes = {a.id: a for a in changed}
        new_sets = tuple(becomes.get(a.id, a) for a in old_sets)
        olds = {a.id: a for a in old_sets}
        writes = [Put(a) for a in changed]
        if ending:
            writes += [
                Put(_removing(a))
                for a in self._present(ending)
                if a.phase is not Phase.INSTALLING  # not by us: its own journal entry comes
            ]
        await shared.journal.record(writes)
        moved: list[Association] = []
        try:
            for association in changed:
                if association.deadline_at != olds[association.id].deadline_at:
                    moved.append(association)
                    await self._set_deadline(mechanism, new_sets, association)
            if any(a.state is not olds[a.id].state for a in changed):
                await mechanism.rearrange(old_sets, new_sets)
        except BaseException as error:
            await shared.record_tolerant(*(Put(a) for a in self._present((*changed, *ending))))
            if not isinstance(error, _LostOne):
                await self._undo(mechanism, old_sets, new_sets, [olds[a.id] for a in moved])
            raise
        for association in changed:
            renewed = self._policies_renewed(association) if association in moved else association
            shared.table.put(renewed)
            shared.deadlines.set(renewed.id, renewed.deadline_at)
            shared.tell(WatchKind.CHANGED, step_between(olds[renewed.id], renewed), renewed)

    def _present(self, associations: Sequence[Association]) -> list[Association]:
        """Return them as they are now, without those that have ended since."""
        table = self._shared.table
        return [now for a in associations if (now := table.get(a.id)) is not None]

    async def _set_deadline(
        self, mechanism: MechanismDriver, sets: Sequence[Association], association: Association
    ) -> None:
        try:
            await mechanism.set_deadline(sets, association)
        except Lost as error:
            raise _LostOne(association, str(error)) from error

    async def _undo(
        self,
        mechanism: MechanismDriver,
        old_sets: Sequence[Association],
        new_sets: Sequence[Association],
        moved: Sequence[Association],
    ) -> None:
        """Take back what a refused change may have done; what cannot be is the reconciler's."""
        self._shared.request_reconcile("a change failed half-way")
        try:
            await mechanism.rearrange(new_sets, old_sets)
            for association in moved:
                await mechanism.set_deadline(old_sets, association)
        except (SadError, Lost) as error:
            self._shared.tell_problem(
                f"a refused change could not be taken back: {type(error).__name__}",
                "kernel and journal are compared at once",
            )

    def _policies_renewed(self, after: Association) -> Association:
        lifetimes = self._shared.settings.lifetimes
        if not after.reqid_out:
            return after  # no SA of ours, so no policies
        if not lifetimes.outlasts(after.deadline_at, after.policies_until):
            return after
        until = self._shared.clock.boottime() + lifetimes.policies
        return structs.replace(after, policies_until=until)


class _LostOne(Exception):
    """The kernel no longer holds one of the associations that change."""

    def __init__(self, association: Association, what: str) -> None:
        super().__init__(what)
        self.association = association
        self.what = what


def _removing(association: Association) -> Association:
    return structs.replace(association, phase=Phase.REMOVING, end_reason=EndReason.REPLACED)


def lost_refusal(association: Association, what: str) -> KernelRefused:
    """Return what a caller is told of an association that the kernel has lost."""
    return KernelRefused(
        errno=3,
        name="ESRCH",
        message="the kernel no longer holds it",
        object=f"{what} of association {association.id}",
        hint="somebody deleted it: the association is ended, have the UE register again",
    )
