"""What a cluster costs a registration: through the socket of a node in one, and of one alone.

Replication is asynchronous, so there are two figures: the rate while registrations come, when
the daemon shares its processor with the replicator and etcd, and the rate until etcd knows all of
them, which is the one that can be sustained. In User-mode Linux everything of it, etcd and phones
included, is on one processor.
"""

import contextlib
import itertools
import time
from collections.abc import Iterator
from typing import Final

from tests.bench.caller import Line, UserAgent, register
from tests.bench.contest import contest, ratio_row
from tests.bench.figures import Row
from tests.bench.world import World
from tests.cluster.net import ADDRESS, network
from tests.cluster.phones import CLIENT_PORTS, SERVER_PORT
from tests.cluster.world import Node, cluster_world
from tests.support.daemon import Daemon, endpoint_settings, wait_until

#: Registrations of a trial.
COUNT: Final = 200
LINES: Final = 8
LAYOUT: Final = "Offer, Verify, Confirm; 4 SAs and 10 policies a set, hmac-sha-1-96/null"
ALONE, REPLICATED, TOLD = "alone", "replicated", "until etcd knows all"


def rows(world: World) -> Iterator[Row]:
    """Measure both, round by round."""
    count = world.population(COUNT)
    numbers = itertools.count(step=count)
    until_told: list[float] = []
    with contextlib.ExitStack() as stack:
        alone = stack.enter_context(_alone(world))
        node = stack.enter_context(_in_cluster(world))

        def by_one_alone() -> float:
            return _rate(alone, next(numbers), count)

        def by_one_of_two() -> float:
            begun = time.monotonic()
            rate = _rate(node.daemon, next(numbers), count)
            wait_until(
                lambda: node.daemon.status()["cluster"]["waiting"] == 0, "etcd knows all", 300
            )
            until_told.append(count / (time.monotonic() - begun))
            return rate

        rates = contest({ALONE: by_one_alone, REPLICATED: by_one_of_two}, world.repeat, world.say)
    rates[TOLD] = until_told[1:]  # as in the contest, the first warms up
    for name, what in (
        (REPLICATED, "registrations of a node in a cluster, as they come"),
        (TOLD, "registrations of a node in a cluster, until etcd knows them"),
    ):
        yield ratio_row(
            rates,
            name,
            ALONE,
            number=0,
            what=what,
            layout=f"{LAYOUT}; {count} a trial, one member of etcd",
            unit="of a node alone",
        )


def _rate(daemon: Daemon, first: int, count: int) -> float:
    lines = [Line(str(daemon.socket)) for _ in range(LINES)]
    agents = [UserAgent(number) for number in range(first, first + count)]
    begun = time.monotonic()
    register(lines, agents)
    return count / (time.monotonic() - begun)


@contextlib.contextmanager
def _alone(world: World) -> Iterator[Daemon]:
    """A node without a cluster."""
    with network("alone") as net:
        machine = net.machine("lonely", "10.10.0.14")
        machine.take_address()
        ports = f"{CLIENT_PORTS[0]}-{CLIENT_PORTS[-1]}"
        endpoint = endpoint_settings("access", (ADDRESS,), SERVER_PORT, ports)
        daemon = Daemon(machine, world.folder / "alone", endpoint)
        try:
            yield daemon.start()
        finally:
            daemon.stop()


@contextlib.contextmanager
def _in_cluster(world: World) -> Iterator[Node]:
    """One of two nodes; the other only listens."""
    folder = world.folder / "cluster"
    folder.mkdir()
    with cluster_world(folder) as built:
        yield built.a
