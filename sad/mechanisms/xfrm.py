"""SAs and policies of ours in the kernel's SAD and SPD, whichever mechanism they are of.

The driver of ``ipsec-3gpp`` and of ``ipsec-man`` is :class:`XfrmMechanism`; it is also the keeper
of the kernel's tables, which are compared as a whole. The kernel's hard limit is the backstop of
a dead daemon.
"""

import dataclasses
import errno
import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet

from netlink.errors import KernelError, OutcomeUnknown
from netlink.interface import Connections, Kernel
from netlink.model import (
    AddPolicy,
    AddSa,
    DeletePolicy,
    DeleteSa,
    ObservedSa,
    Operation,
    Policy,
    PolicyId,
    ReplayState,
    SaKeys,
    SecurityAssociation,
    UpdatePolicy,
)
from sad.core.desired import (
    NamedSa,
    SaPlace,
    connections_ending,
    places_of,
    policies_of,
    sas_of,
)
from sad.core.planning import plan_install, plan_policies, plan_remove, undo_of
from sad.core.reconcile import Comparison, Findings, Instant
from sad.core.restoring import plan_restore
from sad.core.table import AssociationTable
from sad.mechanisms.examination import examine
from sad.mechanisms.limits import move_limits
from sad.mechanisms.rebuild import add_missing
from sad.mechanisms.refusals import refusal_of, typed_refusals
from sad.model.association import Association, EndReason, RegistrationKey
from sad.model.cluster import CounterSnapshot
from sad.model.errors import KernelRefused, LeftBehind, Lost
from sad.model.rules import Layout, Lifetimes
from sad.model.views import SaCounters

log = logging.getLogger(__name__)

_GONE = frozenset({errno.ESRCH, errno.ENOENT})


