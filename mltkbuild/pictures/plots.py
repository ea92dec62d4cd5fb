"""Draw the pictures of training and evaluation: the same values give the same bytes.

Nothing here reads the clock, pyplot's global state or the user's matplotlibrc.
"""

from __future__ import annotations

import math
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from unicodedata import east_asian_width

import matplotlib as mpl
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

_DPI = 150
_NAME_LENGTH = 28
_NUMBERED_CELLS = 20
_PERCENT_CELLS = 10
_MARKED_EPOCHS = 30
_LOG_RATIO = 100.0
_RATES = frozenset({"learning_rate", "lr"})
# How wide a character of DejaVu Sans is, on average and a little more, per point of its size.
_GLYPH_INCHES = 0.64 / 72

# Petroff's ten colours (arXiv:2107.02270): told apart by the colour-blind and in grey.
COLOURS = (
    "#3f90da",
    "#ffa90e",
    "#bd1f01",
    "#94a4a2",
    "#832db6",
    "#a96b59",
    "#e76300",
    "#b9ac70",
    "#717581",
    "#92dadd",
)
STROKES = ("-", "--", "-.", ":")
_STYLE = {
    "font.family": "DejaVu Sans",
    "font.size": 10.0,
    "axes.titlesize": 11.0,
    "axes.formatter.useoffset": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    # A class may be called "$5".
    "text.parse_math": False,
}


def confusion_matrix_png(path: Path, matrix: Sequence[Sequence[int]], classes: Sequence[str], title: str) -> None:
    """Draw a confusion matrix, coloured by the share of each row.

    Args:
        path: The `.png` file to write.
        matrix: Counts of shape `(classes, classes)`; a row per true class, a column per predicted class.
        classes: The names, in the order of the rows.
        title: The heading.
    """
    counts = np.asarray(matrix, dtype=np.int64)
    names = [short_name(name) for name in classes]
    numbered = len(names) <= _NUMBERED_CELLS
    cell = max(0.62, 2.6 / len(names)) if numbered else 0.2
    size = 10.0 if numbered else 8.0
    name_inches = max(inches(name, size) for name in names)
    turned = name_inches > cell - 0.1
    grid = cell * len(names)
    with drawn(path, (grid + name_inches + 1.8, grid + (name_inches if turned else 0.2) + 0.9), title) as figure:
        axes = figure.subplots()
        shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
        # Without numbers the eye needs help to find the small confusions.
        norm = PowerNorm(1.0 if numbered else 0.5, vmin=0.0, vmax=1.0)
        image = axes.imshow(shares, cmap="Blues", norm=norm, interpolation="nearest")
        bar = figure.colorbar(image, ax=axes, shrink=0.8, aspect=25, label="share of the true class")
        bar.outline.set_visible(False)
        axes.set_xticks(range(len(names)), names, fontsize=size, rotation=90 if turned else 0)
        axes.set_yticks(range(len(names)), names, fontsize=size)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        _rule_cells(axes, len(names))
        axes.set(xlabel="predicted class", ylabel="true class")
        if numbered:
            _number_cells(axes, counts, shares, cell)


def history_png(path: Path, history: Mapping[str, Sequence[float]], *, title: str, best_epoch: int | None) -> None:
    """Draw how loss and metrics went, a panel each, training and validation together.

    Args:
        path: The `.png` file to write.
        history: Values per epoch as Keras keeps them: `val_accuracy` belongs to `accuracy`. A validation series that
            is shorter (`validation_freq`) is spread evenly.
        title: The heading.
        best_epoch: The epoch to mark, counted from 1 as the axis is. One that the history lacks isn't marked.
    """
    names = _panels(history)
    epochs = max((len(values) for values in history.values()), default=0)
    marked = best_epoch if best_epoch is not None and 1 <= best_epoch <= epochs else None
    columns = min(max(len(names), 1), 2 if len(names) in (2, 4) else 3)
    rows = max(math.ceil(len(names) / columns), 1)
    with drawn(path, (4.0 * columns + 0.4, 3.0 * rows + 0.5), title) as figure:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes, name in zip(grid.flat, names, strict=False):
            _history_panel(axes, name, history, marked)
            axes.set_xlim(*((0.5, 1.5) if epochs <= 1 else (max(1 - 0.03 * epochs, 0.2), epochs * 1.03)))
            axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True, min_n_ticks=1))
            axes.set_xlabel("epoch")
        for axes in grid.flat[len(names) :]:
            axes.set_axis_off()
        if epochs == 0:
            grid.flat[0].text(0.5, 0.5, "no epochs", ha="center", va="center", transform=grid.flat[0].transAxes)
        else:
            _shared_legend(figure, list(grid.flat[: len(names)]))


