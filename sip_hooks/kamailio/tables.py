"""What Kamailio's workers share: which flows are protected, and how to reach a registration.

So requests on established sets ask nobody, and calls go on while the daemon is away. An entry
lives as long as its association would; one that ended sooner has no SAs, so nothing passes on its
flows until somebody else gets its ports (:func:`forget_stale`), and is forgotten as soon as the
daemon tells (:mod:`sip_hooks.kamailio.following`). A miss asks the daemon.
"""

from __future__ import annotations

from typing import (
    Any,
    Callable,
    Container,
    Dict,
    List,
    NamedTuple,
    Optional,
    Set,
    Union,
)

from sip_hooks.ims import (
    FlowEntry,
    RegistrationEntry,
    flow_key,
    registration_token,
)
from sip_hooks.kamailio import message

_FLOWS = "sad_flows"
_REGISTRATIONS = "sad_registrations"
_CHALLENGES = "sad_challenges"
_OF_SETS = (_FLOWS, _REGISTRATIONS)

Association = Dict[str, Any]


class _Known(NamedTuple):
    """An entry of a table, and the id of the set that it was made of."""

    table: str
    key: str
    association: str


def token_of(association: Association) -> str:
    """Return the token of an association's registration."""
    tls = association.get("tls")
    if tls:
        return registration_token(
            tls["peerAddress"], tls["peerPort"], tls["localAddress"], tls["localPort"]
        )
    s = association["ipsec3gpp"]
    return registration_token(s["ueAddress"], s["portUs"], s["pcscfAddress"], s["portPs"])


def flow_entry(flow: Dict[str, Any]) -> Optional[FlowEntry]:
    """Look a flow up."""
    text = message.table_get(_FLOWS, _key(flow))
    return None if text is None else FlowEntry.from_text(text)


def _key(flow: Dict[str, Any]) -> str:
    key = flow_key(flow["peerAddress"], flow["peerPort"], flow["localPort"])
    return "{}|{}".format(key, flow["localAddress"])


def flows_of(association: Association) -> List[Dict[str, Any]]:
    """Return the flows of a set: the two server ports last, which all sets share."""
    s = association["ipsec3gpp"]
    pairs = (
        (s["portUc"], s["portPs"]),
        (s["portUs"], s["portPc"]),
        (s["portUc"], s["portPc"]),
        (s["portUs"], s["portPs"]),
    )
    ends = {"peerAddress": s["ueAddress"], "localAddress": s["pcscfAddress"]}
    return [dict(ends, peerPort=peer, localPort=local) for peer, local in pairs]


def ends_of(association: Association) -> Association:
    """Return of an association what :func:`forget_set` must know."""
    return {name: association[name] for name in ("id", "ipsec3gpp")}


def registration_entry(token: str) -> Optional[RegistrationEntry]:
    """Look a registration up."""
    text = message.table_get(_REGISTRATIONS, token)
    return None if text is None else RegistrationEntry.from_text(text)


def put_registration(token: str, entry: RegistrationEntry, seconds: int) -> None:
    """Keep a registration for that many seconds."""
    message.table_set(_REGISTRATIONS, token, entry.to_text(), max(1, seconds))


def put_flows(association: Association, *, used: bool) -> FlowEntry:
    """Make the flows of an association known; return their entry.

    A set that is not in use yet leaves the flow of the two server ports, which all sets of a
    registration share, to the one that is. A temporary set takes no flow that is known already:
    whoever sends REGISTER in clear with another's ports changes nothing for him.
    """
    entry = FlowEntry.of(association, used=used)
    text = entry.to_text()
    seconds = max(1, int(association["secondsLeft"]))
    temporary = entry.state == "temporary"
    flows = flows_of(association)
    for flow in flows:
        leave = temporary or (flow is flows[-1] and not used)
        if not (leave and message.table_get(_FLOWS, _key(flow))):
            message.table_set(_FLOWS, _key(flow), text, seconds)
    return entry


def forget_stale(
    association: Association, find: Callable[[Dict[str, Any]], Optional[Dict[str, Any]]]
) -> None:
    """Forget what is known of the flows of a new set and is over: others may have had its ports.

    A set can end without the hook: an operator, the network, the kernel. While the set that a
    flow is known for lives, it stays known.
    """
    flows = flows_of(association)
    for flow in flows:
        known = flow_entry(flow)
        if known is None or known.association == association["id"]:
            continue
        found = find(flow)
        alive = set() if found is None else {found["association"]["id"], found["outbound"]["id"]}
        if known.association not in alive:
            message.table_remove(_FLOWS, _key(flow))
    token = token_of(association)
    if message.table_get(_REGISTRATIONS, token) is not None:
        found = find(flows[-1])
        if found is None or found["association"]["state"] == "temporary":
            message.table_remove(_REGISTRATIONS, token)


def note_challenge(nonce: str, association_id: str, seconds: int) -> None:
    """Remember which set a challenge was made for (T33-6.1-a)."""
    message.table_set(_CHALLENGES, nonce, association_id, max(1, seconds))


def challenged_set(nonce: str) -> Optional[str]:
    """Return the id of the set that belongs to a nonce, None if it is of no living challenge."""
    return message.table_get(_CHALLENGES, nonce)


def forget(token: str, association: Optional[Association] = None) -> None:
    """Forget a registration, and the flows of one of its sets: the daemon is asked from now on."""
    message.table_remove(_REGISTRATIONS, token)
    for flow in [] if association is None else flows_of(association):
        message.table_remove(_FLOWS, _key(flow))


def forget_set(association: Association) -> None:
    """Forget what is known of a set that is no more; what others have written stays."""
    for flow in flows_of(association):
        _forget(_Known(_FLOWS, _key(flow), association["id"]))
    forget_registration(association)


def forget_registration(association: Association) -> None:
    """Forget the registration if it is this set that carries what is sent."""
    _forget(_Known(_REGISTRATIONS, token_of(association), association["id"]))


def unlisted(listed: Container[str]) -> Set[str]:
    """Return the ids of the sets that are known and not ``listed``."""
    found: Set[str] = set()

    def visit(table: str, _key: str, text: str) -> bool:
        association = _association_of(table, text)
        if association is not None and association not in listed:
            found.add(association)
        return True

    message.visit_tables(_OF_SETS, visit)
    return found


def forget_sets(ids: Container[str], most: int) -> int:
    """Forget up to so many entries of these sets; return how many were found."""
    found: List[_Known] = []

    def visit(table: str, key: str, text: str) -> bool:
        association = _association_of(table, text)
        if association is not None and association in ids:
            found.append(_Known(table, key, association))
        return len(found) < most

    message.visit_tables(_OF_SETS, visit)
    for known in found:
        _forget(known)
    return len(found)


def _forget(known: _Known) -> None:
    """Remove an entry if it is still of its set."""
    text = message.table_get(known.table, known.key)
    if text is not None and _association_of(known.table, text) == known.association:
        message.table_remove(known.table, known.key)


def _association_of(table: str, text: str) -> Optional[str]:
    entry: Union[FlowEntry, RegistrationEntry, None]
    entry = (FlowEntry if table == _FLOWS else RegistrationEntry).from_text(text)
    return None if entry is None else entry.association
