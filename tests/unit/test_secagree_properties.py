"""What holds for every header, found or mutated: the reader against a second, plain one."""

import string
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sip_hooks.secagree import (
    HeaderError,
    ParseLimits,
    SecMechanism,
    find_difference,
    parse_header,
    render_header,
)
from tests.support.secagree_reference import read_row
from tests.support.secagree_samples import VECTORS, mechanism_lists

_LINES = VECTORS.read_text(encoding="utf-8").splitlines()
VALUES = [line.partition(":")[2] for line in _LINES if line.startswith("Security-")]
NO_LIMITS = ParseLimits(rows=10**6, mechanisms=10**6, parameters=10**6, size=10**9)

ALPHABET = ' \t\r\n;,="\\[].:%q01aAé\x00\x7f\ud800-'
PIECES = [
    *ALPHABET,
    "\r\n ",
    "\n\t",
    "tls",
    "q=",
    "0.5",
    "d-ver=",
    '"' + "0" * 32 + '"',
    "d-alg=",
    '"x"',
    "[::1]",
]


def check_against_reference(row: str) -> None:
    expected = read_row(row)
    if expected is None:
        with pytest.raises(HeaderError) as caught:
            parse_header(row, NO_LIMITS)
        assert caught.value.row == 0
        assert 0 <= caught.value.position <= len(row)
        return
    mechanisms = parse_header(row, NO_LIMITS)
    assert [(name, list(parameters)) for name, parameters in mechanisms] == expected
    assert parse_header(render_header(mechanisms), NO_LIMITS) == mechanisms


@settings(deadline=None)
@given(mechanism_lists)
def test_printing_and_reading_gives_the_same_back(mechanisms: list[SecMechanism]) -> None:
    """Whatever can be built is read back equal, also from one row each (R3261-7.3.1-b)."""
    assert parse_header(render_header(mechanisms)) == tuple(mechanisms)
    assert parse_header([str(mechanism) for mechanism in mechanisms]) == tuple(mechanisms)


@settings(deadline=None)
@given(mechanism_lists)
def test_what_is_printed_stays_on_its_line(mechanisms: list[SecMechanism]) -> None:
    """No value can smuggle another header into the message."""
    assert not set("\r\n") & set(render_header(mechanisms))


@settings(deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=24).map("".join))
def test_any_text_is_read_as_the_grammar_says(row: str) -> None:
    """Accepted or refused, and read, exactly as by the plain reader of the ABNF (R3329-2.2-a)."""
    check_against_reference(row)


@settings(deadline=None)
@given(st.text(string.printable + "é\x00", max_size=40))
def test_printable_noise_never_breaks_the_reader(row: str) -> None:
    """Noise ends in values or in HeaderError, nothing else (R3329-2.2-a)."""
    check_against_reference(row)


@settings(deadline=None)
@given(
    st.sampled_from(VALUES),
    st.lists(
        st.tuples(st.integers(0, 700), st.integers(0, 6), st.sampled_from(PIECES)), max_size=4
    ),
)
def test_mutated_real_headers_are_read_as_the_grammar_says(
    value: str, edits: list[tuple[int, int, str]]
) -> None:
    """Replace, insert and delete anywhere in a real field: still the grammar, still a position."""
    for at, deleted, inserted in edits:
        value = value[:at] + inserted + value[at + deleted :]
    check_against_reference(value)


@settings(deadline=None)
@given(mechanism_lists, st.randoms(use_true_random=False))
def test_comparison_is_reflexive_and_symmetric(
    mechanisms: list[SecMechanism], shuffler: Random
) -> None:
    """Parameter order never counts, mechanism order always does (R3329-2.3.1-m)."""
    shuffled = []
    for name, parameters in mechanisms:
        reordered = list(parameters)
        shuffler.shuffle(reordered)
        shuffled.append(SecMechanism(name, reordered))

    assert find_difference(mechanisms, shuffled) is None
    assert find_difference(shuffled, mechanisms) is None


@settings(deadline=None)
@given(mechanism_lists, mechanism_lists)
def test_a_difference_is_seen_from_both_sides(
    some: list[SecMechanism], others: list[SecMechanism]
) -> None:
    """Equality by meaning is symmetric (R3329-2.3.1-m)."""
    one_way = find_difference(some, others)
    other_way = find_difference(others, some)

    assert (one_way is None) == (other_way is None)
    if one_way is not None and other_way is not None:
        assert one_way.mechanism_index == other_way.mechanism_index
