"""What can be written into the journal."""

from dataclasses import dataclass
from typing import TypeAlias

from sad.model.association import Association


@dataclass(frozen=True, slots=True)
class Put:
    """Insert or replace an association's row."""

    association: Association


@dataclass(frozen=True, slots=True)
class Forget:
    """Delete an association's row."""

    association_id: str


JournalWrite: TypeAlias = Put | Forget


def id_of(write: JournalWrite) -> str:
    """Return whose row it writes."""
    return write.association.id if isinstance(write, Put) else write.association_id
