"""``kill -9`` at any moment: what stays works and is limited; the next start adopts or removes."""

import time
from collections.abc import Iterator

import pytest

from tests.support import eye
from tests.support.daemon import wait_until
from tests.support.pair import Pair, pair_of_daemons

pytestmark = pytest.mark.kernel


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    settings = "[lifetimes]\nbackstop_seconds = 2\n"
    with pair_of_daemons(tmp_path_factory.mktemp("restart"), settings=settings) as found:
        yield found


def test_a_killed_daemon_leaves_working_limited_sas_that_the_next_adopts(pair: Pair) -> None:
    """Design 8: traffic goes on without the daemon; the next start adopts, timers resumed."""
    edge, _ = pair.install(lifetime=20)
    source, destination = pair.port_pairs(edge)[0]
    ends_at = time.time() + edge["secondsLeft"]

    pair.edge_daemon.kill()
    assert pair.udp(source, destination, b"MESSAGE while the daemon is dead")
    assert {s.hard_add > 0 for s in eye.states(pair.edge)} == {True}

    pair.edge_daemon.start()
    (adopted,) = pair.edge_daemon.associations()
    assert adopted["id"] == edge["id"]
    assert adopted["expiresAt"] / 1e6 == pytest.approx(ends_at, abs=1.5)
    assert pair.edge_daemon.status()["lastReconcile"]["adopted"] == 1
    assert pair.udp(source, destination, b"MESSAGE after the restart")

    wait_until(lambda: not pair.edge_daemon.associations(), "it ends at its old deadline")
    assert time.time() == pytest.approx(ends_at, abs=4)
    assert eye.states(pair.edge) == []
    wait_until(lambda: not pair.ue_daemon.associations(), "the UE's set is over too")


def test_without_a_daemon_the_kernel_ends_the_sas_itself(pair: Pair) -> None:
    """Design 1: the kernel is the dead man's switch; clear text stays blocked."""
    edge, _ = pair.install(lifetime=1)
    pair.edge_daemon.kill()
    wait_until(lambda: not eye.states(pair.edge), "the kernel's own limit")
    source, destination = pair.port_pairs(edge)[0]
    assert not pair.udp_arrives(source, destination)

    pair.edge_daemon.start()

    assert pair.edge_daemon.associations() == []
    assert all("action block" in p for p in eye.policies(pair.edge))
    wait_until(lambda: not pair.ue_daemon.associations(), "the UE's set is over too")


def test_an_orderly_restart_keeps_everything(pair: Pair) -> None:
    """Stop = "keep": SAs and policies stay in place over stop and start."""
    edge, _ = pair.install(lifetime=60)
    before = ([s.spi for s in eye.states(pair.edge)], sorted(eye.policies(pair.edge)))
    assert pair.edge_daemon.stop() == 0
    assert ([s.spi for s in eye.states(pair.edge)], sorted(eye.policies(pair.edge))) == before

    pair.edge_daemon.start()

    assert [a["id"] for a in pair.edge_daemon.associations()] == [edge["id"]]
    assert sorted(eye.policies(pair.edge)) == before[1]
    for daemon in (pair.edge_daemon, pair.ue_daemon):
        daemon.call("Release", id=daemon.associations()[0]["id"])
