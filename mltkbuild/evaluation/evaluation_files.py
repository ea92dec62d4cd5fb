"""Write an evaluation's results: JSON, a summary for people, tables and pictures."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from mltkbuild.evaluation.documents import (
    BestPoints,
    ClassifierResults,
    DetectorResults,
    Figure,
    OutputsResults,
    Results,
    Thresholds,
)
from mltkbuild.evaluation.rates import curve_rows
from mltkbuild.evaluation.tables import aligned, figure_text, write_csv, write_json
from mltkbuild.pictures import curves, plots

CURVE_COLUMNS = ("class", "threshold", "fpr", "tpr", "precision")
_SUMMARY_CLASSES = 20
_LONGEST_NAME = 60


def write_classifier(folder: Path, title: str, results: ClassifierResults) -> None:
    """Write the tables and pictures of a classifier into a folder that exists.

    Tables are `classes.csv`, a row a class; `confusion_matrix.csv`, a row per true class; `curves.csv`, a row per class
    and threshold. Pictures are `confusion_matrix.png`, `roc.png`, `precision_vs_recall.png` and `tpr_fpr.png`. Two
    classes that both have samples also get `thresholds.csv` and `thresholds.png`.

    Args:
        folder: Where the files go.
        title: The heading of the pictures.
        results: What `evaluate.classifier_results` returned.
    """
    classes, matrix, roc = results["classes"], results["confusion_matrix"], results["roc"]
    columns = ("class", "n", *_by_class(results))
    write_csv(folder / "classes.csv", columns, _class_rows(results))
    rows = ([name, *counts] for name, counts in zip(classes, matrix, strict=True))
    write_csv(folder / "confusion_matrix.csv", ("true class", *classes), rows)
    points = chain.from_iterable(curve_rows(name, roc[name]) for name in classes)
    write_csv(folder / "curves.csv", CURVE_COLUMNS, points)
    matrix_title = f"{title}: accuracy {results['overall_accuracy']:.1%}"
    plots.confusion_matrix_png(folder / "confusion_matrix.png", matrix, classes, matrix_title)
    by_area = curves.ByClass(classes, roc, results["roc_auc"])
    by_precision = curves.ByClass(classes, roc, results["average_precision"])
    curves.roc_png(folder / "roc.png", by_area, title)
    curves.precision_recall_png(folder / "precision_vs_recall.png", by_precision, title)
    curves.rates_png(folder / "tpr_fpr.png", by_area, title)
    if results["thresholds"] is not None:
        _write_thresholds(folder, title, results["thresholds"])


def write_metrics(folder: Path, metrics: Mapping[str, Figure]) -> None:
    """Write `metrics.csv`, a row per metric, into a folder that exists."""
    write_csv(folder / "metrics.csv", ("metric", "value"), metrics.items())


def folder_names(outputs: Sequence[str]) -> dict[str, str]:
    """A folder for each output: its name as far as it makes a file's name anywhere, else with its number."""
    plain = {name: re.sub(r"[^A-Za-z0-9_-]", "_", name)[:_LONGEST_NAME] for name in outputs}
    seen = Counter(name.lower() for name in plain.values())
    return {
        name: found if found == name and seen[found.lower()] == 1 else f"{place}_{found}"
        for place, (name, found) in enumerate(plain.items())
    }


def write_document(folder: Path, results: Results | DetectorResults, text: str) -> None:
    """Write `results.json` and `summary.txt`; the folder is made if it isn't there."""
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "results.json", results)
    (folder / "summary.txt").write_text(text, encoding="utf-8")


def heading(title: str) -> list[str]:
    """A title with a line below it."""
    return [title, "=" * len(title), ""]


