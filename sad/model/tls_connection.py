"""The TCP connection that an association of mechanism ``tls`` is bound to."""

from msgspec import Struct

from sad.model.endpoint import Role


class TlsConnection(Struct, frozen=True, kw_only=True, gc=False):
    """A connection by 4-tuple and socket cookie (RFC 3329 2.5: it is the association's life).

    ``cookie`` is None until the first request over it was seen; until then the peer's port is not
    known either and 0. ``identity`` is what mutual TLS proved of the peer, ``credential`` the
    credential set that this node showed, ``version`` and ``cipher`` what the handshake agreed on;
    all by the SIP server's word, who terminates TLS.
    """

    role: Role
    local_address: str
    local_port: int
    peer_address: str
    peer_port: int
    cookie: int | None = None
    identity: str | None = None
    credential: str | None = None
    version: str | None = None
    cipher: str | None = None

    @property
    def local_ports(self) -> tuple[int, ...]:
        """Own port."""
        return (self.local_port,)

    @property
    def peer_ports(self) -> tuple[int, ...]:
        """The other side's port."""
        return (self.peer_port,)

    @property
    def local_spis(self) -> tuple[int, ...]:
        """No SA belongs to it."""
        return ()

    @property
    def peer_spis(self) -> tuple[int, ...]:
        """No SA belongs to it."""
        return ()
