"""The books of :mod:`netlink.requests`: who asked for what, in which send, and what came back."""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from netlink import decode
from netlink.bundles import BundleForm
from netlink.errors import KernelError, OutcomeUnknown
from netlink.frames import Buffer
from netlink.reference import Request
from netlink.uapi import NLMSG_ERROR

T = TypeVar("T")

Decoder: TypeAlias = Callable[[decode.Buffer, int, int], T]

# struct nlmsghdr, struct nlmsgerr with the header of what was asked.
_ACKNOWLEDGEMENT: Final = struct.Struct("=IHHIIi16x")

_NO_REPLY: Final = OutcomeUnknown("the kernel acknowledged a question without a reply")


class Submission:
    """One caller's requests; its future holds an outcome for each.

    Of operations, that is an error or None; of questions (with a ``decoder``) an exception or the
    decoded reply. ``form`` is that of a bundle, None of anything else.
    """

    __slots__ = ("decoder", "form", "future", "outcomes", "requests", "sent")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        requests: Sequence[Request],
        decoder: Decoder[Any] | None,
        form: BundleForm | None = None,
    ) -> None:
        self.future: asyncio.Future[tuple[Any, ...]] = asyncio.Future(loop=loop)
        self.requests = requests
        self.decoder = decoder
        self.form = form
        self.sent = 0
        self.outcomes: list[Any] | None = None  # made when there is something to tell

    def put(self, index: int, outcome: object) -> None:
        """Note what became of one request."""
        if self.outcomes is None:
            self.outcomes = list(self._unless_told())
        self.outcomes[index] = outcome

    def _unless_told(self) -> tuple[Any, ...]:
        return (None if self.decoder is None else _NO_REPLY,) * len(self.requests)

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless something was told already or the caller has left."""
        if not self.future.done():
            self.future.set_exception(error)

    def finish(self) -> None:
        """Give the caller what has come, once everything was sent and answered for."""
        if self.sent == len(self.requests) and not self.future.done():
            told = self._unless_told() if self.outcomes is None else tuple(self.outcomes)
            self.future.set_result(told)


class Part:
    """The requests of one submission that travel in one chunk."""

    __slots__ = ("begin", "end", "first", "submission")

    def __init__(self, submission: Submission, first: int) -> None:
        self.submission = submission
        self.begin = self.end = submission.sent
        self.first = first

    def sequences(self) -> range:
        """Return the sequence numbers of these requests."""
        return range(self.first, self.first + self.end - self.begin)

    def find(self, sequence: int) -> tuple[Submission, int]:
        """Return whose request has this number, and which of his it is."""
        return self.submission, self.begin + sequence - self.first

    def fail(self, error: Exception) -> None:
        """Tell the caller."""
        self.submission.fail(error)

    def finish(self) -> None:
        """Give the caller what has come, if this was the last part."""
        self.submission.finish()


class Run:
    """Submissions of so many requests each, whole, that lie one behind the other in a chunk."""

    __slots__ = ("_count", "_first", "_submissions")

    def __init__(self, submissions: Sequence[Submission], count: int, first: int) -> None:
        self._submissions = submissions
        self._count = count
        self._first = first

    def sequences(self) -> range:
        """Return the sequence numbers of all requests."""
        return range(self._first, self._first + self._count * len(self._submissions))

    def find(self, sequence: int) -> tuple[Submission, int]:
        """Return whose request has this number, and which of his it is."""
        which, index = divmod(sequence - self._first, self._count)
        return self._submissions[which], index

    def fail(self, error: Exception) -> None:
        """Tell every caller."""
        for submission in self._submissions:
            submission.fail(error)

    def finish(self) -> None:
        """Give every caller what has come."""
        success = (None,) * self._count
        for submission in self._submissions:
            future, outcomes = submission.future, submission.outcomes
            if not future.done():
                future.set_result(success if outcomes is None else tuple(outcomes))


class Chunk:
    """What one send carries: how much of which buffer, and whose messages they are.

    ``sequence`` is that of its last message, the fence.
    """

    __slots__ = ("last_start", "out", "parts", "room", "sequence", "size")

    def __init__(self, out: Buffer, room: int, sequence: int) -> None:
        self.out = out
        self.parts: list[Part | Run] = []
        self.size = 0
        self.room = room
        self.last_start = 0
        self.sequence = sequence

    def add_message(self, end: int, cost: int) -> None:
        """Note a message that was written from ``size`` to ``end``."""
        self.last_start, self.size = self.size, end
        self.room -= cost
        self.sequence += 1

    def add_bundles(self, form: BundleForm, number: int, cost: int) -> None:
        """Note so many bundles, each of which costs so much room for answers."""
        self.size += number * form.size
        self.last_start = self.size - form.size + form.last_start
        self.room -= number * cost
        self.sequence += number * form.count

    def mark(self) -> tuple[int, int, int, int]:
        """Return what :meth:`return_to` takes."""
        return self.size, self.room, self.last_start, self.sequence

    def return_to(self, mark: tuple[int, int, int, int]) -> None:
        """Forget the messages since then."""
        self.size, self.room, self.last_start, self.sequence = mark


def is_acknowledgement(buffer: bytearray, size: int, sequence: int) -> bool:
    """Tell if a datagram is the kernel's word for a success of this number, and nothing else."""
    if size != _ACKNOWLEDGEMENT.size:
        return False
    length, kind, _, told, _, error = _ACKNOWLEDGEMENT.unpack_from(buffer)
    return (length, kind, told, error) == (size, NLMSG_ERROR, sequence, 0)


class Answers:
    """What came back for one chunk."""

    __slots__ = ("_chunk", "_owners", "fenced")

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._owners: dict[int, Part | Run] = {}
        self.fenced = False

    def take(self, buffer: bytearray, size: int) -> None:
        """Read one datagram."""
        for message in decode.messages(buffer, size):
            number, words = 0, ""
            if message.type == NLMSG_ERROR:
                number, words = decode.answer(buffer, message)
                self.fenced |= message.sequence == self._chunk.sequence
                if not number:
                    continue
            owner = self._owner(message.sequence)
            if owner is None:
                continue
            submission, index = owner.find(message.sequence)
            if number:
                submission.put(index, KernelError(number, words))
            elif submission.decoder is not None:
                try:
                    reply = submission.decoder(buffer, message.start, message.end)
                except decode.MalformedMessage as error:
                    reply = error
                submission.put(index, reply)

    def _owner(self, sequence: int) -> Part | Run | None:
        # Most chunks have no error and never need this table.
        if not self._owners:
            self._owners = {s: part for part in self._chunk.parts for s in part.sequences()}
        return self._owners.get(sequence)
