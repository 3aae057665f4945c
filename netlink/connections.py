"""Finds TCP connections of this network namespace and ends them (SOCK_DESTROY).

Ending one by its addresses and ports takes two steps. First an exact lookup: one hash, no walk
over the node's 100 000 sockets, as a dump would be. Then the destruction of what was found, by
its cookie. A destruction by ports alone would be one step, but where the connection has gone
meanwhile, or never was, the kernel resolves the same ports to the *listener* and ends that: the
SIP server would be deaf. What listens is left alone, and the cookie makes sure that what is
destroyed is what was looked at. Who knows the cookie already names it, and saves the first step.

As with XFRM the kernel works requests off inside ``send``, and every answer lies in the receive
buffer when it returns. Callers of one loop turn share their sends.

Sockets bound to an interface (SO_BINDTODEVICE) are not found: the daemon has none of those.
"""

import asyncio
import collections
import errno
import functools
import itertools
import logging
import socket
import struct
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from netlink import decode, diag
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.sockets import open_socket
from netlink.tables import TableReader
from netlink.tcp import OPEN_STATES, ConnectionId, ObservedConnection, TcpConnection, TcpState
from netlink.uapi import (
    AF_INET,
    AF_INET6,
    NETLINK_SOCK_DIAG,
    NLMSG_DONE,
    NLMSG_ERROR,
    SOCK_DIAG_BY_FAMILY,
)

log = logging.getLogger(__name__)

#: Either name: that of whatever lies between these ports now, or of one connection for ever.
Named: TypeAlias = TcpConnection | ConnectionId

#: Connections worked on in one turn of the loop; destroying one takes up to 0.1 ms.
CHUNK: Final = 128
RECEIVE_BUFFER: Final = 1 << 20

_FAMILIES: Final = (AF_INET, AF_INET6)
_ANSWER_COST: Final = 4096  # receive buffer charged for a socket with its attributes
_BUFFER_BYTES: Final = 65536
_MAX_SEQUENCE: Final = 0xFFFF_FFFF
_STATUS: Final = struct.Struct("=i")

_Answer: TypeAlias = ObservedConnection | KernelError | OutcomeUnknown | None
_Encode: TypeAlias = Callable[[int], bytes]


@dataclass(frozen=True, slots=True)
class _Errand:
    connections: Sequence[Named]
    future: asyncio.Future[int]


