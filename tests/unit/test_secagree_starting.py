"""What is started for each mechanism: RFC 3329 section 2.4 (norms section 6)."""

import pytest

from sip_hooks.secagree import (
    Challenge,
    Circumstances,
    ParameterError,
    RefusalReason,
    StartDigest,
    StartIke,
    StartIpsec3gpp,
    StartManual,
    StartTls,
    parse_header,
    plan_start,
)
from sip_hooks.secagree.starting import host_of
from tests.support.secagree_samples import offer

SIP = Circumstances("sip:alice@Proxy.Example.com:5070;transport=udp")


@pytest.mark.parametrize(
    ("target", "uri"),
    [
        ("sip:proxy.example.com", "sips:proxy.example.com"),
        ("SIP:proxy.example.com;lr", "sips:proxy.example.com;lr"),
        ("sips:proxy.example.com", "sips:proxy.example.com"),
        ("tel:+4930", "tel:+4930"),
    ],
)
def test_tls_treats_sip_as_sips(target: str, uri: str) -> None:
    """RFC 3263 gets a SIPS URI; another scheme goes over TLS as it is (R3329-2.4-tls-a).

    TLS is 1.2 or later (UPD-8996). GAP-10: section 2.4 is what 2.3.1 means by 3.5.
    """
    (tls,) = parse_header("TLS;q=0.2")

    assert plan_start(tls, Circumstances(target)) == StartTls(uri, (1, 2))


@pytest.mark.parametrize(
    ("uri", "host"),
    [
        ("sip:alice@Proxy.Example.com:5070;transport=udp", "proxy.example.com"),
        ("sip:proxy.example.com?subject=a%40b", "proxy.example.com"),
        ("sip:a@b@c", ""),
        ("sips:[2001:DB8::1]:5061", "[2001:db8::1]"),
        ("sip:a;b?c:d@192.0.2.1", "192.0.2.1"),
        ("sip:", ""),
        ("tel:+4930", ""),
        ("proxy", ""),
    ],
)
def test_ike_runs_with_the_host_of_the_request_uri(uri: str, host: str) -> None:
    """The host part of the first request's Request-URI (R3329-2.4-ike-a)."""
    (ike,) = parse_header("ipsec-ike")

    assert host_of(uri) == host
    if host:
        assert plan_start(ike, Circumstances(uri)) == StartIke(host)
    else:
        with pytest.raises(ParameterError) as caught:
            plan_start(ike, Circumstances(uri))
        assert caught.value.reason is RefusalReason.INFORMATION_MISSING


def test_manual_sas_were_made_beforehand() -> None:
    """Both sides know keys and parameters; nothing is negotiated (R3329-2.4-man-a)."""
    (man,) = parse_header("ipsec-man")

    assert plan_start(man, SIP) == StartManual()


def test_ipsec_3gpp_gets_the_peers_parameters() -> None:
    """SPIs and ports of the list; not described by itself (R3329-2.1-e, R3329-2.4-ipsec-b)."""
    (listed,) = parse_header(offer(q="0.1"))
    start = plan_start(listed, SIP)

    assert isinstance(start, StartIpsec3gpp)
    assert start.parameters.spi_s == 25657


def test_switches_let_a_networks_odd_numbers_in() -> None:
    """SPIs 100 and 101 of a real network, a SIP port (IPS-1, T33-7.1-e)."""
    (listed,) = parse_header(offer(spi_c="100", spi_s="101", port_c="5061"))
    given = Circumstances("sip:a", accept_reserved_spi=True, accept_sip_port=True)

    assert isinstance(plan_start(listed, given), StartIpsec3gpp)
    with pytest.raises(ParameterError, match="IPS-1"):
        plan_start(listed, SIP)


@pytest.mark.parametrize(
    ("row", "challenge", "expected"),
    [
        ("digest;d-qop=auth-int", Challenge("MD5", ("auth",)), ("MD5", "auth-int")),
        ("digest;d-alg=MD5-sess", Challenge("MD5", ("auth",)), ("MD5-sess", "auth")),
        ("digest;d-alg=MD5;d-qop=auth", Challenge("SHA-256", ("auth-int",)), ("MD5", "auth")),
        ("digest", Challenge(None, ("AUTH", " auth-int")), ("MD5", "auth-int")),
        ("digest", Challenge("AKAv1-MD5"), ("AKAv1-MD5", None)),
    ],
)
def test_the_lists_values_replace_the_challenges(
    row: str, challenge: Challenge, expected: tuple[str, str | None]
) -> None:
    """d-alg and d-qop stop bidding down (R3329-2.4-digest-a, R3329-2.2-h)."""
    (digest,) = parse_header(row)

    assert plan_start(digest, Circumstances("sip:a", challenge)) == StartDigest(*expected)


@pytest.mark.parametrize(
    ("row", "challenge", "rule"),
    [
        ("digest", None, "R3329-2.4-digest-a"),
        ("digest;d-alg=SHA-512-256", Challenge("MD5"), "GAP-4"),
        ("digest", Challenge("SHA-256"), "GAP-4"),
        ("digest;d-qop=verify", Challenge("MD5"), "R3329-2.2-j"),
        ("kerberos", Challenge("MD5"), "R3329-2.2-d"),
    ],
)
def test_digest_without_d_ver_is_not_started(
    row: str, challenge: Challenge | None, rule: str
) -> None:
    """Without a challenge or with 64 digits (GAP-4, UPD-8760) digest proves nothing."""
    (digest,) = parse_header(row)
    with pytest.raises(ParameterError) as caught:
        plan_start(digest, Circumstances("sip:a", challenge))

    assert caught.value.rule == rule
