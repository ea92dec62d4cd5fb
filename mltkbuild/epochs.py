"""What all that speak of epochs agree on: when there is no limit to them, and which metrics tell how good one is."""

from __future__ import annotations

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
