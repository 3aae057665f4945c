"""The asyncio request socket: many callers, one send, every error to its request.

The kernel works netlink requests off inside ``send``: when it returns, everything is applied and
every answer lies in the receive buffer, so there is nothing to wait for. Submissions of one loop
turn are put together into chunks. The last message of a chunk asks for an acknowledgement (the
fence), the others are answered only when they fail; without the fence's answer nothing about the
chunk is known, because a batch can end in silence and answers can be lost.

:mod:`netlink.templates` encodes what is sent, :mod:`netlink.decode` reads what comes back.
"""

import asyncio
import collections
import errno
import itertools
import socket
import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

from netlink import decode
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.reference import Request, info_request
from netlink.sockets import open_socket
from netlink.templates import encode
from netlink.uapi import NLM_F_ACK, NLMSG_ERROR

T = TypeVar("T")

Decoder: TypeAlias = Callable[[decode.Buffer, int, int], T]
Outcomes: TypeAlias = tuple[KernelError | None, ...]

CHUNK_BYTES: Final = 65536  # where throughput levels off; more only stalls the loop longer
CHUNK_VECTORS: Final = 1024  # IOV_MAX
RECEIVE_BUFFER: Final = 1 << 20

_SEND_OVERHEAD: Final = 32  # netlink_sendmsg refuses more than SO_SNDBUF less this
_ANSWER_COST: Final = 1280  # receive buffer charged for an error answer with long words
_REPLY_COST: Final = 8192  # ... and for a reply with a body
_MAX_SEQUENCE: Final = 0xFFFF_FFFF
_FLAGS_OFFSET: Final = 6
_FLAGS: Final = struct.Struct("=H")


class _Submission:
    """One caller's requests; its future holds the outcomes, or the decoded reply."""

    __slots__ = ("decoder", "future", "outcomes", "reply", "unanswered")

    def __init__(self, count: int, decoder: Decoder[Any] | None) -> None:
        self.future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self.outcomes: list[KernelError | None] = [None] * count
        self.decoder = decoder
        self.reply: Any = None
        self.unanswered = count

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def finish(self) -> None:
        """Give the caller what has come, once every message is answered for."""
        if self.unanswered or self.future.done():
            return
        if self.decoder is None:
            self.future.set_result(tuple(self.outcomes))
        elif self.outcomes[0] is not None:
            self.future.set_exception(self.outcomes[0])
        elif isinstance(self.reply, Exception):
            self.future.set_exception(self.reply)
        else:
            self.future.set_result(self.reply)


class _Parcel:
    """Messages of one submission that travel in one chunk."""

    __slots__ = ("count", "first", "index", "last_start", "submission", "view")

    def __init__(
        self,
        submission: _Submission,
        index: int,
        first: int,
        count: int,
        view: memoryview,
        last_start: int,
    ) -> None:
        self.submission = submission
        self.index = index
        self.first = first
        self.count = count
        self.view = view
        self.last_start = last_start

    @property
    def fence(self) -> int:
        return self.first + self.count - 1

    def ask_for_answer(self) -> None:
        at = self.last_start + _FLAGS_OFFSET
        (flags,) = _FLAGS.unpack_from(self.view, at)
        _FLAGS.pack_into(self.view, at, flags | NLM_F_ACK)

    def wipe(self) -> None:
        self.view[:] = bytes(len(self.view))


