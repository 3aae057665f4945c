"""Registration state documents (RFC 3680) of the reg event package, as far as IMS needs them.

Pure. Written by :mod:`tests.ue.scscf`, read by :mod:`tests.ue.ue` and by a P-CSCF that follows
the registration (T24-D-3).
"""

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as ET
from xml.sax.saxutils import quoteattr

from tests.ue.headers import SipError

CONTENT_TYPE = "application/reginfo+xml"
_NAMESPACE = "urn:ietf:params:xml:ns:reginfo"


def render(registrations: Mapping[str, Sequence[str]], *, version: int, event: str | None) -> str:
    """Write a full document: public identity -> its contact URIs.

    ``event`` is None while the contacts are registered, else why they ended (RFC 3680 5.2.3:
    deactivated, rejected, expired ...).
    """
    state = "active" if event is None else "terminated"
    rows = [
        '<?xml version="1.0"?>',
        f'<reginfo xmlns="{_NAMESPACE}" version="{version}" state="full">',
    ]
    for number, (identity, contacts) in enumerate(registrations.items()):
        rows.append(f'<registration aor={quoteattr(identity)} id="r{number}" state="{state}">')
        rows += [
            f'<contact id="c{number}-{index}" state="{state}" event="{event or "registered"}">'
            f"<uri>{contact.replace('&', '&amp;').replace('<', '&lt;')}</uri></contact>"
            for index, contact in enumerate(contacts)
        ]
        rows.append("</registration>")
    return "\r\n".join([*rows, "</reginfo>", ""])


def all_terminated(document: bytes) -> bool:
    """Whether a full document says that every registration has ended."""
    try:
        root = ET.fromstring(document)
    except ET.ParseError as error:
        raise SipError("the body is no XML") from error
    states = [r.get("state") for r in root.findall(f"{{{_NAMESPACE}}}registration")]
    if root.tag != f"{{{_NAMESPACE}}}reginfo" or not states:
        raise SipError("the body is no reginfo")
    return all(state == "terminated" for state in states)
