"""The server's choice of profile ``ims`` (norms sections 9 to 11 and 15)."""

import pytest

from sip_hooks.secagree import (
    ParameterError,
    PolicyError,
    RefusalReason,
    SecMechanism,
    ServerPolicy,
    UserAgentParameters,
    choose_mechanism,
    parse_header,
    read_ipsec_3gpp,
)
from tests.support.secagree_samples import MODERN, POLICIES, WITHDRAWN, offer

R = RefusalReason


def refusal_of(element: str, policy: ServerPolicy) -> tuple[RefusalReason, str]:
    selection = choose_mechanism(parse_header(element), policy)
    assert selection.choice is None
    (refusal,) = selection.refusals
    assert refusal.offer_index == 0
    assert [refusal.mechanism] == list(parse_header(element))
    assert refusal.text
    return refusal.reason, refusal.rule


def test_the_servers_order_decides() -> None:
    """The first of the server's pairs that was offered, whatever their q and order (T33-7.2-a)."""
    offers = parse_header(
        ", ".join(
            [
                offer(ealg="des-ede3-cbc", q="1"),
                offer(ealg="null", q="0.9"),
                offer(ealg="aes-cbc", q="0.1"),
            ]
        )
    )

    assert [
        getattr(choose_mechanism(offers, ServerPolicy(algorithms)).choice, "offer_index", None)
        for algorithms in (MODERN, MODERN[::-1], MODERN[1:], (("null", "aes-gcm"),))
    ] == [2, 1, 1, None]


def test_the_choice_carries_the_user_agents_values() -> None:
    """Client port and SPI are u.c, server port and SPI u.s (T33-H-f), names in lower case."""
    element = offer(alg="HMAC-SHA-1-96", spi_c="4294967295", spi_s="0000000256", port_c="065535")
    selection = choose_mechanism(parse_header(element), POLICIES["default"])

    assert selection.choice is not None
    assert selection.choice.parameters == UserAgentParameters(
        integrity_algorithm="hmac-sha-1-96",
        encryption_algorithm="aes-cbc",
        spi_uc=4294967295,
        spi_us=256,
        port_uc=65535,
        port_us=6300,
    )
    assert selection.refusals == ()


def test_defaults_stand_for_absent_parameters() -> None:
    """Without prot, mod and ealg they are esp, trans and null (R3329-A-b, T33-H-e)."""
    parameters = read_ipsec_3gpp(*parse_header("ipsec-3gpp;alg=hmac-sha-1-96"))

    assert (parameters.prot, parameters.mod, parameters.ealg) == ("esp", "trans", "null")
    assert parameters.spi_c is None
    assert choose_mechanism(parse_header(offer(ealg=None)), POLICIES["default"]).choice is not None


def test_the_form_of_rfc_3329_itself_is_read() -> None:
    """One spi, port1 and port2 (R3329-A-c) are understood, but make no two pairs of SAs."""
    element = "ipsec-3gpp;alg=hmac-sha-1-96;spi=1000;port1=5062;port2=5064"
    parameters = read_ipsec_3gpp(*parse_header(element))

    assert (parameters.spi, parameters.port1, parameters.port2) == (1000, 5062, 5064)
    assert refusal_of(element, POLICIES["default"]) == (R.SPI_MISSING, "T33-H-f")


def test_the_first_of_several_offers_of_one_pair_is_taken_with_its_own_tuple() -> None:
    """Different SPI and port tuples in one header: the chosen mechanism's count (T33-H-h)."""
    offers = parse_header(f"{offer(spi_c='9', port_c='7001')}, {offer(spi_c='999')}, {offer()}")
    selection = choose_mechanism(offers, POLICIES["default"])

    assert selection.choice is not None
    assert (selection.choice.offer_index, selection.choice.parameters.spi_uc) == (1, 999)
    assert [refusal.reason for refusal in selection.refusals] == [
        R.RESERVED_SPI,
        R.LOWER_PREFERENCE,
    ]


