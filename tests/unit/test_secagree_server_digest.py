"""Mechanism digest at the server: no kernel state, d-ver proves the list (norms 2, 6 and 8)."""

import dataclasses

import pytest

from sip_hooks.secagree import (
    SERVER_TRANSITIONS,
    DigestUse,
    Reading,
    ServerAction,
    ServerEvent,
    ServerRules,
    ServerState,
    compute_d_ver,
    decide_request,
    hash_a1,
    read_server_list,
    render_header,
)
from sip_hooks.secagree.transitions import step
from tests.support.secagree_messages import DEMANDS, STRONG, agreed, header_of, request

OWN = read_server_list("digest;d-alg=MD5;d-qop=auth;q=0.2, tls;q=0.1", STRONG).mechanisms
TEXT = render_header(OWN)
USE = DigestUse(
    hash_a1("bob", "example.com", "zanzibar"),
    "MESSAGE",
    "sip:proxy.example.com",
    "dcd98b71",
    qop="auth",
    nc="00000001",
    cnonce="0a4f113b",
)


def verify(d_ver: str | None, text: str = TEXT) -> str:
    added = "" if d_ver is None else f';d-ver="{d_ver}"'
    return f"Security-Verify: {text.replace(';q=0.2', f';q=0.2{added}')}"


def test_the_first_answer_wants_a_challenge() -> None:
    """494 with Proxy-Authenticate beside the list (R3329-2.3.1-h, R3329-2.4-digest-a)."""
    decision = decide_request(
        request("MESSAGE", "Security-Client: digest", *DEMANDS), ServerRules(), OWN
    )

    assert (decision.status, decision.need.value) == (494, "challenge")
    assert header_of(decision, "Security-Server") == [TEXT]


def test_a_right_d_ver_is_accepted() -> None:
    """It is one parameter more than was sent, and proves the list (R3329-2.4-digest-b)."""
    asked = agreed("digest", "MESSAGE", verify(compute_d_ver(USE, [TEXT])), *DEMANDS)
    decision = decide_request(asked, ServerRules(), OWN, USE)

    assert decision.action is ServerAction.ACCEPT


@pytest.mark.parametrize(
    ("d_ver", "use", "text"),
    [
        (None, USE, "without 'd-ver'"),
        ("0" * 32, USE, "another value of 'd-ver'"),
        (f'{compute_d_ver(USE, [TEXT])}";D-Ver="{"0" * 32}', USE, "'d-ver' stands twice"),
        (compute_d_ver(USE, ["tls;q=0.1"]), USE, "another value of 'd-ver'"),
        (compute_d_ver(USE, [TEXT]), None, "'d-ver' cannot be checked: no H(A1)"),
        (
            compute_d_ver(USE, [TEXT]),
            dataclasses.replace(USE, nc="00000002"),
            "another value of 'd-ver'",
        ),
        (
            compute_d_ver(USE, [TEXT], Reading.VALUE_ONLY),
            USE,
            "another value of 'd-ver'",
        ),
    ],
)
def test_a_wrong_d_ver_is_a_changed_list(
    d_ver: str | None, use: DigestUse | None, text: str
) -> None:
    """Digest protects no header, so without d-ver nothing is proved (R3329-5-a, R3329-2.2-i)."""
    decision = decide_request(
        agreed("digest", "MESSAGE", verify(d_ver), *DEMANDS), ServerRules(), OWN, use
    )

    assert (decision.status, decision.event) == (494, ServerEvent.DIFFERS)
    assert decision.difference == (0, text)


def test_d_ver_stands_at_the_element_that_the_client_took() -> None:
    """Two algorithms are two elements; either may bear it (R3329-2.4-digest-b)."""
    own = read_server_list(
        "digest;d-alg=MD5;d-qop=auth;q=0.2, digest;d-alg=MD5-sess;d-qop=auth;q=0.1", STRONG
    ).mechanisms
    text = render_header(own)
    d_ver = compute_d_ver(USE, [text])
    for q in ("q=0.1", "q=0.2"):
        line = f"Security-Verify: {text.replace(q, f'{q};d-ver=%{d_ver}%').replace('%', chr(34))}"
        asked = agreed("digest", "MESSAGE", line)
        assert decide_request(asked, ServerRules(), own, USE).action is ServerAction.ACCEPT


def test_the_other_reading_is_a_switch() -> None:
    """A lenient server takes both, a strict one may have the other as its own (GAP-3)."""
    other = compute_d_ver(USE, [TEXT], Reading.VALUE_ONLY)
    asked = agreed("digest", "MESSAGE", verify(other))

    for rules in (ServerRules(lenient=True), ServerRules(reading=Reading.VALUE_ONLY)):
        assert decide_request(asked, rules, OWN, USE).action is ServerAction.ACCEPT


def test_the_list_itself_is_compared_first() -> None:
    """A right d-ver over a list that is not the server's helps nobody (R3329-2.3.1-m)."""
    changed = TEXT.replace("tls;q=0.1", "tls;q=0.15")
    d_ver = compute_d_ver(USE, [changed])
    decision = decide_request(
        agreed("digest", "MESSAGE", verify(d_ver, changed)), ServerRules(), OWN, USE
    )

    assert decision.difference == (1, "another value of 'q'")


def test_d_ver_is_no_duty_where_another_mechanism_protects() -> None:
    """Over TLS the list needs no d-ver, the digest element is mirrored only (R3329-2.3.1-m)."""
    decision = decide_request(agreed("tls", "MESSAGE", verify(None)), ServerRules(), OWN)

    assert decision.action is ServerAction.ACCEPT


def test_the_association_ends_with_the_new_challenge() -> None:
    """It has no state in the kernel; a challenge of old credentials ends it (R3329-2.5)."""
    entry = step(SERVER_TRANSITIONS, ServerState.AGREED, ServerEvent.RECHALLENGED)

    assert (entry.state, entry.action) == (ServerState.NONE, ServerAction.FORGET)
