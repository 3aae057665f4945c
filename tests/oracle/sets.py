"""What the standards say of the SA sets of user agents, as a model to hold the daemon against.

Written from TS 33.203 7.3 to 7.5, TS 24.229 5.1.1 and 5.2.2 (the interaction matrix and its rules)
and the table of lifetimes; it shares no code with :mod:`sad.core`. Times are seconds of one clock.
Every event is a pure function from sets to an :class:`Outcome`.
"""

import dataclasses
import enum
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

AWAIT_AUTH: Final = 240.0  # reg-await-auth
MARGIN: Final = 30.0  # T24-UE-4
RETIRING: Final = 128.0  # 64*T1
SETS_OF_A_REGISTRATION: Final = 3  # six SAs per direction
TEMPORARY_OF_AN_IDENTITY: Final = 4


class State(enum.StrEnum):
    """How far an agreement has come."""

    TEMPORARY = "temporary"
    ESTABLISHED = "established"
    IN_USE = "inUse"
    RETIRING = "retiring"


@dataclass(frozen=True, slots=True)
class Contact:
    """A registration: one contact (address and port_us) of a user agent."""

    address: str
    port_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """What a REGISTER proposes, and the set that it came on (None: unprotected).

    ``transaction`` stands for its Call-ID, CSeq and branch: a retransmission is equal.
    """

    identity: str
    contact: Contact
    port_uc: int
    spi_uc: int
    spi_us: int
    on: str | None = None
    transaction: int = 0

    @property
    def spis(self) -> frozenset[int]:
        """SPIs that the user agent chose: one number is one SA at its address."""
        return frozenset({self.spi_uc, self.spi_us})


@dataclass(frozen=True, slots=True, kw_only=True)
class SaSet:
    """One SA set. ``name``, SPIs and port_pc of this node are its own choice.

    ``granted``: its registration was confirmed once.
    """

    name: str
    proposal: Proposal
    port_pc: int = 0
    spi_pc: int = 0
    spi_ps: int = 0
    state: State = State.TEMPORARY
    deadline: float
    granted: bool = False

    @property
    def contact(self) -> Contact:
        """The registration that it belongs to."""
        return self.proposal.contact


