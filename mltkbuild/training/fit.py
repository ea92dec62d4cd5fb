"""The train stage: a seeded, deterministic fit with its history, plot and log."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np

from mltkbuild.data import parts
from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples, finished, split_validation
from mltkbuild.data.streams import batches as batches_of
from mltkbuild.data.streams import is_dataset, is_endless, length
from mltkbuild.errors import DataError, SpecError, StageError, did_you_mean
from mltkbuild.events import Note
from mltkbuild.training.class_weights import class_weight
from mltkbuild.training.course import Course
from mltkbuild.training.devices import is_distributed, prepare
from mltkbuild.training.epochs import UNLIMITED
from mltkbuild.training.fitting import fitted
from mltkbuild.training.history import Training, last_metrics, plain
from mltkbuild.training.keeper import Keeper, Rules
from mltkbuild.training.training_state import assign_weights

DEFAULT_MONITOR = "val_accuracy"
FALLBACKS = (
    "val_acc",
    "val_sparse_categorical_accuracy",
    "val_categorical_accuracy",
    "val_binary_accuracy",
    "val_loss",
)
VALIDATION = ("validation_data", "validation_steps", "validation_batch_size", "validation_freq")
# Arguments of Keras' fit whose part a setting plays here.
OVER = ("epochs", "batch_size", "shuffle", "steps_per_epoch")


@dataclass(frozen=True)
class TrainSettings:
    """How the fit goes; the fields are the properties of the same names."""

    epochs: int
    batch_size: int
    seed: int
    shuffle: bool = True
    class_weights: Any = None
    class_counts: Mapping[str, Any] = field(default_factory=dict)
    classes: Sequence[str] | None = None
    steps_per_epoch: int | None = None
    validation_steps: int | None = None
    validation_batch_size: int | None = None
    validation_freq: Any = 1
    lr_schedule: Any = None
    reduce_lr_on_plateau: Mapping[str, Any] | None = None
    early_stopping: Mapping[str, Any] | None = None
    checkpoint: Mapping[str, Any] | None = field(default_factory=dict)
    final_weights: str = "best"
    on_nan: str = "stop"
    tensorboard: Mapping[str, Any] | None = None
    tensorboard_dir: str = ""
    train_callbacks: Sequence[Any] = ()
    train_kwargs: Mapping[str, Any] = field(default_factory=dict)


def fit(
    keras_model: Any,
    training: Samples,
    validation: Samples | None,
    settings: TrainSettings,
    keeper: Keeper,
) -> Training:
    """Train a compiled model, going on from a checkpoint where there is one.

    Args:
        keras_model: The model; its weights are changed in place, to those of the epoch that `final_weights` names.
        training: The training samples.
        validation: The validation samples, if there are any.
        settings: Epochs, batch size and so on.
        keeper: Where checkpoints go, and what takes events.

    Returns:
        What the training came to.

    Raises:
        SpecError: Settings that never end the training, or that don't fit the data.
        DataError: A stream gave no batch.
        StageError: The loss became NaN or infinite; names the epoch and the step.
        Stopped: The training was asked to stop.
    """
    settings, extra = with_kwargs(settings)
    training = _override(keras_model, training, extra)
    split = extra.pop("validation_split", 0.0)
    if split and validation is None:
        training, validation = split_validation(training, split)
    epochs = epoch_limit(settings)
    keras.utils.set_random_seed(settings.seed)
    validating = _validation_arguments(validation, settings) | {
        name: extra.pop(name) for name in VALIDATION if name in extra
    }
    validates = validating.get("validation_data") is not None
    _check_monitors(settings, validates=validates)
    batches = _batches(training, settings)
    rules = _rules_of(keras_model, training, settings, batches, epochs)
    rules = rules if validates else replace(rules, monitor="", fallbacks=())
    state = keeper.start(epochs, within=rules.within)
    course = Course(keras_model, _callbacks(settings, extra.pop("callbacks", ())), rules, keeper, state)
    if state is not None:
        keeper.progress(Note(f"goes on after {course.position}"))
    first = course.position.epoch
    if is_distributed(keras_model):
        prepare(keras_model, *_few(training))
    run = _Run(keras_model, training, settings, batches, {**validating, "verbose": 0, **extra})
    run.all_parts(course, epochs)
    history = plain(keras_model.history.history)
    if not history:
        raise DataError("the training data gave no batch", found=f"a {type(training.x).__name__} without elements")
    return _finished(keras_model, settings, course, history, first)


def _few(training: Samples) -> tuple[Any, Any]:
    """Samples that show the shapes."""
    if not training.is_stream:
        few = finished(training.part(slice(0, 2)))
        return few.x, few.y
    return next(iter(batches_of(training.x, 1)), (None, None))


@dataclass(frozen=True)
class _Run:
    """The calls of Keras' fit that a training takes: one, or two when it goes on within an epoch."""

    keras_model: Any
    training: Samples
    settings: TrainSettings
    batches: Batches | None
    arguments: Mapping[str, Any]

    def all_parts(self, course: Course, epochs: int) -> None:
        """Train from the course's position to the end."""
        epoch, step = course.position
        if step and not course.stopped:
            course.last_part = False
            self._fit(course, epoch, epoch + 1, step)
            course.last_part = True
            epoch += 1
        # A training that has reached its end begins and ends here without an epoch: the callbacks finish their work.
        self._fit(course, epoch, epoch if course.stopped else epochs, 0)

    def _fit(self, course: Course, first: int, last: int, step: int) -> None:
        data = self._data(first, step)
        self.keras_model.fit(**data, **self.arguments, initial_epoch=first, epochs=last, callbacks=course)

    def _data(self, epoch: int, step: int) -> dict[str, Any]:
        settings, training = self.settings, self.training
        weights = class_weight(settings.class_weights, settings.classes, training, settings.class_counts)
        if self.batches is not None:
            return {
                "x": self.batches.dataset(epoch, step),
                "steps_per_epoch": self.batches.steps - step,
                "class_weight": weights,
                "shuffle": False,
            }
        # A tf.data.Dataset has an order of its own; Keras would only warn.
        shuffle = bool(settings.shuffle) and not is_dataset(training.x)
        return {
            "x": training.x,
            "steps_per_epoch": settings.steps_per_epoch,
            "class_weight": weights,
            "shuffle": shuffle,
        }


