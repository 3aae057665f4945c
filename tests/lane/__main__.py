"""Run a command on a kernel with ESP: ``python -m tests.lane [OPTIONS] -- COMMAND...``.

Probes the running kernel, takes the host lane or boots User-mode Linux, says which and why, and
passes on output and exit status. Standard library only. The environment that the command finds
is described in :mod:`tests.lane.environment`. Settings: ``SAD_LANE_SCRATCH`` (folder for
artefacts; default one that is removed when it stays empty), ``SAD_LANE_TIMEOUT`` (seconds for
the command, default 1800), ``SAD_LANE_MEMORY``. Exit status 70: no lane could run the command
to its end; 124: it took too long; 130: interrupted; else the command's own.
"""

import argparse
import contextlib
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.lane import host, uml
from tests.lane.decision import EX_LANE, Choice, Lane, LaneError, choose_lane
from tests.lane.environment import check_visible, seconds_from, terminal_columns

ROOT: Final = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def scratch_folder(asked: str | None) -> Iterator[Path]:
    """Give the folder whose files outlive the run; say where it is when nobody chose it."""
    if asked:
        folder = Path(asked).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        yield folder
        return
    parent = uml.control_parent(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix="sad-scratch-", dir=parent)).resolve()
    try:
        yield folder
    finally:
        if any(folder.iterdir()):
            print(f"lane: left in {folder}", file=sys.stderr)
        else:
            folder.rmdir()


def run(choice: Choice, command: list[str]) -> int:
    """Run the command in the chosen lane."""
    timeout = seconds_from(os.environ, "SAD_LANE_TIMEOUT", 1800)
    columns = terminal_columns(1)
    check_visible(Path.cwd(), "the working directory")
    with scratch_folder(os.environ.get("SAD_LANE_SCRATCH")) as scratch:
        check_visible(scratch, "the scratch folder")
        if choice.lane is Lane.HOST:
            return host.run(
                command,
                outer=os.environ,
                root=ROOT,
                scratch=scratch,
                columns=columns,
                timeout=timeout,
            )
        return uml.run(
            command, outer=os.environ, scratch=scratch, columns=columns, timeout=timeout
        )


def main(arguments: list[str]) -> int:
    """Choose a lane, say so, and run the command in it."""
    parser = argparse.ArgumentParser(prog="tests.lane", description="run a command with ESP")
    parser.add_argument("--lane", choices=["auto", *Lane], default="auto")
    parser.add_argument(
        "--print-lane", action="store_true", help="name the lane on standard output"
    )
    parser.add_argument(
        "--probe", action="store_true", help="only look: status 0 when this kernel has ESP"
    )
    parser.add_argument("command", nargs="*", help="what to run, after --")
    options = parser.parse_args(arguments)
    wanted = None if options.lane == "auto" else Lane(options.lane)
    finding = host.probe(ROOT)
    if options.probe:
        print(f"host kernel {finding.release} {finding.refusal or 'has ESP'}")
        return 0 if finding.has_esp else 1
    if not options.command and not options.print_lane:
        parser.error("give a command after --")
    try:
        choice = choose_lane(wanted, finding, shutil.which(uml.BINARY))
        print(choice, file=sys.stdout if options.print_lane else sys.stderr, flush=True)
        return run(choice, options.command) if options.command else 0
    except LaneError as error:
        print(f"lane: {error}", file=sys.stderr)
        return EX_LANE
    except KeyboardInterrupt:
        print("lane: interrupted", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