class KernelConnections:
    """The real :class:`~netlink.interface.Connections`; its methods keep that contract."""

    def __init__(self, opened: socket.socket, tables: TableReader | None = None) -> None:
        self._socket = opened
        self._tables = tables
        room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._chunk = max(1, min(CHUNK, room // _ANSWER_COST))
        self._pending: collections.deque[_Errand] = collections.deque()
        self._buffer = bytearray(_BUFFER_BYTES)
        self._sequence = 0
        self._scheduled = False
        self._closed = False
        self.can_destroy = True
        self.can_look_up = True

    @classmethod
    def open(cls, *, receive_buffer: int = RECEIVE_BUFFER) -> Self:
        """Open a socket in the network namespace of this thread. Raises OSError."""
        opened = open_socket(receive_buffer, family=NETLINK_SOCK_DIAG)
        try:
            dumping = open_socket(receive_buffer, family=NETLINK_SOCK_DIAG)
        except BaseException:
            opened.close()
            raise
        return cls(opened, TableReader(dumping, family=NETLINK_SOCK_DIAG))

    def probe(self) -> KernelError | None:
        """Return why this kernel cannot end connections, None if it can.

        If it cannot, :meth:`destroy` does nothing from then on. The kernel may load modules
        meanwhile, so this is for the time before anybody waits.
        """
        lacking = next(filter(None, map(self._lacks_destruction, _FAMILIES)), None)
        self.can_destroy = lacking is None
        return lacking

    def probe_lookups(self) -> KernelError | None:
        """Return why this kernel cannot find connections either, None if it can."""
        lacking = next(filter(None, map(self._lacks_lookups, _FAMILIES)), None)
        self.can_look_up = lacking is None
        return lacking

    async def look_up(self, connection: TcpConnection) -> ObservedConnection | None:
        """Return what connection there is between these ports, None if there is none."""
        if self._closed:
            raise KernelClosed
        (answer,) = self._exchange([functools.partial(diag.lookup, connection)])
        if isinstance(answer, ObservedConnection):
            return None if answer.state is TcpState.LISTEN else answer
        if isinstance(answer, Exception) and not _is_absence(answer):
            raise answer
        return None

    async def dump(self, local_ports: Collection[int]) -> list[ObservedConnection]:
        """Return the open connections with these local ports, by one walk for each port."""
        if self._closed or self._tables is None:
            raise KernelClosed
        found: dict[ConnectionId, ObservedConnection] = {}
        for port, family in itertools.product(local_ports, _FAMILIES):
            encode = functools.partial(diag.dump, family, OPEN_STATES, port)
            part = await self._tables.read_dump(encode, diag.observed)
            found.update((connection.id, connection) for connection in part)
        return list(found.values())

    async def destroy(self, connections: Collection[Named]) -> int:
        """End these connections; return how many there were."""
        if self._closed:
            raise KernelClosed
        if not self.can_destroy:
            return 0
        wanted = iter(connections)
        loop = asyncio.get_running_loop()
        futures: list[asyncio.Future[int]] = []
        while piece := tuple(itertools.islice(wanted, self._chunk)):
            futures.append(loop.create_future())
            self._pending.append(_Errand(piece, futures[-1]))
        self._schedule()
        count = 0
        for result in await asyncio.gather(*futures, return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            count += result
        return count

    def close(self) -> None:
        """Close the socket; what was not yet sent fails with KernelClosed."""
        self._closed = True
        self._socket.close()
        if self._tables is not None:
            self._tables.close()
        while self._pending:
            _settle(self._pending.popleft(), KernelClosed())

    # --- many callers, one send ------------------------------------------------------------------

    def _schedule(self) -> None:
        if not self._scheduled and self._pending:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Do one chunk; more in the next turn, so that the loop never stalls for two."""
        self._scheduled = False
        errands: list[_Errand] = []
        room = self._chunk
        while self._pending and len(self._pending[0].connections) <= room:
            errand = self._pending.popleft()
            if not errand.future.done():  # else its caller has left
                errands.append(errand)
                room -= len(errand.connections)
        try:
            self._do(errands)
        except BaseException as error:
            # No caller may wait for ever because of a defect here.
            for errand in errands:
                _settle(errand, OutcomeUnknown(f"{type(error).__name__} while exchanging"))
            raise
        finally:
            self._schedule()

    def _do(self, errands: Sequence[_Errand]) -> None:
        wanted = [connection for errand in errands for connection in errand.connections]
        outcomes = self._destroy(wanted)
        start = 0
        for errand in errands:
            end = start + len(errand.connections)
            of_it = outcomes[start:end]
            start = end
            refused = next((o for o in of_it if isinstance(o, Exception)), None)
            _settle(errand, sum(o is True for o in of_it) if refused is None else refused)

    # --- the two steps ---------------------------------------------------------------------------

    def _destroy(self, wanted: Sequence[Named]) -> list[bool | Exception]:
        """Return for each whether it was there, or why nobody knows."""
        outcomes: list[bool | Exception] = [False] * len(wanted)
        found: dict[int, ConnectionId] = {}
        looked_for: dict[int, _Encode] = {}
        for i, named in enumerate(wanted):
            if isinstance(named, ConnectionId):
                found[i] = named
            else:
                looked_for[i] = functools.partial(diag.lookup, named)
        answers = self._exchange([*looked_for.values()])
        for i, answer in zip(looked_for, answers, strict=True):
            match answer:
                case ObservedConnection() if answer.state is not TcpState.LISTEN:
                    found[i] = answer.id
                case Exception() if not _is_absence(answer):
                    outcomes[i] = answer
        answers = self._exchange([functools.partial(diag.destruction, n) for n in found.values()])
        for i, answer in zip(found, answers, strict=True):
            match answer:
                case None:
                    outcomes[i] = True
                case Exception() if not _is_absence(answer):
                    outcomes[i] = answer
        return outcomes

    def _lacks_destruction(self, family: int) -> KernelError | None:
        """Return what the kernel says against ending connections of a family."""
        (answer,) = self._exchange([functools.partial(diag.harmless_destruction, family)])
        if isinstance(answer, KernelError) and answer.errno != errno.ENOENT:
            return answer
        # The modules may be missing all the same: they too are "not there".
        return self._lacks_lookups(family)

    def _lacks_lookups(self, family: int) -> KernelError | None:
        """Return what the kernel says against finding connections of a family."""
        (answer,) = self._exchange([functools.partial(diag.empty_dump, family)])
        return answer if isinstance(answer, KernelError) else None

    # --- one send and its answers ----------------------------------------------------------------

    def _exchange(self, requests: Sequence[_Encode]) -> list[_Answer]:
        """Send requests that have one answer each; return it for each, None for "done"."""
        if not requests:
            return []
        if self._sequence > _MAX_SEQUENCE - len(requests):
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += len(requests)
        answers: list[_Answer] = [
            OutcomeUnknown("answers of the kernel were lost") for _ in requests
        ]
        out = b"".join(encode(first + i) for i, encode in enumerate(requests))
        try:
            self._socket.send(out)
        except OSError as error:
            # Refused before the kernel looked at a message: all of it is known not to be done.
            number = error.errno or errno.EIO
            return [KernelError(number, "the send was refused") for _ in requests]
        for sequence, answer in self._answers(range(first, first + len(requests))):
            answers[sequence - first] = answer
        return answers

    def _answers(self, sequences: range) -> Iterable[tuple[int, _Answer]]:
        """Read the answers to these requests, until all are there or no more come."""
        expected = len(sequences)
        while expected:
            try:
                size = self._socket.recv_into(self._buffer)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    return
                continue  # after a loss read on: leave no answer behind
            try:
                for message in decode.messages(self._buffer, size):
                    if message.sequence in sequences:
                        expected -= 1
                        yield message.sequence, self._read(message)
            except decode.MalformedMessage:
                log.warning("sock_diag: a malformed answer of the kernel")

    def _read(self, message: decode.Message) -> _Answer:
        if message.type == SOCK_DIAG_BY_FAMILY:
            return diag.observed(self._buffer, message.start, message.end)
        if message.type == NLMSG_ERROR:
            number, words = decode.answer(self._buffer, message)
            return KernelError(number, words) if number else None
        if message.type == NLMSG_DONE and message.end - message.start >= _STATUS.size:
            (status,) = _STATUS.unpack_from(self._buffer, message.start)
            return KernelError(-status, "the dump broke off") if status else None
        raise decode.MalformedMessage(f"an answer of type {message.type}")


def _is_absence(answer: _Answer) -> bool:
    return isinstance(answer, KernelError) and answer.errno == errno.ENOENT


def _settle(errand: _Errand, result: int | Exception) -> None:
    """Tell a caller, if he still waits."""
    if errand.future.done():
        return
    if isinstance(result, int):
        errand.future.set_result(result)
    else:
        errand.future.set_exception(result)
