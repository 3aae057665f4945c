"""The asyncio request socket: many callers, one send, every error to its request.

The kernel works netlink requests off inside ``send``: when it returns, everything is applied and
every answer lies in the receive buffer, so there is nothing to wait for. Submissions of one loop
turn are put together into chunks. The last message of a chunk asks for an acknowledgement (the
fence), the others are answered only when they fail; without the fence's answer nothing about the
chunk is known, because a batch can end in silence and answers can be lost.

:mod:`netlink.templates` encodes what is sent, :mod:`netlink.decode` reads what comes back. Both
work in one buffer each, which stays hot in the cache and is wiped after every use.
"""

import asyncio
import collections
import errno
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar

from netlink import decode
from netlink.bundles import Bundle
from netlink.chunks import Answers, Chunk, Decoder, Part, Submission
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.reference import Request
from netlink.sockets import open_socket
from netlink.templates import LARGEST_MESSAGE, check, encode_into
from netlink.uapi import NLM_F_ACK

T = TypeVar("T")

Outcomes: TypeAlias = tuple[KernelError | None, ...]

CHUNK_BYTES: Final = 65536  # where throughput levels off; more only stalls the loop longer
RECEIVE_BUFFER: Final = 1 << 20

_SEND_OVERHEAD: Final = 32  # netlink_sendmsg refuses more than SO_SNDBUF less this
_ANSWER_COST: Final = 1280  # receive buffer charged for an error answer with long words
_REPLY_COST: Final = 8192  # ... and for a reply with a body
_MAX_SEQUENCE: Final = 0xFFFF_FFFF
_MAX_MESSAGES: Final = CHUNK_BYTES // 16  # in one chunk
_FLAGS_OFFSET: Final = 6
_FLAGS: Final = struct.Struct("=H")


