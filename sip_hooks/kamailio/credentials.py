"""Digest credentials of our own realm: what d-ver needs of them.

Kamailio's auth module has checked the response; here the same row is read again. A row that the
two could read differently is of no use: it counts as no credentials at all.
"""

from __future__ import annotations

import re
from typing import Dict, NamedTuple, Optional, Sequence, Tuple

from sip_hooks.ims.errors import ImsError
from sip_hooks.ims.fields import QUOTED, WORD, split_outside, unfold

_PARAMETER = re.compile(rf"({WORD}) *= *({QUOTED}|{WORD})")
_NC = re.compile(r"[0-9a-f]{8}")


class Credentials(NamedTuple):
    """One row of Authorization or Proxy-Authorization, values without quotes."""

    username: str
    uri: str
    nonce: str
    qop: str
    nc: str
    cnonce: str
    algorithm: str


def credentials_of(rows: Sequence[str], realm: str) -> Optional[Credentials]:
    """Return the credentials of a realm; None without, with two, and for what cannot be read.

    Those without qop, nc or cnonce are none: nothing counts their nonce (R3329-5-d).
    """
    found = [row for row in map(_parameters, rows) if row.get("realm") == realm]
    if len(found) != 1:
        return None
    given = found[0]
    counted = _NC.fullmatch(given.get("nc", "")) is not None
    if not counted or not all(given.get(n) for n in ("username", "uri", "nonce", "qop", "cnonce")):
        return None
    return Credentials(
        given["username"],
        given["uri"],
        given["nonce"],
        given["qop"],
        given["nc"],
        given["cnonce"],
        given.get("algorithm", "MD5"),
    )


def without(rows: Sequence[str], realm: str) -> Tuple[str, ...]:
    """Return the rows that are not of a realm: they are for somebody behind us."""
    return tuple(row for row in rows if _parameters(row).get("realm") != realm)


def _parameters(row: str) -> Dict[str, str]:
    """Return the parameters of one row, nothing for a row that is no plain Digest value."""
    if "\\" in row:  # readers differ in where such a quoted string ends
        return {}
    try:
        scheme, _, rest = unfold(row).partition(" ")
        parts = split_outside(rest, ",")
    except ImsError:
        return {}
    found: Dict[str, str] = {}
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if scheme.lower() != "digest" or match is None or match[1].lower() in found:
            return {}
        found[match[1].lower()] = match[2].strip('"')
    return found
