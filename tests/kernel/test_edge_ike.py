"""Mechanism ipsec-ike on real Kamailio: the second flow of RFC 3329 section 4, and who is not in.

Server-initiated; charon on both sides, real ESP between them::

    alice                           first hop                          bob
      | INVITE (not a word of it)       |                               |
      |-------------------------------->|  Offer: her connection is     |
      | 421, Security-Server:           |  ready before the list leaves |
      |   ipsec-ike;q=0.4, digest;...   |                               |
      |<--------------------------------|                               |
      | ACK                             |                               |
      |-------------------------------->|                               |
      |<== IKE_SA_INIT, IKE_AUTH: transport mode, her port and 5064 ===>|
      | INVITE in ESP, Security-Verify  | INVITE without all of that    |
      |================================>|------------------------------>|
      | 200 in ESP                      | 200                           |
      |<================================|<------------------------------|
      | ACK in ESP, Security-Verify     | ACK                           |
      |================================>|------------------------------>|
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sip_hooks.secagree.transitions import ClientEvent
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.ike_hop import DOMAIN, IkeHop, ike_hop
from tests.ike.edge import LIST, SERVER_PORT, Edge
from tests.support.daemon import wait_until
from tests.support.sniffer import Sniffer
from tests.ue.dialog import Dialog

HOP, BOB = f"sip:{DOMAIN}", f"sip:bob@{DOMAIN}"


@pytest.fixture(scope="module")
def shared_hop(shared_edge: Edge) -> Iterator[IkeHop]:
    """Give the one Kamailio of these tests."""
    folder = Path(tempfile.mkdtemp(prefix="ike-", dir="/run"))
    folder.chmod(0o755)
    with ike_hop(shared_edge, folder) as built:
        yield built
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def hop(shared_hop: IkeHop) -> Iterator[IkeHop]:
    """Give it with nothing left of the tests before."""
    yield shared_hop
    shared_hop.edge.clean()


@pytest.fixture
def bob(hop: IkeHop) -> Iterator[AgreeingUe]:
    with hop.bob() as ue:
        ue.register()
        yield ue
    hop.kamailio.rpc("ul.rm", "location", "bob")


def test_edge_ike_server_initiated_call(hop: IkeHop, bob: AgreeingUe) -> None:
    """R3329-2.3.2-d, -f, R3329-2.4-ike-a, R3329-2.3.1-l to -p: flow 4.2, end to end.

    REGISTER and INVITE in ESP on the wire; on the protected port nothing in clear, before or
    after.
    """
    edge = hop.edge
    with edge.world.edge.namespace.enter():
        sniffer = Sniffer(edge.world.cable.a)
    with sniffer, hop.alice() as alice:
        early = alice.build("INVITE", BOB)
        alice.server = (alice.server[0], SERVER_PORT)
        alice.send(early)
        assert alice.silence(0.3)
        sniffer.forget()
        alice.server = (alice.server[0], 5060)

        first = alice.exchange(alice.build("INVITE", BOB))
        assert (first.status, first.rows("Security-Server")) == (421, [LIST])
        assert alice.agreement.mechanism == "ipsec-ike"
        assert alice.agreement.outcome is not None
        assert alice.agreement.outcome.event is ClientEvent.STARTED

        invite = alice.secured("INVITE", BOB)
        alice.send(invite)
        received = bob.next_request()
        assert received.options("Require") == received.options("Proxy-Require") == []
        bob.answer(received)
        accepted = alice.final(invite)
        assert accepted.status == 200
        dialog = Dialog.of_caller(invite, accepted)
        alice.send(alice.in_dialog(dialog, "ACK", invite.cseq.number))
        assert bob.next_request().method == "ACK"
        bye = alice.in_dialog(dialog, "BYE", invite.cseq.number + 1)
        alice.send(bye)
        bob.answer(bob.next_request())
        assert alice.final(bye).status == 200

        registered = alice.exchange(alice.secured("REGISTER", HOP, [("Expires", "600")]))
        assert registered.status == 200
        wait_until(lambda: edge.daemon.associations()[0]["secondsLeft"] <= 600, "it is granted")
        (association,) = edge.daemon.associations()
        assert association["secondsLeft"] > 500
        changed = alice.secured("MESSAGE", BOB, body=b"hello").without("Security-Verify")
        alice.send(changed)
        assert alice.final(changed).status == 494
        assert len(sniffer.esp()) >= 10
        assert sniffer.clear_on({SERVER_PORT}) == []

        gone = alice.exchange(alice.secured("REGISTER", HOP, [("Expires", "0")]))
        assert gone.status == 200
        edge.wait_state(association["id"], "retiring")
        edge.daemon.call("Release", id=association["id"], lingerSeconds=0)
        wait_until(lambda: edge.esp() == 0, "its SAs have gone")
        late = alice.secured("INVITE", BOB)
        alice.send(late)
        assert alice.silence(0.3)
        assert (alice.violations, bob.violations) == ([], [])
    assert bob.silence(0.1)


def test_edge_ike_claimed_in_clear(hop: IkeHop, bob: AgreeingUe) -> None:
    """R3329-2.3.2-c: the list in Security-Verify protects nothing by itself."""
    claims = [("Require", "sec-agree"), ("Proxy-Require", "sec-agree"), ("Security-Verify", LIST)]
    with hop.alice() as alice:
        request = alice.build("MESSAGE", BOB, claims, body=b"hello")
        alice.send(request)
        answer = alice.final(request)
    assert (answer.status, answer.rows("Security-Server")) == (494, [LIST])
    assert bob.silence(0.1)


def test_edge_ike_failure_ends_the_agreement_and_the_hook_says_why(hop: IkeHop) -> None:
    """R3329-2.4-ike-a: at the client and here; when it comes again the reason is in the log."""
    with hop.alice(secret=b"of somebody else") as alice:
        alice.agree("OPTIONS")
        assert alice.agreement.outcome is not None
        assert alice.agreement.outcome.event is ClientEvent.START_FAILED
    wait_until(lambda: not hop.edge.daemon.associations(), "it is ended")
    with hop.alice() as alice:
        assert alice.agree("OPTIONS").status == 494
        assert "ipsec-ike: wrong-secret: " in hop.kamailio.log.read_text(errors="replace")
        assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200


def test_edge_ike_others_are_not_served_on_a_peers_sa(hop: IkeHop, bob: AgreeingUe) -> None:
    """The SA says whose it is: who sends for another must show who he is."""
    with hop.alice() as alice:
        alice.agree("OPTIONS")
        stranger = alice.build("MESSAGE", BOB, body=b"hello")
        stranger = alice.with_proof(stranger.with_rows("From", f"<{BOB}>;tag=1"))
        alice.send(stranger)
        assert alice.final(stranger).status == 407
    assert bob.silence(0.1)


def test_edge_ike_away_others_are_served(hop: IkeHop, bob: AgreeingUe) -> None:
    """Its charon is killed: the list is the same, digest goes on, ipsec-ike is refused."""
    hop.edge.world.edge.kill()
    wait_until(lambda: "strongSwan has ended" in str(hop.edge.daemon.status()), "it is noticed")
    with hop.alice() as alice:
        request = alice.build("INVITE", BOB)
        alice.send(request)
        answer = alice.final(request)
        assert (answer.status, answer.rows("Security-Server")) == (421, [LIST])
    assert "strongSwan has ended" in hop.kamailio.log.read_text(errors="replace")
    assert bob.exchange(bob.secured("OPTIONS", HOP)).status == 200
    hop.edge.world.edge.start()
    wait_until(lambda: "answers again" in hop.edge.daemon.words(), "it is back")
