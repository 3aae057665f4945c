"""One heap of deadlines and one timer: the ledger of when associations end.

Kernel EXPIRE notices are hints, never the ledger (design section 6).
"""

import heapq
from collections.abc import Callable
from typing import Protocol


class Timer(Protocol):
    """One timer (:class:`sad.runtime.timer.BoottimeTimer`)."""

    def arm(self, at: float | None) -> None:
        """Fire at this instant of CLOCK_BOOTTIME; None disarms."""


class Deadlines:
    """Deadlines by id. The owner calls :meth:`fire` when the timer strikes."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._at: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []
        self._timer: Timer | None = None
        self._armed: float | None = None

    def attach(self, timer: Timer) -> None:
        """Give the timer; it is armed from now on."""
        self._timer = timer
        self._armed = None
        self._arm()

    def __len__(self) -> int:
        return len(self._at)

    def set(self, key: str, at: float) -> None:
        """Set or move a deadline (seconds of CLOCK_BOOTTIME)."""
        self._at[key] = at
        heapq.heappush(self._heap, (at, key))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._at):
            self._heap = [(instant, k) for k, instant in self._at.items()]
            heapq.heapify(self._heap)
        self._arm()

    def remove(self, key: str) -> None:
        """Forget a deadline; unknown keys are ignored."""
        self._at.pop(key, None)

    def fire(self) -> tuple[str, ...]:
        """Return and forget everything that is due, earliest first; re-arm for the rest."""
        now = self._now()
        self._armed = None  # it has struck
        due = []
        while self._heap and self._heap[0][0] <= now:
            at, key = heapq.heappop(self._heap)
            if self._at.get(key) == at:
                del self._at[key]
                due.append(key)
        self._arm()
        return tuple(due)

    def _arm(self) -> None:
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        first = self._heap[0][0] if self._heap else None
        if self._timer is not None and (first is None or first != self._armed):
            self._armed = first
            self._timer.arm(first)
