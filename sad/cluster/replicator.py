"""Tells etcd what has changed: one task, one transaction at a time, fenced by the epoch.

What is in the queue is what a node that dies takes along: nothing else is lost. Nothing that
serves waits for it.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Protocol

from netlink.secret import Secret
from sad.cluster.fencing import Fenced, FencedWriter
from sad.cluster.keyspace import Keyspace, id_of
from sad.cluster.parts import Clocks
from sad.cluster.ports import (
    MOST_OPERATIONS,
    Delete,
    Etcd,
    EtcdError,
    KeyValue,
    Operation,
    Put,
    Unchanged,
)
from sad.cluster.queue import Batch, Queue
from sad.cluster.records import (
    ASSOCIATIONS,
    COUNTERS,
    FLOORS,
    KEYS,
    Instant,
    encode_association,
    encode_counters,
    encode_keys,
    record_of,
)
from sad.cluster.sealing import Row, Sealer, Unopenable
from sad.model.association import Association, Phase
from sad.model.cluster import CounterSnapshot

log = logging.getLogger(__name__)

#: An association takes three operations of a transaction.
_BATCH: Final = MOST_OPERATIONS // 3
_PAUSE_SECONDS: Final = 0.2


class Source(Protocol):
    """The associations of this node, as they are now."""

    def get(self, association_id: str) -> Association | None:
        """Return one, None if it is no more."""

    def ids(self, endpoint: str) -> Iterable[str]:
        """Return the ids of all on an endpoint."""

    def counters(self, association_id: str) -> CounterSnapshot | None:
        """Return where a set stands as far as this node has heard, None if it has not."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lag:
    """How far etcd is behind: changes that it has not taken, and the age of the oldest (s)."""

    waiting: int
    seconds: float
    to_compare: tuple[str, ...]