class _Answers:
    """What came back for one chunk."""

    __slots__ = ("_chunk", "_fence", "_owners", "fenced")

    def __init__(self, chunk: list[_Parcel]) -> None:
        self._chunk = chunk
        self._fence = chunk[-1].fence
        self._owners: dict[int, _Parcel] = {}
        self.fenced = False

    def take(self, buffer: bytearray, size: int) -> None:
        """Read one datagram."""
        for message in decode.messages(buffer, size):
            number, words = 0, ""
            if message.type == NLMSG_ERROR:
                number, words = decode.answer(buffer, message)
                self.fenced |= message.sequence == self._fence
                if not number:
                    continue
            owner = self._owner(message.sequence)
            if owner is None:
                continue
            submission = owner.submission
            if number:
                index = owner.index + message.sequence - owner.first
                submission.outcomes[index] = KernelError(number, words)
            elif submission.decoder is not None:
                try:
                    submission.reply = submission.decoder(buffer, message.start, message.end)
                except decode.MalformedMessage as error:
                    submission.reply = error

    def _owner(self, sequence: int) -> _Parcel | None:
        # Most chunks have no error and never need this table.
        if not self._owners:
            self._owners = {p.first + i: p for p in self._chunk for i in range(p.count)}
        return self._owners.get(sequence)


