"""What a client sends and what an answer means to it (norms sections 3, 4, 7, 8 and 10)."""

import pytest

from sip_hooks.secagree import (
    Circumstances,
    ClientAction,
    ClientAgreement,
    ClientEvent,
    ClientRules,
    ClientState,
    DigestUse,
    LocalAgreementError,
    PolicyError,
    Profile,
    Reading,
    RefusalReason,
    Use,
    choose_listed,
    compute_d_ver,
    hash_a1,
    parse_header,
    render_header,
)
from sip_hooks.secagree.client_role import (
    Answer,
    ask,
    begin,
    headers_for,
    receive,
    refused_by_user,
    security_ended,
    start_failed,
    started,
)
from sip_hooks.secagree.starting import Challenge, StartDigest, StartIke, StartTls
from tests.support.secagree_samples import VECTORS, offer

PROXY = "sip:proxy.example.com"
GIVEN = Circumstances(PROXY)
TLS_AND_IKE = parse_header("tls, ipsec-ike")
ROWS = ("ipsec-ike;q=0.1", "tls;q=0.2")
DEMANDS = (("Require", "sec-agree"), ("Proxy-Require", "sec-agree"))
MIRROR = tuple(("Security-Verify", row) for row in ROWS)
USE = DigestUse(hash_a1("bob", "a", "b"), "INVITE", "sip:a", "n", qop="auth", nc="1", cnonce="c")
REQUIRED = ClientRules(use=Use.REQUIRED)
IMS = ClientRules(profile=Profile.IMS, use=Use.REQUIRED)


def asked(rules: ClientRules = REQUIRED, offers: str = "tls, ipsec-ike") -> ClientAgreement:
    return ask(begin(rules, parse_header(offers)), PROXY, PROXY)[0]


def listed(status: int, *rows: str, is_protected: bool = False) -> Answer:
    return Answer(status, tuple(("Security-Server", row) for row in rows), is_protected)


def agreed(rules: ClientRules = REQUIRED) -> ClientAgreement:
    verifying = started(receive(asked(rules), listed(494, *ROWS), GIVEN))
    return receive(verifying, Answer(200, is_protected=True), GIVEN)


def outcome_of(agreement: ClientAgreement) -> tuple[ClientEvent, ClientAction, str]:
    assert agreement.outcome is not None
    return agreement.outcome[:3]


def test_the_first_request_offers_and_demands() -> None:
    """All that is supported without q, Require and Proxy-Require (R3329-2.3.1-c, -d).

    R3329-2.3.1-d; in Security-Client it is what the client supports (R3329-2.2-e).
    """
    agreement, headers = ask(begin(REQUIRED, TLS_AND_IKE), PROXY, PROXY)

    assert headers == (("Security-Client", "tls, ipsec-ike"), *DEMANDS)
    assert agreement.state is ClientState.ASKED


@pytest.mark.parametrize(
    ("uri", "first_hop"),
    [
        ("sip:bob@elsewhere.example.com", PROXY),
        ("sip:proxy.example.com@elsewhere.example.com", PROXY),
        ("tel:+4930", "sip:x"),
    ],
)
def test_the_first_request_goes_to_the_first_hop_itself(uri: str, first_hop: str) -> None:
    """A request for somebody else carries no Security-Client (R3329-2.3.1-b, R3329-1-a)."""
    with pytest.raises(LocalAgreementError, match=r"R3329-2\.3\.1-b"):
        ask(begin(REQUIRED, TLS_AND_IKE), uri, first_hop)


def test_a_register_of_ims_goes_through_the_first_hop() -> None:
    """Its Request-URI is the home network's (R3329-2.3.1-b, T24-UE-1)."""
    _, headers = ask(begin(IMS, TLS_AND_IKE), "sip:home.example.com", PROXY)

    assert headers[0] == ("Security-Client", "tls, ipsec-ike")


