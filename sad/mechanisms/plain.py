"""What mechanisms without SAs of ours answer where there is nothing to do for them."""

from collections.abc import Collection, Sequence

from sad.model.association import Association
from sad.model.errors import Lost
from sad.model.key_record import KeyRecord
from sad.model.requests import Keys
from sad.model.rules import Lifetimes
from sad.model.views import SaCounters


class PlainMechanism:
    """Base of drivers whose associations lie in no table of this daemon's own."""

    def use(self, lifetimes: Lifetimes) -> None:
        """Nothing depends on settings."""

    async def install(
        self, siblings: Sequence[Association], new: Association, request: Keys
    ) -> None:
        """Nothing is installed."""

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """There is no backstop."""

    async def rearrange(self, before: Sequence[Association], after: Sequence[Association]) -> None:
        """Nothing is shared."""

    async def disconnect(
        self, gone: Collection[Association], remaining: Collection[Association]
    ) -> None:
        """There is no connection beside it."""

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """Nothing lies anywhere."""

    async def counters(self, association: Association) -> tuple[SaCounters, ...]:  # noqa: ARG002
        """Nothing is counted."""
        return ()

    async def is_lost(self, association: Association) -> bool:  # noqa: ARG002
        """It can only be ended."""
        return False

    async def rebuild(
        self,
        association: Association,
        record: KeyRecord,  # noqa: ARG002 - the interface's
    ) -> tuple[str, ...]:
        """Nothing can be made again: raises Lost."""
        raise Lost(association.id)

    async def complete(self, sets: Sequence[Association]) -> int:  # noqa: ARG002
        """Nothing stands beside it."""
        return 0