def test_a_broken_offer_does_not_spoil_the_others() -> None:
    """Every other offer is refused with its own reason, in order (T33-7.2-a)."""
    elements = ["kerberos", "tls", offer(alg=None), offer(spi_c="x"), offer(), offer(prot="ah")]
    selection = choose_mechanism(parse_header(", ".join(elements)), POLICIES["default"])

    assert selection.choice is not None
    assert selection.choice.offer_index == 4
    assert [(refusal.offer_index, refusal.reason) for refusal in selection.refusals] == [
        (0, R.UNKNOWN_MECHANISM),
        (1, R.MECHANISM_NOT_LISTED),
        (2, R.ALGORITHM_MISSING),
        (3, R.MALFORMED_PARAMETER),
        (5, R.PROTOCOL_NOT_SUPPORTED),
    ]


@pytest.mark.parametrize(
    ("element", "reason", "rule"),
    [
        ("kerberos", R.UNKNOWN_MECHANISM, "R3329-2.2-d"),
        ("ipsec-3gppx;alg=hmac-sha-1-96", R.UNKNOWN_MECHANISM, "R3329-2.2-d"),
        ("ipsec-3gp;alg=hmac-sha-1-96", R.UNKNOWN_MECHANISM, "R3329-2.2-d"),
        ("tls", R.MECHANISM_NOT_LISTED, "R3329-2.3.1-h"),
        ("Digest;d-alg=MD5", R.MECHANISM_NOT_LISTED, "R3329-2.3.1-h"),
        ("sdes-srtp;MediaSec", R.MEDIA_PLANE, "UPD-mediasec-b"),
        ("tls;mediasec", R.MEDIA_PLANE, "UPD-mediasec-b"),
        (f"{offer()};mediasec", R.MEDIA_PLANE, "UPD-mediasec-b"),
        ("ipsec-3gpp", R.ALGORITHM_MISSING, "R3329-A-a"),
        (offer(alg=None), R.ALGORITHM_MISSING, "R3329-A-a"),
        (f"{offer()};SPI-C=25656", R.DUPLICATE_PARAMETER, "RFC 3261 7.3.1"),
        (f"{offer()};new;new", R.DUPLICATE_PARAMETER, "RFC 3261 7.3.1"),
        (offer(alg='"hmac-sha-1-96"'), R.MALFORMED_PARAMETER, "T33-H-a"),
        (f"{offer(ealg=None)};ealg", R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(prot="ah"), R.PROTOCOL_NOT_SUPPORTED, "T33-H-d"),
        (offer(prot="esp2"), R.PROTOCOL_NOT_SUPPORTED, "T33-H-d"),
        (offer(mod="UDP-enc-tun"), R.MODE_NOT_SUPPORTED, "T33-M-a"),
        (offer(mod="tun"), R.MODE_NOT_SUPPORTED, "T33-7.1-j"),
        (offer(alg="null", ealg="null"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="null", ealg=None), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="null", ealg="aes-cbc"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(ealg="aes-gcm"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="aes-gmac"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="hmac-md5-96"), R.WITHDRAWN_ALGORITHM, "T33-H-b"),
        (offer(ealg="des-ede3-cbc"), R.WITHDRAWN_ALGORITHM, "T33-H-b"),
        (offer(alg="aes-gmac", ealg="null"), R.ALGORITHM_NOT_LISTED, "T33-7.2-a"),
        (offer(alg="null", ealg="aes-gcm"), R.ALGORITHM_NOT_LISTED, "T33-7.2-a"),
        (offer(alg="aes-gmac", ealg="aes-gcm"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="hmac-md5-96", ealg="aes-gcm"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="hmac-sha-256-128", ealg="aes-gcm"), R.ILLEGAL_ALGORITHM_PAIR, "T33-H-c"),
        (offer(alg="hmac-sha-256-128"), R.ALGORITHM_NOT_LISTED, "T33-7.2-a"),
        (offer(alg="hmac-sha-256"), R.ALGORITHM_NOT_LISTED, "T33-7.2-a"),
        (offer(alg="hmac-sha-1"), R.ALGORITHM_NOT_LISTED, "T33-7.2-a"),
        (offer(spi_c=None), R.SPI_MISSING, "T33-H-f"),
        (offer(spi_s=None), R.SPI_MISSING, "T33-H-f"),
        (offer(spi_c="4294967296"), R.SPI_OUT_OF_RANGE, "R3329-ERR-3799"),
        (offer(spi_c="00000004096"), R.SPI_OUT_OF_RANGE, "R3329-ERR-3799"),
        (offer(spi_c="9" * 4000), R.SPI_OUT_OF_RANGE, "R3329-ERR-3799"),
        (offer(spi_s="0"), R.SPI_OUT_OF_RANGE, "IPS-1"),
        (offer(spi_c="0x10"), R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(spi_c="-1"), R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(spi_c='"4096"'), R.MALFORMED_PARAMETER, "T33-H-a"),
        (f"{offer(spi_c=None)};spi-c", R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(spi_c="25657"), R.EQUAL_SPIS, "T33-7.1-f"),
        (offer(spi_c="025657"), R.EQUAL_SPIS, "T33-7.1-f"),
        (offer(spi_c="255"), R.RESERVED_SPI, "IPS-1"),
        (offer(port_c=None), R.PORT_MISSING, "T33-H-f"),
        (offer(port_s=None), R.PORT_MISSING, "T33-H-f"),
        (offer(port_c="0"), R.PORT_OUT_OF_RANGE, "T33-H-a"),
        (offer(port_c="65536"), R.PORT_OUT_OF_RANGE, "T33-H-a"),
        (offer(port_c="9" * 9000), R.PORT_OUT_OF_RANGE, "T33-H-a"),
        (offer(port_c="6301a"), R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(port_c="[::1]"), R.MALFORMED_PARAMETER, "T33-H-a"),
        (offer(port_c="06300"), R.EQUAL_PORTS, "T33-7.1-f"),
        (offer(port_c="5060"), R.SIP_PORT, "T33-7.1-e"),
        (offer(port_s="5061"), R.SIP_PORT, "T33-7.1-e"),
    ],
)
def test_an_unusable_offer_is_refused_with_its_reason(
    element: str, reason: RefusalReason, rule: str
) -> None:
    """Each way an offer can be wrong has its own reason and names its rule."""
    assert refusal_of(element, POLICIES["default"]) == (reason, rule)


