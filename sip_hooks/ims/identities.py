"""Public identities and URIs: what two names have to have in common to be one."""

from __future__ import annotations

import ipaddress
import re
from typing import Dict, NamedTuple, Optional, Sequence

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import unfold, values_of

_SIP = re.compile(
    r"(?P<scheme>sips?):(?:(?P<user>[^@;?<>\s]*)@)?"
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::(?P<port>[0-9]{1,5}))?"
    r"(?P<parameters>(?:;[^?<>\s]*)?)(?:\?[^<>\s]*)?",
    re.IGNORECASE,
)
_TEL = re.compile(r"tel:(\+?[0-9*#.\-()]+)(?:;[^<>\s]*)?", re.IGNORECASE)
_VISUAL = re.compile(r"[.\-()]")
_ANONYMOUS = "sip:anonymous@anonymous.invalid"


class SipUri(NamedTuple):
    """A sip or sips URI; ``host`` in lower case without brackets."""

    scheme: str
    user: str
    host: str
    port: Optional[int]
    parameters: Dict[str, str]


def uri_in(row: str) -> str:
    """Return the URI of a name-addr or addr-spec (From, Contact, Route, ...)."""
    text = unfold(row)
    before, bracket, rest = text.partition("<")
    if bracket and before.count('"') % 2 == 0:
        return rest.partition(">")[0].strip()
    if bracket:  # a bracket inside the display name
        quoted_end = text.rfind('"')
        return text[quoted_end:].partition("<")[2].partition(">")[0].strip()
    return text.partition(";")[0].strip()  # RFC 3261 20.10: parameters are the header's


def read_uri(uri: str) -> SipUri:
    """Take a sip or sips URI apart; ImsError for anything else."""
    match = _SIP.fullmatch(uri.strip())
    if match is None or (match["port"] and int(match["port"]) > 65535):
        raise ImsError("not a SIP URI", "RFC 3261 19.1")
    parameters: Dict[str, str] = {}
    for part in match["parameters"].split(";")[1:]:
        name, _, value = part.partition("=")
        parameters[name.strip().lower()] = value.strip()
    host = match["host"].strip("[]").lower()
    if match["host"].startswith("["):
        try:
            host = ipaddress.ip_address(host).compressed
        except ValueError:
            raise ImsError("not a SIP URI", "RFC 3261 19.1") from None
    return SipUri(
        match["scheme"].lower(),
        match["user"] or "",
        host,
        int(match["port"]) if match["port"] else None,
        parameters,
    )


def aor_of(row: str) -> str:
    """Return the canonical address of record of a row or URI."""
    uri = uri_in(row)
    telephone = _TEL.fullmatch(uri)
    if telephone is not None:
        return "tel:" + _VISUAL.sub("", telephone[1])
    parts = read_uri(uri)
    host = "[{}]".format(parts.host) if ":" in parts.host else parts.host
    user = "{}@".format(parts.user.partition(":")[0]) if parts.user else ""
    return "{}:{}{}".format(parts.scheme, user, host)


def is_one_of(row: str, identities: Sequence[str]) -> bool:
    """Whether a row names one of these canonical identities."""
    try:
        return aor_of(row) in identities
    except ImsError:
        return False


def asserted(
    preferred_rows: Sequence[str], from_row: str, identities: Sequence[str]
) -> Optional[str]:
    """Return the identity that the P-CSCF asserts; None: refuse the request.

    From and P-Preferred-Identity must lie in the identities of the 200; an anonymous From may
    come with any of them, and stands for the first.
    """
    if not identities:
        return None
    preferred = values_of(tuple(preferred_rows))
    if any(not is_one_of(value, identities) for value in preferred):
        return None
    anonymous = is_one_of(from_row, (_ANONYMOUS,))
    if not anonymous and not is_one_of(from_row, identities):
        return None
    if preferred:
        return aor_of(preferred[0])
    return identities[0] if anonymous else aor_of(from_row)


def transport_of(uri: str) -> str:
    """Return the transport a URI asks for in lower case; without the parameter udp."""
    try:
        return read_uri(uri).parameters.get("transport", "udp").lower()
    except ImsError:
        return "udp"


def route_user(row: str) -> str:
    """Return the user part of a Route header's first URI, empty if it has none."""
    try:
        return read_uri(uri_in(values_of((row,))[0])).user
    except ImsError:
        return ""


def is_at(row: str, addresses: Sequence[str], port: int) -> bool:
    """Whether a row's URI points to one of these addresses and the port."""
    try:
        uri = read_uri(uri_in(row))
    except ImsError:
        return False
    return uri.host in addresses and (uri.port or 5060) == port


def is_address(host: str) -> bool:
    """Whether a host is an IP address."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
