"""ESP in UDP through a NAT: the parameters of ``mod=UDP-enc-tun`` (TS 33.203 Annex M)."""

from typing import Final

from msgspec import Struct

#: The port of UDP-encapsulated ESP (RFC 3948 2.1, T33-M-b); a NAT may show another.
ENCAPSULATION_PORT: Final = 4500


class UdpEncapsulation(Struct, frozen=True, kw_only=True, gc=False):
    """Where the tunnel runs: the outer header. Inside are the addresses of the SA set.

    ``peer_address`` is that of the NAT, as the REGISTER showed it, and ``peer_port`` the port of
    the NAT, 0 until the first packet has told it (T33-M-b). Of role ``ue`` they are the P-CSCF's.
    """

    peer_address: str
    peer_port: int
    local_port: int = ENCAPSULATION_PORT

    @property
    def send_port(self) -> int:
        """Where to send: until the NAT's port is known, where most NATs keep it."""
        return self.peer_port or ENCAPSULATION_PORT
