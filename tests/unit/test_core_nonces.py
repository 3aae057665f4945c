"""The bound of sad/docs/nonces.md, recomputed and tried out on small numbers (T33-I-b)."""

import itertools
from fractions import Fraction

import pytest

from sad.core.nonces import BLOCK, MOST_REBUILDS, PACKETS, TOLERATED, repeat_bound


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_probability_for_two_associations_is_exact(bits: int) -> None:
    """With IVs of w bits, two SAs of 2^b - 1 packets collide with probability 2^b / 2^w exactly.

    All pairs of random values are tried; the page says the same with w = 64 and b = 24.
    """
    width = 6
    numbers = range(1, 1 << bits)
    colliding = sum(
        not {a ^ i for i in numbers}.isdisjoint({b ^ j for j in numbers})
        for a, b in itertools.product(range(1 << width), repeat=2)
    )
    assert Fraction(colliding, 1 << 2 * width) == Fraction(1 << bits, 1 << width)


@pytest.mark.parametrize(("first", "second"), [(0, 1), (1, 2), (0, 3), (2, 2)])
def test_later_lives_cost_the_same(first: int, second: int) -> None:
    """An SA that was rebuilt goes on in another aligned block: the probability is no other."""
    width, bits = 6, 3
    lives = [[(k << bits) + i for i in range(1, 1 << bits)] for k in (first, second)]
    colliding = sum(
        not {a ^ i for i in lives[0]}.isdisjoint({b ^ j for j in lives[1]})
        for a, b in itertools.product(range(1 << width), repeat=2)
    )
    assert Fraction(colliding, 1 << 2 * width) == Fraction(1 << bits, 1 << width)


def test_without_alignment_it_would_cost_more() -> None:
    """Why a leap goes to a multiple of a block: two blocks touched are twice the probability."""
    width, bits = 6, 3
    straddling = range(3, 11)
    colliding = sum(
        not {a ^ i for i in straddling}.isdisjoint({b ^ j for j in straddling})
        for a, b in itertools.product(range(1 << width), repeat=2)
    )
    assert Fraction(colliding, 1 << 2 * width) > Fraction(1 << bits, 1 << width)


def test_the_numbers_of_the_page() -> None:
    """Six pairs of four SAs stay below 2^-37; nine rebuilds are within 2^-32, ten are not."""
    assert repeat_bound(4) == Fraction(6, 1 << 40) < Fraction(1, 1 << 37)
    assert MOST_REBUILDS == 9
    assert repeat_bound(22) < TOLERATED < repeat_bound(24)
    assert 2 * PACKETS == BLOCK == 1 << 24
    # Without a limit of packets: the whole range of sequence numbers.
    assert Fraction(6 * (1 << 32), 1 << 64) > TOLERATED
