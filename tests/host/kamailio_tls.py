"""TLS connections of a real Kamailio and their associations, on this machine's own kernel.

Profile rfc3329: Kamailio as registrar and first hop, with its hook; the daemon ends connections.
"""

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sip_hooks.secagree.digest import hash_a1
from tests.edge.agreement_world import (
    DOMAIN,
    EDGE,
    LIST,
    PHONES,
    TLS_PORT,
    AgreementWorld,
    agreement_world,
    association_of,
)
from tests.edge.certificates import Files
from tests.edge.tls_ue import TlsUe
from tests.host.endings import ENDED_WITHIN, Ended
from tests.support.daemon import wait_until

BOTH = f"tls;q=0.3, {LIST}"
HOP, ALICE, BOB = f"sip:{DOMAIN}", f"sip:alice@{DOMAIN}", f"sip:bob@{DOMAIN}"
CLIENT = "sip:alice-phone.example.org"

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(scope="module")
def first_hop() -> Iterator[AgreementWorld]:
    with agreement_world(mechanisms=BOTH) as world:
        # So that a test may wait for the end of a registration.
        short = "[lifetimes]\nregistration_margin_seconds = 0\n[[endpoint]]"
        world.daemon.reload(world.daemon.config.read_text().replace("[[endpoint]]", short))
        yield world


@pytest.fixture
def shown(first_hop: AgreementWorld, tmp_path: Path) -> Files:
    return first_hop.authority.issue(f"URI:{CLIENT}", of_client=True).write(tmp_path, "client-")


@pytest.fixture
def alice(first_hop: AgreementWorld, shown: Files) -> Iterator[TlsUe]:
    with first_hop.tls_ue(shows=shown) as ue:
        yield ue
    wait_until(lambda: not first_hop.daemon.associations(), "everything has ended")
    first_hop.kamailio.rpc("htable.flush", "sad_tls")


def registered_of(world: AgreementWorld, ue: TlsUe) -> dict[str, Any]:
    """Wait until the daemon has heard of the registration over a phone's connection."""
    wait_until(lambda: association_of(world, ue)["confirmedAt"], "it is confirmed")
    return association_of(world, ue)


def register(ue: TlsUe, expires: int = 600) -> None:
    answer = ue.exchange(ue.secured("REGISTER", HOP, [("Expires", str(expires))]))
    if answer.status == 401:
        answer = ue.exchange(ue.secured("REGISTER", HOP, [("Expires", str(expires))]))
    assert answer.status == 200


def test_a_registration_with_a_client_certificate(
    first_hop: AgreementWorld, alice: TlsUe, shown: Files
) -> None:
    """R3329-2.4-tls-a, TLS-1: bound at the first request, with whom the certificate names."""
    alice.agree("REGISTER")
    assert not first_hop.daemon.associations()
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    bound = association_of(first_hop, alice)
    assert (bound["mechanism"], bound["state"], bound["confirmedAt"]) == ("tls", "established", 0)
    tls = bound["tls"]
    assert (tls["peerAddress"], tls["localAddress"], tls["localPort"]) == (PHONES, EDGE, TLS_PORT)
    assert (tls["identity"], tls["version"]) == (CLIENT, "TLSv1.3")
    assert tls["cipher"]

    register(alice)
    registered = registered_of(first_hop, alice)
    assert registered["id"] == bound["id"]
    assert 500 < registered["secondsLeft"] <= 600
    assert registered["registration"]["privateIdentity"] == f"alice@{DOMAIN}"
    words = first_hop.daemon.words() + first_hop.kamailio.words() + str(registered)
    body = shown.key.read_text().splitlines()[1]
    assert "PRIVATE KEY" not in words
    assert body not in words


def test_expiry_ends_this_connection_and_no_other(first_hop: AgreementWorld, alice: TlsUe) -> None:
    """Design 9, T33-O.4: the registration is over, and so is what it came by."""
    ended = Ended(first_hop.daemon)
    with contextlib.ExitStack() as stack:
        others = [stack.enter_context(first_hop.tls_ue("bob")) for _ in range(3)]
        for ue in (alice, *others):
            ue.agree("REGISTER")
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
        mine = association_of(first_hop, alice)["id"]
        first_hop.daemon.call("Confirm", id=mine, expiresSeconds=1)
        _, reason = ended.wait_for(mine)
        assert reason == "expired"
        assert alice.connection is not None
        with pytest.raises(OSError):
            assert not alice.connection.recv(1)
            raise ConnectionResetError
        for ue in others:
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
    wait_until(lambda: not first_hop.kamailio.table("sad_tls"), "it is forgotten")


def test_the_phones_own_close_ends_the_association(
    first_hop: AgreementWorld, shown: Files
) -> None:
    """R3329-2.5, T33-O.4: within 100 ms; a new connection needs a new association."""
    ended = Ended(first_hop.daemon)
    spans = []
    for _ in range(5):
        with first_hop.tls_ue(shows=shown) as ue:
            ue.agree("REGISTER")
            assert ue.exchange(ue.secured("OPTIONS", HOP)).status == 200
            mine = association_of(first_hop, ue)["id"]
            assert ue.connection is not None
            closed_at = time.monotonic()
            ue.connection.close()
            at, reason = ended.wait_for(mine)
            assert reason == "connectionClosed"
            spans.append(at - closed_at)
    assert sorted(spans)[2] < ENDED_WITHIN


def test_a_deregistration_ends_the_connection(first_hop: AgreementWorld, alice: TlsUe) -> None:
    """T24-D-1: the 200 still comes, then it is closed."""
    alice.agree("REGISTER")
    register(alice)
    mine = registered_of(first_hop, alice)["id"]
    ended = Ended(first_hop.daemon)
    register(alice, 0)
    wait_until(lambda: association_of(first_hop, alice)["state"] == "retiring", "it is released")
    first_hop.daemon.call("Release", id=mine)
    assert ended.wait_for(mine)[1] == "released"


def test_one_connection_serves_one_user(first_hop: AgreementWorld, alice: TlsUe) -> None:
    """T24-P-4: another one's registration over it is refused; the first one's goes on."""
    alice.agree("REGISTER")
    register(alice)
    registered_of(first_hop, alice)
    alice.user, alice.ha1 = "bob", hash_a1("bob", DOMAIN, "secret")
    answer = alice.exchange(alice.secured("REGISTER", HOP, [("Expires", "600")]))
    answer = alice.exchange(alice.secured("REGISTER", HOP, [("Expires", "600")]))
    assert answer.status == 403
    alice.user = "alice"
    assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
    assert association_of(first_hop, alice)["registration"]["privateIdentity"] == f"alice@{DOMAIN}"


def test_calls_go_on_while_the_daemon_is_away(first_hop: AgreementWorld, alice: TlsUe) -> None:
    """What is known of a connection asks nobody; a new one is refused until the daemon is back."""
    alice.agree("REGISTER")
    register(alice)
    registered_of(first_hop, alice)
    first_hop.daemon.kill()
    first_hop.daemon.client.close()
    try:
        assert alice.exchange(alice.secured("OPTIONS", HOP)).status == 200
        with first_hop.tls_ue("bob") as bob:
            bob.agree("REGISTER")
            assert bob.exchange(bob.secured("OPTIONS", HOP)).status == 503
    finally:
        first_hop.daemon.start()
    assert association_of(first_hop, alice)["confirmedAt"] > 0
