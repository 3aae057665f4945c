"""Profile rfc3329 on real Kamailio: the flows of RFC 3329 section 4, and who is not let in."""

import os
import signal
import socket

import pytest

from sip_hooks.secagree.transitions import ClientEvent
from tests.edge.agreeing_ue import AgreeingUe
from tests.edge.agreement_world import (
    DOMAIN,
    EDGE6,
    LIST,
    PHONES6,
    SERVER,
    AgreementWorld,
)
from tests.edge.sipp import KINDS, run_kinds
from tests.support.daemon import PATIENCE, wait_until
from tests.ue.dialog import Dialog
from tests.ue.headers import parse_digest
from tests.ue.sip import Request, Response, StreamFramer, parse

HOP, BOB = f"sip:{DOMAIN}", f"sip:bob@{DOMAIN}"


def test_edge_rfc3329_client_initiated_call(
    first_hop: AgreementWorld, alice: AgreeingUe, bob: AgreeingUe
) -> None:
    """R3329-2.3.1-e to -p, first flow of section 4 with digest in place of tls.

    OPTIONS, 494 with list and challenge, INVITE with Security-Verify, which goes on without a
    trace of the agreement; the ACK may carry Security-Verify (GAP-2) and is stripped too.
    """
    first = alice.agree("OPTIONS")
    assert (first.status, first.reason) == (494, "Security Agreement Required")
    assert first.rows("Security-Server") == [LIST]
    assert first.options("Require") == ["sec-agree"]
    assert parse_digest(first.one("Proxy-Authenticate"))["realm"] == DOMAIN

    tags = [("Require", "Sec-Agree , x-other"), ("Proxy-Require", "sec-agree")]
    tags.append(("Security-Server", "tls"))  # of no request (R3329-2.6-a)
    invite = alice.secured("INVITE", BOB, [("Supported", "100rel, sec-agree")])
    # Other option tags survive, in any case and over several rows.
    invite = invite.without("Require", "Proxy-Require")
    invite = Request((*invite.headers, *tags), b"", "INVITE", BOB)
    alice.send(invite)
    received = bob.next_request()
    assert received.rows("Require") == ["x-other"]
    assert received.rows("Proxy-Require") == []
    assert received.options("Supported") == ["100rel", "sec-agree"]
    bob.answer(received)
    accepted = alice.final(invite)
    assert accepted.status == 200

    dialog = Dialog.of_caller(invite, accepted)
    ack = alice.in_dialog(dialog, "ACK", invite.cseq.number)
    assert ack.rows("Security-Verify")
    alice.send(ack)
    assert bob.next_request().method == "ACK"
    bye = alice.in_dialog(dialog, "BYE", invite.cseq.number + 1)
    alice.send(bye)
    bob.answer(bob.next_request())
    assert alice.final(bye).status == 200
    assert (alice.violations, bob.violations) == ([], [])


def test_edge_rfc3329_server_initiated_call(
    first_hop: AgreementWorld, alice: AgreeingUe, bob: AgreeingUe
) -> None:
    """R3329-2.3.2-d, -f, second flow of section 4: INVITE, 421, ACK, INVITE, and no OPTIONS."""
    first = alice.exchange(alice.build("INVITE", BOB))
    assert (first.status, first.reason) == (421, "Extension Required")

    again = alice.secured("INVITE", BOB)
    alice.send(again)
    received = bob.next_request()
    answer = bob.answer(received)
    assert alice.final(again).status == 200
    # Who was called has an agreement of his own, and says so in each request (R3329-2.3.1-l).
    bye = bob.in_dialog(Dialog.of_callee(received, answer.to.tag or ""), "BYE", 1)
    bob.send(bye)
    alice.answer(alice.next_request())
    assert bob.final(bye).status == 200
    assert (alice.violations, bob.violations) == ([], [])


def test_edge_rfc3329_ack_and_cancel(
    first_hop: AgreementWorld, alice: AgreeingUe, bob: AgreeingUe
) -> None:
    """GAP-2, R3261-9.1-a: of a call that was let pass they pass, others are never answered."""
    for method in ("ACK", "CANCEL"):
        alice.send(alice.build(method, BOB, [("Require", "sec-agree")]))
    assert alice.silence(0.3)

    alice.agree("INVITE")
    invite = alice.secured("INVITE", BOB)
    alice.send(invite)
    ringing = bob.next_request()
    bob.answer(ringing, 180)
    cancel = invite.without("Require", "Proxy-Require", "Security-Verify", "Proxy-Authorization")
    rows = cancel.with_rows("CSeq", f"{invite.cseq.number} CANCEL").without("Contact").headers
    alice.send(Request(rows, b"", "CANCEL", BOB))
    assert bob.next_request().method == "CANCEL"
    bob.answer(ringing, 487)
    answers = {(r.cseq.method, r.status) for r in _finals(alice, 2)}
    assert answers == {("CANCEL", 200), ("INVITE", 487)}


