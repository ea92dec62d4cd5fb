"""Measure a trained model: count what it got right, write results and pictures."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation.documents import ClassifierResults, Results, Thresholds
from mltkbuild.evaluation.evaluation_files import (
    folder_names,
    summary,
    write_classifier,
    write_document,
    write_metrics,
)
from mltkbuild.evaluation.rates import Rates, rates_of, require_finite, rounded
from mltkbuild.tflite.predict import no_samples

# How far a probability may leave [0, 1] by rounding before the scores count as logits.
_PROBABILITY_SLACK = 1e-3
# How far the shares of a row of labels may be from 1 in sum.
_SUM_SLACK = 0.01


def labels_of(y: np.ndarray, n_classes: int) -> np.ndarray:
    """Turn targets into class ids.

    Args:
        y: One-hot rows of shape `(n, n_classes)` (soft ones too: the largest wins), or ids of shape `(n,)` or `(n, 1)`.
        n_classes: How many classes there are.

    Returns:
        int64 ids of shape `(n,)`.

    Raises:
        DataError: The targets name no class, or not exactly one.
    """
    y = np.asarray(y)
    fix = f"let the evaluation data yield one-hot rows of {n_classes} values, or ids from 0 to {n_classes - 1}"
    if y.ndim == 2 and y.shape[1] == n_classes and n_classes > 1:
        unclear = np.flatnonzero(~_name_one(y))
        if len(unclear):
            row = int(unclear[0])
            raise DataError("a one-hot row names not exactly one class", found=f"row {row}: {y[row].tolist()}", fix=fix)
        return np.asarray(np.argmax(y, axis=1), dtype=np.int64)
    if y.dtype.kind not in "biuf" or y.ndim not in (1, 2) or (y.ndim == 2 and y.shape[1] != 1):
        found = f"{y.dtype} of shape {y.shape} for {n_classes} classes"
        raise DataError("targets don't fit the classes", found=found, fix=fix)
    ids = y.reshape(-1).astype(np.float64)
    wrong = ids[~((ids >= 0) & (ids < n_classes) & (ids == np.floor(ids)))]
    if len(wrong):
        raise DataError("a target is no class id", found=f"{wrong[0]:g} for {n_classes} classes", fix=fix)
    return ids.astype(np.int64)


def _name_one(y: np.ndarray) -> np.ndarray:
    """Which rows are shares of classes, 0 to 1 and 1 in sum give or take 0.01, with one largest."""
    largest = (y == y.max(axis=1, keepdims=True)).sum(axis=1) == 1
    shares = np.isclose(y.sum(axis=1, dtype=np.float64), 1.0, rtol=0.0, atol=_SUM_SLACK)
    found: np.ndarray = largest & shares & (y.min(axis=1) >= 0)
    return found


def ids_of(y: np.ndarray, width: int) -> np.ndarray | None:
    """The class ids that targets are by themselves, without a word of the spec; None for targets that are no classes.

    Args:
        y: The targets of one output.
        width: How many values the output has.

    Returns:
        int64 ids of shape `(n,)`: of rows with one 1 and else 0 of an output of as many values, of whole numbers below
        that, or of zeros and ones for an output of one value.
    """
    if y.dtype.kind not in "biuf" or not y.size or y.ndim not in (1, 2):
        return None
    if y.ndim == 2 and y.shape[1] == width > 1:
        one_hot = ((y == 0) | (y == 1)).all() and (y.sum(axis=1, dtype=np.float64) == 1).all()
        return np.asarray(y.argmax(axis=1), np.int64) if one_hot else None
    if y.ndim == 2 and y.shape[1] != 1:
        return None
    ids = y.reshape(-1)
    known = (ids >= 0) & (ids < max(width, 2)) & (ids == np.floor(ids))
    return ids.astype(np.int64) if known.all() else None


def scores_of(predictions: np.ndarray, n_classes: int) -> np.ndarray:
    """Turn what a classifier returns into one score in [0, 1] per class.

    Predictions within [0, 1], give or take 0.001, are taken as they are, even if rows don't sum to 1 (an int8 softmax,
    a sigmoid per class). If any value lies outside, all of them are logits and go through a softmax, or through a
    sigmoid if binary. The largest of a row stays the largest.

    Args:
        predictions: Shape `(n, n_classes)`; or `(n,)` or `(n, 1)` for two classes: the probability `p` of class 1,
            which becomes `[1 - p, p]`. Axes of length 1 between are dropped.
        n_classes: How many classes there are.

    Returns:
        float64 scores of shape `(n, n_classes)`.

    Raises:
        StageError: The shape doesn't fit the classes, or a prediction isn't finite.
    """
    values = np.asarray(predictions, dtype=np.float64)
    width = math.prod(values.shape[1:])
    binary = width == 1 and n_classes == 2
    if not values.ndim or not (binary or width == n_classes == values.shape[-1]):
        raise StageError(
            "the model's output doesn't fit its classes",
            found=f"predictions of shape {values.shape} for {n_classes} classes",
            fix="end the model in one unit per class, or in one sigmoid unit for two classes",
        )
    require_finite(values)
    values = values.reshape(len(values), width)
    is_logit = bool(len(values)) and (values.min() < -_PROBABILITY_SLACK or values.max() > 1 + _PROBABILITY_SLACK)
    if binary:
        values = np.concatenate([np.zeros_like(values) if is_logit else 1 - values, values], axis=1)
    if is_logit:
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values


def classifier_results(y_true: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> ClassifierResults:
    """Count what a classifier gets right.

    Args:
        y_true: Class ids of shape `(n,)`, as `labels_of` returns them.
        scores: Shape `(n, len(classes))`, as `scores_of` returns them. The largest wins; of equals, the first.
        classes: The class names in the order of the ids.

    Returns:
        Values that JSON holds, floats to 6 decimals. A class without samples has None everywhere, and so has what is
        undefined: the precision of a class that was never predicted, the ROC of the only class. `roc` has at most 101
        points; its first threshold stands for "above every score", where the precision is None. `roc_auc` and
        `average_precision` are computed on all points. `averages` are those of the classes with samples, `macro` each
        with the same weight and `weighted` by its samples; the precision of a class that was never predicted counts 0.
        `thresholds` is None unless there are two classes, both with samples: what accuracy, false and true positive
        rate are when a sample counts as the second class from a score on (`points`, at most 101), and where the
        accuracy (`best_accuracy`) and the true less the false positive rate (`best_youden`) are largest.

    Raises:
        DataError: There are no samples.
        StageError: Scores don't fit the labels and classes, or aren't finite.
    """
    _require_fitting(y_true, scores, classes)
    ids = np.arange(len(classes))
    predicted = scores.argmax(axis=1)
    matrix = confusion_matrix(y_true, predicted, labels=ids)
    figures = precision_recall_fscore_support(y_true, predicted, labels=ids, zero_division=np.nan)
    precision, recall, f1, support = figures
    rates = [rates_of(y_true == place, scores[:, place]) for place in ids]
    areas = [entry.auc for entry in rates if entry is not None]

    def per_class(values: Sequence[float]) -> dict[str, float | None]:
        return {
            name: rounded(value) if count else None for name, value, count in zip(classes, values, support, strict=True)
        }

    return {
        "classes": list(classes),
        "n_samples": len(y_true),
        "overall_accuracy": rounded(np.trace(matrix) / len(y_true)),
        "class_accuracies": per_class(recall),
        "precision": per_class(precision),
        "recall": per_class(recall),
        "f1": per_class(f1),
        "averages": _averages({"precision": precision, "recall": recall, "f1": f1}, support),
        "confusion_matrix": matrix.tolist(),
        "roc": {name: None if entry is None else entry.curve() for name, entry in zip(classes, rates, strict=True)},
        "roc_auc": per_class([math.nan if entry is None else entry.auc for entry in rates]),
        "roc_auc_avg": rounded(sum(areas) / len(areas)) if areas else None,
        "average_precision": per_class([math.nan if entry is None else entry.average_precision for entry in rates]),
        "thresholds": _thresholds(rates[1], classes[1]) if len(classes) == 2 else None,
    }


def _averages(figures: Mapping[str, np.ndarray], support: np.ndarray) -> dict[str, dict[str, float | None]]:
    """Average figures over the classes with samples, evenly and by their samples."""
    weights = {"macro": support > 0, "weighted": support}
    return {
        kind: {name: rounded(np.average(np.nan_to_num(values), weights=weight)) for name, values in figures.items()}
        for kind, weight in weights.items()
    }


def _thresholds(rates: Rates | None, positive: str) -> Thresholds | None:
    """What each threshold makes of two classes."""
    if rates is None:
        return None
    curve = rates.curve()
    accuracy = [rounded(value) for value in rates.accuracy[rates.thinned()]]
    return {
        "positive": positive,
        "points": {**{name: curve[name] for name in ("thresholds", "fpr", "tpr")}, "accuracy": accuracy},
        "best_accuracy": rates.most_accurate(),
        "best_youden": rates.most_telling(),
    }


class Balance:
    """Chooses the first samples of each class, batch by batch.

    Args:
        max_per_class: How many of each; -1 for all.
    """

    def __init__(self, max_per_class: int) -> None:
        self._most = max_per_class
        self._counts: Counter[int] = Counter()

    @property
    def chooses(self) -> bool:
        """Whether any sample may be left out."""
        return self._most >= 0

    def pick(self, labels: np.ndarray) -> np.ndarray:
        """The places of the samples of the next batch that are chosen, ascending."""
        if self._most < 0:
            return np.arange(len(labels))
        chosen = [np.arange(0)]
        for label in np.unique(labels).tolist():
            places = np.flatnonzero(labels == label)[: max(self._most - self._counts[label], 0)]
            self._counts[label] += len(places)
            chosen.append(places)
        return np.sort(np.concatenate(chosen))


def write_results(folder: Path, title: str, results: Results) -> None:
    """Write `results.json`, `summary.txt`, and a classifier's tables and pictures or `metrics.csv`.

    Each of several outputs has a folder of its own with the same files. The same results give the same bytes.

    Args:
        folder: Where the files go; it is made if it isn't there.
        title: The heading of the summary and the pictures.
        results: The document.
    """
    write_document(folder, results, summary(title, results))
    if "confusion_matrix" in results:
        write_classifier(folder, title, results)
        return
    write_metrics(folder, results["metrics"])
    if "outputs" in results:
        names = folder_names(list(results["outputs"]))
        for name, section in results["outputs"].items():
            write_results(folder / names[name], f"{title}, output {name}", section)


def _require_fitting(y_true: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> None:
    if len(y_true) == 0:
        raise no_samples()
    named = len(set(classes)) == len(classes)
    known = y_true.min() >= 0 and y_true.max() < len(classes)
    if not (named and known and scores.shape == (len(y_true), len(classes))):
        raise StageError(
            "labels, scores and classes don't fit together",
            found=f"{len(y_true)} labels from {y_true.min()} to {y_true.max()}, scores of shape {scores.shape}, "
            f"classes {', '.join(classes)}",
            fix="give a label and a row of scores per sample, and a column per class, each with its own name",
        )
    require_finite(scores)
