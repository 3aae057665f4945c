"""The replies that ``sadctl`` reads, as types: the counterpart of ``sad/api/*.varlink``.

A test compares the two. A field that may be null may also be left out, so it is read by ``get``.
"""

from typing import NotRequired, TypedDict

from sad.ctl.cluster_shapes import ClusterStatus


class Registration(TypedDict):
    """The binding that an association serves."""

    privateIdentity: str
    publicIdentities: list[str]


class UdpEncapsulation(TypedDict):
    """ESP in UDP through a NAT."""

    peerAddress: str
    peerPort: int
    localPort: int


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
    udpEncapsulation: NotRequired[UdpEncapsulation | None]


class IpsecMan(TypedDict):
    """One manually keyed pair of SAs."""

    localAddress: str
    peerAddress: str
    spiIn: int
    spiOut: int
    localPorts: list[int]
    peerPorts: list[int]
    integrityAlgorithm: str
    encryptionAlgorithm: str
    keySet: str
    activation: str


class Tls(TypedDict):
    """The connection of an association of mechanism tls."""

    localAddress: str
    localPort: int
    peerAddress: str
    peerPort: int
    attached: bool
    identity: NotRequired[str | None]
    credential: NotRequired[str | None]
    version: NotRequired[str | None]
    cipher: NotRequired[str | None]


class IpsecIke(TypedDict):
    """The CHILD_SA of an association."""

    localAddress: str
    peerAddress: str
    localPorts: list[int]
    peerPorts: list[int]
    connection: str
    child: str


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
    ipsecMan: NotRequired[IpsecMan | None]
    tls: NotRequired[Tls | None]
    ipsecIke: NotRequired[IpsecIke | None]
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


class PolicyState(TypedDict):
    """One policy as the kernel holds it."""

    direction: str
    action: str
    source: str
    destination: str
    protocol: NotRequired[int | None]
    priority: int
    reqid: int
    ours: bool


class HistoryStep(TypedDict):
    """A step of a life."""

    step: str
    at: int
    times: int


class GetOut(TypedDict):
    """Reply of ``Get``."""

    association: Association
    counters: list[SaCounters]
    policies: NotRequired[list[PolicyState] | None]
    history: NotRequired[list[HistoryStep] | None]


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
    """How many associations of a mechanism are in a state."""

    mechanism: str
    state: str
    count: int


class PoolUse(TypedDict):
    """How much of something that can run out is used."""

    name: str
    endpoint: NotRequired[str | None]
    used: int
    size: int


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


class CredentialFinding(TypedDict):
    """Something wrong, or soon wrong, with a TLS credential set."""

    part: str
    reason: str
    text: str
    rule: str
    hint: str


class Certificate(TypedDict):
    """What a certificate says."""

    subject: str
    issuer: str
    serial: str
    names: list[str]
    alternativeNames: list[str]
    algorithm: str
    notBefore: int
    notAfter: int
    validUntil: int
    endsFirst: str


class Credential(TypedDict):
    """The TLS credential set of an endpoint."""

    endpoint: str
    state: str
    generation: str
    loadedAt: int
    certificate: NotRequired[Certificate | None]
    minimumVersion: str
    ciphers: list[str]
    clientAuthentication: str
    refusals: list[CredentialFinding]
    warnings: list[CredentialFinding]


class RevokeCredentialOut(TypedDict):
    """Reply of ``RevokeCredential``."""

    generation: str


class ListCredentialsOut(TypedDict):
    """Reply of ``ListCredentials``."""

    credentials: list[Credential]


class Notice(TypedDict):
    """Something that an operator should see to, while it lasts."""

    about: str
    reason: str
    text: str
    hint: str


class GetStatusOut(TypedDict):
    """Reply of ``GetStatus``."""

    version: str
    startedAt: int
    state: str
    endpoints: list[EndpointStatus]
    associations: list[StateCount]
    pools: list[PoolUse]
    kernelCounters: list[KernelCounter]
    lastReconcile: NotRequired[ReconcileReport | None]
    lastProblem: NotRequired[str | None]
    lastProblemAt: NotRequired[int | None]
    lastProblemHint: NotRequired[str | None]
    notices: list[Notice]
    endsConnections: bool
    cluster: NotRequired[ClusterStatus | None]


class Finding(TypedDict):
    """One step on the way from the policy to the counter, or one difference."""

    what: str
    text: str


class ReconcileOut(TypedDict):
    """Reply of ``Reconcile``; with findings it was a dry run."""

    reconcile: ReconcileReport
    findings: NotRequired[list[Finding] | None]


class PacketFate(TypedDict):
    """What becomes of the packets of one direction."""

    direction: str
    verdict: str
    findings: list[Finding]
    hint: str


class ExplainOut(TypedDict):
    """Reply of ``Explain``."""

    association: NotRequired[str | None]
    endpoint: NotRequired[str | None]
    fates: list[PacketFate]


class CheckResult(TypedDict):
    """One thing that was looked at."""

    what: str
    fitness: str
    text: str
    hint: str


class CheckOut(TypedDict):
    """Reply of ``Check``."""

    results: list[CheckResult]


class Key(TypedDict):
    """A key set without its keys; instants are microseconds since 1970."""

    name: str
    origin: str
    state: str
    association: NotRequired[str | None]
    endpoint: str
    role: str
    identity: str
    localAddress: str
    peerAddress: str
    spiIn: int
    spiOut: int
    localPorts: list[int]
    peerPorts: list[int]
    integrityAlgorithm: str
    encryptionAlgorithm: str
    notBefore: int
    notAfter: int
    activation: str


class KeyProblem(TypedDict):
    """What is wrong in a key file, and where."""

    origin: str
    key: str
    reason: str
    hint: str


class AddKeyOut(TypedDict):
    """A key set as it is held; RotateKey gives the same."""

    key: Key


class ListKeysOut(TypedDict):
    """All key sets, and what is none."""

    keys: list[Key]
    problems: list[KeyProblem]
