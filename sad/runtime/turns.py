"""How many calls are worked on at once, who waits, and who is told to come again.

What changes something takes a turn. As many turns as the kernel and the journal can share one
send and one transaction among; the rest waits in queues of bounded length, fair between users,
and what finds its queue full is told ``Busy`` with the time that the queue will take. So neither
memory nor the longest wait grows with the number of callers.
"""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Final, TypeVar

from sad.core.fair_queue import FairQueue
from sad.model.errors import Busy
from sad.model.requests import Caller
from sad.model.rules import Limits
from sad.runtime.background import Background

T = TypeVar("T")

#: Part of the turns that calls for user agents without an SA may take together: who is
#: registered is served while everybody else floods (design section 6).
_ORDINARY_SHARE: Final = 0.75
#: When both wait, so many urgent calls begin before one that is not: neither waits for ever.
_URGENT_IN_A_ROW: Final = 4
#: Weight of the newest call in the mean time between two that end.
_NEWEST: Final = 0.1
_SHORTEST_MILLISECONDS: Final = 50
_LONGEST_MILLISECONDS: Final = 30_000


class Turn:
    """One call that is worked on."""

    __slots__ = ("urgent",)

    def __init__(self, *, urgent: bool) -> None:
        self.urgent = urgent


#: Nothing tells one turn from another.
_TURNS: Final = {urgent: Turn(urgent=urgent) for urgent in (True, False)}

_Waiter = asyncio.Future[Turn]


class Turns:
    """Gives turns. ``urgent`` are calls for a user agent that has an association."""

    def __init__(self, limits: Limits, now: Callable[[], float], background: Background) -> None:
        self.use(limits)
        self._now = now
        self._background = background
        self._working = 0
        self._working_ordinary = 0
        self._queues: dict[bool, FairQueue[_Waiter]] = {True: FairQueue(), False: FairQueue()}
        self._urgent_in_a_row = 0
        self._ended_at = now()
        self._seconds_between = 0.001

    def use(self, limits: Limits) -> None:
        """Take over changed settings; who waits goes on waiting."""
        self._limits = limits
        self._ordinary_turns = max(1, int(limits.calls_at_once * _ORDINARY_SHARE))

    @property
    def working(self) -> int:
        """Calls that are worked on."""
        return self._working

    @property
    def waiting(self) -> int:
        """Calls that wait for their turn."""
        return sum(map(len, self._queues.values()))

    def take_at_once(self, *, urgent: bool) -> Turn | None:
        """Take a turn if nobody has to wait for one, as nearly always."""
        if not self._queues[urgent] and self._room(urgent=urgent):
            return self._begin(urgent=urgent)
        return None

    async def take(self, caller: Caller, *, urgent: bool) -> Turn:
        """Wait for a turn. Raises Busy at once if the queue is full."""
        if (turn := self.take_at_once(urgent=urgent)) is not None:
            return turn
        queue = self._queues[urgent]
        self._check_queue(caller, queue)
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        queue.push(caller.uid, caller.pid, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.cancelled():
                queue.discard(caller.uid, caller.pid, waiter)
            elif waiter.exception() is None:
                self.give_back(waiter.result())  # it had just been given
            raise

    def give_back(self, turn: Turn) -> None:
        """The call has ended: the next one's turn."""
        self._working -= 1
        self._working_ordinary -= not turn.urgent
        now = self._now()
        self._seconds_between += _NEWEST * (now - self._ended_at - self._seconds_between)
        self._ended_at = now
        while (urgent := self._next()) is not None:
            waiter = self._queues[urgent].pop()
            if not waiter.cancelled():  # its call will hear of it a moment later
                waiter.set_result(self._begin(urgent=urgent))

    async def start(
        self, caller: Caller, work: Callable[[], Coroutine[Any, Any, T]], *, urgent: bool
    ) -> asyncio.Task[T]:
        """Wait for a turn, then begin ``work``: it goes on even if the caller leaves."""
        turn = await self.take(caller, urgent=urgent)
        return self.begin(turn, work())

    def begin(self, turn: Turn, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Begin ``work`` in a turn that was taken; its end gives the turn back."""
        return self._background.start(work, ended=lambda: self.give_back(turn))

    async def finish(
        self, caller: Caller, work: Callable[[], Coroutine[Any, Any, T]], *, urgent: bool
    ) -> T:
        """As :meth:`start`, and wait for the result."""
        turn = self.take_at_once(urgent=urgent) or await self.take(caller, urgent=urgent)
        return await self._background.outcome(self.begin(turn, work()))

    async def outcome(self, task: asyncio.Task[T]) -> T:
        """Wait for the result of what was begun here; who is cancelled leaves it going on."""
        return await self._background.outcome(task)

    def _next(self) -> bool | None:
        """Return whether an urgent call is the next to begin; None: none can."""
        if not (self._queues[True] or self._queues[False]):
            return None
        urgent, ordinary = (bool(self._queues[u]) and self._room(urgent=u) for u in (True, False))
        if urgent and not (ordinary and self._urgent_in_a_row >= _URGENT_IN_A_ROW):
            self._urgent_in_a_row += 1
            return True
        if not ordinary:
            return None
        self._urgent_in_a_row = 0
        return False

    def _begin(self, *, urgent: bool) -> Turn:
        if not self._working:
            self._ended_at = self._now()  # what was idle before is not the pace of the work
        self._working += 1
        self._working_ordinary += not urgent
        return _TURNS[urgent]

    def _room(self, *, urgent: bool) -> bool:
        if self._working >= self._limits.calls_at_once:
            return False
        return urgent or self._working_ordinary < self._ordinary_turns

    def _check_queue(self, caller: Caller, queue: FairQueue[_Waiter]) -> None:
        if queue.of_user(caller.uid) >= self._limits.waiting_calls_per_uid:
            raise self._busy(queue, f"too many calls of uid {caller.uid} wait")
        if len(queue) >= self._limits.waiting_calls:
            if queue.of_user(caller.uid) + 1 >= queue.longest():
                raise self._busy(queue, "too many calls wait")
            # The room is the flood's: its newest call makes place for one of somebody else.
            displaced = queue.pop_newest_of_longest()
            if not displaced.cancelled():
                displaced.set_exception(self._busy(queue, "too many calls wait"))

    def _busy(self, queue: FairQueue[_Waiter], reason: str) -> Busy:
        milliseconds = int(1000 * len(queue) * self._seconds_between)
        return Busy(
            retry_after_milliseconds=min(
                _LONGEST_MILLISECONDS, max(_SHORTEST_MILLISECONDS, milliseconds)
            ),
            reason=reason,
        )
