"""The reg event (RFC 3680): which registrations has the network ended (T24-D-3)."""

from __future__ import annotations

import re
from typing import List, NamedTuple, Tuple
from xml.etree import ElementTree

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.identities import aor_of

_LONGEST_BODY = 64 * 1024
_NAMESPACE = "{urn:ietf:params:xml:ns:reginfo}"
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


class RegistrationEnd(NamedTuple):
    """``aors`` have ended; ``everything``: all that a document that is complete names."""

    everything: bool
    aors: Tuple[str, ...]


def ended_aors(content_type: str, body: bytes, subscription_state: str) -> RegistrationEnd:
    """Read the body of a NOTIFY of the reg event; ImsError for what is no such document.

    The document decides: the end of a subscription alone ends no registration, so
    ``subscription_state`` does not count.
    """
    del subscription_state
    if content_type.partition(";")[0].strip().lower() != "application/reginfo+xml":
        return RegistrationEnd(False, ())
    if len(body) > _LONGEST_BODY:
        raise ImsError("a reginfo document is longer than 64 KiB")
    if _DECLARATION.search(body) or b"\0" in body:
        raise ImsError("a reginfo document with a declaration")
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 - no entity can be declared, see above
    except ElementTree.ParseError:
        raise ImsError("a reginfo document is not well-formed", "RFC 3680") from None
    if root.tag != _NAMESPACE + "reginfo":
        raise ImsError("no reginfo document", "RFC 3680")
    ended: List[str] = []
    alive = False
    registrations = root.findall(_NAMESPACE + "registration")
    for registration in registrations:
        contacts = registration.findall(_NAMESPACE + "contact")
        over = registration.get("state") == "terminated" and all(
            contact.get("state") == "terminated" for contact in contacts
        )
        if over:
            ended.append(aor_of(registration.get("aor", "")))
        else:
            alive = True
    complete = root.get("state") == "full"
    return RegistrationEnd(bool(registrations) and complete and not alive, tuple(ended))
