"""Coroutines that are worked off without a task: what an answer costs that waits once.

A task begins one turn of the loop later than it was made, and its end is told another one later;
each turn asks the kernel for events. The counterpart is :mod:`sad.api.calls`, which begins them.
"""

import asyncio
from collections.abc import Callable, Coroutine, Generator
from typing import Any


class Work:
    """Works a coroutine off as a task does, but begins and ends in the turns that cause it.

    There is no current task in it, as asyncio.timeout() and what is built on that need one: it is
    for what waits for futures alone.
    """

    __slots__ = ("_cancelled", "_on_end", "_waits_for", "coroutine", "done")

    def __init__(self, coroutine: Coroutine[Any, Any, bytes]) -> None:
        self.coroutine = coroutine
        self._on_end: Callable[[bytes | None], None]
        self._waits_for: asyncio.Future[Any] | None = None
        self._cancelled = False
        self.done = False

    def __await__(self) -> Generator[Any, None, bytes]:
        return self.coroutine.__await__()

    def begin(self, on_end: Callable[[bytes | None], None]) -> None:
        """Make the first step; ``on_end`` hears the result, None if there is none."""
        self._on_end = on_end
        self._step()

    def cancel(self) -> None:
        """Have CancelledError raised where it waits, as of a task."""
        if self._waits_for is None or not self._waits_for.cancel():
            self._cancelled = True  # what it waits for is there already

    def _step(self, _there: asyncio.Future[Any] | None = None) -> None:
        self._waits_for = None
        try:
            if self._cancelled:
                self._cancelled = False
                waits_for = self.coroutine.throw(asyncio.CancelledError())
            else:
                waits_for = self.coroutine.send(None)
        except StopIteration as ended:
            self._end(ended.value)
        except (Exception, asyncio.CancelledError):  # noqa: BLE001 - there is no result, that is all
            self._end(None)
        else:
            if waits_for is None:  # for a turn of the loop: asyncio.sleep(0)
                asyncio.get_running_loop().call_soon(self._step)
                return
            # How a future says that it is awaited, to whoever works a coroutine off.
            waits_for._asyncio_future_blocking = False  # noqa: SLF001 - the protocol of asyncio
            self._waits_for = waits_for
            waits_for.add_done_callback(self._step)

    def _end(self, result: bytes | None) -> None:
        self.done = True
        self._on_end(result)
