"""Names that Keras keeps private: each is there in the tested release, and a release without it is told."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras.src.backend.tensorflow.trainer import TensorFlowTrainer
from keras.src.layers.layer import Layer
from keras.src.losses.losses import LossFunctionWrapper
from keras.src.random import seed_generator

from mltkbuild import keras_private
from mltkbuild.errors import StageError
from mltkbuild.fingerprint.toolchain import version

from .conftest import REPOSITORY


def network() -> keras.Model:
    """A compiled model with a layer within a layer."""
    inner = keras.Sequential([keras.layers.Dense(3, name="within")], name="inner")
    model = keras.Sequential([keras.Input((4,)), inner, keras.layers.Dense(2, name="last")])
    model.compile("sgd", "mse", metrics=["mae"])
    return model


def build(model: keras.Model) -> None:
    """Build the model for a batch of one."""
    keras_private.build_symbolically(model, (np.zeros((1, 4)), np.zeros((1, 2))))


# -- the tested release ----------------------------------------------------------------------------------------------


def test_layers_are_those_within_layers_too() -> None:
    """A nested layer is one of the layers, and the model itself is one on request alone."""
    model = network()
    assert {"inner", "within", "last"} < set(keras_private.layer_names(model))
    assert model in keras_private.layers(model, include_self=True)


def test_compile_settings_are_the_given_ones() -> None:
    """They are what compile got, and nothing for a model that wasn't compiled."""
    settings = keras_private.compile_settings(network())
    assert ("mse", ["mae"]) == (settings["loss"], settings["metrics"])
    assert {} == keras_private.compile_settings(keras.Sequential([keras.Input((4,))]))


def test_wrapped_functions_are_those_of_losses_and_metrics() -> None:
    """A loss and a metric give their function; a metric that wraps none gives none."""
    assert keras.losses.mean_squared_error is keras_private.wrapped_function(keras.losses.MeanSquaredError())
    assert keras.losses.mean_absolute_error is keras_private.wrapped_function(keras.metrics.MeanAbsoluteError())
    assert keras_private.wrapped_function(keras.metrics.AUC()) is None


def test_callbacks_run_in_order() -> None:
    """A list of callbacks that Keras would run in threads no longer does."""
    callbacks = keras.callbacks.CallbackList([])
    callbacks._async_train = True
    keras_private.run_in_order(callbacks)
    assert not callbacks._async_train


def test_traced_graphs_are_those_of_a_tf_function() -> None:
    """A function of TensorFlow's has one graph a call's shapes; a plain one has none."""
    double = tf.function(lambda x: x * 2)
    double(tf.constant(1.0))
    assert (1, 0) == (len(keras_private.traced_graphs(double)), len(keras_private.traced_graphs(len)))


def test_seed_generator_is_the_global_one() -> None:
    """Drawing without a seed moves it on."""
    before = keras_private.seed_generator().state.numpy()
    keras.random.normal((1,))
    assert (before != keras_private.seed_generator().state.numpy()).any()


def test_attributes_lead_to_no_other_part() -> None:
    """What a layer keeps for itself is there, the graph that it stands in is not."""
    found = keras_private.attributes(network().layers[-1])
    assert "units" in found
    assert found.keys().isdisjoint({"_outbound_nodes", "_tracker"})


def test_a_fresh_model_has_no_state_to_tell() -> None:
    """Nothing was set, drawn, excluded or frozen."""
    model = network()
    assert {} == keras_private.optimizer_state(model.optimizer)
    assert [] == keras_private.not_decayed(model.optimizer, model.trainable_variables)
    assert [] == [*keras_private.drawn_seeds(model), *keras_private.frozen(model)]


def test_what_was_set_before_the_training_is_told() -> None:
    """An optimizer's variables, what it doesn't decay, a generator's state, a weight that is kept."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dropout(0.5, seed=3), keras.layers.Dense(2, name="last")])
    model.compile(keras.optimizers.AdamW())
    model.optimizer.iterations.assign(7)
    model.optimizer.exclude_from_weight_decay(var_names=["bias"])
    dropout, dense = model.layers
    dropout.seed_generator.state.assign([3, 1])
    dense.bias.trainable = False
    (iterations,) = keras_private.optimizer_state(model.optimizer).values()
    assert iterations == 7
    assert [dense.bias.path] == keras_private.not_decayed(model.optimizer, dense.weights)
    assert [[3, 1]] == keras_private.drawn_seeds(dropout)
    assert [dense.bias.path] == keras_private.frozen(dense)


# -- a release without a name ----------------------------------------------------------------------------------------

HIDDEN: dict[str, tuple[object, str, Callable[[keras.Model], object]]] = {
    "layers": (Layer, "_flatten_layers", keras_private.layers),
    "symbolic build": (keras.Model, "_symbolic_build", build),
    "second symbolic build": (TensorFlowTrainer, "_maybe_symbolic_build", build),
    "weight decay": (
        keras.Optimizer,
        "_use_weight_decay",
        lambda model: keras_private.not_decayed(model.optimizer, model.weights),
    ),
    "seed generator": (seed_generator, "global_seed_generator", lambda _: keras_private.seed_generator()),
}


def hide(monkeypatch: pytest.MonkeyPatch, owner: object, name: str) -> None:
    """Take a name from a class or module, wherever among its bases it stands."""
    holders = [kind for kind in getattr(owner, "__mro__", (owner,)) if name in vars(kind)]
    assert holders
    for holder in holders:
        monkeypatch.delattr(holder, name)


def assert_told(error: StageError, name: str, package: str = "keras") -> None:
    """The error names the release, what it lacks, and the release to install."""
    assert f"{package} {version(package)} without" in (error.found or "")
    assert name in (error.found or "")
    assert f"pip install '{keras_private.TESTED[package]}'" in (error.fix or "")


@pytest.mark.parametrize("case", HIDDEN)
def test_a_hidden_name_is_told(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that Keras' classes and modules lack stops the stage."""
    owner, name, use = HIDDEN[case]
    model = network()
    hide(monkeypatch, owner, name)
    with pytest.raises(StageError) as caught:
        use(model)
    assert_told(caught.value, name)


