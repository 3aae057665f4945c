"""Why IKE failed, from charon's own words: the lines of its log that tell it. Pure.

As responder charon says it in its log alone; as initiator also at the end of ``initiate``. The
texts are those of strongSwan 5.9; a line that is not known here is no reason.
"""

import enum
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sad.vici.values import LogLine

#: What charon calls an IKE SA before it knows whose it is.
UNNAMED: Final = "(unnamed)"
_MOST_TRACKED: Final = 4096


class Failure(enum.StrEnum):
    """Kinds of reasons, for whoever acts on them."""

    WRONG_KEY = "wrong-secret"
    UNKNOWN_IDENTITY = "unknown-identity"
    NOT_AUTHENTICATED = "not-authenticated"
    NO_PROPOSAL = "no-proposal"
    SELECTORS = "selectors"
    UNREACHABLE = "unreachable"
    KERNEL = "kernel"
    DELETED_BY_PEER = "deleted-by-peer"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Reason:
    """A kind, and charon's own words."""

    failure: Failure
    words: str

    def __str__(self) -> str:
        return f"{self.failure}: {self.words}"


_TELLING: Final = tuple(
    (re.compile(pattern), failure)
    for pattern, failure in (
        (r"MAC mismatched", Failure.WRONG_KEY),
        (r"no shared key found for", Failure.WRONG_KEY),
        (r"no matching peer config found", Failure.UNKNOWN_IDENTITY),
        (r"no IKE config found for", Failure.UNKNOWN_IDENTITY),
        (r"constraint check(ing)? failed", Failure.UNKNOWN_IDENTITY),
        (r"no trusted .* public key found for", Failure.NOT_AUTHENTICATED),
        (r"signature validation failed", Failure.NOT_AUTHENTICATED),
        (r"EAP method .* failed for peer", Failure.NOT_AUTHENTICATED),
        (r"verification of AUTH payload .* failed", Failure.NOT_AUTHENTICATED),
        (r"received AUTHENTICATION_FAILED notify", Failure.NOT_AUTHENTICATED),
        (r"received proposals unacceptable", Failure.NO_PROPOSAL),
        (r"no acceptable .*proposal found", Failure.NO_PROPOSAL),
        (r"received NO_PROPOSAL_CHOSEN notify", Failure.NO_PROPOSAL),
        (r"traffic selectors .* unacceptable", Failure.SELECTORS),
        (r"received TS_UNACCEPTABLE notify", Failure.SELECTORS),
        (r"giving up after \d+ retransmits", Failure.UNREACHABLE),
        (r"not established after \d+ms", Failure.UNREACHABLE),
        (r"unable to install .* in kernel", Failure.KERNEL),
        (r"received DELETE for ", Failure.DELETED_BY_PEER),
    )
)
_WHO: Final = (
    re.compile(r"^(?P<address>\S+) is initiating an? "),
    re.compile(
        r"^looking for (?:pre-shared key )?peer configs matching \S+\.\.\.(?P<address>[^\[]+)\["
    ),
    re.compile(r"^no IKE config found for \S+\.\.\.(?P<address>[^,]+),"),
)


def reason_in(text: str) -> Reason | None:
    """Return the reason that a line tells, None if it tells none."""
    for pattern, failure in _TELLING:
        if pattern.search(text):
            return Reason(failure, text)
    return None


def reason_of(lines: Iterable[str], words: str) -> Reason:
    """Return why ``initiate`` failed: the last telling line, else the answer's own words."""
    told = [reason for line in (*lines, words) if (reason := reason_in(line)) is not None]
    return told[-1] if told else Reason(Failure.UNKNOWN, words)


@dataclass(frozen=True, slots=True)
class Told:
    """A reason, and whom it is about: a connection of charon's, or else an address."""

    reason: Reason
    connection: str | None
    address: str | None


class LogReader:
    """Reads charon's log for reasons; remembers the addresses of IKE SAs without a name."""

    def __init__(self) -> None:
        self._addresses: dict[int, str] = {}

    def read(self, line: LogLine) -> Told | None:
        """Take the next line; return what it tells, if anything."""
        for pattern in _WHO:
            if (match := pattern.search(line.text)) is not None and line.ike_id is not None:
                self._remember(line.ike_id, match["address"])
        reason = reason_in(line.text)
        if reason is None:
            return None
        if line.connection and line.connection != UNNAMED:
            return Told(reason, line.connection, None)
        address = self._addresses.get(line.ike_id) if line.ike_id is not None else None
        return None if address is None else Told(reason, None, address)

    def _remember(self, ike_id: int, address: str) -> None:
        self._addresses[ike_id] = address
        if len(self._addresses) > _MOST_TRACKED:  # numbers only grow: the first is the oldest
            del self._addresses[next(iter(self._addresses))]
