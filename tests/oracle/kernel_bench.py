"""The bench on a real kernel: the daemon's shell, in process, in a network namespace.

The daemon's clocks stand still within a rule and are brought up to the real ones before it, so
that the model knows the instant of every call.
"""

import time
from collections.abc import Sequence

from netlink.counters import ObservedCounters
from netlink.errors import KernelError
from netlink.events import EventStream
from netlink.interface import Counts, KnownEntries
from netlink.kernel import KernelIpsec
from netlink.model import ObservedPolicy, ObservedSa, Operation, PolicyId, SaId
from sad.mechanisms.ipsec_3gpp import Ipsec3gpp
from tests.oracle.bench import Bench, Listening, TickingClock, Turns
from tests.support.make import LAYOUT, LIFETIMES
from tests.support.namespaces import Namespace
from tests.support.shell import Shell


class RealClock(TickingClock):
    """Both clocks of the system, as of the last :meth:`catch_up`."""

    def __init__(self) -> None:
        super().__init__()
        self.catch_up()

    def catch_up(self) -> float:
        """Move on to now; return the seconds passed."""
        before = self._realtime
        self._realtime = time.time()
        self._boottime = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self._realtime - before


class TurnedKernel:
    """A real kernel whose requests wait as :class:`Turns` says."""

    def __init__(self, kernel: KernelIpsec, turns: Turns) -> None:
        self.kernel = kernel
        self.turns = turns

    @property
    def port_id(self) -> int:
        """The daemon's own port."""
        return self.kernel.port_id

    async def commit(self, operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.commit(operations)

    async def dump_sas(self, known: KnownEntries | None = None) -> list[ObservedSa]:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.dump_sas(known)

    async def dump_policies(self, known: KnownEntries | None = None) -> list[ObservedPolicy]:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.dump_policies(known)

    async def dump_counters(self) -> list[ObservedCounters]:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.dump_counters()

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.get_sa(sa_id)

    async def get_sas(self, sa_ids: Sequence[SaId]) -> tuple[ObservedSa | None, ...]:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.get_sas(sa_ids)

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.get_policy(policy_id)

    async def count(self) -> Counts:
        """Wait, then ask."""
        await self.turns.wait()
        return await self.kernel.count()

    def close(self) -> None:
        """Close."""
        self.kernel.close()


class KernelBench(Bench):
    """One daemon after another in a namespace, which is emptied at the beginning."""

    def __init__(self, namespace: Namespace) -> None:
        self.namespace = namespace
        self.kernel: TurnedKernel | None = None
        super().__init__()
        self.real = RealClock()
        self.clock = self.real

    async def open(self) -> None:
        """Open the sockets of both programs in the namespace."""
        for table in ("state", "policy"):
            self.namespace.run(["ip", "xfrm", table, "flush"])
        with self.namespace.enter():  # none of this gives the loop a turn
            self.kernel = TurnedKernel(await KernelIpsec.open(), self.turns)
            self.foreign = await KernelIpsec.open()

    def close(self) -> None:
        """Close them."""
        if self.kernel is not None:
            self.kernel.close()
            self.foreign.close()

    def _shell(self) -> Shell:
        shell = super()._shell()
        if self.kernel is not None:
            mechanism = Ipsec3gpp(
                self.kernel,
                shell.connections,
                LAYOUT,
                LIFETIMES,
                self.clock.boottime,
                self.clock.realtime,
            )
            shell.shared.mechanisms = {mechanism.name: mechanism}
            shell.shared.set_mechanisms = {mechanism.name: mechanism}
            shell.shared.keepers = [mechanism]
        return shell

    def listen(self, shell: Shell) -> Listening:
        """Have the daemon hear the kernel's notices."""
        assert self.kernel is not None
        own = self.kernel.port_id
        with self.namespace.enter():
            return EventStream(lambda event: shell.reconciler.notice(event, own))

    def flush(self, *, sas: bool) -> None:
        """Have ``ip`` wipe the SAD or the SPD."""
        self.namespace.run(["ip", "xfrm", "state" if sas else "policy", "flush"])

    async def catch_up(self) -> None:
        """Let the time that has passed count."""
        await self.elapse(self.real.catch_up())

    async def elapse(self, seconds: float) -> None:
        """Have the daemon's timer fire if something is due."""
        del seconds
        self.shell.endings.expire_due()
        await self.settle()
