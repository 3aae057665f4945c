"""The parameters of one ipsec-3gpp SA set by the names of TS 33.203 section 7.1."""

from msgspec import Struct

from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Role


class SaSetParameters(Struct, frozen=True, kw_only=True, gc=False):
    """Two pairs of SAs between a user agent (u) and a P-CSCF (p).

    ``spi_uc`` is the SPI of packets to ``port_uc``, and so on. Algorithms are RFC 3329 names.
    ``ue_address`` is what the user agent calls itself, behind a NAT its private one; there, and
    nowhere else, is ``encapsulation``: tunnel mode in UDP (T33-M-a).
    """

    role: Role
    ue_address: str
    pcscf_address: str
    spi_uc: int
    spi_us: int
    spi_pc: int
    spi_ps: int
    port_uc: int
    port_us: int
    port_pc: int
    port_ps: int
    integrity_algorithm: str
    encryption_algorithm: str
    encapsulation: UdpEncapsulation | None = None

    @property
    def local_address(self) -> str:
        """This node's address."""
        return self.pcscf_address if self.role is Role.EDGE else self.ue_address

    @property
    def peer_address(self) -> str:
        """The other side's address."""
        return self.ue_address if self.role is Role.EDGE else self.pcscf_address

    @property
    def sa_peer_address(self) -> str:
        """Where SAs to the other side end: at its NAT if there is one (T33-M-c)."""
        return self.encapsulation.peer_address if self.encapsulation else self.peer_address

    @property
    def local_spis(self) -> tuple[int, int]:
        """SPIs of inbound packets: (client port's, server port's)."""
        edge = self.role is Role.EDGE
        return (self.spi_pc, self.spi_ps) if edge else (self.spi_uc, self.spi_us)

    @property
    def peer_spis(self) -> tuple[int, int]:
        """SPIs of outbound packets: (to the peer's client port, to its server port)."""
        edge = self.role is Role.EDGE
        return (self.spi_uc, self.spi_us) if edge else (self.spi_pc, self.spi_ps)

    @property
    def local_ports(self) -> tuple[int, int]:
        """Own ports: (client, server)."""
        edge = self.role is Role.EDGE
        return (self.port_pc, self.port_ps) if edge else (self.port_uc, self.port_us)

    @property
    def peer_ports(self) -> tuple[int, int]:
        """The peer's ports: (client, server)."""
        edge = self.role is Role.EDGE
        return (self.port_uc, self.port_us) if edge else (self.port_pc, self.port_ps)
