"""What the rest of the program may ask of the kernel's IPsec, as a protocol.

:class:`netlink.kernel.KernelIpsec` is the real one. A fake may stand in for it in tests; one
suite of promises holds for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from netlink.errors import KernelError
from netlink.model import ObservedPolicy, ObservedSa, Operation, PolicyId, SaId


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much the network namespace holds, anybody's; the policies of sockets left out."""

    sas: int
    policies: int


class Kernel(Protocol):
    """The SAD and the SPD of one network namespace.

    Every method raises :class:`~netlink.errors.KernelClosed` after :meth:`close`.
    """

    @property
    def port_id(self) -> int:
        """Netlink port under which our own changes appear in notices."""

    async def commit(self, operations: Sequence[Operation]) -> tuple[KernelError | None, ...]:
        """Apply operations in order; one outcome for each, an error stops none of the others.

        Raises OutcomeUnknown if answers were lost: some operations may have been applied, so
        the kernel must be asked. Raises ValueError for what cannot be encoded, before anything
        is sent. If the caller is cancelled, none, some or all of it may have been applied.
        """

    async def dump_sas(self) -> list[ObservedSa]:
        """Return the SAD. Raises KernelError, or DumpInterrupted if it never held still."""

    async def dump_policies(self) -> list[ObservedPolicy]:
        """Return the SPD without the policies of sockets; raises as :meth:`dump_sas`."""

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        """Return one SA, None if there is none. Raises KernelError, OutcomeUnknown."""

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        """Return one policy, None if there is none. Raises KernelError, OutcomeUnknown."""

    async def count(self) -> Counts:
        """Return how many SAs and policies there are, without a dump."""

    def close(self) -> None:
        """Close; what waits for an answer gets KernelClosed. May be called twice."""
