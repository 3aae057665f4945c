"""What a 200 to REGISTER grants: seconds, identities, routes (T24-P-7, TS 24.229 5.2.2)."""

from __future__ import annotations

from typing import List, Optional, Sequence, Tuple

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import unfold, values_of
from sip_hooks.ims.identities import aor_of
from sip_hooks.ims.uris import Address, SipUri, read_address, read_uri, uri_in

_MOST_IDENTITIES = 64
_MOST_ROUTES = 16
_LONGEST = 2**32 - 1


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _LONGEST:
        raise ImsError("expires is no number of seconds", "RFC 3261 20.19")
    return int(text)


def _expires_of(contact: Address) -> Optional[int]:
    found = {value for name, value in contact.parameters if name == "expires"}
    if len(found) > 1:
        raise ImsError("a Contact with two times of expiry", "RFC 3261 20.10")
    # The quotes of old servers change nothing about the number.
    return _seconds((found.pop() or "").strip('"')) if found else None


def _is_at_same_place(one: SipUri, other: SipUri) -> bool:
    return one.host == other.host and (one.port or 5060) == (other.port or 5060)


def granted_seconds(
    *, ue_contact: Sequence[str], contact_rows: Sequence[str], expires_row: Optional[str]
) -> int:
    """Return for how long the request's contact is registered; 0 if it is not any more.

    Raises ImsError if the headers do not tell; also for a REGISTER without Contact, which only
    asks (RFC 3261 10.2.3). Contacts of others that cannot be understood do not count.
    """
    asked = values_of(ue_contact)
    if asked == ["*"]:
        return 0
    if not asked:
        raise ImsError("a REGISTER without Contact registers nothing", "RFC 3261 10.2.3")
    own = [uri_in(value) for value in asked]
    same_user: List[Address] = []
    same_place: List[Address] = []
    unreadable = False
    for value in values_of(contact_rows):
        try:
            contact = read_address(value)
            uri = read_uri(contact.uri)
        except ImsError:
            unreadable = True
            continue
        here = [mine for mine in own if _is_at_same_place(mine, uri)]
        if here:
            same_place.append(contact)
        if any(mine.user == uri.user for mine in here):
            same_user.append(contact)
    granted = [_expires_of(contact) for contact in same_user or same_place]
    if not granted:
        if unreadable:
            raise ImsError("a Contact that cannot be understood", "RFC 3261 20.10")
        return 0
    if None not in granted:
        return max(seconds for seconds in granted if seconds is not None)
    if expires_row is None:
        raise ImsError("a Contact without a time of expiry", "RFC 3261 10.3")
    default = _seconds(unfold(expires_row))
    return max(default if seconds is None else seconds for seconds in granted)


def public_identities(associated_rows: Sequence[str], to_row: str) -> Tuple[str, ...]:
    """Return the identities of P-Associated-URI in order, else that of To.

    One that cannot be understood is left out; ImsError if none can.
    """
    values = values_of([row for row in associated_rows if unfold(row)])
    if not values:
        return (aor_of(to_row),)
    found: List[str] = []
    for value in values[:_MOST_IDENTITIES]:
        try:
            found.append(aor_of(value))
        except ImsError:
            continue
    if not found:
        raise ImsError("no identity of P-Associated-URI can be understood", "RFC 7315 4.1")
    return tuple(dict.fromkeys(found))


def service_route(rows: Sequence[str]) -> Tuple[str, ...]:
    """Return the values of Service-Route in order (RFC 3608)."""
    values = values_of(rows)
    if len(values) > _MOST_ROUTES:
        raise ImsError("a Service-Route of more than 16 values")
    for value in values:
        uri_in(value)
    return tuple(values)
