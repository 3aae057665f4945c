"""How near the end of a set is. Pure: the time is an argument, in real-time seconds.

The end comes by itself, so this is asked again and again, not only when a set is loaded.
"""

import enum
from datetime import UTC, datetime
from typing import Final

from sad.credentials.leaf import when
from sad.credentials.reasons import finding
from sad.model.credential import CertificateFacts, Finding, Part

DAY: Final = 86_400.0
_LAST_WEEK: Final = 7
_LAST_DAY: Final = 1


class Stage(enum.IntEnum):
    """Told in the log when it is entered; each is worse than the one before."""

    FAR = 0
    SOON = 1
    """Within the days of the setting."""
    WEEK = 2
    DAY = 3
    EXPIRED = 4


def stage_of(facts: CertificateFacts, now: float, warning_days: int) -> Stage:
    """Return where a set stands at this instant."""
    left = facts.valid_until - now
    if left < 0:
        return Stage.EXPIRED
    if left <= min(_LAST_DAY, warning_days) * DAY:
        return Stage.DAY
    if left <= min(_LAST_WEEK, warning_days) * DAY:
        return Stage.WEEK
    return Stage.SOON if left <= warning_days * DAY else Stage.FAR


def expiry_finding(facts: CertificateFacts, now: float, warning_days: int) -> Finding | None:
    """Return what is to be said of the end, None while it is far."""
    stage = stage_of(facts, now, warning_days)
    at = when(datetime.fromtimestamp(facts.valid_until, UTC))
    if stage is Stage.FAR:
        return None
    if stage is Stage.EXPIRED:
        return finding("expired", Part.CERTIFICATE, f"{facts.ends_first} expired at {at}")
    days = int((facts.valid_until - now) // DAY)
    left = "less than a day" if days == 0 else "1 day" if days == 1 else f"{days} days"
    text = f"{facts.ends_first} expires in {left}, at {at}"
    return finding("expires-soon", Part.CERTIFICATE, text)