class XfrmMechanism:
    """What all mechanisms with SAs of ours share. ``boottime`` and ``realtime`` give seconds."""

    lost_as = EndReason.KERNEL_LOST

    def __init__(
        self,
        kernel: Kernel,
        connections: Connections,
        layout: Layout,
        lifetimes: Lifetimes,
        boottime: Callable[[], float],
        realtime: Callable[[], float],
    ) -> None:
        self._kernel = kernel
        self._connections = connections
        self._layout = layout
        self._lifetimes = lifetimes
        self._boottime = boottime
        self._realtime = realtime
        self._told: set[str] = set()

    def use(self, lifetimes: Lifetimes) -> None:
        """Take over changed settings; limits that differ are mended by the reconciler."""
        self._lifetimes = lifetimes

    async def add(
        self,
        siblings: Sequence[Association],
        new: Association,
        keys: SaKeys,
        *,
        outbound_keys: SaKeys | None = None,
        outbound_start: ReplayState | None = None,
    ) -> None:
        """Add the SAs of ``new`` and its policies, all or nothing; wipes the keys.

        Raises KernelRefused after taking back what had succeeded, LeftBehind if that failed.
        """
        operations = plan_install(
            siblings,
            new,
            keys,
            self._layout,
            self._lifetimes,
            self._boottime(),
            outbound_keys=outbound_keys,
            outbound_start=outbound_start,
        )
        await self._put(siblings, new, operations, (keys, outbound_keys or keys))

    async def add_going_on(
        self,
        siblings: Sequence[Association],
        new: Association,
        keys: SaKeys,
        counters: CounterSnapshot,
    ) -> None:
        """As :meth:`add`, for a set that goes on from where it stood at another node."""
        operations = plan_restore(
            siblings,
            new,
            counters,
            keys,
            self._layout,
            self._lifetimes,
            self._boottime(),
            self._realtime(),
        )
        await self._put(siblings, new, operations, (keys,))

    async def _put(
        self,
        siblings: Sequence[Association],
        new: Association,
        operations: Sequence[Operation],
        keys: Sequence[SaKeys],
    ) -> None:
        """Commit all of it or nothing, and wipe the keys."""
        try:
            with typed_refusals("the whole set"):
                outcomes = await self._kernel.commit(operations)
        except KernelRefused as refusal:
            await self._take_back(siblings, new, operations, None, refusal)
            raise
        finally:
            for used in keys:
                used.integrity.wipe()
                used.encryption.wipe()
        if not any(outcomes):
            return
        for operation, outcome in zip(operations, outcomes, strict=True):
            if outcome is not None:
                refused = refusal_of(operation, outcome, self._named(new))
                await self._take_back(siblings, new, operations, outcomes, refused)
                raise refused

    async def _take_back(
        self,
        siblings: Sequence[Association],
        new: Association,
        operations: Sequence[Operation],
        outcomes: Sequence[KernelError | None] | None,
        refusal: KernelRefused,
    ) -> None:
        """Undo an install; ``outcomes`` are None if unknown. Raises LeftBehind if that fails."""
        try:
            if outcomes is None:
                undo = await self._undo_of_unknown(operations)
            else:
                done = [o for o, e in zip(operations, outcomes, strict=True) if e is None]
                undo = [u for o in reversed(done) if (u := undo_of(o)) is not None]
            # What the siblings share goes back to them before the new SAs go.
            back = plan_policies((*siblings, new), siblings, self._layout, self._lifetimes)
            restore = [o for o in back if isinstance(o, UpdatePolicy)]
            await self._commit_tolerant([*restore, *undo], "take back")
        except KernelRefused as error:
            raise LeftBehind(refusal) from error

    async def _undo_of_unknown(self, operations: Sequence[Operation]) -> list[Operation]:
        # On doubt ask the kernel: nothing of this set may remain (all or nothing).
        undo: list[Operation] = []
        for operation in reversed(operations):
            if isinstance(operation, AddSa):
                # Only what is ours: an SA of somebody else may have been why ours was refused.
                if await self._holds(operation.sa):
                    undo.append(DeleteSa(operation.sa.id))
            elif isinstance(operation, AddPolicy):
                undo.append(DeletePolicy(operation.policy.id))  # its owner tag makes it ours
        return undo

    async def _holds(self, sa: SecurityAssociation) -> bool:
        """Whether the kernel's SA of this identity is ours, by its tag and this set's reqid."""
        with typed_refusals(f"SA to {sa.id.destination}"):
            observed = await self._kernel.get_sa(sa.id)
        return (
            observed is not None
            and observed.selector == sa.selector
            and observed.reqid == sa.reqid
        )

    async def _commit(
        self,
        operations: Sequence[Operation],
        what: str,
        tolerated: frozenset[int] = frozenset(),
        about: Association | None = None,
    ) -> list[bool]:
        """Commit; return which operations changed something, raise the first other error.

        Which names the SAs of ``about``, if one is given.
        """
        if not operations:
            return []
        with typed_refusals(what):
            outcomes = await self._kernel.commit(operations)
        for operation, error in zip(operations, outcomes, strict=True):
            if error is not None and error.errno not in tolerated:
                raise refusal_of(operation, error, () if about is None else self._named(about))
        return [error is None for error in outcomes]

    def _named(self, association: Association) -> tuple[NamedSa, ...]:
        return sas_of(association, self._layout, self._lifetimes, self._boottime())

    async def _commit_tolerant(self, operations: Sequence[Operation], what: str) -> None:
        """Commit what may be repeated; what is gone already is no error."""
        try:
            await self._commit(operations, what, _GONE)
        except KernelRefused as error:
            if not isinstance(error.__cause__, OutcomeUnknown):
                raise
            await self._commit(operations, what, _GONE)
        log.debug("%s: %d operations", what, len(operations))

    async def _observe(self, places: Sequence[SaPlace]) -> list[ObservedSa]:
        with typed_refusals("the SAs of an association"):
            found = await self._kernel.get_sas([place.id for place in places])
        observed = []
        owner = self._layout.owner
        for place, sa in zip(places, found, strict=True):
            if sa is None or sa.selector.owner != owner or sa.reqid != place.reqid:
                raise Lost(place.name)
            observed.append(sa)
        return observed

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """Make the kernel's limits follow ``association.deadline_at`` (design section 6).

        Lengthen: NEWAE moves the time origin. Shorten: the origin moves to now, then UPDSA with
        zero keys sets the short limit; the kernel keeps its keys. UPDSA also where the port of a
        NAT is another than the kernel knows. Raises Lost.
        """
        now, realtime = self._boottime(), self._realtime()
        places = places_of(association)
        limit = realtime + (association.deadline_at - now) + self._lifetimes.backstop

        def wanted() -> list[SecurityAssociation]:
            return [n.sa for n in sas_of(association, self._layout, self._lifetimes, now)]

        observed = await self._observe(places)
        operations = move_limits(places, observed, limit, realtime, wanted)
        if self._lifetimes.outlasts(association.deadline_at, association.policies_until):
            policies = policies_of(sets, self._layout, self._lifetimes)
            operations += [UpdatePolicy(p) for p in policies.values()]
        try:
            await self._commit(
                operations, f"limits of association {association.id}", about=association
            )
        except KernelRefused as error:
            if error.errno in _GONE:
                raise Lost(error.object) from error
            raise

    async def rearrange(self, before: Sequence[Association], after: Sequence[Association]) -> None:
        """Move what the sets of a registration share (UPDPOLICY)."""
        operations = plan_policies(before, after, self._layout, self._lifetimes)
        await self._commit(operations, "policies of the registration")

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """Take a set out of the kernel; what is gone already is no error.

        Its TCP connections end first: their RST still travels in ESP, and the SIP server does not
        send on a dead one.
        """
        await self.disconnect([gone], [a for a in sets if a.id != gone.id])
        operations = plan_remove(sets, gone, self._layout, self._lifetimes)
        if gone.end_reason is EndReason.KERNEL_LOST:
            # Somebody else may have put an SA where ours was: that one stays.
            named = self._named(gone)
            foreign = {n.sa.id for n in named if not await self._holds(n.sa)}
            operations = tuple(
                o for o in operations if not (isinstance(o, DeleteSa) and o.id in foreign)
            )
        await self._commit_tolerant(operations, "remove")

    async def disconnect(
        self, gone: Collection[Association], remaining: Collection[Association]
    ) -> None:
        """End the TCP connections of sets; whatever comes of it, their SAs go (fail closed)."""
        try:
            count = await self._connections.destroy(connections_ending(gone, remaining))
        except Exception as error:  # noqa: BLE001 - no defect there may keep an SA alive
            kind = error.name if isinstance(error, KernelError) else type(error).__name__
            level = logging.DEBUG if kind in self._told else logging.WARNING
            self._told.add(kind)  # once: 20 000 sets may end together
            log.log(level, "TCP connections of %s stay: %s", _names(gone), error)
        else:
            if count:
                log.info("%d TCP connections of %s ended", count, _names(gone))

    async def counters(self, association: Association) -> tuple[SaCounters, ...]:
        """Return the counters of its SAs. Raises Lost."""
        named, places = self._named(association), places_of(association)
        return tuple(
            SaCounters(
                name=n.name,
                inbound=n.inbound,
                spi=n.sa.id.spi,
                bytes=observed.current.bytes,
                packets=observed.current.packets,
                replay_failures=observed.replay_failures,
                integrity_failures=observed.integrity_failures,
                last_used_at=float(observed.current.use_time),
            )
            for n, observed in zip(named, await self._observe(places), strict=True)
        )

    def examine(
        self,
        table: AssociationTable,
        standing: dict[PolicyId, Policy],
        busy: Callable[[], AbstractSet[RegistrationKey]],
    ) -> AsyncIterator[Findings]:
        """Dump the kernel and compare it with the table, slice by slice."""

        def instant() -> Instant:
            return Instant(now=self._boottime(), realtime=self._realtime(), busy=busy())

        ahead = self._realtime() - self._boottime()
        comparison = Comparison(table, standing, self._layout, self._lifetimes, ahead)
        return examine(self._kernel, comparison, instant)

    async def is_lost(self, association: Association) -> bool:
        """Ask the kernel again about one association: a dump is older than what followed it."""
        try:
            await self._observe(places_of(association))
        except Lost:
            return True
        return False

    async def add_again(
        self,
        association: Association,
        plan: Callable[[Sequence[NamedSa]], tuple[AddSa, ...]],
    ) -> tuple[str, ...]:
        """Add what is missing of the SAs as ``plan`` says; return its names. Raises Lost."""
        named = self._named(association)
        tell = self._layout.tell_counters

        def planned(missing: Sequence[NamedSa]) -> tuple[AddSa, ...]:
            return tuple(dataclasses.replace(o, tell_counters=tell) for o in plan(missing))

        return await add_missing(self._kernel, named, association, planned)

    async def mend(self, findings: Findings) -> tuple[int, int]:
        """Commit removals and repairs; return how many of each changed something.

        One commit in the turn of their judgement: whatever is begun later is sent later.
        """
        operations = (*findings.removals, *findings.repairs)
        changed = await self._commit(operations, "the repair", _GONE | {errno.EEXIST})
        removals = len(findings.removals)
        return sum(changed[:removals]), sum(changed[removals:])

    async def complete(self, sets: Sequence[Association]) -> int:
        """Put back the policies that a registration lacks; return how many lacked. No dump."""
        policies = policies_of(sets, self._layout, self._lifetimes)
        operations = [AddPolicy(policy) for policy in policies.values()]
        present = frozenset({errno.EEXIST})
        return sum(await self._commit(operations, "policies of the registration", present))

    async def shut(self, standing: dict[PolicyId, Policy]) -> int:
        """Put the endpoints' block policies back where they lack; return how many lacked.

        One commit and no dump: until it is done clear text passes (IPS-8).
        """
        operations = [AddPolicy(policy) for policy in standing.values()]
        present = frozenset({errno.EEXIST})
        return sum(await self._commit(operations, "the endpoints' block policies", present))

    async def lift(self, standing: dict[PolicyId, Policy]) -> None:
        """Remove the endpoints' block policies (orderly stop with stop = "remove")."""
        await self._commit_tolerant([DeletePolicy(i) for i in standing], "lift")


def _names(gone: Collection[Association]) -> str:
    return f"association {next(iter(gone)).id}" if len(gone) == 1 else f"{len(gone)} associations"
