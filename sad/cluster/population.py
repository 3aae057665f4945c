"""The sets of endpoints in this node's kernel: put in by a takeover, taken out when it yields.

What is taken out is set aside, with its row in the journal: an owner that could not reach etcd for
a while goes on with what it had, which is newer than what etcd knows. As soon as another node has
owned the endpoint, it is worth nothing.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from typing import Final, Protocol, TypeAlias

from msgspec import structs

from netlink.errors import DumpInterrupted, KernelError
from netlink.model import Policy, PolicyId
from sad.cluster.fencing import Fenced
from sad.cluster.floors import Floors
from sad.cluster.ports import EtcdError
from sad.cluster.records import Instant, association_of
from sad.cluster.replicator import Replicator
from sad.cluster.store import Spoilt, Store
from sad.core.allocation import RandBelow, choose_reqid
from sad.core.restoring import advance
from sad.model.association import Association, AssociationState, EndReason, Phase, RegistrationKey
from sad.model.cluster import CounterSnapshot, StoredSet, TakeoverReport
from sad.model.errors import KernelRefused, PoolExhausted
from sad.model.journal import Forget
from sad.model.views import WatchKind
from sad.runtime.endings import Endings
from sad.runtime.restoring import Restoring
from sad.runtime.slices import in_slices
from sad.runtime.state import Shared
from sad.runtime.story import Step

log = logging.getLogger(__name__)

Rewrite: TypeAlias = Callable[[Mapping[PolicyId, Policy]], Awaitable[None]]

_AGAIN_SECONDS: Final = 0.2
_ROWS_IN_A_TURN: Final = 64
#: How long an owner that was asked to give an endpoint tells etcd the rest before it goes.
_GIVE_SECONDS: Final = 20.0


class Counters(Protocol):
    """Where the sequence numbers of sets stand (:class:`sad.runtime.counters.CounterBook`)."""

    def known(self, association_id: str) -> CounterSnapshot | None:
        """Return the last word of a set; None: there was none."""

    async def read(self, endpoint: str | None = None) -> Mapping[str, tuple[CounterSnapshot, ...]]:
        """Ask the kernel. Raises KernelError, DumpInterrupted."""


class Population:
    """Implements :class:`sad.cluster.parts.Sets`.

    ``rewrite`` writes block policies into the kernel, whatever stands there.
    """

    def __init__(
        self,
        shared: Shared,
        endings: Endings,
        restoring: Restoring,
        counters: Counters,
        store: Store,
        floors: Floors,
        replicator: Callable[[], Replicator],
        *,
        rewrite: Rewrite,
        randbelow: RandBelow,
    ) -> None:
        self._shared = shared
        self._endings = endings
        self._restoring = restoring
        self._counters = counters
        self._store = store
        self._floors = floors
        self._replicator_of = replicator
        self._rewrite = rewrite
        self._randbelow = randbelow
        self._aside: dict[str, dict[str, tuple[Association, CounterSnapshot | None]]] = {}
        self.takeovers: dict[str, TakeoverReport] = {}

    @property
    def _replicator(self) -> Replicator:
        return self._replicator_of()

    # --- what others ask -------------------------------------------------------------------------

    def get(self, association_id: str) -> Association | None:
        """Return an association of this node, in its kernel or set aside."""
        found = self._shared.table.get(association_id)
        if found is not None:
            return found
        for aside in self._aside.values():
            if association_id in aside:
                return aside[association_id][0]
        return None

    def ids(self, endpoint: str) -> Collection[str]:
        """Return the ids of all on an endpoint."""
        return [a.id for a in self._shared.table if a.endpoint == endpoint]

    def counters(self, association_id: str) -> CounterSnapshot | None:
        """Return where a set stands as far as the kernel was heard, None if it was not."""
        return self._counters.known(association_id)

    def set_aside(self, endpoint: str) -> int:
        """Return how many sets of an endpoint are set aside."""
        return len(self._aside.get(endpoint, ()))

    def put_aside(self, association: Association) -> None:
        """Set aside a row of the journal whose endpoint is not this node's now."""
        self._aside.setdefault(association.endpoint, {})[association.id] = (association, None)

    # --- the endpoint's traffic ------------------------------------------------------------------

    async def block(self, endpoint: str) -> None:
        """Let no packet of an endpoint pass any more, whatever else stands in the kernel."""
        self._shared.close_endpoint(endpoint)
        await self._write_policies(endpoint)

    async def open(self, endpoint: str) -> None:
        """Let its packets pass again, as its sets say."""
        self._shared.open_endpoint(endpoint)
        await self._write_policies(endpoint)

    async def _write_policies(self, endpoint: str) -> None:
        try:
            await self._rewrite(self._shared.standing_of(endpoint))
        except KernelRefused as error:
            self._shared.tell_refusal(f"block policies of endpoint {endpoint}", error)
            self._shared.request_reconcile("block policies could not be written")

    # --- taken out -------------------------------------------------------------------------------

    async def take_out(self, endpoint: str, *, give: bool) -> None:
        """Take its sets out and set them aside; with ``give`` etcd is told all before."""
        shared = self._shared
        snapshots = {s.association_id: s for s in await self._read_counters(endpoint)}
        if give:
            self._replicator.count(endpoint, snapshots.values())
            try:
                async with asyncio.timeout(_GIVE_SECONDS):
                    await self._replicator.flush(endpoint)
            except (EtcdError, Fenced, TimeoutError) as error:
                shared.tell_problem(
                    f"etcd was not told all of endpoint {endpoint}: {type(error).__name__}",
                    "who takes it over goes on from what etcd has; the rest registers again",
                )
        aside = self._aside.setdefault(endpoint, {})
        while registrations := {a.registration for a in shared.table if a.endpoint == endpoint}:

            async def take_out(registration: RegistrationKey) -> None:
                await self._take_out(registration, snapshots, aside)

            results = await in_slices(take_out, tuple(registrations))
            failures = [r for r in results if isinstance(r, BaseException)]
            if failures:
                shared.tell_problem(
                    f"{len(failures)} registrations of endpoint {endpoint} could not be taken "
                    f"out of the kernel: {type(failures[0]).__name__}",
                    "its traffic is blocked; it is tried again",
                )
            await asyncio.sleep(_AGAIN_SECONDS if failures else 0)
        log.info("endpoint %s: %d sets taken out and set aside", endpoint, len(aside))

    async def _read_counters(self, endpoint: str) -> tuple[CounterSnapshot, ...]:
        try:
            found = await self._counters.read(endpoint)
        except (KernelError, DumpInterrupted) as error:
            log.warning("endpoint %s: its counters could not be read: %s", endpoint, error)
            return ()
        return found.get(endpoint, ())

    async def _take_out(
        self,
        registration: RegistrationKey,
        snapshots: Mapping[str, CounterSnapshot],
        aside: dict[str, tuple[Association, CounterSnapshot | None]],
    ) -> None:
        shared = self._shared
        async with shared.lock(registration):
            for association in shared.table.of_registration(registration):
                if association.phase is Phase.INSTALLING:
                    continue  # it waits for this lock, and then finds itself refused
                if association.ipsec_3gpp is None or association.phase is Phase.REMOVING:
                    reason = association.end_reason or EndReason.YIELDED
                    await self._endings.end_locked(association.id, reason)
                    continue
                sets = shared.settled(registration)
                await shared.mechanisms[association.mechanism].remove(sets, association)
                shared.table.remove(association.id)
                shared.deadlines.remove(association.id)
                aside[association.id] = association, snapshots.get(association.id)
                ended = structs.replace(
                    association, state=AssociationState.ENDED, end_reason=EndReason.YIELDED
                )
                shared.tell(WatchKind.ENDED, Step.ENDED, ended)

    def forget(self, endpoint: str) -> None:
        """Forget what was set aside: another node has owned the endpoint since."""
        aside = self._aside.pop(endpoint, {})
        if aside:
            log.info(
                "endpoint %s: %d sets that were set aside are forgotten", endpoint, len(aside)
            )
        self._shared.background.start(self._forget(endpoint, tuple(aside)))

    async def _forget(self, endpoint: str, ids: Iterable[str]) -> None:
        await self._shared.record_tolerant(*(Forget(i) for i in ids))
        self._replicator.forget(endpoint, ids)

    def compare(self, endpoint: str) -> None:
        """Have etcd told all of an endpoint anew."""
        self._replicator.want_compare(endpoint)

    # --- put in ----------------------------------------------------------------------------------

    async def put_in(self, endpoint: str, *, set_aside: bool, may: Callable[[], bool]) -> None:
        """Put the sets of an endpoint into the kernel, each all or nothing.

        Raises EtcdError, or Fenced if another node owns it by now: then nothing was put in.
        """
        clock = self._shared.clock
        begun = clock.boottime()
        try:
            stored, left = await (
                self._stored_aside(endpoint) if set_aside else self._stored(endpoint)
            )
        except Spoilt as error:
            # Nothing of them may be taken for true by a later owner either.
            stored, left = [], await self._floors.clear(endpoint)
            log.error(  # noqa: TRY400 - no trace
                "endpoint %s: no set goes on, look at who else writes to etcd: %s", endpoint, error
            )
        going = []
        for number, one in enumerate(stored):
            if number % _ROWS_IN_A_TURN == 0:
                await asyncio.sleep(0)
            counters = advance(one, clock.realtime())
            if counters is None:
                left += 1
                one.keys.wipe()
            else:
                going.append((one, counters))
        try:
            # First etcd: numbers that were used once are never used again, whoever dies here.
            await self._floors.write(
                endpoint, clock.realtime(), [counters for _, counters in going]
            )
        except BaseException:
            for one, _ in going:
                one.keys.wipe()
            raise
        restored = await self._restoring.restore(going, may)
        if not may():
            return
        aside = self._aside.pop(endpoint, {})
        kept = set(restored.in_force)
        await self._shared.record_tolerant(*(Forget(i) for i in aside if i not in kept))
        left += len(restored.refused)
        self.takeovers[endpoint] = TakeoverReport(
            restored=len(restored.in_force),
            lost=left + len(restored.expired),
            seconds=clock.boottime() - begun,
        )
        if left:
            self._shared.tell_problem(
                f"endpoint {endpoint}: {left} sets could not be taken over",
                "journalctl -u sad says why of each; their user agents register again",
            )

    async def _stored(self, endpoint: str) -> tuple[list[StoredSet], int]:
        """Return the sets of an endpoint as etcd has them, and how many do not open.

        Raises EtcdError, Spoilt.
        """
        at = self._now()
        found = []
        shut = 0
        reqids: dict[int, int] = {}
        for number, rows in enumerate((await self._store.of_endpoint(endpoint)).values()):
            if number % _ROWS_IN_A_TURN == 0:
                await asyncio.sleep(0)  # the lease is renewed meanwhile
            if rows is None:
                shut += 1
                continue
            association = association_of(rows.record, self._shared.settings.lifetimes, at)
            if association.ipsec_3gpp is None or rows.sealed_keys is None:
                continue  # its mechanism begins anew with this node
            keys = self._store.keys_of(endpoint, association.id, rows.sealed_keys)
            if keys is None:
                shut += 1
                continue
            self._replicator.adopt_keys(association.id, rows.sealed_keys, told=True)
            found.append(
                StoredSet(
                    association=self._with_free_reqids(association, reqids),
                    keys=keys,
                    counters=rows.counters,
                )
            )
        return found, shut

    async def _stored_aside(self, endpoint: str) -> tuple[list[StoredSet], int]:
        """Return the sets that were set aside, with their keys, and how many cannot go on.

        Raises EtcdError, Spoilt.
        """
        aside = self._aside.get(endpoint, {})
        in_etcd = await self._store.of_endpoint(endpoint)
        found = []
        for association_id, (association, counters) in aside.items():
            rows = in_etcd.get(association_id)
            if counters is None and rows is None and association_id in in_etcd:
                continue  # which numbers it has used is not known
            sealed = self._replicator.keys_of(association_id)
            if sealed is None and rows is not None and rows.sealed_keys is not None:
                sealed = rows.sealed_keys
                self._replicator.adopt_keys(association_id, sealed, told=True)
            keys = (
                None if sealed is None else self._store.keys_of(endpoint, association_id, sealed)
            )
            if keys is None:
                log.warning("association %s: nobody has its keys any more", association_id)
                continue
            known = counters or (rows.counters if rows is not None else None)
            found.append(StoredSet(association=association, keys=keys, counters=known))
        return found, len(aside) - len(found)

    def _with_free_reqids(self, association: Association, reqids: dict[int, int]) -> Association:
        """Return the association with reqids that no other here uses; they are of one node."""

        def free(reqid: int) -> int:
            if reqid not in reqids:
                reqids[reqid] = reqid
                if self._shared.table.reqid_taken(reqid):
                    reqids[reqid] = choose_reqid(
                        self._shared.settings.layout.reqid_range,
                        self._shared.table,
                        frozenset(reqids.values()),
                        self._randbelow,
                    )
            return reqids[reqid]

        try:
            return structs.replace(
                association,
                reqid_in=free(association.reqid_in),
                reqid_out=tuple(map(free, association.reqid_out)),
            )
        except PoolExhausted:  # the kernel says so, of this one
            return association

    def _now(self) -> Instant:
        clock = self._shared.clock
        return Instant(boottime=clock.boottime(), realtime=clock.realtime())
