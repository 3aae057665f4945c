"""Why a packet is protected or not: the kernel's own tables, read as the kernel reads them. Pure.

The answer is made of what the kernel holds, whoever put it there, not of what ought to be there:
a foreign policy that wins over ours is the finding then. Port and address selectors are looked
at; one for a single transport protocol is said to be so.
"""

import ipaddress
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from netlink.model import Direction, ObservedPolicy, ObservedSa, PolicyAction, Selector
from sad.model.inspection import Finding, PacketFate, PolicyState, Verdict
from sad.model.requests import Flow

_PROTOCOLS: Final = {0: "", 6: " (TCP only)", 17: " (UDP only)"}


def fate_of(
    flow: Flow,
    policies: Iterable[ObservedPolicy],
    sas: Sequence[ObservedSa],
    *,
    inbound: bool,
    owner: int,
) -> PacketFate:
    """Return what becomes of the packets of one direction of a flow."""
    here = (flow.local_address, flow.local_port)
    there = (flow.peer_address, flow.peer_port)
    source, destination = (there, here) if inbound else (here, there)
    direction = Direction.IN if inbound else Direction.OUT
    covering = [
        p
        for p in policies
        if p.id.direction is direction and _covers(p.id.selector, source, destination)
    ]
    # The kernel takes the smallest priority, of equal ones the older.
    policy = min(covering, key=lambda p: (p.priority, p.index), default=None)
    if policy is None:
        return PacketFate(
            inbound=inbound,
            verdict=Verdict.CLEAR,
            findings=(Finding(what="policy", text="no policy covers it: it passes in clear"),),
            hint="is it a protected port of an endpoint? sadctl status shows them",
        )
    return _by_policy(policy, sas, inbound=inbound, owner=owner)


def _by_policy(
    policy: ObservedPolicy, sas: Sequence[ObservedSa], *, inbound: bool, owner: int
) -> PacketFate:
    seen = Finding(what="policy", text=_policy_text(policy, owner))
    if policy.action is PolicyAction.BLOCK:
        counter = "XfrmInPolBlock" if inbound else "XfrmOutPolBlock"
        return PacketFate(
            inbound=inbound,
            verdict=Verdict.DROPPED,
            findings=(seen, Finding(what="counter", text=f"each one adds to {counter}")),
            hint=_blocked_hint(inbound=inbound),
        )
    template = policy.template
    if template is None:
        return PacketFate(
            inbound=inbound,
            verdict=Verdict.CLEAR,
            findings=(seen, Finding(what="SA", text="the policy asks for none")),
            hint="" if policy.id.selector.owner == owner else "who installed this policy?",
        )
    matching = [
        sa
        for sa in sas
        if sa.reqid == template.reqid
        and sa.id.destination == template.destination
        and sa.source == template.source
        and sa.id.protocol == template.protocol
    ]
    if not matching:
        counter = "XfrmInTmplMismatch" if inbound else "XfrmOutNoStates"
        return PacketFate(
            inbound=inbound,
            verdict=Verdict.DROPPED,
            findings=(
                seen,
                Finding(what="SA", text=f"none has reqid {template.reqid}"),
                Finding(what="counter", text=f"each one adds to {counter}"),
            ),
            hint="the set has ended, or somebody deleted its SAs: sadctl reconcile mends it",
        )
    findings = [seen, *(Finding(what="SA", text=_sa_text(sa, inbound=inbound)) for sa in matching)]
    if inbound:
        clear = "in clear it is dropped and adds to XfrmInTmplMismatch"
        findings.append(Finding(what="counter", text=clear))
    return PacketFate(
        inbound=inbound,
        verdict=Verdict.PROTECTED,
        findings=tuple(findings),
        hint=_sa_hint(matching) if inbound else "",
    )


