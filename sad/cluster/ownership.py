"""Who owns an endpoint: one state machine, one transition table; time is an argument.

What makes it safe is in etcd: a claim is a transaction that goes through only if the owner key is
still the one that was seen, so of two claims one is lost. The epoch is the revision of the claim.
Writes compare it, so a node that has lost an endpoint without knowing writes nothing.

What makes it safe in the kernel is time, and only in mode ``automatic``: a lease is renewed, and
its end at the owner counts from the *sending* of the last renewal that was answered, less a
margin. etcd's own count began later, so the owner has stopped when another may begin.

What was :class:`Seen` is always the answer to a question that was asked after the last claim was
answered; a watch only tells when to ask again.

A backup that was restored shows an owner of long ago. An epoch below one that was seen before is
never followed: an owner claims anew, a standby waits for an owner or an operator.
"""

import dataclasses
import math
from typing import Final, TypeAlias

from sad.cluster.events import (
    Action,
    Claim,
    ClaimLost,
    ClaimWon,
    Do,
    Event,
    Install,
    Installed,
    LeaseLost,
    Released,
    Renewed,
    Seen,
    Silent,
    StartedBlind,
    TakenOut,
    TakeoverGivenUp,
    TakeoverWanted,
    TimePassed,
)
from sad.model.cluster import OwnershipMode, OwnershipState

STANDBY = OwnershipState.STANDBY
TAKING = OwnershipState.TAKING
OWNER = OwnershipState.OWNER
UNSURE = OwnershipState.UNSURE
YIELDING = OwnershipState.YIELDING


