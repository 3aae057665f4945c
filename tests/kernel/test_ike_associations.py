"""Associations of ``ipsec-ike``: the real daemon, strongSwan on both sides, real ESP."""

import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sip_hooks.client import CallError
from tests.edge.certificates import Authority
from tests.ike.connections import EDGE, EDGE_ID, PEER, PEER_ID, SECRET
from tests.ike.edge import PEER_PORT, SERVER_PORT, USER, Edge
from tests.support.daemon import PATIENCE, wait_until

#: What the daemon takes to notice, and a slow machine beside it.
#: What is not waited for happens within this; design 6 wants a second, of an idle machine.
SOON = PATIENCE / 10


@pytest.fixture
def edge(shared_edge: Edge) -> Iterator[Edge]:
    """Give it with nothing left of the tests before."""
    yield shared_edge
    shared_edge.clean()


def exchange(edge: Edge, *, port: int = PEER_PORT) -> bool:
    """Send a datagram from the peer to the protected port; say whether it arrived."""
    with (
        edge.world.edge.namespace.enter(),
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server,
    ):
        server.bind((EDGE, SERVER_PORT))
        server.settimeout(0.5)
        with edge.world.peer.namespace.enter():
            client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        with client:
            client.bind((PEER, port))
            client.sendto(b"hello", (EDGE, SERVER_PORT))
            try:
                return server.recv(100) == b"hello"
            except TimeoutError:
                return False


def names(edge: Edge) -> set[str]:
    """Connections and secrets of charon."""
    loaded = {next(iter(c)) for c in edge.world.edge.told("list-conns", "list-conn")}
    secrets = edge.world.edge.ask("get-shared").get("keys", [])
    return loaded | {key.decode() for key in secrets}


# --- life ----------------------------------------------------------------------------------------


def test_ike_association_lives_as_long_as_its_child(edge: Edge) -> None:
    """Child up: established; the peer deletes it: ended, with the reason, in under a second.

    R3329-2.4-ike-a, RFC 3329 2.5. The block policies of the port keep clear text off before and
    after, and do not stand in the way of charon's own.
    """
    assert not exchange(edge)
    offered = edge.offer()
    association = offered["association"]
    assert offered["securityServer"].startswith("ipsec-ike;q=0.4")
    assert (association["mechanism"], association["state"]) == ("ipsec-ike", "temporary")
    assert association["ipsecIke"]["localPorts"] == [SERVER_PORT]
    assert association["ipsecIke"]["peerPorts"] == [PEER_PORT]
    assert association["ipsecIke"]["connection"] in names(edge)
    assert edge.offer()["association"]["id"] == association["id"]
    found = edge.find()
    assert found is not None
    assert found["state"] == "temporary"  # nothing passes on it yet
    assert not exchange(edge)

    edge.peer_loads()
    assert edge.peer_initiates(), edge.world.edge.words()
    assert edge.wait_state(association["id"], "established") < SOON
    assert edge.esp() == 2
    assert edge.templates() == 4
    assert exchange(edge)
    assert not exchange(edge, port=PEER_PORT + 2)  # selectors are exactly the ports
    shown = edge.daemon.sadctl("show", association["id"])
    assert "AES_GCM_16" in shown
    assert "s old" in shown
    assert SECRET.decode() not in shown

    edge.peer_does("terminate")
    assert edge.wait_state(association["id"], "ended") < SOON
    assert "deleted-by-peer: received DELETE for" in edge.daemon.words()
    assert edge.find() is None
    assert not exchange(edge)
    wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
    assert not {n for n in names(edge) if n.startswith("sad-")}
    assert SECRET.decode() not in edge.daemon.words()


