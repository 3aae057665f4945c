"""The model that the daemon is held against says what the interaction matrix says."""

import dataclasses

from tests.oracle import sets as model
from tests.oracle.sets import Contact, Outcome, Proposal, SaSet, Sets, State

PHONE = Contact("10.10.0.2", 6300)


def proposal(number: int, on: str | None = None) -> Proposal:
    return Proposal(
        identity="alice",
        contact=PHONE,
        port_uc=6300 + number,
        spi_uc=2 * number,
        spi_us=2 * number + 1,
        on=on,
        transaction=number,
    )


def named(outcome: Outcome, name: str) -> Sets:
    """Give the set that an Offer has made its name."""
    assert not outcome.refused
    return tuple(s if s.name else dataclasses.replace(s, name=name) for s in outcome.sets)


def challenged(sets: Sets, name: str, on: str | None = None, now: float = 0) -> Sets:
    return named(model.offer(sets, proposal(ord(name), on), now), name)


def told(sets: Sets) -> dict[str, tuple[State, float]]:
    return {s.name: (s.state, s.deadline) for s in sets}


def carrier(sets: Sets) -> str:
    carrying: SaSet | None = model.carrying(sets)
    assert carrying is not None
    return carrying.name


A = model.confirm(challenged((), "A"), "A", 600, 0).sets


def test_row_1_and_2_in_clear_the_new_set_alone_is_left_and_in_use() -> None:
    """T24-P-8."""
    assert told(A) == {"A": (State.IN_USE, 630)}
    reborn = model.confirm(challenged(A, "B"), "B", 600, 100).sets
    assert told(reborn) == {"B": (State.IN_USE, 730)}


def test_row_3_an_earlier_temporary_set_goes_and_the_set_of_the_register_stays() -> None:
    """T24-P-6."""
    twice = challenged(challenged(A, "T", "A"), "U", "A", now=10)
    assert told(twice) == {"A": (State.IN_USE, 630), "U": (State.TEMPORARY, 250)}


def test_row_4_and_5_the_new_set_is_used_after_its_first_request() -> None:
    """T24-P-8, T24-P-9."""
    both = model.confirm(challenged(A, "T", "A"), "T", 3600, 20).sets
    assert told(both) == {"A": (State.IN_USE, 630), "T": (State.ESTABLISHED, 3650)}
    assert carrier(both) == "A"
    after = model.take_into_use(both, "T", 30).sets
    assert told(after) == {"A": (State.RETIRING, 158), "T": (State.IN_USE, 3650)}
    assert carrier(after) == "T"


def test_row_6_and_8_what_is_not_answered_goes_at_240_seconds_alone() -> None:
    """T33-7.3.1.1."""
    waiting = challenged(A, "T", "A")
    assert "T" in told(model.passed(waiting, 239.9))
    assert told(model.passed(waiting, 240)) == told(A)


def test_row_7_a_refresh_only_lengthens() -> None:
    """T24-P-11."""
    assert told(model.confirm(A, "A", 60, 0).sets) == told(A)
    assert told(model.confirm(A, "A", 700, 0).sets) == {"A": (State.IN_USE, 730)}


def test_row_9_a_fourth_set_is_refused() -> None:
    """TS 33.203 7.1: six SAs per direction."""
    three = challenged(challenged(A, "B"), "C")
    assert model.offer(three, proposal(99), 0).refused == {"LimitExceeded"}
