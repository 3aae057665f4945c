"""What the agreement reads of a SIP request: method, rows of headers, how it is protected.

Headers are (name, value) pairs in the order of the message, one a row, as in :mod:`.option_tags`.
Whether a request is protected is known to the SIP server alone: by the SA or the connection that
it came on, or, for digest, by credentials that it has checked.
"""

from __future__ import annotations

import re
from enum import Enum
from typing import Final, Iterable, List, NamedTuple, Optional, Tuple

from sip_hooks.secagree.headers import HeaderName
from sip_hooks.secagree.option_tags import HeaderField

_WHITE_SPACE: Final = " \t\r\n"
# What is neither quote nor comma, or a quoted string, which the end closes too: never a way back.
_LIST_PART: Final = re.compile(r'(?:[^",]+|"(?:[^"\\]|\\[\s\S])*(?:"|\\?\Z))+')
_VIA_NAMES: Final = frozenset({"via", "v"})


class Protection(str, Enum):
    """What protects a request that arrived."""

    NONE = "none"
    AGREED = "agreed"
    #: TLS to which RFC 3263 led, or may have led: nobody can tell by the connection alone.
    TLS = "tls"


class Request(NamedTuple):
    """One request. ``mechanism`` is the name of what protects it; None when nothing does."""

    method: str
    headers: Tuple[HeaderField, ...]
    protection: Protection = Protection.NONE
    mechanism: Optional[str] = None


def rows_of(headers: Iterable[HeaderField], name: HeaderName) -> Tuple[str, ...]:
    """Return the values of all rows of a header in order (R3261-7.3.1-b)."""
    wanted = name.value.lower()
    return tuple(value for given, value in headers if given.strip(_WHITE_SPACE).lower() == wanted)


def count_vias(headers: Iterable[HeaderField]) -> int:
    """Count the Via values of a request, over all rows and in each (R3329-2.3.2-b)."""
    count = 0
    for name, value in headers:
        if name.strip(_WHITE_SPACE).lower() in _VIA_NAMES:
            parts: List[str] = _LIST_PART.findall(value)
            count += sum(1 for part in parts if part.strip(_WHITE_SPACE))
    return count
