"""Static lists, their strength and their preference (norms sections 0, 1, 2 and 8)."""

import pytest

from sip_hooks.secagree import (
    Assurances,
    Need,
    PolicyError,
    ServerList,
    ServerPolicy,
    WithdrawnUse,
    arrange_algorithms,
    find_difference,
    find_weaknesses,
    parse_header,
    part_media_plane,
    predict_choice,
    read_server_list,
    render_header,
    require_strength,
)
from tests.support.secagree_messages import STRONG, WHOLE
from tests.support.secagree_samples import MODERN, WITHDRAWN

NUMBERS = {"spi_pc": 4096, "spi_ps": 4097, "port_pc": 5100, "port_ps": 6100}


@pytest.mark.parametrize(
    "text",
    [
        "tls",
        "TLS;Q=0.5",
        "ipsec-ike;q=0.1, tls;q=0.2",
        "digest;d-alg=MD5;d-qop=auth",
        "digest;d-qop=auth-int;q=0, tls;q=0.001",
        "ipsec-3gpp;alg=aes-gmac",
        "ipsec-3gpp;alg=null;ealg=aes-gcm;q=1, sdes-srtp;mediasec, tls;q=0.9",
    ],
)
def test_a_list_that_holds_is_sent_as_it_is_written(text: str) -> None:
    """Text of a setting to the header, in its order (R3329-2.2-a, R3329-2.1-c)."""
    assert render_header(read_server_list(text, STRONG).mechanisms) == text


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("sdes-srtp;mediasec", "R3329-2.2-a"),
        ("tls, ipsec-ike;q=0.1", "INTEROP-8"),
        ("tls, ipsec-ike", "INTEROP-8"),
        ("tls;q=0.5, ipsec-ike;q=0.50", "R3329-2.2-g"),
        ("tls;q=1, ipsec-ike;q=1.000", "R3329-2.2-g"),
        ("kerberos", "R3329-2.2-f"),
        ("tls;x=1;x=2", "RFC 3261 7.3.1"),
        ("digest;d-alg=SHA-256;d-qop=auth", "GAP-4"),
        ("digest;d-qop=none", "R3329-2.2-h"),
        (f'digest;d-qop=auth;d-ver="{"0" * 32}"', "R3329-2.4-digest-b"),
        ("ipsec-3gpp", "R3329-A-a"),
        ("ipsec-3gpp;alg=hmac-sha-1-96;spi-c=1000", "GAP-6"),
        ("ipsec-3gpp;alg=hmac-sha-1-96;spi=1000", "GAP-6"),
        ("ipsec-3gpp;alg=null", "T33-H-c"),
        ("ipsec-3gpp;alg=hmac-sha-1-96;ealg=rot13", "T33-H-c"),
        ("ipsec-3gpp;alg=hmac-sha-1-96;prot=ah", "T33-H-d"),
        ("ipsec-3gpp;alg=hmac-sha-1-96;mod=tun", "T33-H-d"),
        ("ipsec-3gpp;alg=hmac-md5-96", "T33-H-b"),
    ],
)
def test_a_list_that_cannot_hold_does_not_start(text: str, rule: str) -> None:
    """Equal q are an error, the rest would break an agreement (R3329-2.2-g, GAP-5, GAP-6)."""
    with pytest.raises(PolicyError) as caught:
        read_server_list(text, STRONG)

    assert caught.value.rule == rule
    assert caught.value.hint


def test_withdrawn_algorithms_need_their_switch() -> None:
    """Off unless it is said (T33-H-b), whichever way the list is made."""
    listed = parse_header("ipsec-3gpp;alg=hmac-md5-96")

    with pytest.raises(PolicyError, match="T33-H-b"):
        ServerList(listed, STRONG)
    given = read_server_list("ipsec-3gpp;alg=hmac-md5-96", STRONG, accept_withdrawn=True)
    assert given == ServerList(listed, STRONG, accept_withdrawn=True)


def test_extensions_need_their_switch() -> None:
    """T33-H-a: off unless it is said, whichever way the list is made."""
    text = "ipsec-3gpp;alg=hmac-sha-256-128"

    with pytest.raises(PolicyError, match="of no 3GPP release"):
        read_server_list(text, STRONG)
    given = read_server_list(text, STRONG, accept_extensions=True)
    assert given == ServerList(parse_header(text), STRONG, accept_extensions=True)


def test_an_empty_list_does_not_start() -> None:
    """Security-Server needs a mechanism (R3329-2.2-a)."""
    with pytest.raises(PolicyError, match="empty"):
        ServerList(())


