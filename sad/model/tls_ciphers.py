"""Which cipher suites of TLS 1.2 may be set (RFC 9325 4.2), and which fit a key. Pure.

Only names, no expressions of OpenSSL: what ``HIGH`` means changes with the library. The suites of
TLS 1.3 are all good and not chosen here.
"""

from collections.abc import Sequence
from typing import Final

DEFAULT_CIPHERS: Final = (
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
)
"""Forward secrecy and authenticated encryption, the strongest first."""

_VETTED: Final = frozenset(
    {
        *DEFAULT_CIPHERS,
        "ECDHE-ECDSA-AES128-CCM",
        "ECDHE-ECDSA-AES256-CCM",
    }
)

#: A piece of a name -> why no suite with it is taken; the first that fits is the one to tell.
_WEAK: Final = (
    ("NULL", "does not encrypt (RFC 9325 4.1)"),
    ("EXP", "has export strength (RFC 9325 4.1)"),
    ("ADH", "authenticates nobody"),
    ("AECDH", "authenticates nobody"),
    ("RC4", "RC4 is forbidden (RFC 7465)"),
    ("3DES", "3DES is too short (RFC 9325 4.1)"),
    ("DES-CBC", "DES is too short (RFC 9325 4.1)"),
    ("MD5", "MD5 is broken (RFC 9155)"),
    ("PSK", "is of preshared keys, and there are none here"),
    ("SRP", "is of passwords, and there are none here"),
    ("CCM8", "its tag is too short (RFC 9325 4.2)"),
)
_TLS13: Final = "TLS_"


def fault_of(name: str) -> str | None:
    """Return why a suite may not be set, None if it may."""
    if name in _VETTED:
        return None
    upper = name.upper()
    if upper.startswith(_TLS13):
        return "is a suite of TLS 1.3 (or named by IANA): those of 1.3 are always on"
    if upper in _VETTED:
        return f"is not written as OpenSSL does: {upper}"
    if not name.replace("-", "").isalnum():
        return "is an expression: what it means changes with OpenSSL"
    for piece, why in _WEAK:
        if piece in upper:
            return why
    if upper.startswith(("DHE-", "EDH-")):
        return "finite-field DHE of TLS 1.2 is discouraged (RFC 9325 4.1)"
    if not upper.startswith("ECDHE-"):
        return "has no forward secrecy, or is no suite of OpenSSL (RFC 9325 4.1)"
    if upper.endswith(("-SHA", "-SHA256", "-SHA384")) and "GCM" not in upper:
        return "is of CBC mode, without authenticated encryption (RFC 9325 4.2.1)"
    return "is none of those that were vetted"


def fits(names: Sequence[str], kind: str) -> bool:
    """Whether a server with a key of this kind can speak TLS 1.2 with one of the suites."""
    wanted = "RSA" if kind == "RSA" else "ECDSA"
    return any(f"-{wanted}-" in name for name in names)
