"""SIGKILL at every point that the scenario passes, then at points chosen at random."""

import collections
import os
import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.crash_run import Point, Run, count_points, crash_run
from tests.support.crash_scenario import in_order, shuffled

CRASHES = int(os.environ.get("SAD_SOAK_CRASHES", "1000"))
SEED = int(os.environ.get("SAD_SOAK_SEED", "0")) or random.SystemRandom().randrange(1, 1 << 32)
SECOND_CRASHES = 0.2  # of the starts after a crash end in another


class Chooser:
    """Hands out each point once, those of a step in random order; then any, with second ones."""

    def __init__(self, points: dict[str, list[Point]], choice: random.Random) -> None:
        self._points = points
        self._choice = choice
        self._untried = {name: choice.sample(found, len(found)) for name, found in points.items()}

    @property
    def untried(self) -> int:
        return sum(map(len, self._untried.values()))

    def first(self, step: str) -> Point | None:
        if self._untried[step]:
            return self._untried[step].pop()
        if self.untried or not self._points[step]:
            return None
        return self._choice.choice(self._points[step])

    def second(self) -> Point | None:
        if self._choice.random() >= SECOND_CRASHES:
            return None
        return self._choice.choice(self._points["restart"])


@pytest.mark.timeout(7200)
def test_soak_crashes_leak_nothing_and_lose_nothing(
    tmp_path: Path, say: Callable[[str], None]
) -> None:
    """Design 8: after any kill and start, kernel and daemon hold exactly what was answered."""
    choice = random.Random(SEED)
    begun = time.monotonic()
    with crash_run(tmp_path / "edge") as run:
        points = count_points(run, in_order())
        total = sum(map(len, points.values()))
        say(f"seed {SEED} (SAD_SOAK_SEED): {total} points in {len(points)} steps")
        chooser = Chooser(points, choice)
        missed = told = 0
        while run.crashes.total() < CRASHES:
            missed += _pass(run, chooser, choice)
            say(
                f"{run.crashes.total()} crashes after {time.monotonic() - begun:.0f} s, "
                f"{chooser.untried} points untried, {missed} not reached"
            )
            for problem in run.problems[told:]:
                say(problem)
            told = len(run.problems)
        by_method = ", ".join(f"{name} {count}" for name, count in sorted(run.crashes.items()))
        say(f"in {by_method}\n{_closing_line(run)}")
    assert run.problems == []


def _closing_line(run: Run) -> str:
    kinds = collections.Counter(problem.split(": ")[1] for problem in run.problems)
    others = (f", {count} {kind}" for kind, count in kinds.items() if kind not in _NAMED)
    return (
        f"{run.crashes.total()} crash points: "
        f"{kinds['leaked']} leaked, {kinds['lost']} lost{''.join(others)}"
    )


_NAMED = {"leaked", "lost"}


def _pass(run: Run, chooser: Chooser, choice: random.Random) -> int:
    """Play the scenario once in an order of its own; return how many points were not reached."""
    missed = 0
    for step in shuffled(choice):
        point = chooser.first(step.name)
        missed += point is not None and not run.play(step, point, chooser.second())
        if point is None:
            run.play(step)
        if run.crashes.total() >= CRASHES:
            break
    run.end()
    return missed
