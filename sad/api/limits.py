"""What one client can make the daemon keep, and why a connection was dropped. Values only."""

import enum
from dataclasses import dataclass

from sad.api.framing import MESSAGE_BYTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bytes, calls and connections; spans in seconds.

    ``queued_calls`` are begun and not answered, of one connection. A connection is read no
    further while a quarter of ``output_bytes`` waits to be taken, and dropped rather than given
    a reply beyond all of them. ``message_seconds`` is how long a begun message may take to end;
    ``stall_seconds`` how long a client may leave its waiting replies untouched.
    """

    message_bytes: int = MESSAGE_BYTES
    queued_calls: int = 256
    output_bytes: int = 1024 * 1024
    connections: int = 256
    connections_per_uid: int = 128
    message_seconds: float = 5.0
    stall_seconds: float = 10.0

    @property
    def high_water(self) -> int:
        """Bytes of waiting replies at which nothing more is read or produced."""
        return self.output_bytes // 4


class Drop(enum.StrEnum):
    """Why the daemon closed a connection that its client had not."""

    MESSAGE_TOO_LONG = "messageTooLong"
    MALFORMED_MESSAGE = "malformedMessage"
    DESCRIPTORS = "descriptors"
    HALF_A_MESSAGE = "halfAMessage"
    NOT_READING = "notReading"
    UNANSWERED = "unanswered"
