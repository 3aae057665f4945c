"""Scenarios: found, run one after the other, told in a table.

A scenario is a function with a docstring, which is its promise. One that did not run counts as
failed: what ran nowhere proves nothing.
"""

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Final

from tests.acceptance.world import World

Body = Callable[[World], None]
_FOUND: Final[list["Scenario"]] = []


@dataclass(frozen=True, slots=True)
class Scenario:
    """One promise and how it is shown."""

    name: str
    promise: str
    body: Body


@dataclass(frozen=True, slots=True)
class Result:
    """What became of a scenario; ``words`` are empty when it passed, None when it did not run."""

    name: str
    words: str | None
    seconds: float

    @property
    def passed(self) -> bool:
        return self.words == ""


def scenario(name: str) -> Callable[[Body], Body]:
    """Make a function a scenario of this name."""

    def add(body: Body) -> Body:
        assert body.__doc__, f"{name} promises nothing"
        _FOUND.append(Scenario(name, body.__doc__.partition("\n")[0], body))
        return body

    return add


def scenarios(modules: Sequence[ModuleType], texts: Sequence[str] = ("",)) -> list[Scenario]:
    """Return the scenarios of modules, in this order, whose name contains one of the texts."""
    places = [module.__name__ for module in modules]
    found = [one for one in _FOUND if any(text in one.name for text in texts)]
    return sorted(found, key=lambda one: places.index(one.body.__module__))


def play(one: Scenario, world: World) -> Result:
    """Run a scenario, keep its log, and clean up behind it, all on its own clock."""
    begun = time.monotonic()
    world.begun = len(world.capture.packets())
    world.notes.clear()
    cursor = world.edge.cursor()
    words = ""
    try:
        one.body(world)
        world.look("at the end")
    except Exception:  # noqa: BLE001 - the next scenario runs all the same
        words = traceback.format_exc()
    try:
        world.note("=== journal\n" + world.edge.story(cursor))
        world.reset()
    except Exception:  # noqa: BLE001 - as above
        words += traceback.format_exc()
    path = world.folder / f"{one.name.replace(' ', '-').replace('/', '-')}.log"
    path.write_text("\n".join([f"{one.name}: {one.promise}", *world.notes, words]))
    return Result(one.name, words, time.monotonic() - begun)


def table(results: Sequence[Result], seconds: float) -> str:
    """Return the outcome of a run."""
    width = max((len(result.name) for result in results), default=0)
    lines = []
    for result in results:
        outcome = "NOT RUN" if result.words is None else "passed" if result.passed else "FAILED"
        lines.append(f"  {result.name:<{width}}  {outcome:<8} {result.seconds:6.1f} s")
        if result.words:
            lines.append(f"      {result.words.strip().splitlines()[-1][:160]}")
    passed = sum(result.passed for result in results)
    verdict = "passed" if results and passed == len(results) else "FAILED"
    lines.append(f"{verdict}: {passed} of {len(results)} scenarios; {seconds:.0f} s")
    return "\n".join(lines)


def verdict(results: Sequence[Result]) -> int:
    """The exit status of a run."""
    return 0 if results and all(result.passed for result in results) else 1


def save(folder: Path, text: str) -> None:
    """Keep the table beside the logs."""
    (folder / "table.txt").write_text(text + "\n")
