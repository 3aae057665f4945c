"""What must lie in the kernel for registrations and endpoints: the desired state as data."""

import dataclasses
import math
from collections.abc import Iterable, Iterator, Sequence

from msgspec import Struct

from netlink.model import (
    Direction,
    Encapsulation,
    Mode,
    Policy,
    PolicyAction,
    PolicyId,
    SaId,
    SecurityAssociation,
    Selector,
    Template,
    family_of,
)
from netlink.tcp import TcpConnection
from netlink.transforms import Combined, Encryption, Integrity
from netlink.uapi import AF_INET
from sad.core import nonces
from sad.model.algorithms import AlgorithmPair
from sad.model.association import Association, AssociationState
from sad.model.encapsulation import UdpEncapsulation
from sad.model.endpoint import Endpoint
from sad.model.manual_algorithms import MANUAL_ENCRYPTION, MANUAL_INTEGRITY
from sad.model.rules import Layout, Lifetimes
from sad.model.sa_pair import SaPairParameters
from sad.model.sa_set import SaSetParameters


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NamedSa:
    """One SA of an association; of a set by its row in the table of TS 33.203 7.1."""

    name: str
    inbound: bool
    sa: SecurityAssociation


class SaPlace(Struct, frozen=True, gc=False):
    """By what the kernel knows one SA of an association, and under which name we do."""

    name: str
    id: SaId
    source: str
    reqid: int
    encapsulation: Encapsulation | None


def places_of(association: Association) -> tuple[SaPlace, ...]:
    """Return where the SAs of :func:`sas_of` are, for whoever only looks at them or moves them."""
    s = association.xfrm
    local, outer = s.local_address, association.sa_peer_address
    udp = _udp(association)
    places = []
    for name, destination, spi in _rows(s):
        inbound = destination == local
        places.append(
            SaPlace(
                name,
                SaId(local if inbound else outer, spi),
                outer if inbound else local,
                association.reqid_in if inbound else association.reqid_out[s.peer_spis.index(spi)],
                None if udp is None else _encapsulation(association, inbound=inbound),
            )
        )
    return tuple(places)


def host_prefix(address: str) -> int:
    """Prefix length of one host; selectors are exact, or the kernel's policy lists go linear."""
    return 32 if family_of(address) == AF_INET else 128


def sas_of(
    association: Association, layout: Layout, lifetimes: Lifetimes, now: float
) -> tuple[NamedSa, ...]:
    """Return the SAs of an association as this node must hold them.

    Of a set SA1 to SA4 (norms section 11): names are those of the table whatever the role, the
    direction follows from it. Of a manually keyed pair the inbound and the outbound one.
    """
    s = association.xfrm
    local, peer, outer = s.local_address, s.peer_address, association.sa_peer_address
    hard = max(1, math.ceil(association.deadline_at - now + lifetimes.backstop))
    integrity, encryption, packets = _transforms(s)
    window, mode = _replay_window(s, layout), _mode(association)
    ways = {
        inbound: (
            _host_selector(*((peer, local) if inbound else (local, peer)), layout),
            _encapsulation(association, inbound=inbound),
        )
        for inbound in (True, False)
    }
    sas = []
    for name, destination, spi in _rows(s):
        inbound = destination == local
        selector, encapsulation = ways[inbound]
        to = 0 if inbound else s.peer_spis.index(spi)
        sas.append(
            NamedSa(
                name=name,
                inbound=inbound,
                sa=SecurityAssociation(
                    id=SaId(local if inbound else outer, spi),
                    source=outer if inbound else local,
                    reqid=association.reqid_in if inbound else association.reqid_out[to],
                    selector=selector,
                    integrity=integrity,
                    encryption=encryption,
                    replay_window=window,
                    hard_add_seconds=hard,
                    hard_packets=packets,
                    mode=mode,
                    encapsulation=encapsulation,
                ),
            )
        )
    return tuple(sas)


def _host_selector(source: str, destination: str, layout: Layout) -> Selector:
    prefix = host_prefix(source)
    return Selector(
        source=source,
        source_prefix=prefix,
        destination=destination,
        destination_prefix=prefix,
        owner=layout.owner,
    )


def _udp(association: Association) -> UdpEncapsulation | None:
    return association.ipsec_3gpp.encapsulation if association.ipsec_3gpp else None


def _mode(association: Association) -> Mode:
    """T33-M-a: tunnel mode through a NAT, else transport mode."""
    return Mode.TRANSPORT if _udp(association) is None else Mode.TUNNEL


