"""What a training would fail of is told before its first epoch, by the training's own code."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mltkbuild.data.samples import Samples
from mltkbuild.errors import MltkError, SpecError, StageError
from mltkbuild.training import culprits, preflight
from mltkbuild.training.fit import TrainSettings

pytestmark = pytest.mark.filterwarnings("ignore")
IDS = np.arange(40) % 3
TRAINING = Samples(np.random.default_rng(0).normal(0, 1, (40, 4)).astype("float32"), IDS)


class Backwards(keras.callbacks.Callback):  # type: ignore[misc]  # Keras has no types
    """Its hook takes too little."""

    def on_train_batch_end(self, batch: int) -> None:  # noqa: D102
        raise AssertionError


class Old(keras.callbacks.Callback):  # type: ignore[misc]
    """A hook as Keras' own are."""

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:  # noqa: D102
        raise AssertionError


def settings(**given: Any) -> TrainSettings:
    """Settings of a training."""
    return TrainSettings(**{"epochs": 5, "batch_size": 8, "seed": 1, "classes": ["a", "b", "c"], **given})


WRONG: dict[str, tuple[dict[str, Any], str, str]] = {
    "a class": ({"train_callbacks": [keras.callbacks.CSVLogger]}, "train_callbacks holds", "CSVLogger, a class"),
    "no callback": ({"train_callbacks": [print]}, "train_callbacks holds", "builtin_function"),
    "in kwargs": ({"train_kwargs": {"callbacks": ["x"]}}, "train_callbacks holds", "str"),
    "hook": ({"train_callbacks": [Backwards()]}, "on_train_batch_end", "Backwards.on_train_batch_end"),
    "argument": ({"early_stopping": {"patiance": 3}}, "early_stopping isn't", "patiance"),
    "plateau": ({"reduce_lr_on_plateau": {"factor": 2.0}}, "reduce_lr_on_plateau isn't", "factor"),
    "schedule's argument": ({"lr_schedule": {"function": abs}}, "lr_schedule isn't", "function"),
    "no rate": ({"lr_schedule": lambda epoch: None}, "lr_schedule gives no", "epoch 1"),
    "no rate later": ({"lr_schedule": lambda epoch: 0.1 if epoch < 4 else math.nan}, "lr_schedule gives no", "epoch 5"),
    "endless": ({"epochs": -1}, "epochs = -1", "early_stopping is None"),
    "weights": ({"class_weights": {"d": 2.0}}, "class_weights has", "'d'"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_setting_is_told_without_a_step(name: str) -> None:
    """Callbacks, rules, schedules over all epochs, and class weights."""
    given, what, found = WRONG[name]
    with pytest.raises(SpecError, match=what) as caught:
        preflight.require_settings(settings(**given), TRAINING)
    assert found in str(caught.value.found)


def test_schedule_that_ends_too_soon_says_in_which_epoch() -> None:
    """A table of two rates for five epochs fails of the third."""
    with pytest.raises(IndexError) as caught:
        preflight.require_settings(settings(lr_schedule=lambda epoch: [0.1, 0.01][epoch]), TRAINING)
    assert ["for epoch 3, whose number is 2"] == caught.value.__notes__


RIGHT: dict[str, dict[str, Any]] = {
    "plain": {},
    "callback": {"train_callbacks": [Old(), keras.callbacks.TerminateOnNaN()]},
    "rules": {"early_stopping": {"monitor": "loss", "patience": 1}, "reduce_lr_on_plateau": {"monitor": "loss"}},
    "endless": {"epochs": -1, "early_stopping": {"monitor": "loss"}},
    "schedule": {"lr_schedule": lambda epoch, rate: rate * 0.9},
    "schedule as a callback": {"lr_schedule": keras.callbacks.LearningRateScheduler(lambda epoch: 0.1)},
    "uphill": {"lr_schedule": lambda epoch: 0.1 - epoch},
    "balanced": {"class_weights": "balanced"},
}


@pytest.mark.parametrize("name", RIGHT)
def test_right_setting_passes_and_no_callback_of_the_spec_runs(name: str) -> None:
    """The spec's own callbacks may write files."""
    preflight.require_settings(settings(**RIGHT[name]), TRAINING)
    assert {"accuracy", "loss"} <= set(step(network(), **RIGHT[name]))


def network(loss: Any = "sparse_categorical_crossentropy", metrics: Any = ("accuracy",), **given: Any) -> Any:
    """A compiled network."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [keras.Input((4,)), *given.get("layers", ()), keras.layers.Dense(3, activation="softmax", name="last")]
    )
    model.compile(given.get("optimizer", "sgd"), loss, metrics=list(metrics))
    return model


def step(model: Any, validation: Samples | None = None, ours: bool = False, **given: Any) -> dict[str, Any]:
    """One step; the file of this test counts as the spec's where it is wanted."""

    def label(path: str) -> str | None:
        return "models/a.py" if ours and Path(path) == Path(__file__) else None

    return dict(preflight.one_step(model, TRAINING, validation, settings(**given), label))


def test_step_shows_every_metric() -> None:
    """Also those of the validation, whenever that is due in the training."""
    found = step(network(), Samples(TRAINING.x[:3], IDS[:3]), validation_freq=7, train_kwargs={"validation_steps": 9})
    assert ["accuracy", "loss", "val_accuracy", "val_loss"] == sorted(found)
    assert {1} == {len(values) for values in found.values()}


def shape_error(y_true: Any, y_pred: Any) -> Any:
    """A loss of a spec, which takes one number a sample from three."""
    return keras.ops.square(keras.ops.cast(y_true, "float32") - y_pred)


FAILS: dict[str, tuple[dict[str, Any], str, str]] = {
    "metric": ({"metrics": ["accuracy", "mae"]}, "in the metric mae", r"shapes.*labels of shape \(8,\), answers"),
    "loss": (
        {"loss": "binary_crossentropy"},
        "in the loss binary_crossentropy",
        r"rank.*; labels of shape \(8,\)",
    ),
    "name of a metric": ({"metrics": ["acuracy"]}, "no metric of this name", "acuracy"),
    "name of a loss": ({"loss": "sparse_crossentropy"}, "no loss of this name", "sparse_crossentropy"),
}


@pytest.mark.parametrize("name", FAILS)
def test_part_that_fails_is_named(name: str) -> None:
    """The metric, the loss or the layer, with the shapes of what it got, and no name of a graph's node."""
    given, what, found = FAILS[name]
    with pytest.raises(SpecError, match=what) as caught:
        step(network(**given))
    assert re.search(found, str(caught.value.found))
    assert not {"{{", "[Op:", "Graph execution error"} & set(str(caught.value))


def test_code_of_the_spec_keeps_its_own_error() -> None:
    """Its line tells more than the name of the part."""
    with pytest.raises(Exception, match="Dimensions must be equal") as caught:
        step(network(loss=shape_error), ours=True)
    assert not isinstance(caught.value, MltkError)
    with pytest.raises(SpecError, match="in the loss shape_error"):
        step(network(loss=shape_error))


@pytest.mark.parametrize("rule", ["early_stopping", "reduce_lr_on_plateau", "checkpoint"])
def test_metric_that_there_is_not_is_told(rule: str) -> None:
    """Each rule that watches one."""
    with pytest.raises(SpecError, match=f"{rule} monitors a metric") as caught:
        step(network(), Samples(TRAINING.x[:8], IDS[:8]), ours=False, **{rule: {"monitor": "val_acuracy"}})
    assert "'val_acuracy'" == caught.value.found
    assert "val_accuracy" in str(caught.value.fix)


def test_rule_that_can_not_set_the_rate_is_told() -> None:
    """An optimizer with a schedule of its own refuses, in Keras at the first plateau."""
    optimizer = keras.optimizers.SGD(keras.optimizers.schedules.ExponentialDecay(0.1, 10, 0.9))
    with pytest.raises(SpecError, match="reduce_lr_on_plateau can't set the learning rate"):
        step(network(optimizer=optimizer), reduce_lr_on_plateau={"monitor": "loss"})


def test_loss_that_is_no_number_is_told() -> None:
    """In the first step already, unless the spec goes on with it."""
    model = network(loss=lambda y_true, y_pred: keras.ops.log(-keras.ops.abs(y_pred)))
    with pytest.raises(StageError, match="the loss of the first step is no finite number"):
        step(model)
    assert math.isnan(step(model, on_nan="continue")["loss"][0])


def test_traceback_filter_of_keras_is_as_it_was() -> None:
    """Whole tracebacks are for the step alone."""
    before = keras.config.is_traceback_filtering_enabled()
    with culprits.whole_tracebacks():
        within = keras.config.is_traceback_filtering_enabled()
    assert not within
    assert before == keras.config.is_traceback_filtering_enabled()
