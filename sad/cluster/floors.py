"""Where sets go on after a takeover, in etcd before they do: many in each row.

A row for each of them is :mod:`sad.cluster.replicator`'s, and comes later. Until then whoever
takes them over from here begins above what is written here.
"""

from collections.abc import Sequence
from typing import Final

from sad.cluster.fencing import FencedWriter
from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import MOST_OPERATIONS, Delete, Etcd, Put
from sad.cluster.records import FLOORS, encode_floors
from sad.cluster.sealing import Row, Sealer
from sad.model.cluster import CounterSnapshot

#: Some 20 KiB; etcd takes 1.5 MiB in a request.
_SETS_IN_A_ROW: Final = 1024


class Floors:
    """Writes them, and clears what they bound. All raise EtcdError, Fenced."""

    def __init__(
        self, etcd: Etcd, keyspace: Keyspace, sealer: Sealer, writer: FencedWriter
    ) -> None:
        self._etcd = etcd
        self._keyspace = keyspace
        self._sealer = sealer
        self._writer = writer

    async def write(
        self, endpoint: str, read_at: float, snapshots: Sequence[CounterSnapshot]
    ) -> None:
        """Write where sets go on at an instant (real-time seconds)."""
        for number, start in enumerate(range(0, len(snapshots), _SETS_IN_A_ROW)):
            piece = snapshots[start : start + _SETS_IN_A_ROW]
            body = encode_floors(read_at, {s.association_id: s.lives for s in piece})
            epoch = self._writer.require(endpoint)
            sealed = self._sealer.seal(Row(FLOORS, endpoint, str(number)), epoch, body)
            key = self._keyspace.floor(endpoint, number)
            await self._writer.transact(endpoint, epoch, [Put(key, sealed)])

    async def clear(self, endpoint: str) -> int:
        """Delete all that etcd has of the sets of an endpoint; return how many there were.

        What bounds their numbers goes last: should this node die before, it still binds the next
        owner.
        """
        keyspace = self._keyspace
        pages = [
            await self._etcd.read(prefix, keys_only=True)
            for prefix in (
                keyspace.associations(endpoint),
                keyspace.keys(endpoint),
                keyspace.counters(endpoint),
                keyspace.floors(endpoint),
            )
        ]
        keys = [kv.key for page in pages for kv in page.found]
        for start in range(0, len(keys), MOST_OPERATIONS):
            deletes = [Delete(key) for key in keys[start : start + MOST_OPERATIONS]]
            await self._writer.transact(endpoint, self._writer.require(endpoint), deletes)
        return len(pages[0].found)
