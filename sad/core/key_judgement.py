"""Are these key sets good, each by itself and beside the others? Each check beside its rule.

A set that is not good is refused and leaves the others alone; of two that cannot stand together
the later one goes. The rim (:mod:`sad.keys.files`) knows on which line each field stands.
"""

import datetime as dt
import ipaddress
from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from netlink.model import family_of
from sad.core.key_material import split_keys
from sad.model.endpoint import Endpoint, Profile
from sad.model.key_set import KeySet, KeySetDraft, same_key
from sad.model.manual_algorithms import encryption_fault, integrity_fault
from sad.model.sa_pair import Activation

_HIGHEST_SPI: Final = 0xFFFF_FFFF
_SIP_PORTS: Final = frozenset({5060, 5061})
#: Seconds of the years 1 to 9999: what can be shown, and sent in microseconds.
_CALENDAR: Final = (-62_135_596_800, 253_402_300_800)
MECHANISM: Final = "ipsec-man"


class KeyFault(NamedTuple):
    """What is wrong with one set: which field, why, the rule, the way out. Never a key.

    ``expired``: it was good once, and nobody has to be woken for it.
    """

    field: str
    reason: str
    rule: str | None
    hint: str
    expired: bool = False


class Judged(NamedTuple):
    """A draft with what came of it: the set, or its faults."""

    draft: KeySetDraft
    key_set: KeySet | None
    faults: tuple[KeyFault, ...]


def judge(
    drafts: Sequence[KeySetDraft],
    endpoints: Mapping[str, Endpoint],
    *,
    now: float,
    beside: Sequence[KeySet] = (),
) -> tuple[Judged, ...]:
    """Judge drafts in their order, and ``beside`` what stands already; ``now`` is real time."""
    good: list[KeySet] = list(beside)
    judged = []
    for draft in drafts:
        key_set, faults = _judge_alone(draft, endpoints, now)
        if key_set is not None:
            faults = tuple(_faults_beside(key_set, good))
            if faults:
                key_set.wipe()
                key_set = None
            else:
                good.append(key_set)
        judged.append(Judged(draft, key_set, faults))
    return tuple(judged)


# --- one set by itself ---------------------------------------------------------------------------


def _judge_alone(
    draft: KeySetDraft, endpoints: Mapping[str, Endpoint], now: float
) -> tuple[KeySet | None, tuple[KeyFault, ...]]:
    endpoint = endpoints.get(draft.endpoint)
    if endpoint is None:
        known = ", ".join(sorted(endpoints)) or "none"
        hint = f"the endpoints of the settings are: {known}"
        return None, (KeyFault("endpoint", "there is no such endpoint", None, hint),)
    local, address_faults = _local_address(draft, endpoint, endpoints)
    keys, key_faults = split_keys(draft)
    faults = (
        *_endpoint_faults(draft, endpoint),
        *address_faults,
        *_spi_faults(draft, endpoints, local),
        *_port_faults(draft, endpoint),
        *_algorithm_faults(draft),
        *(KeyFault(*fault) for fault in key_faults),
        *_validity_faults(draft, now),
    )
    if faults or keys is None:
        return None, faults
    return (
        KeySet(
            origin=draft.origin,
            name=draft.name,
            endpoint=draft.endpoint,
            role=draft.role,
            identity=draft.identity or draft.peer_address or "",
            names_identity=draft.identity is not None,
            local_address=local,
            peer_address=draft.peer_address or "",
            spi_in=draft.spi_in,
            spi_out=draft.spi_out,
            local_ports=draft.local_ports,
            peer_ports=draft.peer_ports,
            integrity_algorithm=draft.integrity_algorithm,
            encryption_algorithm=draft.encryption_algorithm,
            keys_in=keys[0],
            keys_out=keys[1],
            not_before=draft.not_before,
            not_after=draft.not_after,
            activation=draft.activation,
            lasting=draft.lasting,
        ),
        (),
    )


def _endpoint_faults(draft: KeySetDraft, endpoint: Endpoint) -> Iterator[KeyFault]:
    if MECHANISM not in endpoint.mechanisms:
        # R3329-5-a: the list is where the operator accepts SAs without replay protection
        yield KeyFault(
            "endpoint",
            f"endpoint {endpoint.name} does not list {MECHANISM}",
            "R3329-5-a",
            f'list "{MECHANISM}" in its mechanisms (profile rfc3329), and set '
            "accept_unreplayed_verify = true",
        )
    if draft.role not in endpoint.roles:
        yield KeyFault(
            "role",
            f"role {draft.role} is off on endpoint {endpoint.name}",
            None,
            f'add "{draft.role}" to roles of the endpoint if that is meant',
        )


