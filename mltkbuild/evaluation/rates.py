"""Rates over thresholds: how well a score tells positive samples from negative ones."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from sklearn.metrics import auc, average_precision_score, roc_curve

from mltkbuild.errors import StageError
from mltkbuild.evaluation.documents import Curve, Point

CURVE = ("fpr", "tpr", "precision", "thresholds")
"""The columns of a curve as `Rates.curve` gives it."""
_POINTS = 101


@dataclass(frozen=True)
class Rates:
    """What share of the samples scores at or above each threshold. All arrays have the shape `(thresholds,)`.

    Args:
        thresholds: Every score once, falling, behind one that is above all of them.
        fpr: The share of the negative samples, from 0 to 1.
        tpr: The share of the positive samples, from 0 to 1: the recall.
        precision: The share of positive samples among those at or above the threshold; NaN where there are none.
        accuracy: The share of samples on their side of the threshold.
        auc: The area under `tpr` over `fpr`.
        average_precision: The mean of the precision, weighted by the gain in recall.
    """

    thresholds: np.ndarray
    fpr: np.ndarray
    tpr: np.ndarray
    precision: np.ndarray
    accuracy: np.ndarray
    auc: float
    average_precision: float

    def curve(self) -> Curve:
        """At most 101 points, spread evenly along the ROC, by `CURVE`; None for the precision where it is undefined."""
        kept = self.thinned()
        return {
            "fpr": [rounded(value) for value in self.fpr[kept]],
            "tpr": [rounded(value) for value in self.tpr[kept]],
            "precision": [rounded(value) for value in self.precision[kept]],
            "thresholds": [significant(value) for value in self.thresholds[kept]],
        }

    def thinned(self) -> np.ndarray:
        """The places of at most 101 points, spread evenly along the ROC; the ends are among them."""
        last = len(self.fpr) - 1
        if last < _POINTS:
            return np.arange(last + 1)
        marks = np.searchsorted(self.fpr + self.tpr, np.linspace(0.0, 2.0, _POINTS))
        kept: np.ndarray = np.unique(np.minimum(marks, last))
        kept[-1] = last
        return kept

    def at(self, place: int) -> Point:
        """One threshold, not rounded, with its accuracy, false and true positive rate."""
        return {
            "threshold": float(self.thresholds[place]),
            "accuracy": rounded(self.accuracy[place]),
            "fpr": rounded(self.fpr[place]),
            "tpr": rounded(self.tpr[place]),
        }

    def most_accurate(self) -> Point:
        """The threshold of the best accuracy; of equals, the highest."""
        return self.at(int(np.argmax(self.accuracy)))

    def most_telling(self) -> Point:
        """The threshold where Youden's J, `tpr - fpr`, is largest; of equals, the highest."""
        return self.at(int(np.argmax(self.tpr - self.fpr)))


def rates_of(positive: np.ndarray, scores: np.ndarray) -> Rates | None:
    """Compute the rates of one split into positive and negative samples.

    Args:
        positive: Which samples are, booleans of shape `(n,)`.
        scores: Finite numbers of shape `(n,)`; the higher, the more positive.

    Returns:
        None unless there are samples of both kinds.
    """
    count = int(np.count_nonzero(positive))
    others = len(positive) - count
    if not count or not others:
        return None
    fpr, tpr, thresholds = roc_curve(positive, scores, drop_intermediate=False)
    # scikit-learn starts at infinity, which JSON lacks.
    thresholds[0] = thresholds[1] + max(1.0, abs(thresholds[1]))
    hits, alarms = np.rint(tpr * count), np.rint(fpr * others)
    found = hits + alarms
    return Rates(
        thresholds=thresholds,
        fpr=fpr,
        tpr=tpr,
        precision=np.divide(hits, found, out=np.full(len(found), np.nan), where=found > 0),
        accuracy=(hits + others - alarms) / len(positive),
        auc=float(auc(fpr, tpr)),
        average_precision=float(average_precision_score(positive, scores)),
    )


def curve_rows(name: str, curve: Curve | None) -> Iterable[tuple[object, ...]]:
    """The points of a curve as rows of a table: the name, threshold, fpr, tpr and precision."""
    if curve is None:
        return ()
    columns = (curve[column] for column in ("thresholds", "fpr", "tpr", "precision"))
    return [(name, *point) for point in zip(*columns, strict=True)]


def rounded(value: float) -> float | None:
    """A figure to 6 decimals; None for one that isn't finite."""
    return round(float(value), 6) if math.isfinite(value) else None


def significant(value: float) -> float | None:
    """A figure to 6 significant digits; None for one that isn't finite."""
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def require_finite(values: np.ndarray) -> None:
    """Raise a StageError that counts the values that are NaN or infinite."""
    count = int(np.size(values) - np.isfinite(values).sum())
    if count:
        raise StageError(
            "the model's predictions aren't numbers",
            found=f"{count} of {np.size(values)} values are NaN or infinite",
            fix="look for a diverging loss in the training history, and lower the learning rate",
        )
