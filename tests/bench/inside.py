"""Runs one module where its kernel is: ``python -m tests.bench.inside MODULE REPEAT SCALE ...``.

Started by :mod:`tests.bench` in a lane. Each figure is one line of JSON in ``MODULE.jsonl`` in the
lane's scratch folder, written when it is there, so that a module that fails keeps what it had.
"""

import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.bench.figures import Figure, Measured, Row
from tests.bench.world import World, kernel_release, memory_of_guest


def main(arguments: list[str]) -> int:
    """Measure and write."""
    module, repeat, scale, wanted = arguments
    lane, scratch = os.environ["SAD_LANE"], Path(os.environ["SAD_LANE_SCRATCH"])
    numbers = frozenset(map(int, wanted.split(","))) if wanted else frozenset[int]()
    measure: Callable[[World], Iterator[Figure]] = importlib.import_module(
        f"tests.bench.{module}"
    ).rows
    memory = memory_of_guest()
    with (
        tempfile.TemporaryDirectory(dir="/run") as folder,
        (scratch / f"{module}.jsonl").open("w") as output,
    ):
        world = World(
            lane=lane,
            memory=memory,
            repeat=int(repeat),
            scale=float(scale),
            folder=Path(folder),
            programs=scratch,
        )
        for figure in measure(world):
            if isinstance(figure, Row):
                if numbers and figure.number not in numbers:
                    continue
                world.say(f"row {figure.number}: {figure.what}: {figure.best:.3g} {figure.unit}")
                again = f"--row {figure.number}" if figure.number else f"--module {module}"
            else:
                again = f"--module {module}"
            measured = Measured(
                figure=figure,
                lane=lane,
                kernel=kernel_release(),
                memory=memory,
                command=f'make bench ARGS="{again}"',
            )
            output.write(json.dumps(measured.as_json(), ensure_ascii=False) + "\n")
            output.flush()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
