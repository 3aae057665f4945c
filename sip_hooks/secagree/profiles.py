"""How the agreement is used: profile, policy of an interface, which header stands where.

The standards disagree in places or leave holes. What holds here:

======  ==========================================================================================
GAP-1   Security-Server is read in any failure response. Profile ``rfc3329`` sends it in 421 and
        494, profile ``ims`` in the 401. A list in a 2xx speaks of the media plane only
GAP-2   a server never answers ACK and CANCEL and ignores the headers there; PRACK may lack
        Security-Verify, a wrong one is refused. A client puts Security-Verify into the ACK of a
        2xx (a switch, on), nothing into CANCEL
GAP-3   d-ver covers ``Security-Server: `` and the value (ABNF); rows are joined by ``, ``. A
        client may be told to leave the name out, a lenient server takes both
GAP-4   d-ver is of 32 digits, so digest is agreed with MD5's family only
GAP-5   equal q: our own list refuses to start; in a received one the earlier counts. No q: lowest
GAP-6   mechanisms, algorithms and order of a server's list are static; SPIs and ports are filled
        in for each user agent, and what was sent to it is what its Verify is compared with
GAP-7   a wrong Verify gets 494 with the list; in profile ``ims`` 403 if the user agent does not
        speak of sec-agree at all. The status is a setting; the request is never forwarded
GAP-8   the daemon's ``t1_milliseconds``, 2000
GAP-9   the daemon's ``reg_await_auth_seconds``, 240
GAP-10  mechanisms are started by RFC 3329 section 2.4, whatever 2.3.1 calls it
GAP-11  digest-uri-value is RFC 2617's
GAP-12  421 and 494 carry ``Require: sec-agree`` though the examples of section 4 do not
======  ==========================================================================================
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Profile(str, Enum):
    """Whose rules an endpoint follows where the standards differ (GAP-1)."""

    RFC3329 = "rfc3329"
    IMS = "ims"


class Use(str, Enum):
    """Whether an interface uses the agreement; each may have its own (R3329-3-a, R3329-2.3.2-a).

    ``OPTIONAL`` agrees with those who ask for it, ``REQUIRED`` lets nobody else in (INTEROP-10).
    """

    OFF = "off"
    OPTIONAL = "optional"
    REQUIRED = "required"


#: Requests that the agreement lets pass without an answer (GAP-2).
UNANSWERED_METHODS: Final = frozenset({"ACK", "CANCEL"})

#: Responses that carry a list by RFC 3329, and the extension's Require with it.
LIST_STATUSES: Final = frozenset({421, 494})
