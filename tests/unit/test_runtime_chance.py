"""Random numbers by the page are uniform, and refuse what the library refuses."""

from collections import Counter

import pytest

from sad.runtime.chance import Chance


@pytest.mark.parametrize("bound", [1, 2, 3, 7, 8, 1000, (1 << 48) - 1, 1 << 48, 1 << 64, 1 << 70])
def test_numbers_are_below_their_bound(bound: int) -> None:
    """Whatever the bound, and over more than one page."""
    below = Chance().below
    assert all(0 <= below(bound) < bound for _ in range(2000))


def test_every_number_comes_equally_often() -> None:
    """Six standard deviations: a bound that is no power of two favours nobody."""
    below = Chance().below
    counted = Counter(below(6) for _ in range(60_000))
    assert set(counted) == set(range(6))
    assert all(abs(count - 10_000) < 6 * 92 for count in counted.values())


def test_two_draw_different_numbers() -> None:
    """Nobody can tell one's numbers from another's."""
    one, other = Chance().below, Chance().below
    assert [one(1 << 48) for _ in range(8)] != [other(1 << 48) for _ in range(8)]


@pytest.mark.parametrize("bound", [0, -1])
def test_there_is_no_number_below_nothing(bound: int) -> None:
    """As the library."""
    with pytest.raises(ValueError, match="positive"):
        Chance().below(bound)