def test_where_rfc_3263_leads_to_tls_there_is_no_agreement() -> None:
    """The client MUST NOT run it then (R3329-2.3.1-a); nor where it is off (R3329-3-a)."""
    for rules, led in ((REQUIRED, True), (ClientRules(use=Use.OFF), False)):
        agreement, headers = ask(begin(rules, TLS_AND_IKE), PROXY, PROXY, led_to_tls=led)
        assert headers == ()
        assert outcome_of(agreement)[:2] == (ClientEvent.LED_TO_TLS, ClientAction.GO_ON_WITHOUT)


@pytest.mark.parametrize(
    ("offers", "rule"),
    [
        ("tls;q=0.1", "R3329-2.3.1-c"),
        ("sdes-srtp;mediasec", "R3329-2.3.1-c"),
        ("tls, kerberos", "R3329-5-b"),
        ("ipsec-3gpp", "R3329-A-a"),
    ],
)
def test_offers_that_break_a_rule_are_refused_at_birth(offers: str, rule: str) -> None:
    """No q, something to offer, Digest, TLS or IPsec only (R3329-2.3.1-c, R3329-5-b)."""
    with pytest.raises(PolicyError) as caught:
        begin(REQUIRED, parse_header(offers))

    assert caught.value.rule == rule


@pytest.mark.parametrize("status", [300, 401, 421, 494, 500])
@pytest.mark.parametrize("rows", [ROWS, ROWS[::-1], (", ".join(ROWS),)])
def test_the_highest_q_that_is_known_is_started(status: int, rows: tuple[str, ...]) -> None:
    """On any failure with a list, whatever its order (R3329-2.3.1-j, R3329-2.1-b, GAP-1)."""
    agreement = receive(asked(), listed(status, *rows), GIVEN)

    assert agreement.state is ClientState.STARTING
    assert agreement.mechanism == "tls"
    assert agreement.start == StartTls("sips:proxy.example.com")
    assert outcome_of(agreement)[1] is ClientAction.START


@pytest.mark.parametrize(
    ("pairs", "place"),
    [
        (("hmac-md5-96/aes-cbc", "hmac-sha-1-96/aes-cbc"), 0),
        (("hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/null"), 5),
        (("hmac-sha-1-96/aes-cbc", "hmac-sha-1-96/des-ede3-cbc"), 4),
        (("aes-gmac/null",), None),
    ],
)
def test_the_list_of_a_real_network_is_chosen_by_q(
    pairs: tuple[str, ...], place: int | None
) -> None:
    """Six rows of the vectors whose q do not fall: their order means nothing (R3329-2.3.1-j)."""
    lines = VECTORS.read_text(encoding="utf-8").splitlines()
    rows = [line.partition(":")[2] for line in lines if "port-c=32920;port-s=5067" in line]
    offers = [
        offer(alg=alg, ealg=ealg) for alg, _, ealg in (pair.partition("/") for pair in pairs)
    ]

    assert len(rows) == 6
    assert choose_listed(parse_header(rows), parse_header(offers)) == place


def test_offers_of_the_media_plane_go_along() -> None:
    """They are sent, take no part in the choice, and need no signalling rule (UPD-mediasec-a)."""
    agreement, headers = ask(
        begin(REQUIRED, parse_header("sdes-srtp;mediasec, tls")), PROXY, PROXY
    )

    assert headers[0] == ("Security-Client", "sdes-srtp;mediasec, tls")
    assert receive(agreement, listed(494, "sdes-srtp;mediasec"), GIVEN).state is ClientState.FAILED


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("tls;q=0.1, ipsec-ike;q=0.10", 0),
        ("ipsec-ike;q=0.1, tls;q=0.1", 0),
        ("tls, ipsec-ike;q=0", 1),
        ("tls, ipsec-ike", 0),
        ("kerberos;q=1, tls;q=0.1", 1),
        ("ipsec-ike;mediasec;q=1, tls;q=0.1", 1),
        ("ipsec-man;q=1", None),
    ],
)
def test_equal_and_missing_q_and_what_is_not_known(text: str, place: int | None) -> None:
    """Equal: the earlier; missing: lowest (GAP-5, INTEROP-8); unknown and media plane: skipped.

    R3329-2.2-d, UPD-mediasec-a, UPD-mediasec-b.
    """
    assert choose_listed(parse_header(text), TLS_AND_IKE) == place


