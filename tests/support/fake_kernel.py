"""A kernel in memory: protocol and answers of the real one, and faults on demand.

:mod:`tests.support.kernel_contract` holds it to what the real kernel does. It has no data path:
nothing is encrypted, and no policy stops a packet.
"""

import asyncio
import dataclasses
import errno
import itertools
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from netlink.counters import ObservedCounters
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.interface import Counts, KnownEntries
from netlink.model import (
    AddPolicy,
    AddSa,
    CurrentLifetime,
    DeletePolicy,
    DeleteSa,
    KernelEvent,
    MoveLifetime,
    ObservedPolicy,
    ObservedSa,
    Operation,
    Overrun,
    Policy,
    PolicyAdded,
    PolicyDeleted,
    PolicyExpired,
    PolicyId,
    ReplayState,
    SaAdded,
    SaDeleted,
    SadFlushed,
    SaExpired,
    SaId,
    SecurityAssociation,
    ShortenSa,
    SpdFlushed,
    UpdatePolicy,
)
from netlink.templates import check
from netlink.transforms import Combined
from netlink.uapi import NLMSG_HDRLEN
from tests.support.shown import shown_policy, shown_sa

ALGORITHMS: Final = frozenset(
    {
        "hmac(sha1)",
        "hmac(md5)",
        "hmac(sha256)",
        "hmac(sha512)",
        "ecb(cipher_null)",
        "cbc(aes)",
        "cbc(des3_ede)",
        "rfc4106(gcm(aes))",
        "rfc4543(gcm(aes))",
    }
)
_TIMER_SECONDS: Final = (
    1  # the kernel looks at a new or changed limit for the first time after 1 s
)


@dataclass
class StoredSa:
    """An SA and the keys it was added with; they are for assertions only."""

    sa: SecurityAssociation
    integrity_key: bytes
    encryption_key: bytes
    current: CurrentLifetime
    timer_at: float
    replay: ReplayState

    @property
    def limit(self) -> float:
        hard = self.sa.hard_add_seconds
        return self.current.add_time + hard if hard else float("inf")


@dataclass
class StoredPolicy:
    """A policy, its handle, and when it came."""

    policy: Policy
    index: int
    add_time: int

    @property
    def limit(self) -> float:
        hard = self.policy.hard_add_seconds
        return self.add_time + hard if hard else float("inf")


@dataclass
class _Fault:
    countdown: int
    error: KernelError


class Subscription:
    """One listener; :meth:`close` as of :class:`netlink.events.EventStream`."""

    def __init__(self, deliver: Callable[[KernelEvent], None]) -> None:
        self._deliver = deliver
        self.closed = False

    def take(self, event: KernelEvent) -> None:
        if not self.closed:
            self._deliver(event)

    def close(self) -> None:
        self.closed = True


