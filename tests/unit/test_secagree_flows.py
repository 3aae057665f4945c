"""Client and server against each other: the flows of RFC 3329 section 4, and its attacks.

What goes between them is text, and a man in the middle may change it. TLS, IKE and ESP are played
by a promise: what arrives protected arrived as it was sent, or not at all. The same attacks on a
real server are the kernel tests'.
"""

from collections.abc import Callable
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sip_hooks.secagree import (
    Challenge,
    Circumstances,
    ClientAgreement,
    ClientEvent,
    ClientRules,
    ClientState,
    DigestUse,
    Protection,
    Request,
    SecMechanism,
    ServerAction,
    ServerDecision,
    ServerRules,
    Use,
    choose_listed,
    decide_request,
    hash_a1,
    parse_header,
    read_server_list,
    render_header,
)
from sip_hooks.secagree.client_role import Answer, ask, begin, headers_for, receive, started
from tests.support.secagree_messages import EXAMPLE, STRONG

PROXY = "sip:proxy.example.com"
VIA = ("Via", "SIP/2.0/UDP ue.example.com")
HA1 = hash_a1("bob", "example.com", "zanzibar")
CLIENT = ClientRules(use=Use.REQUIRED)
SERVER = ServerRules()
DIGEST_LAST = read_server_list("tls;q=0.3, digest;d-alg=MD5;d-qop=auth;q=0.1", STRONG).mechanisms

DIGEST = "digest;d-qop=auth"
DEMANDING = (("Require", "sec-agree"), ("Proxy-Require", "sec-agree"))

Headers = tuple[tuple[str, str], ...]
Meddle = Callable[[Headers], Headers]


def untouched(headers: Headers) -> Headers:
    return headers


def replacing(name: str, old: str, new: str) -> Meddle:
    """A man in the middle who changes one header where it says something."""

    def meddle(headers: Headers) -> Headers:
        return tuple((n, v.replace(old, new) if n == name else v) for n, v in headers)

    return meddle


class Flow(NamedTuple):
    """What became of one agreement: the client, and the server's two decisions."""

    client: ClientAgreement
    first: ServerDecision
    second: ServerDecision | None


def play(
    offers: str,
    own: tuple[SecMechanism, ...],
    *,
    to_server: Meddle = untouched,
    to_client: Meddle = untouched,
    protected: Meddle = untouched,
) -> Flow:
    """Run an agreement: OPTIONS, the list, the mechanism, the INVITE under it and its answer."""
    client, headers = ask(begin(CLIENT, parse_header(offers)), PROXY, PROXY)
    first = decide_request(Request("OPTIONS", to_server((VIA, *headers))), SERVER, own)
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    client = receive(client, Answer(first.status, to_client(first.headers)), given)
    if client.state is not ClientState.STARTING:
        return Flow(client, first, None)
    client = started(client)
    use = DigestUse(HA1, "INVITE", PROXY, "n1", qop="auth", nc="00000001", cnonce="c")
    sent = protected((VIA, *headers_for(client, "INVITE", use)))
    tls = client.mechanism == "tls"
    protection = Protection.TLS if tls else Protection.AGREED
    second = decide_request(
        Request("INVITE", sent, protection, client.mechanism), SERVER, own, use
    )
    answer = Answer(second.status or 200, second.headers, is_protected=True)
    return Flow(receive(client, answer, given), first, second)


def test_the_client_initiated_flow_of_section_4() -> None:
    """OPTIONS, 494 with the list, TLS, INVITE with the list, stripped and forwarded (R3329-2.1-a).

    4.1; what its messages lack of Require is no oracle (GAP-12).
    """
    flow = play("tls, digest", EXAMPLE.mechanisms)

    assert flow.first.status == 494
    assert flow.client.mechanism == "tls"
    assert flow.second is not None
    assert flow.second.action is ServerAction.ACCEPT
    assert flow.second.forwarded == (VIA,)
    assert flow.client.state is ClientState.AGREED
    assert headers_for(flow.client, "ACK") == (("Security-Verify", "ipsec-ike;q=0.1, tls;q=0.2"),)


def test_the_server_initiated_flow_of_section_4() -> None:
    """INVITE without anything, 421 with the list, IKE, the INVITE inside the SA (R3329-2.3.2-d).

    4.2: ipsec-ike is right although tls has the higher q, because this client knows no tls.
    """
    own = EXAMPLE.mechanisms
    client = begin(ClientRules(), parse_header("ipsec-ike"))
    first = decide_request(Request("INVITE", (VIA,)), SERVER, own)
    client = receive(client, Answer(first.status, first.headers), Circumstances(PROXY))
    client = started(client)
    headers = (VIA, *headers_for(client, "INVITE"))
    second = decide_request(
        Request("INVITE", headers, Protection.AGREED, "ipsec-ike"), SERVER, own
    )

    assert (first.status, client.mechanism) == (421, "ipsec-ike")
    assert second.action is ServerAction.ACCEPT


