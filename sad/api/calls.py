"""The calls that one connection has begun, and their replies in the order of the calls.

The counterpart of :mod:`sad.api.methods`, which works the replies out, and of
:mod:`sad.api.connection`, which reads calls and sends what stands in the outbox.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from contextlib import aclosing
from typing import Final

from sad.api.edges import Outbox
from sad.api.framing import Call
from sad.api.methods import Begun
from sad.api.passing import Passed, Reply
from sad.api.streams import Stream
from sad.api.work import Work

_REPLIES: Final = (bytes, Passed)
_TURN_BYTES: Final = 64 * 1024
"""A stream lets others run after so much."""


class _Slot:
    """The place of one call's reply; None while it is being worked out."""

    __slots__ = ("_on_done", "_work", "reply")

    def __init__(self, on_done: Callable[["_Slot"], None], reply: Reply | None = None) -> None:
        self._on_done = on_done
        self._work: asyncio.Task[bytes] | Work | None = None
        self.reply = reply

    @property
    def ended(self) -> bool:
        """Whether nothing works for it any more."""
        work = self._work
        return work is None or (work.done if isinstance(work, Work) else work.done())

    def begin(self, work: asyncio.Task[bytes] | Work) -> None:
        """Have the reply worked out."""
        self._work = work
        if isinstance(work, Work):
            work.begin(self._fill)
        else:
            work.add_done_callback(self._done)

    def cancel(self) -> None:
        """Nobody is there to take it."""
        if self._work is not None:
            self._work.cancel()
        elif isinstance(self.reply, Passed):
            self.reply.close()

    def _done(self, task: asyncio.Task[bytes]) -> None:
        failed = task.cancelled() or task.exception() is not None
        self._fill(None if failed else task.result())

    def _fill(self, reply: bytes | None) -> None:
        self.reply = reply
        self._on_done(self)


class Calls:
    """Calls begin in order, overlap, and are answered in order.

    A call with many replies has the connection for itself: it starts after the replies before it,
    and nothing begins until it has ended. ``on_change`` asks for a turn, in which the owner calls
    :meth:`collect`. ``unanswered`` turns true if a call can never be answered: the next call's
    reply would be taken for its own, so the connection is of no more use.
    """

    def __init__(
        self, outbox: Outbox, *, begin: Callable[[Call], Begun], on_change: Callable[[], None]
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._outbox = outbox
        self._begin = begin
        self._on_change = on_change
        self._slots: deque[_Slot] = deque()
        self._passed_waiting = 0  # slots whose reply has descriptors
        self._oneways: set[asyncio.Task[bytes]] = set()
        self._stream: Stream | None = None
        self._stream_task: asyncio.Task[None] | None = None
        self._room: asyncio.Future[None] | None = None  # the stream waits for the outbox
        self._cut = False
        self._abandoned = False
        self.unanswered = False

    def __len__(self) -> int:
        return len(self._slots) + len(self._oneways)

    @property
    def streaming(self) -> bool:
        """Whether a stream runs or waits for its start."""
        return self._stream is not None

    @property
    def awaited(self) -> bool:
        """Whether the client is still due replies."""
        return bool(self._slots) or self.streaming

    @property
    def passing(self) -> bool:
        """Whether descriptors wait to be sent, or for their turn."""
        return self._passed_waiting > 0 or self._outbox.passing

    def has_room(self, most: int) -> bool:
        """Whether a call may begin, of ``most`` at once."""
        return (
            self._stream is None
            and len(self._slots) + len(self._oneways) < most
            and not self._passed_waiting
            and self._outbox.open
        )

    @property
    def ended(self) -> bool:
        """Whether nothing of it is worked on any more."""
        stream = self._stream_task
        return (
            (stream is None or stream.done())
            and all(task.done() for task in self._oneways)
            and all(slot.ended for slot in self._slots)
        )

    def begin(self, call: Call) -> None:
        """Begin a call; with the client gone, only one that wants no reply."""
        if self._abandoned and not call.oneway:
            return
        begun = self._begin(call)
        if isinstance(begun, _REPLIES):
            if not call.oneway:
                self.answer(begun)
            elif isinstance(begun, Passed):
                begun.close()
        elif isinstance(begun, Stream):
            if not call.oneway:  # it would only be replies
                self._stream = begun
        elif call.oneway:
            work = begun.coroutine if isinstance(begun, Work) else begun
            task = self._loop.create_task(work)
            self._oneways.add(task)
            task.add_done_callback(self._on_oneway_done)
        else:
            slot = _Slot(self._on_slot_done)
            self._slots.append(slot)
            slot.begin(begun if isinstance(begun, Work) else self._loop.create_task(begun))

    def answer(self, reply: Reply) -> None:
        """Reply at once, or after the calls before."""
        if self._slots:
            self._passed_waiting += isinstance(reply, Passed)
            self._slots.append(_Slot(self._on_slot_done, reply))
        else:
            self._outbox.put(reply)

    def collect(self) -> None:
        """Move the replies that are due to the outbox; start a stream whose turn it is."""
        while self._slots and self._slots[0].reply is not None:
            reply = self._slots.popleft().reply or b""
            self._passed_waiting -= isinstance(reply, Passed)
            self._outbox.put(reply)
        if self._stream is not None and self._stream_task is None and not self._slots:
            self._stream_task = self._loop.create_task(self._run(self._stream))
            self._stream_task.add_done_callback(self._on_stream_done)

    def make_room(self) -> None:
        """Let the stream go on: the outbox has been sent as far as it will."""
        if self._room is not None and not self._outbox.full:
            if not self._room.done():
                self._room.set_result(None)
            self._room = None

    def cut_stream(self) -> bool:
        """End a stream with its last words; false if there are none to be said (any more)."""
        if self._stream is None or self._cut:
            return False
        self._outbox.put(self._stream.last_words)
        said = bool(self._stream.last_words)
        if self._stream_task is None:
            self._stream = None
        else:
            self._cut = True
            self._stream_task.cancel()
        return said

    def abandon(self) -> None:
        """Cancel what only works out replies: nobody is there to take them.

        Each task is cancelled once: a second time would strike its clean-up.
        """
        if self._abandoned:
            return
        self._abandoned = True
        for slot in self._slots:
            slot.cancel()
        if self._stream_task is None:
            self._stream = None
        elif not self._cut:
            self._stream_task.cancel()

    def cancel(self) -> None:
        """Cancel everything; to be called once."""
        self.abandon()
        for task in self._oneways:
            task.cancel()

    def _on_slot_done(self, slot: _Slot) -> None:
        if slot.reply is None:
            slot.reply = b""
            self.unanswered |= not self._abandoned
        self._on_change()

    def _on_oneway_done(self, task: asyncio.Task[bytes]) -> None:
        self._oneways.discard(task)
        self._on_change()

    async def _run(self, stream: Stream) -> None:
        written = 0
        async with aclosing(stream.replies) as parts:
            async for part in parts:
                self._outbox.put(part)
                self._on_change()
                written += len(part)
                if written >= _TURN_BYTES or self._outbox.full:
                    written = 0
                    self._room = self._loop.create_future()
                    await self._room

    def _on_stream_done(self, task: asyncio.Task[None]) -> None:
        failed = task.cancelled() or task.exception() is not None
        self.unanswered |= failed and not (self._cut or self._abandoned)
        self._stream = self._stream_task = self._room = None
        self._cut = False
        self._on_change()