def _batches(training: Samples, settings: TrainSettings) -> Batches | None:
    """The order of samples in memory; None for a stream, which has its own."""
    _require_end(training, "training", settings.steps_per_epoch, "steps_per_epoch")
    if training.is_stream:
        return None
    return Batches(
        training,
        settings.batch_size,
        settings.seed,
        shuffle=bool(settings.shuffle),
        steps=settings.steps_per_epoch,
    )


def with_kwargs(settings: TrainSettings) -> tuple[TrainSettings, dict[str, Any]]:
    """`train_kwargs` over the settings of the same meaning; the rest goes to Keras' fit as it is.

    Raises:
        SpecError: It holds what the build itself gives.
    """
    extra = dict(settings.train_kwargs)
    extra.pop("verbose", None)
    over = {name: extra.pop(name) for name in OVER if name in extra}
    if "class_weight" in extra:
        over["class_weights"] = extra.pop("class_weight")
    for name in ("initial_epoch", "x", "y"):
        if name in extra:
            raise SpecError(
                f"train_kwargs can't hold {name}",
                found=f"{name} in my_model.train_kwargs",
                fix="resume is automatic; the data loader gives x and y",
            )
    return replace(settings, **over), extra


def _override(keras_model: Any, training: Samples, extra: dict[str, Any]) -> Samples:
    """The samples, with weights that `train_kwargs` gives."""
    weight = extra.pop("sample_weight", None)
    if weight is None:
        return training
    return fitted(keras_model, replace(training, weight=parts.mapped(np.asarray, weight)))


def _callbacks(settings: TrainSettings, more: Sequence[Any]) -> list[Any]:
    """The spec's own callbacks, the schedule, the check that a rule's metric is there, and the rules."""
    # What a spec gives as train_kwargs["callbacks"] comes beside the callbacks made here, not in their place.
    own = [*settings.train_callbacks, *more]
    return [*own, *schedule_callbacks(settings), _check(settings), *rule_callbacks(settings), *_tensorboard(settings)]


def _tensorboard(settings: TrainSettings) -> list[Any]:
    if settings.tensorboard is None:
        return []
    arguments = {name: value for name, value in settings.tensorboard.items() if name != "profile_batch" or value}
    return [keras.callbacks.TensorBoard(**{**arguments, "log_dir": settings.tensorboard_dir})]