def test_both_directions_may_use_what_was_agreed() -> None:
    """Once agreed the server's requests come the same way; the client keeps it (R3329-2.3.1-q)."""
    flow = play("tls", EXAMPLE.mechanisms)

    assert receive(flow.client, Answer(200, is_protected=True), Circumstances(PROXY)).state is (
        ClientState.AGREED
    )


@pytest.mark.parametrize(
    ("to_client", "mechanism"),
    [
        (replacing("Security-Server", "tls;q=0.3, ", ""), "digest"),
        (replacing("Security-Server", "q=0.3", "q=0.05"), "digest"),
        (replacing("Security-Server", "tls", "tls-x"), "digest"),
        (replacing("Security-Server", "digest", "kerberos"), "tls"),
    ],
)
def test_attack_1_a_changed_list_is_seen_in_security_verify(
    to_client: Meddle, mechanism: str
) -> None:
    """The server's list is bid down in the first response (R3329-5-c, R3329-2.3.1-o)."""
    flow = play("tls, digest", DIGEST_LAST, to_client=to_client)

    assert flow.client.mechanism == mechanism
    assert flow.second is not None
    assert flow.second.status == 494
    assert flow.second.difference is not None
    assert flow.client.outcome is not None
    assert flow.client.outcome.event is ClientEvent.VERIFY_REFUSED
    assert flow.client.state is ClientState.FAILED


@pytest.mark.parametrize(
    ("to_client", "protected"),
    [
        (
            replacing("Security-Server", "tls;q=0.3, ", ""),
            replacing("Security-Verify", "digest", "tls;q=0.3, digest"),
        ),
        (
            replacing("Security-Server", "q=0.3", "q=0.05"),
            replacing("Security-Verify", "q=0.05", "q=0.3"),
        ),
    ],
)
def test_attack_2_a_verify_that_is_changed_back_has_another_d_ver(
    to_client: Meddle, protected: Meddle
) -> None:
    """Digest protects no header; d-ver is the integrity that fails (R3329-5-c, R3329-2.2-i).

    Under TLS or IPsec what is changed does not arrive, so there is nothing to decide.
    """
    flow = play("tls, digest", DIGEST_LAST, to_client=to_client, protected=protected)

    assert flow.client.mechanism == "digest"
    assert flow.second is not None
    assert flow.second.difference == (1, "another value of 'd-ver'")
    assert flow.client.state is ClientState.FAILED


@pytest.mark.parametrize(
    ("to_server", "prepared"),
    [
        (replacing("Security-Client", "tls, digest", "digest"), "challenge"),
        (replacing("Security-Client", "tls", "kerberos"), "challenge"),
        (replacing("Security-Client", "tls, digest", ""), "nothing"),
    ],
)
def test_attack_3_a_changed_offer_does_not_change_the_choice(
    to_server: Meddle, prepared: str
) -> None:
    """The server may prepare the wrong mechanism, the client goes by the list (R3329-5-c).

    R3329-2.1-c: neither list changes because of the other side's.
    """
    flow = play("tls, digest", DIGEST_LAST, to_server=to_server)

    assert flow.first.need.value == prepared
    assert flow.client.mechanism == "tls"
    assert flow.client.state is ClientState.AGREED


def test_attack_3_what_was_not_prepared_ends_in_failure() -> None:
    """The offer of digest is taken away, no challenge comes: detected, given up (R3329-5-c)."""
    client, headers = ask(begin(CLIENT, parse_header("digest")), PROXY, PROXY)
    meddled = replacing("Security-Client", "digest", "tls")((VIA, *headers))
    first = decide_request(Request("OPTIONS", meddled), SERVER, DIGEST_LAST)
    after = receive(client, Answer(first.status, first.headers), Circumstances(PROXY))

    assert first.need.value == "nothing"
    assert after.outcome is not None
    assert after.outcome.event is ClientEvent.INCOMPLETE


