"""Much work in slices: everybody else has turns, and none of it is lost."""

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from sad.runtime.slices import (
    LARGEST_SLICE,
    SLICE_SECONDS,
    SMALLEST_SLICE,
    in_slices,
    next_size,
)


@given(st.integers(1, LARGEST_SLICE), st.floats(0, 1000, allow_nan=False, allow_infinity=False))
def test_a_slice_shrinks_at_once_and_grows_by_steps(size: int, took: float) -> None:
    """As many as fit into the time, at most twice as many as before, never none."""
    following = next_size(size, took)

    assert SMALLEST_SLICE <= following <= LARGEST_SLICE
    assert following <= max(SMALLEST_SLICE, 2 * size)
    if following > SMALLEST_SLICE:
        assert following * took <= size * SLICE_SECONDS * 1.001


async def test_results_come_in_order_and_failures_stop_nothing() -> None:
    """Each piece is tried."""

    async def half(number: int) -> int:
        await asyncio.sleep(0)
        if number == 7:
            raise ZeroDivisionError
        return number // 2

    results = await in_slices(half, range(1000))

    assert isinstance(results.pop(7), ZeroDivisionError)
    assert results == [n // 2 for n in range(1000) if n != 7]


async def test_others_have_their_turns_between_slices() -> None:
    """Whoever asks meanwhile does not wait for all of it."""
    at_work = most = turns = 0

    async def slow(_number: int) -> None:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        await asyncio.sleep(SLICE_SECONDS)
        at_work -= 1

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    asking = asyncio.ensure_future(other())
    await in_slices(slow, range(5 * SMALLEST_SLICE))
    asking.cancel()

    assert most <= 2 * SMALLEST_SLICE
    assert turns > 5


async def test_nothing_to_do_is_done_at_once() -> None:
    """No slice for no work."""

    async def never(_number: int) -> None:
        raise AssertionError

    assert await in_slices(never, ()) == []
