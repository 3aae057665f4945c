"""Header rows taken apart by the lexical rules of RFC 3261 section 25.1; sizes are limited.

What a lenient reader behind us could take apart in another way is refused, not guessed at.
"""

from __future__ import annotations

import re
from typing import List, Optional, Sequence, Tuple

from sip_hooks.ims.errors import ImsError

LONGEST_ROW = 16 * 1024
WORD = r"[A-Za-z0-9\-.!%*_+`'~]+"
QUOTED = r'"[^"\\]*(?:\\.[^"\\]*)*"'

_SYNTAX = "RFC 3261 25.1"
_FOLD = re.compile(r"\r?\n[ \t]+|\t")
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")
_PIECE = re.compile(rf'{QUOTED}|<[^<>"]*>|[^"<>,;]+|[,;]|(?P<broken>.)', re.DOTALL)
_PARAMETER = re.compile(
    rf' *; *(?P<name>{WORD})(?: *= *(?:(?P<quoted>{QUOTED})|(?P<plain>[^ ;,"<>\\]+)))?'
)

#: Name in lower case; value as written, with its quotes if it has any, None without one.
Parameter = Tuple[str, Optional[str]]


def unfold(row: str) -> str:
    """Return a row on one line; ImsError for one that is too long or holds control characters."""
    if len(row) > LONGEST_ROW or len(row.encode("utf-8", "surrogatepass")) > LONGEST_ROW:
        raise ImsError("a header row is longer than 16 KiB")
    text = _FOLD.sub(" ", row).strip(" \r\n")
    if _FORBIDDEN.search(text) is not None:
        raise ImsError("a header row holds a control character or no Unicode", _SYNTAX)
    return text


def split_outside(text: str, separator: str) -> List[str]:
    """Split at ``separator``, "," or ";", outside quoted strings and angle brackets."""
    parts: List[str] = []
    start = 0
    for piece in _PIECE.finditer(text):
        if piece["broken"]:
            raise ImsError("a quoted string or an angle bracket stands alone", _SYNTAX)
        if piece[0] == separator:
            parts.append(text[start : piece.start()].strip(" "))
            start = piece.end()
    parts.append(text[start:].strip(" "))
    return parts


def values_of(rows: Sequence[str]) -> List[str]:
    """Return the comma-separated values of all rows of a header, in order."""
    values: List[str] = []
    for row in rows:
        found = split_outside(unfold(row), ",")
        for index, value in enumerate(found):
            # RFC 3261 20: sip:a,b@c needs brackets. Is it one URI, or are these two?
            before = found[index - 1] if index else "@"
            if "@" in value and not set('<"') & set(value) and not set('<"@') & set(before):
                raise ImsError("a comma in a URI without angle brackets", "RFC 3261 20")
        values.extend(found)
    return values


def read_parameters(text: str) -> Tuple[Parameter, ...]:
    """Read ``;name=value`` to the end of ``text``."""
    found: List[Parameter] = []
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise ImsError("what stands behind a value is no parameter", _SYNTAX)
        found.append((match["name"].lower(), match["quoted"] or match["plain"]))
        at = match.end()
    return tuple(found)
