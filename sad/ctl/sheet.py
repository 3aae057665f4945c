"""Lines of a given width, with or without colour. Pure.

A line is made of cells. On a terminal it folds between cells, never inside one, so that an
address or an SPI can always be copied whole; without a width, as into a pipe, it never folds.
"""

from collections.abc import Iterable
from typing import Final, NamedTuple

from sad.ctl.words import printable

_RESET: Final = "\x1b[0m"

#: What a cell is -> its SGR sequence. Colour only repeats what the words say.
_COLOURS: Final = {
    "title": "\x1b[1m",
    "label": "\x1b[1m",
    "good": "\x1b[32m",
    "waiting": "\x1b[33m",
    "bad": "\x1b[31m",
    "hint": "\x1b[36m",
}

_STATE_ROLES: Final = {
    "established": "good",
    "inUse": "good",
    "ready": "good",
    "temporary": "waiting",
    "retiring": "waiting",
    "starting": "waiting",
    "stopping": "waiting",
    "ended": "bad",
}


def state_role(state: str) -> str:
    """Return the role of a cell that names a state."""
    return _STATE_ROLES.get(state, "")


class Cell(NamedTuple):
    """A piece of a line that is never folded; ``pad`` is the least width it takes."""

    text: str
    role: str = ""
    pad: int = 0


class Sheet(NamedTuple):
    """What lines are written on. ``columns`` is None where nothing folds."""

    columns: int | None = None
    coloured: bool = False

    def paint(self, role: str, text: str) -> str:
        """Return text in the colour of its role."""
        colour = _COLOURS.get(role) if self.coloured else None
        return f"{colour}{text}{_RESET}" if colour else text

    def line(
        self, cells: Iterable[Cell], *, indent: str = "", hanging: str = "    ", gap: str = "  "
    ) -> list[str]:
        """Return cells as one line, or folded as several; ``hanging`` begins the further ones."""
        lines: list[str] = []
        painted, used = indent, len(indent)
        begun = False
        for cell in cells:
            text = printable(cell.text)
            width = max(len(text), cell.pad)
            needed = used + (len(gap) if begun else 0) + len(text)
            if begun and self.columns is not None and needed > self.columns:
                lines.append(painted.rstrip(" "))
                painted, used, begun = hanging, len(hanging), False
            if begun:
                painted += gap
                used += len(gap)
            painted += self.paint(cell.role, text) + " " * (width - len(text))
            used += width
            begun = True
        lines.append(painted.rstrip(" "))
        return lines

    def labelled(self, label: str, text: str, role: str = "", *, indent: str = "  ") -> list[str]:
        """Return ``label: text``, folded between words."""
        words = (Cell(word, role) for word in text.split(" "))
        return self.line(
            (Cell(f"{label}:", "label"), *words), indent=indent, hanging=indent + "  ", gap=" "
        )

    def title(self, label: str, text: str) -> str:
        """Return the first line of a group."""
        return f"{self.paint('title', f'{label}:')} {printable(text)}"
