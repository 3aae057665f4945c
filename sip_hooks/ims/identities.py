"""Public identities: what two names have to have in common to be one."""

from __future__ import annotations

import ipaddress
import re
from typing import List, Optional, Sequence

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import WORD, values_of
from sip_hooks.ims.uris import read_address, read_uri, uri_in

_TEL = re.compile(
    r"tel:(?P<number>\+?[0-9A-Fa-f*#.\-()]+)"
    rf"(?P<parameters>(?:;{WORD}(?:=[A-Za-z0-9\-_.!~*'()%\[\]/:&+$]+)?)*)",
    re.IGNORECASE | re.ASCII,
)
_VISUAL = re.compile(r"[.\-()]")
_ESCAPE = re.compile(r"%[0-9a-f]{2}", re.IGNORECASE)
_ANONYMOUS = "sip:anonymous@anonymous.invalid"
_MOST_PREFERRED = 2  # RFC 3325 9.2: one, or a sip or sips and a tel URI


def canonical(uri: str) -> str:
    """Return the one way to write the address of record of a URI.

    Only what RFC 3261 10.3 and RFC 3966 call meaningless is dropped. Escapes stay: what one
    server decodes and another does not is two names here.
    """
    if uri[:4].lower() == "tel:":
        return _telephone(uri)
    parts = read_uri(uri)
    if parts.headers or ":" in parts.user:
        raise ImsError("a URI with headers or a password is no identity", "RFC 3261 10.3")
    host = "[{}]".format(parts.host) if ":" in parts.host else parts.host
    user = _ESCAPE.sub(lambda escape: escape[0].upper(), parts.user)
    port = "" if parts.port is None else ":{}".format(parts.port)
    return "{}:{}{}{}{}".format(parts.scheme, user, "@" if user else "", host, port)


def _telephone(uri: str) -> str:
    match = _TEL.fullmatch(uri)
    if match is None:
        raise ImsError("not a tel URI", "RFC 3966 3")
    number = _VISUAL.sub("", match["number"]).lower()
    parameters = sorted(match["parameters"].lower().split(";")[1:])
    names = [parameter.partition("=")[0] for parameter in parameters]
    is_global = number.startswith("+")
    if is_global == ("phone-context" in names) or len(set(names)) < len(names):
        raise ImsError("a tel URI that needs or must not have its context", "RFC 3966 5.1")
    if not number.strip("+") or (is_global and not number[1:].isdigit()):
        raise ImsError("not a tel URI", "RFC 3966 3")
    return ";".join(["tel:" + number, *parameters])


def aor_of(row: str) -> str:
    """Return the canonical address of record of a row or URI."""
    return canonical(read_address(row).uri)


def _canonical_ones(identities: Sequence[str]) -> List[str]:
    found: List[str] = []
    for identity in identities:
        try:
            found.append(canonical(identity))
        except ImsError:
            continue  # nobody can name it
    return found


def is_one_of(row: str, identities: Sequence[str]) -> bool:
    """Whether a row names one of these identities."""
    try:
        return aor_of(row) in _canonical_ones(identities)
    except ImsError:
        return False


def asserted(
    preferred_rows: Sequence[str], from_row: str, identities: Sequence[str]
) -> Optional[str]:
    """Return the identity that the P-CSCF asserts; None: refuse the request.

    From and P-Preferred-Identity must lie in the identities of the 200; an anonymous From may
    come with any of them, and stands for the first.
    """
    known = _canonical_ones(identities)
    try:
        sender = aor_of(from_row)
        preferred = [aor_of(value) for value in values_of(preferred_rows)]
    except ImsError:
        return None
    kinds = {name.startswith("tel:") for name in preferred}
    if len(preferred) > _MOST_PREFERRED or len(kinds) < len(preferred):
        return None
    anonymous = sender == _ANONYMOUS
    if not known or not set(preferred) <= set(known) or not (anonymous or sender in known):
        return None
    if preferred:
        return preferred[0]
    return known[0] if anonymous else sender


def transport_of(uri: str) -> str:
    """Return the transport a URI asks for in lower case; without the parameter udp."""
    try:
        return read_uri(uri).parameters.get("transport", "udp").lower()
    except ImsError:
        return "udp"


def route_user(row: str) -> str:
    """Return the user part of a Route header's first URI, empty if it has none."""
    try:
        return uri_in(values_of((row,))[0]).user
    except ImsError:
        return ""


def is_own_route(row: str, addresses: Sequence[str], port: int) -> bool:
    """Whether a Route value is one's own as one gave it: the parameter lr and nothing else."""
    try:
        uri = uri_in(row)
    except ImsError:
        return False
    return is_at(row, addresses, port) and set(uri.parameters) == {"lr"} and not uri.headers


def host_of(uri: str) -> str:
    """Return the host of a SIP URI without brackets, empty for what is none."""
    try:
        return read_uri(uri).host
    except ImsError:
        return ""


def is_at(row: str, addresses: Sequence[str], port: int) -> bool:
    """Whether a row's URI points to one of these addresses and the port."""
    try:
        uri = uri_in(row)
    except ImsError:
        return False
    return uri.host in addresses and (uri.port or 5060) == port


def is_address(host: str) -> bool:
    """Whether a host is an IP address, without a zone."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return "%" not in host
