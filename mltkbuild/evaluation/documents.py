"""The documents that an evaluation writes, key by key: what `results.json` and `parity.json` hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict, final

Figure = Any
"""A float; None where it is undefined."""

Curve = dict[str, list[Figure]]
"""The points of a curve, by `thresholds`, `fpr`, `tpr` and `precision`."""


class Point(TypedDict):
    """One threshold, and what comes of it."""

    threshold: Figure
    accuracy: Figure
    fpr: Figure
    tpr: Figure


class BestPoints(TypedDict):
    """The thresholds where the accuracy and the true less the false positive rate are largest."""

    best_accuracy: Point
    best_youden: Point


class Thresholds(BestPoints):
    """What each threshold makes of two classes."""

    positive: str
    points: Curve


@final
class ClassifierResults(TypedDict):
    """What a classifier got right."""

    classes: list[str]
    n_samples: int
    overall_accuracy: Figure
    class_accuracies: Mapping[str, Figure]
    precision: Mapping[str, Figure]
    recall: Mapping[str, Figure]
    f1: Mapping[str, Figure]
    averages: Mapping[str, Mapping[str, Figure]]
    confusion_matrix: list[list[int]]
    roc: Mapping[str, Curve | None]
    roc_auc: Mapping[str, Figure]
    roc_auc_avg: Figure
    average_precision: Mapping[str, Figure]
    thresholds: Thresholds | None


@final
class MetricResults(TypedDict):
    """The metrics of a model that isn't a classifier."""

    n_samples: int | None
    metrics: Mapping[str, Figure]


@final
class OutputsResults(TypedDict):
    """The results of several outputs, each by its name; `metrics` are all of them in one table."""

    n_samples: int
    metrics: Mapping[str, Figure]
    outputs: Mapping[str, ClassifierResults | MetricResults]


Results = ClassifierResults | MetricResults | OutputsResults


class ClassStats(TypedDict):
    """The scores of one class of a detector: their number and spread, and how they part from the normal ones."""

    n: int
    mean: Figure
    std: Figure
    min: Figure
    max: Figure
    auc: Figure
    average_precision: Figure
    threshold: Figure
    accuracy: Figure


class Histogram(TypedDict):
    """Scores counted in bins, by class."""

    edges: list[float]
    counts: dict[str, list[int]]


class DetectorResults(BestPoints):
    """How well the scores of an auto-encoder tell normal samples from others."""

    classes: list[str]
    n_samples: int
    overall_accuracy: Figure
    overall_roc_auc: Figure
    overall_average_precision: Figure
    threshold: Figure
    overall_roc: Curve
    roc: Mapping[str, Curve | None]
    class_stats: Mapping[str, ClassStats]
    histogram: Histogram


class Differences(TypedDict):
    """Differences counted in bins; the last one has no upper edge."""

    unit: str
    up_to: Sequence[Figure]
    counts: Sequence[int]


class ParityResults(TypedDict):
    """How well a model and its `.tflite` agree in one output."""

    output: NotRequired[str]

    version: int
    n_samples: int
    agreement: Figure
    parted: list[int]
    largest_difference: Figure
    largest_difference_lsb: Figure
    mean_difference: Figure
    mean_difference_lsb: Figure
    percentile_99_difference: Figure
    percentile_99_difference_lsb: Figure
    lsb: Figure
    histogram: Differences


class OutputsParity(TypedDict):
    """How well a model and its `.tflite` agree in several outputs; `agreement` is the least of theirs."""

    version: int
    agreement: Figure
    outputs: Sequence[ParityResults]
