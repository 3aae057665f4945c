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
        self._tasks: set[asyncio.Task[Any]] = set()

    def __len__(self) -> int:
        return len(self._tasks)

    def start(
        self, coroutine: Coroutine[Any, Any, T], *, ended: Callable[[], None] | None = None
    ) -> asyncio.Task[T]:
        """Run to the end whatever becomes of the caller; ``ended`` is called then."""
        task = asyncio.get_running_loop().create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._done if ended is None else partial(self._done, ended=ended))
        return task

    async def finish(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Return the result; a caller that is cancelled leaves the work going on."""
        return await asyncio.shield(self.start(coroutine))

    async def drain(self) -> None:
        """Wait for all of it."""
        while self._tasks:
            await asyncio.wait(self._tasks)

    def _done(self, task: asyncio.Task[Any], *, ended: Callable[[], None] | None = None) -> None:
        self._tasks.discard(task)
        if ended is not None:
            ended()
        if task.cancelled():
            return
        error = task.exception()
        if error is not None and not isinstance(error, SadError):
            # Only the type: a message could hold a value of the request.
            log.error("a task ended in %s: a defect of sad", type(error).__name__)
