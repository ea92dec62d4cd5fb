"""Measure an auto-encoder as a detector of what is abnormal: the worse a sample is rebuilt, the more it is."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from mltkbuild.bodies.curves import curve_png, histogram_png
from mltkbuild.bodies.predict import no_samples
from mltkbuild.errors import DataError, StageError
from mltkbuild.scoring import Scoring

Results = dict[str, Any]
_POINTS = 101


def scores_of(x: np.ndarray, rebuilt: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Score every sample.

    Args:
        x: The samples, `(n, ...)`.
        rebuilt: What the model made of them, `(n, ...)`.
        scoring: Gives the score of one sample; the higher, the more abnormal.

    Returns:
        float64 of shape `(n,)`.

    Raises:
        DataError: There are no samples.
        StageError: A score is no finite number.
    """
    if len(x) == 0:
        raise no_samples()
    scores = np.array([float(np.asarray(scoring(one, other))) for one, other in zip(x, rebuilt, strict=True)])
    wrong = np.flatnonzero(~np.isfinite(scores))
    if len(wrong):
        raise StageError(
            "a reconstruction's score is no finite number",
            found=f"{scores[wrong[0]]} for sample {wrong[0]}, and {len(wrong) - 1} more",
            fix="look for a diverging loss in the training history, or mend my_model.scoring_function",
        )
    return scores


def detector_results(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Results:
    """Measure how well scores tell the first class, the normal one, from the others.

    Args:
        scores: Shape `(n,)`; the higher, the more abnormal.
        labels: Class ids of shape `(n,)`.
        classes: The names; the first is normal, the others are compared with it together and one by one.

    Returns:
        Values that JSON holds, floats to 6 decimals. `threshold` is the score above which a sample counts as abnormal
        where true less false positive rate is largest (Youden's J); `overall_accuracy` is the one there.

    Raises:
        DataError: The normal class has no sample, or all others have none.
    """
    normal = labels == 0
    if not normal.any() or normal.all():
        raise DataError(
            "an auto-encoder is evaluated with normal and abnormal samples",
            found=f"{int(normal.sum())} of class {classes[0]}, {int((~normal).sum())} of the others",
            fix="give evaluation labels: 0 for the first of my_model.eval_classes, 1 and on for the others",
        )
    overall = _against(scores, ~normal)
    precision, recall, thresholds = precision_recall_curve(~normal, scores)
    kept = _thinned(len(thresholds))
    return {
        "classes": list(classes),
        "n_samples": len(scores),
        "overall_accuracy": overall.pop("accuracy"),
        "overall_roc_auc": overall.pop("auc"),
        "threshold": overall.pop("threshold"),
        "overall_average_precision": _rounded(average_precision_score(~normal, scores)),
        "overall_roc": overall.pop("roc"),
        "overall_precision_recall": {
            "precision": _rounded_list(precision[kept]),
            "recall": _rounded_list(recall[kept]),
            "thresholds": _rounded_list(thresholds[kept]),
        },
        "class_stats": {
            name: _against(scores[normal | (labels == place)], labels[normal | (labels == place)] == place)
            for place, name in enumerate(classes)
            if place and (labels == place).any()
        },
        "scores": {
            name: _spread(scores[labels == place]) for place, name in enumerate(classes) if (labels == place).any()
        },
        "histogram": _histogram(scores, labels, classes),
    }


def _against(scores: np.ndarray, abnormal: np.ndarray) -> Results:
    """The ROC of one split into normal and abnormal samples, and the best threshold on it."""
    fpr, tpr, thresholds = roc_curve(abnormal, scores)
    # scikit-learn starts at infinity, which JSON lacks.
    thresholds[0] = np.nextafter(thresholds[1], np.inf)
    best = int(np.argmax(tpr - fpr))
    kept = _thinned(len(fpr))
    return {
        "accuracy": _rounded(np.mean((scores >= thresholds[best]) == abnormal)),
        "auc": _rounded(auc(fpr, tpr)),
        "threshold": _rounded(thresholds[best]),
        "roc": {
            "fpr": _rounded_list(fpr[kept]),
            "tpr": _rounded_list(tpr[kept]),
            "thresholds": _rounded_list(thresholds[kept]),
        },
    }


def _thinned(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int))


def _spread(scores: np.ndarray) -> Results:
    return {
        "n": len(scores),
        "mean": _rounded(scores.mean()),
        "std": _rounded(scores.std()),
        "min": _rounded(scores.min()),
        "max": _rounded(scores.max()),
    }


def _histogram(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str], bins: int = 40) -> Results:
    edges = np.histogram_bin_edges(scores, bins)
    counts = {name: np.histogram(scores[labels == place], edges)[0].tolist() for place, name in enumerate(classes)}
    return {"edges": _rounded_list(edges), "counts": counts}


def _rounded(value: float) -> float:
    return round(float(value), 6)


def _rounded_list(values: np.ndarray) -> list[float]:
    return [_rounded(value) for value in values]


# -- files -----------------------------------------------------------------------------------------------------------


def write(folder: Path, title: str, results: Results) -> None:
    """Write `results.json`, `summary.txt` and four pictures; the same results give the same bytes."""
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(results, sort_keys=True, indent=2, allow_nan=False)
    (folder / "results.json").write_text(text + "\n", encoding="utf-8")
    (folder / "summary.txt").write_text(summary(title, results), encoding="utf-8")
    roc, found = results["overall_roc"], results["overall_precision_recall"]
    named = f"AUC {results['overall_roc_auc']:.3f}"
    rates = ("false positive rate", "true positive rate")
    curve_png(folder / "overall_roc.png", {named: (roc["fpr"], roc["tpr"])}, title=title, axes_labels=rates)
    curve_png(
        folder / "overall_precision_vs_recall.png",
        {f"average {results['overall_average_precision']:.3f}": (found["recall"], found["precision"])},
        title=title,
        axes_labels=("recall", "precision"),
    )
    curves = {
        f"{name} (AUC {stats['auc']:.3f})": (stats["roc"]["fpr"], stats["roc"]["tpr"])
        for name, stats in results["class_stats"].items()
    }
    curve_png(folder / "class_roc.png", curves, title=f"{title}: against {results['classes'][0]}", axes_labels=rates)
    histogram = results["histogram"]
    histogram_png(
        folder / "histogram.png", histogram["edges"], histogram["counts"], title=title, marked=results["threshold"]
    )


def summary(title: str, results: Results) -> str:
    """The figures for people."""
    lines = [
        *(title, "=" * len(title), ""),
        f"samples             {results['n_samples']}",
        f"accuracy            {results['overall_accuracy']:.4f} at the threshold {results['threshold']:.6g}",
        f"ROC AUC             {results['overall_roc_auc']:.4f}",
        f"average precision   {results['overall_average_precision']:.4f}",
        *("", "scores by class: n, mean, std, min, max, AUC"),
    ]
    for name, spread in results["scores"].items():
        stats = results["class_stats"].get(name)
        area = "-" if stats is None else f"{stats['auc']:.4f}"
        figures = "  ".join(f"{spread[column]:.6g}" for column in ("n", "mean", "std", "min", "max"))
        lines.append(f"  {name}: {figures}  {area}")
    return "\n".join([*lines, ""])
