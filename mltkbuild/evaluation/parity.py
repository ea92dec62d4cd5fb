"""Compare what the float model answers with what its `.tflite` answers, sample for sample.

Differences are told in LSB, steps of the `.tflite`'s output. Rounding a perfect result to the nearest step makes half a
step at most, and clipping it to the range up to a whole one (an int8 softmax ends at 255/256); all beyond comes from
the arithmetic before the output. A float output has no steps: its differences are told in units alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mltkbuild.errors import StageError
from mltkbuild.evaluation.evaluate import scores_of
from mltkbuild.evaluation.rates import require_finite
from mltkbuild.tflite.predict import no_samples

LARGEST = 20
"""So many samples with the largest differences are listed, beside those whose answers part."""
_LSB_BINS = (0, 1, 2, 4, 8, 16, 32, 64, 128)
_EXACT = 1 << 20
_BITS = 12
_BINS = 1 << 31 - _BITS
_ROWS = 4096
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


class Comparison:
    """Compares one output of two models, batch by batch.

    Args:
        scale: The `.tflite`'s output step; 0.0 for a float output.
        classes: The labels of a classifier; None for other models.
    """

    def __init__(self, scale: float, classes: Sequence[str] | None = None) -> None:
        self._scale = scale
        self._classes = classes
        self._up_to = tuple(_LSB_BINS if scale else _UNIT_BINS)
        self._counts = np.zeros(len(self._up_to) + 1, np.int64)
        self._samples = 0
        self._sum = self._largest = 0.0
        self._spread = _Spread()
        self._parted: list[Row] = []
        self._worst: list[Row] = []

    def add(
        self,
        exact: np.ndarray,
        found: np.ndarray,
        answers: tuple[np.ndarray, np.ndarray] | None = None,
        labels: np.ndarray | None = None,
    ) -> None:
        """Take the next batch.

        Args:
            exact: The float model's, of shape `(n, ...)`.
            found: The `.tflite`'s, dequantized, of the same shape.
            answers: The class ids that both name, of shape `(n,)`; None without classes.
            labels: The true class ids, if they are known.

        Raises:
            StageError: The outputs have different shapes.
        """
        if exact.shape != found.shape:
            raise StageError(
                "the float model and the .tflite give outputs of different shapes",
                found=f"{exact.shape} and {found.shape}",
                fix="convert the model again",
            )
        if len(exact) == 0:
            return
        one, other = (values.reshape(len(values), -1).astype(np.float64) for values in (exact, found))
        difference = np.abs(one - other)
        worst = difference.max(axis=1)
        pair = _Pair(one, other, answers, self._classes or (), labels, self._samples)
        self._parted += map(pair.row, pair.parted())
        rows = [pair.row(place) for place in np.argsort(-worst, kind="stable")[:LARGEST]]
        # Sorting keeps the order of equals: the sample that came first stays first.
        self._worst = sorted([*self._worst, *rows], key=lambda row: -row.difference)[:LARGEST]
        self._samples += len(one)
        self._sum += float(difference.sum())
        self._largest = max(self._largest, float(worst.max()))
        self._spread.add(difference)
        steps = np.rint(difference / self._scale) if self._scale else difference
        self._counts += _histogram(steps, self._up_to)

    def result(self) -> Parity:
        """What all batches come to.

        Raises:
            DataError: There are no samples.
        """
        if not self._samples:
            raise no_samples()
        listed = {row.sample: row for row in (*self._parted, *self._worst)}
        return Parity(
            samples=self._samples,
            agreement=None if self._classes is None else 1.0 - len(self._parted) / self._samples,
            parted=tuple(row.sample for row in self._parted),
            largest=self._largest,
            mean=self._sum / self._spread.count,
            percentile_99=self._spread.percentile_99(),
            scale=self._scale,
            rows=tuple(listed.values()),
            up_to=self._up_to,
            histogram=tuple(self._counts.tolist()),
        )


class _Spread:
    """The 99th percentile of values from 0 on: exact for a million of them, else rounded up by at most 0.05 %."""

    def __init__(self) -> None:
        self.count = 0
        self._values: list[np.ndarray] = []
        self._bins: np.ndarray | None = None

    def add(self, values: np.ndarray) -> None:
        self.count += values.size
        self._values.append(values.ravel())
        if self._bins is None and self.count <= _EXACT:
            return
        if self._bins is None:
            self._bins = np.zeros(_BINS, np.int64)
        for part in self._values:
            # The bits of floats from 0 on rise with them: the upper 20 are the exponent and 11 of the fraction.
            self._bins += np.bincount(part.astype(np.float32).view(np.uint32) >> _BITS, minlength=_BINS)
        self._values = []

    def percentile_99(self) -> float:
        if self._bins is None:
            return float(np.percentile(np.concatenate(self._values), 99))
        place = int(np.searchsorted(np.cumsum(self._bins), 0.99 * self.count))
        return float(np.array((place + 1 << _BITS) - 1, np.uint32).view(np.float32)) if place else 0.0


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
    comparison = Comparison(scale, classes)
    if exact.shape != found.shape:
        comparison.add(exact, found)
    require_finite(exact)
    require_finite(found)
    answers = _answers(exact, found, len(classes)) if classes is not None and len(exact) else None
    for start in range(0, len(exact), _ROWS):
        rows = slice(start, start + _ROWS)
        named = None if answers is None else (answers[0][rows], answers[1][rows])
        comparison.add(exact[rows], found[rows], named, None if labels is None else labels[rows])
    return comparison.result()


def _answers(exact: np.ndarray, found: np.ndarray, n_classes: int) -> tuple[np.ndarray, np.ndarray]:
    """The class that each model names, `(n,)` each; both outputs are read as logits if one of them has some."""
    answers = scores_of(np.concatenate([exact, found]), n_classes).argmax(axis=1)
    return answers[: len(exact)], answers[len(exact) :]


@dataclass(frozen=True)
class _Pair:
    """Both models' outputs for some samples, of shape `(n, values)`, and what they are judged by."""

    exact: np.ndarray
    found: np.ndarray
    answers: tuple[np.ndarray, np.ndarray] | None
    classes: Sequence[str]
    labels: np.ndarray | None
    first: int

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
            sample=self.first + int(place),
            label=self.classes[int(self.labels[place])] if self.labels is not None and self.classes else None,
            answers=None if ids is None else (self.classes[ids[0]], self.classes[ids[1]]),
            scores=None if ids is None else (_score(scores[0], ids[0]), _score(scores[1], ids[1])),
            difference=float(np.abs(scores[0] - scores[1]).max()),
            parts=ids is not None and ids[0] != ids[1],
        )


def _score(outputs: np.ndarray, answer: int) -> float:
    """The output of a class, of a single output that one itself."""
    return float(outputs[min(answer, len(outputs) - 1)])


def _histogram(difference: np.ndarray, up_to: Sequence[float]) -> np.ndarray:
    bins = np.searchsorted(np.asarray(up_to), difference.ravel(), side="left")
    return np.bincount(bins, minlength=len(up_to) + 1)
