"""Work that goes on although whoever began it has left; an orderly stop waits for it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

from sad.model.errors import SadError

log = logging.getLogger(__name__)

T = TypeVar("T")


class Background:
    """Holds tasks until they end: the event loop itself keeps only weak references."""

    def __init__(self) -> None:
        #: Who waits for the outcome of each.
        self._tasks: dict[asyncio.Task[Any], list[asyncio.Future[Any]]] = {}

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, coroutine: Coroutine[Any, Any, T], *, ended: Callable[[], None] | None = None
    ) -> asyncio.Task[T]:
        """Run to the end whatever becomes of the caller; ``ended`` is called then."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks[task] = []
        task.add_done_callback(self._done if ended is None else partial(self._done, ended=ended))
        return task

    async def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result; a caller that is cancelled leaves the work going on."""
        return await self.outcome(self.start(coroutine))

    async def outcome(self, task: asyncio.Task[T]) -> T:
        """Return the result of work that was started here, as :meth:`finish` does.

        What asyncio.shield is for, with one turn of the loop between its end and its caller's
        going on, not three.
        """
        if task.done():
            return task.result()
        waiter: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._tasks[task].append(waiter)
        return await waiter

    async def drain(self) -> None:
        """Wait for all of it."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any], *, ended: Callable[[], None] | None = None) -> None:
        waiting = [waiter for waiter in self._tasks.pop(task) if not waiter.done()]
        if ended is not None:
            ended()
        if task.cancelled():
            for waiter in waiting:
                waiter.cancel()
            return
        error = task.exception()
        if error is None:
            for waiter in waiting:
                waiter.set_result(task.result())
            return
        for waiter in waiting:
            waiter.set_exception(error)
        if not isinstance(error, SadError):
            # Only the type: a message could hold a value of the request.
            log.error("a task ended in %s: a defect of sad", type(error).__name__)
