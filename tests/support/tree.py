"""The files of the project, as the rules of the tree see them.

What ``.gitignore`` names is no part of the project. Neither git nor its index is asked: the rules
hold as well for an unpacked archive, and for a file that nobody has added yet.
"""

import fnmatch
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parents[2]


def _ignored(relative: str, patterns: list[str]) -> bool:
    name = relative.rsplit("/", 1)[-1]
    return any(
        relative == pattern[1:] if pattern.startswith("/") else fnmatch.fnmatch(name, pattern)
        for pattern in patterns
    )


def project_files(root: Path = ROOT) -> Iterator[Path]:
    """Yield every file of the project, sorted by folder.

    Of the language of ``.gitignore`` only names, ``*`` and a leading and a trailing slash.
    """
    lines = (root / ".gitignore").read_text().splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    patterns.append("/.git")
    for folder, folders, files in os.walk(root):
        here = Path(folder).relative_to(root)
        folders[:] = sorted(
            name for name in folders if not _ignored((here / name).as_posix(), patterns)
        )
        for name in sorted(files):
            if not _ignored((here / name).as_posix(), patterns):
                yield Path(folder) / name


def text_of(path: Path) -> str | None:
    """Return a file's text, None for one that holds none (a capture, an image)."""
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return None
