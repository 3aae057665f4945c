"""The kernel with its errors counted, whatever becomes of them further up."""

from collections.abc import Callable, Sequence

from netlink.counters import ObservedCounters
from netlink.errors import KernelError
from netlink.interface import Counts, Kernel, KnownEntries
from netlink.model import ObservedPolicy, ObservedSa, Operation, PolicyId, SaId


class CountingKernel:
    """A :class:`~netlink.interface.Kernel`; ``count`` hears the name of each errno."""

    def __init__(self, kernel: Kernel, count: Callable[[str], None]) -> None:
        self._kernel = kernel
        self._count = count

    @property
    def port_id(self) -> int:
        """As the kernel's."""
        return self._kernel.port_id

    async def commit(self, operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        """As the kernel's."""
        outcomes = await self._kernel.commit(operations)
        for error in filter(None, outcomes):
            self._count(error.name)
        return outcomes

    async def dump_sas(self, known: KnownEntries | None = None) -> list[ObservedSa]:
        """As the kernel's."""
        return await self._kernel.dump_sas(known)

    async def dump_policies(self, known: KnownEntries | None = None) -> list[ObservedPolicy]:
        """As the kernel's."""
        return await self._kernel.dump_policies(known)

    async def dump_counters(self) -> list[ObservedCounters]:
        """As the kernel's."""
        return await self._kernel.dump_counters()

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        """As the kernel's."""
        try:
            return await self._kernel.get_sa(sa_id)
        except KernelError as error:
            self._count(error.name)
            raise

    async def get_sas(self, sa_ids: Sequence[SaId]) -> tuple[ObservedSa | None, ...]:
        """As the kernel's."""
        try:
            return await self._kernel.get_sas(sa_ids)
        except KernelError as error:
            self._count(error.name)
            raise

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        """As the kernel's."""
        try:
            return await self._kernel.get_policy(policy_id)
        except KernelError as error:
            self._count(error.name)
            raise

    async def count(self) -> Counts:
        """As the kernel's."""
        return await self._kernel.count()

    def close(self) -> None:
        """As the kernel's."""
        self._kernel.close()
