"""What all that speak of epochs agree on: when there is no limit to them, and which metrics tell how good one is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

UNLIMITED = 99_999
"""The number of epochs that stands for no limit."""

TELLING = ("val_accuracy", "accuracy", "val_loss", "loss")
"""The metrics that tell most of an epoch, the most telling first."""

RISING = (
    *("acc", "auc", "precision", "recall", "sensitivity", "specificity", "f1", "fbeta", "fmeasure", "r2_score"),
    *("iou", "io_u", "dice", "cosine_similarity", "correlation"),
)
"""Parts of the names of metrics that are better when they are greater, those of Keras among them."""


def rises(metric: str) -> bool:
    """Say whether a metric is better when it is greater; every other one is a kind of loss."""
    name = metric.lower()
    return "loss" not in name and any(part in name for part in RISING)


def best_metric(
    history: Mapping[str, Sequence[float | None]], epochs: int, monitor: str | None, best_epoch: int | None
) -> tuple[str, float] | None:
    """The metric that tells most of a training, and its best value; None where no value is a finite number.

    That is the monitored one at the best epoch, where there is one; else the first of `TELLING` that the history has,
    else any metric. The best value of a loss or an error is its lowest, of what `rises` its highest.

    Args:
        history: For each metric its value after each epoch.
        epochs: How many epochs the training had.
        monitor: The metric that tells the best epoch, if there is one.
        best_epoch: That epoch, counted from 1.
    """
    finite = {name: [value for value in row if _is_finite(value)] for name, row in history.items()}
    name = next((name for name in (monitor, *TELLING, *finite) if name and finite.get(name)), None)
    if name is None:
        return None
    # With validation_freq a metric has fewer values than there are epochs.
    if name == monitor and best_epoch is not None and len(history[name]) == epochs:
        at_best = history[name][best_epoch - 1]
        if at_best is not None:
            return name, at_best
    values = [value for value in finite[name] if value is not None]
    return name, (max if rises(name) else min)(values)


def _is_finite(value: float | None) -> bool:
    return value is not None and math.isfinite(value)
