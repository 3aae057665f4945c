"""Reading and printing of Security-Client, -Server and -Verify (norms sections 2 and 9)."""

import contextlib

import pytest

from sip_hooks.secagree import (
    HeaderError,
    HeaderName,
    ParseLimits,
    SecMechanism,
    UnprintableError,
    parse_header,
    parse_header_line,
    render_header,
    render_header_line,
    repeated_preference,
)
from tests.support.effort import at_most


def error_of(*rows: str, limits: ParseLimits | None = None) -> HeaderError:
    with pytest.raises(HeaderError) as caught:
        parse_header(rows, limits or ParseLimits())
    return caught.value


@pytest.mark.parametrize(
    "text",
    [
        "ipsec-3gpp;alg=x;prot=esp",
        " ipsec-3gpp ; alg = x\t;\tprot= esp ",
        "ipsec-3gpp\r\n ;alg=\r\n\tx;prot\r\n  =esp\r\n ",
        "ipsec-3gpp;\n alg=x;prot=esp",
        "ipsec-3gpp \r\n \r\n ;alg=x;prot=esp",
    ],
)
def test_white_space_and_folds_around_separators_mean_nothing(text: str) -> None:
    """SEMI, EQUAL and COMMA take white space and folds on both sides (R3329-2.2-a)."""
    expected = SecMechanism("ipsec-3gpp", [("alg", "x", False), ("prot", "esp", False)])

    assert parse_header(text) == (expected,)


def test_several_rows_equal_one_row_joined_by_commas() -> None:
    """Rows are one list in their order (R3261-7.3.1-b)."""
    assert parse_header(("tls;q=0.2", "digest", "a,b")) == parse_header("tls;q=0.2,digest,a,b")
    assert parse_header(()) == ()


def test_case_is_kept_and_names_are_found_in_any_case() -> None:
    """Names compare case-insensitively (R3261-7.3.1-a), the written form stays."""
    (mechanism,) = parse_header("Ipsec-3GPP;PORT-S=5063;Q=0.7")

    assert mechanism.name == "Ipsec-3GPP"
    assert mechanism.get("port-s") == ("PORT-S", "5063", False)
    assert mechanism.preference == 700
    assert str(mechanism) == "Ipsec-3GPP;PORT-S=5063;Q=0.7"


@pytest.mark.parametrize(
    ("written", "content"),
    [
        ('""', ""),
        ('"a;b,c=d"', "a;b,c=d"),
        (r'"a\"b\\c\d"', 'a"b\\cd'),
        ('"\u00e9t\u00e9 \u6f22\u5b57 \U0001f600"', "\u00e9t\u00e9 \u6f22\u5b57 \U0001f600"),
        ('"a\r\n \t b"', "a b"),
        ('"tab\there"', "tab\there"),
        ('"\\\x00"', "\x00"),
    ],
)
def test_quoted_strings_are_read_by_content(written: str, content: str) -> None:
    """Escapes are undone, a fold counts as one SP (R3261-7.3.1-c), UTF-8 passes (R3329-2.2-a)."""
    (mechanism,) = parse_header(f"x;p={written};r")

    assert mechanism.parameters == (("p", content, True), ("r", None, False))
    assert parse_header(render_header([mechanism])) == (mechanism,)


def test_an_ipv6_address_in_brackets_is_a_value() -> None:
    """gen-value includes host, and host includes IPv6reference (R3329-2.2-a)."""
    (mechanism,) = parse_header("x;h=[2001:DB8::1];g=[::ffff:192.0.2.1];i=192.0.2.1")

    assert [value for _, value, _ in mechanism.parameters] == [
        "[2001:DB8::1]",
        "[::ffff:192.0.2.1]",
        "192.0.2.1",
    ]


