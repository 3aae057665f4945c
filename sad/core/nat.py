"""Is there a NAT between a user agent and this node, and what may be behind it? (Annex M)."""

import functools
import ipaddress

from msgspec import Struct

from sad.model.association import Association
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Endpoint
from sad.model.errors import BadParameter
from sad.model.requests import Flow


class UserAgentEnd(Struct, frozen=True, kw_only=True, gc=False):
    """The user agent's end of a set: its own address, and how it is reached through a NAT."""

    address: str
    encapsulation: UdpEncapsulation | None = None

    @property
    def nat(self) -> bool:
        """Whether a NAT is between."""
        return self.encapsulation is not None


def user_agent_end(
    flow: Flow, via_address: str | None, on: Association | None, endpoint: Endpoint
) -> UserAgentEnd:
    """Return where a set for the sender of a REGISTER ends.

    T33-M-a: unprotected, a NAT is between if the packet came from another address than the Via
    names; on a set, if one was between for that. An endpoint without NAT traversal does not look.
    """
    if on is not None:
        return end_of(on)
    if not endpoint.nat_port or via_address in (None, flow.peer_address):
        return UserAgentEnd(address=flow.peer_address)
    assert via_address is not None
    return UserAgentEnd(
        address=via_address,
        encapsulation=UdpEncapsulation(
            peer_address=flow.peer_address, peer_port=0, local_port=endpoint.nat_port
        ),
    )


def end_of(association: Association) -> UserAgentEnd:
    """Return the user agent's end of an association."""
    udp = association.ipsec_3gpp.encapsulation if association.ipsec_3gpp else None
    return UserAgentEnd(address=association.path.peer_address, encapsulation=udp)


def check_behind_nat(address: str, parameter: str, endpoint: Endpoint) -> None:
    """Raise BadParameter unless an address may be one behind a NAT.

    What is inside the tunnel is the sender's word alone, and policies are made for it: it must
    not be an address that this node reaches in another way.
    """
    if not any(ipaddress.ip_address(address) in _network(n) for n in endpoint.nat_networks):
        raise BadParameter(
            parameter=parameter,
            reason=f"outside nat_networks of endpoint {endpoint.name}",
            rule="T33-M-c",
            hint="refuse it; if user agents have such addresses behind their NATs, and this node "
            "talks to none of them otherwise, add the network",
        )


@functools.lru_cache(maxsize=256)
def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    return ipaddress.ip_network(text)
