"""One accepted connection: bytes in, calls begun, replies out, within the limits.

The counterpart of :mod:`sad.api.calls` (what has begun); :mod:`sad.api.server` accepts and counts.

The messages of one receive are begun together, so that their work can share one journal
transaction and one netlink send; but not more than a few dozen before others have a turn. Reading
pauses while calls wait or replies pile up. A client that leaves takes its calls with it,
``oneway`` ones excepted: nobody waits for their answer. Closing only the writing side is not
leaving.
"""

import array
import asyncio
import os
import socket
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

from sad.api import replies
from sad.api.calls import Calls
from sad.api.edges import HangupWatch, Outbox
from sad.api.framing import (
    Call,
    InvalidParameterError,
    MalformedMessageError,
    MessageSplitter,
    decode_call,
)
from sad.api.limits import Drop, Limits
from sad.api.methods import Begun
from sad.model.requests import Caller

_RECEIVE_BYTES: Final = 64 * 1024
_BEGUN_AT_ONCE: Final = 32
"""Of one connection, in one turn of the loop: who pipelines hundreds leaves others their turn."""
_ANCILLARY_BYTES: Final = socket.CMSG_SPACE(4 * array.array("i").itemsize)


class Dispatcher(Protocol):
    """What begins calls: :class:`sad.api.methods.Methods`."""

    def begin(self, caller: Caller, call: Call) -> Begun:
        """Begin a call; never raises."""


