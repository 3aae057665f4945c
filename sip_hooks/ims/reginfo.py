"""The reg event (RFC 3680): which registrations has the network ended (T24-D-3)."""

from __future__ import annotations

import re
from typing import List, Set, Tuple
from xml.etree import ElementTree as ET

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.identities import canonical

_LONGEST_BODY = 64 * 1024
_NAMESPACE = "{urn:ietf:params:xml:ns:reginfo}"
_DECLARATION = re.compile(rb"<!(?:DOCTYPE|ENTITY)", re.IGNORECASE)


def ended_aors(content_type: str, body: bytes) -> Tuple[str, ...]:
    """Return who has ended by the body of a NOTIFY; ImsError for what is no such document.

    The document decides: the end of a subscription alone ends no registration.
    """
    if content_type.partition(";")[0].strip().lower() != "application/reginfo+xml":
        return ()
    root = _read(body)
    registrations = root.findall(_NAMESPACE + "registration")
    ended: List[str] = []
    alive: Set[str] = set()
    for registration in registrations:
        aor = _aor(registration.get("aor", ""))
        if _is_over(registration):
            ended.append(aor)
        else:
            alive.add(aor)
    return tuple(aor for aor in ended if aor not in alive)


def _read(body: bytes) -> ET.Element:
    """Parse a document that is UTF-8, whatever it says, and declares nothing."""
    if len(body) > _LONGEST_BODY:
        raise ImsError("a reginfo document is longer than 64 KiB")
    # The search would not see what another encoding writes with other bytes, and the parser
    # knows UTF-16 by its first bytes whatever it is told: NUL is in each such document.
    if _DECLARATION.search(body) or b"\0" in body:
        raise ImsError("a reginfo document with a declaration or with NUL")
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - no entity can be declared
    try:
        parser.feed(body)
        root: ET.Element = parser.close()
    except (ET.ParseError, ValueError):
        raise ImsError("a reginfo document is not well-formed UTF-8", "RFC 3680") from None
    if root.tag != _NAMESPACE + "reginfo":
        raise ImsError("no reginfo document", "RFC 3680")
    return root


def _aor(text: str) -> str:
    try:
        return canonical(text.strip())
    except ImsError:
        raise ImsError("a registration without a readable aor", "RFC 3680 5.2") from None


def _is_over(registration: ET.Element) -> bool:
    contacts = registration.findall(_NAMESPACE + "contact")
    return registration.get("state") == "terminated" and all(
        contact.get("state") == "terminated" for contact in contacts
    )
