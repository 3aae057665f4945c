"""Digest credentials and challenges of Digest AKA, as far as a P-CSCF touches them.

Private identity and integrity-protected in Authorization; ck and ik in WWW-Authenticate.

Credentials come from a user agent and are read again behind us. So they are refused where the
readers of registrars differ: a backslash (some end the quoted string at any quote), a parameter
that stands twice, and integrity-protected inside another parameter (some search the row for it).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Dict, List, NamedTuple, Optional, Sequence

from sip_hooks.ims.errors import DigestError, ImsError
from sip_hooks.ims.fields import QUOTED, WORD, split_outside, unfold

_SYNTAX = "RFC 3261 25.1"
_PARAMETER = re.compile(rf"(?P<name>{WORD}) *= *(?P<value>{QUOTED}|{WORD})")
_ESCAPE = re.compile(r"\\(.)")
_KEY = re.compile(r"[0-9A-Fa-f]{32}")
_LONGEST_IDENTITY = 256
_INTEGRITY = "integrity-protected"
_KEYS = ("ck", "ik")


class _Parameter(NamedTuple):
    """``name`` in lower case, ``value`` without quotes and escapes."""

    name: str
    value: str
    written: str


def _parse(row: str) -> List[_Parameter]:
    """Return the parameters of one Digest value, duplicates among them."""
    try:
        scheme, _, rest = unfold(row).partition(" ")
        parts = split_outside(rest, ",")
    except ImsError as error:
        raise DigestError(error.reason, error.rule) from None
    if scheme.lower() != "digest":
        raise DigestError("not a Digest value", _SYNTAX)
    found: List[_Parameter] = []
    for part in parts:
        match = _PARAMETER.fullmatch(part)
        if match is None:
            raise DigestError("a Digest parameter is not a name and a value", _SYNTAX)
        value = match["value"]
        plain = _ESCAPE.sub(r"\1", value[1:-1]) if value[0] == '"' else value
        found.append(_Parameter(match["name"].lower(), plain, part))
    return found


def _by_name(parameters: Sequence[_Parameter], but: Sequence[str]) -> Dict[str, _Parameter]:
    result: Dict[str, _Parameter] = {}
    for parameter in parameters:
        if parameter.name in result and parameter.name not in but:
            raise DigestError("a Digest parameter stands twice", _SYNTAX)
        result[parameter.name] = parameter
    return result


def _credentials(row: str) -> Dict[str, _Parameter]:
    """Return the parameters of Authorization by name, without integrity-protected."""
    given = _by_name(_parse(row), but=(_INTEGRITY,))
    given.pop(_INTEGRITY, None)
    written = [parameter.written for parameter in given.values()]
    if any("\\" in text for text in written):
        raise DigestError("a backslash in credentials", "T24-P-4")
    if any(_INTEGRITY in text.lower() for text in written):
        raise DigestError("integrity-protected inside another parameter", "T33-6.1-a")
    return given


def _value(row: str, name: str) -> str:
    parameter = _credentials(row).get(name)
    return "" if parameter is None else parameter.value


def _one(rows: Sequence[str], what: str) -> str:
    if len(rows) != 1:
        raise DigestError("{} {} rows instead of one".format(len(rows), what), "T24-P-4")
    return rows[0]


def private_identity(authorization_rows: Sequence[str]) -> str:
    """Return the private identity that a REGISTER claims (T24-UE-1, T24-P-4)."""
    given = _credentials(_one(authorization_rows, "Authorization"))
    username = given.get("username")
    if username is None or "username*" in given:
        raise DigestError("no username in Authorization, or two", "T24-P-4")
    identity = username.value
    if not 0 < len(identity) <= _LONGEST_IDENTITY:
        raise DigestError("a username that is empty or too long", "T24-P-4")
    if not username.written.endswith('"') or not identity.isprintable() or " " in identity:
        raise DigestError("a username without quotes or with white space", "T24-P-4")
    return identity


def nonce_of(authorization_row: str) -> str:
    """Return the nonce of credentials, empty if there is none."""
    return _value(authorization_row, "nonce")


def mark_integrity(authorization_row: str, *, protected: bool) -> str:
    """Return credentials whose only integrity-protected is the P-CSCF's own (T33-6.1-a)."""
    return mark_integrity_as(authorization_row, "yes" if protected else "no")


def mark_integrity_as(authorization_row: str, word: str) -> str:
    """As :func:`mark_integrity`, by the word: yes, no, tls-pending or tls-yes (T33-O-b)."""
    kept = [parameter.written for parameter in _credentials(authorization_row).values()]
    # Last: what searches the row for a yes behind the name finds nothing else there.
    kept.append('{}="{}"'.format(_INTEGRITY, word))
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
    given = _by_name(parameters, but=_KEYS)
    keys: Dict[str, str] = {}
    for name, value, _ in parameters:
        if name not in _KEYS:
            continue
        if _KEY.fullmatch(value) is None or keys.setdefault(name, value.lower()) != value.lower():
            raise DigestError("{} is not one key of 32 hex digits".format(name), "T33-7.2-d")
    if "ck" in keys and "ik" not in keys:
        raise DigestError("ck without ik", "T33-7.2-d")
    kept = [parameter for parameter in parameters if parameter.name not in _KEYS]
    texts = [text.lower() for _, value, written in kept for text in (value, written)]
    if any(key in text for key in keys.values() for text in texts):
        raise DigestError("a key stands in another parameter of the challenge", "T33-7.2-d")
    plain = {name: given[name].value for name in ("nonce", "algorithm") if name in given}
    if not plain.get("nonce"):
        raise DigestError("a challenge without a nonce", "RFC 3261 22.1")
    return ChallengeKeys(
        "Digest " + ", ".join(parameter.written for parameter in kept),
        plain["nonce"],
        plain.get("algorithm", ""),
        keys.get("ik"),
        keys.get("ck"),
    )
