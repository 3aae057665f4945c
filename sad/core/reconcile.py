"""What should lie in the kernel against what does: the same comparison at start and ever after.

Identity decides (SaId, PolicyId with our owner tag); nothing without our tag is ever a finding.
"""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Final, Self

from netlink.known import LIMIT_TOLERANCE_SECONDS
from netlink.model import (
    AddPolicy,
    DeletePolicy,
    DeleteSa,
    Direction,
    ObservedPolicy,
    ObservedSa,
    Operation,
    Policy,
    PolicyId,
    SaId,
    UpdatePolicy,
)
from netlink.uapi import IPPROTO_ESP
from sad.core.desired import NamedSa, policies_of, policies_of_set, sas_of
from sad.core.recognition import NOTHING_SEEN, Recognition, Seen
from sad.core.table import AssociationTable
from sad.model.association import XFRM_MECHANISMS, Association, Phase, RegistrationKey
from sad.model.rules import Layout, Lifetimes


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What differs.

    ``adopted`` are whole in the kernel; ``lost`` miss an SA (id -> rows missing); ``overdue`` are
    past their deadline; ``mislimited`` have a kernel limit that differs from their deadline, or
    another NAT port;
    ``repairs`` add or correct policies; ``removals`` are ours and belong to nobody. ``unjudged``
    were under change: what somebody took from them in the middle of it shows only afterwards.
    """

    adopted: tuple[str, ...] = ()
    lost: Mapping[str, tuple[str, ...]] = dataclasses.field(default_factory=dict)
    overdue: tuple[str, ...] = ()
    mislimited: tuple[str, ...] = ()
    repairs: tuple[Operation, ...] = ()
    removals: tuple[Operation, ...] = ()
    unjudged: tuple[RegistrationKey, ...] = ()

    @classmethod
    def together(cls, pieces: Sequence["Findings"]) -> Self:
        """Return what several pieces of one comparison found."""
        return cls(
            adopted=tuple(i for p in pieces for i in p.adopted),
            lost={i: rows for p in pieces for i, rows in p.lost.items()},
            overdue=tuple(i for p in pieces for i in p.overdue),
            mislimited=tuple(i for p in pieces for i in p.mislimited),
            repairs=tuple(o for p in pieces for o in p.repairs),
            removals=tuple(o for p in pieces for o in p.removals),
            unjudged=tuple(k for p in pieces for k in p.unjudged),
        )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Instant:
    """When a piece is judged: both clocks in seconds, and the registrations under change."""

    now: float
    realtime: float
    busy: AbstractSet[RegistrationKey] = frozenset()


#: Entries of a dump in one piece, and stray objects.
_PIECE: Final = 128

_NOTHING: Final = Findings()


class Comparison:
    """One comparison of dumped tables with the associations, in pieces of about a millisecond.

    Others may change the associations between two pieces. Each piece is judged by what the table
    holds at its own instant, so its findings are right in this turn of the loop and in no other:
    what is to be done about them must be sent before the next. The dumps are older than any
    instant; what they show wrong is asked for again (``lost``) or does no harm when it is done
    for nothing. ``standing`` are the endpoints' block policies; they may change meanwhile, too.
    ``clock_difference`` is what the real-time clock shows more than BOOTTIME, in seconds.
    """

    def __init__(
        self,
        table: AssociationTable,
        standing: Mapping[PolicyId, Policy],
        layout: Layout,
        lifetimes: Lifetimes,
        clock_difference: float,
    ) -> None:
        #: Tells most entries while the tables are dumped: those are not in the dumps.
        self.recognition = Recognition(table, layout, lifetimes, clock_difference)
        self._table = table
        self._standing = standing
        self._layout = layout
        self._lifetimes = lifetimes
        # What was dumped and not asked for yet: what is left at the end belongs to nobody.
        self._sas: dict[SaId, ObservedSa] = {}
        self._policies: dict[PolicyId, ObservedPolicy] = {}

    def take(
        self, sas: Iterable[ObservedSa], policies: Iterable[ObservedPolicy]
    ) -> Iterator[None]:
        """Take the dumps, piece by piece; before everything else, once."""
        owner = self._layout.owner
        for count, sa in enumerate(sas):
            if sa.selector.owner == owner:
                self._sas[sa.id] = sa
            if count % _PIECE == 0:
                yield
        for count, policy in enumerate(policies):
            if policy.id.selector.owner == owner:
                self._policies[policy.id] = policy
            if count % _PIECE == 0:
                yield

    def registrations(self) -> tuple[RegistrationKey, ...]:
        """Return the registrations of this instant that have SAs, to be judged one by one."""
        return tuple(k for k in self._table.registrations() if k.mechanism in XFRM_MECHANISMS)

    def judge_standing(self) -> Findings:
        """Judge the endpoints' block policies."""
        return Findings(repairs=tuple(self._repairs(self._standing.values())))

    def adopt(self, registration: RegistrationKey, at: Instant) -> str | None:
        """Return the id of a registration's one set if all of it was seen to be as it should be.

        None of all others, which are to be judged.
        """
        sets = self._table.of_registration(registration)
        if len(sets) != 1 or registration in at.busy:
            return None
        (association,) = sets
        if association.phase is not Phase.INSTALLED or association.deadline_at <= at.now:
            return None
        seen = self.recognition.seen_of(association)
        return association.id if seen is not None and seen.whole else None

    def judge(self, registration: RegistrationKey, at: Instant) -> Findings:
        """Judge one registration, once.

        Associations that are installing or being removed are under somebody's hands, and so are
        the policies of busy registrations: their objects are neither missed nor stray. The same
        is true of a set that has changed since some of it was seen.
        """
        sets = self._table.of_registration(registration)
        seen = [self.recognition.seen_of(a) for a in sets]
        if None in seen or (len(sets) > 1 and any(one != NOTHING_SEEN for one in seen)):
            return Findings(unjudged=(registration,))
        if len(sets) == 1:  # nothing is shared, so nothing is there twice
            of_set = policies_of_set(sets[0], self._layout, self._lifetimes)
            known = 0 if seen[0] is None else seen[0].policies
            wanted = tuple([p for n, p in enumerate(of_set) if not known >> n & 1])
        else:
            wanted = tuple(policies_of(sets, self._layout, self._lifetimes).values())
        pieces = [
            self._judge_set(a, s or NOTHING_SEEN, at) for a, s in zip(sets, seen, strict=True)
        ]
        repairs = tuple(self._repairs(wanted, self._lasting(sets, at)))
        if registration not in at.busy and all(a.phase is Phase.INSTALLED for a in sets):
            pieces.append(Findings(repairs=repairs))
        else:
            pieces.append(Findings(unjudged=(registration,)))
        return Findings.together(pieces)

    def _lasting(self, sets: Sequence[Association], at: Instant) -> float:
        """Return until when the policies of sets must last, in real time."""
        needed = max((a.deadline_at for a in sets), default=at.now) - at.now
        return at.realtime + needed + self._lifetimes.backstop

    def _judge_set(self, association: Association, seen: Seen, at: Instant) -> Findings:
        named = sas_of(association, self._layout, self._lifetimes, at.now)
        found = [
            (n, self._sas.pop(n.sa.id, None))
            for number, n in enumerate(named)
            if not seen.sas >> number & 1
        ]
        if association.phase is not Phase.INSTALLED:
            return _NOTHING
        if association.deadline_at <= at.now:
            return Findings(overdue=(association.id,))
        missing = tuple([n.name for n, observed in found if not _is_the_sa(n, observed)])
        if missing:
            return Findings(lost={association.id: missing})
        limit = at.realtime + (association.deadline_at - at.now) + self._lifetimes.backstop
        differs = any(
            observed is not None
            and (_limit_differs(observed, limit) or observed.encapsulation != n.sa.encapsulation)
            for n, observed in found
        )
        return Findings(adopted=(association.id,), mislimited=(association.id,) if differs else ())

    def _repairs(self, wanted: Iterable[Policy], limit: float = 0.0) -> Iterator[Operation]:
        """Yield what brings the policies about, and to last until ``limit`` (real time)."""
        for policy in wanted:
            found = self._policies.pop(policy.id, None)
            if found is None:
                yield AddPolicy(policy)
            elif (
                (found.action, found.priority) != (policy.action, policy.priority)
                or found.template != policy.template
                or _ends_too_soon(found, limit)
            ):
                yield UpdatePolicy(policy)

    def strays(self) -> Iterator[Findings]:
        """Yield what is ours and belongs to nobody, in pieces; after all registrations.

        Each is judged again when its piece is asked for: it may have found an owner since.
        """
        sas, policies = tuple(self._sas), tuple(self._policies)
        for start in range(0, len(sas), _PIECE):
            yield Findings(
                removals=tuple(
                    DeleteSa(i) for i in sas[start : start + _PIECE] if not self._has_owner(i)
                )
            )
        for start in range(0, len(policies), _PIECE):
            piece = policies[start : start + _PIECE]
            owned = self._policies_toward({_peer_of(i) for i in piece})
            stray = (i for i in piece if i not in owned and i not in self._standing)
            yield Findings(removals=tuple(DeletePolicy(i) for i in stray))

    def _has_owner(self, sa_id: SaId) -> bool:
        return (
            sa_id.protocol == IPPROTO_ESP
            and self._table.of_spi(sa_id.destination, sa_id.spi) is not None
        )

    def _policies_toward(self, peers: Iterable[str]) -> set[PolicyId]:
        """Return the policies that registrations with these peers have or may have."""
        keys = {
            a.registration
            for peer in peers
            for a in self._table.of_peer(peer)
            if a.mechanism in XFRM_MECHANISMS
        }
        owned: set[PolicyId] = set()
        for key in keys:
            sets = self._table.of_registration(key)
            owned.update(policies_of(sets, self._layout, self._lifetimes))
        return owned


def _peer_of(policy_id: PolicyId) -> str:
    selector = policy_id.selector
    return selector.source if policy_id.direction is Direction.IN else selector.destination


def _is_the_sa(named: NamedSa, observed: ObservedSa | None) -> bool:
    sa = named.sa
    return (
        observed is not None
        and observed.source == sa.source
        and observed.reqid == sa.reqid
        and observed.mode == sa.mode
        and observed.selector == sa.selector
        and (observed.encapsulation is None) == (sa.encapsulation is None)
    )


def _limit_differs(observed: ObservedSa, limit: float) -> bool:
    held = observed.current.add_time + observed.hard_add_seconds
    return observed.hard_add_seconds == 0 or abs(held - limit) > LIMIT_TOLERANCE_SECONDS


def _ends_too_soon(observed: ObservedPolicy, limit: float) -> bool:
    """Whether the kernel ends a policy before its sets, as after a step of the wall clock."""
    held = observed.add_time + observed.hard_add_seconds
    return observed.hard_add_seconds != 0 and held < limit - LIMIT_TOLERANCE_SECONDS
