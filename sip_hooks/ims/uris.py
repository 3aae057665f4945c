"""SIP URIs, and the header values that hold one: From, Contact, Route and their like."""

from __future__ import annotations

import ipaddress
import re
from typing import Dict, NamedTuple, Optional, Tuple

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import WORD, Parameter, read_parameters, unfold

_RULE = "RFC 3261 19.1"
# No bracket in a display name: who looks for the first one behind us would find another URI.
_DISPLAY = r'(?:"[^"\\<>]*(?:\\[^<>][^"\\<>]*)*" *|[^"<>\\,;:@=?]*)'
_NAME_ADDR = re.compile(rf'{_DISPLAY}<(?P<uri>[^<>" ]+)>(?P<parameters>.*)')
_ADDR_SPEC = re.compile(r'(?P<uri>[^ ;,?"<>\\]+)(?P<parameters>[^<>@?]*)')

_SIP = re.compile(r"(?P<scheme>sips?):(?P<rest>[!-~]+)", re.IGNORECASE | re.ASCII)
_USER = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,;?/]|%[0-9A-Fa-f]{2})+"
_SECOND = r"(?:[A-Za-z0-9\-_.!~*'()&=+$,]|%[0-9A-Fa-f]{2})*"
_USERINFO = re.compile(rf"{_USER}(?::{_SECOND})?")
_PLACE = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::(?P<port>[0-9]{1,5}))?"
    r'(?P<parameters>(?:;[^;?<>"\\]+)*)(?P<headers>(?:\?[^<>"\\]*)?)'
)
_NAME = re.compile(WORD)


class Address(NamedTuple):
    """A name-addr or addr-spec without its display name, and the header's parameters."""

    uri: str
    parameters: Tuple[Parameter, ...]


class SipUri(NamedTuple):
    """A sip or sips URI; ``user`` with a password, ``host`` as :func:`read_host` returns it."""

    scheme: str
    user: str
    host: str
    port: Optional[int]
    parameters: Dict[str, str]
    headers: str


def read_address(row: str) -> Address:
    """Read one value of a header; ImsError if it can be understood in two ways."""
    text = unfold(row)
    match = _NAME_ADDR.fullmatch(text) or _ADDR_SPEC.fullmatch(text)
    if match is None:
        raise ImsError("neither a URI nor a name and a URI in angle brackets", "RFC 3261 20.10")
    return Address(match["uri"], read_parameters(match["parameters"]))


def read_uri(uri: str) -> SipUri:
    """Take a sip or sips URI apart; ImsError for anything else."""
    match = _SIP.fullmatch(uri)
    if match is None:
        raise ImsError("not a SIP URI", _RULE)
    user, at, rest = match["rest"].rpartition("@")
    place = _PLACE.fullmatch(rest)
    if place is None or (at and _USERINFO.fullmatch(user) is None):
        raise ImsError("not a SIP URI", _RULE)
    port = None if place["port"] is None else int(place["port"])
    if port is not None and not 0 < port < 65536:
        raise ImsError("a SIP URI without a possible port", _RULE)
    parameters: Dict[str, str] = {}
    for part in place["parameters"].split(";")[1:]:
        name, _, value = part.partition("=")
        if _NAME.fullmatch(name) is None or name.lower() in parameters:
            raise ImsError("a SIP URI whose parameter has no name or stands twice", _RULE)
        parameters[name.lower()] = value
    host = read_host(place["host"])
    return SipUri(match["scheme"].lower(), user, host, port, parameters, place["headers"])


def uri_in(row: str) -> SipUri:
    """Return the sip or sips URI of one value of a header."""
    return read_uri(read_address(row).uri)


def read_host(host: str) -> str:
    """Return a host in lower case, an IPv6 address in its short form without brackets."""
    try:
        if host.startswith("["):
            return ipaddress.IPv6Address(host[1:-1]).compressed
        if host.rpartition(".")[2][:1].isdigit():  # RFC 3261 25.1: no name ends like this
            return ipaddress.IPv4Address(host).compressed
    except ValueError:
        raise ImsError("a host is no address", _RULE) from None
    if ".." in host or host.startswith((".", "-")):
        raise ImsError("a host is no name", _RULE)
    return host.lower()
