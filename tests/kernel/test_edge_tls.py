"""Mechanism tls on real Kamailio over real TLS: the flows of RFC 3329 section 4, and attacks.

The list has tls and digest. First flow, client-initiated (over UDP until TLS stands)::

    alice                           first hop                          bob
      | OPTIONS sip:example.org         |                               |
      | Security-Client: tls, digest    |                               |
      | Require, Proxy-Require          |                               |
      |-------------------------------->|                               |
      | 494, Security-Server:           |                               |
      |   tls;q=0.3, digest;q=0.2;...   |                               |
      |<--------------------------------|                               |
      |<== TLS, port 5061: certificate of example.org (RFC 5922) ======>|
      | INVITE, Security-Verify: tls;q=0.3, digest;q=0.2;...            |
      |-------------------------------->|                               |
      | 407 (who the user is), ACK      |                               |
      |<------------------------------->|                               |
      | INVITE, the same, credentials   | INVITE without all of that    |
      |-------------------------------->|------------------------------>|
      | 200                             | 200                           |
      |<--------------------------------|<------------------------------|
      | ACK, Security-Verify            | ACK                           |
      |-------------------------------->|------------------------------>|

Second flow, server-initiated: an INVITE without a word of the agreement gets 421 with the same
list and a challenge, and its ACK; who knows tls goes on as above, who knows digest alone sends the
INVITE again with credentials, Security-Verify and d-ver. (In the RFC that one is ipsec-ike.)
"""

import datetime as dt
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sip_hooks.secagree.client_role import security_ended
from sip_hooks.secagree.transitions import ClientEvent, ClientState
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.agreement_world import (
    DOMAIN,
    EDGE,
    LIST,
    MEDDLER,
    SERVER,
    TLS_PORT,
    AgreementWorld,
)
from tests.edge.certificates import Authority, Issued
from tests.edge.impostor import impostor
from tests.edge.meddler import Meddler
from tests.edge.tls_ue import TlsUe
from tests.support.daemon import PATIENCE, wait_until
from tests.ue.dialog import Dialog
from tests.ue.headers import parse_digest
from tests.ue.sip import Request, Response

HOP, ALICE, BOB = f"sip:{DOMAIN}", f"sip:alice@{DOMAIN}", f"sip:bob@{DOMAIN}"
BOTH = f"tls;q=0.3, {LIST}"


@pytest.fixture(scope="module", autouse=True)
def _listed(first_hop: AgreementWorld) -> Iterator[None]:
    """Have the first hop list tls, too, for the tests of this file."""
    first_hop.set_list(BOTH)
    yield
    first_hop.set_list(LIST)


@pytest.fixture
def alice(first_hop: AgreementWorld) -> Iterator[TlsUe]:
    with first_hop.tls_ue() as ue:
        yield ue


def event_of(ue: AgreeingUe) -> ClientEvent | None:
    return None if ue.agreement.outcome is None else ue.agreement.outcome.event


def call(caller: AgreeingUe, bob: AgreeingUe) -> Request:
    """Call bob under the agreement, and hang up; return the INVITE as he got it."""
    invite = caller.secured("INVITE", BOB)
    caller.send(invite)
    received = bob.next_request()
    bob.answer(received)
    accepted = caller.final(invite)
    dialog = Dialog.of_caller(invite, accepted)
    ack = caller.in_dialog(dialog, "ACK", invite.cseq.number)
    assert ack.rows("Security-Verify")
    caller.send(ack)
    assert bob.next_request().method == "ACK"
    bye = caller.in_dialog(dialog, "BYE", invite.cseq.number + 1)
    caller.send(bye)
    bob.answer(bob.next_request())
    assert caller.final(bye).status == 200
    return received


# --- the flows -----------------------------------------------------------------------------------