def test_equal_q_are_told() -> None:
    """The list's order decides, and somebody can log that it had to (GAP-5)."""
    equal = receive(asked(), listed(494, "ipsec-ike;q=0.2, tls;q=0.20"), GIVEN)
    media = receive(asked(), listed(494, "tls;q=0.2, sdes-srtp;mediasec;q=0.2"), GIVEN)

    assert equal.mechanism == "ipsec-ike"
    assert equal.outcome is not None
    assert equal.outcome.text == "two mechanisms have q 0.2: the earlier counts"
    assert media.outcome is not None
    assert media.outcome.text == ""


@pytest.mark.parametrize(
    ("rows", "offers", "reason"),
    [
        ("digest;q=0.9, tls;q=0.1", "digest, tls", RefusalReason.INFORMATION_MISSING),
        ("ipsec-3gpp ; q=0.1", offer(), RefusalReason.ALGORITHM_MISSING),
        ("ipsec-3gpp ; q=0.9, tls;q=0.1", f"{offer()}, tls", RefusalReason.ALGORITHM_MISSING),
        ("ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc", offer(), RefusalReason.SPI_MISSING),
        (offer(spi_c=None), offer(), RefusalReason.SPI_MISSING),
        (offer(spi_c="4294967296"), offer(), RefusalReason.SPI_OUT_OF_RANGE),
        (offer(port_s=None), offer(), RefusalReason.PORT_MISSING),
        (offer(port_s="5060"), offer(), RefusalReason.SIP_PORT),
        (offer(spi_s="100"), offer(), RefusalReason.RESERVED_SPI),
        (offer(), offer(), RefusalReason.REPEATED_SPI),
        ("tls;x;x", "tls", RefusalReason.DUPLICATE_PARAMETER),
        ("digest;d-alg=SHA-256", "digest, tls", RefusalReason.D_VER_NOT_POSSIBLE),
    ],
)
def test_what_lacks_its_information_ends_the_agreement(
    rows: str, offers: str, reason: RefusalReason
) -> None:
    """Never is the next mechanism taken silently (R3329-2.3.1-k, INTEROP-3)."""
    challenge = Challenge("SHA-256", ("auth",)) if "SHA" in rows else None
    given = Circumstances(PROXY, challenge, own_spis=(25656, 25657))
    agreement = receive(asked(offers=offers), listed(494, rows), given)

    assert agreement.state is ClientState.FAILED
    assert agreement.outcome is not None
    assert (agreement.outcome.event, agreement.outcome.reason) == (ClientEvent.INCOMPLETE, reason)
    # It MAY start again with a new request
    again, headers = ask(agreement, PROXY, PROXY)
    assert (again.state, headers[0][0]) == (ClientState.ASKED, "Security-Client")


def test_a_list_without_anything_known_ends_it() -> None:
    """Nothing in common, or nothing readable: give up and tell (R3329-2.1-b, R3329-2.3.1-r)."""
    nothing = receive(asked(), listed(494, "kerberos;q=0.1"), GIVEN)
    unreadable = receive(asked(), listed(494, "tls;;"), GIVEN)

    assert outcome_of(nothing)[:2] == (ClientEvent.NOTHING_COMMON, ClientAction.ABORT)
    assert outcome_of(unreadable) == (ClientEvent.UNREADABLE, ClientAction.ABORT, "R3329-2.2-a")
    assert unreadable.outcome is not None
    assert "position 4" in unreadable.outcome.text


