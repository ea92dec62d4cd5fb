"""What a training came to, epoch by epoch: as values, a JSON file, a picture and a log."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.pictures.plots import history_png
from mltkbuild.training.epochs import best_metric


@dataclass(frozen=True)
class Training:
    """A finished training.

    Args:
        history: For each metric its value after each epoch.
        epochs: How many epochs it took.
        final_epoch: The epoch whose weights the model has, counted from 1.
        best_epoch: The best epoch by `monitor`; None without one.
        monitor: The metric that tells the best epoch; empty without one.
        segments: The parts that it ran in, `from` and `to` as `[epochs, steps]`; one when it never stopped.
        not_exact: Why a resumed training is not surely what it would have been; None when it surely is.
        stopped_early: Whether a rule ended it before its last epoch.
        earlier_seconds: How long processes before this one had trained.
        ran: How many epochs this process trained, counting one that was begun before.
    """

    history: Mapping[str, Sequence[float]]
    epochs: int
    final_epoch: int
    best_epoch: int | None = None
    monitor: str = ""
    segments: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    not_exact: str | None = None
    stopped_early: bool = False
    earlier_seconds: float = 0.0
    ran: int = 0


class Results(dict[str, Any]):
    """What a spec's `on_training_complete` gets: MLTK's fields, as keys and as attributes."""

    def __getattr__(self, name: str) -> Any:
        """A field by its name."""
        try:
            return self[name]
        except KeyError as error:
            raise AttributeError(name) from error

    def get_best_metric(self) -> tuple[str, float]:
        """The metric that tells most, and its best value; NaN where it never was a finite number."""
        found = best_metric(self.history, len(self.epochs), self.monitor, self.best_epoch)
        return found or (self.monitor, math.nan)

    def asdict(self) -> dict[str, Any]:
        """The plain values, without the models."""
        return {name: self[name] for name in ("epochs", "params", "history")}


def plain(history: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
    """Keras' history as floats; a metric with several values, such as an F1 score per class, becomes several."""
    found: dict[str, list[float]] = {}
    for name, values in history.items():
        rows = [np.ravel(value) for value in values]
        width = max(map(len, rows), default=1)
        for place in range(width):
            found[name if width == 1 else f"{name}[{place}]"] = [float(row[place]) for row in rows]
    return found


def last_metrics(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Each metric's last value."""
    return {name: float(values[-1]) for name, values in history.items() if values}


def metrics_at(training: Training) -> dict[str, float]:
    """The metrics of the epoch whose weights the model has, as far as that epoch has them."""
    chosen = {}
    for name, values in training.history.items():
        row = _row(len(values), training.epochs, training.final_epoch)
        if row is not None:
            chosen[name] = float(values[row])
    return chosen


def _row(count: int, epochs: int, epoch: int) -> int | None:
    """Where a metric's value of an epoch is; with validation_freq there are fewer values than epochs."""
    if count == epochs:
        return epoch - 1 if 0 < epoch <= count else None
    step = epochs // count if count else 0
    return epoch // step - 1 if step and epoch % step == 0 and epoch // step <= count else None


def write_history(scratch: Path, title: str, training: Training) -> None:
    """Write `train/history.json`, `history.png` and `log.txt`; none of them holds a time.

    Only `segments` in `history.json` tells whether the training was ever stopped; the file's digest leaves it out.
    """
    folder = scratch / "train"
    folder.mkdir(parents=True, exist_ok=True)
    epochs, history = training.epochs, training.history
    document = {
        "epochs": list(range(epochs)),
        "params": {"epochs": epochs},
        # JSON has no NaN; a validation loss may be one.
        "history": {name: [_finite(value) for value in row] for name, row in history.items()},
        "monitor": training.monitor or None,
        "best_epoch": training.best_epoch,
        "final_epoch": training.final_epoch,
        "stopped_early": training.stopped_early,
        "segments": [dict(part) for part in training.segments],
    }
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    (folder / "history.json").write_text(text + "\n", encoding="utf-8")
    history_png(folder / "history.png", history, title=title, best_epoch=training.best_epoch)
    lines = [_log_line(number, training) for number in range(epochs)]
    (folder / "log.txt").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _log_line(number: int, training: Training) -> str:
    # With validation_freq > 1 a validation metric has fewer entries than there are epochs; those rows leave it out.
    epochs = training.epochs
    values = [f"{name} {row[number]:.6g}" for name, row in sorted(training.history.items()) if len(row) == epochs]
    mark = "  (best)" if number + 1 == training.best_epoch else ""
    return f"epoch {number + 1}/{epochs}: " + ", ".join(values) + mark
