"""The journal of a node in a cluster: what it takes, etcd is told of, too."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from sad.model.association import Association
from sad.model.journal import Forget, JournalWrite, Put


class RecordingPort(Protocol):
    """A journal."""

    def record(self, writes: Sequence[JournalWrite]) -> Awaitable[None]:
        """Record durably, or raise JournalUnavailable and record nothing."""


class ReplicatedJournal:
    """Tells ``changed`` of each association whose row was written, by endpoint, identity and id.

    Endings go on without the journal, so they are told even if it refuses.
    """

    def __init__(
        self,
        journal: RecordingPort,
        changed: Callable[[str, str, str], None],
    ) -> None:
        self._journal = journal
        self._changed = changed
        #: Of which only the id is written when they end: endpoint and private identity.
        self._known: dict[str, tuple[str, str]] = {}

    def know(self, association: Association) -> None:
        """Know of a row that was there before."""
        self._known[association.id] = association.endpoint, association.private_identity

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
                        self.know(association)
                        self._changed(*self._known[association.id], association.id)
                    case Forget(association_id):
                        known = self._known.pop(association_id, None)
                        if known is not None:
                            self._changed(*known, association_id)
                    case _:
                        pass
