"""``ipsec-3gpp``: SA sets in the kernel's SAD and SPD (RFC 3329 Appendix A, TS 33.203).

End-of-life source: the registration. The kernel's hard limit is the backstop of a dead daemon.
"""

import dataclasses
import errno
import logging
import math
from collections.abc import Callable, Sequence

from netlink.errors import KernelError, OutcomeUnknown
from netlink.interface import Kernel
from netlink.model import (
    AddPolicy,
    AddSa,
    DeletePolicy,
    DeleteSa,
    MoveLifetime,
    ObservedSa,
    Operation,
    Policy,
    PolicyId,
    ShortenSa,
    UpdatePolicy,
)
from sad.core.allocation import RandBelow
from sad.core.decision import Circumstances, decide_install
from sad.core.desired import NamedSa, policies_of, sas_of
from sad.core.planning import describe, plan_install, plan_policies, plan_remove, undo_of
from sad.core.reconcile import Findings, diff
from sad.core.table import AssociationTable
from sad.model.algorithms import AlgorithmPair, derive_keys
from sad.model.association import Association
from sad.model.endpoint import Endpoint
from sad.model.errors import KernelRefused, Lost
from sad.model.requests import InstallRequest
from sad.model.rules import Layout, Lifetimes
from sad.model.views import SaCounters

log = logging.getLogger(__name__)

_GONE = frozenset({errno.ESRCH, errno.ENOENT})


class Ipsec3gpp:
    """The driver. ``clock`` is anything with ``boottime()`` and ``realtime()`` in seconds."""

    name = "ipsec-3gpp"

    def __init__(
        self,
        kernel: Kernel,
        layout: Layout,
        lifetimes: Lifetimes,
        boottime: Callable[[], float],
        realtime: Callable[[], float],
    ) -> None:
        self._kernel = kernel
        self._layout = layout
        self._lifetimes = lifetimes
        self._boottime = boottime
        self._realtime = realtime

    def decide_install(
        self,
        request: InstallRequest,
        endpoint: Endpoint,
        table: AssociationTable,
        around: Circumstances,
        randbelow: RandBelow,
    ) -> Association:
        """Return the association to install, or raise the refusal. Pure."""
        return decide_install(request, endpoint, table, around, randbelow)

    async def install(
        self, siblings: Sequence[Association], new: Association, request: InstallRequest
    ) -> None:
        """Add SA1 to SA4 and the policies, all or nothing.

        Raises KernelRefused after taking back what had succeeded.
        """
        pair = AlgorithmPair(new.sa_set.integrity_algorithm, new.sa_set.encryption_algorithm)
        keys = derive_keys(pair, request.integrity_key, request.cipher_key)
        now = self._boottime()
        operations = plan_install(siblings, new, keys, self._layout, self._lifetimes, now)
        named = sas_of(new, self._layout, self._lifetimes, now)
        try:
            outcomes = await self._kernel.commit(operations)
        except OutcomeUnknown as error:
            # On doubt ask the kernel: nothing of this set may remain (all or nothing).
            await self._take_back_unknown(operations)
            raise KernelRefused(
                errno=errno.ENOBUFS,
                name="ENOBUFS",
                message="the kernel's answers were lost; what it had done was taken back",
                object="the whole set",
                hint="try again; if it recurs raise kernel.request_buffer_bytes",
            ) from error
        finally:
            keys.integrity.wipe()
            keys.encryption.wipe()
        for operation, outcome in zip(operations, outcomes, strict=True):
            if outcome is not None:
                await self._take_back(operations, outcomes)
                raise _refusal(operation, outcome, named)

    async def _take_back(
        self, operations: Sequence[Operation], outcomes: Sequence[KernelError | None]
    ) -> None:
        done = [o for o, error in zip(operations, outcomes, strict=True) if error is None]
        undo = [u for o in reversed(done) if (u := undo_of(o)) is not None]
        await self._commit_tolerant(undo, "take back")

    async def _take_back_unknown(self, operations: Sequence[Operation]) -> None:
        undo: list[Operation] = []
        for operation in reversed(operations):
            if isinstance(operation, AddSa):
                observed = await self._kernel.get_sa(operation.sa.id)
                # Only what is ours by tag and by this set's reqid: an SA of somebody else may
                # have been the reason why ours was refused.
                if (
                    observed is not None
                    and observed.selector == operation.sa.selector
                    and observed.reqid == operation.sa.reqid
                ):
                    undo.append(DeleteSa(operation.sa.id))
            elif isinstance(operation, AddPolicy):
                undo.append(DeletePolicy(operation.policy.id))  # its owner tag makes it ours
        await self._commit_tolerant(undo, "take back")

    async def _commit_tolerant(self, operations: Sequence[Operation], what: str) -> None:
        """Commit deletions; what is gone already is no error, the rest is told and reconciled."""
        if not operations:
            return
        try:
            outcomes = await self._kernel.commit(operations)
        except OutcomeUnknown:
            outcomes = await self._kernel.commit(operations)  # deletions may be repeated
        for operation, error in zip(operations, outcomes, strict=True):
            if error is not None and error.errno not in _GONE:
                raise _refusal(operation, error, ())
        log.debug("%s: %d operations", what, len(operations))

    async def _observe(self, named: Sequence[NamedSa]) -> list[ObservedSa]:
        observed = []
        for n in named:
            sa = await self._kernel.get_sa(n.sa.id)
            if sa is None or sa.selector.owner != self._layout.owner or sa.reqid != n.sa.reqid:
                raise Lost(n.name)
            observed.append(sa)
        return observed

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """Make the kernel's limits follow ``association.deadline_at`` (design section 6).

        Lengthen: NEWAE moves the time origin. Shorten: the origin moves to now, then UPDSA with
        zero keys sets the short limit; the kernel keeps its keys. Raises Lost.
        """
        now, realtime = self._boottime(), self._realtime()
        named = sas_of(association, self._layout, self._lifetimes, now)
        limit = realtime + (association.deadline_at - now) + self._lifetimes.backstop
        operations: list[Operation] = []
        for n, observed in zip(named, await self._observe(named), strict=True):
            operations += _move_limit(n, observed, limit, realtime)
        if association.deadline_at + self._lifetimes.backstop > association.policies_until:
            policies = policies_of(sets, self._layout, self._lifetimes)
            operations += [UpdatePolicy(p) for p in policies.values()]
        outcomes = await self._kernel.commit(operations)
        for operation, error in zip(operations, outcomes, strict=True):
            if error is None:
                continue
            if error.errno in _GONE:
                raise Lost(describe(operation, named))
            raise _refusal(operation, error, named)

    async def rearrange(self, before: Sequence[Association], after: Sequence[Association]) -> None:
        """Move what the sets of a registration share (UPDPOLICY)."""
        operations = plan_policies(before, after, self._layout, self._lifetimes)
        if not operations:
            return
        outcomes = await self._kernel.commit(operations)
        for operation, error in zip(operations, outcomes, strict=True):
            if error is not None:
                raise _refusal(operation, error, ())

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """Take a set out of the kernel; what is gone already is no error."""
        operations = plan_remove(sets, gone, self._layout, self._lifetimes)
        await self._commit_tolerant(operations, "remove")

    async def counters(self, association: Association) -> tuple[SaCounters, ...]:
        """Return the counters of SA1 to SA4. Raises Lost."""
        named = sas_of(association, self._layout, self._lifetimes, self._boottime())
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
            for n, observed in zip(named, await self._observe(named), strict=True)
        )

    async def examine(self, table: AssociationTable, standing: dict[PolicyId, Policy]) -> Findings:
        """Dump the kernel and compare it with the table as it is after the dump."""
        sas = await self._kernel.dump_sas()
        policies = await self._kernel.dump_policies()
        return diff(
            table,
            standing,
            sas,
            policies,
            self._layout,
            self._lifetimes,
            now=self._boottime(),
            realtime=self._realtime(),
        )

    async def is_lost(self, association: Association) -> bool:
        """Ask the kernel again about one association: a dump is older than what followed it."""
        named = sas_of(association, self._layout, self._lifetimes, self._boottime())
        try:
            await self._observe(named)
        except Lost:
            return True
        return False

    async def mend(self, operations: Sequence[Operation]) -> int:
        """Commit repairs or removals; return how many changed something."""
        if not operations:
            return 0
        outcomes = await self._kernel.commit(operations)
        for operation, error in zip(operations, outcomes, strict=True):
            if error is not None and error.errno not in {*_GONE, errno.EEXIST}:
                raise _refusal(operation, error, ())
        return sum(error is None for error in outcomes)

    async def lift(self, standing: dict[PolicyId, Policy]) -> None:
        """Remove the endpoints' block policies (orderly stop with stop = "remove")."""
        await self._commit_tolerant([DeletePolicy(i) for i in standing], "lift")


