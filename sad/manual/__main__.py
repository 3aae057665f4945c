"""Writes manual pages and shell completions: ``python -m sad.manual FOLDER``.

FOLDER gets ``man/man1``, ``man5``, ``man7``, ``man8``, and ``completions/bash``, ``zsh``.
"""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import shtab

from sad import __version__
from sad.ctl.parser import build_parser
from sad.manual.pages import PAGES, page
from sad.manual.roff import to_roff

#: Shells whose completion loads scripts by the command's name, and how it wants them called.
SHELLS: Final = {"bash": "sadctl", "zsh": "_sadctl"}


def main(argv: Sequence[str] | None = None) -> int:
    """Write everything into the folder that is named; return the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if len(arguments) != 1:
        sys.stderr.write("usage: python -m sad.manual FOLDER\n")
        return 2
    folder = Path(arguments[0])
    for name in PAGES:
        section = name.rpartition(".")[2]
        _write(folder / f"man/man{section}/{name}", to_roff(page(name), version=__version__))
    for shell, name in SHELLS.items():
        _write(folder / f"completions/{shell}/{name}", shtab.complete(build_parser(), shell=shell))
    return 0


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
