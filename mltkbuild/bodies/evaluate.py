"""Measure a trained model: count what it got right, write results and pictures."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import auc, confusion_matrix, precision_recall_fscore_support, roc_curve

from mltkbuild.bodies import plots
from mltkbuild.bodies.predict import no_samples
from mltkbuild.errors import DataError, StageError

Results = dict[str, Any]

_ROC_POINTS = 101
_SUMMARY_CLASSES = 20
# How far a probability may leave [0, 1] by rounding before the scores count as logits.
_PROBABILITY_SLACK = 1e-3


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
        unclear = np.flatnonzero((y == y.max(axis=1, keepdims=True)).sum(axis=1) != 1)
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
    _require_finite(values)
    values = values.reshape(len(values), width)
    is_logit = bool(len(values)) and (values.min() < -_PROBABILITY_SLACK or values.max() > 1 + _PROBABILITY_SLACK)
    if binary:
        values = np.concatenate([np.zeros_like(values) if is_logit else 1 - values, values], axis=1)
    if is_logit:
        values = np.exp(values - values.max(axis=1, keepdims=True))
        values /= values.sum(axis=1, keepdims=True)
    return values


def classifier_results(y_true: np.ndarray, scores: np.ndarray, classes: Sequence[str]) -> Results:
    """Count what a classifier gets right.

    Args:
        y_true: Class ids of shape `(n,)`, as `labels_of` returns them.
        scores: Shape `(n, len(classes))`, as `scores_of` returns them. The largest wins; of equals, the first.
        classes: The class names in the order of the ids.

    Returns:
        Values that JSON holds, floats to 6 decimals. A class without samples has None everywhere, and so has what is
        undefined: the precision of a class that was never predicted, the ROC of the only class. `roc` has at most 101
        points; its first threshold stands for "above every score". `roc_auc` is computed on all points.

    Raises:
        DataError: There are no samples.
        StageError: Scores don't fit the labels and classes, or aren't finite.
    """
    _require_fitting(y_true, scores, classes)
    ids = np.arange(len(classes))
    predicted = scores.argmax(axis=1)
    matrix = confusion_matrix(y_true, predicted, labels=ids)
    counts = precision_recall_fscore_support(y_true, predicted, labels=ids, zero_division=np.nan)
    precision, recall, f1, support = counts
    present = [bool(count) for count in support]
    curves = [_roc(y_true == place, scores[:, place]) for place in ids]
    areas = [area for _, area in curves if area is not None]

    def per_class(values: Sequence[float]) -> dict[str, float | None]:
        return {
            name: _rounded(value) if there else None
            for name, value, there in zip(classes, values, present, strict=True)
        }

    return {
        "classes": list(classes),
        "n_samples": len(y_true),
        "overall_accuracy": _rounded(np.trace(matrix) / len(y_true)),
        "class_accuracies": per_class(recall),
        "precision": per_class(precision),
        "recall": per_class(recall),
        "f1": per_class(f1),
        "confusion_matrix": matrix.tolist(),
        "roc": {name: curve for name, (curve, _) in zip(classes, curves, strict=True)},
        "roc_auc": {name: area for name, (_, area) in zip(classes, curves, strict=True)},
        "roc_auc_avg": _rounded(sum(areas) / len(areas)) if areas else None,
    }


def generic_results(keras_model: Any, x: np.ndarray, y: np.ndarray, batch_size: int) -> Results:
    """Measure a Keras model with the loss and the metrics it was compiled with.

    Returns:
        `n_samples` and `metrics`, a value of 6 significant digits per name; None for one that isn't finite. A metric
        with several values counts them: `f1_score[0]`.

    Raises:
        StageError: The model isn't compiled.
    """
    if not keras_model.compiled:
        raise StageError(
            "the model has no metrics to evaluate",
            found="a model that isn't compiled",
            fix="call keras_model.compile(...) with a loss and metrics where the model is built",
        )
    metrics = keras_model.evaluate(x, y, batch_size=batch_size, verbose=0, return_dict=True)
    named: dict[str, float | None] = {}
    for name, value in metrics.items():
        values = np.ravel(value)
        names = [name] if len(values) == 1 else [f"{name}[{place}]" for place in range(len(values))]
        named.update(zip(names, map(_significant, values), strict=True))
    return {"n_samples": len(x), "metrics": named}


def error_results(predictions: np.ndarray, y: np.ndarray) -> Results:
    """Measure how far predictions are from targets if their shapes agree, axes of length 1 aside.

    Returns:
        `n_samples` and `metrics`: `mean_squared_error` and `mean_absolute_error` to 6 significant digits, or nothing.

    Raises:
        DataError: There are no samples.
        StageError: A prediction isn't finite.
    """
    if len(predictions) == 0:
        raise no_samples()
    _require_finite(predictions)
    metrics = {}
    given, wanted = _squeezed(predictions), _squeezed(y)
    if given.shape == wanted.shape:
        metrics["mean_squared_error"] = _significant(float(np.mean((given - wanted) ** 2)))
        metrics["mean_absolute_error"] = _significant(float(np.mean(np.abs(given - wanted))))
    return {"n_samples": len(predictions), "metrics": metrics}


def select_balanced(labels: np.ndarray, max_per_class: int) -> np.ndarray:
    """Choose the first `max_per_class` samples of each class; -1 chooses all.

    Returns:
        The indices, ascending.
    """
    if max_per_class < 0:
        return np.arange(len(labels))
    firsts = [np.flatnonzero(labels == label)[:max_per_class] for label in np.unique(labels)]
    return np.sort(np.concatenate([np.arange(0), *firsts]))


def evaluate_model(
    *, predictions: np.ndarray, y: np.ndarray, classes: Sequence[str] | None, folder: Path, title: str
) -> Results:
    """Compare predictions with targets and write the results.

    Args:
        predictions: What the model returned, dequantized.
        y: The targets, in any form that `labels_of` reads; for a model without classes, of the predictions' shape.
        classes: The class names; None for a model that isn't a classifier.
        folder: Where `write_results` puts its files.
        title: The heading of the summary and the pictures.

    Returns:
        What `classifier_results` returns, or `error_results` without classes.

    Raises:
        DataError: The targets name no class, or there are none.
        StageError: Predictions don't fit the targets and classes, or aren't finite.
    """
    if classes is None:
        results = error_results(predictions, y)
    else:
        labels = labels_of(y, len(classes))
        results = classifier_results(labels, scores_of(predictions, len(classes)), classes)
    write_results(folder, title, results)
    return results


def write_results(folder: Path, title: str, results: Results) -> None:
    """Write `results.json` and `summary.txt`, and for a classifier `confusion_matrix.png` and `roc.png`.

    The same results give the same bytes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, sort_keys=True, indent=2, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "summary.txt").write_text(_summary(title, results), encoding="utf-8")
    if "confusion_matrix" in results:
        classes = results["classes"]
        matrix_title = f"{title}: accuracy {results['overall_accuracy']:.1%}"
        plots.confusion_matrix_png(folder / "confusion_matrix.png", results["confusion_matrix"], classes, matrix_title)
        plots.roc_png(folder / "roc.png", results["roc"], results["roc_auc"], classes, title)


