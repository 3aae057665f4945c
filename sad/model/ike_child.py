"""The CHILD_SA that an association of mechanism ``ipsec-ike`` lives in."""

from msgspec import Struct

from sad.model.endpoint import Role


class IkeChild(Struct, frozen=True, kw_only=True, gc=False):
    """A CHILD_SA of an IKE daemon, by the names that it goes under there.

    Its selectors are exactly these addresses and ports. Its SAs are the IKE daemon's: they are
    rekeyed under the same name and never belong to this daemon.
    """

    role: Role
    local_address: str
    peer_address: str
    local_ports: tuple[int, ...]
    peer_ports: tuple[int, ...]
    connection: str
    child: str

    @property
    def local_spis(self) -> tuple[int, ...]:
        """None of ours."""
        return ()

    @property
    def peer_spis(self) -> tuple[int, ...]:
        """None of ours."""
        return ()
