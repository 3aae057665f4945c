"""Security-Verify against what was sent (norms sections 2, 4 and 6)."""

import pytest

from sip_hooks.secagree import find_difference, parse_header, same_meaning
from tests.support.secagree_samples import offer

SENT = f"{offer(q='0.2')}, {offer(q='0.1', ealg='null')}"
DIGEST = "digest;d-alg=MD5;d-qop=auth;q=0.2"


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("tls;q=0.2", "TLS;Q=0.2"),
        ("ipsec-3gpp;alg=hmac-sha-1-96", "Ipsec-3gpp;ALG=HMAC-SHA-1-96"),
        ("x;a=1;b=2;c", "x;c;b=2;a=1"),
        ('x;p="aB"', 'X;P="a\\B"'),
        ("x;h=[2001:db8::1]", "x;h=[2001:DB8::1]"),
        ("x;a;a=1;A=2", "x;a=2;a=1;a"),
    ],
)
def test_lists_of_equal_meaning_are_equal(sent: str, received: str) -> None:
    """Names and tokens in any case, parameters in any order (R3261-7.3.1-a, R3329-2.3.1-m)."""
    assert same_meaning(parse_header(sent), parse_header(received))


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ("ipsec-3gpp;spi-c=4096", "ipsec-3gpp;spi-c=0000004096"),
        ("ipsec-3gpp;port-s=0", "ipsec-3gpp;port-s=000"),
        ("tls;q=0.1", "tls;q=0.100"),
        ("tls;q=1", "tls;q=1.0"),
        ("ipsec-3gpp;spi=1;port1=5062;port2=1", "ipsec-3gpp;spi=01;port1=05062;port2=01"),
    ],
)
def test_numbers_compare_as_numbers(sent: str, received: str) -> None:
    """SPIs, ports and q that name one number are one value (R3329-2.3.1-m, R3329-ERR-3799)."""
    assert same_meaning(parse_header(sent), parse_header(received))


@pytest.mark.parametrize(
    ("received", "mechanism_index", "text"),
    [
        (SENT.replace("spi-c=25656", "spi-c=25658", 1), 0, "another value of 'spi-c'"),
        (SENT.replace("ealg=null", "ealg=aes-cbc"), 1, "another value of 'ealg'"),
        (SENT.replace("q=0.1", "q=0.15"), 1, "another value of 'q'"),
        (SENT.replace(";q=0.1", ""), 1, "without 'q'"),
        (SENT.replace("alg=hmac-sha-1-96", 'alg="hmac-sha-1-96"', 1), 0, "another value of 'alg'"),
        (SENT.replace("ipsec-3gpp", "tls", 1), 0, "mechanism 'tls' instead of 'ipsec-3gpp'"),
        (f"{SENT};prot=esp", 1, "with 'prot' added"),
        (f"{SENT};spi-s=25657", 1, "with 'spi-s' added"),
        (f"{SENT};{'n' * 60}", 1, f"with '{'n' * 37}...' added"),
        (f"{SENT}, tls", 2, "3 mechanisms instead of 2"),
        (offer(q="0.2"), 1, "1 mechanisms instead of 2"),
        (f"{offer(q='0.1', ealg='null')}, {offer(q='0.2')}", 0, "another value of 'ealg'"),
    ],
)
def test_every_change_of_the_list_is_found_and_named(
    received: str, mechanism_index: int, text: str
) -> None:
    """Order, presence and values count; an absent parameter is not its default (R3329-2.3.1-m)."""
    difference = find_difference(parse_header(SENT), parse_header(received))

    assert difference == (mechanism_index, text)


def test_an_absent_header_differs_from_any_list() -> None:
    """A missing Security-Verify is a modified one (R3329-2.3.1-o)."""
    assert find_difference(parse_header(SENT), ()) == (0, "0 mechanisms instead of 2")


def test_quoted_values_compare_by_case() -> None:
    """Quoted strings are case-sensitive and no tokens (R3261-7.3.1-a)."""
    assert not same_meaning(parse_header('x;p="ab"'), parse_header('x;p="aB"'))
    assert not same_meaning(parse_header('x;p="ab"'), parse_header("x;p=ab"))
    assert not same_meaning(parse_header('x;p=""'), parse_header("x;p"))


def test_only_numbers_of_their_own_mechanism_compare_as_numbers() -> None:
    """Elsewhere ``spi-c`` is an extension whose values are tokens (R3329-2.2-d)."""
    assert not same_meaning(parse_header("x;spi-c=1"), parse_header("x;spi-c=01"))
    assert not same_meaning(parse_header("ipsec-3gpp;new=1"), parse_header("ipsec-3gpp;new=01"))


def test_d_ver_is_passed_over_for_digest_alone() -> None:
    """The client adds d-ver to the mirrored digest element (R3329-2.4-digest-b)."""
    d_ver = f';d-ver="{"0123456789abcdef" * 2}"'

    assert same_meaning(parse_header(DIGEST), parse_header(DIGEST + d_ver))
    assert same_meaning(parse_header(DIGEST), parse_header(DIGEST.upper() + d_ver))
    assert find_difference(parse_header("tls"), parse_header("tls" + d_ver)) == (
        0,
        "with 'd-ver' added",
    )
