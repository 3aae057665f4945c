"""The metrics page as a file, for the textfile collector of node_exporter."""

import asyncio
import logging
import os
from pathlib import Path

from sad.metrics.page import Page

log = logging.getLogger(__name__)


def write(page: Page, path: Path) -> None:
    """Replace the file at one blow: a reader sees the old or the new. Raises OSError."""
    new = path.with_name(f".{path.name}.new")
    new.write_bytes(page.as_file())
    new.chmod(0o644)  # node_exporter runs as another user
    os.replace(new, path)  # noqa: PTH105 - as it says


async def keep_writing(page: Page, path: Path, interval_seconds: float) -> None:
    """Write until cancelled; a disk that is full is told once."""
    told = False
    while True:
        try:
            write(page, path)
        except OSError as error:
            if not told:
                log.warning("metrics cannot be written to %s: %s", path, error.strerror)
            told = True
        else:
            told = False
        await asyncio.sleep(interval_seconds)
