"""Where answers go: lines for people, JSON for programs. The only writer to standard output.

The JSON is a stable interface: the replies of ``sad/api/*.varlink`` as they came, nothing added,
renamed or left out. ``status``, ``show``, ``find``, ``release`` and ``reconcile`` print one
document; ``list`` and ``monitor`` one object per line, the empty list no line. The lines for
people may change.
"""

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any, TextIO

from sad.ctl.sheet import Sheet

_NARROWEST = 40


def sheet_for(stream: TextIO, environment: Mapping[str, str]) -> Sheet:
    """Return the sheet of a stream: only a terminal has a width and colours.

    ``NO_COLOR`` and ``TERM=dumb`` turn colours off.
    """
    if not stream.isatty():
        return Sheet()
    try:
        columns = os.get_terminal_size(stream.fileno()).columns or 80
    except OSError:
        columns = 80
    plain = environment.get("NO_COLOR") or environment.get("TERM") in (None, "", "dumb")
    return Sheet(columns=max(columns, _NARROWEST), coloured=not plain)


class Output:
    """One run's answers. ``is_json`` says that programs read them."""

    def __init__(self, stream: TextIO, sheet: Sheet, *, is_json: bool) -> None:
        self._stream = stream
        self.sheet = sheet
        self.is_json = is_json

    @property
    def is_terminal(self) -> bool:
        """Whether somebody looks on."""
        return self._stream.isatty()

    def lines(self, lines: Iterable[str]) -> None:
        """Write lines for people."""
        for line in lines:
            self._stream.write(line + "\n")

    def document(self, reply: Mapping[str, Any]) -> None:
        """Write a whole reply as one JSON document."""
        self._stream.write(json.dumps(reply, indent=2) + "\n")

    def row(self, reply: Mapping[str, Any]) -> None:
        """Write one reply of many as one line of JSON."""
        self._stream.write(json.dumps(reply, separators=(",", ":")) + "\n")

    def raw(self, text: str) -> None:
        """Write what moves the cursor; for a terminal only."""
        self._stream.write(text)

    def flush(self) -> None:
        """Let everything written be seen now."""
        self._stream.flush()