def _move_limit(
    named: NamedSa, observed: ObservedSa, limit: float, realtime: float
) -> list[Operation]:
    """Return the operations after which an SA's hard limit strikes at ``limit`` (real time)."""
    held = observed.current.add_time + observed.hard_add_seconds
    wanted = math.ceil(limit)

    def origin(add_time: int) -> MoveLifetime:
        # NEWAE overwrites the counters with what it carries: carry the present ones.
        current = dataclasses.replace(observed.current, add_time=add_time)
        return MoveLifetime(
            id=named.sa.id, source=named.sa.source, reqid=named.sa.reqid, current=current
        )

    if observed.hard_add_seconds and wanted >= held:
        return [origin(wanted - observed.hard_add_seconds)]
    now = int(realtime)
    sa = dataclasses.replace(named.sa, hard_add_seconds=max(1, wanted - now))
    return [origin(now), ShortenSa(sa)]


def _refusal(operation: Operation, error: KernelError, named: Sequence[NamedSa]) -> KernelRefused:
    return KernelRefused(
        errno=error.errno,
        name=error.name,
        message=error.message,
        object=describe(operation, named),
        hint=_HINTS.get(error.errno, "journalctl -u sad and ip xfrm tell more"),
    )


_HINTS = {
    errno.EEXIST: "something else holds this SA or policy: ip xfrm state, ip xfrm policy",
    errno.ENOSYS: "the kernel lacks the algorithm: load its module",
    errno.EPERM: "sad has lost CAP_NET_ADMIN: check AmbientCapabilities of sad.service",
    errno.EPROTONOSUPPORT: "the kernel lacks ESP: modprobe esp4 esp6",
    errno.ENOMEM: "the kernel is out of memory",
    errno.ENOBUFS: "the kernel is out of buffers: try again",
}
