"""A daemon under test for the model: its shell on the fake kernel, turn by turn."""

import asyncio
import contextlib
import itertools
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from netlink.interface import Kernel
from netlink.model import (
    AddPolicy,
    AddSa,
    Direction,
    ObservedPolicy,
    ObservedSa,
    Operation,
    Policy,
    PolicyAction,
    PolicyId,
    SaId,
    SaKeys,
    SecurityAssociation,
    Selector,
)
from netlink.secret import Secret
from netlink.transforms import Encryption, Integrity
from sad.model.association import Association
from sad.model.journal import JournalWrite
from sad.model.requests import ListFilter
from sad.model.rules import Limits
from sad.model.views import DaemonState, ReconcileReport
from sad.runtime.startup import restore
from tests.oracle.calls import Answer, Call, set_of
from tests.oracle.serial import Happened, comparable
from tests.oracle.sets import SaSet
from tests.oracle.tables import Node
from tests.support.fake_kernel import FakeKernel, FakeTables
from tests.support.make import EDGE_ADDRESS, OWNER, endpoint
from tests.support.shell import SOMEBODY_ELSES_PORT, USER, Clock, MemoryJournal, Shell

NODE: Final = Node(EDGE_ADDRESS, 5064, (5064, 5068, 5069, 5070, 5071), OWNER)
#: Turns of the loop without any work after which nothing more is to come.
_QUIET: Final = 12


class TickingClock(Clock):
    """No two looks at the real-time clock are at the same instant: it orders what is made."""

    def realtime(self) -> float:
        self._realtime += 1e-6
        return super().realtime()


class Listening(Protocol):
    """Somebody who hears notices."""

    def close(self) -> None:
        """Hear no more."""


class Turns(asyncio.Event):
    """A kernel's gate that holds each request for as many turns of the loop as are listed."""

    def __init__(self) -> None:
        super().__init__()
        self.listed: deque[int] = deque()
        self.passed = 0
        self.set()

    async def pause(self) -> None:
        """Let others go first."""
        self.passed += 1
        for _ in range(self.listed.popleft() if self.listed else 0):
            await asyncio.sleep(0)

    async def wait(self) -> bool:  # type: ignore[override]  # typeshed says Literal[True]
        await self.pause()
        return await super().wait()


class TurnedJournal(MemoryJournal):
    """A journal that takes its time by the same list."""

    def __init__(self, turns: Turns) -> None:
        super().__init__()
        self.turns = turns
        self.refused = False

    async def record(self, writes: Sequence[JournalWrite]) -> None:
        await self.turns.pause()
        self.refused |= self.full or self.calls + 1 in self.failing
        await super().record(writes)


_SOMEBODYS_SELECTOR = Selector(
    source="10.10.0.7", source_prefix=32, destination="10.10.0.8", destination_prefix=32
)


def _somebodys() -> list[Operation]:
    sa = SecurityAssociation(
        id=SaId("10.10.0.8", 4242),
        source="10.10.0.7",
        reqid=1,
        selector=_SOMEBODYS_SELECTOR,
        integrity=Integrity(name="hmac(sha1)", key_bits=160, icv_bits=96),
        encryption=Encryption(name="ecb(cipher_null)", key_bits=0),
        replay_window=32,
        hard_add_seconds=0,
    )
    policy = Policy(
        id=PolicyId(Direction.OUT, _SOMEBODYS_SELECTOR), action=PolicyAction.ALLOW, priority=7
    )
    keys = SaKeys(integrity=Secret(bytes(range(20))), encryption=Secret(b""))
    return [AddSa(sa=sa, keys=keys), AddPolicy(policy=policy)]


class Life(Shell):
    """A daemon that draws no number which an earlier life has drawn."""

    def __init__(self, numbers: Iterator[int], **settings: Any) -> None:
        self._numbers = numbers
        super().__init__(**settings)

    def _draw(self, below: int) -> int:
        return next(self._numbers) % below