class Replicator:
    """Keeps the records of the endpoints that this node owns.

    ``settled`` says whether all that it has of an endpoint is in the table: what is not there is
    deleted. ``failed`` hears of what etcd did not do, ``fenced`` of endpoints that turn out to be
    another's.
    """

    def __init__(
        self,
        etcd: Etcd,
        keyspace: Keyspace,
        sealer: Sealer,
        clock: Clocks,
        source: Source,
        writer: FencedWriter,
        *,
        node: str,
        limit: int,
        settled: Callable[[str], bool],
        failed: Callable[[EtcdError], None],
        fenced: Callable[[str], None],
    ) -> None:
        self._etcd = etcd
        self._keyspace = keyspace
        self._sealer = sealer
        self._clock = clock
        self._node = node
        self._source = source
        self._writer = writer
        self._settled = settled
        self._failed = failed
        self._fenced = fenced
        self._queue = Queue(limit)
        self._sealed_keys: dict[str, bytes] = {}
        self._keys_told: set[str] = set()
        self._wake = asyncio.Event()
        self._writing = asyncio.Lock()
        self._comparing = 0
        #: Sets whose keys this node does not have, and etcd neither: they cannot be taken over.
        self.without_keys: set[str] = set()

    # --- what has changed: no await, called by whoever changes it --------------------------------

    def seal_keys(
        self, association: Association, integrity_key: Secret, cipher_key: Secret | None
    ) -> None:
        """Seal the keys of a set that is about to be installed; they are not wiped."""
        row = Row(KEYS, association.endpoint, association.id)
        body = encode_keys(integrity_key, cipher_key)
        try:
            sealed = self._sealer.seal(row, self._writer.epoch(association.endpoint) or 0, body)
        finally:
            body[:] = bytes(len(body))
        self.adopt_keys(association.id, sealed, told=False)

    def adopt_keys(self, association_id: str, sealed: bytes, *, told: bool) -> None:
        """Take over the sealed keys of a set; ``told``: they lie in etcd just so."""
        self._sealed_keys[association_id] = sealed
        if told and self._sealer.is_of_newest_key(sealed):
            self._keys_told.add(association_id)
        else:
            self._keys_told.discard(association_id)

    def keys_of(self, association_id: str) -> bytes | None:
        """Return the sealed keys of a set, None if this node does not have them."""
        return self._sealed_keys.get(association_id)

    def changed(self, endpoint: str, association_id: str) -> None:
        """Note that an association was installed, changed or ended."""
        self._queue.changed(endpoint, association_id, self._clock.boottime())
        self._wake.set()

    def count(self, endpoint: str, snapshots: Iterable[CounterSnapshot]) -> None:
        """Note sequence numbers that were read."""
        self._queue.count(endpoint, snapshots)
        self._wake.set()

    def forget(self, endpoint: str, association_ids: Iterable[str]) -> None:
        """Drop everything of an endpoint: it is another's."""
        self._queue.forget(endpoint)
        for association_id in association_ids:
            self._forget_keys(association_id)

    @property
    def is_writing(self) -> bool:
        """Whether something is on its way to etcd."""
        return self._writing.locked() or bool(self._comparing)

    def lag(self) -> Lag:
        """Return how far etcd is behind."""
        oldest = self._queue.oldest()
        return Lag(
            waiting=len(self._queue),
            seconds=0.0 if oldest is None else max(0.0, self._clock.boottime() - oldest),
            to_compare=tuple(sorted(self._queue.to_compare)),
        )

    # --- telling etcd ----------------------------------------------------------------------------

    async def run(self) -> None:
        """Tell etcd until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            try:
                await self._drain()
            except EtcdError as error:
                self._failed(error)
                await asyncio.sleep(_PAUSE_SECONDS)
                self._wake.set()

    async def _drain(self) -> None:
        mine = self._mine()
        while mine:
            for endpoint in mine:
                try:
                    if endpoint in self._queue.to_compare:
                        await self.compare(endpoint)
                    await self._tell(endpoint)
                except Fenced:
                    self._fenced(endpoint)
                    return
            mine = self._mine()

    def _mine(self) -> tuple[str, ...]:
        """The endpoints of which something waits that this node may write."""
        waiting = {*self._queue.endpoints(), *self._queue.to_compare}
        return tuple(e for e in sorted(waiting) if self._settled(e))

    async def flush(self, endpoint: str) -> None:
        """Tell etcd all that waits of an endpoint. Raises EtcdError, Fenced."""
        while self._queue.waits(endpoint):
            if endpoint in self._queue.to_compare:
                await self.compare(endpoint)
            await self._tell(endpoint)

    def want_compare(self, endpoint: str) -> None:
        """Have all of an endpoint compared soon."""
        self._queue.to_compare.add(endpoint)
        self._wake.set()

    async def compare(self, endpoint: str) -> None:
        """Have all of an endpoint told anew, and deleted in etcd what is no more.

        At the start, after a backup was restored, and when the queue could not hold everything.
        Raises EtcdError, Fenced.
        """
        self._queue.to_compare.discard(endpoint)
        self._comparing += 1
        try:
            await self._compare(endpoint)
        except BaseException:
            self._queue.to_compare.add(endpoint)
            raise
        finally:
            self._comparing -= 1

    async def _compare(self, endpoint: str) -> None:
        records = await self._etcd.read(self._keyspace.associations(endpoint), keys_only=True)
        counters = await self._etcd.read(self._keyspace.counters(endpoint))
        keys = await self._etcd.read(self._keyspace.keys(endpoint))
        floors = await self._etcd.read(self._keyspace.floors(endpoint))
        for kind, page in ((COUNTERS, counters), (KEYS, keys), (FLOORS, floors)):
            await self._reseal(endpoint, kind, page.found)
        ours = set(self._source.ids(endpoint))
        with_keys = {id_of(kv.key): kv.value for kv in keys.found}
        self._keys_told -= ours - with_keys.keys()
        for association_id in ours - self._sealed_keys.keys():
            association = self._source.get(association_id)
            if association is None or association.ipsec_3gpp is None:
                continue
            if association_id in with_keys:  # they survived a restart of this node, or a backup
                self.adopt_keys(association_id, with_keys[association_id], told=True)
            else:
                self.without_keys.add(association_id)
        found = (id_of(kv.key) for page in (records, counters, keys) for kv in page.found)
        every = sorted(ours.union(found))
        for start in range(0, len(every), _BATCH):
            piece = every[start : start + _BATCH]
            # What a set has sent is told anew, too: etcd may have gone back behind it.
            known = {i: c for i in piece if (c := self._source.counters(i)) is not None}
            await self._write(Batch(endpoint, dict.fromkeys(piece, 0.0), known))

    async def _reseal(self, endpoint: str, kind: str, found: Iterable[KeyValue]) -> None:
        """Seal rows anew that were sealed with the other key; what was written since stays."""
        epoch = self._writer.epoch(endpoint)
        for kv in found:
            if epoch is None or self._sealer.is_of_newest_key(kv.value):
                continue
            row = Row(kind, endpoint, id_of(kv.key))
            try:
                _, body = self._sealer.open(row, kv.value)
            except Unopenable as error:
                log.error("%s of association %s do not open: %s", kind, row.id, error)  # noqa: TRY400 - no trace
                continue
            await self._etcd.transact(
                [
                    Unchanged(self._keyspace.owner(endpoint), epoch),
                    Unchanged(kv.key, kv.mod_revision),
                ],
                [Put(kv.key, self._sealer.seal(row, epoch, body))],
            )

    async def _tell(self, endpoint: str) -> None:
        """Tell etcd the oldest changes of an endpoint."""
        batch = self._queue.take(endpoint, _BATCH)
        for association_id in tuple(batch.counters):
            if self._source.get(association_id) is None:
                del batch.counters[association_id]
        try:
            await self._write(batch)
        except BaseException:
            self._queue.give_back(batch)
            raise

    async def _write(self, batch: Batch) -> None:
        """Write what is true of a batch now: what is newest, whatever it was when it was noted."""
        async with self._writing:
            epoch = self._writer.require(batch.endpoint)
            operations, told, gone = self._operations(batch, epoch)
            if not operations:
                return
            await self._writer.transact(batch.endpoint, epoch, operations)
            self._keys_told |= told
            for association_id in gone:
                if self._source.get(association_id) is None:
                    self._forget_keys(association_id)

    def _operations(self, batch: Batch, epoch: int) -> tuple[list[Operation], set[str], list[str]]:
        """Return what is to be written, whose keys are among it, and what is deleted."""
        operations: list[Operation] = []
        told: set[str] = set()
        gone: list[str] = []
        endpoint, keyspace = batch.endpoint, self._keyspace
        at = Instant(boottime=self._clock.boottime(), realtime=self._clock.realtime())
        for association_id in batch.changed:
            association = self._source.get(association_id)
            if association is not None and association.phase is Phase.INSTALLING:
                continue  # it is noted again when it is in the kernel
            if association is None or association.phase is Phase.REMOVING:
                operations += [
                    Delete(keyspace.association(endpoint, association_id)),
                    Delete(keyspace.key(endpoint, association_id)),
                    Delete(keyspace.counter(endpoint, association_id)),
                ]
                gone.append(association_id)
                continue
            body = encode_association(record_of(association, self._node, at))
            row = Row(ASSOCIATIONS, endpoint, association_id)
            operations.append(
                Put(keyspace.association(endpoint, association_id), self._seal(row, epoch, body))
            )
            if association_id not in self._keys_told and (
                keys := self._keys_to_tell(endpoint, association_id, epoch)
            ):
                operations.append(Put(keyspace.key(endpoint, association_id), keys))
                told.add(association_id)
        for association_id, snapshot in batch.counters.items():
            if association_id in gone:
                continue  # etcd takes no key twice in a transaction
            row = Row(COUNTERS, endpoint, association_id)
            sealed = self._seal(row, epoch, encode_counters(snapshot))
            operations.append(Put(keyspace.counter(endpoint, association_id), sealed))
        return operations, told, gone

    def _seal(self, row: Row, epoch: int, body: bytes) -> bytes:
        return self._sealer.seal(row, epoch, body)

    def _keys_to_tell(self, endpoint: str, association_id: str, epoch: int) -> bytes | None:
        """Return the sealed keys of a set, sealed anew if the sealing key has changed."""
        sealed = self._sealed_keys.get(association_id)
        if sealed is None or self._sealer.is_of_newest_key(sealed):
            return sealed
        row = Row(KEYS, endpoint, association_id)
        _, body = self._sealer.open(row, sealed)
        sealed = self._sealed_keys[association_id] = self._sealer.seal(row, epoch, body)
        return sealed

    def _forget_keys(self, association_id: str) -> None:
        self._sealed_keys.pop(association_id, None)
        self._keys_told.discard(association_id)
        self.without_keys.discard(association_id)
