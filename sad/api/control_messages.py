"""Messages of ``org.sipsad.Control``, and what else operators see. Of :mod:`sad.api.messages`."""

from typing import Literal

from sad.api.cluster_messages import ClusterStatus
from sad.api.wire import Flow, Int, Message
from sad.model.endpoint import Profile
from sad.model.inspection import Fitness, Verdict
from sad.model.views import DaemonState


class EndpointStatus(Message, frozen=True, kw_only=True):
    """An endpoint and what lives on it."""

    name: str
    profile: Profile
    required: bool
    security_server: str
    addresses: tuple[str, ...]
    server_port: Int
    client_ports: tuple[Int, ...]
    algorithms: tuple[str, ...]
    unavailable: tuple[str, ...]
    associations: Int


class StateCount(Message, frozen=True, kw_only=True):
    """How many associations of a mechanism are in one state."""

    mechanism: str
    state: str
    count: Int


class PoolUse(Message, frozen=True, kw_only=True):
    """How much of something that can run out is used."""

    name: str
    endpoint: str | None
    used: Int
    size: Int


class KernelCounter(Message, frozen=True, kw_only=True):
    """One of the kernel's XFRM counters."""

    name: str
    value: Int


class ReconcileReport(Message, frozen=True, kw_only=True):
    """What one comparison found and did; ``at`` in real-time microseconds."""

    at: Int
    reason: str
    adopted: Int
    repaired: Int
    removed: Int
    ended: Int


class PolicyState(Message, frozen=True, kw_only=True):
    """One policy as the kernel holds it."""

    direction: str
    action: str
    source: str
    destination: str
    protocol: Int | None
    priority: Int
    reqid: Int
    ours: bool


class HistoryStep(Message, frozen=True, kw_only=True):
    """A step of a life."""

    step: str
    at: Int
    times: Int


class Notice(Message, frozen=True, kw_only=True):
    """Something that an operator should see to, while it lasts."""

    about: str
    reason: str
    text: str
    hint: str


class GetStatusIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class GetStatusOut(Message, frozen=True, kw_only=True):
    """The daemon as it stands."""

    version: str
    started_at: Int
    state: DaemonState
    endpoints: tuple[EndpointStatus, ...]
    associations: tuple[StateCount, ...]
    pools: tuple[PoolUse, ...]
    kernel_counters: tuple[KernelCounter, ...]
    last_reconcile: ReconcileReport | None
    last_problem: str | None
    last_problem_at: Int | None
    last_problem_hint: str | None
    notices: tuple[Notice, ...]
    ends_connections: bool
    cluster: ClusterStatus | None


class Finding(Message, frozen=True, kw_only=True):
    """One step on the way from the policy to the counter, or one difference."""

    what: str
    text: str


class ReconcileIn(Message, frozen=True, kw_only=True):
    """Whether only to look."""

    dry_run: bool | None = None


class ReconcileOut(Message, frozen=True, kw_only=True):
    """The report; findings are those of a dry run."""

    reconcile: ReconcileReport
    findings: tuple[Finding, ...] | None = None


class ExplainIn(Message, frozen=True, kw_only=True):
    """A flow."""

    flow: Flow


class PacketFate(Message, frozen=True, kw_only=True):
    """What becomes of the packets of one direction."""

    direction: Literal["in", "out"]
    verdict: Verdict
    findings: tuple[Finding, ...]
    hint: str


class ExplainOut(Message, frozen=True, kw_only=True):
    """Both directions."""

    association: str | None
    endpoint: str | None
    fates: tuple[PacketFate, ...]


class CheckIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class CheckResult(Message, frozen=True, kw_only=True):
    """One thing that was looked at."""

    what: str
    fitness: Fitness
    text: str
    hint: str


class CheckOut(Message, frozen=True, kw_only=True):
    """All of them."""

    results: tuple[CheckResult, ...]