@contextmanager
def drawn(path: Path, size: tuple[float, float], title: str) -> Iterator[Figure]:
    """Give a figure in matplotlib's own default style, saved without the version of the program that drew it."""
    with mpl.rc_context(), warnings.catch_warnings():
        # A name in a script that the font lacks is drawn as boxes; there is nothing to do about it here.
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)  # type: ignore[arg-type]  # the stub wants literal keys
        heading = textwrap.wrap(title, max(int(size[0] / (12 * _GLYPH_INCHES)), 20), max_lines=3, placeholder="…")
        figure = Figure((size[0], size[1] + 0.2 * len(heading)), dpi=_DPI, layout="constrained")
        figure.suptitle("\n".join(heading), fontsize=12)
        yield figure
        # What savefig does as well, after it has drawn everything once only to lay it out.
        canvas = FigureCanvasAgg(figure)
        canvas.print_png(path, metadata={"Software": None})  # type: ignore[no-untyped-call]


def short_name(name: str) -> str:
    """A name that fits beside a picture."""
    line = " ".join(name.split())
    half = _NAME_LENGTH // 2
    # What tells long names apart may be at either end.
    return line if len(line) <= _NAME_LENGTH else f"{line[:half]}…{line[1 - half :]}"


def inches(text: str, size: float) -> float:
    """About how long a line of text of this size in points is, rather too long than too short."""
    wide = sum(1 for character in text if character in "MWmw@%" or east_asian_width(character) in "WF")
    return (len(text) + 0.8 * wide) * size * _GLYPH_INCHES


def _rule_cells(axes: Axes, count: int) -> None:
    borders = [edge - 0.5 for edge in range(count + 1)]
    axes.set_xticks(borders, minor=True)
    axes.set_yticks(borders, minor=True)
    axes.grid(which="minor", color="0.88", linewidth=0.6)
    axes.tick_params(which="minor", length=0)


def _number_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray, cell_inches: float) -> None:
    with_percent = len(counts) <= _PERCENT_CELLS
    size = min(10.0, cell_inches * 0.9 / (_GLYPH_INCHES * max(len(str(counts.max())), 3)))
    for row, column in product(range(len(counts)), repeat=2):
        count, share = int(counts[row, column]), float(shares[row, column])
        text = f"{count}\n{percent(share)}" if with_percent and count else str(count)
        colour = "white" if share > 0.55 else "black" if count else "0.65"
        axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)


def percent(share: float) -> str:
    """A share in whole percent, which claims neither none nor all unless that is exact."""
    if 0.0 < share < 0.005:
        return "<1%"
    return ">99%" if 0.995 <= share < 1.0 else f"{share:.0%}"


def _panels(history: Mapping[str, Sequence[float]]) -> list[str]:
    """The metric names without `val_`: the loss first, the learning rate last, the rest as they come."""
    names = dict.fromkeys(name.removeprefix("val_") for name in history)
    return sorted(names, key=lambda name: (name != "loss") + (name in _RATES))


def _history_panel(axes: Axes, name: str, history: Mapping[str, Sequence[float]], marked: int | None) -> None:
    values: list[float] = []
    epochs = max(len(series) for series in history.values())
    is_rate = name in _RATES
    if marked is not None:
        axes.axvline(marked, color="0.45", linewidth=1.0, linestyle=":", zorder=1, label=f"best epoch ({marked})")
    for key, label, colour in ((name, "training", COLOURS[0]), (f"val_{name}", "validation", COLOURS[2])):
        series = [float(value) for value in history.get(key, ())]
        if not series:
            continue
        step = max(epochs // len(series), 1)
        places = [step * (place + 1) for place in range(len(series))]
        few = len(series) <= _MARKED_EPOCHS
        axes.plot(
            places,
            series,
            color="0.3" if is_rate else colour,
            linewidth=1.6 if few else 1.1,
            marker=("o" if label == "training" else "s") if few else "",
            markersize=3.5,
            label="" if is_rate else label,
        )
        if marked in places:
            point = series[places.index(marked)]
            axes.plot([marked], [point], marker="o", markersize=8, color="0.2", fillstyle="none", linestyle="")
        values.extend(value for value in series if math.isfinite(value))
    if values and min(values) > 0 and max(values) / min(values) > _LOG_RATIO:
        axes.set_yscale("log")
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_title(short_name(name), loc="left")
    axes.grid(axis="y", color="0.92", linewidth=0.8)
    axes.set_axisbelow(True)


def _shared_legend(figure: Figure, panels: Sequence[Axes]) -> None:
    handles: dict[str, Artist] = {}
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(list(handles.values()), list(handles), loc="outside lower center", ncols=3)
