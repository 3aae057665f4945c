"""What can be written into the journal."""

from typing import TypeAlias

from msgspec import Struct

from sad.model.association import Association


class Put(Struct, frozen=True, gc=False):
    """Insert or replace an association's row."""

    association: Association


class Forget(Struct, frozen=True, gc=False):
    """Delete an association's row."""

    association_id: str


JournalWrite: TypeAlias = Put | Forget


def id_of(write: JournalWrite) -> str:
    """Return whose row it writes."""
    return write.association.id if isinstance(write, Put) else write.association_id