def _rules_of(
    keras_model: Any, training: Samples, settings: TrainSettings, batches: Batches | None, epochs: int
) -> Rules:
    """What the training goes by."""
    best = settings.checkpoint or {}
    monitor = str(best.get("monitor", DEFAULT_MONITOR)) if settings.checkpoint is not None else ""
    # An optimizer that averages the weights does so when Keras' fit ends, so an epoch can't be trained in two parts.
    averages = bool(getattr(keras_model.optimizer, "use_ema", False))
    return Rules(
        epochs=epochs,
        seed=settings.seed,
        monitor=monitor,
        # The default fits classifiers that name their metric 'accuracy'.
        fallbacks=FALLBACKS if monitor == DEFAULT_MONITOR else (),
        mode=str(best.get("mode", "auto")),
        stop_on_nan=settings.on_nan == "stop",
        batches=batches,
        steps=batches.steps if batches is not None else settings.steps_per_epoch or length(training.x),
        within=batches is not None and not averages and not is_distributed(keras_model),
        not_exact=None if batches is not None else f"a {type(training.x).__name__} keeps its own place in the data",
    )


def _finished(
    keras_model: Any, settings: TrainSettings, course: Course, history: Mapping[str, list[float]], first: int
) -> Training:
    """Set the final weights and say what the training came to."""
    epochs, best = course.position.epoch, course.best.epoch or None
    final = epochs
    if settings.final_weights == "best" and best is not None and course.best_weights is not None:
        final = best
        if best != epochs:
            assign_weights(keras_model, course.best_weights)
    return Training(
        history=history,
        epochs=epochs,
        final_epoch=final,
        best_epoch=best,
        monitor=course.best.monitor if best else "",
        segments=course.told_segments(),
        not_exact=course.lost if len(course.told_segments()) > 1 else None,
        stopped_early=course.stopped,
        earlier_seconds=course.earlier_seconds,
        ran=epochs - first,
    )


def _require_end(samples: Samples, subset: str, steps: int | None, name: str) -> None:
    """Raise a SpecError for a stream without end whose epochs have no length."""
    if steps is None and samples.is_stream and is_endless(samples.x):
        raise SpecError(
            f"the {subset} data has no end",
            found=f"a {type(samples.x).__name__} of unknown length, and {name} is None",
            fix=f"set my_model.{name} to how many batches make an epoch",
        )


def epoch_limit(settings: TrainSettings) -> int:
    """How many epochs a training takes at most.

    Raises:
        SpecError: Nothing would end it.
    """
    if settings.epochs != -1:
        return settings.epochs
    if settings.early_stopping is None:
        raise SpecError(
            "epochs = -1 needs early_stopping to end the training",
            found="early_stopping is None",
            fix="set my_model.early_stopping = {'monitor': 'val_loss', 'patience': 10}, or a number of epochs",
        )
    return UNLIMITED


def _validation_arguments(validation: Samples | None, settings: TrainSettings) -> dict[str, Any]:
    """The arguments of Keras' fit that are about validation."""
    if validation is None:
        return {}
    _require_end(validation, "validation", settings.validation_steps, "validation_steps")
    parts = (validation.x, validation.y, validation.weight)
    data = validation.x if validation.is_stream else parts if validation.weight is not None else parts[:2]
    return {
        "validation_data": data,
        "validation_steps": settings.validation_steps,
        "validation_batch_size": settings.validation_batch_size
        or (None if validation.is_stream else settings.batch_size),
        "validation_freq": settings.validation_freq,
    }


def schedule_callbacks(settings: TrainSettings) -> list[Any]:
    """The callback that sets the learning rate of each epoch, if the spec has a schedule."""
    schedule = settings.lr_schedule
    if schedule is None or isinstance(schedule, keras.callbacks.Callback):
        return [] if schedule is None else [schedule]
    arguments = schedule if isinstance(schedule, Mapping) else {"schedule": schedule}
    return [keras.callbacks.LearningRateScheduler(**arguments)]


def rule_callbacks(settings: TrainSettings) -> list[Any]:
    """The callbacks that watch a metric; they come after the watcher, which says in clear words that one is missing."""
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


def _check(settings: TrainSettings) -> Any:
    """A callback that says in clear words that the metric of a rule is missing; it comes before the rules."""

    class Check(keras.callbacks.Callback):
        def on_epoch_end(self, epoch: int, logs: Mapping[str, Any] | None = None) -> None:
            metrics = last_metrics(plain({name: [value] for name, value in (logs or {}).items()}))
            _check_epoch(epoch + 1, metrics, settings)

        def get_state(self) -> None:
            """It knows nothing of its own."""

    return Check()


def _check_epoch(epoch: int, metrics: Mapping[str, float], settings: TrainSettings) -> None:
    """Raise an error after an epoch whose loss is no number, or that lacks a metric which a rule waits for."""
    if settings.on_nan == "stop" and not math.isfinite(metrics.get("loss", 0.0)):
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
