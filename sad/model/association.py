"""One agreement in force or in the making, and the registration that owns it."""

import enum
from typing import Final

from msgspec import Struct

from sad.model.agreement import OfferRecord
from sad.model.endpoint import Role
from sad.model.ike_child import IkeChild
from sad.model.path import Path
from sad.model.sa_pair import SaPairParameters
from sad.model.sa_set import SaSetParameters
from sad.model.tls_connection import TlsConnection


class AssociationState(enum.StrEnum):
    """Protocol state (design: section 6). Kernel presence is :class:`Phase`, kept apart."""

    TEMPORARY = "temporary"
    ESTABLISHED = "established"
    IN_USE = "inUse"
    RETIRING = "retiring"
    ENDED = "ended"


class EndReason(enum.StrEnum):
    """Why an association ended."""

    EXPIRED = "expired"
    RELEASED = "released"
    REPLACED = "replaced"
    KEY_EXPIRED = "keyExpired"
    CONNECTION_CLOSED = "connectionClosed"
    IKE_DOWN = "ikeDown"
    CREDENTIAL_REVOKED = "credentialRevoked"
    KERNEL_LOST = "kernelLost"
    KERNEL_REFUSED = "kernelRefused"
    ENDPOINT_GONE = "endpointGone"
    SHUTDOWN = "shutdown"
    YIELDED = "yielded"
    """Its endpoint is another node's now, and so is the association."""


class Phase(enum.StrEnum):
    """What the journal knows of the kernel: an intent is only a promise until its result."""

    INSTALLING = "installing"
    INSTALLED = "installed"
    REMOVING = "removing"


#: Mechanisms whose SAs are this daemon's own.
XFRM_MECHANISMS: Final = frozenset({"ipsec-3gpp", "ipsec-man"})


class RegistrationKey(Struct, frozen=True, gc=False):
    """Identity of a registration: port_ps, port_us and both addresses stay while it lives."""

    mechanism: str
    endpoint: str
    role: Role
    local_address: str
    local_server_port: int
    peer_address: str
    peer_server_port: int


class Association(Struct, frozen=True, kw_only=True, gc=False):
    """An association as journalled and published. Holds no keys.

    Of ``ipsec_3gpp``, ``ipsec_man``, ``tls`` and ``ipsec_ike`` exactly one is set, that of its
    mechanism. Reqids are 0 where no SA of ours has one.

    ``*_at`` are seconds: ``deadline_at`` of CLOCK_BOOTTIME (the ledger), ``created_at`` and
    ``confirmed_at`` of the real-time clock (for people; 0: never). ``policies_until`` is a
    BOOTTIME instant to which the kernel keeps its policies, the shared ones too, on its own.
    ``reqid_out`` are the outbound SAs', in the order of the peer's SPIs. ``offer``
    is there from Offer to the first Confirm. ``note`` is the SIP server's own text.
    ``granted_until`` is when a registration ends that began on manual keys (BOOTTIME); None: no
    registration bounds it.
    """

    id: str
    endpoint: str
    private_identity: str
    public_identities: tuple[str, ...]
    mechanism: str
    state: AssociationState
    phase: Phase
    reqid_in: int
    reqid_out: tuple[int, ...]
    created_at: float
    confirmed_at: float
    deadline_at: float
    policies_until: float
    ipsec_3gpp: SaSetParameters | None = None
    ipsec_man: SaPairParameters | None = None
    tls: TlsConnection | None = None
    ipsec_ike: IkeChild | None = None
    end_reason: EndReason | None = None
    offer: OfferRecord | None = None
    note: str | None = None
    granted_until: float | None = None

    @property
    def registered(self) -> bool:
        """Whether its registration was ever granted: a set that was never confirmed is none."""
        return self.confirmed_at > 0

    @property
    def path(self) -> Path:
        """Where it runs, whatever its mechanism."""
        path = self.ipsec_3gpp or self.ipsec_man or self.tls or self.ipsec_ike
        assert path is not None
        return path

    @property
    def sa_peer_address(self) -> str:
        """Where its packets come from and go to: the other side's NAT if there is one."""
        s = self.ipsec_3gpp
        if s is None:
            return self.path.peer_address
        return s.peer_address if s.encapsulation is None else s.encapsulation.peer_address

    @property
    def xfrm(self) -> SaSetParameters | SaPairParameters:
        """Its SAs, for mechanisms whose SAs are this daemon's own."""
        sas = self.ipsec_3gpp or self.ipsec_man
        assert sas is not None
        return sas

    @property
    def sa_set(self) -> SaSetParameters:
        """Its SA set, for ``ipsec-3gpp``."""
        assert self.ipsec_3gpp is not None
        return self.ipsec_3gpp

    @property
    def registration(self) -> RegistrationKey:
        """The registration that owns this association."""
        s = self.ipsec_3gpp
        if s is not None and s.role is Role.EDGE:  # as below, and asked for again and again
            return RegistrationKey(
                self.mechanism,
                self.endpoint,
                s.role,
                s.pcscf_address,
                s.port_ps,
                s.ue_address,
                s.port_us,
            )
        path = self.path
        return RegistrationKey(
            mechanism=self.mechanism,
            endpoint=self.endpoint,
            role=path.role,
            local_address=path.local_address,
            local_server_port=path.local_ports[-1],
            peer_address=path.peer_address,
            peer_server_port=path.peer_ports[-1],
        )
