"""What a measurement says, as values: rows of the table with their limits, and curves.

Pure; :mod:`tests.bench.contest` makes most rows, :mod:`tests.bench.report` prints them.
"""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Point = tuple[float, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure. ``number`` is that of the table of the issue, 0 for what stands beside it.

    ``layout`` says what was installed: SAs and policies of a set, algorithms, how many. ``best``
    and ``median`` are of all ``trials``, in ``unit`` ("of C replay", "times", "µs"). Limits are
    for the best trial and for the median; with none the figure is reported and not gated.
    ``stretch`` is told beside it and binds nobody.
    """

    number: int
    what: str
    layout: str
    unit: str
    best: float
    median: float
    trials: int
    at_least: float | None = None
    median_at_least: float | None = None
    at_most: float | None = None
    median_at_most: float | None = None
    stretch: str = ""

    @property
    def gated(self) -> bool:
        """Whether there is a limit."""
        limits = (self.at_least, self.median_at_least, self.at_most, self.median_at_most)
        return any(limit is not None for limit in limits)

    @property
    def met(self) -> bool:
        """Whether every limit is kept."""
        return (
            (self.at_least is None or self.best >= self.at_least)
            and (self.median_at_least is None or self.median >= self.median_at_least)
            and (self.at_most is None or self.best <= self.at_most)
            and (self.median_at_most is None or self.median <= self.median_at_most)
        )

    @property
    def limit(self) -> str:
        """The limits in a few words."""
        parts = [
            f"{sign} {limit:g}{of}"
            for limit, sign, of in (
                (self.at_least, "≥", ""),
                (self.median_at_least, "≥", " median"),
                (self.at_most, "≤", ""),
                (self.median_at_most, "≤", " median"),
            )
            if limit is not None
        ]
        return ", ".join(parts) or "not gated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Lines over one axis, to be drawn: each a name and its points."""

    name: str
    title: str
    across: str
    up: str
    lines: Mapping[str, Sequence[Point]]


Figure = Row | Curve


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A figure with where it was measured; ``command`` makes it anew."""

    figure: Figure
    lane: str
    kernel: str
    memory: str
    command: str

    def as_json(self) -> dict[str, Any]:
        """Return what :func:`from_json` takes."""
        return {"kind": type(self.figure).__name__.lower(), **dataclasses.asdict(self)}


def from_json(value: Mapping[str, Any]) -> Measured:
    """Return what was written."""
    values = dict(value)
    kind = {"row": Row, "curve": Curve}[values.pop("kind")]
    return Measured(**(values | {"figure": kind(**values["figure"])}))


def summary(values: Sequence[float], *, most: bool) -> tuple[float, float]:
    """Return best and median of trials; ``most``: the greatest is best."""
    return (max if most else min)(values), statistics.median(values)