def _encapsulation(association: Association, *, inbound: bool) -> Encapsulation | None:
    udp = _udp(association)
    if udp is None:
        return None
    if inbound:  # port 0 until it is learnt: the kernel tells of the first packet (T33-M-b)
        return Encapsulation(source_port=udp.peer_port, destination_port=udp.local_port)
    return Encapsulation(source_port=udp.local_port, destination_port=udp.send_port)


def _rows(s: SaSetParameters | SaPairParameters) -> tuple[tuple[str, str, int], ...]:
    """Return name, destination and SPI of each SA."""
    if isinstance(s, SaPairParameters):
        return (
            ("inbound SA", s.local_address, s.spi_in),
            ("outbound SA", s.peer_address, s.spi_out),
        )
    return (
        ("SA1", s.pcscf_address, s.spi_ps),
        ("SA2", s.ue_address, s.spi_uc),
        ("SA3", s.ue_address, s.spi_us),
        ("SA4", s.pcscf_address, s.spi_pc),
    )


def _transforms(
    s: SaSetParameters | SaPairParameters,
) -> tuple[Integrity | None, Encryption | Combined, int]:
    """Return the algorithms of each SA, and how many packets it may carry."""
    if isinstance(s, SaPairParameters):
        manual = MANUAL_INTEGRITY[s.integrity_algorithm], MANUAL_ENCRYPTION[s.encryption_algorithm]
        return *manual, 0
    pair = AlgorithmPair(s.integrity_algorithm, s.encryption_algorithm)
    return *pair.transforms, nonces.PACKETS if pair.combined else 0


def _replay_window(s: SaSetParameters | SaPairParameters, layout: Layout) -> int:
    # IPS-2: who keys by hand has no way to begin anew, so sequence numbers tell nothing.
    return 0 if isinstance(s, SaPairParameters) else layout.replay_window


def policies_of(
    sets: Sequence[Association], layout: Layout, lifetimes: Lifetimes
) -> dict[PolicyId, Policy]:
    """Return the policies of one registration with these sets (oldest first).

    For each set the four port pairs each way: the two of TS 33.203 7.1 and the two cross pairs
    that real phones and proxies use (INTEROP-1). A pair that several sets have is one policy:
    that of the two server ports always, those of a client port with which a phone came back.
    It follows :func:`outbound_set` of the sets that have it. Inbound that matters only where the
    NAT of a user agent has changed its address, for else they share a reqid; a set that nobody
    has confirmed takes no pair away from one that is.
    And for each port of the peer a block policy, so that nothing reaches it in clear from any
    other port of ours.
    """
    policies: dict[PolicyId, Policy] = {}
    for association in sorted(sets, key=_outbound_rank):
        for policy in policies_of_set(association, layout, lifetimes):
            policies.setdefault(policy.id, policy)
    return policies


def settle_policies(sets: Sequence[Association]) -> list[tuple[object, ...]]:
    """Return all that :func:`policies_of` looks at: what has the same has the same policies."""
    in_order = sets if len(sets) < 2 else sorted(sets, key=_outbound_rank)
    return [(a.ipsec_3gpp, a.ipsec_man, a.reqid_in, a.reqid_out) for a in in_order]


def policies_of_set(
    association: Association, layout: Layout, lifetimes: Lifetimes
) -> Iterator[Policy]:
    """Yield the policies of a set that is alone in its registration; none twice."""
    s = association.xfrm
    # A pair's policies have no limit: keys may last for years, and whose SAs are gone with a
    # dead daemon is blocked, not let pass in clear.
    hard = 0 if isinstance(s, SaPairParameters) else math.ceil(lifetimes.policies)
    local, peer = s.local_address, s.peer_address
    outer, mode = association.sa_peer_address, _mode(association)
    inward = Template(source=outer, destination=local, reqid=association.reqid_in, mode=mode)
    for peer_index, peer_port in enumerate(s.peer_ports):
        # A pair has one outbound SA for all ports of the peer.
        reqid_out = association.reqid_out[min(peer_index, len(association.reqid_out) - 1)]
        outward = Template(source=local, destination=outer, reqid=reqid_out, mode=mode)
        yield _block_toward(local, peer, peer_port, layout, hard)
        for own_port in s.local_ports:
            ours, theirs = (local, own_port), (peer, peer_port)
            yield _allow(Direction.IN, theirs, ours, inward, layout, hard)
            yield _allow(Direction.OUT, ours, theirs, outward, layout, hard)


_OUTBOUND_RANK = {
    AssociationState.IN_USE: 0,
    AssociationState.ESTABLISHED: 1,
    AssociationState.RETIRING: 2,
    AssociationState.TEMPORARY: 3,
    AssociationState.ENDED: 4,
}


