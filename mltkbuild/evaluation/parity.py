"""Compare what the float model answers with what its `.tflite` answers, sample for sample.

Differences are told in LSB, steps of the `.tflite`'s output. Rounding a perfect result to the nearest step makes half a
step at most, and clipping it to the range up to a whole one (an int8 softmax ends at 255/256); all beyond comes from
the arithmetic before the output. A float output has no steps: its differences are told in units alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mltkbuild.errors import StageError
from mltkbuild.evaluation.documents import ParityResults
from mltkbuild.evaluation.evaluate import scores_of
from mltkbuild.evaluation.evaluation_files import heading
from mltkbuild.evaluation.rates import require_finite
from mltkbuild.evaluation.tables import aligned, figure_text, write_csv, write_json
from mltkbuild.pictures.columns import Panel, columns_png
from mltkbuild.tflite.predict import no_samples

VERSION = 1
LARGEST = 20
"""So many samples with the largest differences are listed, beside those whose answers part."""
COLUMNS = (
    *("output", "sample", "label", "float_answer", "float_score", "tflite_answer", "tflite_score", "difference"),
    *("difference_lsb", "answers_part"),
)
_LSB_BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_UNIT_BINS = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1)


@dataclass(frozen=True)
class Row:
    """What is told of one sample.

    Args:
        sample: Its place, from 0.
        label: The true class; None where it isn't known.
        answers: What the float model and the `.tflite` say: the names of classes; None without classes.
        scores: The output that belongs to each answer; None without classes.
        difference: The largest absolute difference of its output values.
        parts: Whether the answers differ.
    """

    sample: int
    label: str | None
    answers: tuple[str, str] | None
    scores: tuple[float, float] | None
    difference: float
    parts: bool


@dataclass(frozen=True)
class Parity:
    """How well two models agree on one output.

    Args:
        samples: How many samples were compared.
        agreement: The share of samples with the same answer; None for a model that isn't a classifier.
        parted: The samples whose answers differ, ascending.
        largest: The largest absolute difference of any output value.
        mean: The mean absolute difference.
        percentile_99: 99 of 100 output values differ by no more than this.
        scale: The `.tflite`'s output step, one LSB; 0.0 for a float output, and then nothing is told in LSB.
        rows: The samples whose answers part, then those with the largest differences.
        up_to: The largest difference of each bin of `histogram` but the last, which has no end: in LSB, rounded to
            whole ones, or in units for a float output.
        histogram: How many output values are in each bin.
    """

    samples: int
    agreement: float | None
    parted: tuple[int, ...]
    largest: float
    mean: float
    percentile_99: float
    scale: float
    rows: tuple[Row, ...]
    up_to: tuple[float, ...]
    histogram: tuple[int, ...]

    def lsb(self, difference: float) -> float | None:
        """A difference in steps of the output; None for a float output."""
        return difference / self.scale if self.scale else None

    @property
    def largest_lsb(self) -> float | None:
        """The largest difference in steps of the output; None for a float output."""
        return self.lsb(self.largest)


def compare(
    exact: np.ndarray,
    found: np.ndarray,
    *,
    scale: float,
    classes: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
) -> Parity:
    """Compare one output of two models; a model of several outputs is compared output by output.

    Args:
        exact: The float model's, of shape `(n, ...)`.
        found: The `.tflite`'s, dequantized, of the same shape.
        scale: The `.tflite`'s output step; 0.0 for a float output.
        classes: The labels of a classifier, whose answer is the largest output, of equals the first; of one output for
            two classes, whether it exceeds 0.5, or 0 for logits. None for other models.
        labels: The true class ids of shape `(n,)`, if they are known.

    Raises:
        DataError: There are no samples.
        StageError: The outputs have different shapes, aren't finite, or don't fit the classes.
    """
    if exact.shape != found.shape:
        raise StageError(
            "the float model and the .tflite give outputs of different shapes",
            found=f"{exact.shape} and {found.shape}",
            fix="convert the model again",
        )
    if len(exact) == 0:
        raise no_samples()
    require_finite(exact)
    require_finite(found)
    one, other = exact.reshape(len(exact), -1).astype(np.float64), found.reshape(len(found), -1).astype(np.float64)
    answers = None if classes is None else _answers(exact, found, len(classes))
    pair = _Pair(one, other, answers, classes or (), labels)
    difference, parted = np.abs(one - other), pair.parted()
    worst = difference.max(axis=1)
    listed = dict.fromkeys([*parted.tolist(), *np.argsort(-worst, kind="stable")[:LARGEST].tolist()])
    up_to = tuple(_LSB_BINS if scale else _UNIT_BINS)
    return Parity(
        samples=len(one),
        agreement=None if answers is None else 1.0 - len(parted) / len(one),
        parted=tuple(parted.tolist()),
        largest=float(worst.max()),
        mean=float(difference.mean()),
        percentile_99=float(np.percentile(difference, 99)),
        scale=scale,
        rows=tuple(map(pair.row, listed)),
        up_to=up_to,
        histogram=_histogram(np.rint(difference / scale) if scale else difference, up_to),
    )


def _answers(exact: np.ndarray, found: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The class that each model names, `(n,)` each; both outputs are read as logits if one of them has some."""
    answers = scores_of(np.concatenate([exact, found]), n_classes).argmax(axis=1)
    return answers[: len(exact)], answers[len(exact) :]


