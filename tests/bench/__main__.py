"""``make bench``: how fast, in ratios to what else the same machine can do, in the same run.

One command measures all, prints the table, writes ``build/bench/results.json`` and the curves.
``--publish`` (of a whole run) puts them into the README, ``sad/docs/performance.md`` and its PNG.
A row is measured anew by ``make bench ARGS="--row 6"``, a module by ``ARGS="--module install"``.

================  ===============================================================================
``figures``       a row of the table, a curve: values
``contest``       contenders that alternate, and their ratios
``registry``      which module measures which rows, on which kernel: begin here
``world``         what such a module is given
``inside``        runs one module in its lane
``qemu``          a guest with Debian's own kernel, for rows that name QEMU
``sets``          SA sets as the daemon plans them
``baselines``     what C does with them (``libbaseline.c``), and their messages
``contenders``    the product, C, ``ip -batch``, pyroute2: each installs sets
``edge``          a daemon to measure, and REGISTERs for it (``load.c``)
``install``       rows 1, 2: whole sets into the kernel
``registrations`` rows 3, 5: through the socket; how long a SIP worker is blocked
``refresh``       row 6: NEWAE against UPDSA
``filling``       row 7: a kernel that fills; adversarial addresses
``notices``       row 12: draining the kernel's notices
``report``        tables, and pages that hold them
``drawing``       the PNG
``agreement``     how long reading and choosing takes, beside json
``own_cpu``       what the daemon itself works for a registration (row 4)
``stand_in``      what answers its netlink messages there
``caller``        a SIP server's side of many registrations
``counters``      sequence numbers read for another node, by notices and by dumps
``replication``   what a cluster costs a registration
``latency``       how long an Offer waits under load (row 10)
``listing``       sadctl list of 100 000 (row 13)
``population``    the life of a daemon with very many registrations (rows 8, 9, 11)
``connections``   TLS connections bound and ended, beside ``ss -K``
================  ===============================================================================

Rows 1 to 13 are those of the table in ``sad/docs/performance.md``. Exit status 1: a row is not
met; 2: a module failed (what the others measured is written all the same).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.bench import qemu
from tests.bench.figures import Measured, from_json
from tests.bench.registry import Family, Where, chosen
from tests.bench.report import brief_table, curves_of, replace_between, rows_of, table
from tests.bench.world import compile_programs, python_version
from tests.lane import host
from tests.lane.__main__ import scratch_folder
from tests.lane.decision import Lane
from tests.lane.environment import inner_environment
from tests.lane.host import host_argv

ROOT: Final = Path(__file__).resolve().parents[2]
RESULTS: Final = ROOT / "build/bench"
PAGE: Final = ROOT / "sad/docs/performance.md"
#: A guest without KVM takes its time, and more on a machine that others use.
QEMU_SECONDS: Final = 300.0
PICTURE: Final = ROOT / "sad/docs/performance.png"


def measure(
    family: Family, where: Where, options: argparse.Namespace
) -> tuple[list[Measured], int]:
    """Run one module on its kernel; return what it measured, and its exit status."""
    with scratch_folder(None) as scratch:
        compile_programs(family.programs, scratch)
        rows = ",".join(str(number) for number in options.row)
        command = [
            sys.executable, "-m", "tests.bench.inside",
            family.module, str(options.repeat), str(options.scale), rows,
        ]  # fmt: skip
        try:
            status = run_in(where, command, family, options, scratch)
            output = scratch / f"{family.module}.jsonl"
            lines = output.read_text(encoding="utf-8").splitlines() if output.exists() else []
        finally:
            for left in scratch.iterdir():
                left.unlink()
    return [from_json(json.loads(line)) for line in lines], status


def require_maps(family: Family) -> None:
    """Raise NoGuest if User-mode Linux would kill what a module starts, half an hour later."""
    known = int(Path("/proc/sys/vm/max_map_count").read_text())
    if known < family.maps and not host.probe(ROOT).has_esp:
        raise qemu.NoGuest(
            f"vm.max_map_count is {known}: sysctl -w vm.max_map_count={family.maps}"
        )


def run_in(
    where: Where,
    command: Sequence[str],
    family: Family,
    options: argparse.Namespace,
    scratch: Path,
) -> int:
    """Run a command on the kernel that a module needs; return its status. Raises NoGuest."""
    outer = {**os.environ, "SAD_LANE_SCRATCH": str(scratch)}
    if where is Where.ESP:
        require_maps(family)
        outer.setdefault("SAD_LANE_MEMORY", family.memory)
        lane = [sys.executable, "-m", "tests.lane", "--lane", options.lane, "--"]
        return subprocess.run([*lane, *command], cwd=ROOT, env=outer, check=False).returncode
    inner = inner_environment(os.environ, lane=Lane.HOST, scratch=scratch, columns=None)
    if where is Where.QEMU:
        return qemu.run(
            command,
            environment=inner | {"SAD_LANE": "qemu"},
            scratch=scratch,
            cache=RESULTS / "kernel",
            timeout=QEMU_SECONDS,
        )
    argv = host_argv(os.getuid(), ROOT, scratch, command)
    return subprocess.run(argv, cwd=ROOT, env=inner, check=False).returncode


def measure_all(
    families: Sequence[Family], options: argparse.Namespace
) -> tuple[list[Measured], list[str], list[str]]:
    """Return what was measured, what this machine cannot, and what failed."""
    runs = [
        (family, where)
        for family in families
        for where in family.where
        if not options.where or where in options.where
    ]
    found: list[Measured] = []
    left_out: list[str] = []
    failed: list[str] = []
    begun = time.monotonic()
    for number, (family, where) in enumerate(runs, 1):
        spent = time.monotonic() - begun
        rows = ", ".join(map(str, family.rows))
        print(
            f"[{number}/{len(runs)}, {spent:.0f} s] {family.module} ({where}; rows {rows}): "
            f"{family.what}",
            flush=True,
        )
        try:
            rows_there, status = measure(family, where, options)
        except qemu.NoGuest as error:
            left_out.append(f"{family.module} ({where}): {error}")
            print(f"    left out: {error}", flush=True)
        else:
            found += rows_there
            if status:
                failed.append(f"{family.module} ({where}) failed with {status}")
                print(f"    FAILED with {status}", flush=True)
    return found, left_out, failed


def machine() -> Mapping[str, object]:
    """Return what the figures were measured with."""
    return {
        "measured_at": time.strftime("%Y-%m-%d", time.gmtime()),
        "kernel": platform.release(),
        "processors": os.cpu_count(),
        "python": python_version(),
    }


def write(found: Sequence[Measured]) -> None:
    """Write the results, and draw the curves if there are any."""
    RESULTS.mkdir(parents=True, exist_ok=True)
    values = {**machine(), "measured": [m.as_json() for m in found]}
    text = json.dumps(values, indent=1, ensure_ascii=False)
    (RESULTS / "results.json").write_text(text + "\n", encoding="utf-8")
    (RESULTS / "table.md").write_text(table(found) + "\n", encoding="utf-8")
    curves = [curve for curve, _ in curves_of(found)]
    if curves:
        from tests.bench.drawing import draw  # noqa: PLC0415 - one row needs no matplotlib

        draw(curves, RESULTS / "curves.png")


def publish(found: Sequence[Measured], not_measured: Sequence[str]) -> None:
    """Put the results into the pages that show them, and say what could not be measured."""
    of = machine()
    told = (
        f"Measured on {of['measured_at']}, Python {of['python']}, {of['processors']} processors."
    )
    if not_measured:
        told += f" Not measured: {'; '.join(not_measured)}."
    if (RESULTS / "curves.png").exists():
        PICTURE.write_bytes((RESULTS / "curves.png").read_bytes())
    curves = "![Curves]({})\n\n" if PICTURE.exists() else ""
    page = f"\n{told}\n\n{curves.format(PICTURE.name)}{table(found)}\n\n"
    replace_between(PAGE, page)
    shown = curves.format(PICTURE.relative_to(ROOT))
    replace_between(ROOT / "README.md", f"\n{shown}{brief_table(found)}\n\n")


def main(arguments: list[str]) -> int:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="tests.bench", description="measure, in ratios")
    parser.add_argument("--row", type=int, action="append", default=[], help="only this row")
    parser.add_argument("--module", action="append", default=[], help="only this module")
    parser.add_argument("--lane", default="auto", help="auto, host or uml: for what needs ESP")
    parser.add_argument(
        "--where", choices=[*Where], action="append", default=[], help="only on this kernel"
    )
    parser.add_argument("--repeat", type=int, default=15, help="trials of each (default 15)")
    parser.add_argument("--scale", type=float, default=1.0, help="a factor to populations")
    parser.add_argument("--publish", action="store_true", help="write README and page anew")
    options = parser.parse_args(arguments)
    families = chosen(frozenset(options.row), frozenset(options.module))
    if not families:
        parser.error("nothing measures that")
    if options.publish and (options.row or options.module or options.where):
        parser.error("only a whole run is published")
    found, left_out, failed = measure_all(families, options)
    write(found)
    print(f"\n{table(found)}\n\nin {RESULTS.relative_to(ROOT)}: results.json, table.md")
    missed = [row for row, _ in rows_of(found) if row.gated and not row.met]
    for row in missed:
        print(f"NOT MET: row {row.number or '-'}: {row.what}: {row.best:.3g} ({row.limit})")
    for words in (*left_out, *failed):
        print(f"NOT MEASURED: {words}")
    if options.publish:
        publish(found, [*left_out, *failed])
    return 2 if failed else 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
