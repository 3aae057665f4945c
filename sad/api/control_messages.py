"""Inputs and outputs of ``org.sipsad.Control``; a part of :mod:`sad.api.messages`."""

from sad.api.wire import Int, Message
from sad.model.endpoint import Profile
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
    """How many associations are in one state."""

    state: str
    count: Int


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


class GetStatusIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class GetStatusOut(Message, frozen=True, kw_only=True):
    """The daemon as it stands."""

    version: str
    started_at: Int
    state: DaemonState
    endpoints: tuple[EndpointStatus, ...]
    associations: tuple[StateCount, ...]
    kernel_counters: tuple[KernelCounter, ...]
    last_reconcile: ReconcileReport | None
    last_problem: str | None
    last_problem_hint: str | None


class ReconcileIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class ReconcileOut(Message, frozen=True, kw_only=True):
    """The report."""

    reconcile: ReconcileReport
