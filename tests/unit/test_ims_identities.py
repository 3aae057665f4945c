"""Who a request says it is from, read so that nobody behind the P-CSCF reads somebody else."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.ims import (
    ImsError,
    aor_of,
    asserted,
    host_of,
    is_address,
    is_at,
    is_one_of,
    is_own_route,
    route_user,
    transport_of,
)
from sip_hooks.ims.identities import canonical
from sip_hooks.ims.uris import read_uri

ALICE = "sip:alice@ims.example"
PHONE = "tel:+15551234567"
OWN = (ALICE, PHONE)


@pytest.mark.parametrize(
    "row",
    [
        "sip:alice@ims.example",
        "sip:alice@ims.example;tag=1",
        "<sip:alice@ims.example>;tag=1",
        "  <SIP:alice@IMS.Example>  ;  tag = 1",
        '"Alice" <sip:alice@ims.example;user=phone;transport=tcp>',
        '""<sip:alice@ims.example>',
        "Alice Smith <sip:alice@ims.example>",
        "Jos\u00e9 (home) <sip:alice@ims.example>",
        '"A \\"x\\" \\\\" <sip:alice@ims.example>',
        '"sip:bob@ims.example"\r\n <sip:alice@ims.example>',
        '"bob@x, a" <sip:alice@ims.example>',
        '<sip:alice@ims.example>;x="<sip:bob@ims.example>"',
        "<sip:alice@ims.example;gr=urn:uuid:1>",
    ],
)
def test_names_parameters_and_case_of_hosts_do_not_count(row: str) -> None:
    """An address of record is scheme, user, host and port (RFC 3261 10.3, 19.1.4)."""
    assert aor_of(row) == ALICE
    assert asserted([], row, OWN) == ALICE


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("sips:alice@ims.example", "sips:alice@ims.example"),
        ("sip:Alice@ims.example", "sip:Alice@ims.example"),
        ("<sip:alice@ims.example:5060>", "sip:alice@ims.example:5060"),
        ("sip:alice@[2001:DB8:0:0::1]", "sip:alice@[2001:db8::1]"),
        ("<sip:%61lice@ims.example>", "sip:%61lice@ims.example"),
        ("<sip:a%2fb@ims.example>", "sip:a%2Fb@ims.example"),
        ("<sip:alice;user=phone@ims.example>", "sip:alice;user=phone@ims.example"),
        ("<sip:a,b?c/d@ims.example>", "sip:a,b?c/d@ims.example"),
        ("sip:ims.example", "sip:ims.example"),
        ("tel:+1-(555)-123.4567", PHONE),
        ("<tel:+15551234567;ext=22>", "tel:+15551234567;ext=22"),
        ("<tel:7042;phone-context=Ims.Example>", "tel:7042;phone-context=ims.example"),
        ("<tel:7;b=2;phone-context=+1;a=1>", "tel:7;a=1;b=2;phone-context=+1"),
    ],
)
def test_what_may_be_another_identity_is_another(row: str, expected: str) -> None:
    """Scheme, case of the user, port, escapes, extension and context tell identities apart."""
    assert aor_of(row) == expected
    assert canonical(expected) == expected
    if expected != PHONE:
        assert asserted([], row, OWN) is None


AMBIGUOUS = [
    "",
    "alice@ims.example",
    "*",
    "mailto:alice@ims.example",
    "urn:service:sos",
    # brackets and quotes
    '"<sip:bob@ims.example>" <sip:alice@ims.example>',
    '"x\\" <sip:bob@ims.example>;y=\\"" <sip:alice@ims.example>',
    '"a" "b" <sip:alice@ims.example>',
    '"a" b <sip:alice@ims.example>',
    'b "a" <sip:alice@ims.example>',
    "<sip:alice@ims.example",
    "sip:alice@ims.example>",
    "<<sip:alice@ims.example>>",
    "< sip:alice@ims.example >",
    '<"sip:alice@ims.example">',
    "sip:bob@ims.example <sip:alice@ims.example>",
    "bob@ims.example <sip:alice@ims.example>",
    "a=b <sip:alice@ims.example>",
    'sip:alice@ims.example;x="<sip:bob@ims.example>"',
    "sip:alice@ims.example;x=<sip:bob@ims.example>",
    # several values, garbage
    "<sip:alice@ims.example>, <sip:bob@ims.example>",
    "sip:alice@ims.example, sip:bob@ims.example",
    "<sip:alice@ims.example> <sip:bob@ims.example>",
    "<sip:alice@ims.example>garbage",
    "<sip:alice@ims.example>;",
    "<sip:alice@ims.example>;tag=1 x",
    "sip:alice@ims.example x",
    # inside the URI
    "sip:alice@ims.example;x=a@evil.example",
    "<sip:alice@ims.example;x=a@evil.example>",
    "<sip:alice@ims.example@evil.example>",
    "<sip:alice:secret@ims.example>",
    "<sip:alice:@ims.example>",
    "<sip:@ims.example>",
    "<sip:alice@>",
    "<sip:alice@ims.example?Subject=x>",
    "sip:alice@ims.example?Subject=x",
    "<sip:alice%@ims.example>",
    "<sip:alice%4@ims.example>",
    "<sip:al ice@ims.example>",
    "<sip:alice@ims.example ;x>",
    "<sip:alic\u00e9@ims.example>",
    "<sip:alice@ims.ex\u0430mple>",
    "<sip:alice\u200b@ims.example>",
    "<sip:alice@ims.example\u00a0>",
    "\u00a0<sip:alice@ims.example>\u00a0",
    "<sip:alice#@ims.example>",
    "<sip:alice@ims.example;lr;LR>",
    "<sip:alice@ims.example;=x>",
    "<sip:alice@ims..example>",
    "<sip:alice@.ims.example>",
    "<sip:alice@ims.example:0>",
    "<sip:alice@ims.example:65536>",
    "<sip:alice@ims.example:>",
    "<sip:alice@010.0.0.1>",
    "<sip:alice@10.1>",
    "<sip:alice@[10.0.0.1]>",
    "<sip:alice@[::1>",
    "<sip:alice@[fe80::1%25eth0]>",
    # telephone numbers
    "tel:",
    "tel:+",
    "tel:()",
    "tel:7042",
    "<tel:7042;phone-context=a;phone-context=b>",
    "<tel:+1555;phone-context=a>",
    "<tel:+1555*>",
    "<tel:1 2;phone-context=a>",
    "<tel:alice@ims.example>",
    "<tel:+15551234567@ims.example>",
]


@pytest.mark.parametrize("row", AMBIGUOUS)
def test_what_two_readers_could_read_differently_is_refused(row: str) -> None:
    """When in doubt nobody is asserted: the request is refused (RFC 3325 6)."""
    with pytest.raises(ImsError):
        aor_of(row)
    assert not is_one_of(row, OWN)
    assert asserted([], row, OWN) is None
    assert asserted([row], "<sip:alice@ims.example>", OWN) is None


# --- what is asserted ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("preferred", "sender", "expected"),
    [
        ([], f"<{ALICE}>", ALICE),
        ([], f"<{PHONE}>", PHONE),
        ([f"<{PHONE}>"], f"<{ALICE}>", PHONE),
        ([f"<{ALICE}>, <{PHONE}>"], f"<{ALICE}>", ALICE),
        ([f"<{PHONE}>", f"<{ALICE}>"], f"<{ALICE}>", PHONE),
        ([], '"Anonymous" <sip:anonymous@anonymous.invalid>;tag=1', ALICE),
        ([f"<{PHONE}>"], "<sip:anonymous@Anonymous.INVALID>", PHONE),
        ([], "<sip:bob@ims.example>", None),
        ([f"<{ALICE}>"], "<sip:bob@ims.example>", None),
        (["<sip:bob@ims.example>"], f"<{ALICE}>", None),
        ([f"<{ALICE}>, <sip:bob@ims.example>"], f"<{ALICE}>", None),
        ([f"<{ALICE}>", f"<{ALICE}>"], f"<{ALICE}>", None),
        ([f"<{ALICE}>, <{PHONE}>, <{ALICE}>"], f"<{ALICE}>", None),
        (["<sip:anonymous@anonymous.invalid>"], f"<{ALICE}>", None),
        ([""], f"<{ALICE}>", None),
        (['"'], f"<{ALICE}>", None),
        (["x" * 20_000], f"<{ALICE}>", None),
        ([], "<sip:anonymous@anonymous.invalid:5060>", None),
    ],
)
def test_only_an_identity_of_the_registration_is_asserted(
    preferred: list[str], sender: str, expected: str | None
) -> None:
    """TS 24.229 5.2.6.3: the preferred identity, else From's, else the default one."""
    assert asserted(preferred, sender, OWN) == expected


