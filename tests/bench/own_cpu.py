"""Row 4: what the daemon itself works for a registration: Offer, Verify and Confirm.

The daemon is whole, from its socket to the netlink messages, with journal, metrics and log as
installed; what answers the messages is :mod:`tests.bench.stand_in`. What is counted is the CPU
time of its process in user mode: time inside system calls is the kernel's.
"""

import asyncio
import contextlib
import gc
import logging
import resource
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry

from netlink.kernel import KernelIpsec
from netlink.requests import RequestSocket
from netlink.tables import TableReader
from sad.api.authorization import AccessPolicy
from sad.api.limits import Limits as SocketLimits
from sad.api.listening import make_listening_socket
from sad.api.methods import Methods
from sad.api.server import Server
from sad.app_operating import operations_of
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from sad.mechanisms.tls import Tls
from sad.metrics.counting import CountingKernel
from sad.metrics.meters import Meters
from sad.model.rules import Limits
from sad.model.views import DaemonState
from sad.runtime import collector
from sad.runtime.chance import Chance
from sad.runtime.endings import Endings
from sad.runtime.reconciler import Reconciler
from sad.runtime.service import AssociationService
from sad.runtime.service_manager import JournalHandler, use_handler
from sad.runtime.state import Settings, Shared
from sad.runtime.status import StatusPage
from sad.runtime.timer import BoottimeTimer, SystemClock
from sad.store.journal import Journal
from tests.bench.figures import Row, summary
from tests.bench.stand_in import KernelStandIn
from tests.bench.world import World
from tests.support.fake_connections import FakeConnections
from tests.support.make import EDGE_ADDRESS, LAYOUT, LIFETIMES, endpoint

#: Registrations of a trial, and before it; so many trials tell enough.
COUNT: Final = 4000
WARM: Final = 500
MOST_TRIALS: Final = 5

#: The endpoint's list, as it is where the settings name none.
ALGORITHMS: Final = (("hmac-sha-1-96", "null"), ("hmac-sha-1-96", "aes-cbc"))


class HostDaemon:
    """Everything that :mod:`sad.app` puts together, on a kernel that takes everything."""

    def __init__(self, folder: Path, kernel: KernelStandIn) -> None:
        self.path = folder / "sad.sock"
        self.kernel = kernel
        meters = Meters(CollectorRegistry())
        requests = RequestSocket(kernel.as_socket())
        counted = CountingKernel(
            KernelIpsec(requests, TableReader(kernel.as_socket())), meters.kernel_error
        )
        clock = SystemClock()
        self._journal = Journal.open(folder / "journal.sqlite", "bench")
        connections = FakeConnections()
        mechanism = Ipsec3gpp(
            counted, connections, LAYOUT, LIFETIMES, clock.boottime, clock.realtime
        )
        tls = Tls(connections, clock.boottime)
        access = endpoint(algorithms=ALGORITHMS)
        self.shared = shared = Shared(
            settings=Settings(
                endpoints={access.name: access},
                layout=LAYOUT,
                lifetimes=LIFETIMES,
                limits=Limits(
                    offers_per_second=1e6,
                    offers_per_second_per_address=1e6,
                    max_temporary_sets=10**6,
                    max_associations=10**7,
                ),
            ),
            clock=clock,
            journal=self._journal,
            set_mechanisms={mechanism.name: mechanism},
            keepers=[mechanism, tls],
            other_mechanisms={tls.name: tls},
        )
        shared.observer = meters
        shared.daemon_state = DaemonState.READY
        endings = Endings(shared)
        reconciler = Reconciler(shared, endings)
        policy = AccessPolicy(
            endpoint_uids=access.uids, control_gids=frozenset(), status_gids=frozenset()
        )
        service = AssociationService(
            shared,
            endings,
            reconciler,
            access=policy,
            own_addresses=lambda: frozenset({EDGE_ADDRESS, "127.0.0.1"}),
            missing_algorithms=frozenset(),
            randbelow=Chance().below,
            status_page=StatusPage(
                shared, reconciler, version="0", missing_algorithms={}, kernel_counters=dict
            ),
            operator=operations_of(shared, counted, dict),
            tls=tls,
        )
        self._timer = BoottimeTimer(endings.expire_due)
        shared.deadlines.attach(self._timer)
        self._listening = make_listening_socket(self.path, 0o600)
        self._server = Server(self._listening.socket, Methods(service, policy), SocketLimits())
        self._server.start()

    async def close(self) -> None:
        await self._server.close()
        await self.shared.background.drain()
        self._timer.close()
        self._listening.close()
        self._journal.close()


@contextlib.asynccontextmanager
async def host_daemon(folder: Path) -> AsyncIterator[HostDaemon]:
    """Give a daemon in this process; its log goes where journald would be."""
    use_handler(JournalHandler(), "INFO")
    daemon = HostDaemon(folder, KernelStandIn())
    collector.settle()
    try:
        yield daemon
    finally:
        gc.unfreeze()
        await daemon.close()
        logging.basicConfig(force=True)


async def registered(daemon: HostDaemon, first: int, count: int, *arguments: str) -> None:
    """Have a caller in a process of its own register user agents."""
    caller = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.bench.caller", str(daemon.path), str(first), str(count),
        *arguments,
    )  # fmt: skip
    assert await caller.wait() == 0


def user_microseconds() -> float:
    """CPU time of this process in user mode."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime * 1e6


async def trial(folder: Path, count: int) -> float:
    """Return microseconds of the daemon's own for each of so many registrations."""
    async with host_daemon(folder) as daemon:
        await registered(daemon, 1_000_000, WARM)
        kernel, begun = daemon.kernel.nanoseconds, user_microseconds()
        await registered(daemon, 0, count)
        spent = user_microseconds() - begun
        kernel = daemon.kernel.nanoseconds - kernel
        assert len(daemon.kernel) == 4 * (count + WARM), "not all are registered"
        return (spent - kernel / 1000) / count


def rows(world: World) -> Iterator[Row]:
    """Register user agents over sixteen connections, four calls behind one another on each."""
    count = world.population(COUNT)
    spans = []
    for number in range(min(world.repeat, MOST_TRIALS)):
        with tempfile.TemporaryDirectory(dir=world.folder) as folder:
            spans.append(asyncio.run(trial(Path(folder), count)))
        world.say(f"trial {number + 1}: {spans[-1]:.0f} µs")
    best, median = summary(spans, most=False)
    yield Row(
        number=4,
        what="daemon's own CPU for a registration (Offer, Verify, Confirm), without the kernel's",
        layout=f"{count} registrations, 4 SAs and 10 policies each, 16 connections, "
        "a phone's list of two mechanisms, journal, metrics and log on",
        unit="µs",
        best=best,
        median=median,
        trials=len(spans),
        at_most=150.0,
        stretch="100 µs",
    )
