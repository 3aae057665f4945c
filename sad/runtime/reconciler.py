"""Kernel against journal: one function at start, on notice, on a schedule and on demand."""

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Final

from netlink.model import (
    KernelEvent,
    Overrun,
    PolicyDeleted,
    PolicyExpired,
    SaDeleted,
    SadFlushed,
    SaExpired,
    SpdFlushed,
)
from sad.core.reconcile import Findings
from sad.model.association import EndReason, Phase, RegistrationKey
from sad.model.errors import KernelRefused, Lost, SadError
from sad.model.views import DaemonState, ReconcileReport
from sad.runtime.endings import Endings
from sad.runtime.rebuilds import Rebuilds
from sad.runtime.slices import in_slices
from sad.runtime.state import Shared

log = logging.getLogger(__name__)

#: Between two runs of :meth:`Reconciler.run`: neither a refusing kernel nor a stream of notices
#: may have it dump without end.
PAUSE_SECONDS: Final = 1.0

#: ... and at least so many times as long as the last run took: a large table takes seconds.
REST_FACTOR: Final = 3.0


class Reconciler:
    """Runs :func:`sad.core.reconcile.diff` and does what it finds, one run at a time."""

    def __init__(
        self, shared: Shared, endings: Endings, *, pause_seconds: float = PAUSE_SECONDS
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._rebuilds = Rebuilds(shared)
        self._pause = pause_seconds
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[ReconcileReport] | None = None
        self._wake = asyncio.Event()
        self._hurry = asyncio.Event()
        self._reason = ""
        self._open = self._shutting = False
        self._later: set[RegistrationKey] = set()
        self.last: ReconcileReport | None = None
        shared.request_reconcile = self.request

    def request(self, reason: str) -> None:
        """Have a run soon; requests that come together share one."""
        self._reason = self._reason or reason
        self._wake.set()

    def clock_was_set(self) -> None:
        """Have a run without a pause: the kernel's limits follow the wall clock, ours do not."""
        self.request("the wall clock was set")
        self._hurry.set()

    def notice(self, event: KernelEvent, own_port: int) -> None:
        """Look at a kernel notice: somebody else's hand on our objects is a reason to compare."""
        owner = self._shared.settings.layout.owner
        match event:
            case Overrun():
                self._shut_at_once()
                self.request("notices were lost")
            case SaDeleted(owner=tag, port_id=port) if tag == owner and port != own_port:
                self._rebuilds.hear(event)
                self.request("somebody deleted an SA of ours")
            case SaExpired(owner=tag, hard=True) if tag == owner:
                self.request("the kernel ended an SA of ours")
            case PolicyDeleted(id=policy_id, port_id=port) if (
                policy_id.selector.owner == owner and port != own_port
            ):
                if policy_id in self._shared.standing_policies():
                    self._shut_at_once()
                self.request("somebody deleted a policy of ours")
            case PolicyExpired(id=policy_id, hard=True) if policy_id.selector.owner == owner:
                self.request("the kernel ended a policy of ours")
            case SpdFlushed():
                self._shut_at_once()
                self.request("somebody flushed the kernel's policies")
            case SadFlushed():
                self.request("somebody flushed the kernel's SAs")
            case _:
                pass

    def _shut_at_once(self) -> None:
        """Have the endpoints' block policies back without a dump and without a pause (IPS-8)."""
        self._open = True
        if not self._shutting and self._shared.daemon_state is not DaemonState.STOPPING:
            self._shutting = True
            self._shared.background.start(self._shut())

    async def _shut(self) -> None:
        try:
            while self._open:
                self._open = False
                for keeper in self._shared.keepers:
                    lacked = await keeper.shut(self._shared.standing_policies())
                    if lacked:
                        log.warning("%d block policies of endpoints were gone: put back", lacked)
        except KernelRefused as error:
            # The run that was requested tries again.
            self._shared.tell_refusal("the endpoints' block policies could not be put back", error)
        finally:
            self._shutting = False

    async def run(self) -> None:
        """Serve requests and the schedule until cancelled."""
        while True:
            try:
                async with asyncio.timeout(self._shared.settings.reconcile_interval):
                    await self._wake.wait()
            except TimeoutError:
                self._reason = "schedule"
            reason, self._reason = self._reason, ""
            self._wake.clear()
            self._hurry.clear()
            begun = self._shared.clock.boottime()
            try:
                await self.reconcile(reason)
            except SadError as error:
                self._shared.tell_refusal("the kernel could not be reconciled", error)
                self.request("the last run failed")
            except Exception as error:  # noqa: BLE001 - no defect may end the watch over the kernel
                self._shared.tell_problem(
                    f"the kernel could not be reconciled: {type(error).__name__}",
                    "a defect of sad: please report it",
                )
                self.request("the last run failed")
            # Whatever storm of notices asks for runs, most of the time is everybody else's.
            taken = self._shared.clock.boottime() - begun
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(max(self._pause, REST_FACTOR * taken)):
                    await self._hurry.wait()

    async def reconcile(self, reason: str) -> ReconcileReport:
        """Compare and mend; return what was found and done.

        Whoever asks sees a run that began after the question; all who ask meanwhile share it.
        """
        if self._next is None:
            self._next = self._shared.background.start(self._in_turn(reason))
        return await asyncio.shield(self._next)

    async def _in_turn(self, reason: str) -> ReconcileReport:
        async with self._lock:
            self._next = None
            report = await self._reconcile(reason)
        self.last = report
        self._shared.observer.reconciled(report)
        changed = report.repaired + report.removed + report.ended
        log.log(
            logging.WARNING if changed and reason != "start" else logging.INFO,
            "reconcile (%s): %d adopted, %d repaired, %d removed, %d ended",
            report.reason,
            report.adopted,
            report.repaired,
            report.removed,
            report.ended,
        )
        return report

    async def _reconcile(self, reason: str) -> ReconcileReport:
        shared = self._shared
        repaired = removed = adopted = 0
        refusal: KernelRefused | None = None
        await shared.record_owed()
        heard = self._rebuilds.heard()
        # First what is stuck: until it has gone, the policies of its registration are not judged.
        ended = await self._retry_removals()
        for keeper in shared.keepers:
            slices: list[Findings] = []
            async for slice_ in keeper.examine(
                shared.table, shared.standing_policies(), shared.busy
            ):
                # Since its judgement nothing else has run, and mend() sends in this turn.
                try:
                    removed_now, repaired_now = await keeper.mend(slice_)
                except KernelRefused as error:
                    refusal = error  # what must end ends all the same
                else:
                    removed += removed_now
                    repaired += repaired_now
                slices.append(slice_)
            findings = Findings.together(slices)
            adopted += len(findings.adopted)
            ended += await self._endings.end_all(findings.overdue, EndReason.EXPIRED)
            rebuilt_now, ended_now = await self._settle_lost(findings)
            ended += ended_now
            repaired += rebuilt_now
            repaired += await self._mend_limits(findings)
            self._judge_later(findings.unjudged)
        self._rebuilds.drop(heard)
        if refusal is not None:
            raise refusal
        return ReconcileReport(
            at=shared.clock.realtime(),
            reason=reason,
            adopted=adopted,
            repaired=repaired,
            removed=removed,
            ended=ended,
        )

    async def _settle_lost(self, findings: Findings) -> tuple[int, int]:
        """Rebuild or end what the kernel has lost; return how many of each."""
        rebuilt = ended = 0
        lost = tuple(findings.lost.items())
        for outcome in await in_slices(lambda found: self._settle(*found), lost):
            # Each was tried; one that failed is told.
            if isinstance(outcome, BaseException):
                raise outcome
            rebuilt += outcome[0]
            ended += outcome[1]
        return rebuilt, ended

    async def _settle(self, association_id: str, missing: Sequence[str]) -> tuple[bool, bool]:
        """Return whether a lost association was rebuilt, and whether it was ended."""
        association = self._shared.table.get(association_id)
        if association is None or association.phase is not Phase.INSTALLED:
            return False, False
        mechanism = self._shared.mechanisms[association.mechanism]
        if not await mechanism.is_lost(association):
            return False, False
        log.warning("association %s: lost: %s", association_id, ", ".join(missing))
        if await self._rebuilds.rebuild(association_id):
            return True, False
        ended = await self._endings.end(association_id, mechanism.lost_as)
        return False, ended is not None

    def _judge_later(self, registrations: Sequence[RegistrationKey]) -> None:
        """Have those that were under change looked at as soon as nobody changes them."""
        if self._shared.daemon_state is DaemonState.STOPPING:
            return
        for registration in registrations:
            if registration not in self._later:
                self._later.add(registration)
                self._shared.background.start(self._judge(registration))

    async def _judge(self, registration: RegistrationKey) -> None:
        shared = self._shared
        try:
            async with shared.lock(registration):
                # Whoever comes to this lock from here on is seen by a later run.
                self._later.discard(registration)
                sets = shared.settled(registration)
                if sets and all(a.phase is Phase.INSTALLED for a in sets):
                    lacked = await shared.mechanisms[sets[0].mechanism].complete(sets)
                    if lacked:
                        log.warning("%d policies were gone during a change: put back", lacked)
            for association in sets:
                await self._settle(association.id, ("SAs during a change",))
        except KernelRefused as error:
            shared.tell_refusal("a registration could not be compared after its change", error)
            self.request("the last run failed")
        finally:
            self._later.discard(registration)

    async def _mend_limits(self, findings: Findings) -> int:
        # The newest first: the kernel looks at a limit one second after it was set, and only then
        # again when it is reached. After a step of the wall clock that second is all there is.
        newest_first = findings.mislimited[::-1]
        results = await in_slices(self._mend_limit, newest_first)
        for result in results:
            if isinstance(result, BaseException):
                raise result
        return sum(result is True for result in results)

    async def _mend_limit(self, association_id: str) -> bool:
        shared = self._shared
        association = shared.table.get(association_id)
        if association is None:
            return False
        async with shared.lock_of(association):
            association = shared.table.get(association_id)
            if association is None or association.phase is not Phase.INSTALLED:
                return False
            sets = shared.settled(association.registration)
            try:
                await shared.mechanisms[association.mechanism].set_deadline(sets, association)
            except (Lost, KernelRefused):
                self.request("a limit could not be mended")
                return False
        return True

    async def _retry_removals(self) -> int:
        stuck = [a for a in self._shared.table if a.phase is Phase.REMOVING]
        ended = 0
        for a in stuck:
            reason = a.end_reason or EndReason.RELEASED
            ended += await self._endings.end(a.id, reason) is not None
        return ended