class FakeTables:
    """The SAD and the SPD of one fake network namespace, shared by its :class:`FakeKernel`.

    ``clock`` gives the seconds of the real-time clock. Limits take effect in :meth:`tick`, which
    every request calls too.
    """

    def __init__(
        self, clock: Callable[[], float], algorithms: frozenset[str] = ALGORITHMS
    ) -> None:
        self.clock = clock
        self.algorithms = algorithms
        self.sas: dict[SaId, StoredSa] = {}
        self.policies: dict[PolicyId, StoredPolicy] = {}
        self.messages: Counter[type] = Counter()
        self._indexes = itertools.count(1)
        self._subscriptions: list[Subscription] = []

    def subscribe(self, deliver: Callable[[KernelEvent], None]) -> Subscription:
        """Deliver every event from now on, each in a later turn of the loop."""
        subscription = Subscription(deliver)
        self._subscriptions.append(subscription)
        return subscription

    def publish(self, event: KernelEvent) -> None:
        loop = asyncio.get_running_loop()
        for subscription in self._subscriptions:
            loop.call_soon(subscription.take, event)

    def overrun(self) -> None:
        """Pretend that notices were lost."""
        self.publish(Overrun())

    def tick(self) -> None:
        """Let the limits that were reached take effect."""
        now = self.clock()
        for sa_id, stored in list(self.sas.items()):
            # The timer of an SA that was lengthened fires at the old time and is armed anew.
            if now >= stored.timer_at:
                stored.timer_at = stored.limit
                if now >= stored.limit:
                    del self.sas[sa_id]
                    self.publish(SaExpired(sa_id, stored.sa.selector.owner, hard=True))
        for policy_id, kept in list(self.policies.items()):
            if now >= kept.limit:
                del self.policies[policy_id]
                self.publish(PolicyExpired(policy_id, hard=True))

    def flush_sas(self, port_id: int, protocol: int = 0) -> None:
        """Wipe the SAD, as ``ip xfrm state flush`` of somebody else."""
        self.sas.clear()
        self.publish(SadFlushed(protocol, port_id))

    def flush_policies(self, port_id: int) -> None:
        """Wipe the SPD."""
        self.policies.clear()
        self.publish(SpdFlushed(port_id))

    def apply(self, operation: Operation, port_id: int) -> None:
        """Do one operation, or raise the kernel's error."""
        self.tick()
        self.messages[type(operation)] += 1
        match operation:
            case AddSa(sa=sa):
                self._add_sa(operation)
                self.publish(SaAdded(sa.id, sa.selector.owner, port_id))
            case ShortenSa(sa=sa):
                stored = self._find_sa(sa.id)
                if (sa.encapsulation is None) != (stored.sa.encapsulation is None):
                    raise KernelError(errno.EINVAL)
                hard = sa.hard_add_seconds
                stored.sa = dataclasses.replace(
                    stored.sa,
                    hard_add_seconds=hard,
                    hard_packets=sa.hard_packets,
                    encapsulation=sa.encapsulation,
                )
                stored.timer_at = self.clock() + _TIMER_SECONDS
                self.publish(SaAdded(sa.id, stored.sa.selector.owner, port_id))
            case MoveLifetime(id=sa_id, current=current):
                self._find_sa(sa_id).current = current
            case DeleteSa(id=sa_id):
                stored = self._find_sa(sa_id)
                del self.sas[sa_id]
                owner = stored.sa.selector.owner
                self.publish(SaDeleted(sa_id, owner, port_id, stored.replay))
            case AddPolicy(policy=policy):
                if policy.id in self.policies:
                    raise KernelError(errno.EEXIST)
                self._put_policy(policy, port_id)
            case UpdatePolicy(policy=policy):
                self._put_policy(policy, port_id)
            case DeletePolicy(id=policy_id):
                if self.policies.pop(policy_id, None) is None:
                    raise KernelError(errno.ENOENT)
                self.publish(PolicyDeleted(policy_id, port_id))

    def _find_sa(self, sa_id: SaId) -> StoredSa:
        try:
            return self.sas[sa_id]
        except KeyError:
            raise KernelError(errno.ESRCH) from None

    def _add_sa(self, request: AddSa) -> None:
        sa = request.sa
        if isinstance(sa.encryption, Combined):
            if sa.encryption.name not in self.algorithms:
                raise KernelError(errno.ENOSYS, "Requested AEAD algorithm not found")
        elif sa.integrity is None or sa.integrity.name not in self.algorithms:
            raise KernelError(errno.ENOSYS, "Requested AUTH_TRUNC algorithm not found")
        elif sa.encryption.name not in self.algorithms:
            raise KernelError(errno.ENOSYS, "Requested CRYPT algorithm not found")
        if sa.id in self.sas:
            raise KernelError(errno.EEXIST)
        now = self.clock()
        self.sas[sa.id] = StoredSa(
            sa,
            request.keys.integrity.reveal(),
            request.keys.encryption.reveal(),
            request.current or CurrentLifetime(bytes=0, packets=0, add_time=int(now), use_time=0),
            timer_at=now + _TIMER_SECONDS,
            replay=request.replay or ReplayState(),
        )

    def _put_policy(self, policy: Policy, port_id: int) -> None:
        present = self.policies.get(policy.id)
        # The kernel's index of an updated policy stays; the lowest bits are the direction.
        index = present.index if present else next(self._indexes) << 3 | policy.id.direction
        self.policies[policy.id] = StoredPolicy(policy, index, int(self.clock()))
        self.publish(PolicyAdded(policy.id, port_id))


