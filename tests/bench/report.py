"""What was measured as a table: for a terminal, and for the pages that show it.

Pages keep their own words; what stands between the two marks of :data:`BEGIN` and :data:`END` is
made of the results.
"""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from tests.bench.figures import Curve, Measured, Row

BEGIN: Final = "<!-- measured by make bench -->"
END: Final = "<!-- end of what make bench measured -->"
_HEAD: Final = ("#", "what", "layout", "at least or most", "best", "median", "where", "met")
_BRIEF_HEAD: Final = ("what", "layout", "wanted", "best", "median", "where", "with")


def rows_of(measured: Iterable[Measured]) -> list[tuple[Row, Measured]]:
    """Return the rows by number, in the order in which they were measured."""
    found = [(m.figure, m) for m in measured if isinstance(m.figure, Row)]
    return sorted(found, key=lambda pair: (pair[0].number == 0, pair[0].number))


def curves_of(measured: Iterable[Measured]) -> list[tuple[Curve, Measured]]:
    """Return the curves."""
    return [(m.figure, m) for m in measured if isinstance(m.figure, Curve)]


def number_text(value: float, unit: str) -> str:
    """Return a figure with its unit, with as many digits as it is worth."""
    digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return f"{digits} {unit}"


def verdict(row: Row) -> str:
    """Say whether a row is met."""
    if not row.gated:
        return "-"
    return "yes" if row.met else "NO"


def table(measured: Sequence[Measured]) -> str:
    """Return the table as Markdown, which reads well on a terminal too."""
    lines = [_HEAD]
    lines += [
        (
            str(row.number or ""),
            row.what,
            row.layout,
            row.limit + (f"; stretch {row.stretch}" if row.stretch else ""),
            number_text(row.best, row.unit),
            number_text(row.median, row.unit),
            f"{m.lane}, {m.memory}",
            verdict(row),
        )
        for row, m in rows_of(measured)
    ]
    return markdown(lines)


def brief_table(measured: Sequence[Measured]) -> str:
    """Return the numbered rows for the README."""
    lines = [_BRIEF_HEAD]
    lines += [
        (
            row.what,
            row.layout,
            row.limit,
            number_text(row.best, row.unit),
            number_text(row.median, row.unit),
            m.lane,
            f"`{m.command}`",
        )
        for row, m in rows_of(measured)
        if row.number and row.gated
    ]
    return markdown(lines)


def markdown(lines: Sequence[Sequence[str]]) -> str:
    """Return lines of cells, the first of which is the head, as a table with aligned columns."""
    widths = [max(len(line[n]) for line in lines) for n in range(len(lines[0]))]
    head, *body = (
        "| "
        + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        + " |"
        for line in lines
    )
    return "\n".join([head, "| " + " | ".join("-" * width for width in widths) + " |", *body])


def replace_between(path: Path, text: str) -> None:
    """Put a text between the marks of a page. Raises ValueError if they are not there."""
    page = path.read_text(encoding="utf-8")
    pattern = re.compile(f"(?<={re.escape(BEGIN)}\n).*(?={re.escape(END)})", re.DOTALL)
    if not pattern.search(page):
        raise ValueError(f"{path} has no place for what was measured: {BEGIN}")
    path.write_text(pattern.sub(lambda _: text.rstrip("\n") + "\n\n", page), encoding="utf-8")
