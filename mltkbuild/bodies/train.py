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
from mltkbuild.data.streams import is_dataset, is_endless
from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.properties import did_you_mean

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
        SpecError: Settings that never end the training, or that don't fit the data.
        DataError: A stream gave no batch.
        StageError: The loss became NaN or infinite; names the epoch.
    """
    import keras

    epochs = _epoch_limit(settings)
    arguments = _fit_arguments(training, validation, settings) | {**settings.train_kwargs}
    validates = arguments.get("validation_data") is not None or bool(arguments.get("validation_split"))
    _check_monitors(settings, validates=validates)
    keras.utils.set_random_seed(settings.seed)
    # What a spec gives as train_kwargs["callbacks"] comes beside the callbacks made here, not in their place.
    own = [*settings.train_callbacks, *arguments.pop("callbacks", ())]
    callbacks = [*own, *_schedule(settings), _watcher(progress, epochs, settings), *_rules(settings)]
    history = keras_model.fit(**{"epochs": epochs, "callbacks": callbacks, "verbose": 0, **arguments}).history
    if not history:
        raise DataError("the training data gave no batch", found=f"a {type(training.x).__name__} without elements")
    return _plain(history)


def _fit_arguments(training: Samples, validation: Samples | None, settings: TrainSettings) -> dict[str, Any]:
    """The arguments of Keras' fit that come from the data."""
    _require_end(training, "training", settings.steps_per_epoch, "steps_per_epoch")
    arguments: dict[str, Any] = {
        "x": training.x,
        "steps_per_epoch": settings.steps_per_epoch,
        "class_weight": class_weight(settings.class_weights, settings.classes, training),
    }
    if not training.is_stream:
        arguments |= {"y": training.y, "sample_weight": training.weight, "batch_size": settings.batch_size}
    # A tf.data.Dataset has an order of its own; Keras would only warn.
    arguments["shuffle"] = settings.shuffle and not is_dataset(training.x)
    if validation is not None:
        _require_end(validation, "validation", settings.validation_steps, "validation_steps")
        arguments |= {
            "validation_data": _validation_argument(validation),
            "validation_steps": settings.validation_steps,
            "validation_batch_size": settings.validation_batch_size,
            "validation_freq": settings.validation_freq,
        }
    return arguments


def _require_end(samples: Samples, subset: str, steps: int | None, name: str) -> None:
    if steps is None and samples.is_stream and is_endless(samples.x):
        raise SpecError(
            f"the {subset} data has no end",
            found=f"a {type(samples.x).__name__} that repeats, and {name} is None",
            fix=f"set my_model.{name} to how many batches make an epoch",
        )


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


def _schedule(settings: TrainSettings) -> list[Any]:
    """The callback that sets the learning rate of each epoch, if the spec has a schedule."""
    import keras

    schedule = settings.lr_schedule
    if schedule is None or isinstance(schedule, keras.callbacks.Callback):
        return [] if schedule is None else [schedule]
    arguments = schedule if isinstance(schedule, Mapping) else {"schedule": schedule}
    return [keras.callbacks.LearningRateScheduler(**arguments)]


def _rules(settings: TrainSettings) -> list[Any]:
    """The callbacks that watch a metric; they come after the watcher, which says in clear words that one is missing."""
    import keras

    rules = []
    if settings.early_stopping is not None:
        rules.append(keras.callbacks.EarlyStopping(**settings.early_stopping))
    if settings.reduce_lr_on_plateau is not None:
        rules.append(keras.callbacks.ReduceLROnPlateau(**settings.reduce_lr_on_plateau))
    return rules


def _check_monitors(settings: TrainSettings, *, validates: bool) -> None:
    """Keras only warns of a rule that waits for a metric which never comes."""
    for rule, monitor in _monitors(settings).items():
        if monitor.startswith("val_") and not validates:
            raise SpecError(
                f"{rule} watches the validation, but there is no validation data",
                found=f"{rule} monitors {monitor!r}",
                fix="set my_model.validation_split, or let the data loader return validation data",
            )


def _monitors(settings: TrainSettings) -> dict[str, str]:
    """The metric that each rule watches."""
    rules = {"early_stopping": settings.early_stopping, "reduce_lr_on_plateau": settings.reduce_lr_on_plateau}
    return {name: str(rule.get("monitor", "val_loss")) for name, rule in rules.items() if rule is not None}


