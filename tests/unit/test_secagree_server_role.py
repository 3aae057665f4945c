"""What a request gets: the decision table of RFC 3329 2.3.1 and 2.3.2 (norms sections 3 to 5)."""

import pytest

from sip_hooks.secagree import (
    Need,
    PolicyError,
    Profile,
    Protection,
    Request,
    ServerAction,
    ServerEvent,
    ServerPolicy,
    ServerRules,
    Use,
    build_security_server,
    count_vias,
    decide_request,
    render_header,
)
from tests.support.secagree_messages import (
    DEMANDS,
    EXAMPLE,
    FILLED,
    VIA,
    WHOLE,
    agreed,
    header_of,
    over_tls,
    request,
)
from tests.support.secagree_samples import MODERN, offer

REQUIRED = ServerRules()
OPTIONAL = ServerRules(use=Use.OPTIONAL)
OFF = ServerRules(use=Use.OFF)
IMS = ServerRules(profile=Profile.IMS)
LIST = EXAMPLE.mechanisms
VERIFY = "Security-Verify: ipsec-ike;q=0.1, tls;q=0.2"
SENT = build_security_server(ServerPolicy(MODERN), spi_pc=4096, spi_ps=4097, port_pc=1, port_ps=2)
CALLS = ("BYE", "INVITE", "INFO", "UPDATE")
OTHERS = ("OPTIONS", "REGISTER", "SUBSCRIBE", "NOTIFY", "MESSAGE", "PUBLISH", "REFER")
IMS_VERIFY = f"Security-Verify: {render_header(SENT)}"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        ((), 421),
        (("Supported: path",), 421),
        (("Supported: sec-agree",), 494),
        (("k: path, SEC-AGREE",), 494),
        (("Require: sec-agree",), 494),
        (("Proxy-Require: sec-agree",), 494),
        (("Proxy-Require: x", "Proxy-Require: y,sec-agree"), 494),
        ((VERIFY, *DEMANDS), 494),
        ((VERIFY,), 421),
        (("Supported: sec-agree", *DEMANDS), 494),
    ],
)
def test_a_request_in_clear_is_challenged(lines: tuple[str, ...], status: int) -> None:
    """421 without sec-agree (R3329-2.3.2-d), else 494 (R3329-2.3.1-e, R3329-2.3.2-c, -e, -g).

    With ids written out: R3329-2.3.2-e for Supported, R3329-2.3.2-g for its compact form.
    """
    decision = decide_request(request("INVITE", *lines), REQUIRED, LIST)

    assert decision.status == status
    # R3329-2.3.1-f, R3329-2.3.2-f, GAP-12: both carry the list and Require
    assert decision.headers == (
        ("Require", "sec-agree"),
        ("Security-Server", "ipsec-ike;q=0.1, tls;q=0.2"),
    )
    assert decision.forwarded == ()


@pytest.mark.parametrize(
    "offers",
    ["tls", "digest", "ipsec-ike;x=1, tls", "kerberos", "tls;;", "tls," * 40 + "tls", ""],
)
def test_the_list_never_depends_on_the_clients(offers: str) -> None:
    """Nothing in common, unreadable, absent: the same list (R3329-2.3.1-f, -g, R3329-2.1-c).

    R3329-2.3.1-g; Security-Client builds the extra information only (R3329-2.3.1-i).
    """
    line = f"Security-Client: {offers}"
    decision = decide_request(request("OPTIONS", line, *DEMANDS), REQUIRED, LIST)

    assert header_of(decision, "Security-Server") == ["ipsec-ike;q=0.1, tls;q=0.2"]
    assert decision.status == 494


