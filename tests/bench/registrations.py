"""Rows 3 and 5: registrations through the socket, against the kernel work alone.

Row 3: Offer and Confirm of a crowd, sent by ``load.c`` over 16 connections, to a daemon as it
comes: real headers, journal on. The yardstick is C replay of the same kernel work in the same
namespace. Row 5: one SIP worker that waits for each answer, as Kamailio's hook does, and how long
it is blocked for a registration; against the netlink pattern of ``ims_ipsec_pcscf``, which reads
none.
"""

import statistics
import time
from collections.abc import Iterator, Sequence
from typing import Final

from netlink.model import AddPolicy, AddSa, CurrentLifetime, MoveLifetime, Operation
from sip_hooks.client import Client
from tests.bench.baselines import LIBRARY, Baselines, Image
from tests.bench.contest import contest, ratio_row
from tests.bench.edge import (
    CONNECTIONS,
    DEPTH,
    Load,
    UserAgent,
    run_load,
    running_edge,
    write_offers,
)
from tests.bench.figures import Curve, Figure, Row
from tests.bench.sets import INTEGRITY, Sets, layout_of
from tests.bench.world import World
from tests.support.daemon import ASSOCIATIONS, PATIENCE, Daemon
from tests.support.make import EDGE_ADDRESS

REGISTRATIONS: Final = 320
C_REPLAY, DAEMON = "C replay", "daemon"
HOOK, KAMAILIO = "the hook", "ims_ipsec_pcscf"
#: Registrations under way at once, for the curve.
LOADS: Final = ((1, 1), (2, 1), (4, 1), (8, 1), (16, 1), (16, 2), (16, 4), (16, 8))


class Crowd:
    """Registers user agents that nobody has seen yet, again and again."""

    def __init__(self, world: World, daemon: Daemon) -> None:
        self._world = world
        self._daemon = daemon
        self._next = 0

    def agents(self, count: int) -> list[UserAgent]:
        """Return so many new ones."""
        first, self._next = self._next, self._next + count
        return [UserAgent(number) for number in range(first, self._next)]

    def rate(self) -> float:
        """Register a crowd; return registrations a second."""
        return REGISTRATIONS / self.register(CONNECTIONS, DEPTH).took

    def register(self, connections: int, depth: int) -> Load:
        """Register a crowd with so much under way; return what it took."""
        offers = self._world.folder / "offers"
        write_offers(self.agents(REGISTRATIONS), offers)
        program = self._world.program("load")
        return run_load(program, self._daemon, offers, connections=connections, depth=depth)


class KernelWork:
    """What the kernel does for as many registrations, replayed from C beside the daemon's sets."""

    def __init__(self, daemon: Daemon, baselines: Baselines) -> None:
        sets = Sets.of(REGISTRATIONS, "null")
        self._daemon = daemon
        self._baselines = baselines
        self._image = Image.of([(*one, *_lengthened(one)) for one in sets.installs])
        self._removal = sets.removal_image()

    def rate(self) -> float:
        """Do it; return registrations a second."""
        with self._daemon.namespace.enter():
            rate = self._baselines.replay(self._image)
            self._baselines.replay(self._removal)
        return rate


def _lengthened(install: Sequence[Operation]) -> Iterator[MoveLifetime]:
    """Return what Confirm does to the SAs of a set."""
    now = int(time.time())
    for operation in install:
        if isinstance(operation, AddSa):
            sa = operation.sa
            yield MoveLifetime(
                id=sa.id,
                source=sa.source,
                reqid=sa.reqid,
                current=CurrentLifetime(bytes=0, packets=0, add_time=now + 3600, use_time=0),
            )


def rows(world: World) -> Iterator[Figure]:
    """Measure crowds, then one worker, then how latency follows the load."""
    baselines = Baselines(world.program(LIBRARY))
    with running_edge(world.folder) as daemon:
        crowd, kernel = Crowd(world, daemon), KernelWork(daemon, baselines)
        rates = contest({C_REPLAY: kernel.rate, DAEMON: crowd.rate}, world.repeat, world.say)
        yield ratio_row(
            rates,
            DAEMON,
            C_REPLAY,
            number=3,
            what="registrations through the socket (Offer, Confirm; journal on), against C replay",
            layout=f"{layout_of('null', REGISTRATIONS)}; {CONNECTIONS} connections, {DEPTH} deep",
            unit="of C replay",
            at_least=0.10 if world.lane == "uml" else 0.08,
            stretch="0.30" if world.lane == "uml" else "0.15",
        )
        best = max(rates[DAEMON])
        yield Row(
            number=0,
            what="the same in registrations a second, on this machine",
            layout=layout_of("null", REGISTRATIONS),
            unit="/s",
            best=best,
            median=statistics.median(rates[DAEMON]),
            trials=world.repeat,
        )
        yield from _blocked(world, daemon, baselines, crowd)
        yield _latency(world, crowd)