def _watcher(progress: Progress, epochs: int, settings: TrainSettings) -> Any:
    """A callback that reports progress and ends a training that can't go well."""
    import keras

    class Watcher(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
        epoch = 0

        def on_epoch_begin(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
            self.epoch = epoch

        def on_train_batch_end(self, batch: int, logs: Mapping[str, float] | None = None) -> None:
            steps = (self.params or {}).get("steps")
            progress({"epoch": self.epoch + 1, "epochs": epochs, "step": batch + 1, "steps": steps})

        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            metrics = last_metrics(_plain({name: [value] for name, value in (logs or {}).items()}))
            progress({"epoch": epoch + 1, "epochs": epochs, "metrics": metrics})
            _check_epoch(epoch + 1, metrics, settings)

    return Watcher()


def _check_epoch(epoch: int, metrics: Mapping[str, float], settings: TrainSettings) -> None:
    """Raise an error after an epoch whose loss is no number, or that lacks a metric which a rule waits for."""
    if not math.isfinite(metrics.get("loss", 0.0)):
        raise StageError(
            f"the loss is no finite number after epoch {epoch}",
            found=f"loss {metrics['loss']}",
            fix="lower the learning rate, clip the gradients, or look for a division by zero in the loss",
        )
    for rule, monitor in _monitors(settings).items():
        # Where validation_freq leaves an epoch without validation, its metrics come later.
        validated = any(name.startswith("val_") for name in metrics)
        if monitor not in metrics and (validated or not monitor.startswith("val_")):
            raise SpecError(
                f"{rule} monitors a metric that the training doesn't have",
                found=repr(monitor),
                fix=did_you_mean(monitor, metrics, "the metrics are"),
            )


def _plain(history: Mapping[str, Sequence[Any]]) -> dict[str, list[float]]:
    """Keras' history as floats; a metric with several values, such as an F1 score per class, becomes several."""
    plain: dict[str, list[float]] = {}
    for name, values in history.items():
        rows = [np.ravel(value) for value in values]
        width = max(map(len, rows), default=1)
        for place in range(width):
            plain[name if width == 1 else f"{name}[{place}]"] = [float(row[place]) for row in rows]
    return plain


def class_weight(weights: Any, classes: Sequence[str] | None, training: Samples) -> dict[int, float] | None:
    """The class weights as Keras wants them, `{class id: weight}`.

    'balanced' gives each class n / (classes * n_of_class), as scikit-learn's `compute_class_weight` defines it.

    Args:
        weights: 'balanced', 'none', None, weights by class label or id, or one weight a class.
        classes: The class labels of a classifier.
        training: The training samples.
    """
    if weights is None or weights == "none":
        return None
    if training.weight is not None:
        raise SpecError(
            "class_weights and sample_weight can't be used together",
            found="both are set",
            fix="multiply the class's weight into my_model.sample_weight",
        )
    if isinstance(weights, str):
        return _balanced(labels(training))
    given = weights if isinstance(weights, Mapping) else dict(enumerate(weights))
    return _weights_by_id(given, list(classes or ()))


def _balanced(ids: Any) -> dict[int, float]:
    if ids is None:
        raise SpecError(
            "class_weights = 'balanced' needs the class of each training sample",
            found="a stream, or targets that are no classes",
            fix="give the weights as a dict",
        )
    present, counts = np.unique(ids, return_counts=True)
    weights = len(ids) / (len(present) * counts)
    return dict(zip(present.tolist(), weights.tolist(), strict=True))


def _weights_by_id(weights: Mapping[Any, Any], names: list[str]) -> dict[int, float]:
    """Weights by class id; a class that isn't named weighs 1."""
    result = dict.fromkeys(range(len(names)), 1.0)
    for key, value in weights.items():
        if key in names:
            result[names.index(key)] = float(value)
        elif not isinstance(key, str) and (key in result or not names):
            result[int(key)] = float(value)
        else:
            raise SpecError(
                "class_weights has a weight for a class that the model has not",
                found=repr(key),
                fix=did_you_mean(str(key), names, "the classes are"),
            )
    return result


def write_history(scratch: Path, title: str, history: Mapping[str, Sequence[float]]) -> None:
    """Write `train/history.json`, `history.png` and `log.txt`; none of them holds a time."""
    folder = scratch / "train"
    folder.mkdir(parents=True, exist_ok=True)
    epochs = max(map(len, history.values()), default=0)
    document = {
        "epochs": list(range(epochs)),
        "params": {"epochs": epochs},
        # JSON has no NaN; a validation loss may be one.
        "history": {name: [_finite(value) for value in row] for name, row in history.items()},
    }
    text = json.dumps(document, indent=1, sort_keys=True, allow_nan=False)
    (folder / "history.json").write_text(text + "\n", encoding="utf-8")
    history_png(folder / "history.png", history, title=title, best_epoch=None)
    lines = [_log_line(number, epochs, history) for number in range(epochs)]
    (folder / "log.txt").write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _log_line(number: int, epochs: int, history: Mapping[str, Sequence[float]]) -> str:
    # With validation_freq > 1 a validation metric has fewer entries than there are epochs; those rows leave it out.
    values = [f"{name} {row[number]:.6g}" for name, row in sorted(history.items()) if len(row) == epochs]
    return f"epoch {number + 1}/{epochs}: " + ", ".join(values)


def last_metrics(history: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Each metric's last value."""
    return {name: float(values[-1]) for name, values in history.items() if values}