def test_the_four_names_of_the_body_and_that_of_the_appendix_are_known() -> None:
    """tls, digest, ipsec-ike, ipsec-man, ipsec-3gpp: the registry (R3329-2.2-f, R3329-6-a)."""
    assurances = STRONG._replace(manual_anti_replay=True)
    names = ["tls", "digest;d-qop=auth", "ipsec-ike", "ipsec-man", "ipsec-3gpp;alg=hmac-sha-1-96"]

    for name in names:
        assert len(read_server_list(name, assurances).mechanisms) == 1


def test_filling_in_changes_the_numbers_of_ipsec_3gpp_only() -> None:
    """Mechanisms, algorithms and order stay (GAP-6, R3329-2.1-c); it verifies as sent."""
    filled = WHOLE.fill(**NUMBERS)

    assert WHOLE.is_dynamic
    assert not read_server_list("tls", STRONG).is_dynamic
    assert [m.name for m in filled] == [m.name for m in WHOLE.mechanisms]
    assert filled[1:] == WHOLE.mechanisms[1:]
    assert str(filled[0]).endswith(";q=0.4;spi-c=4096;spi-s=4097;port-c=5100;port-s=6100")
    assert find_difference(filled, parse_header(render_header(filled))) is None
    with pytest.raises(PolicyError, match="IPS-1"):
        WHOLE.fill(**{**NUMBERS, "spi_pc": 0})


def test_the_pairs_of_a_list_come_most_preferred_first() -> None:
    """By q, not by order (R3329-2.2-g, T33-7.2-a)."""
    given = read_server_list(
        "ipsec-3gpp;alg=hmac-sha-1-96;q=0.1, tls;q=0.3, "
        "ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;q=0.2",
        STRONG,
    )

    assert given.algorithms() == MODERN


@pytest.mark.parametrize(
    ("use", "expected"),
    [
        (WithdrawnUse.OFF, MODERN),
        (WithdrawnUse.ACCEPT, (WITHDRAWN[1], *MODERN, WITHDRAWN[0])),
        (WithdrawnUse.LAST, (*MODERN, WITHDRAWN[1], WITHDRAWN[0])),
    ],
)
def test_withdrawn_algorithms_are_off_accepted_or_last(
    use: WithdrawnUse, expected: tuple[tuple[str, str], ...]
) -> None:
    """The three switches of T33-H-b; some phones have nothing else (INTEROP-5)."""
    pairs = (WITHDRAWN[1], *MODERN, WITHDRAWN[0])

    assert arrange_algorithms(pairs, use) == expected


@pytest.mark.parametrize(
    ("text", "assurances", "rule"),
    [
        ("digest;d-qop=auth", Assurances(digest_nonce_count=True), "R3329-5-a"),
        ("digest;d-qop=auth-int", Assurances(digest_nonce_count=True), "R3329-5-a"),
        ("digest", STRONG, "R3329-5-a"),
        ("digest;d-qop=auth", Assurances(digest_verify=True), "R3329-5-a"),
        ("ipsec-man", STRONG, "R3329-5-a"),
        ("tls", Assurances(), "UPD-8996"),
        ("tls", Assurances(tls_version=(1, 1)), "UPD-8996"),
        ("kerberos", STRONG, "R3329-5-b"),
        ("ipsec-3gpp;alg=null", STRONG, "T33-H-c"),
        ("ipsec-3gpp", STRONG, "R3329-A-a"),
    ],
)
def test_a_weak_member_is_explained(text: str, assurances: Assurances, rule: str) -> None:
    """Integrity and replay protection for Security-Verify, of every member (R3329-5-a, -d).

    R3329-5-d: digest needs d-ver and nonce counts; IPS-2: manual keys have no anti-replay.
    """
    listed = parse_header(f"ipsec-ike;q=0.9, {text}")
    (weakness,) = find_weaknesses(listed, assurances)

    assert (weakness.mechanism_index, weakness.rule) == (1, rule)
    with pytest.raises(PolicyError) as caught:
        require_strength(listed, assurances)
    assert str(caught.value).startswith(listed[1].name)
    assert caught.value.hint == weakness.hint


