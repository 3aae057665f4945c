"""The d-ver parameter of mechanism digest: RFC 3329 section 2.2, RFC 2617 section 3.2.2.

d-ver is a request-digest whose A2 ends with the Security-Server header field, so a list that
somebody changed gives another value (R3329-2.2-i). Digest itself is not changed: the usual
response goes out beside it (R3329-2.2-m).

Both sides compute it from H(A1), which the SIP server supplies; nothing here knows a password
longer than one call. MD5 is what 32 digits can hold (GAP-4) and what RFC 2617 says; it is used as
a keyed digest only.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, Iterable, Optional, Sequence, Tuple, Union

from sip_hooks.secagree.errors import LocalAgreementError
from sip_hooks.secagree.grammar import is_lhex32
from sip_hooks.secagree.headers import HeaderName

#: Digest algorithms whose values have 32 digits (GAP-4), in lower case. Those of Digest AKA
#: differ from MD5 in the password only (UPD-3310, UPD-4169).
MD5_FAMILY: Final = frozenset({"md5", "md5-sess", "akav1-md5", "akav2-md5"})
#: Values of qop that d-ver is defined for (R3329-2.2-j).
QOPS: Final = frozenset({"auth", "auth-int"})

_WHITE_SPACE_RUN: Final = re.compile(r"(?:[ \t]|\r?\n[ \t])+")


class Reading(str, Enum):
    """What stands for ``security-server`` in A2 (GAP-3)."""

    WITH_NAME = "with-name"  # the ABNF rule, which begins with the header's name
    VALUE_ONLY = "value-only"


@dataclass(frozen=True)
class DigestUse:
    """What one request's credentials say, and H(A1), which the SIP server knows of the user.

    ``ha1`` is H(A1) in 32 lower-case digits, with ``-sess`` that of the session
    (:func:`session_ha1`). ``qop`` None is Digest without qop. Raises
    :class:`LocalAgreementError`.
    """

    ha1: str = field(repr=False)
    method: str
    uri: str
    nonce: str
    qop: Optional[str] = None
    nc: str = ""
    cnonce: str = ""
    body: bytes = field(default=b"", repr=False)

    def __post_init__(self) -> None:
        if not is_lhex32(self.ha1):
            hint = "give H(A1) in hexadecimal, of an algorithm of MD5's family"
            raise LocalAgreementError("H(A1) is not 32 lower-case digits", "GAP-4", hint)
        if self.qop is not None and self.qop.lower() not in QOPS:
            hint = "use qop auth or auth-int"
            raise LocalAgreementError("this qop has no d-ver", "R3329-2.2-j", hint)


def is_md5_family(algorithm: str) -> bool:
    """Whether digests of this algorithm, any case, have the 32 digits of d-ver (GAP-4)."""
    return algorithm.lower() in MD5_FAMILY


def hash_a1(user: str, realm: str, password: Union[str, bytes]) -> str:
    """Return H(A1) of RFC 2617 section 3.2.2.2; bytes are a password of Digest AKA (UPD-3310)."""
    secret = password if isinstance(password, bytes) else password.encode()
    return _md5(f"{user}:{realm}:".encode() + secret)


def session_ha1(ha1: str, nonce: str, cnonce: str) -> str:
    """Return H(A1) of MD5-sess from that of MD5 (R3329-2.2-l)."""
    return _md5(f"{ha1}:{nonce}:{cnonce}".encode())


def reduce_rows(rows: Sequence[str], reading: Reading = Reading.WITH_NAME) -> str:
    """Return Security-Server as d-ver covers it: one row, each white space one SP (R3329-2.2-k).

    White space at the ends is no part of a header field's value, so it is gone.
    """
    value = _WHITE_SPACE_RUN.sub(" ", ", ".join(row.strip(" \t\r\n") for row in rows))
    return f"{HeaderName.SERVER.value}: {value}" if reading is Reading.WITH_NAME else value


def compute_d_ver(
    use: DigestUse, rows: Sequence[str], reading: Reading = Reading.WITH_NAME
) -> str:
    """Return the value of d-ver for the rows of Security-Server that were received or sent."""
    parts = [use.method, use.uri]
    qop = use.qop.lower() if use.qop is not None else None
    if qop == "auth-int":
        parts.append(_md5(use.body))
    parts.append(reduce_rows(rows, reading))
    ha2 = _md5(":".join(parts).encode("utf-8", "surrogatepass"))
    middle = (use.nonce,) if qop is None else (use.nonce, use.nc, use.cnonce, use.qop or "")
    return _md5(":".join((use.ha1, *middle, ha2)).encode("utf-8", "surrogatepass"))


def check_d_ver(
    given: str, use: DigestUse, rows: Sequence[str], readings: Iterable[Reading]
) -> Optional[Reading]:
    """Return the reading by which ``given`` verifies the list that was sent, or None (GAP-3)."""
    for reading in readings:
        if hmac.compare_digest(compute_d_ver(use, rows, reading).encode(), given.encode()):
            return reading
    return None


def readings(first: Reading, *, lenient: bool) -> Tuple[Reading, ...]:
    """Return the readings that a server takes: its own, and the other one if it is lenient."""
    return (first, *(other for other in Reading if lenient and other is not first))


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()