def test_edge_tls_client_initiated_call(
    first_hop: AgreementWorld, alice: TlsUe, bob: AgreeingUe
) -> None:
    """R3329-2.3.1-b to -p, R3329-2.4-tls-a: the first flow of section 4, and a call to alice."""
    first = alice.agree("OPTIONS")
    assert (first.status, first.rows("Security-Server")) == (494, [BOTH])
    assert not first.rows("Proxy-Authenticate")  # R3329-2.3.1-h: tls needs none
    assert (alice.agreement.mechanism, event_of(alice)) == ("tls", ClientEvent.STARTED)
    assert alice.connection is not None
    assert alice.connection.version() == "TLSv1.3"

    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    # The agreement says nothing of the user.
    assert alice.exchange(alice.secured("INVITE", BOB)).status == 407
    received = call(alice, bob)
    assert received.options("Require") == received.options("Proxy-Require") == []
    assert alice.exchange(alice.secured("REGISTER", HOP, [("Expires", "600")])).status == 200
    # What is for her comes by the same connection.
    message = bob.secured("MESSAGE", ALICE, body=b"hello")
    bob.send(message)
    alice.answer(alice.next_request())
    assert bob.final(message).status == 200
    assert (alice.violations, bob.violations) == ([], [])
    first_hop.kamailio.rpc("ul.rm", "location", "alice")


@pytest.mark.parametrize(("offers", "mechanism"), [("digest", "digest"), ("digest, tls", "tls")])
def test_edge_tls_server_initiated_call(
    first_hop: AgreementWorld, bob: AgreeingUe, offers: str, mechanism: str
) -> None:
    """R3329-2.3.2-d, -f, R3329-2.3.1-j: the second flow of section 4, by what the client knows."""
    with first_hop.tls_ue(offers=offers) as ue:
        first = ue.exchange(ue.build("INVITE", BOB))
        assert (first.status, first.rows("Security-Server")) == (421, [BOTH])
        assert parse_digest(first.one("Proxy-Authenticate"))["qop"] == "auth"
        assert ue.agreement.mechanism == mechanism

        call(ue, bob)
        assert (ue.violations, bob.violations) == ([], [])


def test_edge_tls_the_agreement_ends_with_the_connection(
    first_hop: AgreementWorld, alice: TlsUe
) -> None:
    """R3329-2.5, TLS-2: then a new one is needed; what was agreed is of no use in clear."""
    alice.agree()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    old = alice.secured("OPTIONS", HOP)
    alice.disconnect()
    alice.agreement = security_ended(alice.agreement)

    alice.send(old.with_rows("Via", alice.build("OPTIONS", HOP).one("Via")))
    answer = alice.receive()
    assert isinstance(answer, Response)
    assert answer.status == 494
    alice.agree()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200


def test_edge_tls_the_end_of_the_association_ends_the_connection(
    first_hop: AgreementWorld, alice: TlsUe
) -> None:
    """Design 9: the kernel ends it, or the hook where the kernel cannot: both are told apart."""
    alice.agree("REGISTER")
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    flow = {"peerAddress": alice.local[0], "peerPort": alice.local[1]}
    flow |= {"localAddress": EDGE, "localPort": TLS_PORT}
    registration = {"privateIdentity": f"alice@{DOMAIN}", "publicIdentities": []}
    bound = first_hop.daemon.call(
        "Attach", endpoint="access", registration=registration, flow=flow
    )
    assert bound["association"]["tls"]["version"] == "TLSv1.3"  # the one that the hook has made
    able = first_hop.daemon.status()["endsConnections"]
    assert bound["closesConnection"] is able
    first_hop.daemon.call("Release", id=bound["association"]["id"])

    assert alice.connection is not None
    alice.connection.settimeout(PATIENCE)
    with pytest.raises(OSError):
        assert alice.connection.recv(1) == b""
        raise ConnectionResetError
    wait_until(lambda: not first_hop.kamailio.table("sad_tls"), "it is forgotten")


# --- who is not let in ---------------------------------------------------------------------------


def test_edge_tls_claimed_in_clear(first_hop: AgreementWorld, bob: AgreeingUe) -> None:
    """R3329-2.3.2-c: Security-Verify protects nothing by itself, nor do credentials beside it."""
    demands = [("Require", "sec-agree"), ("Proxy-Require", "sec-agree"), ("Security-Verify", BOTH)]
    with first_hop.ue("alice") as ue:
        claimed = ue.exchange(ue.build("MESSAGE", BOB, demands, body=b"hello"))
        assert (claimed.status, claimed.rows("Security-Server")) == (494, [BOTH])
        ue.agree()
        request = ue.secured("MESSAGE", BOB, body=b"hello").with_rows("Security-Verify", BOTH)
        assert ue.exchange(request).status == 494
    assert bob.silence(0.1)


