"""Digest credentials and challenges of Digest AKA, as far as a P-CSCF touches them.

Private identity and integrity-protected in Authorization; ck and ik in WWW-Authenticate.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, Optional, Sequence, Tuple

from sip_hooks.ims.errors import DigestError, ImsError
from sip_hooks.ims.fields import split_outside, unfold

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_LONGEST_IDENTITY = 256
_INTEGRITY = "integrity-protected"
_KEYS = ("ck", "ik")
_MENTIONS = re.compile(r"(?:^|[\s,;])(?:ck|ik)\s*=", re.IGNORECASE)

_Parameter = Tuple[str, str, str]  # name in lower case, value without quotes, as written


def _parse(row: str) -> List[_Parameter]:
    """Return the parameters of one Digest value, duplicates among them."""
    try:
        text = unfold(row)
        scheme, _, rest = text.partition(" ")
        if scheme.lower() != "digest" or not rest.strip():
            raise DigestError("not a Digest value", "RFC 3261 25.1")
        parts = split_outside(rest, ",")
    except DigestError:
        raise
    except ImsError as error:
        raise DigestError(error.reason, error.rule) from None
    found: List[_Parameter] = []
    for part in parts:
        name, equal, value = part.partition("=")
        name, value = name.strip(), value.strip()
        if not equal or _TOKEN.fullmatch(name) is None:
            raise DigestError("a Digest parameter has no name", "RFC 3261 25.1")
        if value[:1] == '"':
            if len(value) < 2 or value[-1] != '"':
                raise DigestError("text follows a quoted Digest value", "RFC 3261 25.1")
            plain = re.sub(r"\\(.)", r"\1", value[1:-1])
        elif _TOKEN.fullmatch(value) is not None:
            plain = value
        else:
            raise DigestError("a Digest value is neither token nor quoted", "RFC 3261 25.1")
        found.append((name.lower(), plain, part))
    return found


def _unique(parameters: Sequence[_Parameter], but: Sequence[str] = ()) -> Dict[str, str]:
    result: Dict[str, str] = {}
    for name, value, _ in parameters:
        if name in result and name not in but:
            raise DigestError("a Digest parameter stands twice", "RFC 3261 25.1")
        result[name] = value
    return result


def _one(rows: Sequence[str], what: str) -> str:
    if len(rows) != 1:
        raise DigestError("{} {} rows instead of one".format(len(rows), what), "T24-P-4")
    return rows[0]


def private_identity(authorization_rows: Sequence[str]) -> str:
    """Return the private identity that a REGISTER claims (T24-UE-1, T24-P-4)."""
    given = _unique(_parse(_one(authorization_rows, "Authorization")), but=(_INTEGRITY,))
    identity = given.get("username", "")
    if not 0 < len(identity) <= _LONGEST_IDENTITY:
        raise DigestError("no username in Authorization, or one that is too long", "T24-P-4")
    return identity


def nonce_of(authorization_row: str) -> str:
    """Return the nonce of credentials, empty if there is none."""
    return _unique(_parse(authorization_row), but=(_INTEGRITY,)).get("nonce", "")


def has_response(authorization_row: str) -> bool:
    """Whether credentials answer a challenge."""
    return bool(_unique(_parse(authorization_row), but=(_INTEGRITY,)).get("response"))


def mark_integrity(authorization_row: str, *, protected: bool) -> str:
    """Return credentials whose only integrity-protected is the P-CSCF's own (T33-6.1-a)."""
    kept = [written for name, _, written in _parse(authorization_row) if name != _INTEGRITY]
    kept.append('{}="{}"'.format(_INTEGRITY, "yes" if protected else "no"))
    return "Digest " + ", ".join(kept)


@dataclass(frozen=True)
class ChallengeKeys:
    """A challenge without its keys, and the keys in hex (not printed)."""

    clean: str
    nonce: str
    algorithm: str
    integrity_key: Optional[str] = field(repr=False)
    cipher_key: Optional[str] = field(repr=False)


def take_keys(rows: Sequence[str]) -> ChallengeKeys:
    """Take ck and ik out of the WWW-Authenticate of a 401 (T33-7.2-d, INTEROP-9)."""
    parameters = _parse(_one(rows, "WWW-Authenticate"))
    given = _unique(parameters, but=_KEYS)
    keys: Dict[str, Optional[str]] = dict.fromkeys(_KEYS)
    for name, value, _ in parameters:
        if name not in _KEYS:
            continue
        if _KEY.fullmatch(value) is None or keys[name] not in (None, value.lower()):
            raise DigestError("{} is not one key of 32 hex digits".format(name), "T33-7.2-d")
        keys[name] = value.lower()
    if keys["ck"] is not None and keys["ik"] is None:
        raise DigestError("ck without ik", "T33-7.2-d")
    clean = "Digest " + ", ".join(w for name, _, w in parameters if name not in _KEYS)
    if any(key is not None and key in clean.lower() for key in keys.values()):
        raise DigestError("a key stands in another parameter of the challenge", "T33-7.2-d")
    return ChallengeKeys(
        clean, given.get("nonce", ""), given.get("algorithm", ""), keys["ik"], keys["ck"]
    )


def mentions_keys(rows: Sequence[str]) -> bool:
    """Whether any row looks as if it held a parameter ck or ik."""
    return any(_MENTIONS.search(row) is not None for row in rows)