@pytest.mark.parametrize(
    ("rules", "state", "action"),
    [
        (REQUIRED, ClientState.FAILED, ClientAction.ABORT),
        (ClientRules(), ClientState.NONE, ClientAction.GO_ON_WITHOUT),
    ],
)
@pytest.mark.parametrize(
    "answer",
    [Answer(420, (("Unsupported", "sec-agree"),)), Answer(200), listed(200, "sdes-srtp;mediasec")],
)
def test_without_the_extension_policy_decides(
    rules: ClientRules, state: ClientState, action: ClientAction, answer: Answer
) -> None:
    """420 or no list: a required agreement ends, an optional one is left (R3261-20.29-a).

    A list in a 200 is of the media plane (UPD-mediasec-c, GAP-1).
    """
    agreement = receive(asked(rules), answer, GIVEN)

    assert (agreement.state, outcome_of(agreement)[1]) == (state, action)


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (Answer(420, (("UNSUPPORTED ", "path, Sec-Agree"),)), "the first hop does not support"),
        (Answer(420, (("Unsupported", "path"),)), "an answer without a list"),
        (Answer(420, (("Supported", "sec-agree"),)), "an answer without a list"),
        (Answer(403, (("Unsupported", "sec-agree"),)), "an answer without a list"),
    ],
)
def test_the_user_is_told_why_there_is_no_agreement(answer: Answer, text: str) -> None:
    """Not supported, or nobody insisted (R3261-20.29-a, R3329-2.3.1-r)."""
    outcome = receive(asked(), answer, GIVEN).outcome

    assert outcome is not None
    assert outcome.text.startswith(text)


def test_every_later_request_mirrors_the_list() -> None:
    """Security-Verify with the server's rows, Require, Proxy-Require (R3329-2.3.1-l, T24-UE-8).

    In Security-Verify it is what the server supports (R3329-2.2-e).
    """
    agreement = agreed()

    assert agreement.state is ClientState.AGREED
    for method in ("INVITE", "BYE", "MESSAGE", "PRACK", "PUBLISH", "REGISTER"):
        assert headers_for(agreement, method) == (*MIRROR, *DEMANDS)


def test_the_mirror_keeps_what_is_unknown_and_stays_on_its_line() -> None:
    """Unknown mechanisms and those of the media plane too (R3329-2.2-d, UPD-mediasec-b)."""
    row = 'kerberos;new="a b";q=0.3,\r\n\t tls;q=0.2 , sdes-srtp;mediasec'
    agreement = started(receive(asked(), listed(494, row), GIVEN))
    ((name, value), *_) = headers_for(agreement, "INVITE")

    assert (name, value) == (
        "Security-Verify",
        'kerberos;new="a b";q=0.3, tls;q=0.2 , sdes-srtp;mediasec',
    )
    assert parse_header(value) == parse_header(row)


def test_ack_and_cancel_demand_nothing() -> None:
    """The ACK of a 2xx carries the mirror, by a switch; CANCEL nothing (GAP-2, R3261-9.1-a)."""
    silent = agreed(ClientRules(use=Use.REQUIRED, verify_in_ack=False))

    assert headers_for(agreed(), "ACK") == MIRROR
    assert headers_for(silent, "ACK") == ()
    assert headers_for(agreed(), "CANCEL") == ()
    assert headers_for(asked(), "ACK") == ()


def test_who_supports_the_extension_says_so() -> None:
    """Supported: sec-agree before an agreement (R3329-2.3.2-g); not where it is off."""
    fresh = begin(ClientRules(), TLS_AND_IKE)

    assert headers_for(fresh, "INVITE") == (("Supported", "sec-agree"),)
    assert headers_for(begin(ClientRules(use=Use.OFF), ()), "INVITE") == ()


def test_ims_repeats_its_offer_in_the_protected_register() -> None:
    """After a 401 Security-Client is repeated, after a 494 not (T33-H-g, UPD-mediasec-c)."""
    given = Circumstances(PROXY, own_spis=(25656, 25657))
    row = offer(spi_c="1000", spi_s="1001", port_c="7000", port_s="7001", q="0.1")
    start = ask(begin(IMS, parse_header(offer())), "sip:home.example.com", PROXY)[0]
    agreement = started(receive(start, listed(401, row), given))

    assert headers_for(agreement, "REGISTER") == (
        ("Security-Client", offer()),
        ("Security-Verify", row),
        *DEMANDS,
    )
    assert headers_for(agreement, "SUBSCRIBE") == (("Security-Verify", row), *DEMANDS)


