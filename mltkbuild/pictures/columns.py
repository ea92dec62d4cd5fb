"""Draw counts as columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mltkbuild.pictures.plots import COLOURS, drawn, percent


@dataclass(frozen=True)
class Panel:
    """One row of `columns_png`.

    Args:
        name: Its heading; may be empty.
        names: One a column.
        counts: As many, at least one.
        below: What stands below the axis.
        beside: What is counted.
    """

    name: str
    names: Sequence[str]
    counts: Sequence[int]
    below: str
    beside: str


def columns_png(path: Path, panels: Sequence[Panel], *, title: str) -> None:
    """Draw counts as columns, each with its number and its share on top.

    Args:
        path: The `.png` file to write.
        panels: At least one; they lie one below the other.
        title: The heading.
    """
    with drawn(path, (8.0, 3.6 * len(panels)), title) as figure:
        for axes, panel in zip(figure.subplots(len(panels), squeeze=False).flat, panels, strict=True):
            axes.bar(range(len(panel.names)), panel.counts, color=COLOURS[0], width=0.8)
            total = max(sum(panel.counts), 1)
            for place, count in enumerate(panel.counts):
                text = f"{count}\n{percent(count / total)}"
                axes.annotate(text, (place, count), (0, 2), textcoords="offset points", ha="center", fontsize=9)
            axes.set_xticks(range(len(panel.names)), panel.names, fontsize=9)
            axes.tick_params(axis="x", length=0)
            axes.set(xlabel=panel.below, ylabel=panel.beside, title=panel.name)
            axes.set_xlim(-0.6, max(len(panel.names), 4) - 0.4)
            axes.set_ylim(0, max(*panel.counts, 1) * 1.2)