@pytest.mark.parametrize(
    "text",
    [
        "digest;d-qop=auth",
        "tls",
        "ipsec-ike",
        "ipsec-3gpp;alg=hmac-sha-1-96",
        "ipsec-3gpp;alg=null;ealg=aes-gcm",
        "kerberos;mediasec",
    ],
)
def test_a_strong_member_is_let_be(text: str) -> None:
    """Digest with d-ver, TLS 1.2 and later, IPsec (R3329-5-a, UPD-8996, R3329-2.4-ipsec-a)."""
    assert find_weaknesses(parse_header(text), STRONG) == ()
    require_strength(parse_header(text), STRONG)


def test_manual_keys_need_a_promise() -> None:
    """RFC 4303 advises against anti-replay there; who has it says so (IPS-2, R3329-2.4-man-a)."""
    listed = parse_header("ipsec-man")

    assert find_weaknesses(listed, STRONG._replace(manual_anti_replay=True)) == ()


def test_every_weak_member_is_named_at_once() -> None:
    """An operator corrects the list in one go (R3329-5-a)."""
    with pytest.raises(PolicyError, match=r"digest: .*; ipsec-man: "):
        read_server_list("digest;q=0.1, ipsec-man;q=0.2, ipsec-ike;q=0.3")


def test_every_offer_not_taken_has_a_reason() -> None:
    """Of a static list too, machine-readable, in order (R3329-2.3.1-h, R3329-2.2-d)."""
    offers = parse_header(
        "kerberos, sdes-srtp;mediasec, tls, tls;x;x, ipsec-man, ipsec-3gpp, "
        "ipsec-3gpp;alg=hmac-md5-96, ipsec-ike, digest"
    )
    found = predict_choice(offers, WHOLE.mechanisms)

    assert found.offer_index == 2
    assert [(r.offer_index, r.reason.value, r.rule) for r in found.refusals] == [
        (0, "unknown-mechanism", "R3329-2.2-d"),
        (1, "media-plane", "UPD-mediasec-b"),
        (3, "duplicate-parameter", "RFC 3261 7.3.1"),
        (4, "mechanism-not-listed", "R3329-2.3.1-h"),
        (5, "algorithm-missing", "R3329-A-a"),
        (6, "algorithm-not-listed", "T33-7.2-a"),
        (7, "lower-preference", "R3329-2.3.1-h"),
        (8, "lower-preference", "R3329-2.3.1-h"),
    ]


def test_the_media_plane_is_kept_apart() -> None:
    """Stored and reported, never chosen, needs nothing (UPD-mediasec-a, UPD-mediasec-b)."""
    mixed = parse_header("sdes-srtp;mediasec, tls;q=0.1, dtls-srtp;mediasec")
    signalling, media = part_media_plane(mixed)

    assert [m.name for m in signalling] == ["tls"]
    assert [m.name for m in media] == ["sdes-srtp", "dtls-srtp"]
    assert predict_choice(parse_header("tls"), media)[:3] == (None, None, Need.NOTHING)


def test_a_refusal_says_what_is_not_listed() -> None:
    """Names as they are compared, in lower case, short and printable (R3329-2.3.1-h)."""
    offers = parse_header(f"Ipsec-Man, ipsec-3gpp;alg=HMAC-MD5-96;ealg={'x' * 60}, tls")
    texts = [refusal.text for refusal in predict_choice(offers, WHOLE.mechanisms).refusals]

    assert texts == [
        "ipsec-man is not in the server's list",
        f"'hmac-md5-96' with '{'x' * 37}...' is not in the server's list",
    ]
    (weakness,) = find_weaknesses(parse_header("ipsec-3gpp;alg=null"), STRONG)
    assert weakness.text == "null with null gives no integrity that Annex H knows"


def test_both_ways_of_ims_stand_in_one_list() -> None:
    """Tls and ipsec-3gpp may be agreed on, with SIP Digest as no choice of it (T33-S.3-a)."""
    listed = read_server_list("ipsec-3gpp;alg=hmac-sha-1-96;q=0.2, tls;q=0.1", STRONG).mechanisms
    offers = parse_header("digest, tls")

    assert predict_choice(offers, listed).own_index == 1
    with pytest.raises(PolicyError, match="unknown"):
        ServerPolicy((("tls", ""),))


def test_what_must_be_known_of_a_prefix_is_nothing() -> None:
    """Names and parameters are compared whole (INTEROP-4)."""
    offers = parse_header("ipsec-3gp;alg=hmac-sha-1-96, ipsec-3gpp;al=hmac-sha-1-96, tl")
    found = predict_choice(offers, WHOLE.mechanisms)

    assert [r.reason.value for r in found.refusals] == [
        "unknown-mechanism",
        "algorithm-missing",
        "unknown-mechanism",
    ]
