"""SIP messages, strictly by RFC 3261 sections 7 and 18.3: parse, build, cut out of a stream.

Pure. The counterpart of :mod:`tests.ue.headers`, which knows what is inside a row. Nothing is
repaired: bare LF, a missing mandatory header field, a wrong Content-Length or two From raise
:class:`SipError`, because this side exists to notice what the other side does wrong.
"""

import functools
import re
from dataclasses import dataclass, replace
from typing import Self

from tests.ue.headers import (
    TOKEN,
    Address,
    CSeq,
    SipError,
    Via,
    parse_address,
    parse_cseq,
    parse_uri,
    parse_via,
    split,
)

MESSAGE_LIMIT = 65536

_COMPACT = {  # RFC 3261 7.3.3 and the registry
    "a": "accept-contact",
    "b": "referred-by",
    "c": "content-type",
    "e": "content-encoding",
    "f": "from",
    "i": "call-id",
    "k": "supported",
    "l": "content-length",
    "m": "contact",
    "o": "event",
    "r": "refer-to",
    "s": "subject",
    "t": "to",
    "u": "allow-events",
    "v": "via",
    "x": "session-expires",
}
_SINGLE = frozenset(
    {
        *("from", "to", "call-id", "cseq", "max-forwards", "content-length", "content-type"),
        *("expires", "min-expires", "event", "subscription-state", "subject"),
    }
)
_MANDATORY = ("from", "to", "call-id", "cseq")
# Header fields whose values hold commas that do not separate values (RFC 3261 7.3.1).
_NOT_LISTS = frozenset({"authorization", "www-authenticate", "date"})
_NUMBER = re.compile(r"[0-9]{1,10}")
_STATUS = re.compile(r"SIP/2\.0 ([1-6][0-9]{2}) ([^\r\n]*)")
_CALL_ID = re.compile(r"[!-~]+")


@functools.lru_cache(maxsize=1024)
def canonical(name: str) -> str:
    """The long form of a header name in lower case."""
    lower = name.lower()
    return _COMPACT.get(lower, lower)