@dataclass(frozen=True)
class _Pair:
    """Both models' outputs, of shape `(n, values)`, and what they are judged by."""

    exact: np.ndarray
    found: np.ndarray
    answers: tuple[np.ndarray, np.ndarray] | None
    classes: Sequence[str]
    labels: np.ndarray | None

    def parted(self) -> np.ndarray:
        """The samples whose answers differ."""
        if self.answers is None:
            return np.zeros(0, np.int64)
        return np.flatnonzero(self.answers[0] != self.answers[1])

    def row(self, place: int) -> Row:
        """What is told of one sample."""
        ids = None if self.answers is None else tuple(int(answer[place]) for answer in self.answers)
        scores = self.exact[place], self.found[place]
        return Row(
            sample=place,
            label=self.classes[int(self.labels[place])] if self.labels is not None and self.classes else None,
            answers=None if ids is None else (self.classes[ids[0]], self.classes[ids[1]]),
            scores=None if ids is None else (_score(scores[0], ids[0]), _score(scores[1], ids[1])),
            difference=float(np.abs(scores[0] - scores[1]).max()),
            parts=ids is not None and ids[0] != ids[1],
        )


def _score(outputs: np.ndarray, answer: int) -> float:
    """The output of a class, of a single output that one itself."""
    return float(outputs[min(answer, len(outputs) - 1)])


def _histogram(difference: np.ndarray, up_to: Sequence[float]) -> tuple[int, ...]:
    bins = np.searchsorted(np.asarray(up_to), difference.ravel(), side="left")
    return tuple(np.bincount(bins, minlength=len(up_to) + 1).tolist())


def _figure(value: float | None) -> float | None:
    return None if value is None else float(f"{float(value):.6g}")


# -- files -----------------------------------------------------------------------------------------------------------


def as_json(parity: Parity) -> ParityResults:
    """The comparison of one output as a document; `version` counts its format."""
    return {
        "version": VERSION,
        "n_samples": parity.samples,
        "agreement": _figure(parity.agreement),
        "parted": list(parity.parted),
        "largest_difference": _figure(parity.largest),
        "largest_difference_lsb": _figure(parity.largest_lsb),
        "mean_difference": _figure(parity.mean),
        "mean_difference_lsb": _figure(parity.lsb(parity.mean)),
        "percentile_99_difference": _figure(parity.percentile_99),
        "percentile_99_difference_lsb": _figure(parity.lsb(parity.percentile_99)),
        "lsb": _figure(parity.scale),
        "histogram": {
            "unit": "LSB" if parity.scale else "output",
            "up_to": [*parity.up_to, None],
            "counts": list(parity.histogram),
        },
    }


