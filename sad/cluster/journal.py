"""The journal of a node in a cluster: what it takes, etcd is told of, too."""

from collections.abc import Callable, Sequence
from typing import Protocol

from sad.model.journal import Forget, JournalWrite, Put


class RecordingPort(Protocol):
    """A journal."""

    async def record(self, writes: Sequence[JournalWrite]) -> None:
        """Record durably, or raise JournalUnavailable and record nothing."""


class ReplicatedJournal:
    """Tells ``changed`` of each association whose row was written, by endpoint and id.

    ``endpoint_of`` knows the endpoint of an association of which only the id is written. Endings
    go on without the journal, so they are told even if it refuses.
    """

    def __init__(
        self,
        journal: RecordingPort,
        changed: Callable[[str, str], None],
    ) -> None:
        self._journal = journal
        self._changed = changed
        self._endpoints: dict[str, str] = {}

    def know(self, association_id: str, endpoint: str) -> None:
        """Know of a row that was there before."""
        self._endpoints[association_id] = endpoint

    async def record(self, writes: Sequence[JournalWrite]) -> None:
        """Record, and tell."""
        recorded = False
        try:
            await self._journal.record(writes)
            recorded = True
        finally:
            for write in writes:
                match write:
                    case Put(association) if recorded:
                        self._endpoints[association.id] = association.endpoint
                        self._changed(association.endpoint, association.id)
                    case Forget(association_id):
                        endpoint = self._endpoints.pop(association_id, None)
                        if endpoint is not None:
                            self._changed(endpoint, association_id)
                    case _:
                        pass
