"""What Kamailio's workers share: which flows are protected, and how to reach a registration.

So requests on established sets ask nobody, and calls go on while the daemon is away. An entry
lives as long as its association; a miss asks the daemon.
"""

from __future__ import annotations

from typing import Any, Dict, Optional

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

Association = Dict[str, Any]


def token_of(association: Association) -> str:
    """Return the token of an association's registration."""
    s = association["ipsec3gpp"]
    return registration_token(s["ueAddress"], s["portUs"], s["pcscfAddress"], s["portPs"])


def flow_entry(flow: Dict[str, Any]) -> Optional[FlowEntry]:
    """Look a flow up."""
    text = message.table_get(_FLOWS, _key(flow))
    return None if text is None else FlowEntry.from_text(text)


def _key(flow: Dict[str, Any]) -> str:
    return flow_key(flow["peerAddress"], flow["peerPort"], flow["localPort"])


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
    s = association["ipsec3gpp"]
    entry = FlowEntry.of(association, used=used)
    text = entry.to_text()
    seconds = max(1, int(association["secondsLeft"]))
    temporary = entry.state == "temporary"
    own = ((s["portUc"], s["portPs"]), (s["portUs"], s["portPc"]), (s["portUc"], s["portPc"]))
    shared = (s["portUs"], s["portPs"])
    for ports in (*own, shared):
        key = flow_key(s["ueAddress"], *ports)
        known = (temporary or (ports == shared and not used)) and message.table_get(_FLOWS, key)
        if not known:
            message.table_set(_FLOWS, key, text, seconds)
    return entry


def note_challenge(nonce: str, association_id: str, seconds: int) -> None:
    """Remember which set a challenge was made for (T33-6.1-a)."""
    message.table_set(_CHALLENGES, nonce, association_id, max(1, seconds))


def challenged_set(nonce: str) -> Optional[str]:
    """Return the id of the set that belongs to a nonce, None if it is of no living challenge."""
    return message.table_get(_CHALLENGES, nonce)


def forget(token: str, association: Association) -> None:
    """Forget a registration and the flows of one of its sets: the daemon is asked from now on."""
    message.table_remove(_REGISTRATIONS, token)
    s = association["ipsec3gpp"]
    for peer_port in (s["portUc"], s["portUs"]):
        for local_port in (s["portPc"], s["portPs"]):
            message.table_remove(_FLOWS, flow_key(s["ueAddress"], peer_port, local_port))