def _blocked(world: World, daemon: Daemon, baselines: Baselines, crowd: Crowd) -> Iterator[Row]:
    """Row 5: a worker's waits for one registration, of both, by turns."""
    pattern = Image.of([_of_kamailio(one) for one in Sets.of(64, "null").installs])
    removal = Sets.of(64, "null").removal_image()
    waits: dict[str, list[float]] = {HOOK: [], "Offer": [], KAMAILIO: []}
    with Client(str(daemon.socket), timeout=PATIENCE) as client:
        for _ in range(world.repeat + 1):
            for agent in crowd.agents(64):
                steps = _register(client, agent)
                waits[HOOK].append(sum(steps))
                waits["Offer"].append(steps[0])
            with daemon.namespace.enter():
                waits[KAMAILIO] += baselines.unread_each(pattern)
                baselines.replay_tolerant(removal)
    for name, number in ((HOOK, 5), ("Offer", 0)):
        for percent in (50, 99):
            ours, theirs = (quantile(waits[of][64:], percent) for of in (name, KAMAILIO))
            what = "Offer, Verify and Confirm" if name == HOOK else "Offer alone"
            yield Row(
                number=number,
                what=f"a SIP worker is blocked by {what}, p{percent}, against {KAMAILIO}",
                layout=f"{theirs * 1e6:.0f} µs theirs: 4 SAs, 4 policies, {INTEGRITY}/null; "
                f"{ours * 1e6:.0f} µs ours: 4 SAs, 10 policies, each answer checked",
                unit="times",
                best=ours / theirs,
                median=ours / theirs,
                trials=64 * world.repeat,
                at_most=1.5 if number else None,
                stretch="1" if number else "",
            )


def _of_kamailio(install: Sequence[Operation]) -> list[Operation]:
    """Return its layout: 4 SAs, and of the policies those of the two port pairs of TS 33.203."""
    sas = [o for o in install if isinstance(o, AddSa)]
    policies = [o for o in install if isinstance(o, AddPolicy) and o.policy.template is not None]
    return [*sas, *policies[:4]]


def _register(client: Client, agent: UserAgent) -> tuple[float, float, float]:
    """Register as Kamailio's hook does; return the seconds of each call."""
    begun = time.perf_counter()
    offered = client.call(f"{ASSOCIATIONS}.Offer", agent.offer())
    answered = time.perf_counter()
    ports = offered["association"]["ipsec3gpp"]
    flow = {
        "peerAddress": agent.address,
        "peerPort": ports["portUc"],
        "localAddress": EDGE_ADDRESS,
        "localPort": ports["portPs"],
    }
    headers = {
        "securityVerify": [offered["securityServer"]],
        "securityClient": [agent.security_client],
    }
    began = time.perf_counter()
    client.call(f"{ASSOCIATIONS}.Verify", {"flow": flow, **headers})
    verified = time.perf_counter()
    one = offered["association"]["id"]
    client.call(f"{ASSOCIATIONS}.Confirm", {"id": one, "expiresSeconds": 600_000})
    return answered - begun, verified - began, time.perf_counter() - verified


def quantile(values: Sequence[float], percent: int) -> float:
    """Return a percentile."""
    return statistics.quantiles(values, n=100)[percent - 1]


def _latency(world: World, crowd: Crowd) -> Curve:
    """How long Offer takes while more and more is under way."""
    lines: dict[str, list[tuple[float, float]]] = {"Offer, median": [], "Offer, p99": []}
    for connections, depth in LOADS:
        load = crowd.register(connections, depth)
        rate = REGISTRATIONS / load.took
        world.say(f"{connections * depth} under way: {rate:.0f}/s")
        lines["Offer, median"].append((rate, quantile(load.offers, 50) * 1e3))
        lines["Offer, p99"].append((rate, quantile(load.offers, 99) * 1e3))
    return Curve(
        name="latency",
        title=f"Answer to Offer, 1 to 128 under way ({world.lane})",
        across="registrations a second",
        up="ms",
        lines=lines,
    )
