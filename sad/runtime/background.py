"""Work that goes on although whoever began it has left; an orderly stop waits for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from sad.model.errors import SadError

log = logging.getLogger(__name__)

T = TypeVar("T")


class _Underway:
    """A task, its coroutine, what is to be done at its end, and who waits for it."""

    __slots__ = ("_ended", "_waiting", "coroutine", "task")

    def __init__(
        self, coroutine: Coroutine[Any, Any, Any], ended: Callable[[], None] | None
    ) -> None:
        self.task: asyncio.Task[Any]
        self.coroutine = coroutine
        self._ended = ended
        self._waiting: list[asyncio.Future[Any]] = []

    async def outcome(self) -> Any:
        """Wait for it; who is cancelled leaves."""
        waiter = self.task.get_loop().create_future()
        self._waiting.append(waiter)
        return await waiter

    def tell(self, settle: Callable[[asyncio.Future[Any]], object]) -> None:
        """Have whoever waits still go on."""
        for waiter in self._waiting:
            if not waiter.done():
                settle(waiter)
        if self._ended is not None:
            self._ended()


class Background:
    """Holds tasks until they end: the event loop itself keeps only weak references."""

    def __init__(self) -> None:
        self._tasks: dict[asyncio.Task[Any], _Underway] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, coroutine: Coroutine[Any, Any, T], *, ended: Callable[[], None] | None = None
    ) -> asyncio.Task[T]:
        """Run to the end whatever becomes of the caller; ``ended`` is called then."""
        underway = _Underway(coroutine, ended)
        task = asyncio.get_running_loop().create_task(self._run(coroutine, underway))
        underway.task = task
        self._tasks[task] = underway
        task.add_done_callback(self._done)
        return task

    async def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result; a caller that is cancelled leaves the work going on."""
        return await self.outcome(self.start(coroutine))

    async def outcome(self, task: asyncio.Task[T]) -> T:
        """Return the result of work that was started here, as :meth:`finish` does.

        What asyncio.shield is for, with one turn of the loop between its end and its caller's
        going on, not three.
        """
        underway = self._tasks.get(task)
        if underway is None:
            return task.result()
        result: T = await underway.outcome()
        return result

    async def drain(self) -> None:
        """Wait for all of it."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    async def _run(self, coroutine: Coroutine[Any, Any, T], underway: _Underway) -> T:
        """Tell of a success in its own step, not in a turn of the loop after it."""
        result = await coroutine
        underway.task.remove_done_callback(self._done)
        del self._tasks[underway.task]
        underway.tell(lambda waiter: waiter.set_result(result))
        return result

    def _done(self, task: asyncio.Task[Any]) -> None:
        """Hear of an end without a result."""
        underway = self._tasks.pop(task)
        underway.coroutine.close()  # it may have been cancelled before its first step
        error = None if task.cancelled() else task.exception()
        if error is None:
            underway.tell(lambda waiter: waiter.cancel())
            return
        underway.tell(lambda waiter: waiter.set_exception(error))
        if not isinstance(error, SadError):
            # Only the type: a message could hold a value of the request.
            log.error("a task ended in %s: a defect of sad", type(error).__name__)