@pytest.mark.parametrize("changed", [{"nonce": "n2"}, {"nc": "00000002"}, {"method": "BYE"}])
def test_attack_4_old_messages_prove_nothing_of_new_credentials(changed: dict[str, str]) -> None:
    """d-ver is bound to nonce, count and method, so a replayed one fails (R3329-5-c, R3329-5-d).

    That the nonce is fresh and the count rises is the SIP server's check of the credentials.
    """
    old = DigestUse(HA1, "INVITE", PROXY, "n1", qop="auth", nc="00000001", cnonce="c")
    client = ask(begin(CLIENT, parse_header("digest")), PROXY, PROXY)[0]
    given = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    rows = (("Security-Server", "tls;q=0.3, digest;d-alg=MD5;d-qop=auth;q=0.1"),)
    recorded = headers_for(started(receive(client, Answer(494, rows), given)), "INVITE", old)
    values = {"method": "INVITE", "nonce": "n1", "nc": "00000001"} | changed
    now = DigestUse(
        HA1, values["method"], PROXY, values["nonce"], qop="auth", nc=values["nc"], cnonce="c"
    )
    replayed = Request(values["method"], (VIA, *recorded), Protection.AGREED, "digest")

    assert decide_request(replayed, SERVER, DIGEST_LAST, now).status == 494
    assert (
        decide_request(
            Request("INVITE", (VIA, *recorded), Protection.AGREED, "digest"),
            SERVER,
            DIGEST_LAST,
            old,
        ).action
        is ServerAction.ACCEPT
    )


def test_a_list_in_clear_that_comes_late_moves_nobody() -> None:
    """After the agreement a forged 494 is passed over: success stays visible (R3329-1-b)."""
    flow = play("tls", EXAMPLE.mechanisms)
    forged = Answer(494, (("Security-Server", "digest;q=1"),))

    assert receive(flow.client, forged, Circumstances(PROXY)) == flow.client


@st.composite
def static_lists(draw: st.DrawFn) -> tuple[SecMechanism, ...]:
    """Any list that may start, of two to four members with distinct q."""
    members = draw(
        st.lists(
            st.sampled_from(
                ["tls", "ipsec-ike", "digest;d-alg=MD5;d-qop=auth", "digest;d-qop=auth"]
            ),
            min_size=2,
            unique=True,
        )
    )
    places = draw(st.permutations(range(1, len(members) + 1)))
    text = ", ".join(f"{m};q=0.{q}" for m, q in zip(members, places, strict=True))
    return read_server_list(text, STRONG).mechanisms


@st.composite
def meddled_lists(draw: st.DrawFn, own: tuple[SecMechanism, ...]) -> str:
    """What a man in the middle may make of a list: drop, reorder, rename, other q, add, break."""
    kept = draw(st.lists(st.sampled_from(own), max_size=5))
    shown = []
    for mechanism in kept:
        name = draw(st.sampled_from([mechanism.name, "kerberos", "digest", "tls"]))
        q = draw(st.sampled_from(["", ";q=0.9", ";q=0.05"]))
        rest = "".join(f";{n}={v}" for n, v, _ in mechanism.parameters if n != "q" or not q)
        shown.append(f"{name}{rest}{q}")
    return ", ".join(shown)


@given(st.data())
def test_nobody_is_bid_down_without_notice(data: st.DataObject) -> None:
    """Whatever becomes of the list on its way, who agrees has what both would have taken.

    R3329-5-c, R3329-1-b: the attacker changes the first answer at will, and, where digest was
    taken, also Security-Verify of the second request, to the server's own list for example.
    """
    own = data.draw(static_lists())
    offers = parse_header(
        data.draw(st.sampled_from(["tls, digest", "digest, ipsec-ike", "tls, ipsec-ike, digest"]))
    )
    client, _ = ask(begin(CLIENT, offers), PROXY, PROXY)
    given_ = Circumstances(PROXY, Challenge("MD5", ("auth",)))
    text = data.draw(st.one_of(meddled_lists(own), st.just(render_header(own))))
    client = receive(client, Answer(494, (("Security-Server", text),)), given_)
    if client.state is not ClientState.STARTING:
        assert client.state is ClientState.FAILED
        return
    client = started(client)
    use = DigestUse(HA1, "INVITE", PROXY, "n1", qop="auth", nc="00000001", cnonce="c")
    sent = headers_for(client, "INVITE", use)
    if client.mechanism == "digest" and data.draw(st.booleans()):
        d_ver = next(v for _, v in sent if "d-ver" in v).partition('d-ver="')[2][:32]
        restored = [f'{m};d-ver="{d_ver}"' if m.name == "digest" else str(m) for m in own]
        sent = (("Security-Verify", ", ".join(restored)), *DEMANDING)
    protection = Protection.TLS if client.mechanism == "tls" else Protection.AGREED
    request = Request("INVITE", (VIA, *sent), protection, client.mechanism)
    decision = decide_request(request, SERVER, own, use)

    if decision.action is ServerAction.ACCEPT:
        best = choose_listed(own, offers)
        assert best is not None
        assert client.mechanism == own[best].name
    else:
        assert decision.status in {421, 494}