@pytest.mark.parametrize(
    ("offers", "need", "own_index"),
    [
        ("digest", Need.CHALLENGE, 3),
        ("digest, tls", Need.NOTHING, 1),
        ("ipsec-ike", Need.NOTHING, 2),
        ("ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc, tls", Need.SA_SET, 0),
        ("ipsec-3gpp;alg=hmac-sha-1-96;ealg=null, digest", Need.CHALLENGE, 3),
        ("ipsec-3gpp;alg=hmac-sha-1-96;ealg=aes-cbc;mod=tun, digest", Need.CHALLENGE, 3),
        ("kerberos", Need.SA_SET, None),
        ("digest;mediasec", Need.SA_SET, None),
    ],
)
def test_what_starts_the_common_mechanism_is_told(
    offers: str, need: Need, own_index: int | None
) -> None:
    """The common one of the highest q; without one the server's own first (R3329-2.3.1-h).

    A server initiates with the preferred one (R3329-2.3.2-f).
    """
    line = f"Security-Client: {offers}"
    decision = decide_request(request("OPTIONS", line, *DEMANDS), REQUIRED, WHOLE.mechanisms)

    assert decision.prediction is not None
    assert (decision.need, decision.prediction.own_index) == (need, own_index)


@pytest.mark.parametrize(
    "verify",
    [
        "ipsec-ike;q=0.1, tls;q=0.2",
        "IPSEC-IKE ; Q=0.10,tls;q=0.200",
        "ipsec-ike;q=0.1,\r\n tls;q=0.2",
    ],
)
def test_a_protected_request_with_the_list_goes_on(verify: str) -> None:
    """By meaning, not by text (R3329-2.3.1-m, R3329-2.3.1-n, R3261-7.3.1-c)."""
    decision = decide_request(
        over_tls("INVITE", f"Security-Verify: {verify}", *DEMANDS), REQUIRED, LIST
    )

    assert (decision.action, decision.status) == (ServerAction.ACCEPT, 0)
    assert decision.difference is None


def test_a_proxy_takes_sec_agree_out_and_nothing_else() -> None:
    """Both headers, several rows, any case; other tags and headers stay (R3329-2.3.1-p)."""
    decision = decide_request(
        over_tls(
            "INVITE",
            "Security-Verify: ipsec-ike;q=0.1",
            "Require: path, Sec-Agree",
            "security-verify: tls;q=0.2",
            "Proxy-Require: sec-agree",
            "Proxy-Require: privacy",
            "Security-Client: tls",
            "Security-Server: tls",  # of no request (R3329-2.6-a)
            "To: <sip:bob@example.com>",
        ),
        REQUIRED,
        LIST,
    )

    assert [f"{name}: {value}" for name, value in decision.forwarded] == [
        VIA,
        "Require: path",
        "Proxy-Require: privacy",
        "To: <sip:bob@example.com>",
    ]


def test_a_registrar_leaves_the_request_as_it_came() -> None:
    """Only a proxy must remove the tag (R3329-2.3.1-p); a UAS may be the next hop (R3329-1-a)."""
    asked = over_tls("REGISTER", VERIFY, *DEMANDS)
    decision = decide_request(asked, ServerRules(is_proxy=False), LIST)

    assert decision.forwarded == asked.headers


@pytest.mark.parametrize(
    ("verify", "event"),
    [
        ((), ServerEvent.ABSENT),
        (("Security-Verify: tls;q=0.2, ipsec-ike;q=0.1",), ServerEvent.DIFFERS),
        (("Security-Verify: tls;q=0.2",), ServerEvent.DIFFERS),
        (("Security-Verify: ipsec-ike;q=0.1, tls;q=0.3",), ServerEvent.DIFFERS),
        (("Security-Verify: ipsec-ike;q=0.1, tls;q=0.2;x",), ServerEvent.DIFFERS),
        (("Security-Verify: ipsec-ike;q=0.1, tls;;q=0.2",), ServerEvent.DIFFERS),
        (("Security-Verify: tls;q=0.2", VERIFY), ServerEvent.DIFFERS),
    ],
)
def test_a_changed_or_missing_list_gets_494_with_the_own(
    verify: tuple[str, ...], event: ServerEvent
) -> None:
    """The unmodified list goes back, the request does not go on (R3329-2.3.1-o, GAP-7)."""
    decision = decide_request(over_tls("INVITE", *verify, *DEMANDS), REQUIRED, LIST)

    assert (decision.event, decision.status) == (event, 494)
    assert header_of(decision, "Security-Server") == ["ipsec-ike;q=0.1, tls;q=0.2"]
    assert decision.difference is not None
    assert decision.forwarded == ()