def _finals(ue: AgreeingUe, count: int) -> list[Response]:
    found: list[Response] = []
    while len(found) < count:
        message = ue.receive()
        if isinstance(message, Response) and message.status >= 200:
            found.append(message)
    return found


def test_edge_rfc3329_who_is_not_proven_is_not_served(
    first_hop: AgreementWorld, alice: AgreeingUe, bob: AgreeingUe
) -> None:
    """R3329-2.3.2-c, R3329-2.2-h: a wrong password, another qop, another user: 494, always."""
    with first_hop.ue("alice", password="guessed") as mallory:
        mallory.agree()
        assert mallory.exchange(mallory.secured("MESSAGE", BOB, body=b"hi")).status == 494
    alice.agree()
    lesser = alice.secured("MESSAGE", BOB, body=b"hi")
    (proof,) = lesser.rows("Proxy-Authorization")
    for changed in (
        proof.replace("qop=auth", "qop=auth-int"),
        ",".join(p for p in proof.split(",") if not p.strip().startswith(("qop", "nc", "cnonce"))),
        proof.replace("algorithm=MD5", "algorithm=MD5-sess"),
        proof.replace('"alice"', '"bob"'),
    ):
        request = lesser.with_rows("Proxy-Authorization", changed)
        request = request.with_rows("Via", lesser.one("Via") + "x")
        alice.send(request)
        assert alice.final(request).status == 494
    stranger = alice.build("MESSAGE", BOB, body=b"hi").with_rows(
        "From", f"<sip:bob@{DOMAIN}>;tag=1"
    )
    alice.agree()
    assert alice.exchange(alice.with_proof(stranger)).status == 494
    assert bob.silence(0.3)


@pytest.mark.parametrize("user", ["alice", "bob"])
def test_edge_rfc3329_one_header_says_who_it_is(
    first_hop: AgreementWorld, alice: AgreeingUe, bob: AgreeingUe, user: str
) -> None:
    """RFC 3261 22.1: a password looked up for one header must not prove the name in the other.

    ``$au`` is of Proxy-Authorization, a REGISTER is checked by Authorization.
    """
    alice.agree("REGISTER")
    aor = f"sip:{user}@{DOMAIN}"
    request = alice.build("REGISTER", HOP, [("Expires", "600")], to=aor)
    request = alice.with_proof(request.with_rows("From", f"<{aor}>;tag=1"))
    own = request.one("Authorization")
    named = own.replace('"alice"', f'"{user}"')
    request = request.with_rows("Authorization", named).prepend("Proxy-Authorization", own)

    assert alice.exchange(request).status == 494


def test_edge_rfc3329_every_method_alike(first_hop: AgreementWorld, alice: AgreeingUe) -> None:
    """R3329-2.3.2-c, R3329-2.6-c: whatever can be answered is, in a dialog and outside."""
    methods = (
        "BYE INFO INVITE MESSAGE NOTIFY OPTIONS PRACK PUBLISH REFER REGISTER SUBSCRIBE UPDATE"
    )
    for method in methods.split():
        for tag in ("", ";tag=of-a-dialog"):
            request = alice.build(method, BOB)
            request = request.with_rows("To", request.one("To") + tag)
            assert alice.exchange(request).status == 421, request.start_line
    assert alice.violations == []


def test_edge_rfc3329_over_ipv6(first_hop: AgreementWorld, alice: AgreeingUe) -> None:
    """R3329-2.3.1-p: the same between two IP versions, for a call to a phone at the other one."""
    alice.agree()
    with first_hop.ue("bob", address=PHONES6, server=(EDGE6, 5060)) as bob:
        bob.register()
        request = alice.secured("MESSAGE", BOB, body=b"hello")
        alice.send(request)
        bob.answer(bob.next_request())
        assert alice.final(request).status == 200
        assert (alice.violations, bob.violations) == ([], [])
    first_hop.kamailio.rpc("ul.rm", "location", "bob")


def test_edge_rfc3329_over_tcp(first_hop: AgreementWorld, alice: AgreeingUe) -> None:
    """R3329-2.3.2-c: the agreement is the interface's, whatever the transport."""
    with first_hop.phones.enter():
        connection = socket.create_connection(SERVER, PATIENCE)
    with connection:

        def exchange(request: Request) -> Response:
            via = request.one("Via").replace("/UDP", "/TCP")
            connection.sendall(request.with_rows("Via", via).encode())
            while not (messages := framer.feed(connection.recv(65535))):
                pass
            answer = parse(messages[0], stream=True)
            assert isinstance(answer, Response)
            return answer

        framer = StreamFramer()
        assert exchange(alice.build("OPTIONS", HOP)).status == 421
        alice.agree()  # over UDP: the nonce is good here, too
        assert exchange(alice.secured("OPTIONS", HOP)).status == 200