class Bench:
    """One daemon after another on the same kernel, journal and clock."""

    def __init__(self) -> None:
        self.clock: Clock = TickingClock()
        self.tables = FakeTables(self.clock.realtime)
        self.turns = Turns()
        self._numbers = itertools.count(1)
        self.journal = TurnedJournal(self.turns)
        self.foreign: Kernel = FakeKernel(self.tables, SOMEBODY_ELSES_PORT)
        self.shell = self._shell()
        self._notices: Listening | None = None
        self._task: asyncio.Task[None] | None = None
        self.started = False

    def _shell(self) -> Shell:
        shell = Life(
            self._numbers,
            tables=self.tables,
            journal=self.journal,
            clock=self.clock,
            limits=Limits(offers_per_second_per_address=1e6),
            endpoints={"access": endpoint(addresses=(EDGE_ADDRESS,))},
            reconcile_interval=1e6,
        )
        shell.kernel.gate = self.turns
        return shell

    async def open(self) -> None:
        """Open what can only be opened inside the loop."""

    # --- life ------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Begin a daemon's life on what the one before has left."""
        self.shell = self._shell()
        shell = self.shell
        shell.shared.daemon_state = DaemonState.STARTING
        self._notices = self.listen(shell)
        rows = list(self.journal.rows.values())
        await restore(shell.shared, shell.reconciler, rows)
        self._task = asyncio.ensure_future(shell.reconciler.run())
        self.started = True
        await self.settle()

    async def kill(self) -> None:
        """End the daemon; nothing of it acts any more."""
        if self._task is None or self._notices is None:
            return
        self._notices.close()
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task

    async def settle(self) -> None:
        """Wait until the daemon has nothing more to do."""
        quiet, seen = 0, -1
        while quiet < _QUIET:
            quiet = quiet + 1 if seen == self.turns.passed and not self._working else 0
            seen = self.turns.passed
            await asyncio.sleep(0)

    @property
    def _working(self) -> bool:
        return bool(len(self.shell.shared.background))

    async def bring_strangers(self) -> None:
        """Put in what is somebody else's."""
        await self.foreign.commit(_somebodys())

    # --- what a real kernel does otherwise -------------------------------------------------------

    def listen(self, shell: Shell) -> Listening:
        """Have the daemon hear the kernel's notices."""
        own = shell.kernel.port_id
        return self.tables.subscribe(lambda event: shell.reconciler.notice(event, own))

    def flush(self, *, sas: bool) -> None:
        """Have somebody else wipe the SAD or the SPD."""
        if sas:
            self.tables.flush_sas(SOMEBODY_ELSES_PORT)
        else:
            self.tables.flush_policies(SOMEBODY_ELSES_PORT)

    # --- doing -----------------------------------------------------------------------------------

    async def together(
        self, calls: Sequence[Call], turns: Iterable[int] = (), *, faulty: bool = False
    ) -> Happened:
        """Start calls at the same time, and wait until all of it is over."""
        self.turns.listed.extend(turns)
        answers: list[Answer] = await asyncio.gather(
            *(call.ask(self.shell.service, self.foreign) for call in calls),
            return_exceptions=True,
        )
        await self.settle()
        self.turns.listed.clear()
        return Happened(calls, answers, faulty)

    async def elapse(self, seconds: float) -> None:
        """Let time pass; the daemon's timer fires if something is due."""
        self.clock.advance(seconds)
        self.tables.tick()
        self.shell.endings.expire_due()
        await self.settle()

    # --- looking ---------------------------------------------------------------------------------

    def listed(self) -> dict[str, SaSet]:
        """Return the daemon's list by name."""
        everything = self.shell.service.list_associations(USER, ListFilter())
        return comparable(tuple(set_of(a) for a in everything))

    def table(self) -> tuple[Association, ...]:
        """Return everything that the daemon has in mind."""
        return tuple(self.shell.shared.table)

    async def dumps(self) -> tuple[list[ObservedSa], list[ObservedPolicy]]:
        """Return what lies in the kernel."""
        return await self.foreign.dump_sas(), await self.foreign.dump_policies()

    async def second_look(self) -> ReconcileReport:
        """Have the daemon compare again, with nothing left to find."""
        return await self.shell.service.reconcile("a second look")