def test_what_is_wrong_with_the_list_is_told() -> None:
    """For a log: at which mechanism, and the position of what cannot be read (R3329-2.2-a)."""
    changed = decide_request(
        over_tls("INVITE", "Security-Verify: ipsec-ike;q=0.1, tls;q=0.3"), REQUIRED, LIST
    )
    broken = decide_request(over_tls("INVITE", "Security-Verify: tls;;"), REQUIRED, LIST)

    assert changed.difference == (1, "another value of 'q'")
    assert broken.difference == (0, "row 0, position 4: a parameter is missing [R3329-2.2-a]")


@pytest.mark.parametrize(
    "rows",
    [
        (VIA, "Via: SIP/2.0/UDP b"),
        (VIA, "v: SIP/2.0/UDP b"),
        ("Via: SIP/2.0/UDP a, SIP/2.0/UDP b",),
        ('Via: SIP/2.0/UDP a;x="y", SIP/2.0/UDP b',),
        ("To: nobody",),
    ],
)
def test_another_than_the_first_hop_answers_502(rows: tuple[str, ...]) -> None:
    """Two Vias, in rows or in one: no agreement with who is not next to us (R3329-2.3.2-b)."""
    fields = tuple((n, v.strip()) for n, _, v in (row.partition(":") for row in rows))
    for headers in (fields, (*fields, ("Require", "sec-agree"))):
        for protection in Protection:
            decision = decide_request(
                Request("INVITE", headers, protection, "tls"), REQUIRED, LIST
            )
            assert (decision.status, decision.headers) == (502, ())


@pytest.mark.parametrize(
    ("value", "count"),
    [
        ('SIP/2.0/UDP a;x="b,c"', 1),
        ('SIP/2.0/UDP a;x="b\\",c"', 1),
        ('SIP/2.0/UDP a;x="b,c', 1),
        ('SIP/2.0/UDP a;x="b\\', 1),
        ("SIP/2.0/UDP a, ,SIP/2.0/UDP b,", 2),
        ("", 0),
    ],
)
def test_vias_are_counted_outside_of_quotes(value: str, count: int) -> None:
    """A comma inside a quoted string parts nothing (R3329-2.3.2-b)."""
    assert count_vias([("Via", value)]) == count
    assert count_vias([("via", value), ("V", value), ("Viable", value)]) == 2 * count


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
@pytest.mark.parametrize("verify", [(), ("Security-Verify: kerberos",)])
def test_ack_and_cancel_are_never_answered(method: str, verify: tuple[str, ...]) -> None:
    """Headers there are ignored, unprotected ones dropped by policy (GAP-2, R3261-9.1-a)."""
    for rules, clear in (
        (REQUIRED, ServerAction.DROP),
        (OPTIONAL, ServerAction.PASS),
        (OFF, ServerAction.PASS),
        (IMS, ServerAction.DROP),
    ):
        dropped = decide_request(request(method, *verify, *DEMANDS), rules, LIST)
        passed = decide_request(over_tls(method, *verify, *DEMANDS), rules, LIST)
        assert (dropped.action, dropped.status, dropped.headers) == (clear, 0, ())
        assert (passed.action, passed.status, passed.headers) == (ServerAction.PASS, 0, ())
        # what is of no agreement goes on as it came
        assert dropped.forwarded == ()
        assert (len(passed.forwarded) == 1) == (rules.use is not Use.OFF)


def test_prack_may_lack_the_list_but_not_change_it() -> None:
    """Table 1 has no place for it there, 2.3.1 wants it: taken, not required (GAP-2)."""
    asked = over_tls("PRACK", "Require: sec-agree, 100rel", "Proxy-Require: sec-agree")
    without = decide_request(asked, REQUIRED, LIST)
    right = decide_request(over_tls("PRACK", VERIFY), REQUIRED, LIST)
    wrong = decide_request(over_tls("PRACK", "Security-Verify: tls"), REQUIRED, LIST)

    assert (without.action, right.action) == (ServerAction.PASS, ServerAction.ACCEPT)
    assert without.forwarded[1:] == (("Require", "100rel"),)  # R3329-2.3.1-p
    assert wrong.status == 494