def _local_address(
    draft: KeySetDraft, endpoint: Endpoint, endpoints: Mapping[str, Endpoint]
) -> tuple[str, tuple[KeyFault, ...]]:
    """Return this node's end, the endpoint's of the peer's IP version unless it is given."""
    peer = draft.peer_address
    if peer is None:
        return _no_addresses(draft)
    faults = []
    parsed = ipaddress.ip_address(peer)
    if parsed.is_loopback or parsed.is_unspecified or parsed.is_multicast or parsed.is_link_local:
        reason = "a loopback, unspecified, multicast or link-local address is no peer"
        hint = "give the address from which the peer sends"
        faults.append(KeyFault("peer_address", reason, "T33-7.1-c", hint))
    if any(peer in e.addresses for e in endpoints.values()):
        reason, hint = "this node's own address is no peer", "give the address of the other side"
        faults.append(KeyFault("peer_address", reason, "T33-7.1-c", hint))
    has = f"endpoint {endpoint.name} has {', '.join(endpoint.addresses)}"
    if draft.local_address is None:
        fitting = [a for a in endpoint.addresses if family_of(a) == family_of(peer)]
        if not fitting:
            version = ipaddress.ip_address(peer).version
            reason = f"endpoint {endpoint.name} has no IPv{version} address"
            faults.append(KeyFault("peer_address", reason, "T33-7.1-b", has))
        return (fitting or [""])[0], tuple(faults)
    if draft.local_address not in endpoint.addresses:
        reason = f"not an address of endpoint {endpoint.name}"
        faults.append(KeyFault("local_address", reason, None, has))
    elif family_of(draft.local_address) != family_of(peer):
        reason = "the two addresses are of different IP versions"
        faults.append(KeyFault("local_address", reason, "T33-7.1-b", has))
    return draft.local_address, tuple(faults)


def _no_addresses(draft: KeySetDraft) -> tuple[str, tuple[KeyFault, ...]]:
    """A set of an identity, whose address is known when it agrees (R3329-2.4-man-a)."""
    hint = (
        'give it, or let an identity agree from where it is: identity and activation "agreement"'
    )
    if draft.identity is None or draft.activation is not Activation.AGREEMENT:
        return "", (KeyFault("peer_address", "missing", None, hint),)
    if draft.local_address is not None:
        reason = "goes with peer_address only"
        return "", (KeyFault("local_address", reason, None, "remove it, or give both"),)
    return "", ()


def _spi_faults(
    draft: KeySetDraft, endpoints: Mapping[str, Endpoint], local: str
) -> Iterator[KeyFault]:
    for field, spi in (("spi_in", draft.spi_in), ("spi_out", draft.spi_out)):
        if not 1 <= spi <= _HIGHEST_SPI:  # RFC 4303 2.1: 0 is never sent
            hint = "agree on one of 256 to 4294967295"
            yield KeyFault(field, "an SPI is 1 to 4294967295", "IPS-1", hint)
        elif spi < 256:  # RFC 4303 2.1: 1 to 255 are IANA's
            reason = "SPIs 1 to 255 are reserved by IANA"
            yield KeyFault(field, reason, "IPS-1", "agree on an SPI of 256 or more")
    if draft.spi_in == draft.spi_out:
        # Else a packet of ours could be sent back to us as one of the peer's.
        hint = "agree on two that differ: a packet of ours must be none of the peer's"
        yield KeyFault("spi_out", "equal to spi_in", "T33-7.1-h", hint)
    for endpoint in endpoints.values():
        low, high = endpoint.spi_range
        draws = endpoint.profile is Profile.IMS and (not local or local in endpoint.addresses)
        if draws and low <= draft.spi_in <= high:
            yield KeyFault(
                "spi_in",
                f"endpoint {endpoint.name} draws SPIs of {local} from {low} to {high}",
                "IPS-1",
                "agree on one outside of it (256 to 65535 by default), or change its spi_range",
            )


def _port_faults(draft: KeySetDraft, endpoint: Endpoint) -> Iterator[KeyFault]:
    for field, ports in (("local_ports", draft.local_ports), ("peer_ports", draft.peer_ports)):
        if not ports:
            hint = "list the ports that SIP is sent to and from"
            yield KeyFault(field, "no port is listed", "R3329-2.4-ipsec-b", hint)
        if len(set(ports)) != len(ports):
            yield KeyFault(field, "a port stands there twice", None, "write each once")
        if not all(1 <= port <= 65535 for port in ports):
            yield KeyFault(field, "a port is 1 to 65535", None, "correct the number")
    strange = sorted(set(draft.local_ports) - endpoint.ports)
    if strange:
        # IPS-8: what nothing blocks would pass in clear
        yield KeyFault(
            "local_ports",
            f"{', '.join(map(str, strange))} is no port of endpoint {endpoint.name}",
            "IPS-8",
            f"its ports are {', '.join(map(str, sorted(endpoint.ports)))}",
        )
    if _SIP_PORTS.intersection(draft.peer_ports) and not endpoint.accept_sip_port:
        yield KeyFault(
            "peer_ports",
            "protected ports differ from 5060 and 5061",
            "T33-7.1-e",
            "agree on other ports, or set accept_sip_port on the endpoint",
        )