def summary(title: str, results: Results) -> str:
    """The figures of a classifier, or the metrics of another model, for people; of several outputs one by one."""
    lines = heading(title)
    if "outputs" in results:
        texts = [summary(f"{title}, output {name}", section) for name, section in results["outputs"].items()]
        return "\n".join([*texts, *_others(title, results)])
    if "confusion_matrix" not in results:
        figures = [[name, figure_text(value, "g")] for name, value in results["metrics"].items()]
        samples = results["n_samples"]
        return "\n".join([*lines, *aligned([["samples", figure_text(samples, "d")], *figures]), ""])
    figures = [["samples", str(results["n_samples"])], ["overall accuracy", figure_text(results["overall_accuracy"])]]
    figures.append(["average ROC AUC", figure_text(results["roc_auc_avg"])])
    lines += [*aligned(figures), "", *aligned(_class_table(results))]
    if results["thresholds"] is not None:
        lines += ["", *threshold_lines(results["thresholds"]["positive"], results["thresholds"])]
    classes, matrix = results["classes"], results["confusion_matrix"]
    if len(classes) <= _SUMMARY_CLASSES:
        head = ["confusion matrix", *(f"[{place}]" for place in range(len(classes)))]
        rows = [[f"[{place}] {name}", *map(str, matrix[place])] for place, name in enumerate(classes)]
        lines += ["", *aligned([head, *rows]), "", "Rows are true classes, columns are predicted ones."]
    return "\n".join([*lines, ""])


def _others(title: str, results: OutputsResults) -> list[str]:
    """The metrics of several outputs together, as far as they are of none alone."""
    own = {f"{name}_accuracy" for name in results["outputs"]}
    for name, section in results["outputs"].items():
        if "confusion_matrix" not in section:
            own |= {f"{name}_{metric}" for metric in section["metrics"]}
    left = {name: value for name, value in results["metrics"].items() if name not in own}
    rows = [[name, figure_text(value, "g")] for name, value in left.items()]
    return [*heading(f"{title}, all outputs"), *aligned(rows), ""] if rows else []


def _class_rows(results: ClassifierResults) -> Iterator[list[Any]]:
    for name, counts in zip(results["classes"], results["confusion_matrix"], strict=True):
        yield [name, sum(counts), *(figures[name] for figures in _by_class(results).values())]


def _by_class(results: ClassifierResults) -> dict[str, Mapping[str, Figure]]:
    """The figures that each class has, by name, in the order of the tables."""
    return {
        "accuracy": results["class_accuracies"],
        "precision": results["precision"],
        "recall": results["recall"],
        "f1": results["f1"],
        "roc_auc": results["roc_auc"],
        "average_precision": results["average_precision"],
    }


def _class_table(results: ClassifierResults) -> list[list[str]]:
    rows = [["class", "n", "accuracy", "precision", "recall", "F1", "AUC", "AP"]]
    for name, count, *figures in _class_rows(results):
        rows.append([name, str(count), *map(figure_text, figures)])
    for kind, average in results["averages"].items():
        figures = [figure_text(average[column]) for column in ("precision", "recall", "f1")]
        rows.append([f"{kind} average", "", "", *figures, "", ""])
    return rows


def threshold_lines(name: str, results: BestPoints) -> list[str]:
    """Two thresholds of the score of a class as a table: `best_accuracy` and `best_youden` of the results."""
    rows = [[f"threshold of {name}", "at", "accuracy", "FPR", "TPR"]]
    for best, point in (("best accuracy", results["best_accuracy"]), ("best TPR - FPR", results["best_youden"])):
        figures = [figure_text(figure) for figure in (point["accuracy"], point["fpr"], point["tpr"])]
        rows.append([best, figure_text(point["threshold"], ".6g"), *figures])
    return aligned(rows)


def _write_thresholds(folder: Path, title: str, thresholds: Thresholds) -> None:
    points = thresholds["points"]
    columns = ("thresholds", "accuracy", "fpr", "tpr")
    rows = zip(*(points[column] for column in columns), strict=True)
    write_csv(folder / "thresholds.csv", ("threshold", *columns[1:]), rows)
    marks = {
        "best accuracy": thresholds["best_accuracy"]["threshold"],
        "best TPR - FPR": thresholds["best_youden"]["threshold"],
    }
    heading = f"{title}: score of {thresholds['positive']}"
    curves.thresholds_png(folder / "thresholds.png", points, marks, title=heading)
