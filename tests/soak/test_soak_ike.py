"""ipsec-ike in the large, and harm at each step: too long for every run."""

import time
from collections.abc import Iterator

import pytest

from sip_hooks.client import CallError
from tests.ike.connections import (
    EDGE6,
    EDGE_ID,
    PEER6,
    PEER_ID,
    SECRET,
    connection,
    peer_connection,
)
from tests.ike.edge import PEER_PORT, SERVER_PORT, Edge
from tests.ike.world import RealWorld, two_charons
from tests.support import eye
from tests.support.daemon import wait_until


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealWorld]:
    with two_charons(tmp_path_factory.mktemp("charons")) as built:
        yield built


@pytest.fixture
def edge(world: RealWorld, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Edge]:
    made = Edge(world, tmp_path_factory.mktemp("ike"))
    made.daemon.start()
    yield made
    made.daemon.stop()
    world.clean()


def test_soak_ike_daemon_without_memory_ends_what_bears_its_name(edge: Edge) -> None:
    """Children, connections and secrets of ours that belong to nobody go."""
    edge.established()
    edge.daemon.kill()
    for path in (edge.daemon.folder / "state").iterdir():
        path.unlink()
    edge.daemon.start()
    wait_until(lambda: edge.esp() == 0, "the kernel is clean")
    assert edge.daemon.associations() == []
    edge.established()


HARMS = ("kill", "hang", "hide")
STEPS = ("before", "offered", "established", "releasing")


@pytest.mark.parametrize("harm", HARMS)
@pytest.mark.parametrize("step", STEPS)
def test_soak_ike_harm_at_each_step(edge: Edge, step: str, harm: str) -> None:
    """Charon is killed, hung or out of reach: no false "established", no leak, and recovery."""
    association_id = ""
    if step == "offered":
        association_id = edge.offer()["association"]["id"]
    elif step in {"established", "releasing"}:
        association_id = edge.established()
    charon = edge.world.edge
    hidden = charon.socket.with_suffix(".hidden")
    if harm == "kill":
        charon.kill()
    elif harm == "hang":
        charon.hang()
    else:
        charon.socket.rename(hidden)
    if step == "releasing":
        with_errors(edge, association_id)
    begun = time.monotonic()
    try:
        edge.offer(port=5900)
    except CallError:
        assert time.monotonic() - begun < 5  # never a hang
    if step in {"before", "offered"}:
        assert edge.find() is None or edge.state(association_id) == "temporary"
    if harm == "kill":
        charon.start()
    elif harm == "hang":
        charon.go_on()
    else:
        hidden.rename(charon.socket)
    if harm == "kill" and association_id:
        edge.peer_forgets()
    wait_until(lambda: answers(edge), "it is used again")
    edge.clean()
    wait_until(lambda: (edge.esp(), edge.templates()) == (0, 0), "the kernel is clean")
    edge.established()


def with_errors(edge: Edge, association_id: str) -> None:
    try:
        edge.daemon.call("Release", id=association_id, lingerSeconds=0)
    except CallError as error:
        if error.short_name != "KernelRefused":
            raise
    assert edge.find() is None  # whatever charon says: nobody passes on it any more


def answers(edge: Edge) -> bool:
    try:
        edge.offer()
    except CallError:
        return False
    return True


def test_soak_ike_life_is_rekeyed_and_a_dead_sad_leaves_no_old_keys(edge: Edge) -> None:
    """Rekeyed while the association lasts; what went on without sad ends when it is back.

    Charon makes a child anew whose life is over (child_delete, unless it was rekeyed), and no
    setting keeps it from that: its life_time bounds the keys, not the child.
    """
    edge.reload(endpoint="life_seconds = 8\n")
    association_id = edge.established()
    seen = {frozenset(edge.spis(association_id))}
    end = time.monotonic() + 24
    while time.monotonic() < end:
        assert edge.state(association_id) == "established"
        current = frozenset(edge.spis(association_id))
        if len(current) == 2:  # beside a rekeyed one there may be more for a moment
            seen.add(current)
        time.sleep(0.2)
    assert len(seen) >= 3
    edge.daemon.call("Confirm", id=association_id, expiresSeconds=2)
    last = {sa.spi for sa in eye.states(edge.world.edge.namespace)}
    edge.daemon.kill()
    wait_until(
        lambda: not last & {sa.spi for sa in eye.states(edge.world.edge.namespace)},
        "no SA outlives its life_time",
    )
    edge.daemon.start()
    wait_until(lambda: edge.esp() == 0, "its registration is over, and so is its child")
    assert edge.daemon.associations() == []


