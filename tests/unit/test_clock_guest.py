"""Steps of the wall clock, in a User-mode Linux that has a clock of its own."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_steps_of_the_wall_clock_move_no_deadline(tmp_path: Path) -> None:
    """Design 6: everything in ``tests/guest/clock_steps.py``, none skipped."""
    tests = [sys.executable, "-m", "pytest", "-q", "--tb=short", "tests/guest/clock_steps.py"]
    done = subprocess.run(
        [sys.executable, "-m", "tests.lane", "--lane", "uml", "--", *tests],
        cwd=ROOT,
        env=os.environ | {"SAD_LANE_SCRATCH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    *_, verdict = done.stdout.splitlines()
    assert re.fullmatch(r"\d+ passed in .*", verdict), verdict
