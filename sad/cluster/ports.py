"""etcd as the cluster needs it: values, what can go wrong, and the protocol.

Keys are text, values bytes. Every answer carries the header of etcd, so that who calls sees
whether it is the same store as before, and not one that went back.
"""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

#: etcd takes no more operations in a transaction (``--max-txn-ops``).
MOST_OPERATIONS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Which cluster answered, and at which revision of its store."""

    cluster_id: int
    revision: int


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    """A key as it lies in etcd; ``lease`` 0: it has none."""

    key: str
    value: bytes
    create_revision: int
    mod_revision: int
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Unchanged:
    """Compare: the key was last written at this revision; 0: it does not exist."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; ``lease`` 0: it has none."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; one that does not exist is no error."""

    key: str


Operation: TypeAlias = Put | Delete


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a transaction; ``header.revision`` is that of its writes."""

    header: Header
    succeeded: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """Keys in order; all of one revision, ``header.revision`` of the first page."""

    header: Header
    found: tuple[KeyValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """One answer of a watch, of one revision or several: what was written, what deleted."""

    header: Header
    written: tuple[KeyValue, ...] = ()
    deleted: tuple[str, ...] = ()


class EtcdError(Exception):
    """etcd did not do what it was asked; ``hint`` is the way out. The outcome may be unknown."""

    def __init__(self, reason: str, hint: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


class EtcdGone(EtcdError):
    """No member was reached, or none has a majority; whether a write was done is unknown."""


class EtcdFull(EtcdError):
    """Over its quota (NOSPACE): nothing is written until it is compacted and disarmed."""


class EtcdRefused(EtcdError):
    """This node may not: its password, certificate or rights."""


class Compacted(EtcdError):
    """The history since the revision of a watch is gone: list again."""


class LeaseGone(EtcdError):
    """The lease has expired or was revoked; its keys are gone."""


class Etcd(Protocol):
    """One etcd cluster. All raise EtcdError; reads are linearizable."""

    async def transact(
        self, compares: Sequence[Unchanged], operations: Sequence[Operation]
    ) -> Outcome:
        """Do all operations if all compares hold, else nothing. No key may come twice."""

    async def read(self, prefix: str, *, keys_only: bool = False) -> Page:
        """Return every key that begins with ``prefix``, of one revision, however many."""

    def watch(self, prefix: str, after: int) -> AsyncIterator[Changed]:
        """Yield what changes after a revision, for ever; ends only by EtcdError."""

    async def grant(self, ttl_seconds: int) -> tuple[int, float]:
        """Return a new lease and its time to live, which may be longer than was asked."""

    async def renew(self, lease: int) -> float:
        """Begin the time of a lease anew; return it in seconds. Raises LeaseGone."""

    async def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; one that is gone is no error."""

    async def close(self) -> None:
        """Let go of every connection."""