#: Oldest first.
Sets = tuple[SaSet, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is there afterwards; ``refused``: by one of these errors.

    ``new`` is what an Offer is answered with; made by it, it has no name yet.
    """

    sets: Sets
    refused: frozenset[str] = frozenset()
    new: SaSet | None = None


def refuse(sets: Sets, *errors: str) -> Outcome:
    """Nothing happens."""
    return Outcome(sets, frozenset(errors))


def named(sets: Sets, name: str) -> SaSet | None:
    """Return the set of this name, if it lives."""
    return next((s for s in sets if s.name == name), None)


def of_contact(sets: Sets, contact: Contact) -> Sets:
    """Return the sets of one registration, oldest first."""
    return tuple(s for s in sets if s.contact == contact)


def without(sets: Sets, gone: Iterable[SaSet]) -> Sets:
    """Take sets away."""
    names = {s.name for s in gone}
    return tuple(s for s in sets if s.name not in names)


def carrying(sets: Sets) -> SaSet | None:
    """Return the set of a registration that carries what the node sends (T24-P-9).

    The one in use; before any is, the oldest that is established; then one that is on its way
    out; a temporary one (nothing but REGISTER passes there) when there is no other.
    """
    for state in (State.IN_USE, State.ESTABLISHED, State.RETIRING, State.TEMPORARY):
        for one in sets:
            if one.state is state:
                return one
    return None


# --- events --------------------------------------------------------------------------------------


def offer(sets: Sets, proposal: Proposal, now: float) -> Outcome:
    """Tell what a 401 brings: a temporary set for reg-await-auth, beside what is in force.

    T24-P-6 and matrix row 3: on a set, earlier temporary ones of the registration go. Unprotected
    (design 6): only the temporary set of the same identity, address and port_uc goes, for
    anybody can send that in anybody's name. A retransmission gets the answer of the first.
    """
    known = [s for s in sets if s.state is State.TEMPORARY and s.proposal == proposal]
    if known:
        return Outcome(sets, new=known[0])
    on = None
    if proposal.on is not None:
        on = named(sets, proposal.on)
        if on is None or on.state is State.TEMPORARY or not on.granted:
            return refuse(sets, "NoSuchAssociation", "BadParameter")
    replaced = _dropped_by(sets, proposal)
    left = without(sets, replaced)
    beside = of_contact(left, proposal.contact)
    refusals = []
    if _claims_what_anothers_is(left, proposal):
        refusals.append("FlowInUse")
    if len(beside) >= SETS_OF_A_REGISTRATION:  # matrix row 9
        refusals.append("LimitExceeded")
    waiting = [s for s in left if s.state is State.TEMPORARY]
    of_identity = [s for s in waiting if s.proposal.identity == proposal.identity]
    if on is None and len(of_identity) >= TEMPORARY_OF_AN_IDENTITY:
        refusals.append("Busy")
    if refusals:
        return refuse(sets, *refusals)
    new = SaSet(name="", proposal=proposal, deadline=now + AWAIT_AUTH)
    return Outcome((*left, new), new=new)


def _dropped_by(sets: Sets, proposal: Proposal) -> Sets:
    """The never confirmed sets of this user agent whose place the new one takes."""
    mine = [s for s in sets if not s.granted and s.proposal.identity == proposal.identity]
    on = named(sets, proposal.on or "")
    if on is not None:
        return tuple(s for s in mine if s.contact in {proposal.contact, on.contact})
    return tuple(
        s
        for s in mine
        if s.contact.address == proposal.contact.address and s.proposal.port_uc == proposal.port_uc
    )


def _claims_what_anothers_is(sets: Sets, proposal: Proposal) -> bool:
    """Design 7: no port of a user agent belongs to two registrations, no SPI to two SAs.

    Matrix row 2: who comes back unprotected (a phone that rebooted) may name the client port of
    its old set again; on a set the values must be new (T24-UE-6).
    """
    for other in sets:
        if other.contact.address != proposal.contact.address:
            continue
        if other.proposal.spis & proposal.spis:
            return True
        same = other.contact == proposal.contact
        if same and other.proposal.identity != proposal.identity:
            return True
        if other.proposal.port_uc == proposal.port_uc and not (same and proposal.on is None):
            return True
    return False


def confirm(sets: Sets, name: str, expires: float, now: float) -> Outcome:
    """Tell what a 200 brings (T24-UE-4, T24-P-7, T24-P-8, T24-P-11).

    The lifetime is never shortened. A temporary set becomes established; which others stay
    follows from where the challenged REGISTER had come from. In clear: none of that identity, at
    whatever address and ports (a phone that rebooted, or has moved: T33-7.5-a). On a set: of that
    registration that set alone.
    """
    this = named(sets, name)
    if this is None or this.state is State.RETIRING:
        return refuse(sets, "NoSuchAssociation")
    longer = max(this.deadline, now + expires + MARGIN)
    if this.state is not State.TEMPORARY:
        return Outcome(_changed(sets, dataclasses.replace(this, deadline=longer)))
    unprotected = this.proposal.on is None
    state = State.IN_USE if unprotected else State.ESTABLISHED
    granted = dataclasses.replace(this, state=state, deadline=longer, granted=True)
    older = sets[: sets.index(this)]
    mine = [s for s in older if s.proposal.identity == this.proposal.identity]
    if not unprotected:
        mine = [s for s in mine if s.contact == this.contact and s.name != this.proposal.on]
    return Outcome(_changed(without(sets, mine), granted))


def take_into_use(sets: Sets, name: str, now: float) -> Outcome:
    """Tell what the first message on a set brings (T24-P-9): older ones retire within 64*T1.

    A later message changes nothing, and one on a set that retires is an ordinary one.
    """
    this = named(sets, name)
    if this is None or this.state is State.TEMPORARY:
        return refuse(sets, "NoSuchAssociation")
    if this.state is not State.ESTABLISHED:
        return Outcome(sets)
    older = of_contact(sets[: sets.index(this)], this.contact)
    after = _changed(sets, dataclasses.replace(this, state=State.IN_USE))
    for one in older:
        if one.state in {State.ESTABLISHED, State.IN_USE}:
            after = _changed(after, _retired(one, RETIRING, now))
    return Outcome(after)


def release(sets: Sets, name: str, linger: float, now: float, *, whole: bool = False) -> Outcome:
    """Tell what the end of a registration brings (T24-D-1): sets go now, or after a grace."""
    this = named(sets, name)
    if this is None:
        return refuse(sets, "NoSuchAssociation")
    ending = of_contact(sets, this.contact) if whole else (this,)
    if not linger:
        return Outcome(without(sets, ending))
    after = sets
    for one in ending:
        after = _changed(after, _retired(one, linger, now))
    return Outcome(after)


def lose(sets: Sets, names: Iterable[str]) -> Outcome:
    """Tell what it brings that the kernel lost an SA: half a set is none."""
    return Outcome(without(sets, [s for s in sets if s.name in set(names)]))


def passed(sets: Sets, now: float) -> Sets:
    """Tell what is left at an instant (T24-P-12)."""
    return tuple(s for s in sets if s.deadline > now)


def _retired(one: SaSet, linger: float, now: float) -> SaSet:
    deadline = min(one.deadline, now + min(linger, RETIRING))
    return dataclasses.replace(one, state=State.RETIRING, deadline=deadline)


def _changed(sets: Sets, after: SaSet) -> Sets:
    return tuple(after if s.name == after.name else s for s in sets)
