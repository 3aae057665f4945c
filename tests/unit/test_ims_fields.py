"""Header rows taken apart: where commas and semicolons separate, and where nobody can tell."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import ImsError, values_of
from sip_hooks.ims.fields import LONGEST_ROW, read_parameters, split_outside, unfold
from tests.support.effort import at_most

QUOTED = st.text(st.characters(codec="utf-8", categories=["L", "N", "P", "S"])).map(
    lambda text: '"{}"'.format(text.replace("\\", r"\\").replace('"', r"\""))
)
PLAIN = st.text("abc019.:=*", min_size=1)
BRACKETED = st.text("abc019.:=,;@", min_size=1).map(lambda text: f"<{text}>")
VALUES = st.lists(
    st.lists(QUOTED | PLAIN | BRACKETED, min_size=1, max_size=4).map(" ".join),
    min_size=1,
    max_size=5,
)


@given(VALUES)
def test_a_comma_separates_outside_quotes_and_brackets_only(values: list[str]) -> None:
    """Rows and the values of one row are the same list (RFC 3261 7.3.1)."""
    assert values_of([", ".join(values)]) == values
    assert values_of(values) == values
    assert values_of([" ,\t".join(values)]) == values


@given(VALUES)
def test_a_semicolon_separates_by_the_same_rule(values: list[str]) -> None:
    """What a quoted string or a URI in brackets holds separates nothing (RFC 3261 25.1)."""
    assert split_outside(" ; ".join(values), ";") == values


def test_no_row_has_no_values_and_an_empty_row_an_empty_one() -> None:
    """A header that stands there empty is not one that is absent."""
    assert values_of([]) == []
    assert values_of([""]) == [""]
    assert values_of(["a,", "b"]) == ["a", "", "b"]


@pytest.mark.parametrize(
    ("row", "line"),
    [
        ("a\r\n b", "a b"),
        ("a\n\t \tb", "a b"),
        ("a\tb", "a b"),
        (" a \r\n", "a"),
        ("\r\n a", "a"),
        ("\u00a0a\u2003", "\u00a0a\u2003"),
    ],
)
def test_a_fold_is_one_space(row: str, line: str) -> None:
    """RFC 3261 7.3.1; white space of other alphabets is no white space of SIP."""
    assert unfold(row) == line


@pytest.mark.parametrize("c", ["\0", "\r", "\n", "\x0b", "\x1c", "\x1f", "\x7f", "\ud800"])
@pytest.mark.parametrize("where", ["a{}b", "{}b", "a{}"])
def test_control_characters_and_broken_unicode_are_refused(c: str, where: str) -> None:
    """Nothing that another reader could take for an end of the row passes, at its edges either."""
    if c in "\r\n" and where != "a{}b":
        assert unfold(where.format(c)) in {"a", "b"}
        return
    with pytest.raises(ImsError):
        unfold(where.format(c))


@pytest.mark.parametrize(
    "row",
    [
        '"a',
        'a"',
        r'"a\"',
        "<a",
        "a>",
        "<a<b>>",
        "a<b>c>",
        '<sip:a"b@c>, <sip:d"e@f>',
        'Via;x=<, SIP/2.0/UDP hidden;y="',
    ],
)
def test_quotes_and_brackets_that_stand_alone_are_refused(row: str) -> None:
    """Two readers would not agree how many values such a row has."""
    with pytest.raises(ImsError):
        values_of([row])


@pytest.mark.parametrize("row", ["sip:a,b@c", "sip:a;x=1,sip:b@c", "tel:1,2@c", "x, sip:a, y@b"])
def test_a_comma_that_may_belong_to_a_user_part_is_refused(row: str) -> None:
    """RFC 3261 20: a URI with a comma needs angle brackets; without them nobody can tell."""
    with pytest.raises(ImsError, match="comma"):
        values_of([row])


@pytest.mark.parametrize(
    "values",
    [
        ["<sip:a,b@c>"],
        ["sip:a@b", "sip:c@d;expires=1"],
        ["tel:1", "<sip:a@b>"],
        ['"x" <sip:a>', "sip:c@d"],
    ],
)
def test_commas_between_whole_uris_separate(values: list[str]) -> None:
    """The refusal of ambiguous commas costs no list that has one reading."""
    assert values_of([",".join(values)]) == values


def test_a_row_of_16_kib_is_read_and_a_longer_one_refused() -> None:
    """Sizes are limited before anything is done with a row."""
    assert len(values_of(["a," * (LONGEST_ROW // 2)])) == LONGEST_ROW // 2 + 1
    with pytest.raises(ImsError, match="16 KiB"):
        values_of(["a" * (LONGEST_ROW + 1)])


def test_parameters_are_read_to_the_end() -> None:
    """Names compare in any case (RFC 3261 7.3.1); a value keeps its quotes."""
    text = ';Tag=x ; lr;expires = 60;+sip.instance="<urn:a;b>"'

    assert read_parameters(text) == (
        ("tag", "x"),
        ("lr", None),
        ("expires", "60"),
        ("+sip.instance", '"<urn:a;b>"'),
    )


@pytest.mark.parametrize(
    "text", ["x", ";", ";=1", ";a=", ";a=<b>", ";a b", ';a="b"c', ";a=b,c", ";a=b<c", ";a@b"]
)
def test_what_is_no_parameter_is_refused(text: str) -> None:
    """Garbage behind a value is where a second value hides."""
    with pytest.raises(ImsError):
        read_parameters(text)


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "\t",
        "\r\n ",
        ",",
        ";",
        '"',
        "\\",
        '"\\',
        '\\"',
        "<",
        ">",
        "<>",
        '""',
        ";a=",
        "a,@",
    ],
)
def test_work_grows_with_the_length_of_the_row(unit: str) -> None:
    """16 KiB of anything are read in a moment: no row holds a worker of the SIP server."""
    row = unit * (LONGEST_ROW // len(unit))
    with at_most(yardsticks=15):
        for text in (row, '"' + row[1:], ";a" + row[2:], "<" + row[1:]):
            for read in (values_of_one, read_parameters):
                with contextlib.suppress(ImsError):
                    read(text)


def values_of_one(text: str) -> object:
    return values_of([text])
