"""``make fuzz``: looks for inputs of the agreement that break what must hold for any bytes.

With atheris (extra ``fuzz``) coverage guides it; where that cannot be installed hypothesis runs
with a large budget, and the last line says so. What is new lies in ``build/fuzz/corpus``;
``--keep`` puts the smallest set with the same coverage into ``tests/vectors/fuzz-corpus.txt``.
"""

import argparse
import hashlib
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.corpus import CORPUS, kept_inputs, real_inputs, written
from tests.fuzz.targets import check
from tests.support.tree import ROOT

FOLDER: Final = ROOT / "build/fuzz"
LONGEST: Final = 1024  # more than any real field
SHORT: Final = 256
KEPT: Final = 200  # inputs in the repository, the shortest first
_DONE: Final = re.compile(r"^Done (\d+) runs in (\d+) second", re.MULTILINE)
_HEADER: Final = "# Inputs that once reached something new (tests/fuzz): one a line, escaped.\n"


def guided(seconds: int) -> int:
    """Run the coverage-guided fuzzer; return its executions. SystemExit for a finding.

    A quarter of the time with whole real fields, the rest with short inputs, of which thrice as
    many can be tried.
    """
    found = FOLDER / "corpus"
    found.mkdir(parents=True, exist_ok=True)
    put(found, (*real_inputs(), *kept_inputs()))
    first = seconds // 4
    return sum(leg(found, *part) for part in ((first, LONGEST), (seconds - first, SHORT)))


def leg(found: Path, seconds: int, longest: int) -> int:
    """Run the fuzzer on inputs up to a length; return its executions."""
    log = FOLDER / "log.txt"
    with log.open("w") as out:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "tests.fuzz.guided", str(found)),
                f"-max_total_time={seconds}",
                f"-max_len={longest}",
                "-timeout=5",  # a hang is a finding
                f"-artifact_prefix={FOLDER}/",
            ],
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.STDOUT,
            check=False,
        )
    said = log.read_text(errors="replace")
    if done.returncode:
        print(said[-4000:], file=sys.stderr)
        sys.exit(f"fuzz: a finding; its input lies in {FOLDER.relative_to(ROOT)}")
    match = _DONE.search(said)
    if match is None:
        sys.exit(f"fuzz: the fuzzer did not say what it did: see {log.relative_to(ROOT)}")
    return int(match[1])


def unguided(seconds: int) -> int:
    """Run hypothesis for as long; return its executions."""
    executions = 0
    pieces = st.sampled_from([*real_inputs(), *kept_inputs(), b"\x1e", b"\r\n ", b'"', b";", b","])
    inputs = st.one_of(st.binary(max_size=LONGEST), st.lists(pieces, max_size=4).map(b"".join))

    @settings(max_examples=20_000, deadline=None, suppress_health_check=list(HealthCheck))
    @given(inputs)
    def run(data: bytes) -> None:
        nonlocal executions
        executions += 1
        check(data)

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        run()
    return executions


def put(folder: Path, inputs: Iterable[bytes]) -> None:
    """Write inputs as libFuzzer names them."""
    for data in inputs:
        (folder / hashlib.sha256(data).hexdigest()[:40]).write_bytes(data)


def keep() -> int:
    """Keep the smallest set with the coverage of what was found; return how many inputs."""
    merged = FOLDER / "merged"
    shutil.rmtree(merged, ignore_errors=True)
    merged.mkdir()
    again = FOLDER / "again"
    again.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tests.fuzz.guided "$@"\n')
    again.chmod(0o755)
    subprocess.run(
        [again, "-merge=1", merged, FOLDER / "corpus"],
        cwd=ROOT,
        env={**os.environ, "SAD_FUZZ_SELF": str(again)},
        capture_output=True,
        check=True,
    )
    real = set(real_inputs())
    inputs = {path.read_bytes() for path in merged.iterdir()} - real
    lines = [written(data) for data in sorted(inputs, key=lambda data: (len(data), data))[:KEPT]]
    CORPUS.write_text(_HEADER + "".join(f"{line}\n" for line in lines), encoding="ascii")
    return len(lines)


def main() -> None:
    """Run as the command line says."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--keep", action="store_true", help="keep the corpus in the repository")
    options = parser.parse_args()
    has_guide = importlib.util.find_spec("atheris") is not None
    executions = guided(options.seconds) if has_guide else unguided(options.seconds)
    if has_guide and options.keep:
        print(f"fuzz: {keep()} inputs are kept in {CORPUS.relative_to(ROOT)}")
    how = "atheris, guided by coverage" if has_guide else "hypothesis: atheris is not installed"
    print(f"fuzz: {executions:,} executions in {options.seconds} s ({how}), nothing found")


if __name__ == "__main__":
    main()
