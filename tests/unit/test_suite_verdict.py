"""What a run of the tests is worth: only tests that ran count."""

import pytest

from tests.suite import RESULTS, Outcome, Verdict, closing_line, command_of, judge, split


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


def test_suite_runs_kernel_tests_in_a_lane_only() -> None:
    """The kernel part goes through the lane; arguments after -- reach pytest."""
    own, passed_on = split(["--lane", "uml", "kernel", "--", "-k", "a -- b"])
    command = command_of("kernel", "uml", RESULTS / "kernel.xml", passed_on)

    assert own == ["--lane", "uml", "kernel"]
    assert command[1:6] == ["-m", "tests.lane", "--lane", "uml", "--"]
    assert command[-2:] == ["-k", "a -- b"]
    assert "tests.lane" not in command_of("unit", "uml", RESULTS / "unit.xml", [])
