"""How many sets a private identity has at all nodes together, for a limit across them.

Each node says how many it has, under its lease, so that a dead node counts for nothing. What is
heard is a moment old: identities that register at two nodes at the same instant may go over the
limit by that much. Without etcd what was heard last is what counts.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Final

from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import MOST_OPERATIONS, Delete, Etcd, EtcdError, KeyValue, Operation, Put
from sad.cluster.sealing import Sealer
from sad.model.errors import LimitExceeded

log = logging.getLogger(__name__)

_AGAIN_SECONDS: Final = 0.3


class Identities:
    """Counts; ``own`` is how many sets an identity has here, ``lease`` this node's, if it has one.

    ``limit`` 0: there is none, and nothing is told.
    """

    def __init__(
        self,
        etcd: Etcd,
        keyspace: Keyspace,
        sealer: Sealer,
        *,
        node: str,
        limit: int,
        own: Callable[[str], int],
        lease: Callable[[], int | None],
    ) -> None:
        self._etcd = etcd
        self._prefix = keyspace.limits
        self._sealer = sealer
        self._node = node
        self._limit = limit
        self._own = own
        self._lease = lease
        self._told_under: int | None = None
        self._told: set[str] = set()
        self._changed: set[str] = set()
        self._wake = asyncio.Event()
        #: hashed identity -> node -> sets
        self._heard: dict[str, dict[str, int]] = {}

    def changed(self, private_identity: str) -> None:
        """Note that an identity has more or fewer sets here."""
        if self._limit:
            self._changed.add(private_identity)
            self._wake.set()

    def elsewhere(self, private_identity: str) -> int:
        """Return how many sets an identity has at other nodes, as far as was heard."""
        heard = self._heard.get(self._sealer.hashed(private_identity), {})
        return sum(count for node, count in heard.items() if node != self._node)

    def require_room(self, private_identity: str) -> None:
        """Raise LimitExceeded if an identity has its sets at other nodes.

        The one that is to be installed is in the table, and counts.
        """
        if not self._limit:
            return
        elsewhere = self.elsewhere(private_identity)
        if elsewhere and elsewhere + self._own(private_identity) > self._limit:
            raise LimitExceeded(
                limit="sets of a private identity at all nodes",
                maximum=self._limit,
                hint="release those of another node, or raise cluster.max_sets_per_identity",
            )

    async def run(self) -> None:
        """Tell and listen until cancelled."""
        if self._limit:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._tell())
                group.create_task(self._listen())

    async def _tell(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            lease = self._lease()
            if lease != self._told_under:  # what the other one held is gone with it
                self._changed |= self._told
            batch = [identity for identity, _ in zip(self._changed, range(MOST_OPERATIONS))]  # noqa: B905
            try:
                if lease is None:
                    raise EtcdError("this node has no lease")
                await self._etcd.transact([], [self._operation(i, lease) for i in batch])
            except EtcdError:  # who keeps the lease tells of it
                await asyncio.sleep(_AGAIN_SECONDS)
                self._wake.set()
                continue
            self._told_under = lease
            self._changed.difference_update(batch)
            self._told.update(batch)
            if self._changed:
                self._wake.set()

    def _operation(self, identity: str, lease: int) -> Operation:
        key = f"{self._prefix}{self._sealer.hashed(identity)}/{self._node}"
        count = self._own(identity)
        return Put(key, str(count).encode(), lease) if count else Delete(key)

    async def _listen(self) -> None:
        while True:
            try:
                page = await self._etcd.read(self._prefix)
                self._heard = {}
                self._hear(page.found)
                async for change in self._etcd.watch(self._prefix, page.header.revision):
                    self._hear(change.written)
                    for key in change.deleted:
                        hashed, _, node = key.removeprefix(self._prefix).partition("/")
                        self._heard.get(hashed, {}).pop(node, None)
            except EtcdError as error:
                log.debug("the counts of identities are listed anew: %s", error)
                await asyncio.sleep(_AGAIN_SECONDS)

    def _hear(self, found: Iterable[KeyValue]) -> None:
        for kv in found:
            hashed, _, node = kv.key.removeprefix(self._prefix).partition("/")
            if kv.value.isdigit():
                self._heard.setdefault(hashed, {})[node] = int(kv.value)
