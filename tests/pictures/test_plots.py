"""Pictures: they exist, they have a sensible size, and the same values give the same bytes."""

from __future__ import annotations

import functools
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from mltkbuild.pictures import columns, curves, plots

NAN = float("nan")


def names(count: int) -> list[str]:
    return ["_unknown_", "$5 & more", "日本", "a class with a name that is too long to print", *map(str, range(count))][
        :count
    ]


def confusion(path: Path, count: int = 3) -> None:
    matrix = np.random.default_rng(0).integers(0, 2000, (count, count))
    matrix[count // 2] = 0
    plots.confusion_matrix_png(path, matrix.tolist(), names(count), "kws, int8")


def rates(count: int) -> curves.ByClass:
    """Curves and areas of some classes, the last of which has none."""
    classes = names(count)
    found: dict[str, curves.Curve | None] = {
        name: {
            "fpr": [0.0, 0.1, 1.0],
            "tpr": [0.0, (place + 1) / count, 1.0],
            "precision": [None, 0.9, 0.5],
            "thresholds": [1.9, 0.5, 0.0],
        }
        for place, name in enumerate(classes)
    }
    areas: dict[str, float | None] = {name: 0.5 + place / count / 2 for place, name in enumerate(classes)}
    if count > 1:
        found[classes[-1]] = areas[classes[-1]] = None
    return curves.ByClass(classes, found, areas)


def roc(path: Path, count: int = 3) -> None:
    curves.roc_png(path, rates(count), "kws, int8")


def precision_recall(path: Path, count: int = 3) -> None:
    curves.precision_recall_png(path, rates(count), "kws, int8")


def both_rates(path: Path, count: int = 3) -> None:
    curves.rates_png(path, rates(count), "kws, int8")


def thresholds(path: Path, count: int = 3) -> None:
    falling = [1 - place / count for place in range(count)]
    points = {"thresholds": falling, "accuracy": falling, "fpr": falling, "tpr": falling}
    curves.thresholds_png(path, points, {"best accuracy": 0.25}, title="door, int8")


def histogram(path: Path, count: int = 3) -> None:
    counts = {name: [place, 0, 3] for place, name in enumerate(names(count))}
    curves.histogram_png(path, [0.001, 0.01, 0.02, 1.0], counts, title="ecg, int8", marked=0.015)


def differences(path: Path, count: int = 3) -> None:
    panel = columns.Panel("output", names(min(count, 9)), list(range(min(count, 9))), "LSB", "values")
    columns.columns_png(path, [panel] * min(count, 4), title="kws")


def history(path: Path, epochs: int = 3) -> None:
    falling = [1 / (epoch + 1) for epoch in range(epochs)]
    series = {"accuracy": falling, "val_accuracy": falling, "loss": falling, "val_loss": falling[: epochs // 2]}
    plots.history_png(path, {**series, "learning_rate": falling}, title="kws", best_epoch=epochs)


DRAWINGS = pytest.mark.parametrize(
    "draw", [confusion, roc, precision_recall, both_rates, thresholds, histogram, differences, history]
)


def png_size(path: Path) -> tuple[int, int]:
    data = path.read_bytes()
    assert b"\x89PNG\r\n\x1a\n" == data[:8]
    width, height = struct.unpack(">II", data[16:24])
    return width, height


@DRAWINGS
@pytest.mark.parametrize("count", [1, 2, 10, 50])
def test_every_size_is_drawn_without_a_warning(draw: Callable[[Path, int], None], count: int, tmp_path: Path) -> None:
    """One or fifty classes or epochs, names with `_`, `$` or foreign scripts: a picture, and no warning."""
    draw(tmp_path / "a.png", count)

    width, height = png_size(tmp_path / "a.png")
    assert 400 < width < 3500
    assert 300 < height < 3500


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Callable[[Path], None]], bytes]:
    """A drawing's first picture, drawn once for all tests."""
    folder = tmp_path_factory.mktemp("drawn")

    @functools.cache
    def picture(draw: Callable[[Path], None]) -> bytes:
        draw(folder / "a.png")
        return (folder / "a.png").read_bytes()

    return picture


@DRAWINGS
def test_the_same_values_give_the_same_bytes(
    draw: Callable[[Path], None], drawn: Callable[[Callable[[Path], None]], bytes], tmp_path: Path
) -> None:
    """A picture drawn twice is byte-equal, whatever its file is called, and names no program version."""
    draw(tmp_path / "b.png")

    data = (tmp_path / "b.png").read_bytes()
    assert drawn(draw) == data
    assert b"matplotlib" not in data.lower()
    assert b"Software" not in data


@DRAWINGS
def test_settings_of_the_user_mean_nothing(
    draw: Callable[[Path], None], drawn: Callable[[Callable[[Path], None]], bytes], tmp_path: Path
) -> None:
    """The user's matplotlib settings don't show in the picture, and are as before afterwards."""
    expected = drawn(draw)
    users: dict[Any, Any] = {
        "font.size": 31.0,
        "axes.facecolor": "red",
        "savefig.bbox": "tight",
        "axes.grid": True,
        "lines.marker": "x",
    }

    with mpl.rc_context(users):
        draw(tmp_path / "b.png")
        assert 31.0 == mpl.rcParams["font.size"]

    assert expected == (tmp_path / "b.png").read_bytes()


def test_pyplot_stays_out() -> None:
    """Drawing imports no pyplot, whose state is global and whose windows need a screen."""
    script = (
        "import sys; from pathlib import Path; from mltkbuild.pictures import plots;"
        "plots.history_png(Path(sys.argv[1]), {'loss': [1.0]}, title='t', best_epoch=None);"
        "print('matplotlib.pyplot' in sys.modules)"
    )

    done = subprocess.run([sys.executable, "-c", script, "/dev/null"], check=True, capture_output=True, text=True)

    assert "False\n" == done.stdout


def test_the_best_epoch_counts_from_one() -> None:
    """Marking epoch 1 of a falling loss draws its mark at the place 1 of the axis, where the first value is."""
    panel = Figure().subplots()

    plots._history_panel(panel, "loss", {"loss": [2.0, 1.0]}, 1)

    line, curve, mark = panel.get_lines()
    assert "best epoch (1)" == line.get_label()
    assert [1, 1] == list(np.asarray(line.get_xdata()))
    assert [1, 2] == list(np.asarray(curve.get_xdata()))
    assert ([1], [2.0]) == (list(np.asarray(mark.get_xdata())), list(np.asarray(mark.get_ydata())))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"loss": []},
        {"loss": [NAN, NAN]},
        {"loss": [1.0, NAN, float("inf")], "val_loss": [0.0, -1.0, 1e30]},
        {"loss": [1000.0, 1.0, 0.001]},
        {f"metric_{place}": [1.0, 2.0] for place in range(9)},
    ],
    ids=["empty", "no epochs", "nan", "wild", "log", "many"],
)
def test_odd_histories_are_drawn(values: dict[str, list[float]], tmp_path: Path) -> None:
    """A history without epochs, with NaN or over many orders of magnitude is drawn all the same."""
    plots.history_png(tmp_path / "a.png", values, title="odd", best_epoch=2)

    assert png_size(tmp_path / "a.png") > (0, 0)


