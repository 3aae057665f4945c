"""Runs the commands on a live edge and prints the page: ``make commands``, in a lane."""

import sys
import tempfile
from pathlib import Path

from tests.face.live import live_edge
from tests.face.pages import commands, page


def main() -> int:
    """Print ``commands.md``."""
    with tempfile.TemporaryDirectory() as folder, live_edge(Path(folder)) as pair:
        text = page(list(commands(pair)))
    sys.stdout.write(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
