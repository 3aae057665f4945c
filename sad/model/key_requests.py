"""What operators ask about key sets, and what they are shown: never a key."""

import enum
from dataclasses import dataclass, field

from sad.model.key_set import GivenKeys, KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class RotateKeyRequest:
    """``RotateKey``: a set that follows ``name`` on its path, with its algorithms.

    ``not_before`` None is now. Instants are seconds of the real-time clock.
    """

    name: str
    new_name: str
    spi_in: int
    spi_out: int
    keys: GivenKeys = field(repr=False)
    not_before: float | None
    not_after: float


class KeyState(enum.StrEnum):
    """What becomes of a key set at this instant."""

    WAITING = "waiting"
    """Not valid yet."""
    VALID = "valid"
    """It could be used; its peer has not agreed, or another set carries what is sent."""
    STANDING = "standing"
    """Its SAs stand."""
    RELEASED = "released"
    """Somebody released its association: it stays away until the key files are read again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldKey:
    """One key set and what becomes of it; the association is named if its SAs stand."""

    key_set: KeySet
    state: KeyState
    association_id: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyProblem:
    """What is wrong in a key file, and where."""

    origin: str
    key: str
    reason: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyList:
    """All key sets, and what the key files have that is none."""

    keys: tuple[HeldKey, ...]
    problems: tuple[KeyProblem, ...]
