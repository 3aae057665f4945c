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
import itertools
import socket
import struct
from collections.abc import Sequence
from typing import Any, Final, Self, TypeAlias, TypeVar, cast

from netlink import decode
from netlink.bundles import Bundle, BundleForm
from netlink.chunks import Answers, Chunk, Decoder, Part, Run, Submission, is_acknowledgement
from netlink.errors import KernelClosed, KernelError, OutcomeUnknown
from netlink.frames import Buffer, Frame, frame_of
from netlink.reference import Request
from netlink.sockets import open_socket
from netlink.templates import LARGEST_MESSAGE, check, encode_into
from netlink.uapi import NLM_F_ACK

T = TypeVar("T")

Outcomes: TypeAlias = tuple[KernelError | None, ...]

#: Bytes of one send: 32 sets. The kernel's own rate levels off at a quarter of it, but a turn of
#: the loop for each send does not; it stands still for some half a millisecond.
CHUNK_BYTES: Final = 136 << 10
RECEIVE_BUFFER: Final = 1 << 20

_SEND_OVERHEAD: Final = 32  # netlink_sendmsg refuses more than SO_SNDBUF less this
_ANSWER_COST: Final = 1280  # receive buffer charged for an error answer with long words
_REPLY_COST: Final = 8192  # ... and for a reply with a body
_FEW: Final = 4  # bundles: as quickly encoded each by itself
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
        self._out = Buffer(self._chunk_bytes + LARGEST_MESSAGE)
        self._in = Buffer(65536)

    @classmethod
    def open(cls, *, receive_buffer: int = RECEIVE_BUFFER) -> Self:
        """Open one in the network namespace of this thread. Raises OSError."""
        return cls(open_socket(receive_buffer))

    def submit(self, requests: Sequence[Request]) -> asyncio.Future[Outcomes]:
        """Return one outcome for each request; the contract is that of ``Kernel.commit``.

        A future and no coroutine: who submits for many needs no task for each.
        """
        form = requests.form if isinstance(requests, Bundle) else None
        submission = Submission(self._loop, requests, None, form)
        if self._closed:
            submission.fail(KernelClosed())
        elif form is not None and form.size <= self._chunk_bytes:
            self._enqueue(submission)
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
        chunk = Chunk(self._out, self._answer_room, self._sequence)
        try:
            self._begin_with_bundles(chunk)
            self._fill(chunk)
            self._sequence = chunk.sequence
            if chunk.parts:
                self._exchange(chunk)
        except BaseException as error:
            # No caller may wait for ever because of a defect here.
            for part in chunk.parts:
                part.fail(OutcomeUnknown(f"{type(error).__name__} while exchanging"))
            raise
        finally:
            if isinstance(chunk.out, Frame):
                chunk.out.release()
            self._schedule()

    # --- what goes out ---------------------------------------------------------------------------

    def _begin_with_bundles(self, chunk: Chunk) -> None:
        """Encode together the bundles of one form that wait before all else, if they are many."""
        if len(self._pending) < _FEW or (form := self._pending[0].form) is None:
            return
        width = self._chunk_bytes // form.size
        most = min(width, chunk.room // (form.count * _ANSWER_COST))
        head = list(itertools.islice(self._pending, most))
        if [submission.form for submission in head].count(form) < len(head):
            head = list(itertools.takewhile(lambda submission: submission.form is form, head))
        submissions = [s for s in head if not s.future.done()]  # the callers of others have left
        if len(submissions) < max(_FEW, width // 4):  # of a frame all columns are written whole
            return
        bundles = [cast("Bundle", submission.requests) for submission in submissions]
        frame = frame_of(bundles, self.port_id, self._chunk_bytes, len(self._out.data))
        try:
            frame.fill(bundles, chunk.sequence + 1)
        except (ValueError, TypeError, OverflowError):
            frame.wipe()  # one by one it comes out whose it is
            frame.release()
            return
        for _ in head:
            self._pending.popleft()
        chunk.out = frame
        chunk.parts.append(Run(submissions, form.count, chunk.sequence + 1))
        chunk.add_bundles(form, len(bundles), form.count * _ANSWER_COST)

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
            if chunk.size and self._is_full_for(chunk, submission.form):
                return
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
            form = requests.form
            requests.encode_into(chunk.out.data, chunk.size, chunk.sequence + 1, self.port_id)
            chunk.add_bundles(form, 1, form.count * _ANSWER_COST)
            part.end += form.count
            return
        cost = _ANSWER_COST if part.submission.decoder is None else _REPLY_COST
        for index in range(part.begin, len(requests)):
            end = encode_into(
                chunk.out.data, chunk.size, requests[index], chunk.sequence + 1, self.port_id
            )
            if chunk.size and (end > self._chunk_bytes or chunk.room < cost):
                return
            chunk.add_message(end, cost)
            part.end += 1

    def _is_full_for(self, chunk: Chunk, form: BundleForm | None) -> bool:
        """Tell if there is no room for one more bundle, whole."""
        return form is not None and (
            chunk.size + form.size > self._chunk_bytes or chunk.room < form.count * _ANSWER_COST
        )

    def _take_back(self, chunk: Chunk, mark: tuple[int, int, int, int]) -> None:
        # What was encoded lies there, and what found no room or failed half done.
        chunk.return_to(mark)
        chunk.out.wipe(chunk.size)

    def _exchange(self, chunk: Chunk) -> None:
        """Send a chunk, read its answers, and tell every caller."""
        data, at = chunk.out.data, chunk.last_start + _FLAGS_OFFSET
        _FLAGS.pack_into(data, at, _FLAGS.unpack_from(data, at)[0] | NLM_F_ACK)
        try:
            with memoryview(data) as view:
                self._socket.send(view[: chunk.size])
        except OSError as error:
            # Refused before the kernel looked at a message: all of it is known not to be done.
            self._refuse(chunk, error.errno or errno.EIO)
            return
        finally:
            # Of a frame all bundles are written, however few are sent.
            framed = isinstance(chunk.out, Frame)
            chunk.out.wipe(0, None if framed else chunk.size + LARGEST_MESSAGE)
        complete = self._read_answers(chunk)
        for part in chunk.parts:
            if not complete:
                part.fail(OutcomeUnknown("answers of the kernel were lost"))
            part.finish()

    @staticmethod
    def _refuse(chunk: Chunk, number: int) -> None:
        for part in chunk.parts:
            for sequence in part.sequences():
                submission, index = part.find(sequence)
                submission.put(index, KernelError(number, "the send was refused"))
            part.finish()

    # --- what comes back -------------------------------------------------------------------------

    def _read_answers(self, chunk: Chunk) -> bool:
        """Read every answer into its submission; False if some are missing."""
        answers = Answers(chunk)
        lost = False
        used = 0
        try:
            while lost or not answers.fenced:  # after a loss read on: leave no answer behind
                try:
                    size = self._socket.recv_into(self._in.data)
                except BlockingIOError:
                    break
                except OSError as error:
                    lost = True
                    if error.errno != errno.ENOBUFS:
                        break
                    continue
                used = max(used, size)
                if not lost and is_acknowledgement(self._in.data, size, chunk.sequence):
                    return True  # the fence, last of all answers
                try:
                    answers.take(self._in.data, size)
                except decode.MalformedMessage:
                    lost = True
        finally:
            self._in.wipe(0, used)
        return answers.fenced and not lost
