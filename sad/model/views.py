"""What the daemon says of itself and of its associations, as values."""

import enum
from dataclasses import dataclass

from msgspec import Struct

from sad.model.agreement import Refusal
from sad.model.association import Association
from sad.model.cluster import ClusterStatus
from sad.model.endpoint import Profile
from sad.model.inspection import PoolUse


@dataclass(frozen=True, slots=True, kw_only=True)
class SaCounters:
    """Kernel counters of one SA; ``last_used_at`` in real-time seconds, 0: never."""

    name: str
    inbound: bool
    spi: int
    bytes: int
    packets: int
    replay_failures: int
    integrity_failures: int
    last_used_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """What Offer would take of a list, and why not the rest."""

    mechanism: str
    refusals: tuple[Refusal, ...]


class Offered(Struct, frozen=True, kw_only=True, gc=False):
    """A temporary set, and the Security-Server value that goes into the 401."""

    association: Association
    security_server: str
    refusals: tuple[Refusal, ...]


class Verified(Struct, frozen=True, kw_only=True, gc=False):
    """The set that a REGISTER came on; ``refusals`` are of its new Security-Client list."""

    association: Association
    refusals: tuple[Refusal, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A TLS association, and whether the daemon itself closes its connection when it ends."""

    association: Association
    closes_connection: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The set of a flow, and the set of its registration that carries what is sent now."""

    association: Association
    outbound: Association


class WatchKind(enum.StrEnum):
    """What a Monitor stream tells."""

    PRESENT = "present"
    READY = "ready"
    ADDED = "added"
    CHANGED = "changed"
    ENDED = "ended"
    RESYNC = "resync"


@dataclass(frozen=True, slots=True)
class WatchEvent:
    """One line of a Monitor stream; ``association`` is None for ready and resync."""

    kind: WatchKind
    association: Association | None


class DaemonState(enum.StrEnum):
    """Where the daemon is in its life."""

    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReconcileReport:
    """What one comparison of kernel and journal found and did; ``at`` in real-time seconds."""

    at: float
    reason: str
    adopted: int
    repaired: int
    removed: int
    ended: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointStatus:
    """An endpoint and what lives on it; ``unavailable`` are algorithms this kernel lacks."""

    name: str
    profile: Profile
    security_required: bool
    security_server: str
    addresses: tuple[str, ...]
    server_port: int
    client_ports: tuple[int, ...]
    algorithms: tuple[str, ...]
    unavailable: tuple[str, ...]
    associations: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """Something that an operator should see to, while it lasts; ``reason`` is a stable word."""

    about: str
    reason: str
    text: str
    hint: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The daemon as it stands; instants in real-time seconds.

    ``associations`` are mechanism, state, how many. ``ends_connections``: this kernel can end TCP
    connections. ``cluster``: None on a node that is alone.
    """

    version: str
    started_at: float
    state: DaemonState
    endpoints: tuple[EndpointStatus, ...]
    associations: tuple[tuple[str, str, int], ...]
    pools: tuple[PoolUse, ...]
    kernel_counters: tuple[tuple[str, int], ...]
    last_reconcile: ReconcileReport | None
    last_problem: str | None
    last_problem_at: float | None
    last_problem_hint: str | None
    notices: tuple[Notice, ...] = ()
    ends_connections: bool = True
    cluster: ClusterStatus | None = None
