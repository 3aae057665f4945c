r"""The lexical rules of RFC 3261 section 25.1 that RFC 3329 section 2.2 builds on.

One compiled pattern takes a list element (a separator, a name, perhaps a value) at a time; what it
cannot take it swallows as a whole, so a row is read in one pass whose work grows with its length.
:func:`diagnose` says afterwards what was wrong, where. Counterpart of :mod:`.headers`, which gives
the elements their meaning.

Line folding is CRLF, or a lone LF, before white space: where a header field ends was settled by
the SIP server before we see it, so the lone LF of sloppy senders costs nothing.
"""

from __future__ import annotations

import re
from typing import Final, Optional

RULE_SYNTAX: Final = "R3329-2.2-a"

_WORD: Final = r"[A-Za-z0-9\-.!%*_+`'~]+"
# Hostname and IPv4address are tokens by their characters; only the IPv6reference of `host` is not
_IPV6_REFERENCE: Final = r"\[[0-9A-Fa-f:.]+\]"
_QDTEXT: Final = r'[^"\\\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]*'
_QUOTED_PAIR: Final = r"\\[\x00-\x09\x0b\x0c\x0e-\x7f]"
_FOLD: Final = r"\r?\n[ \t]"


def _element_pattern(white_space: str, quoted_unit: str) -> re.Pattern[str]:
    quoted = rf'"{_QDTEXT}(?:{quoted_unit}{_QDTEXT})*"'
    value = rf"(?:{white_space}={white_space}({_WORD}|{quoted}|{_IPV6_REFERENCE}))?"
    return re.compile(rf"([;,]){white_space}({_WORD}){value}{white_space}|([\s\S]+)")


_FLAT_ELEMENT: Final = _element_pattern(r"[ \t]*", _QUOTED_PAIR)
_FOLDED_ELEMENT: Final = _element_pattern(
    rf"[ \t]*(?:{_FOLD}[ \t]*)*", rf"(?:{_QUOTED_PAIR}|{_FOLD})"
)
_SKIPPED: Final = re.compile(rf"[ \t]*(?:{_FOLD}[ \t]*)*")
_TOKEN_ONLY: Final = re.compile(_WORD)
_PLAIN: Final = re.compile(rf"{_WORD[:-2]},;=]*")
_VALUE_START: Final = re.compile(rf'{_WORD}|"{_QDTEXT}(?:(?:{_QUOTED_PAIR}|{_FOLD}){_QDTEXT})*"')
_UNFOLD: Final = re.compile(r"\r?\n[ \t]+")
_UNESCAPE: Final = re.compile(r"\\([\s\S])")
_MUST_ESCAPE: Final = re.compile(r'(["\\\x00-\x08\x0a-\x1f\x7f])')
_QUOTABLE: Final = re.compile(r"[^\r\n\ud800-\udfff]*")
_QVALUE: Final = re.compile(r"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?")
_LHEX32: Final = re.compile(r"[0-9a-f]{32}")


def elements_of(row: str) -> re.Pattern[str]:
    """Return the pattern for ``"," + row``: groups separator, name, value or "", the unreadable.

    The comma put before the row makes its first mechanism look like every other one.
    """
    return _FOLDED_ELEMENT if "\n" in row else _FLAT_ELEMENT


def is_token(text: str) -> bool:
    """Whether ``text`` is a token of RFC 3261."""
    return _TOKEN_ONLY.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Whether ``text`` has characters of tokens and separators alone: no space, nothing quoted."""
    return _PLAIN.fullmatch(text) is not None


def is_ipv6_reference(text: str) -> bool:
    """Whether ``text`` is an IPv6 address in square brackets."""
    import ipaddress  # noqa: PLC0415 - no real header has one: spare every start-up the import

    if not (text.startswith("[") and text.endswith("]") and "%" not in text):
        return False
    try:
        ipaddress.IPv6Address(text[1:-1])
    except ValueError:
        return False
    return True


def is_quotable(text: str) -> bool:
    """Whether ``text`` can be the content of a quoted string: no line ends, valid Unicode."""
    return _QUOTABLE.fullmatch(text) is not None


def is_lhex32(text: str) -> bool:
    """Whether ``text`` is 32LHEX: exactly 32 lower-case hexadecimal digits (R3329-2.2-c)."""
    return _LHEX32.fullmatch(text) is not None


def parse_qvalue(text: str) -> Optional[int]:
    """Return a qvalue in thousandths, 0 to 1000, or None if it is none (R3329-2.2-b)."""
    if _QVALUE.fullmatch(text) is None:
        return None
    whole, _, fraction = text.partition(".")
    return int(whole) * 1000 + int(fraction.ljust(3, "0"))


def render_qvalue(thousandths: int) -> str:
    """Return the shortest qvalue of ``thousandths``, e.g. ``0.1`` for 100."""
    text = f"{thousandths // 1000}.{thousandths % 1000:03d}".rstrip("0")
    return text.removesuffix(".")


def unfold(text: str) -> str:
    """Return text on one line: each fold with the white space behind it is one SP."""
    return _UNFOLD.sub(" ", text)  # R3261-7.3.1-c


def unquote(quoted_string: str) -> str:
    """Return the content of a quoted string given with its quotes; a fold becomes one SP."""
    content = quoted_string[1:-1]
    if "\n" in content:
        content = unfold(content)
    return _UNESCAPE.sub(r"\1", content) if "\\" in content else content


def quote(content: str) -> str:
    """Return ``content`` as a quoted string, escaped where the grammar needs it."""
    escaped = _MUST_ESCAPE.sub(r"\\\1", content)
    return f'"{escaped}"'


def shorten(text: str) -> str:
    """Return peer text fit for a log: printable and at most some 40 characters."""
    shown = text if len(text) <= 40 else f"{text[:37]}..."
    return ascii(shown)


def diagnose(row: str, position: int) -> tuple[int, str]:
    """Say where and why reading ``row`` stopped at ``position``; -1 is the comma put before it."""
    # The row's own start and the separators share one question: what should be named here?
    opener = "," if position < 0 else row[position]
    if opener not in ";,=":
        return position, f"{_shown(row, position)} stands where ';' or ',' is expected"
    at = _skip(row, position + 1)
    following = row[at : at + 1]
    if opener == "=":
        return _diagnose_value(row, position, at)
    wanted = "parameter" if opener == ";" else "mechanism"
    if following in ("", ";", ","):
        return at, f"a {wanted} is missing"
    if following == "=":
        return at, f"the name of a {wanted} is missing before '='"
    return at, f"{_shown(row, at)} cannot begin the name of a {wanted}"


def _diagnose_value(row: str, equals_at: int, at: int) -> tuple[int, str]:
    following = row[at : at + 1]
    if following in ("", ";", ","):
        return at, "a value is missing after '='"
    if following == "[":
        return at, "the IPv6 address is malformed"
    if _VALUE_START.match(row, at):
        return equals_at, "a second '=' follows a value"
    if following == '"':
        return at, "the quoted string is not closed or holds a forbidden character"
    return at, f"{_shown(row, at)} cannot begin a value"


def _skip(row: str, at: int) -> int:
    skipped = _SKIPPED.match(row, at)
    return skipped.end() if skipped else at


def _shown(row: str, at: int) -> str:
    return ascii(row[at : at + 1])
