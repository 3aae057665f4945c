"""What is to be done about key sets at an instant: which SAs begin, which carry, which end.

A rotation is two sets of one path whose validities overlap. The new one is received on from its
``not_before``; what is sent moves to it ``key_switch`` later, so that clocks may differ by that
much and the other side has it already; then the old one retires as any older set does (64*T1).
Each side goes by its own clock and never needs the other's word.

Everything follows from the key sets, the associations and the time: what is planned after a
restart, a step of the clock or a lost timer is what would have been planned anyway.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Final

from sad.model.association import Association, AssociationState, EndReason, Phase
from sad.model.key_set import KeySet
from sad.model.rules import Lifetimes
from sad.model.sa_pair import Activation

MECHANISM: Final = "ipsec-man"

_IN_FORCE: Final = frozenset({AssociationState.ESTABLISHED, AssociationState.IN_USE})

#: Two conversions of one instant between the clocks differ by less.
_TOLERANCE_SECONDS: Final = 0.5


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """SAs that are to be made of a key set; ``granted_until`` as in :class:`Association`."""

    key_set: KeySet
    granted_until: float | None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class KeyPlan:
    """What is to be done, in this order, and when to look again (real-time seconds).

    ``end`` and ``move`` (to a new deadline, BOOTTIME) are of associations by id, as are
    ``confirm`` (the peer has proven to be who it is, on the other set of its path) and ``use``.
    """

    end: tuple[tuple[str, EndReason], ...] = ()
    move: tuple[tuple[str, float], ...] = ()
    install: tuple[Wanted, ...] = ()
    confirm: tuple[tuple[str, float | None], ...] = ()
    use: tuple[str, ...] = ()
    next_at: float | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """Both clocks in seconds, read together."""

    now: float
    realtime: float

    def boottime_of(self, realtime: float) -> float:
        """Return an instant of the real-time clock on CLOCK_BOOTTIME, as the clocks stand now."""
        return self.now + (realtime - self.realtime)


def plan_keys(
    sets: Mapping[str, KeySet],
    associations: Iterable[Association],
    lifetimes: Lifetimes,
    at: Instant,
    *,
    withdrawn: Collection[str] = (),
) -> KeyPlan:
    """Return what is to be done. ``associations`` are those of ``ipsec-man``, oldest first.

    ``withdrawn`` are the names of sets whose association somebody released: they stay away.
    Associations of unknown key sets are let alone: whoever removes a set ends its association.
    """
    lives = [a for a in associations if a.phase is Phase.INSTALLED and a.ipsec_man is not None]
    held = {name_of(a): a for a in lives}
    in_order = sorted(sets.values(), key=lambda s: (s.not_before, s.name))
    return KeyPlan(
        end=tuple(_ends(lives, sets, at)),
        move=tuple(_moves(lives, sets, at)),
        install=tuple(_installs(in_order, lives, held, lifetimes, at, withdrawn)),
        confirm=tuple(_confirmations(lives)),
        use=tuple(_uses(in_order, lives, held, lifetimes, at)),
        next_at=_next_at(in_order, lifetimes, at),
    )


def name_of(association: Association) -> str:
    """Return the name of the key set that an association was made of."""
    assert association.ipsec_man is not None
    return association.ipsec_man.key_set


def deadline_of(key_set: KeySet, granted_until: float | None, at: Instant) -> float:
    """Return when an association ends: with its key or its registration, whichever comes first.

    RFC 3329 2.5. On CLOCK_BOOTTIME.
    """
    key_end = at.boottime_of(key_set.not_after)
    return key_end if granted_until is None else min(key_end, granted_until)


def sets_to_offer(
    sets: Iterable[KeySet], lifetimes: Lifetimes, realtime: float
) -> tuple[KeySet, ...]:
    """Return the valid ones of the sets of one path; first the one that carries what is sent."""
    valid = sorted((s for s in sets if s.valid_at(realtime)), key=lambda s: s.not_before)
    if not valid:
        return ()
    switched = [s for s in valid if s.not_before + lifetimes.key_switch <= realtime]
    first = switched[-1] if switched else valid[0]
    return (first, *(s for s in valid if s is not first))


# --- the parts -----------------------------------------------------------------------------------


def _ends(
    lives: Iterable[Association], sets: Mapping[str, KeySet], at: Instant
) -> Iterator[tuple[str, EndReason]]:
    for association in lives:
        key_set = sets.get(name_of(association))
        if key_set is not None and not key_set.valid_at(at.realtime):
            yield association.id, EndReason.KEY_EXPIRED


def _moves(
    lives: Iterable[Association], sets: Mapping[str, KeySet], at: Instant
) -> Iterator[tuple[str, float]]:
    """The clock was set, or the file says another end: deadlines follow."""
    for association in lives:
        key_set = sets.get(name_of(association))
        if key_set is None or not key_set.valid_at(at.realtime):
            continue
        wanted = deadline_of(key_set, association.granted_until, at)
        if association.state not in _IN_FORCE:  # temporary or retiring: it ends sooner anyway
            wanted = min(wanted, association.deadline_at)
        if abs(wanted - association.deadline_at) > _TOLERANCE_SECONDS:
            yield association.id, wanted


def _installs(
    in_order: Sequence[KeySet],
    lives: Sequence[Association],
    held: Mapping[str, Association],
    lifetimes: Lifetimes,
    at: Instant,
    withdrawn: Collection[str],
) -> Iterator[Wanted]:
    for key_set in in_order:
        if (
            key_set.name in held
            or key_set.name in withdrawn
            or not key_set.valid_at(at.realtime)
            or _is_superseded(key_set, in_order, held, lifetimes, at, withdrawn)
        ):
            continue
        if key_set.activation is Activation.ALWAYS:
            yield Wanted(key_set=key_set, granted_until=None)
            continue
        before = _predecessor(key_set, in_order, lives)
        if before is not None:
            # Its peer has agreed, and goes on with this one: the agreement lasts as long.
            at_peer = key_set.between(before.path.local_address, before.path.peer_address)
            yield Wanted(key_set=at_peer, granted_until=before.granted_until)


def _is_superseded(
    key_set: KeySet,
    in_order: Iterable[KeySet],
    held: Mapping[str, Association],
    lifetimes: Lifetimes,
    at: Instant,
    withdrawn: Collection[str],
) -> bool:
    """Whether a later set of its path has taken over, and it would have retired by now."""
    for later in in_order:
        if later.path != key_set.path or later.not_before <= key_set.not_before:
            continue
        if later.name in withdrawn or not later.valid_at(at.realtime):
            continue
        follower = held.get(later.name)
        if follower is not None and follower.state is AssociationState.IN_USE:
            return True
        if later.not_before + lifetimes.key_switch + lifetimes.retiring <= at.realtime:
            return True
    return False


def _predecessor(
    key_set: KeySet, in_order: Iterable[KeySet], lives: Iterable[Association]
) -> Association | None:
    same_path = {s.name for s in in_order if s.path == key_set.path}
    for association in lives:
        if association.state in _IN_FORCE and name_of(association) in same_path:
            return association
    return None


def _confirmations(lives: Sequence[Association]) -> Iterator[tuple[str, float | None]]:
    for association in lives:
        if association.state is not AssociationState.TEMPORARY:
            continue
        for other in lives:
            if other.state in _IN_FORCE and path_of(other) == path_of(association):
                yield association.id, other.granted_until
                break


def _uses(
    in_order: Iterable[KeySet],
    lives: Sequence[Association],
    held: Mapping[str, Association],
    lifetimes: Lifetimes,
    at: Instant,
) -> Iterator[str]:
    for key_set in in_order:
        association = held.get(key_set.name)
        if association is None or association.state is not AssociationState.ESTABLISHED:
            continue
        path = path_of(association)
        alone = all(
            a.id == association.id or path_of(a) != path or a.state is AssociationState.TEMPORARY
            for a in lives
        )
        if alone or key_set.not_before + lifetimes.key_switch <= at.realtime:
            yield association.id


def _next_at(in_order: Iterable[KeySet], lifetimes: Lifetimes, at: Instant) -> float | None:
    instants = [
        instant
        for s in in_order
        for instant in (s.not_before, s.not_before + lifetimes.key_switch, s.not_after)
        if at.realtime < instant <= s.not_after
    ]
    return min(instants, default=None)


def path_of(association: Association) -> tuple[object, ...]:
    """Return what associations of sets that follow one another have in common."""
    pair = association.ipsec_man
    assert pair is not None
    ends = (pair.local_address, pair.peer_address, pair.local_ports, pair.peer_ports)
    return (association.endpoint, pair.role, *ends, "")