def test_edge_rfc3329_a_foreign_client_at_200_calls_a_second(
    first_hop: AgreementWorld, alice: AgreeingUe
) -> None:
    """R3329-2.3.2-b to -g, R3329-2.2-d: SIPp, no wrong answer to any kind of client.

    R3329-2.5: an agreement by digest, meanwhile, ends when its nonce is too old: a new challenge.
    """
    alice.agree()
    print(run_kinds(first_hop.phones, KINDS, rate=200, seconds=2))
    while (answer := alice.exchange(alice.secured("OPTIONS", HOP))).status == 200:
        pass
    assert answer.status == 494
    assert parse_digest(answer.one("Proxy-Authenticate"))["stale"].lower() == "true"
    assert alice.agreement.outcome is not None
    assert alice.agreement.outcome.event is ClientEvent.SECURITY_ENDED
    alice.agree()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200


def test_edge_rfc3329_policy_and_an_absent_daemon(
    first_hop: AgreementWorld, alice: AgreeingUe
) -> None:
    """R3329-3-a, R3329-2.1-d, design section 3: the list holds while the daemon is away.

    It comes back with an optional agreement and another q, and Kamailio hears of it: who asks
    for nothing is served, who demands the agreement gets the new list.
    """
    alice.agree()
    first_hop.daemon.kill()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200

    new = "digest;q=0.7;d-qop=auth"
    first_hop.set_policy(security="optional", mechanisms=new)
    first_hop.daemon.start()
    try:
        wait_until(
            lambda: all(_plain(alice).status == 200 for _ in range(16)), "the policy is optional"
        )
        supporting = alice.build("OPTIONS", HOP, [("Supported", "sec-agree")])
        alice.send(supporting)
        assert alice.final(supporting).status == 200
        # R3329-2.3.1-o: who agreed on the list of before is told the new one.
        old = alice.exchange(alice.secured("OPTIONS", HOP))
        assert (old.status, old.rows("Security-Server")) == (494, [new])
        with first_hop.ue("alice") as ue:
            assert ue.agree().rows("Security-Server") == [new]
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        _assert_only_the_proven_act(first_hop, alice)
        # What Kamailio cannot check is not put up with, nor is the list of before gone on with.
        first_hop.set_policy(mechanisms="digest;d-qop=auth-int")
        os.kill(first_hop.daemon.pid, signal.SIGHUP)
        wait_until(lambda: all(_plain(alice).status == 503 for _ in range(16)), "all is refused")
        assert "Kamailio checks digest with d-qop=auth only" in first_hop.kamailio.words()
    finally:
        first_hop.set_policy()
        os.kill(first_hop.daemon.pid, signal.SIGHUP)
    wait_until(
        lambda: all(_plain(alice).status == 421 for _ in range(16)), "the agreement is required"
    )


def _assert_only_the_proven_act(first_hop: AgreementWorld, alice: AgreeingUe) -> None:
    """R3329-3-a: whoever needs no agreement needs a password all the same, as everywhere.

    R3329-2.6-a, RFC 3261 22.3: what was for this hop does not go on, asked for or not.
    """
    register = alice.build("REGISTER", HOP, [("Expires", "600")], to=BOB)
    register = register.with_rows("From", f"<{BOB}>;tag=1")
    assert alice.exchange(register).status == 401
    assert alice.exchange(alice.build("MESSAGE", BOB, body=b"hello")).status == 407
    with first_hop.ue("bob") as bob:
        bob.register()
        alice.agree()
        request = alice.secured("MESSAGE", BOB, [("Security-Client", "tls")], body=b"hello")
        request = request.without("Security-Verify", "Require", "Proxy-Require")
        alice.send(request)
        bob.answer(bob.next_request())
        assert alice.final(request).status == 200
        assert bob.violations == []
    first_hop.kamailio.rpc("ul.rm", "location", "bob")


def _plain(ue: AgreeingUe) -> Response:
    request = ue.build("OPTIONS", HOP)
    ue.send(request)
    return ue.final(request)


def test_edge_rfc3329_no_secret_is_told(first_hop: AgreementWorld, alice: AgreeingUe) -> None:
    """Neither log has what a password could be guessed from."""
    alice.agree()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    words = first_hop.kamailio.words() + first_hop.daemon.words()
    assert alice.ha1 not in words
    assert "Digest username" not in words
