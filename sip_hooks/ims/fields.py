"""Splitting header values where quotes and angle brackets allow it; sizes are limited."""

from __future__ import annotations

import re
from typing import List

from sip_hooks.ims.errors import ImsError

LONGEST_ROW = 16 * 1024
_FOLD = re.compile(r"\r?\n[ \t]+|[\t]")


def unfold(row: str) -> str:
    """Return a row on one line; ImsError for one that is too long or holds control characters."""
    if len(row) > LONGEST_ROW:
        raise ImsError("a header row is longer than 16 KiB")
    text = _FOLD.sub(" ", row).strip()
    if any(ord(c) < 32 or ord(c) == 127 for c in text):
        raise ImsError("a header row holds a control character")
    return text


def split_outside(text: str, separator: str) -> List[str]:
    """Split at ``separator`` outside quoted strings and angle brackets; parts are stripped."""
    parts: List[str] = []
    start = index = 0
    quoted = bracketed = False
    while index < len(text):
        c = text[index]
        if quoted:
            if c == "\\":
                index += 1
            elif c == '"':
                quoted = False
        elif c == '"':
            quoted = True
        elif c == "<":
            bracketed = True
        elif c == ">":
            bracketed = False
        elif c == separator and not bracketed:
            parts.append(text[start:index].strip())
            start = index + 1
        index += 1
    if quoted or bracketed:
        raise ImsError("a quoted string or an angle bracket is not closed")
    parts.append(text[start:].strip())
    return parts


def values_of(rows: "List[str] | tuple[str, ...]") -> List[str]:
    """Return the comma-separated values of all rows of a header, in order."""
    values: List[str] = []
    for row in rows:
        values.extend(split_outside(unfold(row), ","))
    return values
