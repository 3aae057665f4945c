"""A man in the middle between a user agent and its first hop (R3329-5-c), on real Kamailio.

He reads and changes everything; what he has not is the password. Each attack ends as the rule
says, and nothing of it reaches bob.
"""

from collections.abc import Callable, Iterator

import pytest

from sip_hooks.secagree.transitions import ClientEvent, ClientState
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.agreement_world import DOMAIN, LIST, MEDDLER, SERVER, AgreementWorld
from tests.edge.meddler import Meddler
from tests.ue.dialog import new_branch
from tests.ue.sip import Request, Response

HOP, BOB = f"sip:{DOMAIN}", f"sip:bob@{DOMAIN}"
LESSER = LIST.replace("q=0.2", "q=0.1")


@pytest.fixture
def victim(first_hop: AgreementWorld) -> Iterator[AgreeingUe]:
    """Give alice's phone, for which the first hop is where the man in the middle stands."""
    with first_hop.ue("alice", server=(MEDDLER, 5060), offers="tls, digest") as ue:
        yield ue


@pytest.fixture
def meddler(first_hop: AgreementWorld, victim: AgreeingUe) -> Iterator[Meddler]:
    with Meddler(first_hop.phones, MEDDLER, SERVER, victim.local) as one:
        yield one


def changed_list(text: str) -> Callable[[Response], Response]:
    """Change the list in the first answer."""

    def change(response: Response) -> Response:
        if not response.rows("Security-Server"):
            return response
        return response.with_rows("Security-Server", *([text] if text else []))

    return change


def message(ue: AgreeingUe) -> Request:
    return ue.secured("MESSAGE", BOB, body=b"hello")


def event_of(ue: AgreeingUe) -> ClientEvent | None:
    return None if ue.agreement.outcome is None else ue.agreement.outcome.event


def assert_refused(ue: AgreeingUe, response: Response) -> None:
    """The first hop has seen it, sends its own list, and the user agent gives up."""
    assert response.status == 494
    assert ue.agreement.state is ClientState.FAILED
    assert event_of(ue) is ClientEvent.VERIFY_REFUSED


@pytest.mark.parametrize(
    "text",
    [
        LESSER,  # a preference lowered
        "digest;q=0.2;d-alg=MD5",  # the qop taken out
        f"{LIST}, tls;q=0.1",  # a mechanism added
        f"{LIST};x=1",
    ],
)
def test_edge_attack_the_list_changed_in_the_first_answer(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe, text: str
) -> None:
    """R3329-5-c (1): the user agent mirrors what it got, the first hop sees that it is not its."""
    meddler.on_response = changed_list(text)
    victim.agree()

    assert_refused(victim, victim.exchange(message(victim)))
    assert bob.silence(0.1)


def test_edge_attack_the_list_changed_there_and_back(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe
) -> None:
    """R3329-2.2-i: he puts the right list into Security-Verify again; d-ver tells on him."""
    meddler.on_response = changed_list(LESSER)
    victim.agree()

    def restore(request: Request) -> Request:
        mirrored = request.one("Security-Verify")
        return request.with_rows("Security-Verify", mirrored.replace("q=0.1", "q=0.2"))

    meddler.on_request = restore
    assert_refused(victim, victim.exchange(message(victim)))
    assert bob.silence(0.1)


@pytest.mark.parametrize(
    "change",
    [
        lambda row: row.replace("q=0.2", "q=0.9"),
        lambda row: row.replace(";d-qop=auth", ""),
        lambda row: row.partition(";d-ver")[0],
        lambda row: f"{row}, tls;q=0.1",
        lambda row: row[:-5],
        lambda _: "",
    ],
)
def test_edge_attack_the_verify_changed(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe, change: Callable[[str], str]
) -> None:
    """R3329-5-c (2), R3329-2.3.1-o: changed, unreadable or gone: 494 with the list."""
    victim.agree()

    def tamper(request: Request) -> Request:
        if not request.rows("Security-Verify"):
            return request
        row = change(request.one("Security-Verify"))
        return request.with_rows("Security-Verify", *([row] if row else []))

    meddler.on_request = tamper
    response = victim.exchange(message(victim))
    assert_refused(victim, response)
    assert response.rows("Security-Server") == [LIST]
    assert bob.silence(0.1)


