"""One agreement in force or in the making, and the registration that owns it."""

import enum
from dataclasses import dataclass

from sad.model.agreement import OfferRecord
from sad.model.endpoint import Role
from sad.model.sa_set import SaSetParameters


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
    KERNEL_LOST = "kernelLost"
    KERNEL_REFUSED = "kernelRefused"
    ENDPOINT_GONE = "endpointGone"
    SHUTDOWN = "shutdown"


class Phase(enum.StrEnum):
    """What the journal knows of the kernel: an intent is only a promise until its result."""

    INSTALLING = "installing"
    INSTALLED = "installed"
    REMOVING = "removing"


@dataclass(frozen=True, slots=True)
class RegistrationKey:
    """Identity of a registration: port_ps, port_us and both addresses stay while it lives."""

    endpoint: str
    role: Role
    local_address: str
    local_server_port: int
    peer_address: str
    peer_server_port: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Association:
    """An association as journalled and published. Holds no keys.

    ``*_at`` are seconds: ``deadline_at`` of CLOCK_BOOTTIME (the ledger), ``created_at`` and
    ``confirmed_at`` of the real-time clock (for people; 0: never). ``policies_until`` is a
    BOOTTIME instant to which the kernel keeps its policies, the shared ones too, on its own.
    ``reqid_out`` are the outbound SAs' (to the peer's client port, to its server port). ``offer``
    is there from Offer to the first Confirm. ``note`` is the SIP server's own text.
    """

    id: str
    endpoint: str
    private_identity: str
    public_identities: tuple[str, ...]
    mechanism: str
    state: AssociationState
    phase: Phase
    sa_set: SaSetParameters
    reqid_in: int
    reqid_out: tuple[int, int]
    created_at: float
    confirmed_at: float
    deadline_at: float
    policies_until: float
    end_reason: EndReason | None = None
    offer: OfferRecord | None = None
    note: str | None = None

    @property
    def registered(self) -> bool:
        """Whether its registration was ever granted: a set that was never confirmed is none."""
        return self.confirmed_at > 0

    @property
    def registration(self) -> RegistrationKey:
        """The registration that owns this association."""
        return RegistrationKey(
            endpoint=self.endpoint,
            role=self.sa_set.role,
            local_address=self.sa_set.local_address,
            local_server_port=self.sa_set.local_ports[1],
            peer_address=self.sa_set.peer_address,
            peer_server_port=self.sa_set.peer_ports[1],
        )