@pytest.mark.parametrize(
    ("row", "position"),
    [
        ("", 0),
        ("  ", 2),
        (",tls", 0),
        ("tls,", 4),
        ("tls,,digest", 4),
        ("tls, ,digest", 5),
        (";q=1", 0),
        ("tls;", 4),
        ("tls;;q=1", 4),
        ("tls; ,digest", 5),
        ("tls digest", 4),
        ("tls=1", 0),
        ("tls;=1", 4),
        ("tls;a=", 6),
        ("tls;a= ;b", 7),
        ("tls;a=b=c", 7),
        ('tls;a="b"=c', 9),
        ('tls;a="b', 6),
        ('tls;a="b\\"', 6),
        ('tls;a="b\x01"', 6),
        ('tls;a="b\\\r\n c"', 6),
        ('tls;a="\ud800"', 6),
        ('tls;a="b"c', 9),
        ("tls;a=[::1", 6),
        ("tls;a=[::g]", 6),
        ("tls;a=[1:2]", 4),
        ("tls;a=[::1%eth0]", 6),
        ("t\u00e9s", 1),
        ("tls;\u00e4=1", 4),
        ("tls;a=\u0131", 6),
        ("tls\r\n", 3),
        ("tls\n;q=1", 3),
        ("tls\r ;q=1", 3),
        ("tls;q=1\x00", 7),
        ('"tls"', 0),
        ("digest/tls", 6),
    ],
)
def test_a_syntax_error_names_its_position(row: str, position: int) -> None:
    """What the grammar has no place for refuses the header and says where (R3329-2.2-a)."""
    error = error_of("tls;q=0.5", row)

    assert (error.row, error.position, error.rule) == (1, position, "R3329-2.2-a")
    assert error.status_hint == 400


@pytest.mark.parametrize(
    ("text", "thousandths"),
    [
        ("0", 0),
        ("0.", 0),
        ("0.5", 500),
        ("0.05", 50),
        ("0.123", 123),
        ("0.000", 0),
        ("1", 1000),
        ("1.", 1000),
        ("1.000", 1000),
    ],
)
def test_a_qvalue_reads_as_thousandths(text: str, thousandths: int) -> None:
    """All forms of R3329-2.2-b, held as integers so that they compare exactly."""
    assert parse_header(f"tls;q={text}")[0].preference == thousandths


@pytest.mark.parametrize(
    "value", [".5", "0.1234", "1.001", "2", "-0.1", "00", "01", "1.0000", '"0.5"', "0.5a"]
)
def test_another_qvalue_is_refused(value: str) -> None:
    """A qvalue is part of the grammar, for every mechanism and in any case (R3329-2.2-b)."""
    error = error_of(f"x;Q={value}")

    assert (error.position, error.rule) == (2, "R3329-2.2-b")


def test_an_empty_qvalue_is_refused() -> None:
    """A preference needs its value (R3329-2.2-b)."""
    for text in ("x;q", "x;q=", "x;q;r", "x;q=,y"):
        assert (error_of(text).position, error_of(text).rule) == (2, "R3329-2.2-b")


@pytest.mark.parametrize(
    "parameter",
    [
        "d-ver=0000000000000000000000000000abcd",
        'd-ver="0000000000000000000000000000ABCD"',
        'd-ver="000000000000000000000000000abcd"',
        'd-ver="00000000000000000000000000000abcd"',
        'd-ver="0000000000000000000000000000abcg"',
        "d-ver",
        'd-alg="MD5"',
        "d-alg",
        'd-qop="auth"',
        "d-qop=[::1]",
    ],
)
def test_parameters_of_digest_keep_their_form(parameter: str) -> None:
    """d-ver is quoted 32LHEX, d-alg and d-qop are bare tokens (R3329-2.2-c)."""
    error = error_of(f"digest;{parameter}")

    assert (error.position, error.rule) == (7, "R3329-2.2-c")


def test_unknown_names_and_repeated_parameters_are_no_syntax_errors() -> None:
    """They are kept for the mirrored list and judged by meaning (R3329-2.2-d)."""
    text = "kerberos;new=1;new=2;flag"

    assert render_header(parse_header(text)) == text


@pytest.mark.parametrize(
    ("rows", "limits", "row", "position"),
    [
        (["tls"] * 3, ParseLimits(rows=2), 2, 0),
        (["tls, digest", "a,  b"], ParseLimits(mechanisms=3), 1, 4),
        (["tls;a;b ;c"], ParseLimits(parameters=2), 0, 9),
        (["x", "tls;a;b,u;a;b; c"], ParseLimits(parameters=2), 1, 15),
        (["tls", "x" * 8], ParseLimits(size=10), 1, 0),
        (['x;p="\u00e9\u00e9\u00e9"'], ParseLimits(size=11), 0, 0),
    ],
)
def test_limits_refuse_with_the_place_that_is_too_much(
    rows: list[str], limits: ParseLimits, row: int, position: int
) -> None:
    """Rows, mechanisms, parameters and bytes of a header are bounded by settings."""
    error = error_of(*rows, limits=limits)

    assert (error.row, error.position, error.rule) == (row, position, None)


