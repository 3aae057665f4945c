"""Draws curves: the one module that knows matplotlib, which only ``make bench`` installs."""

from collections.abc import Sequence
from pathlib import Path

import matplotlib as mpl
from matplotlib import pyplot as plt

from tests.bench.figures import Curve


def draw(curves: Sequence[Curve], into: Path) -> None:
    """Draw curves beside each other into one PNG."""
    mpl.use("agg")
    figure, axes = plt.subplots(
        1, len(curves), figsize=(5.2 * len(curves), 3.6), squeeze=False, layout="constrained"
    )
    for curve, ax in zip(curves, axes[0], strict=True):
        for name, points in curve.lines.items():
            ax.plot([x for x, _ in points], [y for _, y in points], marker="o", ms=3, label=name)
        ax.set_title(curve.title, fontsize=10)
        ax.set_xlabel(curve.across)
        ax.set_ylabel(curve.up)
        ax.set_ylim(bottom=0)
        ax.grid(visible=True, alpha=0.3)
        ax.legend(fontsize=8)
    # Without the version in its text, the same figures are the same file.
    figure.savefig(into, dpi=110, metadata={"Software": None})
    plt.close(figure)