@pytest.mark.parametrize(
    "method",
    [
        "BYE",
        "INVITE",
        "OPTIONS",
        "REGISTER",
        "SUBSCRIBE",
        "NOTIFY",
        "INFO",
        "UPDATE",
        "MESSAGE",
        "PUBLISH",
        "REFER",
    ],
)
def test_every_other_method_is_treated_alike(method: str) -> None:
    """All of Table 1 that is optional (R3329-2.6-a), and what is newer (R3329-2.6-c)."""
    assert decide_request(request(method, *DEMANDS), REQUIRED, LIST).status == 494
    assert decide_request(request(method), REQUIRED, LIST).status == 421
    verified = decide_request(over_tls(method, VERIFY, *DEMANDS), REQUIRED, LIST)
    assert verified.action is ServerAction.ACCEPT


def test_each_interface_has_its_own_use() -> None:
    """Off, optional and required on three interfaces at once (R3329-3-a, R3329-2.3.2-a)."""
    plain = request("INVITE", "Supported: sec-agree")
    demanding = request("INVITE", *DEMANDS)
    fates = [
        [decide_request(asked, rules, LIST).status for rules in (OFF, OPTIONAL, REQUIRED)]
        for asked in (plain, demanding)
    ]

    # 420 with Unsupported is what a server without the extension says (R3261-20.29-a)
    assert fates == [[0, 0, 494], [420, 494, 494]]
    refused = decide_request(demanding, OFF, LIST)
    assert refused.headers == (("Unsupported", "sec-agree"),)


@pytest.mark.parametrize(("is_proxy", "line"), [(True, "Require"), (False, "Proxy-Require")])
def test_without_the_extension_each_header_concerns_its_kind(is_proxy: bool, line: str) -> None:
    """A proxy looks at Proxy-Require, a user agent server at Require (R3261-20.29-a)."""
    asked = request("INVITE", f"{line}: sec-agree")
    rules = ServerRules(use=Use.OFF, is_proxy=is_proxy)

    assert decide_request(asked, rules, LIST).event is ServerEvent.NOT_NEEDED


def test_required_means_that_nobody_gets_in_without() -> None:
    """A user agent that knows no agreement gets 421, not a way round (INTEROP-10, R3329-3-b)."""
    assert decide_request(request("REGISTER"), REQUIRED, LIST).status == 421
    assert decide_request(request("REGISTER"), IMS, SENT).status == 421


def test_who_came_by_tls_without_the_agreement_may_stay() -> None:
    """RFC 3263 led there (R3329-3-b, R3329-2.3.1-a); a switch closes it; who asks is checked."""
    plain = over_tls("INVITE", "Supported: sec-agree")

    assert decide_request(plain, REQUIRED, LIST).event is ServerEvent.CAME_BY_TLS
    assert decide_request(plain, ServerRules(accept_tls=False), LIST).status == 494
    assert decide_request(over_tls("INVITE", *DEMANDS), REQUIRED, LIST).status == 494


def test_only_a_listed_mechanism_protects() -> None:
    """TLS where tls is not listed, a mechanism of nobody's list: as in clear (R3329-2.3.1-e)."""
    own = EXAMPLE.mechanisms[:1]
    line = "Security-Verify: ipsec-ike;q=0.1"

    assert decide_request(over_tls("INVITE", line, *DEMANDS), REQUIRED, own).status == 494
    assert decide_request(agreed("tls", "INVITE", line), REQUIRED, own).status == 421
    nameless = request("INVITE", line, protection=Protection.AGREED)
    assert decide_request(nameless, REQUIRED, own).status == 421
    good = decide_request(agreed("IPSEC-IKE", "INVITE", line), REQUIRED, own)
    assert good.action is ServerAction.ACCEPT


