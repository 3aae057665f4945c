"""Much work of one kind in slices, so that nobody else waits for all of it."""

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

#: What one slice may take, in seconds: whoever asks meanwhile waits for a few of its turns of the
#: loop, so 20 000 pieces of work at one instant are no pause for the others.
SLICE_SECONDS: Final = 0.01
#: Pieces of work in one slice: the first and least, and the most (they share journal transactions
#: and netlink sends).
SMALLEST_SLICE: Final = 4
LARGEST_SLICE: Final = 256


def next_size(size: int, took_seconds: float) -> int:
    """Return how many to take on next, when ``size`` pieces took so long."""
    fitting = int(size * SLICE_SECONDS / max(took_seconds, 1e-6))
    return max(SMALLEST_SLICE, min(LARGEST_SLICE, 2 * size, fitting))


async def in_slices(
    work: Callable[[T], Coroutine[Any, Any, R]], items: Sequence[T]
) -> list[R | BaseException]:
    """Do the work for each item, some at once; return the results, or what was raised."""
    clock = asyncio.get_running_loop().time
    results: list[R | BaseException] = []
    size = SMALLEST_SLICE
    while len(results) < len(items):
        begun = clock()
        slice_ = items[len(results) : len(results) + size]
        results += await asyncio.gather(*map(work, slice_), return_exceptions=True)
        size = next_size(len(slice_), clock() - begun)
    return results
