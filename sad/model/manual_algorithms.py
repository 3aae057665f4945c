"""Algorithms of manually keyed SAs: ours by RFC 8221, and why every other one is refused.

They are named as their RFCs and IANA's registry do, the length of an AES key with them: unlike
those of ipsec-3gpp they have keys of their own, which no clause of TS 33.203 derives.
"""

import re
from typing import Final, NamedTuple

from netlink.transforms import Encryption, Integrity

MANUAL_INTEGRITY: Final = {
    "hmac-sha-256-128": Integrity(name="hmac(sha256)", key_bits=256, icv_bits=128),  # RFC 4868
    "hmac-sha-1-96": Integrity(name="hmac(sha1)", key_bits=160, icv_bits=96),  # RFC 2404
}
MANUAL_ENCRYPTION: Final = {
    "null": Encryption(name="ecb(cipher_null)", key_bits=0),  # RFC 2410
    "aes-cbc-128": Encryption(name="cbc(aes)", key_bits=128),  # RFC 3602
    "aes-cbc-256": Encryption(name="cbc(aes)", key_bits=256),
}


class AlgorithmFault(NamedTuple):
    """Why an algorithm is no good for manual keys, the rule, and the way out."""

    reason: str
    rule: str
    hint: str


_USE_CBC: Final = "take aes-cbc-256 or aes-cbc-128 with hmac-sha-256-128"
_COUNTER: Final = re.compile(r"(?:.*(?:gcm|ccm|ctr|gmac)|chacha20)", re.IGNORECASE)
_NAME: Final = re.compile(r"[A-Za-z0-9]{1,12}(?:[-_][A-Za-z0-9]{1,12}){0,5}")
_WEAK_INTEGRITY: Final = re.compile(r".*(?:md5|des|kpdk)", re.IGNORECASE)
_WEAK_ENCRYPTION: Final = re.compile(r".*(?:des|blowfish|idea|cast|rc4|rc5)", re.IGNORECASE)


def integrity_fault(name: str) -> AlgorithmFault | None:
    """Return why an integrity algorithm is refused; None if it is one of ours."""
    if name in MANUAL_INTEGRITY:
        return None
    known = f"take {' or '.join(MANUAL_INTEGRITY)}"
    if _COUNTER.match(name):
        return _counter_fault(name, known)
    if name in {"null", "none", ""}:
        # RFC 8221 section 4: AUTH_NONE goes with AEAD only, never with ENCR_NULL
        return AlgorithmFault("ESP without integrity protection", "IPS-4", known)
    if _WEAK_INTEGRITY.match(name):
        return AlgorithmFault(f"{_shown(name)} must not be used any more", "IPS-5", known)
    return AlgorithmFault(f"{_shown(name)} is not known to this version", "IPS-5", known)


def encryption_fault(name: str) -> AlgorithmFault | None:
    """Return why an encryption algorithm is refused; None if it is one of ours."""
    if name in MANUAL_ENCRYPTION:
        return None
    known = f"take {', '.join(MANUAL_ENCRYPTION)}"
    if _COUNTER.match(name):
        return _counter_fault(name, _USE_CBC)
    if name == "aes-cbc":
        reason = "aes-cbc does not say how long its key is"
        return AlgorithmFault(reason, "IPS-5", "write aes-cbc-128 or aes-cbc-256")
    if _WEAK_ENCRYPTION.match(name):
        return AlgorithmFault(f"{_shown(name)} must not be used any more", "IPS-5", known)
    return AlgorithmFault(f"{_shown(name)} is not known to this version", "IPS-5", known)


def _counter_fault(name: str, hint: str) -> AlgorithmFault:
    # One key and IV pair twice gives the plain text away (RFC 4106, 4543, IPS-7), and nobody
    # who types in a key can promise that it was never used: RFC 8221 section 3.
    return AlgorithmFault(
        f"{_shown(name)} needs a key that is never used twice: manual keys cannot promise that",
        "IPS-3",
        hint,
    )


def _shown(name: str) -> str:
    """Return a name for a message; what is none may be a key in the wrong place."""
    return name if _NAME.fullmatch(name) else "what stands here"