def test_ike_registration_ends_its_child_and_a_refresh_keeps_it(edge: Edge) -> None:
    """Two rekeyings and two refreshes: the same association; its expiry: gone within a second."""
    association_id = edge.established()
    edge.daemon.call("Confirm", id=association_id, expiresSeconds=60)
    for _ in range(2):
        before = edge.spis(association_id)
        edge.peer_does("rekey")
        wait_until(_others(edge, association_id, before), "other SPIs")
        assert exchange(edge)
        edge.daemon.call("Confirm", id=association_id, expiresSeconds=60)
    assert [a["id"] for a in edge.daemon.associations()] == [association_id]

    edge.daemon.call("Release", id=association_id, lingerSeconds=1)
    edge.wait_state(association_id, "retiring")
    begun = time.monotonic()
    wait_until(lambda: not edge.world.edge.sas(), "charon has nothing of it")
    assert time.monotonic() - begun < 1.0 + SOON
    assert edge.esp() == 0
    assert edge.state(association_id) == "ended"


def _others(edge: Edge, association_id: str, before: set[int]) -> Callable[[], bool]:
    return lambda: edge.spis(association_id) != before


def test_ike_grant_of_a_registration_sets_the_lifetime(edge: Edge) -> None:
    """An agreement without a registration stands for its own time; then it is that of the 200."""
    association_id = edge.established()
    (before,) = edge.daemon.associations()
    assert before["secondsLeft"] > 3000
    after = edge.daemon.call("Confirm", id=association_id, expiresSeconds=2)["association"]
    assert after["secondsLeft"] <= 2
    begun = time.monotonic()
    wait_until(lambda: not edge.world.edge.sas(), "charon has nothing of it")
    assert time.monotonic() - begun < 2 + SOON
    assert edge.esp() == 0


def test_ike_nothing_of_others_is_touched(edge: Edge) -> None:
    """Connections, secrets and SAs that do not bear our name, over a life and a comparison."""
    edge.world.edge.ask("load-conn", {"home": {"version": "2", "remote_addrs": ["192.0.2.9"]}})
    secret = {"id": "home", "type": "IKE", "data": b"another one", "owners": ["home"]}
    edge.world.edge.ask("load-shared", secret)
    association_id = edge.established()
    edge.daemon.reconcile()
    edge.daemon.call("Release", id=association_id, lingerSeconds=0)
    edge.daemon.reconcile()
    assert names(edge) == {"home"}


# --- failures ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("wrong", "reason", "words"),
    [
        ({"secret": b"of somebody else"}, "wrong-secret", "MAC mismatched"),
        ({"identity": "mallory@example.org"}, "unknown-identity", "no matching peer config"),
        ({"esp_proposals": ("aes256-sha512",)}, "no-proposal", "no acceptable proposal found"),
        ({"port": 7000}, "selectors", "traffic selectors"),
    ],
)
def test_ike_failures_end_the_agreement_and_say_why(
    edge: Edge, wrong: dict[str, object], reason: str, words: str
) -> None:
    """R3329-2.4-ike-a: in charon's own words, in time, and told with the next Offer."""
    association_id = edge.offer()["association"]["id"]
    edge.peer_loads(**wrong)  # type: ignore[arg-type]  # of several types
    assert not edge.peer_initiates()
    assert edge.wait_state(association_id, "ended") < SOON
    again = edge.offer()
    assert again["association"]["id"] != association_id
    (told,) = again["refusals"]
    assert (told["mechanism"], told["reason"]) == ("ipsec-ike", reason)
    assert words in told["text"]
    edge.world.clean()
    edge.daemon.call("Release", id=again["association"]["id"], lingerSeconds=0)
    edge.established()
    assert edge.offer()["refusals"] == []


def test_ike_users_without_a_peer_get_no_association(edge: Edge) -> None:
    """R3329-2.3.1-h: nothing can be prepared for whom nobody knows."""
    with pytest.raises(CallError) as caught:
        edge.offer("mallory@example.org")
    assert caught.value.short_name == "NoCommonMechanism"
    assert "no peer speaks for mallory@example.org" in str(caught.value.parameters)


