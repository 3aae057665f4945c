"""``tls``: associations that are bound to TCP connections which the SIP server terminates.

End-of-life source: the connection (RFC 3329 2.5), and the registration: at its end the connection
is destroyed by its cookie, exactly that one. The driver is its own keeper: what lies in the kernel
is compared with the table by a dump, and what a dump lacks is looked up before it counts as gone.

A kernel without SOCK_DESTROY ends nothing: whoever terminates TLS is told to (``Attach``, and the
end on the ``Monitor`` stream).
"""

import logging
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from collections.abc import Set as AbstractSet
from typing import Final

from netlink.interface import Connections
from netlink.model import Policy, PolicyId
from netlink.tcp import ConnectionId, ObservedConnection, TcpConnection
from sad.core.reconcile import Findings
from sad.core.table import AssociationTable
from sad.mechanisms.plain import PlainMechanism
from sad.mechanisms.refusals import typed_refusals
from sad.model.association import Association, EndReason, Phase, RegistrationKey
from sad.model.errors import KernelRefused, Lost, MechanismUnavailable
from sad.model.requests import Flow

log = logging.getLogger(__name__)

#: Associations judged in one turn of the loop.
SLICE: Final = 2048


class Tls(PlainMechanism):
    """The driver, and the keeper of its connections. ``boottime`` is CLOCK_BOOTTIME in seconds."""

    name = "tls"
    lost_as = EndReason.CONNECTION_CLOSED

    def __init__(self, connections: Connections, boottime: Callable[[], float]) -> None:
        self._connections = connections
        self._boottime = boottime

    @property
    def closes_connections(self) -> bool:
        """Whether the end of an association ends its connection."""
        return self._connections.can_destroy

    async def find(self, flow: Flow) -> ObservedConnection | None:
        """Return what connection lies between these ports.

        Raises KernelRefused, and MechanismUnavailable if this kernel cannot tell.
        """
        if not self._connections.can_look_up:
            raise MechanismUnavailable(
                mechanism=self.name,
                reason="this kernel cannot find TCP connections",
                hint="load its modules inet_diag and tcp_diag, and restart sad",
            )
        named = TcpConnection(
            flow.local_address, flow.local_port, flow.peer_address, flow.peer_port
        )
        with typed_refusals(_words(named)):
            return await self._connections.look_up(named)

    async def set_deadline(self, sets: Sequence[Association], association: Association) -> None:
        """There is no backstop; but what is gone gets no other deadline. Raises Lost."""
        del sets
        if await self.is_lost(association):
            raise Lost("its TCP connection")

    async def is_lost(self, association: Association) -> bool:
        """Whether the connection that it was bound to is no longer open."""
        bound = _bound(association)
        if bound is None or not self._connections.can_look_up:
            return False
        with typed_refusals(_words(bound.connection)):
            found = await self._connections.look_up(bound.connection)
        return found is None or found.id != bound or not found.is_open

    async def disconnect(
        self, gone: Collection[Association], remaining: Collection[Association]
    ) -> None:
        """End the connections of associations that are not taken over."""
        del remaining
        bound = [b for a in gone if (b := _bound(a)) is not None]
        if not bound:
            return
        try:
            with typed_refusals("TCP connections of associations that are not taken over"):
                await self._connections.destroy(bound)
        except KernelRefused as error:
            log.warning("%s could not be ended: %s", error.object, error)

    async def remove(self, sets: Sequence[Association], gone: Association) -> None:
        """End its connection, if that is not why it ends. Raises KernelRefused."""
        del sets
        bound = _bound(gone)
        if bound is None or gone.end_reason is EndReason.CONNECTION_CLOSED:
            return
        with typed_refusals(_words(bound.connection)):
            await self._connections.destroy([bound])

    # --- the keeper ------------------------------------------------------------------------------

    async def examine(
        self,
        table: AssociationTable,
        standing: dict[PolicyId, Policy],
        busy: Callable[[], AbstractSet[RegistrationKey]],
    ) -> AsyncIterator[Findings]:
        """Dump the connections of the ports that are in use, and yield what has ended."""
        del standing, busy
        mine = [a for a in table.of_mechanism(self.name) if a.phase is Phase.INSTALLED]
        there: set[ConnectionId] = set()
        if self._connections.can_look_up:
            ports = {b.connection.local_port for a in mine if (b := _bound(a)) is not None}
            with typed_refusals("the dump of TCP connections"):
                there = {found.id for found in await self._connections.dump(ports)}
        for start in range(0, len(mine), SLICE):
            yield self._judge(mine[start : start + SLICE], there)

    async def mend(self, findings: Findings) -> tuple[int, int]:
        """Nothing is put back or taken away: what is lost ends."""
        del findings
        return 0, 0

    async def shut(self, standing: dict[PolicyId, Policy]) -> int:
        """No policy is of this mechanism."""
        del standing
        return 0

    async def lift(self, standing: dict[PolicyId, Policy]) -> None:
        """No policy is of this mechanism."""

    def _judge(self, some: Sequence[Association], there: AbstractSet[ConnectionId]) -> Findings:
        overdue = tuple(a.id for a in some if a.deadline_at <= self._boottime())
        lost = {
            a.id: ("TCP connection",)
            for a in some
            if (bound := _bound(a)) is not None
            and self._connections.can_look_up
            and bound not in there
        }
        return Findings(
            adopted=tuple(a.id for a in some if a.id not in lost and a.id not in overdue),
            lost={i: what for i, what in lost.items() if i not in overdue},
            overdue=overdue,
        )


def _bound(association: Association) -> ConnectionId | None:
    """Return the name for ever of its connection, None until it has one."""
    c = association.tls
    if c is None or c.cookie is None:
        return None
    return ConnectionId(
        TcpConnection(c.local_address, c.local_port, c.peer_address, c.peer_port), c.cookie
    )


def _words(named: TcpConnection) -> str:
    return f"TCP connection of {named.peer_address} port {named.peer_port} to {named.local_port}"
