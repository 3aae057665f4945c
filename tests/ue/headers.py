"""Values of SIP header fields, strictly by RFC 3261 section 25.1: Via, addresses, CSeq, Digest.

Pure. The counterpart of :mod:`tests.ue.sip`, which cuts a message into rows; here a row's value
becomes data and back. What the grammar does not allow raises :class:`SipError`.
"""

import functools
import ipaddress
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_GEN_VALUE = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:]+")  # token / host
_HOST = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9.\-]*[A-Za-z0-9])?\.?")
_SEPARATORS = re.compile(r"\"(?:[^\"\\]|\\.)*\"|<[^>]*>|[,;\"<>]")
_VIA = re.compile(r"SIP\s*/\s*2\.0\s*/\s*(UDP|TCP|TLS|SCTP)[ \t]+(\S+)", re.IGNORECASE)
_URI = re.compile(r"(sips?):(?:([^@<>\s]*)@)?([^;?@<>\s]+)((?:;[^?\s<>]+)?)", re.IGNORECASE)
_USER = re.compile(r"[A-Za-z0-9\-_.!~*'()&=+$,;?/%]+")

Params = tuple[tuple[str, str | None], ...]


class SipError(ValueError):
    """The peer sent what RFC 3261 does not allow; the text says what and where."""


def split(text: str, separator: str) -> list[str]:
    """Cut at ``separator`` (comma or semicolon) outside quotes and angle brackets."""
    parts: list[str] = []
    start = 0
    for match in _SEPARATORS.finditer(text):
        mark = match.group()
        if mark in {'"', "<", ">"}:
            raise SipError(f"unbalanced {mark} in {text!r}")
        if mark == separator:
            parts.append(text[start : match.start()].strip(" \t"))
            start = match.end()
    parts.append(text[start:].strip(" \t"))
    if "" in parts:
        raise SipError(f"empty element in {text!r}")
    return parts


def parse_params(parts: Iterable[str]) -> Params:
    """Parse generic-params; names come back in lower case, a name twice is an error."""
    result: list[tuple[str, str | None]] = []
    for part in parts:
        name, equal, value = part.partition("=")
        name, value = name.strip(" \t").lower(), value.strip(" \t")
        quoted = value.startswith('"') and value.endswith('"') and len(value) > 1
        if TOKEN.fullmatch(name) is None:
            raise SipError(f"bad parameter name in {part!r}")
        if equal and not quoted and _GEN_VALUE.fullmatch(value) is None:
            raise SipError(f"bad parameter value in {part!r}")
        if any(name == seen for seen, _ in result):
            raise SipError(f"parameter {name} twice")
        result.append((name, value if equal else None))
    return tuple(result)


def render_params(params: Params) -> str:
    return "".join(f";{name}" if v is None else f";{name}={v}" for name, v in params)


def param(params: Params, name: str) -> str | None:
    """The value of a parameter; "" if it stands without one; None if absent."""
    return next((value or "" for key, value in params if key == name), None)


def host_text(address: str) -> str:
    """Write an address as a SIP host: IPv6 goes in brackets."""
    return f"[{address}]" if ":" in address and not address.startswith("[") else address


def same_host(left: str, right: str) -> bool:
    """Whether two hosts are the same, addresses by value and names without case."""
    left, right = left.strip("[]"), right.strip("[]")
    try:
        return ipaddress.ip_address(left) == ipaddress.ip_address(right)
    except ValueError:
        return left.lower() == right.lower()


def parse_hostport(text: str) -> tuple[str, int | None]:
    """Parse host [":" port]; an IPv6 reference loses its brackets."""
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        try:
            host = str(ipaddress.IPv6Address(host))
        except ValueError as error:
            raise SipError(f"bad IPv6 reference in {text!r}") from error
        if not bracket or (rest and not rest.startswith(":")):
            raise SipError(f"bad host in {text!r}")
        colon, port = rest[:1], rest[1:]
    else:
        host, colon, port = text.partition(":")
        if _HOST.fullmatch(host) is None:
            raise SipError(f"bad host in {text!r}")
    if not colon:
        return host, None
    if not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise SipError(f"bad port in {text!r}")
    return host, int(port)


@dataclass(frozen=True, slots=True)
class Via:
    """One value of Via; ``transport`` in upper case, ``host`` without brackets."""

    transport: str
    host: str
    port: int | None
    params: Params

    @property
    def branch(self) -> str:
        return param(self.params, "branch") or ""

    def with_param(self, name: str, value: str | None) -> "Via":
        kept = tuple(item for item in self.params if item[0] != name)
        return replace(self, params=(*kept, (name, value)))

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        sent_by = f"{host_text(self.host)}{port}"
        return f"SIP/2.0/{self.transport} {sent_by}{render_params(self.params)}"


