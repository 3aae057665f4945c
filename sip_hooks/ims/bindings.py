"""What a 200 to REGISTER grants: seconds, identities, routes (T24-P-7, TS 24.229 5.2.2)."""

from __future__ import annotations

from typing import Optional, Sequence, Tuple

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import split_outside, unfold, values_of
from sip_hooks.ims.identities import SipUri, aor_of, read_uri, uri_in

_MOST_IDENTITIES = 64
_LONGEST = 2**32 - 1


def _seconds(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10 or int(text) > _LONGEST:
        raise ImsError("expires is no number of seconds", "RFC 3261 20.19")
    return int(text)


def _expires_of(contact: str) -> Optional[int]:
    text = contact.partition(">")[2] if "<" in contact else contact.partition(";")[1:][-1]
    for part in split_outside(text, ";"):
        name, _, value = part.partition("=")
        if name.strip().lower() == "expires":
            return _seconds(value.strip())
    return None


def _same_place(one: SipUri, other: SipUri) -> bool:
    return one.host == other.host and (one.port or 5060) == (other.port or 5060)


def granted_seconds(
    *, ue_contact: Sequence[str], contact_rows: Sequence[str], expires_row: Optional[str]
) -> int:
    """Return for how long the request's contact is registered; 0 if it is not any more.

    Raises ImsError for headers that cannot be understood.
    """
    asked = values_of(tuple(ue_contact))
    if len(asked) != 1 or asked[0] == "*":
        return 0
    own = read_uri(uri_in(asked[0]))
    for value in values_of(tuple(contact_rows)):
        if not _same_place(read_uri(uri_in(value)), own):
            continue
        expires = _expires_of(value)
        if expires is not None:
            return expires
        return 0 if expires_row is None else _seconds(unfold(expires_row))
    return 0


def wants_removal(contact_rows: Sequence[str], expires_row: Optional[str]) -> bool:
    """Whether a REGISTER asks to end its registration (T24-D-1)."""
    values = values_of(tuple(contact_rows))
    if values == ["*"]:
        return True
    expires = [_expires_of(value) for value in values]
    default = None if expires_row is None else _seconds(unfold(expires_row))
    return bool(values) and all((default if e is None else e) == 0 for e in expires)


def public_identities(associated_rows: Sequence[str], to_row: str) -> Tuple[str, ...]:
    """Return the identities of P-Associated-URI in order, else that of To."""
    found = [aor_of(value) for value in values_of(tuple(associated_rows))[:_MOST_IDENTITIES]]
    return tuple(dict.fromkeys(found)) or (aor_of(to_row),)


def service_route(rows: Sequence[str]) -> Tuple[str, ...]:
    """Return the values of Service-Route in order (RFC 3608)."""
    return tuple(values_of(tuple(rows)))
