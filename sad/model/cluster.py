"""More than one node: whose an endpoint is, what is kept of its sets, and how etcd does.

*Node*: one sad with a name. *Owner* of an endpoint: the one node that may have its sets in its
kernel. *Epoch*: the revision at which etcd took the owner's claim; the fencing token of all that
this owner writes.
"""

import enum
from dataclasses import dataclass, field

from sad.model.association import Association
from sad.model.key_record import KeyRecord


class OwnershipMode(enum.StrEnum):
    """How an endpoint changes its owner."""

    MANUAL = "manual"
    """By an operator or keepalived; an owner serves on whatever becomes of etcd."""
    AUTOMATIC = "automatic"
    """By lease: who cannot renew it stops before another can begin."""
    FIXED = "fixed"
    """Never: the address is one node's for good, and its sets are there for others to see."""


class OwnershipState(enum.StrEnum):
    """Where a node stands with an endpoint."""

    STANDBY = "standby"
    """Nothing of it is in this kernel."""
    TAKING = "taking"
    """It is claimed, or its sets are on their way into the kernel."""
    OWNER = "owner"
    UNSURE = "unsure"
    """As owner, but etcd is not heard of."""
    YIELDING = "yielding"
    """Its sets are on their way out of the kernel; its traffic is blocked already."""


class EtcdState(enum.StrEnum):
    """How etcd does, as this node sees it."""

    CONNECTING = "connecting"
    WELL = "well"
    SLOW = "slow"
    GONE = "gone"
    """Not reached, or without a majority of its members."""
    FULL = "full"
    """Over its quota (NOSPACE): it takes no more writes until it is compacted."""
    REFUSING = "refusing"
    """It refuses this node: password, certificate or rights."""
    WENT_BACK = "wentBack"
    """Another cluster, or an earlier revision than before: a backup was restored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CounterSnapshot:
    """Sequence numbers of a set's SAs (RFC 4303 2.2, 3.4.3), as the kernel had them once.

    ``read_at`` in real-time seconds. ``sent`` are the last numbers of its outbound SAs in the
    order of ``peer_spis``, ``received`` the highest that its inbound SAs have taken in the order
    of ``local_spis``. ``lives`` counts how often SAs have been made under its keys after the
    first time: each takes fresh IVs (T33-I-b).
    """

    association_id: str
    read_at: float
    sent: tuple[int, ...]
    received: tuple[int, ...]
    lives: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSet:
    """One set as it is taken over: what a node needs to have it in its kernel.

    ``association.deadline_at`` is of this node's CLOCK_BOOTTIME already. ``counters`` is None if
    none was ever read: then ``association.confirmed_at`` or ``created_at`` bound what was sent.
    Whoever is given it wipes ``keys``.
    """

    association: Association
    keys: KeyRecord = field(repr=False)
    counters: CounterSnapshot | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointOwnership:
    """An endpoint in the cluster, as this node sees it.

    ``owner`` is empty without one, ``epoch`` 0 without a claim. ``set_aside`` are the sets that
    this node had and keeps for the case that it becomes owner again with nobody in between.
    """

    endpoint: str
    mode: OwnershipMode
    state: OwnershipState
    owner: str
    epoch: int
    set_aside: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A living node; instants in real-time seconds.

    ``clock_ahead_seconds`` is how far its wall clock is ahead of ours, as far as that can be told.
    """

    name: str
    since: float
    version: str
    clock_ahead_seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterStatus:
    """This node's place in its cluster.

    ``waiting`` is how many writes etcd has not taken yet, ``lag_seconds`` the age of the oldest of
    them; ``compare_wanted`` are endpoints of which the queue could not hold everything.
    """

    cluster: str
    node: str
    etcd: EtcdState
    etcd_hint: str
    waiting: int
    lag_seconds: float
    compare_wanted: tuple[str, ...]
    endpoints: tuple[EndpointOwnership, ...]
    nodes: tuple[NodeView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeoverReport:
    """What became of a takeover: sets that go on here, sets that do not, and how long it took."""

    restored: int
    lost: int
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterAssociation:
    """An association as etcd has it; ``expires_at`` in real-time seconds of its owner's clock."""

    owner: str
    association: Association
    expires_at: float
