"""Runs parts of the tests, each in its own pytest, and ends with one line that says it all.

``python -m tests.suite [--lane LANE] lint unit kernel [-- PYTEST-ARGUMENTS]``, called by the
Makefile. Every part runs, whatever became of the others. A test that was skipped, a part
without tests, and a kernel test outside of a lane are failures: what ran nowhere proves nothing.
Results, and what kernel tests leave (captures, logs), lie in ``build/tests/PART``; the rules of
the agreement with their tests and results in ``build/tests/rules.txt``.
"""

import argparse
import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

from tests.support.rules import write_table

ROOT: Final = Path(__file__).resolve().parents[1]
RESULTS: Final = ROOT / "build/tests"
PARTS: Final = ("lint", "unit", "kernel", "soak", "varlinkctl")
#: Part of make test on a machine that has its program, which Debian 12 has not.
WHERE_IT_CAN_BE_HAD: Final = "varlinkctl"
_WHOLE: Final = frozenset({"lint", "unit", "kernel"})
IN_LANE: Final = frozenset({"kernel", "soak"})
SHARED: Final = frozenset({"unit", "kernel"})
LANES: Final = ("host", "uml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of one part; ``report`` is pytest's own XML, None when it wrote none."""

    part: str
    status: int
    report: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """One part in a few words."""

    text: str
    passed: bool


def judge(outcome: Outcome) -> Verdict:
    """Say what an outcome is worth."""
    if outcome.report is None:
        return Verdict(text=f"{outcome.part} did not run ({outcome.status})", passed=False)
    suites = list(ET.fromstring(outcome.report).iter("testsuite"))
    total, bad, skipped = (
        sum(int(suite.get(name, 0)) for suite in suites for name in names)
        for names in (("tests",), ("failures", "errors"), ("skipped",))
    )
    lane = next((name for suite in suites if (name := suite.get("name", "")) in LANES), None)
    where = f" in {lane}" if lane else ""
    if bad:
        text = f"{outcome.part} {bad} of {total} FAILED{where}"
    elif skipped:
        text = f"{outcome.part} {skipped} of {total} SKIPPED{where}, which is a failure here"
    elif not total:
        text = f"{outcome.part} ran NOTHING"
    elif outcome.part in IN_LANE and lane is None:
        text = f"{outcome.part} ran OUTSIDE of a lane"
    elif outcome.status:
        text = f"{outcome.part} {total} passed, but pytest ended with {outcome.status}"
    else:
        return Verdict(text=f"{outcome.part} {total} passed{where}", passed=True)
    return Verdict(text=text, passed=False)


def closing_line(verdicts: Sequence[Verdict], seconds: float, left_out: str = "") -> str:
    """Return the last line of a run; for ``left_out`` this machine has no program."""
    result = "passed" if all(verdict.passed for verdict in verdicts) else "FAILED"
    details = "; ".join(verdict.text for verdict in verdicts)
    missing = f"; {left_out} not run (it is not here: make {left_out})" if left_out else ""
    return f"{result}: {details}{missing}; {seconds:.0f} s"


def parts_to_run(asked: Sequence[str], *, has_program: bool) -> tuple[list[str], str]:
    """Return the parts to run and, of a whole run, the one that is left out."""
    if not set(asked) >= _WHOLE or WHERE_IT_CAN_BE_HAD in asked:
        return list(asked), ""
    if has_program:
        return [*asked, WHERE_IT_CAN_BE_HAD], ""
    return list(asked), WHERE_IT_CAN_BE_HAD


def command_of(
    part: str, lane: str, report: Path, arguments: Sequence[str], share: int = 0
) -> list[str]:
    """Return the command line of a part, or of one share of it."""
    pytest = [sys.executable, "-m", "pytest", "-q", f"--junitxml={report}", f"tests/{part}"]
    if share:
        pytest.append(f"--share={share}")
    if part in IN_LANE:
        pytest = [sys.executable, "-m", "tests.lane", "--lane", lane, "--", *pytest]
    return [*pytest, *arguments]


@contextlib.contextmanager
def results_folder(part: str) -> Iterator[Path]:
    """Give an empty folder for a part's results: always the same, unless a run is using it."""
    folder = RESULTS / part
    folder.mkdir(parents=True, exist_ok=True)
    with (RESULTS / f"{part}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield Path(tempfile.mkdtemp(prefix=f"{part}-", dir=RESULTS))
        else:
            shutil.rmtree(folder)
            folder.mkdir()
            yield folder


def run(part: str, lane: str, arguments: Sequence[str]) -> Outcome:
    """Run one part and fetch its report."""
    with results_folder(part) as folder:
        print(f"--- {part} (results in {folder.relative_to(ROOT)})", flush=True)
        if part not in SHARED or arguments or shares_of(part, lane, os.cpu_count() or 1) == 1:
            report = folder / "report.xml"
            status = start(command_of(part, lane, report, arguments), folder, None).wait()
            return Outcome(part=part, status=status, report=text_of(report))
        return run_shared(part, lane, folder)


def run_shared(part: str, lane: str, folder: Path, arguments: Sequence[str] = ()) -> Outcome:
    """Run a part in two shares side by side; the second one's output comes when it has ended."""
    reports = [folder / f"share{number}/report.xml" for number in (1, 2)]
    output = folder / "second.log"
    with output.open("w") as aside:
        runs = [
            start(command_of(part, lane, report, arguments, number), folder, target)
            for number, report, target in zip((1, 2), reports, (None, aside), strict=True)
        ]
        try:
            statuses = [run.wait() for run in runs]
        except BaseException:
            for run in runs:
                run.terminate()
            raise
    print(f"--- {part}, the second share", output.read_text(), sep="\n", flush=True)
    texts = [text_of(report) for report in reports]
    return Outcome(part=part, status=max(statuses), report=together(texts))


def shares_of(part: str, lane: str, processors: int) -> int:
    """Into how many shares a part is cut: two, if there are processors for them.

    Tests of the kernel share where that is a guest, which has one processor and namespaces of
    its own: on this kernel itself their namespaces would meet.
    """
    if processors == 1:
        return 1
    if part not in IN_LANE:
        return 2
    if lane == "host":
        return 1
    probe = [sys.executable, "-m", "tests.lane", "--probe"]
    if lane == "auto" and not subprocess.run(probe, cwd=ROOT, check=False).returncode:
        return 1
    return 2


def start(command: Sequence[str], folder: Path, output: TextIO | None) -> subprocess.Popen[bytes]:
    """Start a run; in a lane the tree is read-only, but for the folder."""
    return subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "SAD_LANE_SCRATCH": str(folder)},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=None if output is None else subprocess.STDOUT,
    )