def test_digest_mirrors_the_list_with_d_ver() -> None:
    """Over the rows as they were received, by the reading that is set (R3329-2.4-digest-b)."""
    row = "tls;q=0.1,  digest;d-qop=auth;q=0.2"
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    for reading in Reading:
        rules = ClientRules(use=Use.REQUIRED, reading=reading)
        agreement = started(receive(asked(rules, "digest"), listed(494, row), given))
        ((_, value), *_) = headers_for(agreement, "INVITE", USE)
        d_ver = compute_d_ver(USE, [row], reading)
        assert value == f'tls;q=0.1, digest;d-qop=auth;q=0.2;d-ver="{d_ver}"'
        assert agreement.start == StartDigest("MD5", "auth")
        with pytest.raises(LocalAgreementError, match="d-ver needs"):
            headers_for(agreement, "INVITE")


def test_a_mechanism_that_does_not_start_ends_the_agreement() -> None:
    """IKE fails: no fallback to another one (R3329-2.4-ike-a)."""
    agreement = receive(asked(offers="ipsec-ike"), listed(494, *ROWS), GIVEN)
    failed = start_failed(agreement, "no answer from the peer")

    assert agreement.start == StartIke("proxy.example.com")
    assert outcome_of(failed) == (ClientEvent.START_FAILED, ClientAction.ABORT, "R3329-2.4-ike-a")
    assert failed.outcome is not None
    assert failed.outcome.text == "no answer from the peer"


def test_the_user_is_told_and_may_refuse() -> None:
    """Each step has an outcome to show, and the mechanism can be refused (R3329-2.3.1-r)."""
    agreement = receive(asked(), listed(494, *ROWS), GIVEN)

    assert outcome_of(agreement)[0] is ClientEvent.CHOSEN
    assert outcome_of(refused_by_user(agreement))[1] is ClientAction.ABORT


def test_a_server_may_begin() -> None:
    """421 to a request that asked for nothing is a list like any (R3329-2.3.2-d)."""
    fresh = begin(ClientRules(), parse_header("ipsec-ike"))
    agreement = receive(fresh, listed(421, *ROWS), GIVEN)

    assert agreement.start == StartIke("proxy.example.com")


@pytest.mark.parametrize(
    "answer", [Answer(100), Answer(183, (("Security-Server", "tls"),), is_protected=True)]
)
def test_provisional_answers_say_nothing(answer: Answer) -> None:
    """Table 1 has no place for a list there (R3329-2.6-a)."""
    assert receive(asked(), answer, GIVEN) == asked()


def test_what_comes_in_clear_touches_no_agreement() -> None:
    """Anybody may have sent it (R3329-5-c); also while the mechanism is being started."""
    starting = receive(asked(), listed(494, *ROWS), GIVEN)
    for agreement in (starting, started(starting), agreed()):
        for answer in (listed(494, "tls"), Answer(200), Answer(420), listed(401, "tls")):
            assert receive(agreement, answer, GIVEN) == agreement


@pytest.mark.parametrize("status", [200, 403, 486, 503])
def test_any_other_answer_under_protection_is_success(status: int) -> None:
    """The list was accepted, whatever became of the request (R3329-2.1-a, R3329-1-b)."""
    verifying = started(receive(asked(), listed(494, *ROWS), GIVEN))
    agreement = receive(verifying, Answer(status, is_protected=True), GIVEN)

    assert outcome_of(agreement)[:2] == (ClientEvent.ACCEPTED, ClientAction.GO_ON)


