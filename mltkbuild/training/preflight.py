"""What a training would fail of, found before its first epoch: one step by the training's own code, and its rules."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import keras

from mltkbuild.data.samples import Samples
from mltkbuild.errors import MltkError, SpecError, StageError
from mltkbuild.training import culprits, fit
from mltkbuild.training.class_weights import class_weight
from mltkbuild.training.epochs import UNLIMITED
from mltkbuild.training.keeper import Keeper

MOST_EPOCHS = 10_000
"""A schedule is asked for so many epochs at most."""
_REPLACED = frozenset({"epochs", "steps_per_epoch", "validation_steps", "validation_freq", "callbacks"})
"""Arguments of `train_kwargs` in whose place the one step has its own."""
_NO_RULES: dict[str, Any] = {"early_stopping": None, "reduce_lr_on_plateau": None}
_HOOKS = tuple(
    f"on_{what}_{when}" for what in ("train", "epoch", "train_batch", "test", "test_batch") for when in ("begin", "end")
)


def require_settings(settings: fit.TrainSettings, training: Samples) -> None:
    """Look at what a training is told, without training.

    Args:
        settings: How the fit goes.
        training: The training samples.

    Raises:
        SpecError: Epochs without an end, a callback that Keras can't call, arguments that a rule doesn't take, class
            weights that don't fit, or a schedule that gives no learning rate for one of the epochs.
    """
    settings, extra = fit.with_kwargs(settings)
    epochs = fit.epoch_limit(settings)
    own = [*settings.train_callbacks, *extra.get("callbacks", ())]
    for callback in own:
        _require_callback(callback)
    for name in ("early_stopping", "reduce_lr_on_plateau"):
        with _of_setting(name):
            fit.rule_callbacks(replace(settings, **{**_NO_RULES, name: getattr(settings, name)}))
    class_weight(settings.class_weights, settings.classes, training, settings.class_counts)
    with _of_setting("lr_schedule"):
        schedules = fit.schedule_callbacks(settings)
    first = MOST_EPOCHS if epochs == UNLIMITED else min(epochs, MOST_EPOCHS)
    for schedule in schedules:
        if isinstance(schedule, keras.callbacks.LearningRateScheduler):
            _require_rates(schedule, first)


def _require_callback(callback: Any) -> None:
    if not isinstance(callback, keras.callbacks.Callback):
        fix = "give objects of keras.callbacks.Callback, such as keras.callbacks.CSVLogger('log.csv')"
        found = f"{callback.__name__}, a class" if isinstance(callback, type) else type(callback).__name__
        raise SpecError("train_callbacks holds what is no callback", found=found, fix=fix)
    for name in _HOOKS:
        given: tuple[Any, ...] = (0, {}) if "epoch" in name or "batch" in name else ({},)
        try:
            inspect.signature(getattr(callback, name)).bind(*given)
        except TypeError as error:
            counted = "epoch" if "epoch" in name else "batch"
            arguments = f"(self, {counted}, logs=None)" if len(given) > 1 else "(self, logs=None)"
            raise SpecError(
                f"train_callbacks holds a callback whose {name} Keras can't call",
                found=f"{type(callback).__name__}.{name}: {error}",
                fix=f"define it as {name}{arguments}",
            ) from error


@contextmanager
def _of_setting(setting: str) -> Iterator[None]:
    """Tell what a constructor of Keras refuses as a setting of the spec."""
    try:
        yield
    except (TypeError, ValueError) as error:
        found = str(error).partition("\n")[0] or type(error).__name__
        fix = f"give my_model.{setting} the arguments of the Keras callback of this name"
        raise SpecError(f"{setting} isn't what Keras takes", found=found, fix=fix) from error


def _require_rates(scheduler: Any, epochs: int) -> None:
    """Ask for the learning rate of every epoch; an epoch that has none would end a training in its midst."""
    optimizer = SimpleNamespace(learning_rate=0.001)
    scheduler.set_model(SimpleNamespace(optimizer=optimizer))
    for epoch in range(epochs):
        try:
            scheduler.on_epoch_begin(epoch)
        except (IndexError, KeyError, ArithmeticError) as error:
            error.add_note(f"for epoch {epoch + 1}, whose number is {epoch}")
            raise
        except ValueError as error:
            found = f"for epoch {epoch + 1}: {error}"
            raise SpecError("lr_schedule gives no learning rate", found=found, fix="return a float") from error
        rate = float(optimizer.learning_rate)
        if not math.isfinite(rate):
            found = f"{rate} for epoch {epoch + 1}"
            raise SpecError("lr_schedule gives no learning rate", found=found, fix="return a finite number")


def one_step(
    keras_model: Any,
    training: Samples,
    validation: Samples | None,
    settings: fit.TrainSettings,
    label: Callable[[str], str | None],
) -> Mapping[str, Sequence[float]]:
    """Train on one batch and validate on one, as a training begins.

    Args:
        keras_model: The compiled model; it isn't what it was afterwards.
        training: The training samples.
        validation: The validation samples, if there are any.
        settings: How the fit goes; the spec's own callbacks are left out, for they may write files.
        label: Gives the workspace's name for a file of the spec's code.

    Returns:
        For each metric its value.

    Raises:
        SpecError: Keras can't take the step, and the spec's code isn't where it fails; or a rule watches a metric that
            there isn't.
        StageError: The loss is no finite number.
    """
    kwargs = {name: value for name, value in settings.train_kwargs.items() if name not in _REPLACED}
    few = replace(
        settings,
        epochs=1,
        steps_per_epoch=1,
        validation_steps=1,
        validation_freq=1,
        train_callbacks=(),
        tensorboard=None,
        on_nan="continue",
        train_kwargs=kwargs,
    )

    def step() -> Mapping[str, Sequence[float]]:
        return fit.fit(keras_model, training, validation, few, Keeper()).history

    history: Mapping[str, Sequence[float]] = _explained(keras_model, step, label)
    _require_settable_rate(keras_model, settings)
    if settings.on_nan == "stop" and not all(map(math.isfinite, history.get("loss", ()))):
        raise StageError(
            "the loss of the first step is no finite number",
            found=f"loss {history['loss'][0]}",
            fix="look for a division by zero or a logarithm of zero in the loss, or scale the samples",
        )
    return history


def _explained(keras_model: Any, step: Callable[[], Any], label: Callable[[str], str | None]) -> Any:
    """The step's result; where Keras fails in code of its own, the part of the model is told in which it does."""
    with culprits.whole_tracebacks():
        result, error = _attempt(step)
        if error is not None and culprits.is_of_graph(error):
            # Where a graph fails there is no traceback: once more, operation by operation.
            keras_model.run_eagerly, keras_model.train_function, keras_model.test_function = True, None, None
            error = _attempt(step)[1] or error
        if error is not None:
            told = culprits.of(error, label)
            raise error if told is None else told from error
    return result


def _attempt(step: Callable[[], Any]) -> tuple[Any, Exception | None]:
    """What a step gives, or what Keras raises of it."""
    try:
        return step(), None
    except MltkError:
        raise
    except Exception as error:  # noqa: BLE001  # Keras and TensorFlow raise anything, and so does a spec's own loss
        return None, error


def _require_settable_rate(keras_model: Any, settings: fit.TrainSettings) -> None:
    """A rule that lowers the learning rate can't where the optimizer has a schedule of its own."""
    names = [name for name in ("reduce_lr_on_plateau", "lr_schedule") if getattr(settings, name) is not None]
    optimizer = keras_model.optimizer
    if not names or optimizer is None:
        return
    try:
        optimizer.learning_rate = float(keras.ops.convert_to_numpy(optimizer.learning_rate))
    except TypeError as error:
        raise SpecError(
            f"{names[0]} can't set the learning rate: the optimizer has a schedule of its own",
            found=f"{type(optimizer).__name__} with a schedule as its learning_rate",
            fix=f"give the optimizer a number, or leave out my_model.{names[0]}",
        ) from error
