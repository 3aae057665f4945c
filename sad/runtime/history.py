"""The last steps of each association's life, for ``sadctl show``.

Kept in memory only, from the start of the daemon on: the system's journal has all of them
(:mod:`sad.runtime.story`), and a file would have to be written for each.
"""

from collections import deque
from typing import Final

from sad.model.inspection import HistoryStep

#: Steps kept of each life. One that is repeated, such as a lengthening, counts once.
LONGEST: Final = 12


class History:
    """Steps by association."""

    def __init__(self) -> None:
        self._of: dict[str, deque[HistoryStep]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def note(self, association_id: str, step: str, at: float) -> None:
        """Keep a step; ``at`` in real-time seconds."""
        steps = self._of.get(association_id)
        if steps is None:
            steps = self._of[association_id] = deque(maxlen=LONGEST)
        times = 1
        if steps and steps[-1].step == step:
            times += steps.pop().times
        steps.append(HistoryStep(step=step, at=at, times=times))

    def forget(self, association_id: str) -> None:
        """Drop the life of an association that has ended."""
        self._of.pop(association_id, None)

    def of(self, association_id: str) -> tuple[HistoryStep, ...]:
        """Return the steps in order."""
        return tuple(self._of.get(association_id, ()))