def test_the_end_of_the_security_is_the_end_of_the_agreement() -> None:
    """Connection, SAs, registration: all that was agreed is gone (R3329-2.5, R3329-A-d)."""
    after = security_ended(agreed())

    assert (after.state, after.listed, after.rows, after.mechanism) == (
        ClientState.NONE,
        (),
        (),
        "",
    )
    assert outcome_of(after)[1] is ClientAction.FORGET


def test_a_new_challenge_ends_the_agreement_of_digest_only() -> None:
    """The credentials are no longer valid (R3329-2.5); over TLS a 401 is an answer."""
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    digest = started(receive(asked(offers="digest"), listed(494, "digest;d-qop=auth"), given))
    agreement = receive(digest, Answer(200), given)

    assert agreement.state is ClientState.AGREED
    assert receive(agreement, Answer(401), given).state is ClientState.NONE
    assert receive(agreed(), Answer(401, is_protected=True), GIVEN).state is ClientState.AGREED


@pytest.mark.parametrize(
    ("row", "stale", "event"),
    [
        ("Digest ;Q=0.20;d-qop=auth", True, ClientEvent.SECURITY_ENDED),
        ("digest;q=0.2;d-qop=auth", False, ClientEvent.VERIFY_REFUSED),
        ("digest;q=0.3;d-qop=auth", True, ClientEvent.VERIFY_REFUSED),
        ("digest;", True, ClientEvent.VERIFY_REFUSED),
    ],
)
def test_a_nonce_that_is_too_old_is_no_attack(row: str, stale: bool, event: ClientEvent) -> None:
    """R3329-2.5: a 494 with the list that was mirrored and a stale nonce challenges anew."""
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    first = listed(494, "digest;q=0.2;d-qop=auth")
    verifying = started(receive(asked(offers="digest"), first, given))
    again = Circumstances(PROXY, Challenge("MD5", ("auth",), stale=stale))

    for agreement in (verifying, receive(verifying, Answer(200), given)):
        assert outcome_of(receive(agreement, listed(494, row), again))[0] is event


@pytest.mark.parametrize(
    ("row", "text"),
    [
        ("digest;q=0.20;d-qop=auth", "the password is wrong"),
        ("digest;q=0.3;d-qop=auth", "has another list"),
        ("", "has another list"),
    ],
)
def test_who_is_refused_is_told_what_may_be_wrong(row: str, text: str) -> None:
    """R3329-2.3.1-r, R3329-5-c: a password that is wrong is no list that somebody changed."""
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    first = listed(494, "digest;q=0.2;d-qop=auth")
    verifying = started(receive(asked(offers="digest"), first, given))

    outcome = receive(verifying, listed(494, row), given).outcome
    assert outcome is not None
    assert outcome.event is ClientEvent.VERIFY_REFUSED
    assert text in outcome.text


def test_a_registration_that_is_challenged_anew_brings_a_new_list() -> None:
    """The 401 on the set carries the list of the next one (T24-P-6, GAP-1)."""
    answer = listed(401, "ipsec-ike;q=0.5", is_protected=True)
    verifying = started(receive(asked(), listed(494, *ROWS), GIVEN))
    for before in (verifying, agreed()):  # a wrong response is challenged anew, too
        agreement = receive(before, answer, GIVEN)

        assert agreement.state is ClientState.STARTING
        assert render_header(agreement.listed) == "ipsec-ike;q=0.5"


@pytest.mark.parametrize(
    ("row", "event"),
    [
        ("kerberos", ClientEvent.NOTHING_COMMON),
        ("tls;", ClientEvent.UNREADABLE),
        ("tls;x;x", ClientEvent.INCOMPLETE),
    ],
)
def test_a_new_list_of_no_use_ends_the_agreement(row: str, event: ClientEvent) -> None:
    """R3329-2.3.1-k: as with the first list, whenever it comes."""
    verifying = started(receive(asked(), listed(494, *ROWS), GIVEN))
    for before in (verifying, agreed()):
        agreement = receive(before, listed(401, row, is_protected=True), GIVEN)

        assert (agreement.state, outcome_of(agreement)[0]) == (ClientState.FAILED, event)
