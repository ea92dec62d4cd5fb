"""Bars with names, one below the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mltkbuild.pictures.plots import COLOURS, drawn, short_name

_ROW_INCHES = 0.28


def bars_png(path: Path, names: Sequence[str], values: Sequence[float], *, title: str, unit: str) -> None:
    """Draw one horizontal bar a value, the first on top.

    Args:
        path: The `.png` file to write.
        names: One a bar.
        values: Finite numbers, as many as names.
        title: The heading.
        unit: What the values are measured in, below the axis.
    """
    with drawn(path, (8.0, 1.2 + _ROW_INCHES * len(names)), title) as figure:
        axes = figure.subplots()
        axes.barh(range(len(names)), values, color=COLOURS[0], height=0.7)
        axes.set_yticks(range(len(names)), [short_name(name) for name in names], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlabel(unit)
        axes.grid(axis="x", color="0.92", linewidth=0.8)
        axes.set_axisbelow(True)
