"""What counters mean and where to look next. Pure.

The faults are those that people meet without a tool that names them: keys that differ, ESP that
never arrives, agreements that nobody confirms, packets that leave from the wrong port.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Final

from sad.ctl.words import span

if TYPE_CHECKING:
    from sad.ctl.shapes import Association, SaCounters

#: How long the first packet of a new set may take before its absence is worth a word.
_PATIENCE_SECONDS: Final = 10

#: Counters of /proc/net/xfrm_stat (Documentation/networking/xfrm_proc.rst) that a SIP edge meets.
_KERNEL_COUNTERS: Final[Mapping[str, str]] = {
    "XfrmInNoStates": "ESP came for an SPI that no SA has: the peer uses an ended set",
    "XfrmInStateProtoError": "integrity or decryption failed: sadctl show tells on which SA",
    "XfrmInStateSeqError": "packets came twice or too late",
    "XfrmInStateMismatch": "packets did not fit the selector of their SA",
    "XfrmInStateExpired": "packets came for an SA that had just ended",
    "XfrmInTmplMismatch": "packets came on another SA than their policy asks for",
    "XfrmInNoPols": "ESP was decrypted but no policy lets the packet in",
    "XfrmInPolBlock": "clear text to protected ports was dropped",
    "XfrmOutPolBlock": "clear text from protected ports or to a peer's was dropped: does the SIP "
    "server send from another port?",
    "XfrmOutNoStates": "packets found a policy but no SA",
    "XfrmOutStateExpired": "packets found an SA that had just ended",
}


def kernel_counter_hint(name: str) -> str | None:
    """Return what a counter of the kernel counts, in the words of a SIP edge."""
    return _KERNEL_COUNTERS.get(name)


def sa_hint(sa: SaCounters) -> str | None:
    """Return what the failures of one SA mean; only receivers can see them."""
    if sa["direction"] != "in":
        return None
    if sa["integrityFailures"] and not sa["packets"]:
        return "ESP arrives, integrity fails: the keys differ"
    if sa["integrityFailures"]:
        return "some packets fail integrity: changed on the way, forged, or of another key"
    if sa["replayFailures"]:
        return "packets come twice or too late: a copy on the way, or a peer that counts anew"
    return None


def association_hints(
    association: Association, counters: Sequence[SaCounters], now: float
) -> list[str]:
    """Return what the whole of an association says; ``now`` in real-time seconds."""
    state = association["state"]
    hints: list[str] = []
    if state == "ended":
        return hints
    inbound = [sa for sa in counters if sa["direction"] == "in"]
    received = sum(sa["packets"] for sa in inbound)
    failed = sum(sa["integrityFailures"] + sa["replayFailures"] for sa in inbound)
    sent = sum(sa["packets"] for sa in counters if sa["direction"] == "out")
    age = now - association["createdAt"] / 1_000_000
    if state == "temporary":
        left = span(association["secondsLeft"])
        if received:
            hints.append(
                f"the peer answered inside ESP, but nobody has confirmed: in {left} it ends "
                "(the SIP server calls Confirm at the 200 of the REGISTER)"
            )
        elif counters and not failed and age >= _PATIENCE_SECONDS:
            hints.append(
                "no ESP has come: the peer has not answered the challenge, or IP protocol 50 is "
                "blocked or translated on the way"
            )
    elif sent and not received and not failed:
        hints.append(
            "packets leave and no ESP comes back: is IP protocol 50 blocked or translated on the "
            "way?"
        )
    elif received and counters and not sent:
        hints.append(
            "ESP comes and is decrypted, but nothing leaves on these SAs: does the SIP server "
            "send from the protected ports?"
        )
    return hints