#: state -> event -> the states that it may lead to; a missing entry is a defect of the caller.
TRANSITIONS: Final[dict[OwnershipState, dict[type, frozenset[OwnershipState]]]] = {
    STANDBY: {
        Seen: frozenset({STANDBY, TAKING}),
        Renewed: frozenset({STANDBY}),
        Silent: frozenset({STANDBY}),
        LeaseLost: frozenset({STANDBY}),
        StartedBlind: frozenset({STANDBY, UNSURE}),
        TimePassed: frozenset({STANDBY}),
        TakeoverWanted: frozenset({STANDBY, TAKING}),
        TakeoverGivenUp: frozenset({STANDBY}),
    },
    TAKING: {
        Seen: frozenset({TAKING, YIELDING}),
        Renewed: frozenset({TAKING}),
        Silent: frozenset({TAKING}),
        LeaseLost: frozenset({TAKING, YIELDING}),
        TimePassed: frozenset({TAKING, YIELDING}),
        TakeoverWanted: frozenset({TAKING}),
        TakeoverGivenUp: frozenset({TAKING}),
        ClaimWon: frozenset({TAKING}),
        ClaimLost: frozenset({STANDBY}),
        Installed: frozenset({OWNER}),
    },
    OWNER: {
        Seen: frozenset({OWNER, YIELDING}),
        Renewed: frozenset({OWNER}),
        Silent: frozenset({UNSURE}),
        LeaseLost: frozenset({OWNER, YIELDING}),
        TimePassed: frozenset({OWNER, YIELDING}),
        TakeoverWanted: frozenset({OWNER}),
        TakeoverGivenUp: frozenset({OWNER}),
        ClaimWon: frozenset({OWNER}),
        ClaimLost: frozenset({OWNER}),
    },
    UNSURE: {
        Seen: frozenset({UNSURE, YIELDING}),
        Renewed: frozenset({OWNER}),
        Silent: frozenset({UNSURE}),
        LeaseLost: frozenset({UNSURE, YIELDING}),
        TimePassed: frozenset({UNSURE, YIELDING}),
        TakeoverWanted: frozenset({UNSURE}),
        TakeoverGivenUp: frozenset({UNSURE}),
        ClaimWon: frozenset({OWNER}),
        ClaimLost: frozenset({UNSURE}),
    },
    YIELDING: {
        Seen: frozenset({YIELDING}),
        Renewed: frozenset({YIELDING}),
        Silent: frozenset({YIELDING}),
        LeaseLost: frozenset({YIELDING}),
        TimePassed: frozenset({YIELDING}),
        TakeoverWanted: frozenset({YIELDING}),
        TakeoverGivenUp: frozenset({YIELDING}),
        Installed: frozenset({YIELDING}),  # it began before the yielding, and goes out with it
        ClaimWon: frozenset({YIELDING}),
        ClaimLost: frozenset({YIELDING}),
        TakenOut: frozenset({STANDBY, YIELDING}),  # until it is given back, where it is asked for
        Released: frozenset({STANDBY}),
    },
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """Spans of the lease in seconds.

    ``ttl`` is what etcd has granted, ``margin`` what the owner stops earlier: for the difference
    of the two clocks' rates, and for the one commit to the kernel that blocks the traffic.
    """

    ttl: float
    margin: float


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ownership:
    """An endpoint at this node.

    ``epoch`` is that of this node's last ownership, as long as nobody else has owned it since; 0:
    none. ``highest`` is the highest epoch that was ever seen. ``renewed_at`` is the BOOTTIME
    second at which the last answered renewal was sent. ``claimed``: etcd took the claim.
    """

    endpoint: str
    node: str
    mode: OwnershipMode
    state: OwnershipState = STANDBY
    epoch: int = 0
    highest: int = 0
    seen: Seen = dataclasses.field(default_factory=Seen)
    renewed_at: float = -math.inf
    claimed: bool = False
    wanted: bool = False
    releasing: bool = False

    @property
    def leased(self) -> bool:
        """Whether it is held by a lease."""
        return self.mode is OwnershipMode.AUTOMATIC

    @property
    def holds(self) -> bool:
        """Whether sets of it are, or may come, into this kernel."""
        return self.state in (OWNER, UNSURE) or (self.state is TAKING and self.claimed)

    def deadline_at(self, lease: Lease) -> float:
        """Until when (BOOTTIME) its sets may be in this kernel, as far as is known now."""
        return self.renewed_at + lease.ttl - lease.margin if self.leased else math.inf

    def may_serve(self, lease: Lease, now: float) -> bool:
        """Whether new sets may be installed on it at this instant."""
        return self.state in (OWNER, UNSURE) and now < self.deadline_at(lease)

    def may_restore(self, lease: Lease, now: float) -> bool:
        """Whether sets that are taken over may be installed at this instant."""
        return self.state is TAKING and self.claimed and now < self.deadline_at(lease)


class IllegalEvent(Exception):
    """The table has no entry: this event cannot happen in this state."""


Step: TypeAlias = tuple[Ownership, tuple[Action, ...]]


def step(ownership: Ownership, event: Event, lease: Lease, now: float) -> Step:
    """Return what an event makes of an ownership, and what is to be done, in this order."""
    try:
        allowed = TRANSITIONS[ownership.state][type(event)]
    except KeyError:
        raise IllegalEvent(f"{type(event).__name__} while {ownership.state}") from None
    after, actions = _step(ownership, event, lease, now)
    assert after.state in allowed, (ownership.state, event, after.state)
    return after, actions


def _step(o: Ownership, event: Event, lease: Lease, now: float) -> Step:
    match event:
        case Seen():
            return _see(o, event)
        case Renewed(sent_at):
            renewed = dataclasses.replace(o, renewed_at=max(o.renewed_at, sent_at))
            state = OWNER if o.state is UNSURE else o.state
            return dataclasses.replace(renewed, state=state), ()
        case Silent():
            return dataclasses.replace(o, state=UNSURE if o.state is OWNER else o.state), ()
        case LeaseLost():
            lost = dataclasses.replace(o, renewed_at=-math.inf)
            return _yield(lost) if o.leased and o.holds else (lost, ())
        case StartedBlind():
            serves = o.epoch and not o.leased
            return dataclasses.replace(o, state=UNSURE, claimed=True) if serves else o, ()
        case TimePassed():
            return _yield(o) if o.holds and now >= o.deadline_at(lease) else (o, ())
        case TakeoverWanted(fenced):
            return _want(o, fenced=fenced)
        case TakeoverGivenUp():
            actions = (Do.ASK_NO_MORE,) if o.wanted and o.state is STANDBY else ()
            return dataclasses.replace(o, wanted=False), actions
        case ClaimWon(epoch):
            return _win(o, epoch)
        case ClaimLost():
            state = STANDBY if o.state is TAKING else o.state
            return dataclasses.replace(o, state=state), ()
        case Installed():
            if o.state is YIELDING:
                return o, ()
            return dataclasses.replace(o, state=OWNER, wanted=False), ()
        case TakenOut():
            if o.releasing:
                return o, (Do.RELEASE,)
            return _stand_by(o, mine=_nobody_since(o))
        case Released():
            # Nothing of this epoch may be gone on with: a release whose answer was lost may yet be
            # done, and would give away what was claimed again under it.
            return _stand_by(o, mine=False)


def _stand_by(o: Ownership, *, mine: bool) -> Step:
    """Everything is out; ``mine``: nobody else has owned it since, so what was set aside stays."""
    after = dataclasses.replace(
        o, state=STANDBY, claimed=False, releasing=False, epoch=o.epoch if mine else 0
    )
    return after, () if mine else (Do.FORGET,)


def _see(o: Ownership, seen: Seen) -> Step:
    went_back = seen.epoch < o.highest
    o = dataclasses.replace(o, seen=seen)
    if not went_back:
        o = dataclasses.replace(o, highest=seen.epoch)
    if o.holds:
        if went_back and seen.owner != o.node:
            # Of a time before our claim: what was written since is lost, but we are the owner.
            return o, (Claim(expected=seen.epoch, over_lease=True),)
        if seen.owner != o.node or (o.leased and seen.held != o.node):
            return _yield(o)
        # Nobody else writes our name: another epoch is that of a claim whose answer was lost.
        o = dataclasses.replace(o, epoch=seen.epoch, highest=seen.epoch)
        if seen.asked_by not in ("", o.node) and o.state is not TAKING:
            return _yield(o, releasing=True)
        return o, ()
    if o.state is not STANDBY:
        return o, ()
    if went_back:
        if seen.owner in ("", o.node):
            return o, ()  # of whom nobody knows whether another has owned it since
        o = dataclasses.replace(o, highest=seen.epoch)  # an owner that claimed anew
    forget: tuple[Action, ...] = ()
    if o.epoch and seen.epoch != o.epoch:
        o, forget = dataclasses.replace(o, epoch=0), (Do.FORGET,)
    if not _may_begin(o):
        return o, forget
    return dataclasses.replace(o, state=TAKING), (*forget, _claim(o))


def _may_begin(o: Ownership) -> bool:
    """Whether a standby claims without being told to, or now that its owner has let go."""
    seen = o.seen
    if seen.asked_by not in ("", o.node):
        return False  # it is given to whoever asked
    if o.wanted and seen.epoch and not seen.owner:
        return True
    match o.mode:
        case OwnershipMode.FIXED:
            return not seen.epoch or seen.owner in ("", o.node)
        case OwnershipMode.AUTOMATIC:
            return seen.held in ("", o.node)
        case OwnershipMode.MANUAL:
            # Its own of before a restart; of a new cluster, what has its address here.
            return seen.owner == o.node if seen.epoch else seen.address_here


def _claim(o: Ownership, *, over_lease: bool = False) -> Claim:
    return Claim(
        expected=o.seen.epoch,
        keep_epoch=o.seen.epoch != 0 and _nobody_since(o),
        over_lease=over_lease,
    )


def _nobody_since(o: Ownership) -> bool:
    return o.seen.epoch == o.epoch and o.seen.owner == o.node


def _want(o: Ownership, *, fenced: bool) -> Step:
    if o.state is not STANDBY:
        return dataclasses.replace(o, wanted=True), ()
    o = dataclasses.replace(o, wanted=True)
    others = o.seen.epoch != 0 and o.seen.owner not in ("", o.node)
    lives = o.seen.held not in ("", o.node) if o.leased else others
    if lives and not fenced:
        return o, (Do.ASK,)
    return dataclasses.replace(o, state=TAKING), (_claim(o, over_lease=fenced),)


def _win(o: Ownership, epoch: int) -> Step:
    if o.state is YIELDING:
        return o, ()  # the time of the lease was over before the answer came
    kept = epoch == o.epoch
    held = o.node if o.leased else ""
    seen = dataclasses.replace(o.seen, owner=o.node, epoch=epoch, held=held, asked_by="")
    won = dataclasses.replace(o, epoch=epoch, highest=epoch, claimed=True, seen=seen)
    if o.state is TAKING:
        return won, (Install(set_aside=kept),)
    return dataclasses.replace(won, state=OWNER), ()


def _yield(o: Ownership, *, releasing: bool = False) -> Step:
    return dataclasses.replace(o, state=YIELDING, releasing=releasing), (Do.TAKE_OUT,)