def as_text(parity: Parity, title: str) -> str:
    """The comparison of one output for people."""
    figures = [["samples compared", str(parity.samples)]]
    if parity.agreement is not None:
        figures.append(["answers that agree", f"{parity.samples - len(parity.parted)} ({_share(parity.agreement)})"])
    for name, value in (("largest", parity.largest), ("mean", parity.mean), ("99th percentile", parity.percentile_99)):
        steps = f" ({parity.lsb(value):.2f} LSB)" if parity.scale else ""
        figures.append([f"{name} difference", f"{value:.6g}{steps}"])
    lines = [*heading(title), *(f"{name.ljust(28)}{value}" for name, value in figures)]
    unit = "LSB" if parity.scale else "of the output"
    told = [[name, str(count)] for name, count in zip(_bin_names(parity), parity.histogram, strict=True) if count]
    lines += ["", *aligned([[f"difference, {unit}", "values"], *told])]
    parted = [row for row in parity.rows if row.parts]
    if parted:
        rows = [["samples whose answers part", "true", "float", "score", ".tflite", "score"]]
        rows += [_part_cells(row) for row in parted[:LARGEST]]
        lines += ["", *aligned(rows)]
        lines += [f"and {len(parted) - LARGEST} more in parity.csv"] * (len(parted) > LARGEST)
    return "\n".join([*lines, ""])


def _share(agreement: float) -> str:
    """A share in percent; 100 % only if it is all."""
    return f"{min(agreement, 0.9999):.2%}" if agreement < 1 else "100%"


def _part_cells(row: Row) -> list[str]:
    (first, second), (before, after) = row.answers or ("", ""), row.scores or (0.0, 0.0)
    return [str(row.sample), row.label or "", first, figure_text(before), second, figure_text(after)]


def _bin_names(parity: Parity) -> list[str]:
    """What each bin of the histogram holds."""
    ends = [f"{end:g}" for end in parity.up_to]
    if not parity.scale:
        return ["0", *(f"to {end}" for end in ends[1:]), f"over {ends[-1]}"]
    starts = [f"{end + 1:g}" for end in (-1, *parity.up_to)]
    pairs = zip(starts[:-1], ends, strict=True)
    return [*(start if start == end else f"{start} to {end}" for start, end in pairs), f"{starts[-1]} or more"]


def _table(parities: Sequence[Parity]) -> Iterator[list[object]]:
    for output, parity in enumerate(parities):
        for row in parity.rows:
            answers, scores = row.answers or (None, None), row.scores or (None, None)
            told = [answers[0], _figure(scores[0]), answers[1], _figure(scores[1])]
            steps = _figure(parity.lsb(row.difference))
            yield [output, row.sample, row.label, *told, _figure(row.difference), steps, int(row.parts)]


def report(  # noqa: PLR0913, PLR0917  # those of compare, and where it goes
    folder: Path,
    title: str,
    exact: np.ndarray,
    found: np.ndarray,
    scale: float,
    classes: Sequence[str] | None,
    labels: np.ndarray | None,
) -> ParityResults:
    """Compare one output of two models, as `compare` does, and write what came of it, as `write` does.

    Returns:
        The document.
    """
    compared = compare(exact, found, scale=scale, classes=classes, labels=labels)
    write(folder, title, compared)
    return as_json(compared)


def write(folder: Path, title: str, *parities: Parity) -> None:
    """Write `parity.json`, `parity.txt`, `parity.csv` and `parity.png`; the same values give the same bytes.

    Args:
        folder: Where the files go; it is made if it isn't there.
        title: The heading of the text and the picture.
        parities: One per output. The document of several has them as a list, `outputs`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    several = len(parities) > 1
    documents = [as_json(parity) for parity in parities]
    write_json(folder / "parity.json", {"version": VERSION, "outputs": documents} if several else documents[0])
    titles = [f"{title}, output {place}" if several else title for place in range(len(parities))]
    texts = [as_text(parity, name) for parity, name in zip(parities, titles, strict=True)]
    (folder / "parity.txt").write_text("\n".join(texts), encoding="utf-8")
    write_csv(folder / "parity.csv", COLUMNS, _table(parities))
    panels = [_panel(parity, f"output {place}" if several else "") for place, parity in enumerate(parities)]
    columns_png(folder / "parity.png", panels, title=title)


def _panel(parity: Parity, name: str) -> Panel:
    """The histogram of one output, without the empty bins after the last one that has values."""
    used = max((place for place, count in enumerate(parity.histogram) if count), default=0) + 1
    unit = "LSB" if parity.scale else "units of the output"
    below = f"difference of an output value, {unit}"
    return Panel(name, _bin_names(parity)[:used], parity.histogram[:used], below, "output values")
