"""The books of :mod:`netlink.requests`: who asked for what, in which send, and what came back."""

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from netlink import decode
from netlink.errors import KernelError, OutcomeUnknown
from netlink.reference import Request
from netlink.uapi import NLMSG_ERROR

T = TypeVar("T")

Decoder: TypeAlias = Callable[[decode.Buffer, int, int], T]

_NO_REPLY: Final = OutcomeUnknown("the kernel acknowledged a question without a reply")


class Submission:
    """One caller's requests; its future holds an outcome for each.

    Of operations, that is an error or None; of questions (with a ``decoder``) an exception or the
    decoded reply.
    """

    __slots__ = ("decoder", "future", "outcomes", "requests", "sent")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        requests: Sequence[Request],
        decoder: Decoder[Any] | None,
    ) -> None:
        self.future: asyncio.Future[tuple[Any, ...]] = loop.create_future()
        self.requests = requests
        self.decoder = decoder
        self.outcomes: list[Any] = [None if decoder is None else _NO_REPLY] * len(requests)
        self.sent = 0

    def fail(self, error: Exception) -> None:
        """Tell the caller, unless something was told already or the caller has left."""
        if not self.future.done():
            self.future.set_exception(error)

    def finish(self) -> None:
        """Give the caller what has come, once everything was sent and answered for."""
        if self.sent == len(self.requests) and not self.future.done():
            self.future.set_result(tuple(self.outcomes))


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


class Chunk:
    """What one send carries: how much of the buffer, and whose messages they are.

    ``sequence`` is that of its last message, the fence.
    """

    __slots__ = ("last_start", "parts", "room", "sequence", "size")

    def __init__(self, room: int, sequence: int) -> None:
        self.parts: list[Part] = []
        self.size = 0
        self.room = room
        self.last_start = 0
        self.sequence = sequence

    def add_message(self, end: int, cost: int) -> None:
        """Note a message that was written from ``size`` to ``end``."""
        self.add_messages(end, cost, 1, self.size)

    def add_messages(self, end: int, cost: int, count: int, last_start: int) -> None:
        """Note so many messages from ``size`` to ``end``, the last of them at ``last_start``."""
        self.last_start, self.size = last_start, end
        self.room -= cost
        self.sequence += count

    def mark(self) -> tuple[int, int, int, int]:
        """Return what :meth:`return_to` takes."""
        return self.size, self.room, self.last_start, self.sequence

    def return_to(self, mark: tuple[int, int, int, int]) -> None:
        """Forget the messages since then."""
        self.size, self.room, self.last_start, self.sequence = mark


class Answers:
    """What came back for one chunk."""

    __slots__ = ("_chunk", "_owners", "fenced")

    def __init__(self, chunk: Chunk) -> None:
        self._chunk = chunk
        self._owners: dict[int, Part] = {}
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
            submission = owner.submission
            index = owner.begin + message.sequence - owner.first
            if number:
                submission.outcomes[index] = KernelError(number, words)
            elif submission.decoder is not None:
                try:
                    reply = submission.decoder(buffer, message.start, message.end)
                except decode.MalformedMessage as error:
                    reply = error
                submission.outcomes[index] = reply

    def _owner(self, sequence: int) -> Part | None:
        # Most chunks have no error and never need this table.
        if not self._owners:
            self._owners = {s: part for part in self._chunk.parts for s in part.sequences()}
        return self._owners.get(sequence)