def _algorithm_faults(draft: KeySetDraft) -> Iterator[KeyFault]:
    for field, fault in (
        ("integrity", integrity_fault(draft.integrity_algorithm)),
        ("encryption", encryption_fault(draft.encryption_algorithm)),
    ):
        if fault is not None:
            yield KeyFault(field, fault.reason, fault.rule, fault.hint)


def _validity_faults(draft: KeySetDraft, now: float) -> Iterator[KeyFault]:
    first, end = _CALENDAR
    if not all(first <= instant < end for instant in (draft.not_before, draft.not_after)):
        hint = "give instants of the years 1 to 9999"
        yield KeyFault("not_after", "no instant that a calendar has", "RFC 3329 2.5", hint)
    elif draft.not_after <= draft.not_before:
        hint = "a key is valid from not_before on, and no longer at not_after"
        yield KeyFault("not_after", "not later than not_before", "RFC 3329 2.5", hint)
    elif draft.not_after <= now:
        yield KeyFault(
            "not_after",
            f"expired on {instant_text(draft.not_after)}",
            "RFC 3329 2.5",
            "remove the set, and agree on new keys",
            expired=True,
        )


# --- beside the others ---------------------------------------------------------------------------


def _faults_beside(new: KeySet, others: Sequence[KeySet]) -> Iterator[KeyFault]:
    for other in others:
        if other.name == new.name:
            hint = "give each set a name of its own"
            yield KeyFault("name", f"the set in {other.origin} has this name", None, hint)
            return
    for other in others:
        there = f'"{other.name}" ({other.origin})'
        if other.spi_in == new.spi_in and _may_equal(other.local_address, new.local_address):
            hint = "an SPI means one SA at its destination: agree on another"
            yield KeyFault("spi_in", f"is that of {there}, too", "IPS-1", hint)
        if other.spi_out == new.spi_out and _may_equal(other.peer_address, new.peer_address):
            hint = "an SPI means one SA at its destination: agree on another"
            yield KeyFault("spi_out", f"is that of {there}, too", "IPS-1", hint)
        if _meet(new, other):
            yield from _faults_of_meeting(new, other, there)
    beside = [o for o in others if _meet(new, o)]
    for place, one in enumerate(beside):
        if any(_overlap(one, two) and _all_overlap(new, one, two) for two in beside[:place]):
            yield KeyFault(
                "not_before",
                "a third set of this peer would be valid at the same time",
                "RFC 3329 2.5",
                "let two sets overlap, the old and the new one, and no more",
            )
            return


def _faults_of_meeting(new: KeySet, other: KeySet, there: str) -> Iterator[KeyFault]:
    """Two sets on the same ports of the same peer, at one time: one must follow the other."""
    if new.path != other.path:
        yield KeyFault(
            "peer_ports",
            f"some of these ports are protected by {there} at the same time",
            "R3329-2.4-ipsec-b",
            "list exactly the same ports in both for a rotation, or ports that differ",
        )
        return
    if new.activation is not other.activation or new.identity != other.identity:
        field = "activation" if new.activation is not other.activation else "identity"
        hint = "a set that follows another one has the same identity and activation"
        yield KeyFault(field, f"differs from that of {there}", None, hint)
    first, second = sorted((new, other), key=lambda s: (s.not_before, s.not_after))
    if not (first.not_before < second.not_before and first.not_after < second.not_after):
        yield KeyFault(
            "not_before",
            f"this validity and that of {there} lie within each other",
            "RFC 3329 2.5",
            "let the new set begin later and end later than the old one; they may overlap",
        )
    if same_key(new.keys_in.integrity, other.keys_in.integrity) or same_key(
        new.keys_out.integrity, other.keys_out.integrity
    ):
        hint = "a new set has new keys: take 32 bytes of /dev/urandom"
        yield KeyFault("integrity_key", f"is that of {there}, too", "IPS-7", hint)


def _meet(one: KeySet, other: KeySet) -> bool:
    """Whether both protect one port of a peer at one time: what goes there is blocked in clear."""
    return (
        (one.local_address, one.peer_address) == (other.local_address, other.peer_address)
        and (one.has_addresses or (one.endpoint, one.identity) == (other.endpoint, other.identity))
        and not set(one.peer_ports).isdisjoint(other.peer_ports)
        and _overlap(one, other)
    )


def _may_equal(one: str, other: str) -> bool:
    """Whether two addresses are one; which one a set without any will get is not known."""
    return not one or not other or one == other


def _overlap(one: KeySet, other: KeySet) -> bool:
    return one.not_before < other.not_after and other.not_before < one.not_after


def _all_overlap(*sets: KeySet) -> bool:
    return max(s.not_before for s in sets) < min(s.not_after for s in sets)


def instant_text(instant: float) -> str:
    """Return an instant of the real-time clock for people."""
    when = dt.datetime.fromtimestamp(instant, tz=dt.UTC)
    return when.strftime("%Y-%m-%d %H:%M:%SZ")
