"""Inputs and outputs of every method, field by field as in the ``.varlink`` files.

A named type of an interface has the same name here; a method ``M`` has ``MIn`` and ``MOut``.
Types are strict, text has limits and no control characters, integers are the 64 bits of Varlink:
every other rule about a value is a decision and stands elsewhere. Those that only operators see
stand in :mod:`sad.api.control_messages` and :mod:`sad.api.key_messages`. Counterpart:
:mod:`sad.api.conversion`, which maps these to the daemon's own values.
"""

from sad.api.cluster_messages import (
    ClusterAssociation,
    ClusterEndpoint,
    ClusterNode,
    ClusterStatus,
    ListClusterIn,
    ListClusterOut,
    TakeoverIn,
    TakeoverOut,
)
from sad.api.control_messages import (
    CheckIn,
    CheckOut,
    CheckResult,
    EndpointStatus,
    ExplainIn,
    ExplainOut,
    Finding,
    GetStatusIn,
    GetStatusOut,
    HistoryStep,
    KernelCounter,
    Notice,
    PacketFate,
    PolicyState,
    PoolUse,
    ReconcileIn,
    ReconcileOut,
    ReconcileReport,
    StateCount,
)
from sad.api.credential_messages import (
    Certificate,
    Credential,
    CredentialFinding,
    GetCredentialIn,
    GetCredentialOut,
    ListCredentialsIn,
    ListCredentialsOut,
    RevokeCredentialIn,
    RevokeCredentialOut,
)
from sad.api.key_messages import (
    AddKeyIn,
    AddKeyOut,
    Key,
    KeyMaterial,
    KeyProblem,
    ListKeysIn,
    ListKeysOut,
    RemoveKeyIn,
    RemoveKeyOut,
    RotateKeyIn,
    RotateKeyOut,
)
from sad.api.shapes import (
    Association,
    Ipsec3gpp,
    Ipsec3gppRequest,
    IpsecIke,
    IpsecMan,
    Refusal,
    Registration,
    SaCounters,
    Tls,
    TlsSession,
    Transaction,
    UdpEncapsulation,
)
from sad.api.wire import (
    Address,
    Flow,
    HeaderRows,
    HexKey,
    Identities,
    Identity,
    Int,
    Message,
    Note,
    Word,
)
from sad.model.association import AssociationState as State
from sad.model.association import EndReason
from sad.model.endpoint import Profile, Role
from sad.model.views import WatchKind

__all__ = [
    "AddKeyIn",
    "AddKeyOut",
    "Association",
    "Certificate",
    "CheckIn",
    "CheckOut",
    "CheckResult",
    "ClusterAssociation",
    "ClusterEndpoint",
    "ClusterNode",
    "ClusterStatus",
    "Credential",
    "CredentialFinding",
    "EndReason",
    "EndpointStatus",
    "ExplainIn",
    "ExplainOut",
    "Finding",
    "Flow",
    "GetCredentialIn",
    "GetCredentialOut",
    "GetStatusIn",
    "GetStatusOut",
    "HistoryStep",
    "Ipsec3gpp",
    "Ipsec3gppRequest",
    "IpsecIke",
    "IpsecMan",
    "KernelCounter",
    "Key",
    "KeyMaterial",
    "KeyProblem",
    "ListClusterIn",
    "ListClusterOut",
    "ListCredentialsIn",
    "ListCredentialsOut",
    "ListKeysIn",
    "ListKeysOut",
    "Notice",
    "PacketFate",
    "PolicyState",
    "PoolUse",
    "ReconcileIn",
    "ReconcileOut",
    "ReconcileReport",
    "Refusal",
    "Registration",
    "RemoveKeyIn",
    "RemoveKeyOut",
    "RevokeCredentialIn",
    "RevokeCredentialOut",
    "Role",
    "RotateKeyIn",
    "RotateKeyOut",
    "SaCounters",
    "State",
    "StateCount",
    "TakeoverIn",
    "TakeoverOut",
    "Tls",
    "TlsSession",
    "Transaction",
    "UdpEncapsulation",
]

# --- org.varlink.service -------------------------------------------------------------------------


class GetInfoIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class GetInfoOut(Message, frozen=True, kw_only=True):
    """Who serves."""

    vendor: str
    product: str
    version: str
    url: str
    interfaces: tuple[str, ...]


class GetInterfaceDescriptionIn(Message, frozen=True, kw_only=True):
    """Which interface."""

    interface: Word


class GetInterfaceDescriptionOut(Message, frozen=True, kw_only=True):
    """Its text."""

    description: str


# --- org.sipsad.Associations: methods ------------------------------------------------------------


class GetAgreementIn(Message, frozen=True, kw_only=True):
    """An endpoint."""

    endpoint: Word


