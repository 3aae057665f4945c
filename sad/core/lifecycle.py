"""The life of an association.

Rule 1: every change of ``Association.state`` and of its deadline is made here, by
:func:`step`, from :data:`TRANSITIONS`. A missing entry is the refusal.
"""

import enum
from typing import Final

from msgspec import structs

from sad.model.association import Association, AssociationState, EndReason
from sad.model.rules import Lifetimes
from sad.model.tls_connection import TlsConnection

TEMPORARY = AssociationState.TEMPORARY
ESTABLISHED = AssociationState.ESTABLISHED
IN_USE = AssociationState.IN_USE
RETIRING = AssociationState.RETIRING
ENDED = AssociationState.ENDED


class Event(enum.StrEnum):
    """What can happen to an association."""

    ATTACHED = "attached"  # tls: a request came over the connection that it is bound to
    CONFIRMED = "confirmed"  # the registrar's 200, or a refresh without a challenge
    FIRST_REQUEST = "firstRequest"  # the first SIP request on it after its confirmation
    SUPERSEDED = "superseded"  # a newer set of its registration came into use
    TAKEN_UP = "takenUp"  # ipsec-man: its peer begins again while what was released lingers
    RELEASED = "released"  # de-registration or an operator, with linger
    ENDED = "ended"  # expired, released without linger, replaced, lost


#: state -> event -> next state; the rule ids are those of the norms.
TRANSITIONS: Final[dict[AssociationState, dict[Event, AssociationState]]] = {
    TEMPORARY: {
        Event.ATTACHED: ESTABLISHED,  # R3329-2.4-tls-a
        Event.CONFIRMED: ESTABLISHED,  # T24-UE-4, T24-P-7
        Event.RELEASED: RETIRING,  # T24-D-1
        Event.ENDED: ENDED,  # matrix row 8; T24-P-6
    },
    ESTABLISHED: {
        Event.ATTACHED: ESTABLISHED,
        Event.CONFIRMED: ESTABLISHED,  # T24-P-11: a refresh only lengthens
        Event.FIRST_REQUEST: IN_USE,  # T24-P-9
        Event.SUPERSEDED: RETIRING,  # T24-P-9
        Event.RELEASED: RETIRING,  # T24-D-1
        Event.ENDED: ENDED,  # T24-P-12
    },
    IN_USE: {
        Event.ATTACHED: IN_USE,
        Event.CONFIRMED: IN_USE,  # T24-P-11
        Event.FIRST_REQUEST: IN_USE,
        Event.SUPERSEDED: RETIRING,  # T24-P-9
        Event.RELEASED: RETIRING,  # T24-D-1
        Event.ENDED: ENDED,  # T24-P-12
    },
    RETIRING: {
        Event.FIRST_REQUEST: RETIRING,  # T24-P-10: its own transactions go on
        Event.TAKEN_UP: TEMPORARY,  # R3329-2.4-man-a: the peer is to show its keys anew
        Event.SUPERSEDED: RETIRING,
        Event.RELEASED: RETIRING,
        Event.ENDED: ENDED,  # T24-P-10, T24-P-12
    },
    ENDED: {},
}


class IllegalTransition(Exception):
    """The table has no entry: this event cannot happen to an association in this state."""


def _next(association: Association, event: Event) -> AssociationState:
    try:
        return TRANSITIONS[association.state][event]
    except KeyError:
        raise IllegalTransition(f"{event} while {association.state}") from None


def confirm(
    association: Association,
    expires_seconds: float,
    lifetimes: Lifetimes,
    *,
    now: float,
    realtime: float,
) -> Association:
    """The registration was granted: lifetime = max(old, expiry + 30 s), never less (T24-UE-4).

    What an agreement may live without a registration is no lifetime of one, and does not count:
    its first grant sets it.
    """
    first = not association.registered
    granted = now + expires_seconds + lifetimes.registration_margin
    if not (first and (association.ipsec_ike or association.tls)):
        granted = max(association.deadline_at, granted)
    return structs.replace(
        association,
        state=_next(association, Event.CONFIRMED),
        confirmed_at=realtime if first else association.confirmed_at,
        deadline_at=granted,
    )


