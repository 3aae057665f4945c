"""Writes that etcd takes of an endpoint's owner only: each compares the owner key's revision."""

from collections.abc import Callable, Sequence

from sad.cluster.keyspace import Keyspace
from sad.cluster.ports import Etcd, Operation, Unchanged


class Fenced(Exception):
    """The owner key is no longer that of the epoch: another node owns the endpoint."""


class FencedWriter:
    """Writes what belongs to endpoints of this node.

    ``epoch`` is that of an endpoint of which this node may write now, None for all others;
    ``wrote`` hears of each write that was done.
    """

    def __init__(
        self,
        etcd: Etcd,
        keyspace: Keyspace,
        epoch: Callable[[str], int | None],
        wrote: Callable[[], None] = lambda: None,
    ) -> None:
        self._etcd = etcd
        self._keyspace = keyspace
        self.epoch = epoch
        self._wrote = wrote

    def require(self, endpoint: str) -> int:
        """Return the epoch under which this node may write now. Raises Fenced."""
        epoch = self.epoch(endpoint)
        if epoch is None:
            raise Fenced(endpoint)
        return epoch

    async def transact(self, endpoint: str, epoch: int, operations: Sequence[Operation]) -> None:
        """Do all operations if the endpoint is still of this epoch. Raises EtcdError, Fenced."""
        outcome = await self._etcd.transact(
            [Unchanged(self._keyspace.owner(endpoint), epoch)], operations
        )
        if not outcome.succeeded:
            raise Fenced(endpoint)
        self._wrote()