@pytest.mark.parametrize(
    ("element", "policy"),
    [
        (offer(spi_c="256"), "default"),
        (offer(alg="hmac-md5-96", ealg="null"), "legacy"),
        (offer(ealg="des-ede3-cbc"), "legacy"),
        (offer(spi_c="1", spi_s="0000000255"), "open"),
        (offer(port_c="5061", port_s="5060"), "open"),
        (offer(port_s="00000006300"), "default"),
        (offer(PROT="ESP", mod="Trans"), "default"),
        (offer(test="[2001:db8::1]", more='"x;y,z"'), "default"),
    ],
)
def test_a_switch_lets_its_offers_in(element: str, policy: str) -> None:
    """Withdrawn algorithms (T33-H-b), reserved SPIs (IPS-1), SIP ports (T33-7.1-e): by switch."""
    assert choose_mechanism(parse_header(element), POLICIES[policy]).choice is not None


@pytest.mark.parametrize("element", [offer(spi_c="100"), offer(port_s="5060")])
def test_one_switch_does_not_open_another(element: str) -> None:
    """Accepting withdrawn algorithms says nothing about SPIs and ports (IPS-1, T33-7.1-e)."""
    assert choose_mechanism(parse_header(element), POLICIES["legacy"]).choice is None


def test_zero_and_oversized_numbers_are_refused_whatever_the_policy() -> None:
    """No switch makes SPI 0, port 0 or equal SPIs usable (IPS-1, T33-7.1-f)."""
    for element in (offer(spi_c="0"), offer(port_c="0"), offer(spi_c="7", spi_s="7")):
        assert choose_mechanism(parse_header(element), POLICIES["open"]).choice is None


