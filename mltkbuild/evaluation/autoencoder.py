"""Measure an auto-encoder as a detector of what is abnormal: the worse a sample is rebuilt, the more it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation.documents import ClassStats, Curve, DetectorResults, Histogram
from mltkbuild.evaluation.evaluation_files import CURVE_COLUMNS, heading, threshold_lines, write_document
from mltkbuild.evaluation.rates import Rates, curve_rows, rates_of, rounded, significant
from mltkbuild.evaluation.tables import aligned, figure_text, write_csv
from mltkbuild.pictures import curves
from mltkbuild.spec.scoring import Scoring
from mltkbuild.tflite.predict import no_samples

_BINS = 40
_ALL = "all abnormal"


def mean_scores(inputs: Sequence[np.ndarray], outputs: Sequence[np.ndarray], scoring: Scoring) -> np.ndarray:
    """Score every sample of a model that rebuilds each input in the output of the same place: the mean of their scores.

    Args:
        inputs: The samples, an array of shape `(n, ...)` an input.
        outputs: What the model made of them, an array an output.
        scoring: As for `scores_of`.

    Raises:
        DataError: There are no samples.
        StageError: The model doesn't rebuild its inputs, or a score is no single finite number.
    """
    if len(inputs) != len(outputs):
        raise StageError(
            "the model's outputs are no reconstructions of its inputs",
            found=f"{len(inputs)} inputs and {len(outputs)} outputs",
            fix="end the auto-encoder in one output an input, or evaluate it by my_model.eval_custom_function",
        )
    scores = [scores_of(x, rebuilt, scoring) for x, rebuilt in zip(inputs, outputs, strict=True)]
    return scores[0] if len(scores) == 1 else np.mean(scores, axis=0)


def scores_of(x: np.ndarray, rebuilt: np.ndarray, scoring: Scoring) -> np.ndarray:
    """Score every sample.

    Args:
        x: The samples, of shape `(n, ...)`.
        rebuilt: What the model made of them: as many values per sample, in whatever shape.
        scoring: Gives the score of one sample from its original and its reconstruction, both of the sample's shape; the
            higher, the more abnormal.

    Returns:
        float64 of shape `(n,)`.

    Raises:
        DataError: There are no samples.
        StageError: The model doesn't rebuild its input, or a score is no single finite number.
    """
    if len(x) == 0:
        raise no_samples()
    if np.shape(x) != np.shape(rebuilt):
        if np.size(x) != np.size(rebuilt) or len(x) != len(rebuilt):
            raise StageError(
                "the model's output is no reconstruction of its input",
                found=f"samples of shape {np.shape(x)}, outputs of shape {np.shape(rebuilt)}",
                fix="end the auto-encoder in the shape of its input, or evaluate it by my_model.eval_custom_function",
            )
        rebuilt = np.reshape(rebuilt, np.shape(x))
    return np.array([_score(place, scoring(x[place], rebuilt[place])) for place in range(len(x))])


def _score(place: int, value: object) -> float:
    """What a scoring function gave for one sample, as a number."""
    score = np.asarray(value)
    if score.size != 1 or score.dtype.kind not in "biuf":
        raise StageError(
            "scoring_function must return one number per sample",
            found=f"{type(value).__name__} of shape {score.shape}",
            fix="return the mean over all values of the sample, for example",
        )
    if not np.isfinite(score).all():
        raise StageError(
            "a reconstruction's score is no finite number",
            found=f"{score.item()} for sample {place}",
            fix="look for a diverging loss in the training history, or mend my_model.scoring_function",
        )
    return float(score.item())


def detector_results(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> DetectorResults:
    """Measure how well scores tell the first class, the normal one, from the others.

    Args:
        scores: Shape `(n,)`; the higher, the more abnormal.
        labels: Class ids of shape `(n,)`.
        classes: The names; the first is normal, the others are compared with it together and one by one.

    Returns:
        Values that JSON holds: rates to 6 decimals, scores to 6 significant digits, thresholds in full. A sample counts
        as abnormal if its score is at or above `threshold`, where true less false positive rate is largest
        (`best_youden`); `overall_accuracy` is the one there, and `best_accuracy` the point of the best one.
        `overall_roc` and, by abnormal class, `roc` have at most 101 points; the first threshold is above every score.
        `class_stats` tells each class' scores and, of an abnormal class, how it parts from the normal one. A class
        without samples has None for all but its `n`, and so has the normal class for what parts it.

    Raises:
        DataError: The normal class has no sample, or all others have none.
    """
    overall = rates_of(labels != 0, scores)
    if overall is None:
        normal = int(np.count_nonzero(labels == 0))
        raise DataError(
            "an auto-encoder is evaluated with normal and abnormal samples",
            found=f"{normal} of class {classes[0]}, {len(labels) - normal} of the others",
            fix="give evaluation labels: 0 for the first of my_model.eval_classes, 1 and on for the others",
        )
    best = overall.most_telling()
    rates = {name: _against_normal(scores, labels, place) for place, name in enumerate(classes)}
    return {
        "classes": list(classes),
        "n_samples": len(scores),
        "overall_accuracy": best["accuracy"],
        "overall_roc_auc": rounded(overall.auc),
        "overall_average_precision": rounded(overall.average_precision),
        "threshold": best["threshold"],
        "best_youden": best,
        "best_accuracy": overall.most_accurate(),
        "overall_roc": overall.curve(),
        "roc": {
            name: None if parted is None else parted.curve() for name, parted in rates.items() if name != classes[0]
        },
        "class_stats": {name: _stats(scores[labels == place], rates[name]) for place, name in enumerate(classes)},
        "histogram": _histogram(scores, labels, classes),
    }


def _against_normal(scores: np.ndarray, labels: np.ndarray, place: int) -> Rates | None:
    """The rates of one class against the normal one; None for that one itself."""
    chosen = (labels == 0) | (labels == place)
    return rates_of(labels[chosen] == place, scores[chosen]) if place else None


def _curve(rates: Rates | None) -> Curve | None:
    return None if rates is None else rates.curve()


def _stats(scores: np.ndarray, rates: Rates | None) -> ClassStats:
    """The figures of one class: the spread of its scores, and how they part from the normal ones."""
    best = None if rates is None else rates.most_telling()
    return {
        "n": len(scores),
        "mean": significant(scores.mean()) if len(scores) else None,
        "std": significant(scores.std()) if len(scores) else None,
        "min": significant(scores.min()) if len(scores) else None,
        "max": significant(scores.max()) if len(scores) else None,
        "auc": None if rates is None else rounded(rates.auc),
        "average_precision": None if rates is None else rounded(rates.average_precision),
        "threshold": None if best is None else best["threshold"],
        "accuracy": None if best is None else best["accuracy"],
    }


def _histogram(scores: np.ndarray, labels: np.ndarray, classes: Sequence[str]) -> Histogram:
    """Count the scores in bins of one width; scores over several powers of ten have bins that grow with them."""
    low, high = float(scores.min()), float(scores.max())
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        half = 0.5 * (abs(high) or 1.0)
        low, high = low - half, high + half
    spaced = np.geomspace if low > 0 and high > curves.LOG_RATIO * low else np.linspace
    edges = spaced(low, high, _BINS + 1)
    # The power of a logarithm may miss the ends by a rounding.
    edges[0], edges[-1] = low, high
    counts = {name: np.histogram(scores[labels == place], edges)[0].tolist() for place, name in enumerate(classes)}
    return {"edges": edges.tolist(), "counts": counts}


# -- files -----------------------------------------------------------------------------------------------------------


def write(folder: Path, title: str, results: DetectorResults) -> None:
    """Write `results.json`, `summary.txt`, tables and pictures; the same results give the same bytes.

    Tables are `classes.csv`, `curves.csv` and `histogram.csv`; pictures are `overall_roc.png`,
    `overall_precision_vs_recall.png`, `class_roc.png` and `histogram.png`.

    Args:
        folder: Where the files go; it is made if it isn't there.
        title: The heading of the summary and the pictures.
        results: What `detector_results` returned.
    """
    write_document(folder, results, summary(title, results))
    abnormal, stats, roc = results["classes"][1:], results["class_stats"], results["roc"]
    rows = ([name, *entry.values()] for name, entry in stats.items())
    write_csv(folder / "classes.csv", ("class", *ClassStats.__annotations__), rows)
    parted = chain.from_iterable(curve_rows(name, roc[name]) for name in abnormal)
    write_csv(folder / "curves.csv", CURVE_COLUMNS, chain(curve_rows(_ALL, results["overall_roc"]), parted))
    write_csv(folder / "histogram.csv", ("from", "to", *results["classes"]), _histogram_rows(results["histogram"]))
    whole = {_ALL: results["overall_roc"]}
    by_area = curves.ByClass([_ALL], whole, {_ALL: results["overall_roc_auc"]})
    by_precision = curves.ByClass([_ALL], whole, {_ALL: results["overall_average_precision"]})
    by_class = curves.ByClass(abnormal, roc, {name: stats[name]["auc"] for name in abnormal})
    curves.roc_png(folder / "overall_roc.png", by_area, title)
    curves.precision_recall_png(folder / "overall_precision_vs_recall.png", by_precision, title)
    curves.roc_png(folder / "class_roc.png", by_class, f"{title}: against {results['classes'][0]}")
    edges, counts = results["histogram"]["edges"], results["histogram"]["counts"]
    curves.histogram_png(folder / "histogram.png", edges, counts, title=title, marked=results["threshold"])


def _histogram_rows(histogram: Histogram) -> Iterator[list[Any]]:
    edges, counts = histogram["edges"], histogram["counts"].values()
    for start, end, *row in zip(edges[:-1], edges[1:], *counts, strict=True):
        yield [start, end, *row]


def summary(title: str, results: DetectorResults) -> str:
    """The figures for people."""
    figures = [
        ["samples", str(results["n_samples"])],
        ["overall accuracy", figure_text(results["overall_accuracy"])],
        ["ROC AUC", figure_text(results["overall_roc_auc"])],
        ["average precision", figure_text(results["overall_average_precision"])],
    ]
    rows = [["class", "n", "mean", "std", "min", "max", "AUC"]]
    for name, stats in results["class_stats"].items():
        spread = [figure_text(figure, ".4g") for figure in (stats["mean"], stats["std"], stats["min"], stats["max"])]
        rows.append([name, str(stats["n"]), *spread, figure_text(stats["auc"])])
    lines = [*heading(title), *aligned(figures), "", *threshold_lines("abnormal", results), "", *aligned(rows), ""]
    return "\n".join([*lines, "Mean to max are of scores. Overall accuracy is that of the best TPR - FPR.", ""])