def policies_between(
    local: str, peer: str, policies: Iterable[ObservedPolicy], owner: int
) -> tuple[PolicyState, ...]:
    """Return the policies between two hosts, those of the whole endpoint left out."""
    found = [
        p
        for p in policies
        if {p.id.selector.source, p.id.selector.destination} == {local, peer}
        and p.id.direction in (Direction.IN, Direction.OUT)
    ]
    found.sort(key=lambda p: (p.id.direction is Direction.OUT, p.priority, p.index))
    return tuple(policy_state(p, owner) for p in found)


def policy_state(policy: ObservedPolicy, owner: int) -> PolicyState:
    """Return a policy in words."""
    selector = policy.id.selector
    return PolicyState(
        direction=policy.id.direction.name.lower(),
        action="block" if policy.action is PolicyAction.BLOCK else "allow",
        source=_end(
            selector.source,
            selector.source_prefix,
            selector.source_port,
            selector.source_port_mask,
        ),
        destination=_end(
            selector.destination,
            selector.destination_prefix,
            selector.destination_port,
            selector.destination_port_mask,
        ),
        protocol=selector.protocol,
        priority=policy.priority,
        reqid=policy.template.reqid if policy.template else 0,
        ours=selector.owner == owner,
    )


def _policy_text(policy: ObservedPolicy, owner: int) -> str:
    state = policy_state(policy, owner)
    whose = "ours" if state.ours else "of somebody else"
    only = _PROTOCOLS.get(state.protocol, f" (protocol {state.protocol} only)")
    reqid = f", asks for an SA of reqid {state.reqid}" if policy.template else ""
    return (
        f"{state.action} {state.source} -> {state.destination}{only}, priority "
        f"{state.priority}, {whose}{reqid}"
    )


def _sa_text(sa: ObservedSa, *, inbound: bool) -> str:
    text = f"SPI 0x{sa.id.spi:08x}: packets {sa.current.packets}, bytes {sa.current.bytes}"
    if inbound:
        text += f", integrity failures {sa.integrity_failures}, replays {sa.replay_failures}"
    return text


def _sa_hint(sas: Sequence[ObservedSa]) -> str:
    for sa in sas:
        if sa.integrity_failures and not sa.current.packets:
            return f"SPI 0x{sa.id.spi:08x}: ESP arrives, integrity fails: the keys differ"
    if not any(sa.current.packets for sa in sas):
        return "no ESP has arrived on it yet"
    return ""


def _blocked_hint(*, inbound: bool) -> str:
    if inbound:
        return "the peer has no association on these ports: sadctl list --peer ADDRESS"
    return (
        "the SIP server sends from a port that is no protected port of the association, or the "
        "peer has none: sadctl list --peer ADDRESS"
    )


def _covers(selector: Selector, source: tuple[str, int], destination: tuple[str, int]) -> bool:
    return all(_ends_covered(selector, source, destination))


def _ends_covered(
    selector: Selector, source: tuple[str, int], destination: tuple[str, int]
) -> Iterator[bool]:
    # The cheap comparisons first: a table can be long.
    yield source[1] & selector.source_port_mask == selector.source_port
    yield destination[1] & selector.destination_port_mask == selector.destination_port
    yield _within(source[0], selector.source, selector.source_prefix)
    yield _within(destination[0], selector.destination, selector.destination_prefix)


def _within(address: str, network: str, prefix: int) -> bool:
    if address == network:
        return True
    if (":" in address) != (":" in network):
        return False
    if prefix in (32, 128) and not (prefix == 32 and ":" in address):
        return False
    found = ipaddress.ip_network(f"{network}/{prefix}", strict=False)
    return ipaddress.ip_address(address) in found


def _end(address: str, prefix: int, port: int, mask: int) -> str:
    whole = 128 if ":" in address else 32
    text = address if prefix == whole else f"{address}/{prefix}"
    if mask == 0:
        return text
    shown = f"[{text}]" if ":" in text else text
    ports = str(port) if mask == 0xFFFF else f"{port}-{port | (~mask & 0xFFFF)}"
    return f"{shown}:{ports}"
