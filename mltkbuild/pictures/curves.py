"""Draw rates over thresholds, and how often each score comes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from mltkbuild.pictures.plots import COLOURS, STROKES, drawn, inches, short_name

Curve = Mapping[str, Sequence[Any]]
"""The columns of a curve, as `rates.Rates.curve` gives them."""

_OWN_CURVE = 10
_WORST = 5
_OVERLAID = 3
_PANEL = 4.9
_BESIDE: Mapping[str, Any] = {"loc": "upper left", "bbox_to_anchor": (1.03, 1.0)}
# From this ratio of the largest to the smallest bin on, a histogram's axis is logarithmic.
LOG_RATIO = 100.0


@dataclass(frozen=True)
class ByClass:
    """The curves of several classes, and a figure of each for the legend.

    Args:
        classes: The names, in the order of the legend.
        curves: One by name; None for a class that has no curve.
        figures: An area or average by name, the larger the better; None likewise.
    """

    classes: Sequence[str]
    curves: Mapping[str, Curve | None]
    figures: Mapping[str, float | None]

    def known(self) -> dict[str, tuple[Curve, float]]:
        """The classes that have a curve, with their figure."""
        pairs = ((name, self.curves[name], self.figures[name]) for name in self.classes)
        return {name: (curve, figure) for name, curve, figure in pairs if curve is not None and figure is not None}


@dataclass(frozen=True)
class _Legend:
    """Which classes have a colour of their own, and what the legend calls them."""

    title: str
    labels: Mapping[str, str]
    others: int

    @property
    def width(self) -> float:
        """About how wide it is, in inches."""
        return max(inches(label, 10.0) for label in [self.title, *self.labels.values()]) + 0.9 if self.labels else 0.0


def _legend(title: str, shown: ByClass) -> _Legend:
    """Name all classes, or of more than ten those with the smallest figures."""
    figures = {name: figure for name, (_, figure) in shown.known().items()}
    named = list(figures)
    if len(figures) > _OWN_CURVE:
        named = sorted(figures, key=lambda name: figures[name])[:_WORST]
    # The figure leads: matplotlib hides a label that starts with "_", as `_unknown_` does.
    labels = {name: f"{figures[name]:.3f}  {short_name(name)}" for name in named}
    return _Legend(title, labels, len(figures) - len(named))


def roc_png(path: Path, shown: ByClass, title: str) -> None:
    """Draw one ROC curve per class; with more than ten classes, their average and the five worst.

    Args:
        path: The `.png` file to write.
        shown: `fpr` and `tpr` of each class, and the areas under the curves.
        title: The heading.
    """
    known, legend = shown.known(), _legend("area under the curve", shown)
    with drawn(path, (_PANEL + legend.width, 4.8), title) as figure:
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="0.75", linewidth=1.0, linestyle=(0, (1, 2)))
        _draw(axes, {name: (curve["fpr"], curve["tpr"]) for name, (curve, _) in known.items()}, legend)
        if len(known) > 2:
            average = sum(area for _, area in known.values()) / len(known)
            line = _average([curve for curve, _ in known.values()])
            axes.plot(*line, color="black", linewidth=2.0, label=f"{average:.3f}  average")
        _finish(axes, legend, right="false positive rate", up="true positive rate")


def precision_recall_png(path: Path, shown: ByClass, title: str) -> None:
    """Draw precision over recall, one curve per class; with more than ten classes, the five worst in colour.

    Args:
        path: The `.png` file to write.
        shown: `tpr` (the recall) and `precision` of each class, and the average precisions.
        title: The heading.
    """
    legend = _legend("average precision", shown)
    with drawn(path, (_PANEL + legend.width, 4.8), title) as figure:
        axes = figure.subplots()
        _draw(axes, {name: _precision(curve) for name, (curve, _) in shown.known().items()}, legend)
        _finish(axes, legend, right="recall", up="precision")


def rates_png(path: Path, shown: ByClass, title: str) -> None:
    """Draw true and false positive rates over the threshold, side by side; of many classes, five are in colour.

    Args:
        path: The `.png` file to write.
        shown: `thresholds`, `fpr` and `tpr` of each class, and the areas under the ROC curves.
        title: The heading.
    """
    legend = _legend("area under the ROC", shown)
    with drawn(path, (2 * _PANEL - 0.6 + legend.width, 4.8), title) as figure:
        for axes, column, name in zip(figure.subplots(1, 2), ("tpr", "fpr"), ("true", "false"), strict=True):
            steps = {key: _steps(curve, column) for key, (curve, _) in shown.known().items()}
            _draw(axes, steps, legend, drawstyle="steps-pre")
            # One legend serves both panels.
            labelled = legend if column == "fpr" or not legend.labels else None
            _finish(axes, labelled, right="threshold", up=f"{name} positive rate")


def thresholds_png(path: Path, points: Curve, marks: Mapping[str, float], *, title: str) -> None:
    """Draw what a threshold makes of a classifier of two classes.

    Args:
        path: The `.png` file to write.
        points: `thresholds`, `accuracy`, `fpr` and `tpr`, thresholds falling.
        marks: The thresholds with a line of their own, by their names.
        title: The heading.
    """
    with drawn(path, (8.4, 4.8), title) as figure:
        axes = figure.subplots()
        named = {"accuracy": "accuracy", "true positive rate": "tpr", "false positive rate": "fpr"}
        for place, (name, column) in enumerate(named.items()):
            line = _steps(points, column)
            axes.plot(*line, color=COLOURS[place], linestyle=STROKES[place], label=name, drawstyle="steps-pre")
        for stroke, (name, threshold) in zip(("--", ":"), marks.items(), strict=False):
            label = f"{name}\nat {threshold:.4g}"
            axes.axvline(min(threshold, 1.0), color="0.3", linestyle=stroke, linewidth=1.2, label=label)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), xlabel="threshold")
        _grid(axes)
        axes.legend(**_BESIDE)


def histogram_png(
    path: Path, edges: Sequence[float], counts: Mapping[str, Sequence[int]], *, title: str, marked: float
) -> None:
    """Draw how often each score comes: up to three classes over each other, more of them in a row each.

    Args:
        path: The `.png` file to write.
        edges: Where the bins begin and end, ascending, one more than there are bins.
        counts: How many samples are in each bin, by class.
        title: The heading.
        marked: The score with a line of its own: the threshold.
    """
    shares = {name: np.asarray(values) / max(sum(values), 1) for name, values in counts.items()}
    rows = len(shares) if len(shares) > _OVERLAID else 12
    with drawn(path, (8.4, 1.6 + 0.25 * rows), title) as figure:
        axes = figure.subplots()
        line = axes.axvline(marked, color="0.2", linestyle="--", linewidth=1.2, zorder=3)
        if len(shares) > _OVERLAID:
            _heat(figure, axes, edges, shares)
            axes.legend([line], [f"threshold {marked:.4g}"], loc="lower right", bbox_to_anchor=(1.0, 1.0))
        else:
            _overlay(axes, edges, shares)
            handles, labels = axes.get_legend_handles_labels()
            axes.legend([*handles, line], [*labels, f"threshold {marked:.4g}"], **_BESIDE)
        if edges[0] > 0 and edges[-1] > LOG_RATIO * edges[0]:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(edges[0], edges[-1])
        axes.set_xlabel("score (more is more abnormal)")


def _overlay(axes: Axes, edges: Sequence[float], shares: Mapping[str, np.ndarray]) -> None:
    for place, (name, values) in enumerate(shares.items()):
        axes.stairs(values, edges, fill=True, alpha=0.35, color=COLOURS[place])
        # The space keeps a name that starts with "_" in the legend.
        axes.stairs(values, edges, color=COLOURS[place], linewidth=1.6, label=f" {short_name(name)}")
    axes.set_ylabel("share of the class")
    axes.set_ylim(bottom=0.0)


def _heat(figure: Figure, axes: Axes, edges: Sequence[float], shares: Mapping[str, np.ndarray]) -> None:
    """Draw a row per class, darker where more of its samples are."""
    image = axes.pcolormesh(edges, np.arange(len(shares) + 1), np.stack(list(shares.values())), cmap="Blues")
    bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label="share of the class")
    bar.outline.set_visible(False)
    axes.hlines(np.arange(1, len(shares)), edges[0], edges[-1], color="0.88", linewidth=0.6)
    axes.set_yticks(np.arange(len(shares)) + 0.5, [short_name(name) for name in shares], fontsize=9)
    axes.tick_params(axis="y", length=0)
    axes.invert_yaxis()


def _precision(curve: Curve) -> tuple[list[float], list[float]]:
    """Precision over recall; at a recall of 0 it is that of the highest score."""
    points = [point for point in zip(curve["tpr"], curve["precision"], strict=True) if point[1] is not None]
    return [0.0, *(recall for recall, _ in points)], [points[0][1], *(precision for _, precision in points)]


def _steps(curve: Curve, column: str) -> tuple[list[float], list[float]]:
    """A rate over rising thresholds from 0 to 1; it holds from the threshold before, which it leaves out."""
    right, up = list(curve["thresholds"])[::-1], list(curve[column])[::-1]
    return [0.0, *right], [up[0], *up]


def _draw(axes: Axes, lines: Mapping[str, Any], legend: _Legend, *, drawstyle: str = "default") -> None:
    for name in [name for name in lines if name not in legend.labels]:
        axes.plot(*lines[name], color="0.85", linewidth=0.8, drawstyle=drawstyle)
    for place, name in enumerate(legend.labels):
        axes.plot(
            *lines[name],
            color=COLOURS[place],
            linestyle=STROKES[place % len(STROKES)],
            linewidth=1.8,
            drawstyle=drawstyle,
            label=legend.labels[name],
        )


def _finish(axes: Axes, legend: _Legend | None, *, right: str, up: str) -> None:
    """Name the axes, which go from 0 to 1, and put the legend to the right."""
    if legend is not None and not legend.labels:
        text = "no class has both\npositive and negative samples"
        axes.text(0.5, 0.5, text, ha="center", va="center", backgroundcolor="white")
    elif legend is not None:
        if legend.others:
            axes.plot([], [], color="0.85", label=f"{legend.others} better classes")
        axes.legend(**_BESIDE, title=legend.title, alignment="left")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal", xlabel=right, ylabel=up)
    _grid(axes)


def _grid(axes: Axes) -> None:
    axes.grid(color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _average(curves: Sequence[Curve]) -> tuple[np.ndarray, np.ndarray]:
    """The mean true positive rate of the curves at each false positive rate."""
    grid = np.linspace(0.0, 1.0, 201)
    mean = np.mean([np.interp(grid, curve["fpr"], curve["tpr"]) for curve in curves], axis=0)
    return np.concatenate([[0.0], grid]), np.concatenate([[0.0], mean])
