"""Who has which ports and SPIs: whether a new set may stand beside those that live."""

from collections.abc import Collection

from sad.core.table import AssociationTable
from sad.model.association import Association
from sad.model.errors import FlowInUse


def check_against_table(
    new: Association,
    table: AssociationTable,
    *,
    leaving: Collection[str] = (),
    came_back: bool = False,
) -> None:
    """Raise FlowInUse if ports or SPIs of a decided association belong to a live one.

    TS 33.203 7.1 (T33-7.1-p3): the pair (address, protected client port) must be new; neither
    port of a UE may belong to another registration. The two SPIs of each side are unique there.
    ``leaving`` will be gone when it is installed. ``came_back``: a phone that has lost its state
    may take the client port that its old set has, in the same registration only.
    """
    sa_set = new.sa_set
    client, server = sa_set.peer_ports

    def own(other: Association) -> bool:
        same = other.registration == new.registration
        return same and other.private_identity == new.private_identity

    for other in table.of_peer_port(sa_set.peer_address, client):
        # T33-M-c: behind a NAT the address is the private one. Of another NAT it may be another's
        # phone, which must not lose its pair of ports to whoever names its identity.
        same_nat = other.sa_peer_address == new.sa_peer_address
        same_ports = other.path.peer_ports == sa_set.peer_ports
        twin = came_back and own(other) and same_nat and same_ports
        if other.id not in leaving and not twin:
            raise _in_use(f"{sa_set.peer_address} port {client} is in use", other)
    for other in table.of_peer_port(sa_set.peer_address, server):
        if other.id not in leaving and not own(other):
            raise _in_use(
                f"{sa_set.peer_address} port {server} belongs to another registration", other
            )
    for address, spis in (
        (sa_set.local_address, sa_set.local_spis),
        (sa_set.sa_peer_address, sa_set.peer_spis),
    ):
        for spi in spis:
            holder = table.of_spi(address, spi)
            if holder is not None and holder.id not in leaving:
                raise _in_use(f"SPI {spi} at {address} is in use", holder)


def _in_use(reason: str, other: Association) -> FlowInUse:
    return FlowInUse(
        reason=reason,
        id=other.id,
        hint="release that association first, or have the peer choose new SPIs and ports",
    )
