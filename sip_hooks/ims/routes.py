"""Via and Route: is this the first hop, and is this the way that the registrar gave."""

from __future__ import annotations

import ipaddress
import re
from typing import List, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import WORD, Parameter, read_parameters, unfold, values_of
from sip_hooks.ims.uris import SipUri, read_host, uri_in

_VIA = re.compile(
    rf"SIP */ *2\.0 */ *{WORD} +(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._\-]+)"
    r"(?: *: *[0-9]{1,5})?(?P<parameters>(?: *;.*)?)",
    re.IGNORECASE | re.ASCII,
)


class _Via(NamedTuple):
    host: str
    parameters: Tuple[Parameter, ...]


def _read_via(value: str) -> _Via:
    match = _VIA.fullmatch(unfold(value))
    if match is None:
        raise ImsError("not a Via", "RFC 3261 20.42")
    return _Via(match["host"], read_parameters(match["parameters"].strip(" ")))


def has_one_via(rows: Sequence[str]) -> bool:
    """Whether a request has exactly one Via value: only then this is its first hop.

    R3329-2.3.2-b. What cannot be read as one is not one.
    """
    try:
        values = values_of(rows)
        return len(values) == 1 and bool(_read_via(values[0]))
    except ImsError:
        return False


def via_branch(row: str) -> str:
    """Return the branch of a Via value, empty if it has not exactly one."""
    try:
        found = [value for name, value in _read_via(row).parameters if name == "branch"]
    except ImsError:
        return ""
    return (found[0] or "") if len(found) == 1 else ""


def via_host(row: str) -> str:
    """Return the host of a Via's sent-by, without brackets and port; empty if it has none.

    An IPv6 address is in its short form.
    """
    try:
        return read_host(_read_via(row).host)
    except ImsError:
        return ""


def via_address(row: str) -> Optional[str]:
    """Return the host of a Via's sent-by if it is an IP address, in its short form."""
    host = via_host(row)
    try:
        return ipaddress.ip_address(host).compressed
    except ValueError:
        return None


def same_routes(route_rows: Sequence[str], service_route: Sequence[str]) -> bool:
    """Whether Route values lead the way that Service-Route gave (TS 24.229 5.2.6.3)."""
    try:
        return _hops(values_of(route_rows)) == _hops(service_route)
    except ImsError:
        return False


def _hops(values: Sequence[str]) -> List[SipUri]:
    uris = [uri_in(value) for value in values]
    return [uri._replace(port=uri.port or 5060) for uri in uris]