def _outbound_rank(association: Association) -> int:
    return _OUTBOUND_RANK[association.state]


def outbound_set(sets: Sequence[Association]) -> Association | None:
    """Return the set that carries what this node sends between the two server ports.

    The set in use; else the oldest established one (T24-P-9: a new set is not used outbound
    before its first request); a temporary set only when there is no other.
    """
    return min(sets, key=_outbound_rank, default=None)


def connections_ending(
    gone: Iterable[Association], remaining: Iterable[Association]
) -> tuple[TcpConnection, ...]:
    """Return the TCP connections that end with sets (design section 7).

    They are those of a set's four port pairs, whoever opened them, less the pairs of what remains
    of its registration: that of the two server ports, which all sets have, goes with the last one
    (T24-P-10).
    """
    stay = {c for a in remaining for c in _connections(a)}
    return tuple(dict.fromkeys(c for a in gone for c in _connections(a) if c not in stay))


def _connections(association: Association) -> Iterator[TcpConnection]:
    s = association.xfrm
    for own_port in s.local_ports:
        for peer_port in s.peer_ports:
            yield TcpConnection(s.local_address, own_port, s.peer_address, peer_port)


def _allow(
    direction: Direction,
    source: tuple[str, int],
    destination: tuple[str, int],
    template: Template,
    layout: Layout,
    hard: int,
) -> Policy:
    return Policy(
        id=PolicyId(
            direction,
            Selector(
                source=source[0],
                source_prefix=host_prefix(source[0]),
                destination=destination[0],
                destination_prefix=host_prefix(destination[0]),
                source_port=source[1],
                source_port_mask=0xFFFF,
                destination_port=destination[1],
                destination_port_mask=0xFFFF,
                owner=layout.owner,
            ),
        ),
        action=PolicyAction.ALLOW,
        priority=layout.policy_priority,
        template=template,
        hard_add_seconds=hard,
    )


def _block_toward(local: str, peer: str, peer_port: int, layout: Layout, hard: int) -> Policy:
    return Policy(
        id=PolicyId(
            Direction.OUT,
            Selector(
                source=local,
                source_prefix=host_prefix(local),
                destination=peer,
                destination_prefix=host_prefix(peer),
                destination_port=peer_port,
                destination_port_mask=0xFFFF,
                owner=layout.owner,
            ),
        ),
        action=PolicyAction.BLOCK,
        priority=layout.block_clear_priority,
        hard_add_seconds=hard,
    )


def port_cover(ports: Iterable[int]) -> tuple[tuple[int, int], ...]:
    """Return the fewest aligned (port, mask) blocks that cover exactly these ports."""
    blocks = {(port, 0xFFFF) for port in ports}
    size = 1
    while size < 0x8000:
        mask = (0xFFFF << size.bit_length()) & 0xFFFF
        for port, own_mask in sorted(blocks):
            if own_mask != (0xFFFF & ~(size - 1)) or (port, own_mask) not in blocks:
                continue
            buddy = (port ^ size, own_mask)
            if buddy in blocks:
                blocks -= {(port, own_mask), buddy}
                blocks.add((port & mask, mask))
        size *= 2
    return tuple(sorted(blocks))


def endpoint_policies(
    endpoint: Endpoint, layout: Layout, *, closed: bool = False
) -> dict[PolicyId, Policy]:
    """Return the block policies of an endpoint: nothing in clear to or from its ports (IPS-8).

    ``closed``: another node owns it, so nothing at all passes.

    They have no time limit: they must outlive a dead daemon.
    """
    policies: dict[PolicyId, Policy] = {}
    priority = layout.block_standby_priority if closed else layout.block_endpoint_priority
    for address in endpoint.addresses:
        anywhere = "0.0.0.0" if family_of(address) == AF_INET else "::"  # noqa: S104 - a selector
        for port, mask in port_cover(endpoint.ports):
            for direction in (Direction.IN, Direction.OUT):
                inbound = direction is Direction.IN
                selector = Selector(
                    source=anywhere if inbound else address,
                    source_prefix=0 if inbound else host_prefix(address),
                    destination=address if inbound else anywhere,
                    destination_prefix=host_prefix(address) if inbound else 0,
                    source_port=0 if inbound else port,
                    source_port_mask=0 if inbound else mask,
                    destination_port=port if inbound else 0,
                    destination_port_mask=mask if inbound else 0,
                    owner=layout.owner,
                )
                policy_id = PolicyId(direction, selector)
                policies[policy_id] = Policy(
                    id=policy_id,
                    action=PolicyAction.BLOCK,
                    priority=priority,
                )
    return policies
