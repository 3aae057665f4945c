"""What the kernel must hold for the sets of the model: TS 33.203 7.1 and design 7.

Nothing of :mod:`sad.core` is used: the tables are derived from :mod:`tests.oracle.sets` and
compared with dumps. Reqids are compared by what they must tie together, not by number.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from netlink.model import (
    Direction,
    Mode,
    ObservedPolicy,
    ObservedSa,
    PolicyAction,
    PolicyId,
    SaId,
    Selector,
)
from tests.oracle.sets import SETS_OF_A_REGISTRATION, Contact, SaSet, Sets, carrying, of_contact

#: ``backstop`` of the settings, and a second for the kernel's whole seconds.
SLACK = 15 + 1


@dataclass(frozen=True, slots=True)
class Node:
    """This node as its neighbours see it; ``owner`` tags what is ours."""

    address: str
    port_ps: int
    ports: tuple[int, ...]
    owner: int


@dataclass(frozen=True, slots=True)
class WantedSa:
    """One SA of a set: ``toward`` names the port of the peer it leads to, None inbound."""

    of: SaSet
    source: str
    toward: str | None


Wire = tuple[Direction, str, int, str, int]


def wanted_sas(sets: Sets, node: Node) -> dict[SaId, WantedSa]:
    """Return the four SAs of each set (norms: the table of TS 33.203 7.1)."""
    wanted = {}
    for one in sets:
        ue, p = one.contact.address, one.proposal
        wanted[SaId(node.address, one.spi_ps)] = WantedSa(one, ue, None)
        wanted[SaId(node.address, one.spi_pc)] = WantedSa(one, ue, None)
        wanted[SaId(ue, p.spi_uc)] = WantedSa(one, node.address, "uc")
        wanted[SaId(ue, p.spi_us)] = WantedSa(one, node.address, "us")
    return wanted


def wanted_policies(sets: Sets, node: Node) -> dict[Wire, tuple[SaSet, str | None]]:
    """Return for each pair of ports the set that protects it; outbound, toward which port.

    All four pairs of a set each way (the two of 7.1 and INTEROP-1's cross pairs). A pair that
    more sets of a registration have is one policy: outbound of the one that carries.
    """
    wanted: dict[Wire, tuple[SaSet, str | None]] = {}
    for contact in {s.contact: None for s in sets}:
        mine = of_contact(sets, contact)
        for one in mine:
            for toward, ue_port in (("uc", one.proposal.port_uc), ("us", contact.port_us)):
                for port in (one.port_pc, node.port_ps):
                    inbound = (Direction.IN, contact.address, ue_port, node.address, port)
                    outbound = (Direction.OUT, node.address, port, contact.address, ue_port)
                    wanted[inbound] = (one, None)
                    sharing = [s for s in mine if _has(s, toward, ue_port, port, node)]
                    chosen = carrying(tuple(sharing))
                    assert chosen is not None
                    wanted[outbound] = (chosen, toward)
    return wanted


def _has(one: SaSet, toward: str, ue_port: int, port: int, node: Node) -> bool:
    its = one.proposal.port_uc if toward == "uc" else one.contact.port_us
    return its == ue_port and port in (one.port_pc, node.port_ps)


def blocked_ports(sets: Sets) -> set[tuple[str, int]]:
    """Return the ports of user agents that nothing of ours may reach in clear."""
    clients = {(s.contact.address, s.proposal.port_uc) for s in sets}
    return clients | {(s.contact.address, s.contact.port_us) for s in sets}


def differences(
    sets: Sets,
    node: Node,
    sas: Sequence[ObservedSa],
    policies: Sequence[ObservedPolicy],
    *,
    to_realtime: float,
    realtime: float,
) -> list[str]:
    """Say what the kernel holds other than it must; ``to_realtime`` is added to deadlines."""
    ours = {sa.id: sa for sa in sas if sa.selector.owner == node.owner}
    tagged = {p.id: p for p in policies if p.id.selector.owner == node.owner}
    found = [
        *_sa_differences(sets, node, ours, to_realtime),
        *_reqid_differences(sets, node, ours),
        *_count_differences(sets),
    ]
    if not found:
        found += _policy_differences(sets, node, ours, tagged, to_realtime)
    return [*found, *_endpoint_differences(node, tagged.values()), *_older(ours, realtime)]


def _sa_differences(
    sets: Sets, node: Node, ours: dict[SaId, ObservedSa], to_realtime: float
) -> Iterator[str]:
    wanted = wanted_sas(sets, node)
    yield from (f"no SA {i}, which {wanted[i].of} needs" for i in wanted.keys() - ours.keys())
    yield from (f"SA {i} belongs to no set" for i in ours.keys() - wanted.keys())
    for sa_id in wanted.keys() & ours.keys():
        want, have = wanted[sa_id], ours[sa_id]
        deadline = want.of.deadline + to_realtime
        ends = have.current.add_time + have.hard_add_seconds
        if not deadline <= ends <= deadline + SLACK or not have.hard_add_seconds:
            yield f"SA {sa_id} ends {ends - deadline:+.1f} s from the deadline"
        if (have.source, have.mode) != (want.source, Mode.TRANSPORT) or have.replay_window < 64:
            yield f"SA {sa_id} has another source, mode or window: {have}"


def _reqid_differences(sets: Sets, node: Node, ours: dict[SaId, ObservedSa]) -> Iterator[str]:
    """One inbound reqid for each registration, one for each outbound SA, none in common."""
    inbound: dict[Contact, set[int]] = {}
    every: list[int] = []
    for sa_id, want in wanted_sas(sets, node).items():
        if sa_id not in ours:
            continue
        if want.toward is None:
            inbound.setdefault(want.of.contact, set()).add(ours[sa_id].reqid)
        else:
            every.append(ours[sa_id].reqid)
    for contact, reqids in inbound.items():
        every += reqids
        if len(reqids) != 1:
            yield f"{contact} has inbound reqids {reqids}"
    if len(set(every)) != len(every):
        yield f"a reqid ties SAs together that have nothing in common: {sorted(every)}"


def _count_differences(sets: Sets) -> Iterator[str]:
    for contact in {s.contact for s in sets}:
        if len(of_contact(sets, contact)) > SETS_OF_A_REGISTRATION:
            yield f"{contact} has more than six SAs in one direction"


def _policy_differences(
    sets: Sets,
    node: Node,
    ours: dict[SaId, ObservedSa],
    tagged: dict[PolicyId, ObservedPolicy],
    to_realtime: float,
) -> Iterator[str]:
    wanted = wanted_policies(sets, node)
    allowing = {_wire(p.id): p for p in tagged.values() if p.action is PolicyAction.ALLOW}
    yield from (f"no policy {w}, which {wanted[w][0]} needs" for w in wanted.keys() - allowing)
    yield from (f"policy {w} belongs to no set" for w in allowing.keys() - wanted)
    reqids = {
        (want.of.name, want.toward): ours[sa_id].reqid
        for sa_id, want in wanted_sas(sets, node).items()
    }
    for wire in wanted.keys() & allowing.keys():
        one, toward = wanted[wire]
        policy = allowing[wire]
        assert policy.template is not None
        if policy.template.reqid != reqids[one.name, toward]:
            yield f"policy {wire} names another SA than that of {one}"
        if _ends(policy) < one.deadline + to_realtime:
            yield f"policy {wire} ends before {one}"
    yield from _block_differences(sets, node, tagged.values(), to_realtime)


def _block_differences(
    sets: Sets, node: Node, tagged: Iterable[ObservedPolicy], to_realtime: float
) -> Iterator[str]:
    blocks = {
        (p.id.selector.destination, p.id.selector.destination_port): p
        for p in tagged
        if p.action is PolicyAction.BLOCK
        and p.id.selector.destination_port_mask == 0xFFFF
        and p.id.selector.source == node.address
        and p.id.direction is Direction.OUT
    }
    wanted = blocked_ports(sets)
    yield from (f"nothing keeps clear text off {port}" for port in wanted - blocks.keys())
    yield from (f"{port} is blocked for no set" for port in blocks.keys() - wanted)
    for one in sets:
        for port in (one.proposal.port_uc, one.contact.port_us):
            block = blocks.get((one.contact.address, port))
            if block and _ends(block) < one.deadline + to_realtime:
                yield f"the block toward {port} ends before {one}"


def _ends(policy: ObservedPolicy) -> float:
    hard = policy.hard_add_seconds
    return policy.add_time + hard if hard else float("inf")


def _wire(policy_id: PolicyId) -> Wire:
    s = policy_id.selector
    return (policy_id.direction, s.source, s.source_port, s.destination, s.destination_port)


def _endpoint_differences(node: Node, tagged: Iterable[ObservedPolicy]) -> Iterator[str]:
    """IPS-8: whatever ends, every protected port drops what comes or goes in clear."""
    standing = [p for p in tagged if p.action is PolicyAction.BLOCK and not p.hard_add_seconds]
    for direction in (Direction.IN, Direction.OUT):
        for port in node.ports:
            if not any(_covers(p.id, direction, node.address, port) for p in standing):
                yield f"port {port} is open to clear text ({direction.name})"


def _covers(policy_id: PolicyId, direction: Direction, address: str, port: int) -> bool:
    s: Selector = policy_id.selector
    if policy_id.direction is not direction:
        return False
    if direction is Direction.IN:
        return s.destination == address and port & s.destination_port_mask == s.destination_port
    return s.source == address and port & s.source_port_mask == s.source_port


def _older(ours: dict[SaId, ObservedSa], realtime: float) -> Iterator[str]:
    for sa in ours.values():
        if sa.current.add_time + sa.hard_add_seconds + 1 < realtime:
            yield f"SA {sa.id} has outlived its own limit"