@functools.lru_cache(maxsize=4096)
def parse_via(value: str) -> Via:
    head, *params = split(value, ";")
    match = _VIA.fullmatch(head)
    if match is None:
        raise SipError(f"bad Via {value!r}")
    host, port = parse_hostport(match.group(2))
    via = Via(match.group(1).upper(), host, port, parse_params(params))
    # RFC 3261 8.1.1.7: the magic cookie; a branch of RFC 2543 is not accepted here.
    if not via.branch.startswith("z9hG4bK") or len(via.branch) == len("z9hG4bK"):
        raise SipError(f"Via without a branch of RFC 3261: {value!r}")
    return via


@dataclass(frozen=True, slots=True)
class Uri:
    """A sip or sips URI."""

    scheme: str
    user: str | None
    host: str
    port: int | None
    params: Params = ()

    @property
    def aor(self) -> str:
        """The address of record: scheme, user and host, no port, no parameters."""
        user = "" if self.user is None else f"{self.user}@"
        return f"{self.scheme}:{user}{host_text(self.host).lower()}"

    @property
    def transport(self) -> str:
        """TCP or UDP; without the parameter a numeric sip URI means UDP (RFC 3263 4.1)."""
        return (param(self.params, "transport") or "udp").upper()

    def is_at(self, address: str, port: int) -> bool:
        return same_host(self.host, address) and (self.port or 5060) == port

    def __str__(self) -> str:
        user = "" if self.user is None else f"{self.user}@"
        port = "" if self.port is None else f":{self.port}"
        return f"{self.scheme}:{user}{host_text(self.host)}{port}{render_params(self.params)}"


@functools.lru_cache(maxsize=4096)
def parse_uri(text: str) -> Uri:
    match = _URI.fullmatch(text)
    if match is None:
        raise SipError(f"bad SIP URI {text!r}")
    scheme, user, hostport, params = match.groups()
    if user is not None and _USER.fullmatch(user.partition(":")[0]) is None:
        raise SipError(f"bad user in {text!r}")
    host, port = parse_hostport(hostport)
    parsed = parse_params(params[1:].split(";")) if params else ()
    return Uri(scheme.lower(), user, host, port, parsed)


@dataclass(frozen=True, slots=True)
class Address:
    """A name-addr or addr-spec with its header parameters (From, To, Contact, Route ...)."""

    uri: Uri
    params: Params = ()
    display: str = ""

    @property
    def tag(self) -> str | None:
        return param(self.params, "tag")

    def __str__(self) -> str:
        display = f"{self.display} " if self.display else ""
        return f"{display}<{self.uri}>{render_params(self.params)}"


@functools.lru_cache(maxsize=4096)
def parse_address(value: str) -> Address:
    head, *params = split(value, ";")
    if "<" not in head:
        # RFC 3261 20.10: without brackets the parameters belong to the header field.
        if "," in head or "?" in head:
            raise SipError(f"address needs angle brackets: {value!r}")
        return Address(parse_uri(head), parse_params(params))
    display, _, rest = head.partition("<")
    uri, bracket, tail = rest.partition(">")
    display = display.rstrip(" \t")
    named = display.startswith('"') or all(TOKEN.fullmatch(word) for word in display.split())
    if not bracket or tail or not named:
        raise SipError(f"bad address {value!r}")
    return Address(parse_uri(uri), parse_params(params), display)


@dataclass(frozen=True, slots=True)
class CSeq:
    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


def parse_cseq(value: str) -> CSeq:
    match = re.fullmatch(r"([0-9]{1,10})[ \t]+(\S+)", value)
    if match is None or int(match.group(1)) >= 1 << 31 or not TOKEN.fullmatch(match.group(2)):
        raise SipError(f"bad CSeq {value!r}")
    return CSeq(int(match.group(1)), match.group(2))


def parse_digest(value: str) -> dict[str, str]:
    """Parse a Digest challenge or credentials (RFC 3261 25.1); values come without quotes."""
    scheme, _, rest = value.partition(" ")
    if scheme.lower() != "digest" or not rest.strip():
        raise SipError("not a Digest header field")
    result: dict[str, str] = {}
    for part in split(rest, ","):
        name, equal, text = (piece.strip(" \t") for piece in part.partition("="))
        name = name.lower()
        if not equal or TOKEN.fullmatch(name) is None or name in result:
            raise SipError(f"bad or repeated Digest parameter {name!r}")
        if text.startswith('"'):
            if len(text) < 2 or not text.endswith('"'):
                raise SipError(f"bad quoted string in Digest parameter {name!r}")
            text = re.sub(r"\\(.)", r"\1", text[1:-1])
        elif TOKEN.fullmatch(text) is None:
            raise SipError(f"bad value of Digest parameter {name!r}")
        result[name] = text
    return result


_BARE = frozenset({"algorithm", "nc", "stale"})  # RFC 3261 25.1: tokens, not quoted strings


def render_digest(params: Mapping[str, str], *, challenge: bool = False) -> str:
    """Write a Digest header value; qop is quoted in a challenge and bare in credentials."""
    bare = _BARE if challenge else _BARE | {"qop"}
    items = (f"{n}={v}" if n in bare else f'{n}="{v}"' for n, v in params.items())
    return "Digest " + ", ".join(items)