def test_a_dynamic_list_is_compared_as_it_was_sent() -> None:
    """SPIs and ports of this client's set count: what was sent is remembered (GAP-6)."""
    mirrored = f"Security-Verify: {render_header(FILLED)}"
    other = WHOLE.fill(spi_pc=9999, spi_ps=4097, port_pc=5100, port_ps=6100)

    good = decide_request(agreed("ipsec-3gpp", "INVITE", mirrored), REQUIRED, FILLED)
    bad = decide_request(agreed("ipsec-3gpp", "INVITE", mirrored), REQUIRED, other)
    assert (good.action, bad.status) == (ServerAction.ACCEPT, 494)
    assert bad.difference == (0, "another value of 'spi-c'")


def test_verify_may_be_left_out_where_a_switch_says_so() -> None:
    """User agents of IMS may omit it after REGISTER; what is there is still checked (GAP-7)."""
    rules = ServerRules(profile=Profile.IMS, verify_required=False)
    without = decide_request(agreed("ipsec-3gpp", "INVITE"), rules, SENT)
    wrong = decide_request(agreed("ipsec-3gpp", "INVITE", "Security-Verify: tls"), rules, SENT)

    assert (without.action, wrong.status) == (ServerAction.ACCEPT, 403)


@pytest.mark.parametrize(
    ("method", "lines", "status", "event"),
    [
        (
            "REGISTER",
            (f"Security-Client: {offer()}", *DEMANDS),
            0,
            ServerEvent.OFFERED_FOR_CHALLENGE,
        ),
        ("REGISTER", DEMANDS, 494, ServerEvent.DEMANDED),
        ("REGISTER", (), 421, ServerEvent.UNAWARE),
        ("INVITE", DEMANDS, 403, ServerEvent.FORBIDDEN_IN_CLEAR),
        ("MESSAGE", (), 403, ServerEvent.FORBIDDEN_IN_CLEAR),
    ],
)
def test_profile_ims_sends_its_list_in_the_401(
    method: str, lines: tuple[str, ...], status: int, event: ServerEvent
) -> None:
    """A REGISTER with Security-Client goes on, its 401 gets the list (GAP-1, T33-7.1-p5)."""
    decision = decide_request(request(method, *lines), IMS, SENT)

    assert (decision.status, decision.event) == (status, event)
    if event is ServerEvent.OFFERED_FOR_CHALLENGE:
        assert decision.action is ServerAction.LIST_IN_401


@pytest.mark.parametrize(
    ("lines", "rules", "status"),
    [
        (DEMANDS, IMS, 494),
        (("Supported: sec-agree",), IMS, 494),
        ((), IMS, 403),
        (DEMANDS, ServerRules(profile=Profile.IMS, mismatch_status=400), 400),
        ((), REQUIRED, 494),
        ((), ServerRules(mismatch_status=488), 488),
    ],
)
def test_the_status_of_a_mismatch_is_the_profiles_or_a_setting(
    lines: tuple[str, ...], rules: ServerRules, status: int
) -> None:
    """494, and 403 to who does not speak of sec-agree in profile ims (GAP-7)."""
    changed = IMS_VERIFY.replace("4096", "4098")
    decision = decide_request(agreed("ipsec-3gpp", "REGISTER", changed, *lines), rules, SENT)

    assert decision.status == status
    assert (header_of(decision, "Security-Server") != []) == (status == 494)


@pytest.mark.parametrize("status", [200, 302, 399, 500])
def test_a_mismatch_is_always_a_4xx(status: int) -> None:
    """A setting that would let it pass is refused (GAP-7)."""
    with pytest.raises(PolicyError, match="GAP-7"):
        ServerRules(mismatch_status=status)


def test_the_server_asks_nobody_to_remember() -> None:
    """The same request gets the same answer, whatever came before (R3329-2.1-d, R3329-1-b)."""
    asked = request("OPTIONS", "Security-Client: tls", *DEMANDS)
    first = decide_request(asked, REQUIRED, LIST)
    decide_request(over_tls("INVITE", VERIFY, *DEMANDS), REQUIRED, LIST)

    assert decide_request(asked, REQUIRED, LIST) == first
