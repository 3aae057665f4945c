"""What the rest of the program may ask of the kernel, as protocols.

:class:`netlink.kernel.KernelIpsec` and :class:`netlink.connections.KernelConnections` are the real
ones. Fakes may stand in for them in tests; one suite of promises holds for both of each.
"""

from collections.abc import Awaitable, Collection, Sequence
from dataclasses import dataclass
from typing import Protocol

from netlink.counters import ObservedCounters
from netlink.errors import KernelError
from netlink.model import ObservedPolicy, ObservedSa, Operation, PolicyId, SaId
from netlink.tcp import ConnectionId, ObservedConnection, TcpConnection
from netlink.walk import Buffer


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How much the network namespace holds, anybody's; the policies of sockets left out."""

    sas: int
    policies: int


class KnownEntries(Protocol):
    """Tells entries of a dump of which nobody needs a value (:mod:`netlink.known`)."""

    def begin(self) -> None:
        """The dump begins, or begins anew: what was seen before is void."""

    def holds(self, buffer: Buffer, start: int, end: int) -> bool:
        """Whether the entry whose body lies there is known."""


class Kernel(Protocol):
    """The SAD and the SPD of one network namespace.

    Every method raises :class:`~netlink.errors.KernelClosed` after :meth:`close`.
    """

    @property
    def port_id(self) -> int:
        """Netlink port under which our own changes appear in notices."""

    def commit(self, operations: Sequence[Operation]) -> Awaitable[tuple[KernelError | None, ...]]:
        """Apply operations in order; one outcome for each, an error stops none of the others.

        Raises OutcomeUnknown if answers were lost: some operations may have been applied, so
        the kernel must be asked. Raises ValueError for what cannot be encoded, before anything
        is sent. If the caller is cancelled, none, some or all of it may have been applied.
        """

    async def dump_sas(self, known: KnownEntries | None = None) -> list[ObservedSa]:
        """Return the SAD, less what is ``known``.

        Raises KernelError, or DumpInterrupted if it never held still.
        """

    async def dump_policies(self, known: KnownEntries | None = None) -> list[ObservedPolicy]:
        """Return the SPD without the policies of sockets, as :meth:`dump_sas`."""

    async def dump_counters(self) -> list[ObservedCounters]:
        """Return where each SA of the SAD stands, anybody's; raises as :meth:`dump_sas`."""

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        """Return one SA, None if there is none. Raises KernelError, OutcomeUnknown."""

    async def get_sas(self, sa_ids: Sequence[SaId]) -> tuple[ObservedSa | None, ...]:
        """Return one answer for each, as :meth:`get_sa`, by one question to the kernel."""

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        """Return one policy, None if there is none. Raises KernelError, OutcomeUnknown."""

    async def count(self) -> Counts:
        """Return how many SAs and policies there are, without a dump."""

    def close(self) -> None:
        """Close; what waits for an answer gets KernelClosed. May be called twice."""


class Connections(Protocol):
    """The TCP connections of one network namespace.

    Every method raises :class:`~netlink.errors.KernelClosed` after :meth:`close`.
    """

    @property
    def can_destroy(self) -> bool:
        """False once it is known that this kernel cannot end connections."""

    @property
    def can_look_up(self) -> bool:
        """False once it is known that this kernel cannot find connections."""

    async def look_up(self, connection: TcpConnection) -> ObservedConnection | None:
        """Return what connection there is between these ports, open or not; None if none.

        Never a listener. Raises KernelError, OutcomeUnknown.
        """

    async def dump(self, local_ports: Collection[int]) -> list[ObservedConnection]:
        """Return the open connections with these local ports.

        One that comes or goes meanwhile may be in it or not, and the kernel may pass over one:
        what is missing must be looked up. Raises KernelError, DumpInterrupted, MalformedMessage.
        """

    async def destroy(self, connections: Collection[TcpConnection | ConnectionId]) -> int:
        """End these connections; return how many there were. A RST goes to the peer of each.

        By a name with a cookie exactly that one ends, and no later one in its place. What does
        not exist is no error, and a listener is never touched. An error stops none of
        the others of one call. Raises the first KernelError, OutcomeUnknown if answers were lost
        (it may be called again). A kernel of which it is known that it cannot do this is not
        asked.
        """

    def close(self) -> None:
        """Close; what waits for an answer gets KernelClosed. May be called twice."""
