"""What a caller asks for, typed, canonical and not yet decided.

Structs, as what each call makes of them costs a third of a dataclass. A Secret does not print.
"""

from dataclasses import dataclass, field
from typing import Protocol

from msgspec import Struct

from netlink.model import SaKeys
from netlink.secret import Secret
from sad.model.agreement import Transaction
from sad.model.association import AssociationState
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Role


class Caller(Struct, frozen=True, kw_only=True, gc=False):
    """Who asks, by the kernel's word (SO_PEERCRED, SO_PEERGROUPS)."""

    uid: int
    gid: int
    pid: int
    groups: frozenset[int] = frozenset()


class Keys(Protocol):
    """What comes with an install; the keys are wiped when it is done."""

    @property
    def integrity_key(self) -> Secret | None:
        """IK, or the integrity key itself; None: the mechanism takes none from the caller."""

    @property
    def cipher_key(self) -> Secret | None:
        """CK, or the encryption key itself."""


@dataclass(frozen=True, slots=True)
class NoKeys:
    """The install of a mechanism that takes no keys."""

    integrity_key: None = None
    cipher_key: None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PairKeys:
    """The install of a manually keyed pair: keys of each direction, and the leaps before it."""

    inbound: SaKeys = field(repr=False)
    outbound: SaKeys = field(repr=False)
    leaps: int
    integrity_key: None = None
    cipher_key: None = None

    def wipe(self) -> None:
        """Overwrite the keys with zeros."""
        for keys in (self.inbound, self.outbound):
            keys.integrity.wipe()
            keys.encryption.wipe()


class Flow(Struct, frozen=True, kw_only=True, gc=False):
    """Where a SIP message came from and where it arrived."""

    peer_address: str
    peer_port: int
    local_address: str
    local_port: int


class ScreenRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Screen``: rows of Security-Client as they came, without the name."""

    endpoint: str
    private_identity: str
    public_identities: tuple[str, ...]
    flow: Flow
    security_client: tuple[str, ...]
    via_address: str | None = None


class OfferRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Offer``: keys are IK and CK; ``association_id`` is the set that the REGISTER came on.

    ``integrity_key`` is None where the mechanism takes no keys from the caller. ``via_address``
    is the host of the REGISTER's Via, None if it is no address: another than the packet's source
    tells of a NAT (T33-M-a).
    """

    endpoint: str
    private_identity: str
    public_identities: tuple[str, ...]
    flow: Flow
    transaction: Transaction
    association_id: str | None
    security_client: tuple[str, ...]
    integrity_key: Secret | None
    cipher_key: Secret | None
    via_address: str | None = None


class VerifyRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Verify``: rows of both headers as they came, without the names."""

    flow: Flow
    security_verify: tuple[str, ...]
    security_client: tuple[str, ...]


class AttachRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Attach``: the first SIP request over a TLS connection, or a later one.

    Rows are those of both headers as they came, without the names. ``identity`` is what mutual
    TLS proved. ``lifetime_seconds`` is how long it may live without a registration, None:
    reg-await-auth.
    """

    endpoint: str
    private_identity: str
    public_identities: tuple[str, ...]
    flow: Flow
    association_id: str | None = None
    security_verify: tuple[str, ...] = ()
    security_client: tuple[str, ...] = ()
    identity: str | None = None
    credential: str | None = None
    version: str | None = None
    cipher: str | None = None
    lifetime_seconds: int | None = None


class InstallRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Install``: own SPIs and ports may be None, the daemon then chooses them.

    Addresses are canonical text. Keys are IK and CK; ``cipher_key`` None if none was given.
    With ``encapsulation`` there is a NAT between, and ``ue_address`` is the one behind it.
    """

    endpoint: str
    role: Role
    private_identity: str
    public_identities: tuple[str, ...]
    mechanism: str
    ue_address: str
    pcscf_address: str
    spi_uc: int | None
    spi_us: int | None
    spi_pc: int | None
    spi_ps: int | None
    port_uc: int | None
    port_us: int | None
    port_pc: int | None
    port_ps: int | None
    integrity_algorithm: str
    encryption_algorithm: str
    integrity_key: Secret
    cipher_key: Secret | None
    lifetime_seconds: int | None = None
    encapsulation: UdpEncapsulation | None = None

    @property
    def sender_address(self) -> str:
        """Where the user agent's packets come from: its NAT if there is one."""
        return self.encapsulation.peer_address if self.encapsulation else self.ue_address


class ConfirmRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Confirm``: None leaves what is known of identities and note."""

    association_id: str
    expires_seconds: int
    private_identity: str | None = None
    public_identities: tuple[str, ...] | None = None
    note: str | None = None


class ReleaseRequest(Struct, frozen=True, kw_only=True, gc=False):
    """``Release``: exactly one of the first three is given.

    ``whole_registration`` goes with ``association_id``: all sets of its registration.
    """

    association_id: str | None = None
    private_identity: str | None = None
    peer_address: str | None = None
    linger_seconds: int = 0
    whole_registration: bool = False


class ListFilter(Struct, frozen=True, kw_only=True, gc=False):
    """``List``: every given field must match; ``deadline_until`` in seconds of CLOCK_BOOTTIME."""

    endpoint: str | None = None
    private_identity: str | None = None
    peer_address: str | None = None
    mechanism: str | None = None
    state: AssociationState | None = None
    deadline_until: float | None = None
