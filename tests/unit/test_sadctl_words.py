"""Times, sizes, SPIs and addresses in words, and the folding of lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sad.ctl import words
from sad.ctl.sheet import Cell, Sheet

SECOND = 1_000_000
NOW = 1_700_000_000.0
NOW_INSTANT = int(NOW) * SECOND


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "0 s"),
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (552, "9 min 12 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h"),
        (3605, "1 h"),
        (3660, "1 h 1 min"),
        (86_399, "23 h 59 min"),
        (604_830, "7 d"),
        (694_800, "8 d 1 h"),
    ],
)
def test_a_span_shows_its_two_greatest_units(seconds: int, text: str) -> None:
    """What is left is read at a glance: never more than two units (K13)."""
    assert words.span(seconds) == text


@pytest.mark.parametrize(
    ("seconds_ago", "text"),
    [
        (0, "now"),
        (1, "1 second ago"),
        (65, "1 minute, 5 seconds ago"),
        (7200, "2 hours ago"),
        (90_000, "1 day, 1 hour ago"),
        (-1, "now"),
        (-30, "30 s in the future: a clock was set back"),
    ],
)
def test_an_instant_shows_as_an_age(seconds_ago: int, text: str) -> None:
    """Ages are relative; an instant of the future is called one."""
    assert words.ago(NOW_INSTANT - seconds_ago * SECOND, NOW) == text


def test_instant_zero_is_never() -> None:
    """Zero means never in every reply."""
    assert words.ago(0, NOW) == "never"


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.00 KiB"),
        (4300, "4.20 KiB"),
        (5 * 1024**3, "5.00 GiB"),
        (5 * 1024**5, "5120.00 TiB"),
    ],
)
def test_bytes_show_in_binary_units(octets: int, text: str) -> None:
    """Units are those of 1024."""
    assert words.size(octets) == text


def test_an_spi_shows_as_eight_hex_digits() -> None:
    """As tcpdump and ip xfrm show it, so that it can be searched for."""
    assert words.spi_text(70002) == "0x00011172"
    assert words.spi_text(0xFFFFFFFF) == "0xffffffff"


def test_an_ipv6_address_with_port_stands_in_brackets() -> None:
    """The form that find takes as well."""
    assert words.socket_address("2001:db8::1", 5064) == "[2001:db8::1]:5064"
    assert words.socket_address("192.0.2.1", 5064) == "192.0.2.1:5064"


@given(st.sets(st.integers(1, 200), max_size=30))
def test_port_ranges_name_each_port_once(ports: set[int]) -> None:
    """The short form says neither more nor less than the list."""
    named: list[int] = []
    for part in filter(None, words.port_ranges(ports).split(", ")):
        first, _, last = part.partition("-")
        named += range(int(first), int(last or first) + 1)

    assert named == sorted(ports)


@given(st.text())
def test_no_text_from_outside_can_move_the_cursor(text: str) -> None:
    """Identities come from the network: controls and overrides never reach a terminal."""
    assert words.printable(text).isprintable()


def test_a_control_character_shows_as_its_escape() -> None:
    """What is hidden elsewhere is seen here."""
    assert words.printable("a\x1b[2Jb\u202e") == "a\\x1b[2Jb\\u202e"


@given(st.lists(st.text("abcdef", min_size=1, max_size=45), min_size=1), st.integers(40, 90))
def test_a_folded_line_keeps_every_cell_whole_and_in_order(cells: list[str], columns: int) -> None:
    """Folding never loses, splits or reorders what is shown."""
    lines = Sheet(columns).line(map(Cell, cells))

    assert " ".join(lines).split() == cells


@given(st.lists(st.text("abcdef", min_size=1, max_size=30), min_size=1), st.integers(40, 90))
def test_a_folded_line_stays_inside_the_terminal(cells: list[str], columns: int) -> None:
    """As long as one cell fits, so does every line; colour takes no width."""
    plain = Sheet(columns).line(Cell(text, "good", 12) for text in cells)

    assert all(len(line) <= columns for line in plain)


def test_nothing_folds_where_there_is_no_width() -> None:
    """A pipe gets one line for one thing, to be searched."""
    assert len(Sheet().line(Cell("x" * 50) for _ in range(20))) == 1


def test_colours_only_repeat_the_words() -> None:
    """Without the sequences the text is the same."""
    cells = (Cell("a", "good", 5), Cell("b", "bad"))
    coloured = Sheet(coloured=True).line(cells)[0]

    assert coloured == "\x1b[32ma\x1b[0m      \x1b[31mb\x1b[0m"
    assert Sheet().line(cells) == ["a      b"]
