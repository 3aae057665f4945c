"""The last steps of each association's life, for ``sadctl show``.

Kept in memory only, from the start of the daemon on: the system's journal has all of them
(:mod:`sad.runtime.story`), and a file would have to be written for each.
"""

from typing import Final, TypeAlias

from sad.model.inspection import HistoryStep

#: Steps kept of each life. One that is repeated, such as a lengthening, counts once.
LONGEST: Final = 12

#: Step, instant, times. Plain tuples: there can be hundreds of thousands of lives.
_Step: TypeAlias = tuple[str, float, int]


class History:
    """Steps by association."""

    def __init__(self) -> None:
        self._of: dict[str, tuple[_Step, ...]] = {}

    def __len__(self) -> int:
        return len(self._of)

    def note(self, association_id: str, step: str, at: float) -> None:
        """Keep a step; ``at`` in real-time seconds."""
        steps = self._of.get(association_id, ())
        times = 1
        if steps and steps[-1][0] == step:
            times += steps[-1][2]
            steps = steps[:-1]
        self._of[association_id] = (*steps[1 - LONGEST :], (step, at, times))

    def forget(self, association_id: str) -> None:
        """Drop the life of an association that has ended."""
        self._of.pop(association_id, None)

    def of(self, association_id: str) -> tuple[HistoryStep, ...]:
        """Return the steps in order."""
        return tuple(
            HistoryStep(step=step, at=at, times=times)
            for step, at, times in self._of.get(association_id, ())
        )
