"""A local signalling address with its protected ports: what a caller may install on."""

import enum
from dataclasses import dataclass

from sad.model.ike import IkeProfile


class Role(enum.StrEnum):
    """Which side of TS 33.203 this node plays on an association."""

    EDGE = "edge"
    UE = "ue"


class Profile(enum.StrEnum):
    """How Security-Server reaches user agents (GAP-1)."""

    IMS = "ims"
    """In the 401 of AKA (TS 24.229), each set with its own SPIs and ports."""
    RFC3329 = "rfc3329"
    """In the 494 or 421 (RFC 3329 2.3), one static list."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """One configured endpoint (design: section 2).

    ``server_port`` is port_ps (role ue: port_us) and ``client_ports`` the block from which each
    new set takes its port_pc (role ue: port_uc). ``algorithms`` are (alg, ealg) pairs by RFC 3329
    name in order of preference. ``spi_range`` is inclusive.

    ``identity_at_one_address``: a private identity is one user agent, so one that registers from
    a new address has left the old one (T33-7.5-a).

    ``security_required``: who does not agree is not served (R3329-3-a). ``security_server`` is
    the static list of profile ``rfc3329`` as the header's value, empty for profile ``ims``;
    ``mechanisms`` are the names of the settings.
    ``ims_mechanisms`` are what profile ``ims`` takes of a list, the most preferred first.
    ``tls_port`` is where TLS is spoken; None: tls is no mechanism of the endpoint.

    ``nat_port`` is the UDP port of encapsulated ESP, 0 without NAT traversal (T33-M-b);
    ``nat_networks`` (as ``address/length``) are those in which addresses behind a NAT may lie.
    ``nat_shared``: somebody else's socket takes the ESP out of its UDP.
    """

    name: str
    addresses: tuple[str, ...]
    server_port: int
    client_ports: tuple[int, ...]
    uids: frozenset[int]
    roles: frozenset[Role]
    algorithms: tuple[tuple[str, str], ...]
    spi_range: tuple[int, int]
    accept_reserved_spi: bool = False
    accept_sip_port: bool = False
    identity_at_one_address: bool = True
    profile: Profile = Profile.IMS
    security_required: bool = True
    security_server: str = ""
    mechanisms: frozenset[str] = frozenset()
    ike: IkeProfile | None = None
    ims_mechanisms: tuple[str, ...] = ("ipsec-3gpp",)
    tls_port: int | None = None
    nat_port: int = 0
    nat_networks: tuple[str, ...] = ()
    nat_shared: bool = False

    def ports_of(self, mechanism: str) -> frozenset[int]:
        """Own ports of associations of a mechanism."""
        if mechanism == "tls":
            return frozenset() if self.tls_port is None else frozenset({self.tls_port})
        return self.ports

    @property
    def uses_ipsec(self) -> bool:
        """Whether a mechanism of the endpoint needs ESP of the kernel."""
        if self.profile is Profile.IMS:
            return "ipsec-3gpp" in self.ims_mechanisms
        return "ipsec-" in self.security_server.lower()

    @property
    def ports(self) -> frozenset[int]:
        """Every protected port of the endpoint."""
        return frozenset((self.server_port, *self.client_ports))
