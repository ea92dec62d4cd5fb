"""Compare what the float model answers with what its `.tflite` answers, sample for sample."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.errors import StageError

VERSION = 1
LARGEST = 20
"""So many samples with the largest differences are listed, beside those whose answers part."""
_BINARY_THRESHOLD = 0.5
COLUMNS = (
    *("sample", "label", "float_answer", "float_score", "tflite_answer", "tflite_score", "difference"),
    *("difference_lsb", "answers_part"),
)


@dataclass(frozen=True)
class Parity:
    """How well two models agree.

    Args:
        samples: How many samples were compared.
        agreement: The share of samples with the same answer; None for a model that isn't a classifier.
        parted: The samples whose answers differ, ascending.
        largest: The largest absolute difference of any output value.
        mean: The mean absolute difference.
        scale: The `.tflite`'s output step, one LSB; 0.0 for a float output, and then nothing is told in LSB.
        rows: What is told of single samples, by `COLUMNS`.
        histogram: How many output values differ by 0, 1, 2 ... LSB, rounded; the last entry has all larger ones.
    """

    samples: int
    agreement: float | None
    parted: tuple[int, ...]
    largest: float
    mean: float
    scale: float
    rows: tuple[tuple[Any, ...], ...]
    histogram: tuple[int, ...]

    @property
    def largest_lsb(self) -> float | None:
        """The largest difference in steps of the output."""
        return self.largest / self.scale if self.scale else None


def compare(
    exact: np.ndarray,
    found: np.ndarray,
    *,
    scale: float,
    classes: Sequence[str] | None = None,
    labels: np.ndarray | None = None,
) -> Parity:
    """Compare two models' outputs.

    Args:
        exact: The float model's, of shape `(n, ...)`.
        found: The `.tflite`'s, dequantized, of the same shape.
        scale: The `.tflite`'s output step; 0.0 for a float output. Rounding alone makes half a step.
        classes: The labels of a classifier, whose answer is the largest output, or the class 1 where one output exceeds
            0.5; None for other models.
        labels: The true class ids of shape `(n,)`, if they are known.

    Raises:
        StageError: The outputs have different shapes.
    """
    if exact.shape != found.shape:
        raise StageError(
            "the float model and the .tflite give outputs of different shapes",
            found=f"{exact.shape} and {found.shape}",
            fix="convert the model again",
        )
    one, other = exact.reshape(len(exact), -1).astype(np.float64), found.reshape(len(found), -1).astype(np.float64)
    difference = np.abs(one - other)
    worst = difference.max(axis=1, initial=0.0)
    answers = (_answers(one), _answers(other)) if classes is not None else None
    parted = np.flatnonzero(answers[0] != answers[1]) if answers is not None else np.zeros(0, np.int64)
    pair = _Pair(one, other, scale, answers, list(classes or ()), labels)
    listed = dict.fromkeys([*parted.tolist(), *np.argsort(-worst, kind="stable")[:LARGEST].tolist()])
    return Parity(
        samples=len(one),
        agreement=None if answers is None or not len(one) else 1.0 - len(parted) / len(one),
        parted=tuple(parted.tolist()),
        largest=float(worst.max(initial=0.0)),
        mean=float(difference.mean()) if difference.size else 0.0,
        scale=scale,
        rows=tuple(map(pair.row, listed)),
        histogram=_histogram(difference, scale),
    )


def _answers(scores: np.ndarray) -> np.ndarray:
    if scores.shape[1] == 1:
        return (scores[:, 0] > _BINARY_THRESHOLD).astype(np.int64)
    return np.asarray(scores.argmax(axis=1))


@dataclass(frozen=True)
class _Pair:
    """Both models' outputs, of shape `(n, values)`, and what they are judged by."""

    exact: np.ndarray
    found: np.ndarray
    scale: float
    answers: tuple[np.ndarray, np.ndarray] | None
    classes: Sequence[str]
    labels: np.ndarray | None

    def row(self, place: int) -> tuple[Any, ...]:
        """What is told of one sample."""
        told: list[Any] = ["", "", "", ""]
        parts = False
        if self.answers is not None:
            first, second = (int(answer[place]) for answer in self.answers)
            told = [*self._answer(self.exact[place], first), *self._answer(self.found[place], second)]
            parts = first != second
        label = self.classes[int(self.labels[place])] if self.labels is not None and self.classes else ""
        worst = float(np.abs(self.exact[place] - self.found[place]).max(initial=0.0))
        return (place, label, *told, _figure(worst), _figure(worst / self.scale) if self.scale else "", parts)

    def _answer(self, scores: np.ndarray, answer: int) -> tuple[str, float]:
        return self.classes[answer], _figure(scores[min(answer, len(scores) - 1)])


def _histogram(difference: np.ndarray, scale: float, most: int = 8) -> tuple[int, ...]:
    if not scale:
        return ()
    steps = np.minimum(np.rint(difference / scale), most).astype(np.int64)
    return tuple(np.bincount(steps.ravel(), minlength=most + 1).tolist())


def _figure(value: float) -> float:
    return float(f"{float(value):.6g}")


# -- files -----------------------------------------------------------------------------------------------------------


def as_json(parity: Parity) -> dict[str, Any]:
    """The comparison as a document; `version` counts its format."""
    steps = parity.largest_lsb
    return {
        "version": VERSION,
        "n_samples": parity.samples,
        "agreement": None if parity.agreement is None else round(parity.agreement, 6),
        "parted": list(parity.parted),
        "largest_difference": _figure(parity.largest),
        "largest_difference_lsb": None if steps is None else _figure(steps),
        "mean_difference": _figure(parity.mean),
        "lsb": _figure(parity.scale),
        "histogram_lsb": list(parity.histogram),
    }


def as_text(parity: Parity, title: str) -> str:
    """The comparison for people."""
    lines = [title, "=" * len(title), "", f"samples compared      {parity.samples}"]
    if parity.agreement is not None:
        lines.append(f"answers that agree    {parity.agreement:.2%}, {len(parity.parted)} part")
    steps = parity.largest_lsb
    told = f" ({steps:.1f} LSB)" if steps is not None else ""
    lines.append(f"largest difference    {parity.largest:.6g}{told}")
    lines.append(f"mean difference       {parity.mean:.6g}")
    if parity.histogram:
        counts = [f"{count} by {number}" for number, count in enumerate(parity.histogram[:-1]) if count]
        if parity.histogram[-1]:
            counts.append(f"{parity.histogram[-1]} by {len(parity.histogram) - 1} or more")
        lines.append(f"outputs that differ   {', '.join(counts)} LSB")
    parted = [row for row in parity.rows if row[-1]]
    if parted:
        lines += ["", "samples whose answers part:"]
        lines += [f"  {row[0]}: float {row[2]} {row[3]:.4g}, .tflite {row[4]} {row[5]:.4g}" for row in parted[:LARGEST]]
        lines += [f"  and {len(parted) - LARGEST} more in parity.csv"] * (len(parted) > LARGEST)
    return "\n".join([*lines, ""])


def as_csv(parity: Parity) -> str:
    """The listed samples as a table: those whose answers part, then those with the largest differences."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(parity.rows)
    return text.getvalue()


def write(folder: Path, title: str, parity: Parity) -> None:
    """Write `parity.json`, `parity.txt` and `parity.csv`; the same values give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    document = json.dumps(as_json(parity), indent=1, sort_keys=True)
    (folder / "parity.json").write_text(document + "\n", encoding="utf-8")
    (folder / "parity.txt").write_text(as_text(parity, title), encoding="utf-8")
    (folder / "parity.csv").write_text(as_csv(parity), encoding="utf-8")
