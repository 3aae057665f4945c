"""How much work something is, on whatever machine: processor time, measured in yardsticks.

Seconds would prove nothing: a slow or busy machine breaks any limit that means something on a fast
one. A yardstick is a piece of work of the interpreter itself, done on the same machine in the same
process right after.
"""

import contextlib
import time
from collections.abc import Iterator
from typing import Final

#: No machine does a yardstick in less, so that what took less in all needs no yardstick measured.
_LEAST: Final = 0.010


def yardstick() -> float:
    """Return the processor seconds of a million steps of the interpreter (75 ms or so)."""

    def once() -> float:
        begun_at = time.process_time()
        sum(number * number for number in range(1_000_000))
        return time.process_time() - begun_at

    return min(once() for _ in range(3))


@contextlib.contextmanager
def at_most(yardsticks: float) -> Iterator[None]:
    """Fail when the block took this process more than so many yardsticks of processor time."""
    begun_at = time.process_time()
    yield
    spent = time.process_time() - begun_at
    if spent > yardsticks * _LEAST:
        allowed = yardsticks * yardstick()
        assert spent <= allowed, f"{spent:.3f} s of processor time, of {allowed:.3f} s allowed"
