"""What must be true of the sets of random user agents: the ledger of the tests' own side.

Every instant is an interval, because a call takes time: what must be there lasts at least to
``low``, and may be there until ``high`` (seconds of the monotonic clock). The rules are those of
norms section 12.
"""

import dataclasses
from collections.abc import Iterable
from typing import Any, Final

#: The daemon ends a set in its own time; so much later at most it is gone from every list.
SLACK_SECONDS: Final = 3.0
#: Sets that end so soon are left alone: they would be gone before a call arrives.
SOON_SECONDS: Final = 8.0
#: How long it may take the daemon to hear that a set is lost, and to end it.
HEARD_SECONDS: Final = 10.0
SETS_OF_A_REGISTRATION: Final = 3

AWAIT_SECONDS: Final = 25
MARGIN_SECONDS: Final = 2
T1_MILLISECONDS: Final = 100
RETIRING_SECONDS: Final = 64 * T1_MILLISECONDS / 1000


@dataclasses.dataclass(slots=True)
class Span:
    """When a call ran: from before it was sent to after its answer."""

    begun: float
    ended: float


@dataclasses.dataclass(slots=True)
class SetModel:
    """One SA set. ``offered_on`` is None for a REGISTER in clear, "" for an Install.

    ``sas`` are (destination, SPI) of its four SAs.
    """

    id: str
    state: str
    low: float
    high: float
    row: str
    port_uc: int
    offered_on: str | None
    sas: frozenset[tuple[str, int]]
    request: dict[str, Any] = dataclasses.field(default_factory=dict, repr=False)
    server: str = dataclasses.field(default="", repr=False)
    registered: bool = False

    def lengthen(self, span: Span, seconds: float) -> None:
        """Max(old, new): never shorter (T24-UE-4)."""
        self.low = max(self.low, span.begun + seconds)
        self.high = max(self.high, span.ended + seconds)

    def shorten(self, span: Span, seconds: float) -> None:
        """Min(old, new) (T24-P-9, T24-D-1)."""
        self.low = min(self.low, span.begun + seconds)
        self.high = min(self.high, span.ended + seconds)


@dataclasses.dataclass(slots=True)
class UeModel:
    """A user agent: one identity, one address, one port_us; sets oldest first.

    ``unsure`` after a call without an answer, or a flush in the middle of one: what lies in the
    kernel must still be whole, but which sets those are only the daemon can tell.
    """

    number: int
    identity: str
    address: str
    edge: str
    sets: list[SetModel] = dataclasses.field(default_factory=list)
    gone: list[SetModel] = dataclasses.field(default_factory=list)
    unsure: bool = False
    spi: int = 1000
    port_uc: int = 10_000

    def lasting(self, now: float) -> list[SetModel]:
        """Sets that a call will find."""
        return [s for s in self.sets if s.low > now + SOON_SECONDS]

    def crowded(self, now: float) -> bool:
        """Whether a further set may be refused: six SAs per direction (T33-7.1 note 13)."""
        self.gone = [s for s in self.gone if s.high > now - SLACK_SECONDS]
        return len(self.sets) + len(self.gone) >= SETS_OF_A_REGISTRATION

    def drop(self, sets: Iterable[SetModel], now: float, *, slow: bool = False) -> None:
        """Forget sets that ended; ``slow``: the daemon has yet to hear of it."""
        for one in list(sets):
            self.sets.remove(one)
            if slow:
                one.high = now + HEARD_SECONDS
                self.gone.append(one)

    def offered(self, new: SetModel, on: SetModel | None) -> None:
        """An Offer was answered: what it replaced is gone (T33-7.3.1.4, T24-P-6)."""
        for old in list(self.sets):
            if not old.registered and (on is not None or old.port_uc == new.port_uc):
                self.sets.remove(old)
        self.sets.append(new)

    def confirmed(self, one: SetModel, span: Span, expires: int) -> None:
        """A Confirm was answered (T24-P-7, T24-P-8, matrix rows 1, 2, 4, 7)."""
        one.lengthen(span, expires + MARGIN_SECONDS)
        first = not one.registered
        one.registered = True
        if one.state == "temporary":
            one.state = "established"
        if not first or one.offered_on == "":
            return
        older = self.sets[: self.sets.index(one)]
        if one.offered_on is None:
            one.state = "inUse"
        self.drop((s for s in older if s.id != one.offered_on), span.ended)

    def taken_into_use(self, one: SetModel, span: Span) -> None:
        """The first request on a set was reported (T24-P-9, row 5)."""
        if one.state != "established":
            return
        one.state = "inUse"
        for old in self.sets[: self.sets.index(one)]:
            if old.state != "temporary":
                old.state = "retiring"
                old.shorten(span, RETIRING_SECONDS)

    def released(self, ones: Iterable[SetModel], span: Span, linger: int) -> None:
        """A Release was answered (T24-D-1)."""
        ones = list(ones)
        if not linger:
            self.drop(ones, span.ended)
        for one in ones if linger else ():
            one.state = "retiring"
            one.shorten(span, linger)

    def differences(self, rows: dict[str, dict[str, Any]], span: Span) -> list[str]:
        """Say what the daemon's list of this user agent has wrong; ``span`` is when it was asked.

        Sets whose time has come are forgotten on the way.
        """
        self.sets = [s for s in self.sets if s.high > span.begun - SLACK_SECONDS or s.id in rows]
        known = {s.id: s for s in (*self.sets, *self.gone)}
        wrong = [f"{self.identity}: unknown set {i}" for i in rows if i not in known]
        for one in self.sets:
            row = rows.get(one.id)
            if row is None:
                if one.low > span.ended + SLACK_SECONDS:
                    wrong.append(f"{self.identity}: {one} is lost")
                continue
            if one.high < span.begun - SLACK_SECONDS:
                wrong.append(f"{self.identity}: {one} outlives its time")
            if row["state"] != one.state:
                wrong.append(f"{self.identity}: {one} is {row['state']}")
            left = row["secondsLeft"]
            if not one.low - span.ended - 2 <= left <= one.high - span.begun + 2:
                wrong.append(f"{self.identity}: {one} has {left} s left")
        return wrong

    def learn(self, rows: dict[str, dict[str, Any]], span: Span) -> None:
        """Take over what the daemon says of an ``unsure`` user agent."""
        known = {s.id: s for s in self.sets}
        self.sets = [known.get(i) or _learnt(i, row) for i, row in rows.items()]
        for one in self.sets:
            row = rows[one.id]
            one.state, left = row["state"], row["secondsLeft"]
            one.low, one.high = span.begun + left - 1, span.ended + left + 1
            one.registered = one.registered or row["confirmedAt"] != 0
        self.gone = []
        self.unsure = False


def _learnt(id_: str, row: dict[str, Any]) -> SetModel:
    port_uc = row["ipsec3gpp"]["portUc"]
    # How it was offered is not known: such a set is not confirmed any more, it only ends.
    return SetModel(id_, row["state"], 0.0, 0.0, "", port_uc, "?", sas_of(row))


def sas_of(row: dict[str, Any]) -> frozenset[tuple[str, int]]:
    """Return (destination, SPI) of the four SAs of an association as the daemon tells it."""
    s = row["ipsec3gpp"]
    to_edge = ((s["pcscfAddress"], s[name]) for name in ("spiPc", "spiPs"))
    to_ue = ((s["ueAddress"], s[name]) for name in ("spiUc", "spiUs"))
    return frozenset((*to_edge, *to_ue))