class GetAgreementOut(Message, frozen=True, kw_only=True):
    """What its user agents are told."""

    profile: Profile
    required: bool
    security_server: str


class ScreenIn(Message, frozen=True, kw_only=True):
    """An unprotected REGISTER."""

    endpoint: Word
    registration: Registration
    flow: Flow
    security_client: HeaderRows
    via_address: Address | None = None


class ScreenOut(Message, frozen=True, kw_only=True):
    """What would be taken of its list."""

    mechanism: str
    refusals: tuple[Refusal, ...]


class OfferIn(Message, frozen=True, kw_only=True):
    """A challenged REGISTER. Holds keys, so it does not print."""

    endpoint: Word
    registration: Registration
    flow: Flow
    transaction: Transaction
    association: Word | None = None
    security_client: HeaderRows
    integrity_key: HexKey | None = None
    cipher_key: HexKey | None = None
    via_address: Address | None = None

    def __repr__(self) -> str:
        return f"OfferIn({self.endpoint!r}, {self.flow!r}, keys hidden)"


class OfferOut(Message, frozen=True, kw_only=True):
    """The temporary set, and the value for the 401."""

    association: Association
    security_server: str
    refusals: tuple[Refusal, ...]


class VerifyIn(Message, frozen=True, kw_only=True):
    """A REGISTER on a protected flow."""

    flow: Flow
    security_verify: HeaderRows
    security_client: HeaderRows


class VerifyOut(Message, frozen=True, kw_only=True):
    """The set that it came on."""

    association: Association
    refusals: tuple[Refusal, ...]


class AttachIn(Message, frozen=True, kw_only=True):
    """A request over a TLS connection."""

    endpoint: Word
    registration: Registration
    flow: Flow
    association: Word | None = None
    security_verify: HeaderRows | None = None
    security_client: HeaderRows | None = None
    tls: TlsSession | None = None
    lifetime_seconds: Int | None = None


class AttachOut(Message, frozen=True, kw_only=True):
    """The association of the connection."""

    association: Association
    closes_connection: bool


class TakeIntoUseIn(Message, frozen=True, kw_only=True):
    """The set that saw its first request."""

    id: Word


class TakeIntoUseOut(Message, frozen=True, kw_only=True):
    """The set, now in use."""

    association: Association


class InstallIn(Message, frozen=True, kw_only=True):
    """A negotiated agreement to put into force."""

    endpoint: Word
    role: Role | None = None
    registration: Registration
    mechanism: Word
    ipsec3gpp: Ipsec3gppRequest | None = None
    lifetime_seconds: Int | None = None


class InstallOut(Message, frozen=True, kw_only=True):
    """What was installed."""

    association: Association


class ConfirmIn(Message, frozen=True, kw_only=True):
    """The registration was accepted."""

    id: Word
    expires_seconds: Int
    private_identity: Identity | None = None
    public_identities: Identities | None = None
    note: Note | None = None


class ConfirmOut(Message, frozen=True, kw_only=True):
    """The association with its new lifetime."""

    association: Association


class ReleaseIn(Message, frozen=True, kw_only=True):
    """What shall end; exactly one of the first three."""

    id: Word | None = None
    private_identity: Identity | None = None
    peer_address: Address | None = None
    linger_seconds: Int | None = None
    whole_registration: bool | None = None


class ReleaseOut(Message, frozen=True, kw_only=True):
    """What was released."""

    associations: tuple[Association, ...]


class FindIn(Message, frozen=True, kw_only=True):
    """A flow."""

    flow: Flow


class FindOut(Message, frozen=True, kw_only=True):
    """The association that protects it, and the one that carries what is sent."""

    association: Association
    outbound: Association


class GetIn(Message, frozen=True, kw_only=True):
    """An association's id, and whether policies and history are wanted."""

    id: Word
    whole: bool | None = None


class GetOut(Message, frozen=True, kw_only=True):
    """It, with its counters."""

    association: Association
    counters: tuple[SaCounters, ...]
    policies: tuple[PolicyState, ...] | None = None
    history: tuple[HistoryStep, ...] | None = None


class ListIn(Message, frozen=True, kw_only=True):
    """Filters; every given one must match."""

    endpoint: Word | None = None
    private_identity: Identity | None = None
    peer_address: Address | None = None
    mechanism: Word | None = None
    state: State | None = None
    expires_within_seconds: Int | None = None


class ListOut(Message, frozen=True, kw_only=True):
    """One association, or None if there is none at all."""

    association: Association | None


class MonitorIn(Message, frozen=True, kw_only=True):
    """Nothing."""


class MonitorOut(Message, frozen=True, kw_only=True):
    """One line of the stream."""

    event: WatchKind
    association: Association | None