class FakeKernel:
    """Implements :class:`netlink.interface.Kernel` over :class:`FakeTables`."""

    def __init__(self, tables: FakeTables, port_id: int = 4711) -> None:
        self.tables = tables
        self.port_id = port_id
        self._faults: list[_Fault] = []
        self._lost_after: int | None = None
        self._closed = False

    # --- faults ----------------------------------------------------------------------------------

    def fail_message(self, number: int, errno_: int, message: str = "") -> None:
        """Make the n-th operation from now on fail (1 is the next), without effect."""
        self._faults.append(_Fault(number, KernelError(errno_, message)))

    def lose_answers(self, *, applied: int) -> None:
        """Make the next commit raise OutcomeUnknown after doing so many of its operations."""
        self._lost_after = applied

    def heal(self) -> None:
        """Forget the faults that nothing has met yet."""
        self._faults.clear()
        self._lost_after = None

    # --- the protocol ----------------------------------------------------------------------------

    async def commit(self, operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        await self._turn()
        check(operations)  # refuses what the real one refuses
        lost_after, self._lost_after = self._lost_after, None
        if lost_after is not None:
            for operation in operations[:lost_after]:
                self._apply(operation)
            raise OutcomeUnknown("answers of the kernel were lost")
        return tuple([self._apply(operation) for operation in operations])

    async def dump_sas(self, known: KnownEntries | None = None) -> list[ObservedSa]:
        await self._turn()
        self.tables.tick()
        left_out = _left_out_by(known)
        return [observe_sa(s) for s in self.tables.sas.values() if not left_out(s)]

    async def dump_policies(self, known: KnownEntries | None = None) -> list[ObservedPolicy]:
        await self._turn()
        self.tables.tick()
        left_out = _left_out_by(known)
        return [observe_policy(p) for p in self.tables.policies.values() if not left_out(p)]

    async def dump_counters(self) -> list[ObservedCounters]:
        await self._turn()
        self.tables.tick()
        return [
            ObservedCounters(id=i, replay=stored.replay, current=stored.current)
            for i, stored in self.tables.sas.items()
        ]

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        await self._turn()
        self.tables.tick()
        return self._seen(sa_id)

    async def get_sas(self, sa_ids: Sequence[SaId]) -> tuple[ObservedSa | None, ...]:
        await self._turn()
        self.tables.tick()
        return tuple(self._seen(sa_id) for sa_id in sa_ids)

    def _seen(self, sa_id: SaId) -> ObservedSa | None:
        stored = self.tables.sas.get(sa_id)
        return None if stored is None else observe_sa(stored)

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        await self._turn()
        self.tables.tick()
        stored = self.tables.policies.get(policy_id)
        return None if stored is None else observe_policy(stored)

    async def count(self) -> Counts:
        await self._turn()
        self.tables.tick()
        return Counts(sas=len(self.tables.sas), policies=len(self.tables.policies))

    def close(self) -> None:
        self._closed = True

    async def _turn(self) -> None:
        """Act in a later turn of the loop, as the real one does."""
        if self._closed:
            raise KernelClosed
        await asyncio.sleep(0)
        if self._closed:
            raise KernelClosed

    def _apply(self, operation: Operation) -> KernelError | None:
        try:
            for fault in self._faults:
                fault.countdown -= 1
            due = [fault for fault in self._faults if not fault.countdown]
            self._faults = [fault for fault in self._faults if fault.countdown]
            if due:
                raise due[0].error
            self.tables.apply(operation, self.port_id)
        except KernelError as error:
            return error
        return None


def _left_out_by(known: KnownEntries | None) -> Callable[[StoredSa | StoredPolicy], bool]:
    if known is None:
        return lambda _stored: False
    known.begin()

    def is_known(stored: StoredSa | StoredPolicy) -> bool:
        if isinstance(stored, StoredSa):
            keys = stored.integrity_key, stored.encryption_key
            message = shown_sa(stored.sa, *keys, stored.current)
        else:
            message = shown_policy(stored.policy, stored.add_time)
        return known.holds(message, NLMSG_HDRLEN, len(message))

    return is_known


def observe_sa(stored: StoredSa) -> ObservedSa:
    """Return an SA as a dump tells it."""
    sa = stored.sa
    return ObservedSa(
        id=sa.id,
        source=sa.source,
        reqid=sa.reqid,
        selector=sa.selector,
        mode=sa.mode,
        hard_add_seconds=sa.hard_add_seconds,
        hard_packets=sa.hard_packets,
        current=stored.current,
        replay_window=sa.replay_window,
        replay_failures=0,
        integrity_failures=0,
        encapsulation=sa.encapsulation,
    )


def observe_policy(stored: StoredPolicy) -> ObservedPolicy:
    """Return a policy as a dump tells it."""
    policy = stored.policy
    return ObservedPolicy(
        id=policy.id,
        action=policy.action,
        priority=policy.priority,
        index=stored.index,
        template=policy.template,
        hard_add_seconds=policy.hard_add_seconds,
        add_time=stored.add_time,
    )
