"""Times, sizes, SPIs, addresses and states in words. Pure: ``now`` is an argument.

Spans are seconds; instants are microseconds of the real-time clock since 1970, as in the replies.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from sad.ctl.shapes import Association


_UNITS: Final = (("d", "day", 86_400), ("h", "hour", 3600), ("min", "minute", 60))

_STATES: Final = {"inUse": "in use"}

_END_REASONS: Final = {
    "keyExpired": "its key expired",
    "connectionClosed": "its connection was closed",
    "credentialRevoked": "its credential set was revoked",
    "kernelLost": "the kernel lost it",
    "kernelRefused": "the kernel refused it",
    "endpointGone": "its endpoint is gone",
    "shutdown": "sad was stopped",
    "yielded": "another node has its endpoint now",
}


def _split(seconds: int) -> list[tuple[int, str, str]]:
    """Cut a span into its two greatest units; what is smaller tells nobody anything."""
    parts: list[tuple[int, str, str]] = []
    for short, long, size in (*_UNITS, ("s", "second", 1)):
        amount, seconds = divmod(seconds, size)
        if amount or parts:
            parts.append((amount, short, long))
    return [part for part in parts[:2] if part[0]]


def span(seconds: int) -> str:
    """Return a span as ``9 min 12 s``."""
    return " ".join(f"{amount} {short}" for amount, short, _ in _split(max(0, seconds))) or "0 s"


def ago(instant: int, now: float) -> str:
    """Return an instant as ``1 minute, 5 seconds ago``; ``now`` in seconds, 0 is ``never``."""
    if instant == 0:
        return "never"
    seconds = int(now - instant / 1_000_000)
    if seconds < -1:
        return f"{span(-seconds)} in the future: a clock was set back"
    parts = _split(max(0, seconds))
    if not parts:
        return "now"
    return ", ".join(counted(amount, long) for amount, _, long in parts) + " ago"


def instant_text(seconds: float) -> str:
    """Return an instant of the real-time clock as ``2027-01-01 00:00Z``."""
    return time.strftime("%Y-%m-%d %H:%MZ", time.gmtime(seconds))


def counted(amount: int, noun: str) -> str:
    """Return ``1 packet`` or ``2 packets``."""
    return f"{amount} {noun}" if amount == 1 else f"{amount} {noun}s"


def size(octets: int) -> str:
    """Return bytes as ``4.20 KiB``."""
    if octets < 1024:
        return f"{octets} B"
    value, unit = octets / 1024, "KiB"
    for greater in ("MiB", "GiB", "TiB"):
        if value < 1024:
            break
        value, unit = value / 1024, greater
    return f"{value:.2f} {unit}"


def spi_text(spi: int) -> str:
    """Return an SPI as ``0x00011172``, like every tool that shows ESP packets."""
    return f"0x{spi:08x}"


def socket_address(address: str, port: int) -> str:
    """Return ``192.0.2.1:5064`` or ``[2001:db8::1]:5064``."""
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def port_ranges(ports: Iterable[int]) -> str:
    """Return ports in order as ``5068-5071, 5080``."""
    ordered = sorted(ports)
    starts = ordered[:1] + [b for a, b in pairwise(ordered) if b != a + 1]
    ends = [a for a, b in pairwise(ordered) if b != a + 1] + ordered[-1:]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends, strict=True))


def state_text(state: str) -> str:
    """Return a state in words; one of a later version as it is."""
    return _STATES.get(state, state)


def end_reason_text(reason: str | None) -> str:
    """Return why an association ended."""
    return _END_REASONS.get(reason, reason) if reason else "for an unknown reason"


def listing(items: Sequence[str]) -> str:
    """Return items parted by commas, or ``none``."""
    return ", ".join(items) or "none"


def printable(text: str) -> str:
    """Return text that cannot move the cursor: identities come from the network."""
    if text.isprintable():
        return text
    return "".join(
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text
    )


def lifetime_text(association: Association) -> str:
    """Return ``expires in 9 min 12 s``, or why it ended."""
    if association["state"] == "ended":
        return end_reason_text(association.get("endReason"))
    return f"expires in {span(association['secondsLeft'])}"
