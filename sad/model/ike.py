"""What is set about IKE: the daemon that is driven, and who may use it on an endpoint."""

from dataclasses import dataclass
from typing import Final

PSK: Final = "psk"
CERTIFICATE: Final = "certificate"


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeService:
    """Where strongSwan is, and how long it may take; in seconds.

    ``start``: from Offer until a child is up. ``terminate``: until a peer has answered a delete.
    ``check``: between two looks whether it still answers. ``restart``: how long associations wait
    for a strongSwan that has ended.
    """

    socket_path: str
    connect: float
    command: float
    start: float
    terminate: float
    check: float
    restart: float


@dataclass(frozen=True, slots=True, kw_only=True)
class IkePeer:
    """A peer that may use ``ipsec-ike``; whoever it is in SIP.

    ``users`` are the private identities that it speaks for. ``auth`` is ``psk``, ``certificate``
    or an EAP method by strongSwan's name; ``secret`` names the file or credential with its secret.
    ``ports`` are those of its SIP (empty: that of the flow on which it asked).
    """

    name: str
    identity: str
    users: frozenset[str]
    auth: str
    secret: str | None
    ports: tuple[int, ...]

    @property
    def by_certificate(self) -> bool:
        """Whether this node shows the peer a certificate."""
        return self.auth != PSK


@dataclass(frozen=True, slots=True, kw_only=True)
class IkeProfile:
    """IKE on one endpoint.

    ``life`` is the longest that one pair of SAs stands without a rekeying.
    ``unregistered`` is how long an agreement stands without a registration. ``certificate``,
    ``private_key`` and ``authorities`` name files or credentials.
    """

    identity: str
    initiates: bool
    certificate: str | None
    private_key: str | None
    authorities: tuple[str, ...]
    ike_proposals: tuple[str, ...]
    esp_proposals: tuple[str, ...]
    life: int
    unregistered: int
    dead_peer: int
    peers: tuple[IkePeer, ...]

    def peer_of(self, user: str) -> IkePeer | None:
        """Return the peer that speaks for a private identity."""
        return next((p for p in self.peers if user in p.users), None)

    def peer_named(self, name: str) -> IkePeer | None:
        """Return the peer of this name."""
        return next((p for p in self.peers if p.name == name), None)
