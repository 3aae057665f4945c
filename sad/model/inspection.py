"""What operators ask beyond lists: history, policies, pools, the fate of a packet, fitness."""

import enum
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryStep:
    """A step of a life; ``at`` in real-time seconds of the last time, ``times`` in a row."""

    step: str
    at: float
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyState:
    """One policy as the kernel holds it, in words; ``reqid`` 0: it names no SA.

    ``protocol`` is the one that it is for, by its IP number; 0: every.
    """

    direction: str
    action: str
    source: str
    destination: str
    protocol: int
    priority: int
    reqid: int
    ours: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolUse:
    """How much of something that can run out is used; ``endpoint`` empty: of the daemon."""

    name: str
    endpoint: str
    used: int
    size: int


class Verdict(enum.StrEnum):
    """What becomes of a packet."""

    PROTECTED = "protected"
    DROPPED = "dropped"
    CLEAR = "clear"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One step on the way to a verdict, from the policy to the counter."""

    what: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PacketFate:
    """What becomes of the packets of one direction of a flow, and why."""

    inbound: bool
    verdict: Verdict
    findings: tuple[Finding, ...]
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowExplanation:
    """Both directions of a flow; the ids are of the association and endpoint, if there is one."""

    association_id: str
    endpoint: str
    fates: tuple[PacketFate, ...]


class Fitness(enum.StrEnum):
    """How one thing that the node needs stands."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One thing that was looked at."""

    what: str
    fitness: Fitness
    text: str
    hint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expiry:
    """Something of this node that ends by itself: a certificate, a key; ``at`` in real time."""

    kind: str
    name: str
    at: float