class RequestSocket:
    """Requests to XFRM over one socket; belongs to the loop that runs when it is made."""

    def __init__(self, opened: socket.socket) -> None:
        # Asking for the running loop is a system call (getpid) each time: too dear for each set.
        self._loop = asyncio.get_running_loop()
        self._socket = opened
        self.port_id: int = opened.getsockname()[0]
        send_buffer = opened.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF)
        self._chunk_bytes = min(CHUNK_BYTES, send_buffer - _SEND_OVERHEAD)
        self._answer_room = opened.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        self._pending: collections.deque[Submission] = collections.deque()
        self._sequence = 0
        self._scheduled = False
        self._closed = False
        self._out = bytearray(self._chunk_bytes + LARGEST_MESSAGE)
        self._in = bytearray(65536)
        self._zeros = memoryview(bytes(max(len(self._out), len(self._in))))

    @classmethod
    def open(cls, *, receive_buffer: int = RECEIVE_BUFFER) -> Self:
        """Open one in the network namespace of this thread. Raises OSError."""
        return cls(open_socket(receive_buffer))

    def submit(self, requests: Sequence[Request]) -> asyncio.Future[Outcomes]:
        """Return one outcome for each request; the contract is that of ``Kernel.commit``.

        A future and no coroutine: who submits for many needs no task for each.
        """
        submission = Submission(self._loop, requests, None)
        if self._closed:
            submission.fail(KernelClosed())
        elif not requests:
            submission.finish()
        else:
            try:
                if len(requests) * LARGEST_MESSAGE > self._chunk_bytes:
                    # It may take several sends, and none may go before an error is found.
                    check(requests)
            except Exception as error:  # noqa: BLE001 - the caller's, when he awaits
                submission.fail(error)
            else:
                self._enqueue(submission)
        return submission.future

    async def ask(self, request: Request, decoder: Decoder[T]) -> T:
        """Return the decoded reply to one GET request.

        Raises KernelError, OutcomeUnknown, MalformedMessage.
        """
        (reply,) = await self.ask_all((request,), decoder)
        if isinstance(reply, Exception):
            raise reply
        return reply

    async def ask_all(
        self, requests: Sequence[Request], decoder: Decoder[T]
    ) -> tuple[T | KernelError | OutcomeUnknown | decode.MalformedMessage, ...]:
        """Return the decoded reply to each of some GET requests, or what came in its place.

        Raises OutcomeUnknown.
        """
        if self._closed:
            raise KernelClosed
        return await self._enqueue(Submission(self._loop, requests, decoder))

    def close(self) -> None:
        """Close the socket; what was not yet sent fails with KernelClosed."""
        self._closed = True
        self._socket.close()
        while self._pending:
            self._pending.popleft().fail(KernelClosed())

    def _enqueue(self, submission: Submission) -> asyncio.Future[tuple[Any, ...]]:
        self._pending.append(submission)
        self._schedule()
        return submission.future

    def _schedule(self) -> None:
        if not self._scheduled and self._pending:
            self._scheduled = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Send one chunk; more in the next turn, so that the loop never stalls for two."""
        self._scheduled = False
        if self._sequence > _MAX_SEQUENCE - _MAX_MESSAGES:
            self._sequence = 0
        chunk = Chunk(self._answer_room, self._sequence)
        try:
            self._fill(chunk)
            self._sequence = chunk.sequence
            if chunk.parts:
                self._exchange(chunk)
        except BaseException as error:
            # No caller may wait for ever because of a defect here.
            for part in chunk.parts:
                part.submission.fail(OutcomeUnknown(f"{type(error).__name__} while exchanging"))
            raise
        finally:
            self._schedule()

    # --- what goes out ---------------------------------------------------------------------------

    def _fill(self, chunk: Chunk) -> None:
        """Encode what fits into one send, and its answers into the receive buffer.

        A submission is cut only if it alone does not fit: a set is never torn over two sends
        because of its neighbours.
        """
        while self._pending:
            submission = self._pending[0]
            if submission.future.done():  # cancelled, or an earlier part went wrong
                self._pending.popleft()
                continue
            mark = chunk.mark()
            part = Part(submission, chunk.sequence + 1)
            try:
                self._encode(part, chunk)
            except Exception as error:  # noqa: BLE001 - its own caller's, and nobody else's
                self._take_back(chunk, mark)
                self._pending.popleft().fail(error)
                continue
            whole = part.end == len(submission.requests)
            if chunk.parts and not whole:
                self._take_back(chunk, mark)
                return
            chunk.parts.append(part)
            submission.sent = part.end
            if not whole:
                return
            self._pending.popleft()

    def _encode(self, part: Part, chunk: Chunk) -> None:
        """Encode of a submission what there is room for, and one message even if there is none."""
        requests = part.submission.requests
        if isinstance(requests, Bundle) and requests.form.size <= self._chunk_bytes:
            self._encode_bundle(requests, part, chunk)
            return
        cost = _ANSWER_COST if part.submission.decoder is None else _REPLY_COST
        for index in range(part.begin, len(requests)):
            end = encode_into(
                self._out, chunk.size, requests[index], chunk.sequence + 1, self.port_id
            )
            if chunk.size and (end > self._chunk_bytes or chunk.room < cost):
                return
            chunk.add_message(end, cost)
            part.end += 1

    def _encode_bundle(self, bundle: Bundle, part: Part, chunk: Chunk) -> None:
        """Encode a bundle whole, or nothing of it."""
        form = bundle.form
        cost = form.count * _ANSWER_COST
        if chunk.size and (chunk.size + form.size > self._chunk_bytes or chunk.room < cost):
            return
        end = bundle.encode_into(self._out, chunk.size, chunk.sequence + 1, self.port_id)
        chunk.add_messages(end, cost, form.count, chunk.size + form.last_start)
        part.end += form.count

    def _take_back(self, chunk: Chunk, mark: tuple[int, int, int, int]) -> None:
        # What was encoded lies there, and what found no room or failed half done.
        chunk.return_to(mark)
        self._wipe(self._out, chunk.size, len(self._out))

    def _exchange(self, chunk: Chunk) -> None:
        """Send a chunk, read its answers, and tell every caller."""
        at = chunk.last_start + _FLAGS_OFFSET
        _FLAGS.pack_into(self._out, at, _FLAGS.unpack_from(self._out, at)[0] | NLM_F_ACK)
        try:
            with memoryview(self._out) as out:
                self._socket.send(out[: chunk.size])
        except OSError as error:
            # Refused before the kernel looked at a message: all of it is known not to be done.
            self._refuse(chunk, error.errno or errno.EIO)
            return
        finally:
            self._wipe(self._out, 0, min(chunk.size + LARGEST_MESSAGE, len(self._out)))
        complete = self._read_answers(chunk)
        for part in chunk.parts:
            if not complete:
                part.submission.fail(OutcomeUnknown("answers of the kernel were lost"))
            part.submission.finish()

    @staticmethod
    def _refuse(chunk: Chunk, number: int) -> None:
        for part in chunk.parts:
            for index in range(part.begin, part.end):
                part.submission.outcomes[index] = KernelError(number, "the send was refused")
            part.submission.finish()

    def _wipe(self, buffer: bytearray, start: int, end: int) -> None:
        with memoryview(buffer) as view:
            view[start:end] = self._zeros[: end - start]

    # --- what comes back -------------------------------------------------------------------------

    def _read_answers(self, chunk: Chunk) -> bool:
        """Read every answer into its submission; False if some are missing."""
        answers = Answers(chunk)
        lost = False
        used = 0
        try:
            while lost or not answers.fenced:  # after a loss read on: leave no answer behind
                try:
                    size = self._socket.recv_into(self._in)
                except BlockingIOError:
                    break
                except OSError as error:
                    lost = True
                    if error.errno != errno.ENOBUFS:
                        break
                    continue
                used = max(used, size)
                try:
                    answers.take(self._in, size)
                except decode.MalformedMessage:
                    lost = True
        finally:
            self._wipe(self._in, 0, used)
        return answers.fenced and not lost