def test_edge_tls_without_the_agreement(
    first_hop: AgreementWorld, alice: TlsUe, bob: AgreeingUe
) -> None:
    """R3329-2.3.2-d, R3329-2.3.1-o: a connection alone, or another list over it, is not enough."""
    alice.agree()
    right = alice.secured("MESSAGE", BOB, body=b"hello")
    for changed, status in (
        (right.without("Require", "Proxy-Require", "Security-Verify"), 421),
        (right.without("Security-Verify"), 494),
        (right.with_rows("Security-Verify", LIST), 494),
        (right.with_rows("Security-Verify", BOTH.replace("0.3", "0.1")), 494),
        (right.with_rows("Security-Verify", f"{BOTH}, ipsec-ike;q=0.1"), 494),
    ):
        request = changed.with_rows("Via", alice.build("OPTIONS", HOP).one("Via"))
        alice.send(request)
        answer = alice.final(request)
        assert (answer.status, answer.rows("Security-Server")) == (status, [BOTH])
    assert bob.silence(0.1)


def test_edge_tls_does_not_say_who_the_user_is(
    first_hop: AgreementWorld, alice: TlsUe, bob: AgreeingUe
) -> None:
    """R3329-2.4-tls-a: it protects the hop; users show themselves by digest, each for himself."""
    alice.agree("REGISTER")
    assert alice.exchange(alice.secured("REGISTER", HOP)).status == 401
    stranger = alice.build("MESSAGE", BOB, body=b"hello")
    stranger = stranger.with_rows("From", f"<{BOB}>;tag=1")
    assert alice.exchange(alice.with_proof(stranger)).status == 407
    elsewhere = alice.secured("MESSAGE", HOP, body=b"hello")
    moved = Request(elsewhere.headers, elsewhere.body, "MESSAGE", BOB)
    assert alice.exchange(moved).status == 407
    in_vain = alice.build("ACK", BOB).with_rows("Route", f"<sip:{bob.hostport};lr>")
    alice.send(in_vain)
    with first_hop.tls_ue(password="guessed") as mallory:
        mallory.agree()
        assert [mallory.exchange(mallory.secured("INVITE", BOB)).status for _ in "12"] == [407] * 2
    assert bob.silence(0.1)


def test_edge_tls_1_1_is_not_negotiated(first_hop: AgreementWorld) -> None:
    """UPD-8996: openssl s_client, which would; 1.2 shows that all else is right."""

    def connect(version: str) -> subprocess.CompletedProcess[str]:
        command = ["openssl", "s_client", "-connect", f"{EDGE}:{TLS_PORT}", version]
        command += ["-cipher", "ALL:@SECLEVEL=0"]
        with first_hop.phones.popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            words, _ = process.communicate(timeout=PATIENCE)
        return subprocess.CompletedProcess(command, process.returncode, words)

    refused = connect("-tls1_1")
    assert refused.returncode != 0
    assert "tlsv1 alert protocol version" in refused.stdout  # the first hop's word, not openssl's
    served = connect("-tls1_2")
    assert served.returncode == 0
    assert "New, TLSv1.2, Cipher is ECDHE" in served.stdout


# --- who poses as the first hop ------------------------------------------------------------------


def _of_another(_: Authority) -> Issued:
    return Authority("Somebody else").issue(f"URI:sip:{DOMAIN}", f"DNS:{DOMAIN}")


def _over(ours: Authority) -> Issued:
    return ours.issue(f"URI:sip:{DOMAIN}", ends_in=-dt.timedelta(minutes=1))


def _another_name(ours: Authority) -> Issued:
    return ours.issue("URI:sip:example.net", "DNS:*.org")


@pytest.mark.parametrize(
    ("issue", "reason"),
    [
        (_of_another, "unable to get local issuer certificate"),
        (_over, "certificate has expired"),
        (_another_name, "the certificate names '*.org, example.net', not 'example.org'"),
    ],
)
def test_edge_tls_a_certificate_that_is_not_valid(
    first_hop: AgreementWorld, tmp_path: Path, issue: Callable[[Authority], Issued], reason: str
) -> None:
    """TLS-1, R3329-2.3.1-k: the client says nothing there, gives up, and takes no lesser one."""
    files = issue(first_hop.authority).write(tmp_path)
    with (
        impostor(first_hop.phones, MEDDLER, files) as (port, heard),
        first_hop.tls_ue(at=(MEDDLER, port)) as ue,
    ):
        ue.agree()
        assert (event_of(ue), ue.connection) == (ClientEvent.START_FAILED, None)
        assert ue.agreement.state is ClientState.FAILED
        assert ue.agreement.outcome is not None
        assert reason in ue.agreement.outcome.text
        assert ue.build("OPTIONS", HOP).rows("Security-Verify") == []
    assert heard == []