def _roc(positive: np.ndarray, scores: np.ndarray) -> tuple[dict[str, list[float]] | None, float | None]:
    """The curve of one class, thinned evenly along its length, and the area under all of it."""
    if positive.all() or not positive.any():
        return None, None
    fpr, tpr, thresholds = roc_curve(positive, scores)
    # scikit-learn starts at infinity, which JSON lacks.
    thresholds[0] = thresholds[1] + 1.0
    kept = np.arange(len(fpr))
    if len(kept) > _ROC_POINTS:
        marks = np.searchsorted(fpr + tpr, np.linspace(0.0, 2.0, _ROC_POINTS))
        kept = np.unique(np.minimum(marks, len(fpr) - 1))
        kept[-1] = len(fpr) - 1
    columns = {"fpr": fpr, "tpr": tpr, "thresholds": thresholds}
    curve = {name: [round(value, 6) for value in column[kept].tolist()] for name, column in columns.items()}
    return curve, _rounded(auc(fpr, tpr))


def _summary(title: str, results: Results) -> str:
    lines = [title, "=" * len(title), ""]
    figures = [["samples", str(results["n_samples"])]]
    if "confusion_matrix" not in results:
        figures += [[name, _text(value, "g")] for name, value in results["metrics"].items()]
        return "\n".join([*lines, *_table(figures), ""])
    classes, matrix = results["classes"], results["confusion_matrix"]
    figures.append(["overall accuracy", _text(results["overall_accuracy"])])
    figures.append(["average ROC AUC", _text(results["roc_auc_avg"])])
    columns = ("class_accuracies", "precision", "recall", "f1", "roc_auc")
    rows = [["class", "n", "accuracy", "precision", "recall", "F1", "AUC"]]
    for name, counts in zip(classes, matrix, strict=True):
        rows.append([name, str(sum(counts)), *(_text(results[column][name]) for column in columns)])
    lines += [*_table(figures), "", *_table(rows)]
    if len(classes) <= _SUMMARY_CLASSES:
        head = ["confusion matrix", *(f"[{place}]" for place in range(len(classes)))]
        rows = [[f"[{place}] {name}", *map(str, matrix[place])] for place, name in enumerate(classes)]
        lines += ["", *_table([head, *rows]), "", "Rows are true classes, columns are predicted ones."]
    return "\n".join([*lines, ""])


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    """Align rows: the first column to the left, the others to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell.rjust(width) for cell, width in zip(row, widths, strict=True)]
        lines.append("  ".join([row[0].ljust(widths[0]), *cells[1:]]))
    return lines


def _text(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _rounded(value: float) -> float | None:
    return round(float(value), 6) if math.isfinite(value) else None


def _significant(value: float) -> float | None:
    return float(f"{float(value):.6g}") if math.isfinite(value) else None


def _squeezed(values: np.ndarray) -> np.ndarray:
    values = np.asarray(values, dtype=np.float64)
    return values.reshape(len(values), *(size for size in values.shape[1:] if size != 1))


def _require_finite(values: np.ndarray) -> None:
    count = int(np.size(values) - np.isfinite(values).sum())
    if count:
        raise StageError(
            "the model's predictions aren't numbers",
            found=f"{count} of {np.size(values)} values are NaN or infinite",
            fix="look for a diverging loss in the training history, and lower the learning rate",
        )


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
    _require_finite(scores)