class RequestSocket:
    """Requests to XFRM over one socket; belongs to the loop of its callers."""

    def __init__(self, opened: socket.socket) -> None:
        self._socket = opened
        self.port_id: int = opened.getsockname()[0]
        send_buffer = opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._chunk_bytes = min(CHUNK_BYTES, send_buffer - _SEND_OVERHEAD)
        self._answer_room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._pending: collections.deque[_Parcel] = collections.deque()
        self._sequence = 0
        self._scheduled = False
        self._closed = False
        self._buffer = bytearray(65536)

    @classmethod
    def open(cls, *, receive_buffer: int = RECEIVE_BUFFER) -> Self:
        """Open one in the network namespace of this thread. Raises OSError."""
        return cls(open_socket(receive_buffer))

    async def submit(self, requests: Sequence[Request]) -> Outcomes:
        """Return one outcome for each request; the contract is that of ``Kernel.commit``."""
        self._refuse_closed()
        if not requests:
            return ()
        buffer, starts = encode(requests, self._take_sequence(len(requests)), self.port_id)
        submission = _Submission(len(requests), None)
        self._enqueue(submission, buffer, starts)
        outcomes: Outcomes = await submission.future
        return outcomes

    async def ask(self, request: Request, decoder: Decoder[T]) -> T:
        """Return the decoded reply to one GET request.

        Raises KernelError, OutcomeUnknown, MalformedMessage.
        """
        self._refuse_closed()
        buffer, _ = encode((request,), self._take_sequence(1), self.port_id)
        return await self._reply(buffer, decoder)

    async def ask_info(self, message_type: int, decoder: Decoder[T]) -> T:
        """Return the decoded reply to GETSADINFO or GETSPDINFO; raises as :meth:`ask`."""
        self._refuse_closed()
        request = info_request(message_type, self._take_sequence(1))
        return await self._reply(bytearray(request), decoder)

    def close(self) -> None:
        """Close the socket; what was not yet sent fails with KernelClosed."""
        self._closed = True
        self._socket.close()
        while self._pending:
            parcel = self._pending.popleft()
            parcel.wipe()
            parcel.submission.fail(KernelClosed())

    async def _reply(self, buffer: bytearray, decoder: Decoder[T]) -> T:
        submission = _Submission(1, decoder)
        submission.reply = OutcomeUnknown("the kernel acknowledged a question without a reply")
        self._enqueue(submission, buffer, [0])
        reply: T = await submission.future
        return reply

    def _refuse_closed(self) -> None:
        if self._closed:
            raise KernelClosed

    def _take_sequence(self, count: int) -> int:
        """Return the first of consecutive sequence numbers; 0 is never one."""
        if self._sequence + count > _MAX_SEQUENCE:
            self._sequence = 0
        first = self._sequence + 1
        self._sequence += count
        return first

    def _enqueue(self, submission: _Submission, buffer: bytearray, starts: list[int]) -> None:
        first = self._sequence - len(starts) + 1
        whole = memoryview(buffer)
        for begin, end in self._cuts(starts, len(buffer)):
            low = starts[begin]
            high = starts[end] if end < len(starts) else len(buffer)
            self._pending.append(
                _Parcel(
                    submission,
                    begin,
                    first + begin,
                    end - begin,
                    whole[low:high],
                    starts[end - 1] - low,
                )
            )
        self._schedule()

    def _cuts(self, starts: list[int], size: int) -> Iterable[tuple[int, int]]:
        """Cut a submission only if it does not fit into one chunk: (first, end) of each part."""
        count = len(starts)
        most = max(1, self._answer_room // _ANSWER_COST)
        if size <= self._chunk_bytes and count <= most:
            return ((0, count),)
        cuts = [0]
        for index in range(1, count):
            end = starts[index + 1] if index + 1 < count else size
            if end - starts[cuts[-1]] > self._chunk_bytes or index - cuts[-1] >= most:
                cuts.append(index)
        return itertools.pairwise((*cuts, count))

    def _schedule(self) -> None:
        if not self._scheduled and self._pending:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        """Send one chunk; more in the next turn, so that the loop never stalls for two."""
        self._scheduled = False
        chunk = self._take_chunk()
        self._schedule()
        if not chunk:
            return
        try:
            self._exchange(chunk)
        except BaseException as error:
            # No caller may wait for ever because of a defect here.
            for parcel in chunk:
                parcel.submission.fail(OutcomeUnknown(f"{type(error).__name__} while reading"))
            raise

    def _take_chunk(self) -> list[_Parcel]:
        """Take what fits into one send and its answers into the receive buffer."""
        chunk: list[_Parcel] = []
        size, room = 0, self._answer_room
        while self._pending and len(chunk) < CHUNK_VECTORS:
            parcel = self._pending[0]
            if parcel.submission.future.done():  # cancelled, or an earlier part went wrong
                self._pending.popleft().wipe()
                continue
            size += len(parcel.view)
            asked = parcel.submission.decoder is not None
            room -= parcel.count * (_REPLY_COST if asked else _ANSWER_COST)
            if chunk and (size > self._chunk_bytes or room < 0):
                break
            chunk.append(self._pending.popleft())
        return chunk

    def _exchange(self, chunk: list[_Parcel]) -> None:
        """Send a chunk, read its answers, and tell every caller."""
        chunk[-1].ask_for_answer()
        try:
            self._socket.sendmsg([parcel.view for parcel in chunk])
        except OSError as error:
            # Refused before the kernel looked at a message: all of it is known not to be done.
            self._refuse(chunk, KernelError(error.errno or errno.EIO, "the send was refused"))
            return
        finally:
            for parcel in chunk:
                parcel.wipe()
        complete = self._read_answers(chunk)
        for parcel in chunk:
            if not complete:
                parcel.submission.fail(OutcomeUnknown("answers of the kernel were lost"))
            parcel.submission.unanswered -= parcel.count
            parcel.submission.finish()

    @staticmethod
    def _refuse(chunk: list[_Parcel], error: KernelError) -> None:
        for parcel in chunk:
            submission = parcel.submission
            for index in range(parcel.index, parcel.index + parcel.count):
                submission.outcomes[index] = KernelError(error.errno, error.message)
            submission.unanswered -= parcel.count
            submission.finish()

    def _read_answers(self, chunk: list[_Parcel]) -> bool:
        """Read every answer into its submission; False if some are missing."""
        answers = _Answers(chunk)
        lost = False
        used = 0
        try:
            while lost or not answers.fenced:  # after a loss read on: leave no answer behind
                try:
                    size = self._socket.recv_into(self._buffer)
                except BlockingIOError:
                    break
                except OSError as error:
                    lost = True
                    if error.errno != errno.ENOBUFS:
                        break
                    continue
                used = max(used, size)
                try:
                    answers.take(self._buffer, size)
                except decode.MalformedMessage:
                    lost = True
        finally:
            self._buffer[:used] = bytes(used)
        return answers.fenced and not lost