def test_ike_secret_that_others_may_read_is_not_used(edge: Edge) -> None:
    """It is no secret; what is wrong with it is told, and not what it is."""
    edge.secret.chmod(0o640)
    with pytest.raises(CallError) as caught:
        edge.offer()
    assert "may be read by others" in str(caught.value.parameters)
    assert edge.daemon.associations() == []
    edge.secret.chmod(0o600)
    edge.established()


# --- strongSwan away -----------------------------------------------------------------------------


def test_ike_charon_that_hangs_ends_nothing_and_takes_nothing_new(edge: Edge) -> None:
    """Its SAs stand in the kernel; new ones are refused at once, once that is known."""
    association_id = edge.established()
    edge.world.edge.hang()
    try:
        wait_until(lambda: "did not answer" in edge.daemon.words(), "the hang is noticed")
        begun = time.monotonic()
        with pytest.raises(CallError) as caught:
            edge.offer(port=PEER_PORT + 4)
        assert time.monotonic() - begun < SOON
        assert "did not answer" in str(caught.value.parameters)
        assert edge.state(association_id) == "established"
        assert exchange(edge)
        assert "did not answer" in str(edge.daemon.status())
    finally:
        edge.world.edge.go_on()
    wait_until(lambda: _offers(edge), "it is used again")
    edge.peer_does("terminate")
    assert edge.wait_state(association_id, "ended") < SOON


def _offers(edge: Edge) -> bool:
    try:
        edge.offer()
    except CallError:
        return False
    return True


@pytest.mark.parametrize("back", ["soon", "late"])
def test_ike_charon_that_was_killed_leaves_nothing(edge: Edge, back: str) -> None:
    """No false "established", no SAs of a dead one; a new one is used without our restart."""
    association_id = edge.established()
    edge.world.edge.kill()
    assert edge.esp() == 2  # what a killed one leaves
    if back == "late":
        edge.wait_state(association_id, "ended")
        assert edge.find() is None
        wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
        with pytest.raises(CallError):
            edge.offer()
    edge.world.edge.start()
    edge.wait_state(association_id, "ended")
    wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
    assert not exchange(edge)
    wait_until(lambda: _offers(edge), "it is used again")
    edge.peer_forgets()
    edge.established()
    assert exchange(edge)


@pytest.mark.parametrize("begun", [True, False])
def test_ike_charon_that_was_stopped_ends_all(edge: Edge, *, begun: bool) -> None:
    """In order: what it had, or was to have, is nobody's any more."""
    association_id = edge.established() if begun else str(edge.offer()["association"]["id"])
    edge.world.edge.stop()
    try:
        edge.wait_state(association_id, "ended")
        wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
        with pytest.raises(CallError):
            edge.offer()
    finally:
        edge.world.edge.start()
    wait_until(lambda: _offers(edge), "it is used again")


def test_ike_socket_that_was_removed_ends_nothing(edge: Edge) -> None:
    """Who listens goes on listening; new connections wait until the path is there again."""
    association_id = edge.established()
    hidden = edge.world.edge.socket.with_suffix(".hidden")
    edge.world.edge.socket.rename(hidden)
    edge.daemon.reconcile()
    assert edge.state(association_id) == "established"
    hidden.rename(edge.world.edge.socket)
    edge.peer_does("terminate")
    assert edge.wait_state(association_id, "ended") < SOON


# --- the daemon away -----------------------------------------------------------------------------


def test_ike_daemon_that_was_killed_adopts_what_stands(edge: Edge) -> None:
    """And ends what went while it was away."""
    association_id = edge.established()
    edge.daemon.kill()
    edge.daemon.start()
    assert edge.state(association_id) == "established"
    assert exchange(edge)
    edge.daemon.kill()
    edge.peer_does("terminate")
    edge.daemon.start()
    edge.wait_state(association_id, "ended")
    assert not {n for n in names(edge) if n.startswith("sad-")}


# --- certificates and EAP ------------------------------------------------------------------------


