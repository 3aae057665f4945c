"""An etcd in memory, for tests of what is built on it: it can be told to fail.

Proven equal to the real one by :mod:`tests.cluster.contract`. Time is given by ``clock``, in
seconds; leases end when it has passed and anybody calls, or by :meth:`FakeStore.expire`.
"""

import asyncio
import dataclasses
import itertools
import math
from collections.abc import AsyncIterator, Callable, Sequence

from sad.cluster.ports import (
    MOST_OPERATIONS,
    Changed,
    Compacted,
    Delete,
    EtcdError,
    EtcdGone,
    Header,
    KeyValue,
    LeaseGone,
    Operation,
    Outcome,
    Page,
    Put,
    Unchanged,
)

#: etcd grants no less with an election of a second.
LEAST_TTL = 2.0


@dataclasses.dataclass
class _Lease:
    ttl: float
    until: float
    keys: set[str] = dataclasses.field(default_factory=set)


class FakeStore:
    """What the members of one cluster share."""

    _clusters = itertools.count(1)

    def __init__(self, clock: Callable[[], float]) -> None:
        self.clock = clock
        self.cluster_id = next(self._clusters)
        self.revision = 1
        self.keys: dict[str, KeyValue] = {}
        self.history: list[tuple[int, KeyValue | str]] = []
        self.compacted = 0
        self.leases: dict[int, _Lease] = {}
        self.changed = asyncio.Condition()
        self._lease_ids = itertools.count(100)

    @property
    def header(self) -> Header:
        return Header(cluster_id=self.cluster_id, revision=self.revision)

    def apply(self, operations: Sequence[Operation]) -> None:
        """Do all of them at one new revision, if they change anything."""
        deletes = [o.key for o in operations if isinstance(o, Delete) and o.key in self.keys]
        if not deletes and not any(isinstance(o, Put) for o in operations):
            return
        self.revision += 1
        for operation in operations:
            known = self.keys.get(operation.key)
            if known is not None and known.lease in self.leases:
                self.leases[known.lease].keys.discard(operation.key)
            if isinstance(operation, Put):
                found = KeyValue(
                    key=operation.key,
                    value=operation.value,
                    create_revision=known.create_revision if known else self.revision,
                    mod_revision=self.revision,
                    lease=operation.lease,
                )
                self.keys[operation.key] = found
                if operation.lease:
                    self.leases[operation.lease].keys.add(operation.key)
                self.history.append((self.revision, found))
            elif known is not None:
                del self.keys[operation.key]
                self.history.append((self.revision, operation.key))

    def expire(self) -> bool:
        """End the leases whose time has passed; return whether any had."""
        over = [i for i, lease in self.leases.items() if lease.until <= self.clock()]
        for lease_id in over:
            self.end(lease_id)
        return bool(over)

    def end(self, lease_id: int) -> None:
        self.apply([Delete(key) for key in sorted(self.leases[lease_id].keys)])
        del self.leases[lease_id]

    def compact(self) -> None:
        self.compacted = self.revision
        self.history = [h for h in self.history if h[0] > self.compacted]

    def copy(self) -> tuple[int, dict[str, KeyValue]]:
        """A backup."""
        return self.revision, dict(self.keys)

    def restore(self, backup: tuple[int, dict[str, KeyValue]]) -> None:
        """Begin again from a backup: another cluster, as after etcdctl snapshot restore."""
        self.cluster_id = next(self._clusters)
        self.revision, self.keys = backup[0], dict(backup[1])
        self.history = []
        self.compacted = self.revision

    async def wake(self) -> None:
        async with self.changed:
            self.changed.notify_all()


class FakeEtcd:
    """One client's view of it. ``fails`` is raised by every call while it is set.

    ``after`` is raised once by the next write *after* it was done: its answer is lost.
    """

    def __init__(self, store: FakeStore) -> None:
        self.store = store
        self.fails: EtcdError | None = None
        self.writes_fail: EtcdError | None = None
        self.after: EtcdError | None = None
        self.calls: list[str] = []

    async def _reach(self, what: str) -> FakeStore:
        self.calls.append(what)
        await asyncio.sleep(0)
        if self.fails is not None:
            raise self.fails
        if self.store.expire():
            await self.store.wake()
        return self.store

    async def transact(
        self, compares: Sequence[Unchanged], operations: Sequence[Operation]
    ) -> Outcome:
        store = await self._reach("transact")
        if self.writes_fail is not None:
            raise self.writes_fail
        if len(operations) > MOST_OPERATIONS:
            raise EtcdError("etcdserver: too many operations in txn request")
        if len({o.key for o in operations}) < len(operations):
            raise EtcdError("etcdserver: duplicate key given in txn request")
        holds = all(
            (found.mod_revision if (found := store.keys.get(c.key)) else 0) == c.mod_revision
            for c in compares
        )
        if not holds:
            return Outcome(header=store.header, succeeded=False)
        leases = {o.lease for o in operations if isinstance(o, Put) and o.lease}
        if not leases <= store.leases.keys():
            raise LeaseGone("etcdserver: requested lease not found")
        store.apply(operations)
        await store.wake()
        if self.after is not None:
            error, self.after = self.after, None
            raise error
        return Outcome(header=store.header, succeeded=True)

    async def read(self, prefix: str, *, keys_only: bool = False) -> Page:
        store = await self._reach("read")
        found = (store.keys[key] for key in sorted(store.keys) if key.startswith(prefix))
        return Page(
            header=store.header,
            found=tuple(dataclasses.replace(f, value=b"") if keys_only else f for f in found),
        )

    async def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        store = await self._reach("watch")
        cluster = store.cluster_id
        yield Changed(header=store.header)
        while True:
            if self.fails is not None or store.cluster_id != cluster:
                raise self.fails or EtcdGone("it was restored")
            if after < store.compacted and store.compacted > 0 and after + 1 <= store.compacted:
                raise Compacted("etcdserver: mvcc: required revision has been compacted")
            news = [(r, h) for r, h in store.history if r > after]
            for revision in sorted({r for r, _ in news}):
                at = [h for r, h in news if r == revision]
                yield Changed(
                    header=store.header,
                    written=tuple(
                        h for h in at if isinstance(h, KeyValue) and h.key.startswith(prefix)
                    ),
                    deleted=tuple(h for h in at if isinstance(h, str) and h.startswith(prefix)),
                )
                after = revision
            if not news:
                async with store.changed:
                    await store.changed.wait()

    async def grant(self, ttl_seconds: int) -> tuple[int, float]:
        store = await self._reach("grant")
        ttl = max(LEAST_TTL, float(ttl_seconds))
        lease = next(store._lease_ids)
        store.leases[lease] = _Lease(ttl, store.clock() + ttl)
        return lease, ttl

    async def renew(self, lease: int) -> float:
        store = await self._reach("renew")
        known = store.leases.get(lease)
        if known is None:
            raise LeaseGone("the lease has expired")
        known.until = store.clock() + known.ttl
        return known.ttl

    async def revoke(self, lease: int) -> None:
        store = await self._reach("revoke")
        if lease in store.leases:
            store.end(lease)
            await store.wake()

    async def close(self) -> None:
        self.fails = EtcdGone("closed")


NEVER = math.inf
