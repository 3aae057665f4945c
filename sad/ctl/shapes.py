"""The replies that ``sadctl`` reads, as types: the counterpart of ``sad/api/*.varlink``.

A test compares the two. A field that may be null may also be left out, so it is read by ``get``.
"""

from typing import NotRequired, TypedDict


class Registration(TypedDict):
    """The binding that an association serves."""

    privateIdentity: str
    publicIdentities: list[str]


class Ipsec3gpp(TypedDict):
    """One SA set by the names of TS 33.203 7.1."""

    ueAddress: str
    pcscfAddress: str
    spiUc: int
    spiUs: int
    spiPc: int
    spiPs: int
    portUc: int
    portUs: int
    portPc: int
    portPs: int
    integrityAlgorithm: str
    encryptionAlgorithm: str


class Association(TypedDict):
    """One agreement; instants (...At) are microseconds since 1970, 0: never."""

    id: str
    endpoint: str
    role: str
    mechanism: str
    state: str
    endReason: NotRequired[str | None]
    registration: Registration
    ipsec3gpp: NotRequired[Ipsec3gpp | None]
    createdAt: int
    confirmedAt: int
    expiresAt: int
    secondsLeft: int
    note: NotRequired[str | None]


class SaCounters(TypedDict):
    """Kernel counters of one SA."""

    name: str
    direction: str
    spi: int
    bytes: int
    packets: int
    replayFailures: int
    integrityFailures: int
    lastUsedAt: int


class GetOut(TypedDict):
    """Reply of ``Get``."""

    association: Association
    counters: list[SaCounters]


class FindOut(TypedDict):
    """Reply of ``Find``."""

    association: Association
    outbound: Association


class ReleaseOut(TypedDict):
    """Reply of ``Release``."""

    associations: list[Association]


class ListOut(TypedDict):
    """One reply of ``List``; without association: there is none."""

    association: NotRequired[Association | None]


class MonitorOut(TypedDict):
    """One reply of ``Monitor``."""

    event: str
    association: NotRequired[Association | None]


class EndpointStatus(TypedDict):
    """An endpoint and what lives on it."""

    name: str
    profile: str
    required: bool
    securityServer: str
    addresses: list[str]
    serverPort: int
    clientPorts: list[int]
    algorithms: list[str]
    unavailable: list[str]
    associations: int


class StateCount(TypedDict):
    """How many associations are in a state."""

    state: str
    count: int


class KernelCounter(TypedDict):
    """One counter of ``/proc/net/xfrm_stat`` that is not zero."""

    name: str
    value: int


class ReconcileReport(TypedDict):
    """What one comparison of kernel and journal found and did."""

    at: int
    reason: str
    adopted: int
    repaired: int
    removed: int
    ended: int


class GetStatusOut(TypedDict):
    """Reply of ``GetStatus``."""

    version: str
    startedAt: int
    state: str
    endpoints: list[EndpointStatus]
    associations: list[StateCount]
    kernelCounters: list[KernelCounter]
    lastReconcile: NotRequired[ReconcileReport | None]
    lastProblem: NotRequired[str | None]
    lastProblemHint: NotRequired[str | None]


class ReconcileOut(TypedDict):
    """Reply of ``Reconcile``."""

    reconcile: ReconcileReport
