"""What a run of the tests is worth: only tests that ran count."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.suite import (
    RESULTS,
    ROOT,
    Outcome,
    Verdict,
    closing_line,
    command_of,
    judge,
    parts_to_run,
    shares_of,
    split,
    together,
)


def report(name: str = "pytest", **counts: int) -> str:
    numbers = {"tests": 0, "failures": 0, "errors": 0, "skipped": 0} | counts
    attributes = " ".join(f'{key}="{value}"' for key, value in numbers.items())
    return f'<testsuites><testsuite name="{name}" {attributes}/></testsuites>'


def verdict(part: str, status: int, text: str | None) -> Verdict:
    return judge(Outcome(part=part, status=status, report=text))


def test_suite_accepts_what_ran_and_passed() -> None:
    """Tests that all passed, the kernel's in a lane."""
    assert verdict("unit", 0, report(tests=3)) == Verdict(text="unit 3 passed", passed=True)
    assert verdict("kernel", 0, report("uml", tests=2)) == Verdict(
        text="kernel 2 passed in uml", passed=True
    )


@pytest.mark.parametrize(
    ("part", "status", "text", "told"),
    [
        ("kernel", 70, None, "kernel did not run (70)"),
        ("unit", 1, report(tests=9, failures=2, errors=1), "unit 3 of 9 FAILED"),
        ("unit", 0, report(tests=9, skipped=1), "unit 1 of 9 SKIPPED, which is a failure here"),
        ("unit", 5, report(), "unit ran NOTHING"),
        ("kernel", 0, report(tests=9), "kernel ran OUTSIDE of a lane"),
        ("unit", 2, report(tests=9), "unit 9 passed, but pytest ended with 2"),
    ],
)
def test_suite_refuses_what_proves_nothing(
    part: str, status: int, text: str | None, told: str
) -> None:
    """Failures, skips, empty runs, and kernel tests outside of a lane."""
    assert verdict(part, status, text) == Verdict(text=told, passed=False)


def test_suite_ends_with_one_line() -> None:
    """The line names every part and the time, and fails when one part did."""
    good, bad = Verdict(text="unit 3 passed", passed=True), Verdict(text="lint x", passed=False)

    assert closing_line([good, good], 12.3) == "passed: unit 3 passed; unit 3 passed; 12 s"
    assert closing_line([good, bad], 1).startswith("FAILED: ")
    assert closing_line([good], 1, "varlinkctl") == (
        "passed: unit 3 passed; varlinkctl not run (it is not here: make varlinkctl); 1 s"
    )


def test_suite_runs_varlinkctl_where_it_can_be_had_and_says_where_not() -> None:
    """Of a whole run only: who asks for a part gets that part."""
    whole = ["lint", "unit", "kernel"]

    assert parts_to_run(whole, has_program=True) == ([*whole, "varlinkctl"], "")
    assert parts_to_run(whole, has_program=False) == (whole, "varlinkctl")
    assert parts_to_run(["unit"], has_program=True) == (["unit"], "")
    assert parts_to_run(["varlinkctl"], has_program=False) == (["varlinkctl"], "")


def test_suite_runs_kernel_tests_in_a_lane_only() -> None:
    """The kernel part goes through the lane; arguments after -- reach pytest."""
    own, passed_on = split(["--lane", "uml", "kernel", "--", "-k", "a -- b"])
    command = command_of("kernel", "uml", RESULTS / "kernel.xml", passed_on)

    assert own == ["--lane", "uml", "kernel"]
    assert command[1:6] == ["-m", "tests.lane", "--lane", "uml", "--"]
    assert command[-2:] == ["-k", "a -- b"]
    assert "tests.lane" not in command_of("unit", "uml", RESULTS / "unit.xml", [])


def test_suite_counts_what_two_shares_ran_as_one() -> None:
    """Both reports together are judged; a share that wrote none is a part that did not run."""
    whole = together([report("uml", tests=2), report("uml", tests=3, failures=1)])

    assert verdict("kernel", 1, whole) == Verdict(text="kernel 1 of 5 FAILED in uml", passed=False)
    assert together([report("uml", tests=2), None]) is None


def test_suite_shares_where_there_are_processors() -> None:
    """But on the host's own kernel namespaces of the same name would meet."""
    assert shares_of("unit", "host", 2) == 2
    assert shares_of("unit", "uml", 1) == 1
    assert shares_of("lint", "uml", 1) == 1
    assert shares_of("kernel", "host", 8) == 1
    assert shares_of("kernel", "uml", 1) == 1
    assert shares_of("kernel", "uml", 2) == 2


def test_suite_gives_each_file_to_one_share(tmp_path: Path) -> None:
    """Two runs that share a folder of claims run every test once."""
    for name in ("test_a.py", "test_b.py", "test_c.py"):
        (tmp_path / name).write_text("def test_one(): pass\ndef test_two(): pass\n")
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\nfrom tests.support.shares import Share\n"
        f"def pytest_configure(config):\n    share = Share(Path({str(tmp_path)!r}) / 'claims')\n"
        "    config.pluginmanager.register(share)\n"
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    runs = [
        subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]

    told = [run.communicate()[0] for run in runs]

    assert [run.returncode for run in runs] == [0, 0]
    counts = re.findall(r"(\d+) passed", " ".join(told))
    assert sum(map(int, counts)) == 6
    assert {path.name for path in (tmp_path / "claims").iterdir()} == {
        "test_a.py",
        "test_b.py",
        "test_c.py",
    }