# --- who changes what passes before TLS stands ---------------------------------------------------


@pytest.fixture
def victim(first_hop: AgreementWorld) -> Iterator[TlsUe]:
    """Give alice's phone; a man in the middle has its UDP, its TLS he can only let pass."""
    with first_hop.tls_ue(server=(MEDDLER, SERVER[1])) as ue:
        yield ue


@pytest.fixture
def meddler(first_hop: AgreementWorld, victim: TlsUe) -> Iterator[Meddler]:
    with Meddler(first_hop.phones, MEDDLER, SERVER, victim.local) as one:
        yield one


def ask_without_tls(request: Request) -> Request:
    return request.with_rows("Security-Client", "digest")


def told(text: str) -> Callable[[Response], Response]:
    """Change the list in the first answer."""
    return lambda response: response.with_rows("Security-Server", text)


def test_edge_tls_attack_tls_struck_from_the_question(
    victim: TlsUe, meddler: Meddler, bob: AgreeingUe
) -> None:
    """R3329-2.3.1-g, R3329-5-c (3): the list does not follow the question, so tls it is."""
    meddler.on_request = ask_without_tls
    first = victim.agree()

    assert first.rows("Security-Server") == [BOTH]
    assert first.rows("Proxy-Authenticate")  # the first hop foresaw another choice: no harm
    assert victim.agreement.mechanism == "tls"
    call(victim, bob)


def test_edge_tls_attack_tls_struck_from_the_answer(victim: TlsUe, meddler: Meddler) -> None:
    """R3329-2.3.1-k: digest comes without a challenge then, and the client gives up."""
    meddler.on_response = told(LIST)
    victim.agree()

    assert event_of(victim) is ClientEvent.INCOMPLETE


@pytest.mark.parametrize("text", [LIST, BOTH.replace("0.3", "0.1")])
@pytest.mark.parametrize("back", [False, True])
def test_edge_tls_attack_bid_down_to_digest(
    victim: TlsUe, meddler: Meddler, bob: AgreeingUe, text: str, *, back: bool
) -> None:
    """R3329-5-c (1), (3), R3329-2.2-i: tls struck from both lists, or put last: 494.

    So it is where he puts the right list ``back`` into Security-Verify: d-ver tells on him.
    """
    meddler.on_request = ask_without_tls
    meddler.on_response = told(text)
    victim.agree()
    assert victim.agreement.mechanism == "digest"

    def restore(request: Request) -> Request:
        row = request.one("Security-Verify")
        d_ver = row[row.index(";d-ver=") :]
        return request.with_rows("Security-Verify", BOTH + d_ver)

    meddler.on_request = restore if back else lambda request: request
    meddler.on_response = lambda response: response
    answer = victim.exchange(victim.secured("MESSAGE", BOB, body=b"hello"))
    assert (answer.status, answer.rows("Security-Server")) == (494, [BOTH])
    assert event_of(victim) is ClientEvent.VERIFY_REFUSED
    assert bob.silence(0.1)


@pytest.mark.parametrize("text", ["tls;q=0.3", f"{BOTH}, ipsec-ike;q=0.1", f"{BOTH};x=1"])
def test_edge_tls_attack_the_list_changed_and_tls_left(
    victim: TlsUe, meddler: Meddler, bob: AgreeingUe, text: str
) -> None:
    """R3329-5-c (1), (2): what the client got comes back over TLS, where nobody mends it."""
    meddler.on_response = told(text)
    victim.agree()
    assert victim.agreement.mechanism == "tls"

    assert victim.exchange(victim.secured("MESSAGE", BOB, body=b"hello")).status == 494
    assert victim.agreement.state is ClientState.FAILED
    assert event_of(victim) is ClientEvent.VERIFY_REFUSED
    assert bob.silence(0.1)
