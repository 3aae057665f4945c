"""``make newcomer``: the README's commands, one by one, on a clean Debian in a guest.

The status is 0 only when each of them ended well and a phone has registered in ESP at the end of
the way; ``make deb-trial`` goes the same way with the Debian package, and on to its purge.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from tests.lane.decision import EX_LANE, LaneError
from tests.newcomer import guest
from tests.newcomer.page import PACKAGED, commands, packages, replaced, script
from tests.suite import ROOT

_PAGE: Final = ROOT / "README.md"
_FOLDER: Final = ROOT / "tests/newcomer"


def main(arguments: Sequence[str]) -> int:
    """Follow the page; return the exit status."""
    parser = argparse.ArgumentParser(prog="tests.newcomer", description=__doc__)
    parser.add_argument("way", choices=["page", "package"])
    way = parser.parse_args(arguments).way
    begun = time.monotonic()
    listed = commands(_PAGE.read_text())
    try:
        disk = guest.disk(packages(listed))
        if way == "page":
            status = guest.run(disk, script(listed) + _text("proof.sh"), {})
        else:
            status = _package(disk, listed)
    except LaneError as error:
        print(f"newcomer: {error}", file=sys.stderr)
        return EX_LANE
    except KeyboardInterrupt:
        return 130
    outcome = "passed" if status == 0 else f"FAILED ({status})"
    print(f"newcomer: {outcome}: the way of the {way}, {time.monotonic() - begun:.0f} s")
    return status


def _package(disk: Path, listed: Sequence[str]) -> int:
    """The package's life: the page's own way to it, then upgrade, removal and purge."""
    built = sorted((ROOT / "build").glob("sad_*.deb"))
    if len(built) != 1:
        raise LaneError("there is no package: make deb")
    followed = script(
        [replaced(command, PACKAGED) for command in listed],
        after={PACKAGED["sudo make install"]: "as_installed"},
    )
    beside = f"packages=({' '.join(packages(listed))})\n"
    before, proof, after = map(_text, ("package-before.sh", "proof.sh", "package-after.sh"))
    text = beside + before + followed + proof + after
    return guest.run(disk, text, {built[0].name: built[0]})


def _text(name: str) -> str:
    return (_FOLDER / name).read_text()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