def test_identities_count_however_they_were_kept() -> None:
    """The registration's own names are compared as names, and asserted in the canonical form."""
    kept = ("no identity", "sip:alice@IMS.example;user=phone")

    assert asserted([], f"<{ALICE}>", kept) == ALICE
    assert asserted([], "<sip:anonymous@anonymous.invalid>", kept) == ALICE
    assert is_one_of(ALICE, kept)


@pytest.mark.parametrize("identities", [(), ("",), ("nothing readable",)])
def test_without_identities_nothing_is_asserted(identities: tuple[str, ...]) -> None:
    """A registration that knows no name of itself has none to give."""
    assert asserted([], f"<{ALICE}>", identities) is None
    assert asserted([], "<sip:anonymous@anonymous.invalid>", identities) is None


PIECES = st.sampled_from(
    [
        *('<>"\\;,:@?= %'),
        "sip:",
        "tel:",
        "alice",
        "bob",
        "ims.example",
        ALICE,
        f"<{ALICE}>",
        "<sip:bob@ims.example>",
        ";tag=1",
        "+1555",
        "\r\n ",
        "%61",
        "\u00e9",
    ]
)
ROWS = st.lists(PIECES, max_size=12).map("".join)


@given(st.lists(ROWS, max_size=2), ROWS)
def test_no_writing_asserts_a_stranger(preferred: list[str], sender: str) -> None:
    """Whatever is asserted is an identity of the registration, and safe inside brackets."""
    result = asserted(preferred, sender, OWN)

    assert result is None or result in OWN


