"""Profile rfc3329 with ipsec-man on real Kamailio: agreement, registration, who is not let in."""

import os
import signal
from collections.abc import Iterator

import pytest

from tests.edge.man_hop import DOMAIN, EDGE, LIST, PORT, ManHop, man_hop
from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.sniffer import Sniffer
from tests.ue.sip import Request

pytestmark = pytest.mark.kernel

HOP = f"sip:{DOMAIN}"


@pytest.fixture(scope="module")
def hop() -> Iterator[ManHop]:
    with man_hop() as built:
        yield built


def test_edge_man_the_sas_stand_before_the_list_is_told(hop: ManHop) -> None:
    """R3329-2.4-man-a, R3329-2.4-ipsec-b, R3329-2.3.1-m to -p, RFC 3329 2.5.

    494 with the static list; what follows goes in ESP with Security-Verify, and is let pass
    without a trace of the agreement. The registration is granted, and its end ends the SAs.
    """
    assert eye.states(hop.edge) == []
    with hop.edge.enter():
        sniffer = Sniffer(hop.cable)
    with sniffer, hop.ue() as ue:
        first = ue.agree("OPTIONS")
        assert (first.status, first.rows("Security-Server")) == (494, [LIST])
        assert {s.replay_window for s in eye.states(hop.edge)} == {0}
        (offered,) = hop.edge_daemon.associations()
        assert (offered["state"], offered["secondsLeft"] <= 240) == ("temporary", True)

        assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        (proven,) = hop.edge_daemon.associations()
        assert proven["id"] == offered["id"]
        assert (proven["state"] != "temporary", proven["secondsLeft"] > 500) == (True, True)
        assert len(sniffer.esp()) >= 2
        assert sniffer.clear_on({PORT}) == []

        answer = ue.exchange(ue.secured("REGISTER", HOP, [("Expires", "300")]))
        assert answer.status == 200, answer
        wrong = ue.secured("OPTIONS", HOP)
        wrong = wrong.without("Security-Verify").prepend("Security-Verify", "digest;d-qop=auth")
        refused = ue.exchange(wrong)
        assert (refused.status, refused.rows("Security-Server")) == (494, [LIST])

    with hop.ue() as ue:
        ue.agree("OPTIONS")  # the SAs stand: the same answer
        (again,) = hop.edge_daemon.associations()
        assert again["id"] == proven["id"]
        assert ue.exchange(ue.secured("REGISTER", HOP, [("Expires", "0")])).status == 200
    wait_until(lambda: _state(hop) == "retiring", "its registration has ended")  # after its 200
    (leaving,) = hop.edge_daemon.associations()
    assert leaving["secondsLeft"] <= 32
    hop.edge_daemon.call("Release", id=leaving["id"])  # nobody waits for its linger here
    assert eye.states(hop.edge) == []


def _state(hop: ManHop) -> str:
    (association,) = hop.edge_daemon.associations()
    return str(association["state"])


def test_edge_man_who_has_no_key_set_is_told_the_list_and_gets_no_sas(hop: ManHop) -> None:
    """R3329-2.3.1-f, -g: the list is the same for everybody; the reason is in the log."""
    with hop.ue("mallory") as ue:
        first = ue.exchange(ue.first("OPTIONS"))

    assert (first.status, first.rows("Security-Server")) == (494, [LIST])
    assert hop.edge_daemon.associations() == []
    assert "this peer has no key set" in hop.kamailio.log.read_text(errors="replace")


def test_edge_man_clear_text_on_the_protected_port_reaches_nobody(hop: ManHop) -> None:
    """IPS-8, R3329-5-c: who claims the list in clear gets it again; on 5064 he is not heard."""
    with hop.ue() as ue:
        verify = [("Security-Verify", LIST), ("Require", "sec-agree")]
        verify.append(("Proxy-Require", "sec-agree"))
        claimed = ue.build("OPTIONS", HOP, verify)
        ue.send(claimed)
        assert ue.final(claimed).status == 494
        ue.server = (EDGE, PORT)
        again: Request = ue.build("OPTIONS", HOP, verify)
        try:
            ue.send(again)
        except PermissionError:
            return  # the peer's own kernel holds it back
        assert ue.silence(1.0)


def test_edge_man_while_sad_is_away_a_known_peer_is_served(hop: ManHop) -> None:
    """Design 1: a restart of the daemon stops no call; the SAs are in the kernel."""
    with hop.ue() as ue:
        ue.agree("OPTIONS")
        for _ in range(8):  # each worker has heard of the flow
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        os.kill(hop.edge_daemon.pid, signal.SIGSTOP)
        try:
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        finally:
            os.kill(hop.edge_daemon.pid, signal.SIGCONT)
        hop.edge_daemon.kill()
        assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        hop.edge_daemon.start()
        assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
