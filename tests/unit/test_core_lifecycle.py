"""The transition table of an association and its deadlines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.core import lifecycle
from sad.core.lifecycle import TRANSITIONS, IllegalTransition
from sad.model.association import AssociationState, EndReason
from tests.support.make import LIFETIMES, association

State = AssociationState


def test_every_state_has_a_row_and_ended_is_final() -> None:
    """Rule 1 of the table: all states are in it, and nothing leaves ENDED."""
    assert set(TRANSITIONS) == set(State)
    assert TRANSITIONS[State.ENDED] == {}


@pytest.mark.parametrize("state", [s for s in State if s is not State.ENDED])
def test_every_living_state_can_end(state: AssociationState) -> None:
    """T24-P-12: whatever the state, the end of the lifetime ends it."""
    ended = lifecycle.end(association(state=state), EndReason.EXPIRED)

    assert (ended.state, ended.end_reason) == (State.ENDED, EndReason.EXPIRED)


def test_a_retiring_set_cannot_be_confirmed() -> None:
    """A set that is on its way out does not come back."""
    with pytest.raises(IllegalTransition, match="confirmed while retiring"):
        lifecycle.confirm(association(state=State.RETIRING), 600, LIFETIMES, now=0.0, realtime=0.0)


def test_the_first_confirmation_establishes() -> None:
    """T24-UE-4: temporary becomes established, for the expiry and 30 s."""
    temporary = association(state=State.TEMPORARY, deadline_at=240.0, confirmed_at=0.0)

    confirmed = lifecycle.confirm(temporary, 600, LIFETIMES, now=10.0, realtime=5000.0)

    assert confirmed.state is State.ESTABLISHED
    assert confirmed.deadline_at == 10.0 + 600 + 30
    assert confirmed.confirmed_at == 5000.0


@given(old=st.floats(0, 1e6), expires=st.integers(1, 600_000), now=st.floats(0, 1e6))
def test_a_confirmation_never_shortens(old: float, expires: int, now: float) -> None:
    """T24-UE-4, T24-P-11: lifetime = max(old, expiry + 30 s)."""
    before = association(deadline_at=old)

    after = lifecycle.confirm(before, expires, LIFETIMES, now=now, realtime=0.0)

    assert after.deadline_at == max(old, now + expires + 30)


@given(old=st.floats(0, 1e6), now=st.floats(0, 1e6), linger=st.integers(0, 128))
def test_release_and_supersede_never_lengthen(old: float, now: float, linger: int) -> None:
    """T24-P-9, T24-D-1: the old lifetime is cut to 64*T1 or the linger if it was longer."""
    before = association(deadline_at=old, state=State.IN_USE)

    assert lifecycle.supersede(before, LIFETIMES, now=now).deadline_at == min(old, now + 128)
    released = lifecycle.release(before, linger, now=now)
    assert released.deadline_at == min(old, now + linger)
    assert released.state is State.RETIRING