def test_peer_text_in_a_refusal_is_short_and_printable() -> None:
    """A refusal is fit for a log, however long the peer's words are."""
    element = offer(alg="x" * 9000, ealg="y" * 5000)
    (refusal,) = choose_mechanism(parse_header(element), POLICIES["default"]).refusals

    assert len(refusal.text) < 150
    assert refusal.text.isprintable()


def test_a_parameter_error_names_parameter_and_rule() -> None:
    """What is wrong with one mechanism is a typed error of its own (R3329-ERR-3799)."""
    with pytest.raises(
        ParameterError, match=r"^spi-c must be 1 to 4294967295 .*3799\]$"
    ) as caught:
        read_ipsec_3gpp(*parse_header(offer(spi_c="4294967296")))

    assert caught.value.parameter == "spi-c"
    assert caught.value.reason is R.SPI_OUT_OF_RANGE


def test_no_offer_gives_no_choice() -> None:
    """Without Security-Client there is nothing to take and nothing to refuse (T33-7.3.2.1)."""
    assert choose_mechanism((), POLICIES["default"]) == (None, ())


@pytest.mark.parametrize(
    ("algorithms", "rule"),
    [
        ((), "R3329-2.2-a"),
        ((MODERN[0], MODERN[0]), "GAP-5"),
        ((("hmac-sha-1-96", "rot13"),), "T33-H-a"),
        ((("HMAC-SHA-1-96", "null"),), "T33-H-a"),
        ((("null", "null"),), "T33-H-c"),
        ((("hmac-sha-1-96", "aes-gcm"),), "T33-H-c"),
        ((MODERN[0], WITHDRAWN[0]), "T33-H-b"),
        ((MODERN[0], ("hmac-sha-256-128", "null")), "T33-H-a"),
    ],
)
def test_a_policy_that_cannot_be_kept_is_refused_at_birth(
    algorithms: tuple[tuple[str, str], ...], rule: str
) -> None:
    """A list with unknown, illegal, repeated or withdrawn pairs never starts (GAP-5, IPS-6)."""
    with pytest.raises(PolicyError) as caught:
        ServerPolicy(algorithms)

    assert caught.value.rule == rule
    assert caught.value.hint in str(caught.value)


@pytest.mark.parametrize("pair", [("null", "aes-gcm"), ("aes-gmac", "null")])
def test_the_strong_pairs_of_annex_h_are_taken_where_they_are_listed(
    pair: tuple[str, str],
) -> None:
    """T33-H-c, T33-7.2-a: the server's order decides, whatever the order of the offers."""
    offers = parse_header(f"{offer()}, {offer(alg=pair[0], ealg=pair[1])}")
    choice = choose_mechanism(offers, ServerPolicy((pair, *MODERN))).choice

    assert choice is not None
    assert choice.offer_index == 1
    assert (choice.parameters.integrity_algorithm, choice.parameters.encryption_algorithm) == pair


def test_an_extension_is_taken_by_its_switch_alone() -> None:
    """T33-H-a: listed and accepted, an offer by this name is taken."""
    policy = ServerPolicy((("hmac-sha-256-128", "aes-cbc"), *MODERN), accept_extensions=True)
    choice = choose_mechanism(parse_header(offer(alg="hmac-sha-256-128")), policy).choice

    assert choice is not None
    assert choice.parameters.integrity_algorithm == "hmac-sha-256-128"


def test_selection_reads_what_was_built_by_hand_too() -> None:
    """A value built without a header means the same as the one read from it (R3329-2.2-a)."""
    (read,) = parse_header(offer())
    built = SecMechanism(read.name, read.parameters)

    assert choose_mechanism([built], POLICIES["default"]) == choose_mechanism(
        [read], POLICIES["default"]
    )