def test_a_header_just_at_its_limits_is_read() -> None:
    """The limits themselves are allowed."""
    limits = ParseLimits(rows=2, mechanisms=2, parameters=2, size=12)

    assert len(parse_header(("a;b;c", "d;e;f=1"), limits)) == 2
    assert len(parse_header(",".join(["x"] * 64))) == 64
    assert error_of(",".join(["x"] * 65)).position == 128


def test_whole_lines_are_read_and_written_by_name() -> None:
    """The three names in any case, HCOLON with white space, no compact form (R3329-2.6-b)."""
    name, mechanisms = parse_header_line("security-VERIFY \t:\r\n tls ; q=0.2")

    assert name is HeaderName.VERIFY
    assert render_header_line(name, mechanisms) == "Security-Verify: tls;q=0.2"
    for line in ("Security-Clients: tls", "Security-Client tls", "s: tls", ": tls", ""):
        with pytest.raises(HeaderError):
            parse_header_line(line)


def test_a_line_error_counts_from_the_start_of_the_line() -> None:
    """So that an operator finds the character in what was captured."""
    with pytest.raises(HeaderError, match=r"position 21: .* \[R3329-2.2-a\]$") as caught:
        parse_header_line("Security-Client: tls;=1")

    assert caught.value.position == "Security-Client: tls;=1".index("=")


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("", []),
        ("a b", []),
        ("tls\r\nVia", []),
        ("tls", [("", None, False)]),
        ("tls", [("a", "b;c", False)]),
        ("tls", [("a", "", False)]),
        ("tls", [("a", "x\r\ny", True)]),
        ("tls", [("a", "\ud800", True)]),
        ("tls", [("a", None, True)]),
        ("tls", [("a", "[fe80::1%1]", False)]),
        ("tls", [("q", "2", False)]),
    ],
)
def test_what_cannot_be_printed_cannot_be_built(
    name: str, parameters: list[tuple[str, str | None, bool]]
) -> None:
    """No value of ours ever breaks out of its place in a header (R3329-2.2-a)."""
    with pytest.raises(UnprintableError):
        SecMechanism(name, parameters)


def test_two_equal_preferences_are_found() -> None:
    """All q differ (R3329-2.2-g); by value, not by text; none at all is no clash (GAP-5)."""
    assert repeated_preference(parse_header("a;q=0.1,b;q=0.2,c;q=0.10")) == 100
    assert repeated_preference(parse_header("a,b,c;q=0.1")) is None
    assert repeated_preference(parse_header("a,b,c;q=0.1,d;q=0.1")) == 100


SIZE = 256 * 1024
_HUGE = ParseLimits(rows=SIZE, mechanisms=SIZE, parameters=SIZE, size=2 * SIZE)


@pytest.mark.parametrize(
    ("start", "repeated", "end"),
    [
        ("", "a", ""),
        ("", " ", ""),
        ("tls", " ", "x"),
        ("tls;a", " ", "x"),
        ("tls;a=", " ", ";"),
        ("", ";", ""),
        ("", "tls,", ""),
        ("tls", ";a", "="),
        ("tls", ';a="', ""),
        ("tls", ';a="\\"', ""),
        ('tls;a="', "b", ""),
        ('tls;a="', "\\", ""),
        ('tls;a="', "\\b", "\x01"),
        ('tls;a="', "\r\n ", ""),
        ('tls;a="', " \r\n ", "\x01"),
        ("tls", "\r\n ", "x"),
        ("tls;a", "\n \t", "\n"),
        ("tls;a=[", ":", "]"),
        ("tls;a=[", "1:", ""),
        ("tls;q=0.", "0", ""),
        ("tls;d-ver=", '"', ""),
    ],
)
def test_work_grows_with_the_length_only(start: str, repeated: str, end: str) -> None:
    """A quarter of a megabyte of any pattern is read or refused at once, by processor time.

    Work that grew with the square of the length would take minutes.
    """
    row = start + repeated * (SIZE // len(repeated)) + end
    with at_most(yardsticks=40), contextlib.suppress(HeaderError):
        mechanisms = parse_header(row, _HUGE)
        assert parse_header(render_header(mechanisms), _HUGE) == mechanisms