@pytest.mark.parametrize(
    "headers",
    [
        ("Security-Client",),
        ("Require", "Proxy-Require"),
        ("Security-Client", "Require", "Proxy-Require"),
    ],
)
def test_edge_attack_the_question_changed(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe, headers: tuple[str, ...]
) -> None:
    """R3329-5-c (3): without its list, or its demand, the client is told the same list."""
    meddler.on_request = lambda request: request.without(*headers)
    first = victim.agree()
    meddler.on_request = lambda request: request

    assert first.status == (421 if "Require" in headers else 494)
    assert first.rows("Security-Server") == [LIST]
    request = message(victim)
    victim.send(request)
    bob.answer(bob.next_request())
    assert victim.final(request).status == 200


def test_edge_attack_a_mechanism_struck_from_the_question(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe
) -> None:
    """R3329-5-c (3), R3329-2.3.1-g: the choice is the client's, by the list that is static."""
    meddler.on_request = lambda request: request.with_rows("Security-Client", "tls")
    first = victim.agree()

    assert first.rows("Security-Server") == [LIST]
    assert victim.agreement.mechanism == "digest"


def test_edge_attack_the_answer_without_a_list(victim: AgreeingUe, meddler: Meddler) -> None:
    """R3261-20.29-a, R3329-2.3.1-k: no list, or no challenge: the client gives up."""
    meddler.on_response = changed_list("")
    victim.agree()
    assert event_of(victim) is ClientEvent.UNAVAILABLE

    meddler.on_response = lambda response: response.without("Proxy-Authenticate")
    victim.agree()
    assert event_of(victim) is ClientEvent.INCOMPLETE


def test_edge_attack_the_challenge_changed(
    victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe
) -> None:
    """R3329-2.2-h, R3329-2.4-digest-a: d-alg and d-qop are taken, whatever the challenge says."""

    def bid_down(response: Response) -> Response:
        row = response.one("Proxy-Authenticate").replace(', qop="auth"', "")
        return response.with_rows("Proxy-Authenticate", row)

    meddler.on_response = bid_down
    victim.agree()
    meddler.on_response = lambda response: response
    request = message(victim)
    assert "qop=auth" in request.one("Proxy-Authorization")
    victim.send(request)
    bob.answer(bob.next_request())
    assert victim.final(request).status == 200


def test_edge_attack_replayed(
    first_hop: AgreementWorld, victim: AgreeingUe, meddler: Meddler, bob: AgreeingUe
) -> None:
    """R3329-5-c (4), R3329-5-d: an agreement is taken once; its credentials fit one request."""
    victim.agree()
    request = message(victim)
    victim.send(request)
    bob.answer(bob.next_request())
    assert victim.final(request).status == 200

    def again(uri: str = request.uri) -> Response:
        # A new transaction for the first hop: nothing there is protected.
        via = request.one("Via").partition(";branch=")[0]
        moved = Request(request.headers, request.body, request.method, uri)
        moved = moved.with_rows("Via", f"{via};branch={new_branch()}")
        meddler.replay(moved)
        return victim.final(moved)

    assert again().status == 494
    # Fresh credentials, but for another request.
    unused = message(victim)
    elsewhere = Request(unused.headers, unused.body, unused.method, f"sip:bob2@{DOMAIN}")
    victim.send(elsewhere)
    assert victim.final(elsewhere).status == 494
    meddler.replay(request)  # as it was: the answer of before, and nothing else
    assert victim.final(request).status == 200
    assert bob.silence(0.1)
