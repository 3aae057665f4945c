"""Which descriptors this process has open: nothing may leave one behind."""

import os
from pathlib import Path


def open_descriptors() -> frozenset[str]:
    """The open ones, each with what it leads to; but the one that lists them."""
    found = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {os.readlink(entry)}")  # noqa: PTH115 - no path it leads to
        except OSError:
            continue
    return frozenset(found)
