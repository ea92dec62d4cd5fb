"""Draw curves and histograms of scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mltkbuild.bodies.plots import COLOURS, STROKES, drawn, short_name

Line = tuple[Sequence[float], Sequence[float]]


def curve_png(path: Path, lines: Mapping[str, Line], *, title: str, axes_labels: tuple[str, str]) -> None:
    """Draw curves whose both axes go from 0 to 1.

    Args:
        path: The `.png` file to write.
        lines: Values of both axes by the name in the legend.
        title: The heading.
        axes_labels: What is right and what is up.
    """
    with drawn(path, (6.4, 5.2), title) as figure:
        axes = figure.subplots()
        for place, (name, (right, up)) in enumerate(lines.items()):
            stroke = STROKES[place // len(COLOURS) % len(STROKES)]
            colour = COLOURS[place % len(COLOURS)]
            axes.plot(right, up, color=colour, linestyle=stroke, linewidth=1.6, label=short_name(name))
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel=axes_labels[0], ylabel=axes_labels[1])
        axes.grid(color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
        axes.legend(fontsize=8, ncols=1 + len(lines) // 16)


def histogram_png(
    path: Path, edges: Sequence[float], counts: Mapping[str, Sequence[int]], *, title: str, marked: float
) -> None:
    """Draw how often each score comes, one colour a class.

    Args:
        path: The `.png` file to write.
        edges: Where the bins begin and end, one more than there are bins.
        counts: How many samples are in each bin, by class.
        title: The heading.
        marked: The score with a line of its own: the threshold.
    """
    with drawn(path, (7.2, 4.4), title) as figure:
        axes = figure.subplots()
        for place, (name, values) in enumerate(counts.items()):
            total = max(sum(values), 1)
            shares = np.asarray(values) / total
            axes.stairs(
                shares, edges, fill=True, alpha=0.5, color=COLOURS[place % len(COLOURS)], label=short_name(name)
            )
        axes.axvline(marked, color="0.2", linestyle="--", linewidth=1.2, label=f"threshold {marked:.4g}")
        axes.set(xlabel="score (more is more abnormal)", ylabel="share of the class")
        axes.legend(fontsize=8)