@pytest.mark.parametrize("auth", ["certificate", "eap-md5"])
def test_ike_peers_show_themselves_as_it_is_set(
    shared_edge: Edge, tmp_path: Path, auth: str
) -> None:
    """By a certificate of an authority that is named, or by EAP: both sides of each."""
    edge, authority = shared_edge, Authority()
    files = authority.issue(f"DNS:{EDGE_ID}").write(tmp_path)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    edge.reload(
        endpoint=f'certificate = "{files.certificate}"\nprivate_key = "{files.key}"\n'
        f'authorities = ["{tmp_path / "ca.pem"}"]\n',
        peer=f'auth = "{auth}"\n',
    )
    theirs = tmp_path / "peer"
    theirs.mkdir()
    shown = authority.issue(f"EMAIL:{PEER_ID}").write(theirs)
    try:
        remote = {"auth": "pubkey", "id": EDGE_ID, "cacerts": [authority.certificate]}
        if auth == "certificate":
            edge.world.peer.ask("load-key", {"type": "any", "data": shown.key.read_bytes()})
            certificate = shown.certificate.read_bytes()
            local = {"auth": "pubkey", "id": PEER_ID, "certs": [certificate]}
        else:
            secret = {"id": "eap", "type": "EAP", "data": SECRET, "owners": [PEER_ID]}
            edge.world.peer.ask("load-shared", secret)
            local = {"auth": "eap-md5", "id": PEER_ID, "eap_id": PEER_ID}
        association_id = edge.offer()["association"]["id"]
        edge.peer_loads_as(local, remote)
        assert edge.peer_initiates(), edge.world.edge.words()[-3000:]
        edge.wait_state(association_id, "established")
        assert exchange(edge)
        edge.daemon.call("Release", id=association_id, lingerSeconds=0)

        stranger = Authority("Somebody else").issue(f"EMAIL:{PEER_ID}").write(theirs)
        edge.world.clean()
        if auth == "certificate":
            edge.world.peer.ask("load-key", {"type": "any", "data": stranger.key.read_bytes()})
            local = local | {"certs": [stranger.certificate.read_bytes()]}
        else:
            edge.world.peer.ask("load-shared", secret | {"data": b"of somebody else"})
        refused = edge.offer()["association"]["id"]
        edge.peer_loads_as(local, remote)
        assert not edge.peer_initiates()
        edge.wait_state(refused, "ended")
        again = edge.offer()
        assert [r["reason"] for r in again["refusals"]] == ["not-authenticated"]
    finally:
        edge.clean()
        edge.reload()


# --- the edge begins -----------------------------------------------------------------------------


def test_ike_edge_that_begins_needs_nothing_of_the_peer(edge: Edge) -> None:
    """As initiator; a peer that is silent or refuses: a reason of its own, in time."""
    edge.reload(initiates=True)
    try:
        edge.peer_loads()
        association_id = edge.offer()["association"]["id"]
        edge.wait_state(association_id, "established")
        assert exchange(edge)
        edge.daemon.call("Release", id=association_id, lingerSeconds=0)
        wait_until(lambda: edge.esp() == 0, "it is released")

        edge.peer_loads(esp_proposals=("aes256-sha512",))
        first = edge.offer()["association"]["id"]
        edge.wait_state(first, "ended")
        edge.world.peer.hang()
        second = edge.offer()
        assert [r["reason"] for r in second["refusals"]] == ["no-proposal"]
        edge.wait_state(second["association"]["id"], "ended")
        assert [r["reason"] for r in edge.offer()["refusals"]] == ["unreachable"]
    finally:
        edge.world.peer.go_on()
        edge.reload()


def test_ike_user_is_the_one_that_is_set(edge: Edge) -> None:
    """The association bears the SIP user; the IKE identity has proven him."""
    association_id = edge.established()
    (association,) = edge.daemon.associations()
    assert association["registration"]["privateIdentity"] == USER
    assert association["id"] == association_id
