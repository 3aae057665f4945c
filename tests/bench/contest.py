"""Contenders beside each other: their trials alternate, and what is told are ratios.

A machine that others use moves times by a factor of two, and ratios of one run by little. So all
contenders of a row run in one guest, round by round, and each round gives a ratio. Best is the
best rate of one against the best of the other, whenever they were; median is that of the rounds.
"""

import gc
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tests.bench.figures import Row

Trial = Callable[[], float]
"""Does a trial and returns how many a second; what it prepares or cleans is not in it."""

Rates = Mapping[str, Sequence[float]]


def contest(
    contenders: Mapping[str, Trial], rounds: int, say: Callable[[str], None]
) -> dict[str, list[float]]:
    """Return the rates of each contender by round; a first round warms up and does not count."""
    rates: dict[str, list[float]] = {name: [] for name in contenders}
    for number in range(rounds + 1):
        for name, trial in contenders.items():
            gc.collect()  # nobody pays for what another left
            rate = trial()
            if number:
                rates[name].append(rate)
        last = {name: got[-1] for name, got in rates.items() if got}
        told = ", ".join(f"{name} {rate:.0f}/s" for name, rate in last.items())
        say(f"round {number} of {rounds}: {told or 'warm'}")
    return rates


def ratios(rates: Rates, one: str, other: str) -> tuple[float, float]:
    """Return how often ``one`` is as fast as ``other``: of the bests, and the median of rounds."""
    rounds = [a / b for a, b in zip(rates[one], rates[other], strict=True)]
    return max(rates[one]) / max(rates[other]), statistics.median(rounds)


def ratio_row(rates: Rates, one: str, other: str, **values: Any) -> Row:
    """Return the row of ``one`` against ``other``; ``values`` are the rest of it."""
    best, median = ratios(rates, one, other)
    return Row(best=best, median=median, trials=len(rates[one]), **values)
