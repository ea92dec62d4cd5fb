"""The train stage: a seeded, deterministic fit with its history, plot and log."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.bodies.plots import history_png
from mltkbuild.data.samples import Samples, labels
from mltkbuild.errors import SpecError, StageError

Progress = Callable[[Mapping[str, object]], None]
UNLIMITED = 99_999


@dataclass(frozen=True)
class TrainSettings:
    """How the fit goes; the fields are the properties of the same names."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: bool = True
    class_weights: Any = None
    classes: Sequence[str] | None = None
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: Any = 1
    lr_schedule: Any = None
    reduce_lr_on_plateau: Mapping[str, Any] | None = None
    early_stopping: Mapping[str, Any] | None = None
    train_callbacks: Sequence[Any] = ()
    train_kwargs: Mapping[str, Any] = field(default_factory=dict)


def fit(
    keras_model: Any, training: Samples, validation: Samples | None, settings: TrainSettings, progress: Progress
) -> dict[str, list[float]]:
    """Train a compiled model.

    Args:
        keras_model: The model; its weights are changed in place.
        training: The training samples.
        validation: The validation samples, if there are any.
        settings: Epochs, batch size and so on.
        progress: Called with `epoch`, `epochs` and the metrics so far.

    Returns:
        The history: for each metric its value after each epoch.

    Raises:
        SpecError: `epochs = -1` without early_stopping.
        StageError: The loss became NaN or infinite; names the epoch.
    """
    import keras

    epochs = _epoch_limit(settings)
    keras.utils.set_random_seed(settings.seed)
    arguments: dict[str, Any] = {
        "x": training.x,
        "epochs": epochs,
        "shuffle": settings.shuffle,
        "steps_per_epoch": settings.steps_per_epoch,
        "class_weight": class_weight(settings.class_weights, settings.classes, training),
        "callbacks": [*_callbacks(settings), _watcher(progress, epochs)],
        "verbose": 0,
    }
    if not training.is_stream:
        arguments |= {"y": training.y, "sample_weight": training.weight, "batch_size": settings.batch_size}
    if validation is not None:
        arguments |= {
            "validation_data": _validation_argument(validation),
            "validation_steps": settings.validation_steps,
            "validation_batch_size": settings.validation_batch_size,
            "validation_freq": settings.validation_freq,
        }
    history = keras_model.fit(**{**arguments, **settings.train_kwargs})
    return {name: [float(value) for value in values] for name, values in history.history.items()}


def _epoch_limit(settings: TrainSettings) -> int:
    if settings.epochs != -1:
        return settings.epochs
    if settings.early_stopping is None:
        raise SpecError(
            "epochs = -1 needs early_stopping to end the training",
            found="early_stopping is None",
            fix="set my_model.early_stopping = {'monitor': 'val_loss', 'patience': 10}, or a number of epochs",
        )
    return UNLIMITED


def _validation_argument(validation: Samples) -> Any:
    if validation.is_stream:
        return validation.x
    parts = (validation.x, validation.y, validation.weight)
    return parts if validation.weight is not None else parts[:2]


def _callbacks(settings: TrainSettings) -> list[Any]:
    """The callbacks in MLTK's order: the spec's own, the schedule, early stopping, the plateau rule."""
    import keras

    made = list(settings.train_callbacks)
    schedule = settings.lr_schedule
    if isinstance(schedule, Mapping):
        made.append(keras.callbacks.LearningRateScheduler(**schedule))
    elif isinstance(schedule, keras.callbacks.Callback):
        made.append(schedule)
    elif schedule is not None:
        made.append(keras.callbacks.LearningRateScheduler(schedule))
    if settings.early_stopping is not None:
        made.append(keras.callbacks.EarlyStopping(**settings.early_stopping))
    if settings.reduce_lr_on_plateau is not None:
        made.append(keras.callbacks.ReduceLROnPlateau(**settings.reduce_lr_on_plateau))
    return made


def _watcher(progress: Progress, epochs: int) -> Any:
    """A callback that reports progress and ends a training whose loss is no number any more."""
    import keras

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            steps = (self.params or {}).get("steps")
            progress({"epoch": self.epoch + 1, "epochs": epochs, "step": batch + 1, "steps": steps})

        def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            metrics = {name: float(value) for name, value in (logs or {}).items()}
            progress({"epoch": epoch + 1, "epochs": epochs, "metrics": metrics})
            if not math.isfinite(metrics.get("loss", 0.0)):
                raise StageError(
                    f"the loss is no finite number after epoch {epoch + 1}",
                    found=f"loss {metrics['loss']}",
                    fix="lower the learning rate, clip the gradients, or look for a division by zero in the loss",
                )

    return Watcher()


def class_weight(weights: Any, classes: Sequence[str] | None, training: Samples) -> dict[int, float] | None:
    """The class weights as Keras wants them, `{class id: weight}`.

    'balanced' gives each class n / (classes * n_of_class), as scikit-learn's `compute_class_weight` defines it.
    """
    if weights is None or weights == "none":
        return None
    if isinstance(weights, str):
        ids = labels(training)
        if ids is None:
            raise SpecError(
                "class_weights = 'balanced' needs the label of each training sample",
                found="a stream, or no labels",
                fix="give the weights as a dict",
            )
        present, counts = np.unique(ids, return_counts=True)
        return {int(label): len(ids) / (len(present) * int(count)) for label, count in zip(present, counts, strict=True)}
    if isinstance(weights, Mapping):
        names = list(classes or ())
        unknown = [key for key in weights if isinstance(key, str) and key not in names]
        if unknown:
            raise SpecError("class_weights names a class that the model has not", found=repr(unknown[0]))
        return {names.index(key) if isinstance(key, str) else int(key): float(value) for key, value in weights.items()}
    return {number: float(value) for number, value in enumerate(weights)}


def write_history(scratch: Path, title: str, history: Mapping[str, Sequence[float]]) -> None:
    """Write `train/history.json`, `history.png` and `log.txt`; none of them holds a time."""
    folder = scratch / "train"
    folder.mkdir(parents=True, exist_ok=True)
    epochs = len(next(iter(history.values()), ()))
    document = {"epochs": list(range(epochs)), "params": {"epochs": epochs}, "history": history}
    (folder / "history.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    history_png(folder / "history.png", history, title=title, best_epoch=None)
    lines = [_log_line(number, epochs, history) for number in range(epochs)]
    (folder / "log.txt").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _log_line(number: int, epochs: int, history: Mapping[str, Sequence[float]]) -> str:
    # With validation_freq > 1 a validation metric has fewer entries than there are epochs; those rows leave it out.
    values = [f"{name} {row[number]:.6g}" for name, row in sorted(history.items()) if len(row) == epochs]
    return f"epoch {number + 1}/{epochs}: " + ", ".join(values)


def last_metrics(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Each metric's last value."""
    return {name: float(values[-1]) for name, values in history.items() if values}
