"""The daemon's shell on a kernel and a journal in memory; clocks stand until they are moved."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from netlink.errors import KernelError
from netlink.model import Operation, Policy, PolicyId, SaId
from sad.app_operating import operations_of
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from sad.mechanisms.tls import Tls
from sad.model.association import Association
from sad.model.endpoint import Endpoint
from sad.model.errors import JournalUnavailable
from sad.model.journal import JournalWrite, Put
from sad.model.requests import Caller, ConfirmRequest, InstallRequest, ReleaseRequest
from sad.model.rules import Limits
from sad.model.views import DaemonState, WatchEvent
from sad.runtime.endings import Endings
from sad.runtime.reconciler import Reconciler
from sad.runtime.service import AssociationService
from sad.runtime.state import Settings, Shared
from sad.runtime.status import StatusPage
from sad.store.sealed import JournalWithRecords, SealedRecords
from tests.support.fake_connections import FakeConnections
from tests.support.fake_kernel import FakeKernel, FakeTables
from tests.support.make import EDGE_ADDRESS, LAYOUT, LIFETIMES, endpoint, install_request

USER = Caller(uid=1000, gid=1000, pid=1)
STRANGER = Caller(uid=2000, gid=2000, pid=2)
OPERATOR = Caller(uid=3000, gid=3000, pid=3)
SOMEBODY_ELSES_PORT = 99


class Clock:
    """Both clocks; :meth:`advance` moves them together, :meth:`step` sets the wall clock."""

    def __init__(self) -> None:
        self._boottime = 100.0
        self._realtime = 1_700_000_000.0

    def boottime(self) -> float:
        return self._boottime

    def realtime(self) -> float:
        return self._realtime

    def advance(self, seconds: float) -> None:
        self._boottime += seconds
        self._realtime += seconds

    def step(self, seconds: float) -> None:
        self._realtime += seconds


class MemoryJournal:
    """Rows in memory; ``failing`` are the numbers of the calls that fail (1 is the first)."""

    def __init__(self) -> None:
        self.rows: dict[str, Association] = {}
        self.calls = 0
        self.failing: set[int] = set()
        self.full = False

    async def record(self, writes: Sequence[JournalWrite]) -> None:
        self.calls += 1
        failing = self.full or self.calls in self.failing
        await asyncio.sleep(0)
        if failing:
            raise JournalUnavailable(reason="database or disk is full", hint="free some space")
        for write in writes:
            if isinstance(write, Put):
                self.rows[write.association.id] = write.association
            else:
                self.rows.pop(write.association_id, None)


class UntimedTables(FakeTables):
    """Tables whose limits never strike: with thousands of SAs looking at each is too slow."""

    def tick(self) -> None:
        """Leave every limit alone."""


class GatedKernel(FakeKernel):
    """A fake whose every request waits while :attr:`gate` is closed."""

    def __init__(self, tables: FakeTables) -> None:
        super().__init__(tables)
        self.gate = asyncio.Event()
        self.gate.set()
        self.waiting = 0
        self.broken: list[Exception] = []
        self._lost_again: int | None = None
        self.dumps = 0

    def lose_answers_again(self, *, applied: int) -> None:
        """As :meth:`lose_answers`, for the commit after the one that loses them."""
        self._lost_again = applied

    async def commit(self, operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        losing = self._lost_after is not None
        try:
            return await super().commit(operations)
        finally:
            if losing and self._lost_again is not None:
                self.lose_answers(applied=self._lost_again)
                self._lost_again = None

    async def _turn(self) -> None:
        self.waiting += 1
        await self.gate.wait()
        self.waiting -= 1
        if self.broken:
            raise self.broken.pop(0)
        await super()._turn()

    async def dump_sas(self, known: Any = None) -> Any:
        self.dumps += 1
        return await super().dump_sas(known)


class _Access:
    def may_use_endpoint(self, caller: Caller, endpoint: Endpoint) -> bool:
        return caller.uid in endpoint.uids

    def may_control(self, caller: Caller) -> bool:
        return caller == OPERATOR


class Shell:
    """Everything that :mod:`sad.app` wires, without sockets."""

    def __init__(
        self,
        *,
        tables: FakeTables | None = None,
        journal: MemoryJournal | None = None,
        clock: Clock | None = None,
        limits: Limits | None = None,
        records: SealedRecords | None = None,
        **settings: Any,
    ) -> None:
        self.clock = clock or Clock()
        self.tables = tables if tables is not None else FakeTables(self.clock.realtime)
        self.kernel = GatedKernel(self.tables)
        self.connections = FakeConnections()
        self.journal = journal or MemoryJournal()
        values: dict[str, Any] = {
            "endpoints": {"access": endpoint()},
            "layout": LAYOUT,
            "lifetimes": LIFETIMES,
            "limits": limits or Limits(),
        }
        mechanism = Ipsec3gpp(
            self.kernel,
            self.connections,
            LAYOUT,
            LIFETIMES,
            self.clock.boottime,
            self.clock.realtime,
        )
        tls = Tls(self.connections, self.clock.boottime)
        self.shared = Shared(
            settings=Settings(**(values | settings)),
            clock=self.clock,
            journal=JournalWithRecords(self.journal, records) if records else self.journal,
            records=records,
            set_mechanisms={mechanism.name: mechanism},
            keepers=[mechanism, tls],
            other_mechanisms={tls.name: tls},
        )
        self.shared.daemon_state = DaemonState.READY
        self.endings = Endings(self.shared)
        self.reconciler = Reconciler(self.shared, self.endings, pause_seconds=0)
        self._drawn = 0
        self.service = AssociationService(
            self.shared,
            self.endings,
            self.reconciler,
            access=_Access(),
            own_addresses=lambda: frozenset({EDGE_ADDRESS, "10.10.0.9"}),
            missing_algorithms=frozenset(),
            randbelow=self._draw,
            status_page=StatusPage(
                self.shared,
                self.reconciler,
                version="0",
                missing_algorithms={},
                kernel_counters=dict,
            ),
            operator=operations_of(self.shared, self.kernel, lambda: {USER.uid: 1}),
            tls=tls,
        )

    def _draw(self, below: int) -> int:
        self._drawn += 1
        return self._drawn % below

    # --- doing -----------------------------------------------------------------------------------

    async def install(self, request: InstallRequest | None = None, **changes: Any) -> Association:
        return await self.service.install(USER, request or install_request(**changes))

    async def expire(self, seconds: float) -> None:
        """Let time pass and everything end that is due."""
        self.clock.advance(seconds)
        self.endings.expire_due()
        await self.shared.background.drain()

    @contextlib.asynccontextmanager
    async def reconciling(self) -> AsyncIterator[asyncio.Task[None]]:
        """Run the reconciler's task."""
        task = asyncio.ensure_future(self.reconciler.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @contextlib.contextmanager
    def kernel_held(self) -> Iterator[None]:
        """Nothing is answered by the kernel inside."""
        self.kernel.gate.clear()
        try:
            yield
        finally:
            self.kernel.gate.set()

    # --- looking ---------------------------------------------------------------------------------

    @property
    def snapshot(self) -> tuple[set[SaId], dict[PolicyId, Policy]]:
        """What lies in the kernel."""
        return set(self.tables.sas), {i: p.policy for i, p in self.tables.policies.items()}

    def ends_at(self, association: Association) -> set[float]:
        """The kernel's limits of an association, on the real-time clock."""
        spis = set(association.sa_set.local_spis) | set(association.sa_set.peer_spis)
        return {s.limit for i, s in self.tables.sas.items() if i.spi in spis}


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, turn by turn of the loop; the test's own time limit ends it."""
    while not condition():  # noqa: ASYNC110 - any state of the shell, not one event of it
        await asyncio.sleep(0)


async def take(events: AsyncIterator[WatchEvent], count: int) -> list[WatchEvent]:
    """Return the next events."""
    return [await anext(events) for _ in range(count)]


def second_request(**changes: Any) -> InstallRequest:
    """A re-registration beside the default request: new SPIs and client ports, same servers."""
    values: dict[str, Any] = {
        "spi_uc": 35656,
        "spi_us": 35657,
        "spi_pc": 80001,
        "spi_ps": 80002,
        "port_uc": 6302,
        "port_pc": 5069,
    }
    return install_request(**(values | changes))


def ue_request(number: int, **changes: Any) -> InstallRequest:
    """A request of one of many user agents."""
    values: dict[str, Any] = {
        "ue_address": f"10.20.{number >> 8}.{number & 255}",
        "private_identity": f"{number}@ims.example",
        "spi_pc": 100_000 + 2 * number,
        "spi_ps": 100_001 + 2 * number,
    }
    return install_request(**(values | changes))


def grant_of(association_id: str, expires_seconds: int) -> ConfirmRequest:
    return ConfirmRequest(association_id=association_id, expires_seconds=expires_seconds)


def release_of(association_id: str, linger_seconds: int = 0) -> ReleaseRequest:
    """A Release of one association."""
    return ReleaseRequest(association_id=association_id, linger_seconds=linger_seconds)