def text_of(report: Path) -> str | None:
    """Return a report, None if none was written."""
    return report.read_text() if report.exists() else None


def together(reports: Sequence[str | None]) -> str | None:
    """Return the reports of all shares as one; None if one of them wrote none."""
    whole = ET.Element("testsuites")
    for report in reports:
        if report is None:
            return None
        whole.extend(ET.fromstring(report).iter("testsuite"))
    return ET.tostring(whole, encoding="unicode")


def main(arguments: list[str]) -> int:
    """Run the named parts; the status is 0 only when all of them passed."""
    parser = argparse.ArgumentParser(prog="tests.suite", description="run parts of the tests")
    parser.add_argument("--lane", default="auto", help="auto, host or uml")
    parser.add_argument("parts", nargs="+", choices=PARTS)
    own, passed_on = split(arguments)
    options = parser.parse_args(own)
    started = time.monotonic()
    has_program = shutil.which(WHERE_IT_CAN_BE_HAD) is not None
    parts, left_out = parts_to_run(options.parts, has_program=has_program)
    try:
        outcomes = [run(part, options.lane, passed_on) for part in parts]
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    verdicts = [judge(outcome) for outcome in outcomes]
    print(write_table(RESULTS))
    print(closing_line(verdicts, time.monotonic() - started, left_out))
    return 0 if all(verdict.passed for verdict in verdicts) else 1


def split(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split at the first ``--``."""
    at = arguments.index("--") if "--" in arguments else len(arguments)
    return list(arguments[:at]), list(arguments[at + 1 :])


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
