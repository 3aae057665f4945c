"""What an ``Offer`` leaves behind of RFC 3329's agreement, and what is told of a user's list."""

from dataclasses import dataclass

from msgspec import Struct


class Transaction(Struct, frozen=True, kw_only=True, gc=False):
    """What made a REGISTER one of a kind: Call-ID, CSeq number, branch of the topmost Via."""

    call_id: str
    cseq: int
    branch: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why an offer of a Security-Client list was not taken.

    ``offer_index`` counts the mechanisms of the list from 0; ``reason`` is a stable word.
    """

    offer_index: int
    mechanism: str
    reason: str
    text: str
    rule: str


class OfferRecord(Struct, frozen=True, kw_only=True, gc=False):
    """What must be remembered between the 401 and the REGISTER that answers it.

    ``offer_key`` tells a repeated Offer from a new one. ``offered_on`` is the set that protected
    the challenged REGISTER, None if it came unprotected (T24-P-8). The two lists are kept as one
    row of text each: Security-Client as it was challenged (T33-H-g), Security-Server as it was
    sent (GAP-6).
    """

    offer_key: str
    offered_on: str | None
    security_client: str
    security_server: str