class Connection:
    """Made and started by the server; ``on_finished`` hears when nothing of it is left.

    ``dropped`` says why we ended it, None if the client did.
    """

    def __init__(
        self,
        connection: socket.socket,
        caller: Caller,
        *,
        dispatcher: Dispatcher,
        limits: Limits,
        hangups: HangupWatch,
        on_finished: Callable[["Connection"], None],
    ) -> None:
        self.caller = caller
        self.dropped: Drop | None = None
        self._socket = connection
        self._limits = limits
        self._hangups = hangups
        self._on_finished = on_finished
        self._loop = asyncio.get_running_loop()
        self._splitter = MessageSplitter(limits.message_bytes)
        self._outbox = Outbox(
            self._loop,
            connection,
            self._turn,
            high_water=limits.high_water,
            limit=limits.output_bytes,
        )
        self._calls = Calls(
            self._outbox,
            begin=lambda call: dispatcher.begin(caller, call),
            on_change=self._on_change,
        )
        self._backlog: deque[bytes] = deque()  # messages not begun; reading pauses for them
        self._partial_since: float | None = None
        self._clock: asyncio.TimerHandle | None = None
        self._turn_due = False
        self._reading = False
        self._ended = False  # nothing more is read: end of file, a violation, or our own stop
        self._gone = False  # the client takes nothing more
        self._closed = False
        self._finished = False

    def start(self) -> None:
        """Begin to read."""
        self._arrange()

    def finish(self) -> None:
        """Read no more, answer what has begun, then close."""
        self._backlog.clear()
        self._end(None)
        self._turn()

    def cancel(self) -> None:
        """Close now and cancel everything, ``oneway`` calls too."""
        self._close()
        self._calls.cancel()

    # --- in ----------------------------------------------------------------------------------

    def _on_readable(self) -> None:
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                _RECEIVE_BYTES, _ANCILLARY_BYTES, socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return
        except OSError:  # it closed and left replies unread
            self._ended = True
            self._depart()
            self._turn()
            return
        if ancillary or flags & socket.MSG_CTRUNC:
            _close_descriptors(ancillary)
            self._drop(Drop.DESCRIPTORS)
            return
        if not data:
            self._ended = True
        messages = self._splitter.feed(data)
        self._backlog.extend(messages)
        if not self._splitter.pending:
            self._partial_since = None
        elif messages or self._partial_since is None:
            self._partial_since = self._loop.time()
        if self._splitter.overflowed:
            self._end(Drop.MESSAGE_TOO_LONG)
        self._turn()

    def _turn(self) -> None:
        """Answer what is done, begin what waits, send, and read on or not."""
        self._turn_due = True  # what is done while others begin is answered below
        try:
            self._calls.collect()
            if self._backlog:
                for _ in range(_BEGUN_AT_ONCE):
                    if not self._may_begin():
                        break
                    self._begin(self._backlog.popleft())
                self._calls.collect()
        finally:
            self._turn_due = False
        if self._calls.unanswered:
            self._drop(Drop.UNANSWERED)
        if self._outbox.overrun:
            self._drop(Drop.NOT_READING)
        if self._closed:
            self._finish_if_quiet()
            return
        try:
            self._outbox.send()
        except OSError:
            self._depart()
        self._calls.make_room()
        self._arrange()

    def _may_begin(self) -> bool:
        return bool(self._backlog) and self._calls.has_room(self._limits.queued_calls)

    def _begin(self, message: bytes) -> None:
        try:
            self._calls.begin(decode_call(message))
        except MalformedMessageError:
            self._backlog.clear()
            self._end(Drop.MALFORMED_MESSAGE)
        except InvalidParameterError as error:
            # Whether this one wants a reply is not known: it gets one, and is the last.
            self._calls.answer(replies.invalid_parameter(error.parameter))
            self._backlog.clear()
            self._end(Drop.MALFORMED_MESSAGE)

    def _arrange(self) -> None:
        """Read if there is room for more, watch for a hang-up if not, close if all is done."""
        if self._ended and not (self._backlog or self._calls.awaited or len(self._outbox)):
            self._close()
            return
        self._set_reading(
            wanted=not (self._ended or self._backlog or self._outbox.full),
        )
        if self._may_begin():
            self._schedule_turn()
        self._set_clock()

    def _set_reading(self, *, wanted: bool) -> None:
        if wanted == self._reading:
            return
        self._reading = wanted
        self._partial_since = None  # what is not read cannot end
        if wanted:
            self._hangups.remove(self._socket)
            self._loop.add_reader(self._socket, self._on_readable)
            if self._splitter.pending:
                self._partial_since = self._loop.time()
        else:
            self._loop.remove_reader(self._socket)
            if not self._gone:
                self._hangups.add(self._socket, self._on_hangup)

    def _on_change(self) -> None:
        """Answer at once who waits for nothing else, and many calls together in the next turn."""
        if len(self._calls) == 1 and not self._turn_due:
            self._turn()
        else:
            self._schedule_turn()

    def _schedule_turn(self) -> None:
        if not self._turn_due:
            self._turn_due = True
            self._loop.call_soon(self._turn)

    # --- ends --------------------------------------------------------------------------------

    def _end(self, reason: Drop | None) -> None:
        """Read no more; what has begun is still answered."""
        self._ended = True
        self.dropped = self.dropped or reason
        self._calls.cut_stream()

    def _on_hangup(self) -> None:
        self._depart()
        self._turn()

    def _depart(self) -> None:
        """Nobody takes a reply any more: only what wants none goes on."""
        self._gone = True
        self._hangups.remove(self._socket)
        self._outbox.close()
        self._calls.abandon()

    def _drop(self, reason: Drop) -> None:
        self.dropped = self.dropped or reason
        self._close()

    def _close(self) -> None:
        if self._closed:
            return
        self._closed = True
        self._ended = True
        self._backlog.clear()
        self._set_reading(wanted=False)
        self._depart()
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None
        self._socket.close()
        self._finish_if_quiet()

    def _finish_if_quiet(self) -> None:
        if not self._finished and self._calls.ended:
            self._finished = True
            self._on_finished(self)

    # --- patience ----------------------------------------------------------------------------

    def _set_clock(self) -> None:
        """Arm one timer for both limits, and only while one of them runs."""
        if self._clock is not None:
            return
        if self._partial_since is None and not self._outbox.waiting:
            return
        limits = self._limits
        due = []
        if self._partial_since is not None:
            due.append(self._partial_since + limits.message_seconds)
        if self._outbox.waiting:
            due.append(self._outbox.progress_at + limits.stall_seconds)
        # Not later than the shorter limit from now: the other one may begin to run meanwhile.
        shorter = min(limits.message_seconds, limits.stall_seconds)
        self._clock = self._loop.call_at(min(*due, self._loop.time() + shorter), self._on_clock)

    def _on_clock(self) -> None:
        self._clock = None
        now = self._loop.time()
        begun = self._partial_since
        if begun is not None and now >= begun + self._limits.message_seconds:
            self._end(Drop.HALF_A_MESSAGE)
        if self._outbox.waiting and now >= self._outbox.progress_at + self._limits.stall_seconds:
            if self._calls.cut_stream():
                self._outbox.progress_at = now  # as long again to take the last words
            else:
                self._drop(Drop.NOT_READING)
        self._turn()


def _close_descriptors(ancillary: list[tuple[int, int, bytes]]) -> None:
    """Close what came with a message: no method takes a descriptor."""
    for level, kind, data in ancillary:
        if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
            descriptors = array.array("i")
            descriptors.frombytes(data[: len(data) - len(data) % descriptors.itemsize])
            for descriptor in descriptors:
                os.close(descriptor)