@given(ROWS)
def test_a_strict_reader_behind_us_finds_the_same_uri(row: str) -> None:
    """Whoever looks for the first bracket, or the only URI, finds what was read here."""
    try:
        aor = aor_of(row)
    except ImsError:
        return
    found = re.search(r"<([^>]*)>", row)
    naive = found[1] if found else row.split(";", maxsplit=1)[0].strip()
    assert canonical(naive) == aor
    assert re.fullmatch(r"[!-;=?-~]+", aor)
    assert canonical(aor) == aor


# --- other readings ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("uri", "transport"),
    [
        ("sip:a@b", "udp"),
        ("sip:a@b;transport=TCP", "tcp"),
        ("sip:a@b:1;ob;Transport=tcp;lr", "tcp"),
        ("sip:a;transport=tcp@b", "udp"),
        ("sip:a@b;transport=tcp;transport=udp", "udp"),
        ("tel:+1;transport=tcp", "udp"),
        ("", "udp"),
    ],
)
def test_a_uri_says_its_transport(uri: str, transport: str) -> None:
    """A parameter of the URI, not of its user part (RFC 3261 19.1.1)."""
    assert transport_of(uri) == transport


@pytest.mark.parametrize(
    ("row", "user"),
    [
        ("<sip:r0a@10.0.0.1;lr>", "r0a"),
        ("<sip:r0a@10.0.0.1;lr>, <sip:x@y>", "r0a"),
        ("<sip:10.0.0.1;lr>", ""),
        ("<sip:r0a:x@y>", "r0a:x"),
        ('"<sip:x@y>" <sip:r0a@y>', ""),
        ("", ""),
        ("<", ""),
    ],
)
def test_the_first_route_names_its_user(row: str, user: str) -> None:
    """The token of Path comes back as the user part of Route (RFC 3327)."""
    assert route_user(row) == user


def test_a_route_to_ourselves_is_known() -> None:
    """By address in any writing and port, 5060 if it names none (RFC 3261 19.1.2)."""
    addresses = ("10.0.0.1", "2001:db8::1")

    assert is_at("<sip:x@10.0.0.1:5064;lr>", addresses, 5064)
    assert is_at("<sip:[2001:DB8:0::1]>", addresses, 5060)
    assert not is_at("<sip:10.0.0.1>", addresses, 5064)
    assert not is_at("<sip:10.0.0.1;maddr=x:5064>", addresses, 5064)
    assert not is_at("garbage", addresses, 5060)


@pytest.mark.parametrize(
    ("row", "own"),
    [
        ("<sip:10.0.0.1:5064;lr>", True),
        ("<sip:token@10.0.0.1:5064;lr>;x", True),
        ("<sip:10.0.0.1:5064>", False),
        ("<sip:10.0.0.1:5064;lr;maddr=10.9.9.9>", False),
        ("<sip:10.0.0.1:5064;lr;lr>", False),
        ("<sip:10.0.0.1:5064;lr?Route=x>", False),
        ("<sip:10.0.0.9:5064;lr>", False),
        ('"<sip:evil.example;lr>" <sip:10.0.0.1:5064;lr>', False),
        ("", False),
    ],
)
def test_a_route_to_ourselves_has_lr_and_nothing_else(row: str, own: bool) -> None:
    """What could send the request elsewhere is not ours (TS 24.229 5.2.6.3)."""
    assert is_own_route(row, ("10.0.0.1",), 5064) is own


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:a@B.example:1;x", "b.example"),
        ("sips:[2001:DB8::1]", "2001:db8::1"),
        ("sip:a@b@c", ""),
        ("tel:+1", ""),
        ("", ""),
    ],
)
def test_a_uri_names_its_host(uri: str, host: str) -> None:
    """An address in its one writing; what is no SIP URI has none (RFC 3261 19.1)."""
    assert host_of(uri) == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("10.0.0.1", True),
        ("2001:db8::1", True),
        ("fe80::1%eth0", False),
        ("a.b", False),
        ("", False),
    ],
)
def test_an_address_is_told_from_a_name(host: str, expected: bool) -> None:
    """A zone means something on one host only: it is no address here."""
    assert is_address(host) is expected


def test_a_sip_uri_is_taken_apart() -> None:
    """RFC 3261 19.1.1: user, host, port, parameters, headers."""
    uri = read_uri("sips:a;b@[::1]:5061;lr;x=1?h=v")

    assert uri == ("sips", "a;b", "::1", 5061, {"lr": "", "x": "1"}, "?h=v")