def test_soak_ike_sa_that_the_peer_ends_takes_its_children_with_it(edge: Edge) -> None:
    """RFC 3329 2.5: in under a second, with the reason."""
    association_id = edge.established()
    edge.world.peer.told("terminate", "control-log", {"ike": "to-edge"})
    assert edge.wait_state(association_id, "ended") < 1
    assert "deleted-by-peer: received DELETE for IKE_SA" in edge.daemon.words()


def test_soak_ike_peer_that_is_dead_is_given_up(edge: Edge) -> None:
    """A peer that answers no more: its IKE SA is given up, and the association with it."""
    edge.reload(endpoint="", dead_peer=1)
    association_id = edge.established()
    edge.world.peer.hang()
    try:
        edge.wait_state(association_id, "ended", 30)
        assert "unreachable: giving up after" in edge.daemon.words()
        assert edge.esp() == 0
    finally:
        edge.world.peer.go_on()


def test_soak_ike_over_ipv6(edge: Edge) -> None:
    """The same, with selectors of IPv6."""
    ports = {"six": ((PEER_PORT,), (SERVER_PORT,))}
    known = connection((PEER6, PEER_ID), (EDGE6, EDGE_ID), ports)
    secret = {"id": "six", "type": "IKE", "data": SECRET, "owners": [EDGE_ID, PEER_ID]}
    edge.world.peer.ask("load-shared", secret)
    edge.world.peer.ask("load-conn", {"six": known})
    association_id = edge.offer(ends=(PEER6, EDGE6))["association"]["id"]
    edge.world.peer.told("initiate", "control-log", {"child": "six", "ike": "six"})
    edge.wait_state(association_id, "established")
    assert edge.esp() == 2
    edge.daemon.call("Release", id=association_id, lingerSeconds=0)
    assert edge.esp() == 0


PEERS = 50


def test_soak_ike_fifty_peers(world: RealWorld, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Fifty identities, each with its own connection, child and secret; half end by swanctl.

    What is released here takes about as long as with strongSwan's own command.
    """
    blocks = "".join(
        f'[[endpoint.ike.peer]]\nname = "u{n}"\nidentity = "u{n}@example.org"\n'
        f'users = ["u{n}@example.org"]\nsecret = "SECRET"\n'
        for n in range(PEERS)
    )
    folder = tmp_path_factory.mktemp("fifty")
    edge = Edge(
        world, folder, start=30, peer=blocks.replace("SECRET", str(folder / "alice.secret"))
    )
    edge.daemon.start()
    try:
        ids = [_establish(edge, n) for n in range(PEERS)]
        states = {a["id"]: a["state"] for a in edge.daemon.associations()}
        assert states == dict.fromkeys(ids, "established")
        assert edge.esp() == 2 * PEERS
        report = edge.daemon.reconcile()
        assert (report["ended"], report["removed"], report["repaired"]) == (0, 0, 0)

        begun = time.monotonic()
        for association_id in ids[::2]:
            edge.daemon.call("Release", id=association_id, lingerSeconds=0)
        ours = time.monotonic() - begun
        uri = f"unix://{world.edge.socket}"
        names = [n for n in world.edge.sas() if "-u" in n]
        assert len(names) == PEERS // 2
        begun = time.monotonic()
        for name in names:
            command = ["swanctl", "--terminate", "--uri", uri, "--ike", name]
            world.edge.namespace.run(command)
        theirs = time.monotonic() - begun
        print(f"release: {ours / theirs:.2f} of swanctl --terminate ({PEERS // 2} peers)")
        assert ours < 3 * theirs
        wait_until(lambda: not edge.daemon.associations(), "those that swanctl ended are ended")
        assert edge.esp() == 0
        assert not {n for n in world.edge.ask("get-shared").get("keys", []) if b"sad-" in n}
    finally:
        edge.daemon.stop()
        world.clean()


def _establish(edge: Edge, number: int) -> str:
    """Go the way of one of the fifty."""
    name, user, port = f"u{number}", f"u{number}@example.org", 6000 + number
    association_id = str(edge.offer(user, port=port)["association"]["id"])
    peer = edge.world.peer
    secret = {"id": name, "type": "IKE", "data": SECRET, "owners": [EDGE_ID, user]}
    peer.ask("load-shared", secret)
    children = {name: (SERVER_PORT, port)}
    peer.ask("load-conn", {name: peer_connection(children, identity=user)})
    peer.told("initiate", "control-log", {"child": name, "ike": name, "timeout": 10_000})
    edge.wait_state(association_id, "established", 30)
    return association_id