def test_the_best_epoch_is_marked(tmp_path: Path) -> None:
    """Another best epoch is another picture; one that the history lacks is no mark."""
    drawn = {}
    for best in (None, 1, 2, 0, 3):
        plots.history_png(tmp_path / "a.png", {"loss": [2.0, 1.0]}, title="kws", best_epoch=best)
        drawn[best] = (tmp_path / "a.png").read_bytes()

    assert 3 == len({drawn[None], drawn[1], drawn[2]})
    assert drawn[None] == drawn[0] == drawn[3]


def test_panels_have_an_order() -> None:
    """The loss comes first, the learning rate last, and a validation series shares its metric's panel."""
    keys = ["learning_rate", "accuracy", "loss", "val_accuracy", "val_loss", "val_extra"]

    assert ["loss", "accuracy", "extra", "learning_rate"] == plots._panels({key: [1.0] for key in keys})


@pytest.mark.parametrize(
    ("share", "expected"), [(0.0, "0%"), (0.001, "<1%"), (0.01, "1%"), (0.994, "99%"), (0.999, ">99%"), (1.0, "100%")]
)
def test_percentages_claim_neither_none_nor_all(share: float, expected: str) -> None:
    """A cell says 0 % or 100 % only if that is exact."""
    assert expected == plots.percent(share)


def test_names_are_cut_in_the_middle() -> None:
    """A long name keeps both ends, where it differs from others, and is one line."""
    assert "a class with a…long to print" == plots.short_name("a class with a name\nthat is too long to print")
    assert 28 == len(plots.short_name("x" * 100))


def test_a_rate_holds_up_to_its_threshold() -> None:
    """Over rising thresholds a rate steps down behind the score that was its threshold."""
    right, up = curves._steps({"thresholds": [1.9, 0.5, 0.25], "tpr": [0.0, 0.5, 1.0]}, "tpr")

    assert ([0.0, 0.25, 0.5, 1.9], [1.0, 1.0, 0.5, 0.0]) == (right, up)


@pytest.mark.parametrize("draw", [curves.roc_png, curves.precision_recall_png, curves.rates_png])
def test_classes_without_curves_are_drawn(draw: Callable[..., None], tmp_path: Path) -> None:
    """Where no class has a curve there is a picture that says so."""
    draw(tmp_path / "a.png", curves.ByClass(["a"], {"a": None}, {"a": None}), "kws")

    assert png_size(tmp_path / "a.png") > (0, 0)
