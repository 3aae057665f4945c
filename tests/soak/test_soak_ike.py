"""ipsec-ike in the large, and harm at each step: too long for every run."""

import time
from collections.abc import Iterator

import pytest

from sip_hooks.client import CallError
from tests.ike.edge import Edge
from tests.ike.world import RealWorld, two_charons
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