@pytest.mark.parametrize("name", ["_compile_config", "config"])
def test_hidden_compile_settings_are_told(name: str) -> None:
    """Losses and metrics never vanish from what a training depends on."""
    model = network()
    delattr(model if name == "_compile_config" else model._compile_config, name)
    with pytest.raises(StageError) as caught:
        keras_private.compile_settings(model)
    assert_told(caught.value, name)


@pytest.mark.parametrize(
    ("name", "use"),
    [
        ("_seed_generators", keras_private.drawn_seeds),
        ("_trainable_variables", keras_private.frozen),
        ("_learning_rate", lambda model: keras_private.optimizer_state(model.optimizer)),
    ],
)
def test_hidden_state_is_told(name: str, use: Callable[[keras.Model], object]) -> None:
    """What a training begins with never vanishes from what it depends on."""
    model = network()
    owner = model.optimizer if name == "_learning_rate" else model
    object.__delattr__(owner, name)
    with pytest.raises(StageError) as caught:
        use(model)
    assert_told(caught.value, name)


@pytest.mark.parametrize("name", ["_async_train", "_async_test", "_async_predict"])
def test_hidden_switches_of_threads_are_told(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting a name that Keras no longer reads would leave callbacks in threads."""
    kind = keras.callbacks.CallbackList
    made = kind.__init__

    def without(self: object, *args: object, **more: object) -> None:
        made(self, *args, **more)
        delattr(self, name)

    monkeypatch.setattr(kind, "__init__", without)
    with pytest.raises(StageError) as caught:
        keras_private.run_in_order(keras.callbacks.CallbackList([]))
    assert_told(caught.value, name)


def test_a_hidden_function_of_a_loss_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """A loss of Keras' own always wraps a function."""
    made = LossFunctionWrapper.__init__

    def without(self: object, *args: object, **more: object) -> None:
        made(self, *args, **more)
        del self.fn  # type: ignore[attr-defined]  # made just now

    monkeypatch.setattr(LossFunctionWrapper, "__init__", without)
    with pytest.raises(StageError) as caught:
        keras_private.wrapped_function(keras.losses.Huber())
    assert_told(caught.value, "fn")


def test_a_hidden_function_of_a_metric_is_told() -> None:
    """A metric that Keras has made of a function gives it."""
    metric = keras.metrics.MeanAbsoluteError()
    del metric._fn
    with pytest.raises(StageError) as caught:
        keras_private.wrapped_function(metric)
    assert_told(caught.value, "_fn")


def test_hidden_graphs_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a training draws with tf.random is not guessed."""
    double = tf.function(lambda x: x * 2)
    hide(monkeypatch, type(double), "_list_all_concrete_functions")
    with pytest.raises(StageError) as caught:
        keras_private.traced_graphs(double)
    assert_told(caught.value, "_list_all_concrete_functions", "tensorflow")


# -- the only place --------------------------------------------------------------------------------------------------


def test_the_tested_releases_are_those_that_are_installed_with_the_package() -> None:
    """The error's fix says what pyproject.toml says."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(keras_private.TESTED.values()) <= set(project["project"]["dependencies"])


def test_no_other_module_asks_for_a_private_name() -> None:
    """Keras' own modules and the names that this one asks for stand nowhere else."""
    private = _texts(REPOSITORY / "mltkbuild/keras_private.py")
    private = {name for name in private if name.startswith(("_", "keras.src")) and not name.startswith("__")}
    assert "_compile_config" in private
    for path in (REPOSITORY / "mltkbuild").rglob("*.py"):
        if path.name != "keras_private.py":
            assert set() == private & _texts(path), path
            assert "keras.src" not in path.read_text(encoding="utf-8"), path


def _texts(path: Path) -> set[str]:
    """The attributes and texts in a module."""
    nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
    return {node.attr for node in nodes if isinstance(node, ast.Attribute)} | {
        node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