def come_up(association: Association, *, deadline_at: float) -> Association:
    """Its CHILD_SA is up: it is in force, as yet without a registration (RFC 3329 2.5)."""
    return structs.replace(
        association, state=_next(association, Event.CONFIRMED), deadline_at=deadline_at
    )


def attach(
    association: Association, connection: TlsConnection, *, deadline_at: float
) -> Association:
    """A request came over this connection; without a registration it may live longer by that."""
    return structs.replace(
        association,
        state=_next(association, Event.ATTACHED),
        tls=connection,
        deadline_at=association.deadline_at
        if association.registered
        else max(association.deadline_at, deadline_at),
    )


def prove(
    association: Association, granted_until: float | None, key_end: float, *, realtime: float
) -> Association:
    """A peer with manual keys has shown that it has them (R3329-2.4-man-a).

    Its SAs end with the key's validity or the registration, whichever comes first (RFC 3329 2.5).
    """
    first = association.state is TEMPORARY
    return structs.replace(
        association,
        state=_next(association, Event.CONFIRMED),
        confirmed_at=realtime if first else association.confirmed_at,
        granted_until=granted_until,
        deadline_at=key_end if granted_until is None else min(key_end, granted_until),
    )


def confirm_keyed(
    association: Association,
    expires_seconds: float,
    lifetimes: Lifetimes,
    key_end: float,
    *,
    now: float,
    realtime: float,
) -> Association:
    """A registration on manual keys was granted: as :func:`confirm`, never beyond the key.

    One that needed no agreement has no registration, and lasts as long as its key anyway.
    """
    if association.state is not TEMPORARY and association.granted_until is None:
        return association
    granted = now + expires_seconds + lifetimes.registration_margin
    until = max(granted, association.granted_until or granted)
    return prove(association, until, key_end, realtime=realtime)


def follow_key(association: Association, deadline_at: float) -> Association:
    """The validity of its key moved on the ledger's clock: the wall clock was set, or the file."""
    return structs.replace(association, deadline_at=deadline_at)


def expiry_reason(association: Association) -> EndReason:
    """Return why an association ends whose deadline has come."""
    in_force = association.state in {ESTABLISHED, IN_USE}
    granted = association.granted_until
    if association.ipsec_man is not None and in_force and granted != association.deadline_at:
        return EndReason.KEY_EXPIRED
    return EndReason.EXPIRED


def first_request(association: Association) -> Association:
    """The first SIP request on the association was seen (design section 6)."""
    return structs.replace(association, state=_next(association, Event.FIRST_REQUEST))


def supersede(association: Association, lifetimes: Lifetimes, *, now: float) -> Association:
    """A newer set came into use: at most 64*T1 are left (T24-P-9)."""
    return structs.replace(
        association,
        state=_next(association, Event.SUPERSEDED),
        deadline_at=min(association.deadline_at, now + lifetimes.retiring),
    )


def release(association: Association, linger_seconds: float, *, now: float) -> Association:
    """Released with linger: the 200 and its retransmissions still pass (T24-D-1).

    Why it will have ended is known from here on, whatever ends it at last.
    """
    return structs.replace(
        association,
        state=_next(association, Event.RELEASED),
        deadline_at=min(association.deadline_at, now + linger_seconds),
        end_reason=EndReason.RELEASED,
    )


def take_up(
    association: Association, lifetimes: Lifetimes, key_end: float, *, now: float
) -> Association:
    """A peer whose SAs were released begins again, and its keys can make no others.

    As after a first offer, it is to confirm in time; nothing of its last registration counts.
    """
    deadline = min(key_end, now + lifetimes.reg_await_auth)
    return structs.replace(
        association,
        state=_next(association, Event.TAKEN_UP),
        confirmed_at=0.0,
        granted_until=None,
        deadline_at=max(association.deadline_at, deadline),
        end_reason=None,
    )


def end(association: Association, reason: EndReason) -> Association:
    """It is over."""
    return structs.replace(association, state=_next(association, Event.ENDED), end_reason=reason)