@dataclass(frozen=True, slots=True)
class Message:
    """What requests and responses share: rows of (name, value) in order, and a body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes

    def rows(self, name: str) -> list[str]:
        key = canonical(name)
        return [value for row, value in self.headers if canonical(row) == key]

    def values(self, name: str) -> list[str]:
        """Values of all rows in order; several rows equal one row with commas (7.3.1)."""
        rows = self.rows(name)
        if canonical(name) in _NOT_LISTS:
            return rows
        return [value for row in rows for value in split(row, ",")]

    def get(self, name: str) -> str | None:
        rows = self.rows(name)
        if len(rows) > 1:
            raise SipError(f"{name} stands {len(rows)} times")
        return rows[0] if rows else None

    def one(self, name: str) -> str:
        value = self.get(name)
        if value is None:
            raise SipError(f"{name} is missing")
        return value

    def number(self, name: str) -> int | None:
        value = self.get(name)
        if value is not None and _NUMBER.fullmatch(value) is None:
            raise SipError(f"{name} is not a number: {value!r}")
        return None if value is None else int(value)

    @property
    def vias(self) -> list[Via]:
        return [parse_via(value) for value in self.values("Via")]

    @property
    def cseq(self) -> CSeq:
        return parse_cseq(self.one("CSeq"))

    @property
    def call_id(self) -> str:
        return self.one("Call-ID")

    @property
    def from_(self) -> Address:
        return parse_address(self.one("From"))

    @property
    def to(self) -> Address:
        return parse_address(self.one("To"))

    def addresses(self, name: str) -> list[Address]:
        return [parse_address(value) for value in self.values(name)]

    def options(self, name: str) -> list[str]:
        """Option tags of Require, Proxy-Require or Supported, in lower case."""
        return [value.lower() for value in self.values(name)]

    def without(self, *names: str) -> Self:
        keys = {canonical(name) for name in names}
        return replace(self, headers=tuple(h for h in self.headers if canonical(h[0]) not in keys))

    def with_rows(self, name: str, *values: str) -> Self:
        """Replace every row of a header field; the new rows go where the first one stood."""
        key = canonical(name)
        kept = [(i, h) for i, h in enumerate(self.headers) if canonical(h[0]) != key]
        first = next((i for i, h in enumerate(self.headers) if canonical(h[0]) == key), None)
        at = len(kept) if first is None else sum(1 for i, _ in kept if i < first)
        headers = [h for _, h in kept]
        headers[at:at] = [(name, value) for value in values]
        return replace(self, headers=tuple(headers))

    def prepend(self, name: str, value: str) -> Self:
        return replace(self, headers=((name, value), *self.headers))

    @property
    def start_line(self) -> str:
        raise NotImplementedError

    def encode(self) -> bytes:
        """Write the message; Content-Length is always computed from the body."""
        rows = [h for h in self.headers if canonical(h[0]) != "content-length"]
        rows.append(("Content-Length", str(len(self.body))))
        head = "\r\n".join([self.start_line, *(f"{name}: {value}" for name, value in rows)])
        return f"{head}\r\n\r\n".encode() + self.body


@dataclass(frozen=True, slots=True)
class Request(Message):
    method: str
    uri: str

    @property
    def start_line(self) -> str:
        return f"{self.method} {self.uri} SIP/2.0"


@dataclass(frozen=True, slots=True)
class Response(Message):
    status: int
    reason: str

    @property
    def start_line(self) -> str:
        return f"SIP/2.0 {self.status} {self.reason}"


def _parse_rows(lines: list[str]) -> tuple[tuple[str, str], ...]:
    rows: list[tuple[str, str]] = []
    for line in lines:
        if line[:1] in {" ", "\t"}:
            if not rows:
                raise SipError("the first header line is folded")
            name, value = rows.pop()
            rows.append((name, " ".join((value, line.strip(" \t"))).strip(" ")))
            continue
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or TOKEN.fullmatch(name) is None:
            raise SipError(f"not a header line: {line[:60]!r}")
        rows.append((name, value.strip(" \t")))
    return tuple(rows)


def _split_head(data: bytes) -> tuple[list[str], bytes]:
    if len(data) > MESSAGE_LIMIT:
        raise SipError("message too long")
    head, blank, body = data.partition(b"\r\n\r\n")
    if not blank:
        raise SipError("no empty line after the header")
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        raise SipError("the header is not UTF-8") from error
    if re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", text):
        raise SipError("control character in the header")
    lines = text.split("\r\n")
    if any("\r" in line or "\n" in line for line in lines):
        raise SipError("bare CR or LF in the header")
    return lines, body


def parse(data: bytes, *, stream: bool) -> Request | Response:
    """Parse one whole message; ``stream``: it came over TCP (Content-Length is mandatory)."""
    lines, body = _split_head(data)
    headers = _parse_rows(lines[1:])
    message: Request | Response
    if lines[0].startswith("SIP/"):
        status = _STATUS.fullmatch(lines[0])
        if status is None:
            raise SipError(f"bad status line {lines[0]!r}")
        message = Response(headers, body, int(status.group(1)), status.group(2))
    else:
        words = lines[0].split(" ")
        if len(words) != 3 or words[2] != "SIP/2.0" or TOKEN.fullmatch(words[0]) is None:
            raise SipError(f"bad request line {lines[0]!r}")
        parse_uri(words[1])
        message = Request(headers, body, words[0], words[1])
    _check(message, stream=stream)
    return message


def _check(message: Request | Response, *, stream: bool) -> None:
    """The rules of RFC 3261 8.1.1 and 20.14 that every message keeps."""
    for name in _SINGLE:
        message.get(name)
    for name in _MANDATORY:
        message.one(name)
    if not message.vias:
        raise SipError("Via is missing")
    if _CALL_ID.fullmatch(message.call_id) is None:
        raise SipError("bad Call-ID")
    if message.from_.tag is None:
        raise SipError("From without a tag")  # RFC 3261 8.1.1.3
    _ = message.to
    for name in ("Contact", "Route", "Record-Route", "Path", "Service-Route"):
        if message.rows(name) != ["*"] or name != "Contact":
            message.addresses(name)
    if isinstance(message, Request) and message.cseq.method != message.method:
        raise SipError("CSeq names another method")
    length = message.number("Content-Length")
    if length is None and stream:
        raise SipError("Content-Length is mandatory over TCP")  # RFC 3261 18.3
    if length is not None and length != len(message.body):
        raise SipError(f"Content-Length {length}, body {len(message.body)}")
    if message.body and message.get("Content-Type") is None:
        raise SipError("a body without Content-Type")  # RFC 3261 20.15
    hops = message.number("Max-Forwards")
    if hops is not None and hops > 255:
        raise SipError("Max-Forwards above 255")


class StreamFramer:
    """Cuts messages out of a TCP stream by Content-Length (RFC 3261 18.3)."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Return every message that is now whole; CRLF between messages is skipped (7.5)."""
        self._buffer += data
        messages: list[bytes] = []
        while True:
            while self._buffer.startswith(b"\r\n"):
                del self._buffer[:2]
            end = self._buffer.find(b"\r\n\r\n")
            if end < 0:
                if len(self._buffer) > MESSAGE_LIMIT:
                    raise SipError("message too long")
                return messages
            head, _ = _split_head(bytes(self._buffer[: end + 4]))
            lengths = [v for n, v in _parse_rows(head[1:]) if canonical(n) == "content-length"]
            if len(lengths) != 1 or _NUMBER.fullmatch(lengths[0]) is None:
                raise SipError("Content-Length is mandatory over TCP")
            size = end + 4 + int(lengths[0])
            if size > MESSAGE_LIMIT:
                raise SipError("message too long")
            if len(self._buffer) < size:
                return messages
            messages.append(bytes(self._buffer[:size]))
            del self._buffer[:size]
