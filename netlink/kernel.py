"""The face of the package: the SAD and the SPD of one network namespace.

Requests go through :class:`~netlink.requests.RequestSocket`, whole tables through a socket of
their own, so that a long dump never stands before an answer. The counterpart in tests is a fake
of the same protocol (:class:`netlink.interface.Kernel`).
"""

import asyncio
import errno
from collections.abc import Sequence
from typing import Final, Self

from netlink import counters, decode
from netlink.counters import ObservedCounters
from netlink.errors import KernelError, OutcomeUnknown
from netlink.interface import Counts, KnownEntries
from netlink.model import ObservedPolicy, ObservedSa, Operation, PolicyId, SaId
from netlink.reference import GetInfo, GetPolicy, GetSa
from netlink.requests import RECEIVE_BUFFER, RequestSocket
from netlink.sockets import open_socket
from netlink.tables import TableReader
from netlink.uapi import (
    XFRM_MSG_GETPOLICY,
    XFRM_MSG_GETSA,
    XFRM_MSG_GETSADINFO,
    XFRM_MSG_GETSPDINFO,
)
from netlink.walk import MalformedMessage

_ABSENT: Final = frozenset({errno.ESRCH, errno.ENOENT})


class KernelIpsec:
    """The real :class:`~netlink.interface.Kernel`; its methods keep that contract."""

    def __init__(self, requests: RequestSocket, tables: TableReader) -> None:
        self._requests = requests
        self._tables = tables

    @classmethod
    async def open(cls, *, receive_buffer: int = RECEIVE_BUFFER) -> Self:
        """Open both sockets in the network namespace of this thread. Raises OSError."""
        requests = RequestSocket.open(receive_buffer=receive_buffer)
        try:
            return cls(requests, TableReader(open_socket(receive_buffer)))
        except BaseException:
            requests.close()
            raise

    @property
    def port_id(self) -> int:
        """Netlink port under which our own changes appear in notices."""
        return self._requests.port_id

    def commit(
        self, operations: Sequence[Operation]
    ) -> asyncio.Future[tuple[KernelError | None, ...]]:
        """Apply operations in order; one outcome for each."""
        return self._requests.submit(operations)

    async def dump_sas(self, known: KnownEntries | None = None) -> list[ObservedSa]:
        """Return the SAD, less what is known."""
        return await self._tables.read(XFRM_MSG_GETSA, decode.sa, known)

    async def dump_policies(self, known: KnownEntries | None = None) -> list[ObservedPolicy]:
        """Return the SPD without the policies of sockets, less what is known."""
        return await self._tables.read(XFRM_MSG_GETPOLICY, decode.policy, known)

    async def dump_counters(self) -> list[ObservedCounters]:
        """Return where each SA of the SAD stands."""
        return await self._tables.read(XFRM_MSG_GETSA, counters.of_sa)

    async def get_sa(self, sa_id: SaId) -> ObservedSa | None:
        """Return one SA, None if there is none."""
        (found,) = await self.get_sas((sa_id,))
        return found

    async def get_sas(self, sa_ids: Sequence[SaId]) -> tuple[ObservedSa | None, ...]:
        """Return SAs by one send; None for each that there is not."""
        replies = await self._requests.ask_all([GetSa(i) for i in sa_ids], decode.sa)
        return tuple([_present(reply) for reply in replies])

    async def get_policy(self, policy_id: PolicyId) -> ObservedPolicy | None:
        """Return one policy, None if there is none."""
        try:
            return await self._requests.ask(GetPolicy(policy_id), decode.policy)
        except KernelError as error:
            if error.errno in _ABSENT:
                return None
            raise

    async def count(self) -> Counts:
        """Return how many SAs and policies there are, without a dump."""
        sas, policies = await asyncio.gather(
            self._requests.ask(GetInfo(XFRM_MSG_GETSADINFO), decode.sa_count),
            self._requests.ask(GetInfo(XFRM_MSG_GETSPDINFO), decode.policy_count),
        )
        return Counts(sas=sas, policies=policies)

    def close(self) -> None:
        """Close both sockets."""
        self._requests.close()
        self._tables.close()


def _present(
    reply: ObservedSa | KernelError | OutcomeUnknown | MalformedMessage | None,
) -> ObservedSa | None:
    """Return what was observed; raise what came in its place, unless that says it is absent."""
    if not isinstance(reply, Exception):
        return reply
    if isinstance(reply, KernelError) and reply.errno in _ABSENT:
        return None
    raise reply
