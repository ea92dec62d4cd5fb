"""Every name that Keras and TensorFlow's functions keep private and this package needs, each asked for in one place.

A release may rename what is private. Where that would go unseen - losses that vanish from a fingerprint, callbacks that
run out of order - a build must stop instead, so each function here says which name is missing.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mltkbuild.errors import StageError
from mltkbuild.fingerprint.toolchain import version

TESTED: Mapping[str, str] = {"keras": "keras>=3.15,<3.16", "tensorflow": "tensorflow>=2.21,<2.22"}
"""The releases in which these names were looked up, as `pyproject.toml` asks for them."""

_ASYNC = ("_async_train", "_async_test", "_async_predict")


def layers(keras_model: Any, *, include_self: bool = False) -> list[Any]:
    """Every layer of a model, also those within layers; `Model.layers` has the outermost alone.

    Raises:
        StageError: Keras has no such name any more, as for all functions here.
    """
    found: list[Any] = _of(keras_model, "_flatten_layers")(include_self=include_self)
    return found


def layer_names(keras_model: Any) -> list[str]:
    """The names of all layers, also of those within layers."""
    return [layer.name for layer in layers(keras_model)]


def compile_settings(keras_model: Any) -> Mapping[str, Any]:
    """What was given to `compile`, as objects; `get_compile_config` has their serialized form. Empty if it wasn't."""
    if not keras_model.compiled:
        return {}
    settings: Mapping[str, Any] = _of(_of(keras_model, "_compile_config"), "config")
    return settings


def wrapped_function(part: object) -> object:
    """The function that Keras or a class like its own has made this loss or metric of; None for another kind."""
    keras: Any = importlib.import_module("keras")
    if isinstance(part, keras.metrics.MeanMetricWrapper):
        return _of(part, "_fn")
    if isinstance(part, keras.losses.Loss):
        # The class that wraps a function in a loss has no public name, but this one is of it.
        _of(keras.losses.MeanSquaredError(), "fn")
    return getattr(part, "_fn", getattr(part, "fn", None))


def attributes(part: object) -> dict[str, object]:
    """The attributes of a part of a model, but for those from which a walk would go through the whole of it.

    Where a layer stands in the graph is in the model's config, what the model was compiled with in `compile_settings`,
    and whether a layer is trained in its own config or its weights.
    """
    elsewhere = {"_outbound_nodes", "_parent_path", "_tracker", "_compile_config", "_compile_loss", "_trainable"}
    return {name: value for name, value in getattr(part, "__dict__", {}).items() if name not in elsewhere}


def optimizer_state(optimizer: Any) -> dict[str, Any]:
    """The variables of an optimizer that were set before it trains; the learning rate is in its config."""
    inner = getattr(optimizer, "inner_optimizer", None)
    told = [_of(optimizer, "_learning_rate")]
    # What scales the loss has the variables of the optimizer in it, too.
    told += [] if inner is None else [_of(inner, "_learning_rate"), *inner.variables]
    known = {id(variable) for variable in told}
    found = {variable.path: variable.numpy() for variable in optimizer.variables if id(variable) not in known}
    return {path: value for path, value in found.items() if value.any()}


def not_decayed(optimizer: Any, variables: Sequence[Any]) -> list[str]:
    """The variables that were excluded from an optimizer's weight decay."""
    decays = _of(optimizer, "_use_weight_decay")
    return [variable.path for variable in variables if not decays(variable)]


def drawn_seeds(layer: Any) -> list[list[int]]:
    """The states of a layer's random generators, but for those that are just begun with the seed in its config."""
    if getattr(layer, "dropout", None) == 0 and getattr(layer, "recurrent_dropout", None) == 0:
        # A recurrent layer has a generator whether it drops anything or not.
        return []
    found = []
    for generator in _of(layer, "_seed_generators"):
        state = generator.state.numpy().tolist()
        if state != [_of(generator, "_initial_seed"), 0]:
            found.append(state)
    return found


def frozen(layer: Any) -> list[str]:
    """The weights of a layer that were set to be kept one by one; the config tells those of a whole layer."""
    variables = _of(layer, "_trainable_variables")
    return [variable.path for variable in variables if layer.trainable and not variable.trainable]


def build_symbolically(keras_model: Any, data_batch: tuple[Any, ...]) -> None:
    """Build a compiled model for a batch of these shapes, and keep its fit from doing so once more."""
    build = _of(keras_model, "_symbolic_build")
    _of(keras_model, "_maybe_symbolic_build")
    build(data_batch=data_batch)
    keras_model._maybe_symbolic_build = _nothing


def _nothing(iterator: Any = None, data_batch: Any = None) -> None:
    """Stands in for a step that is done."""


def run_in_order(callback_list: Any) -> None:
    """Have a list of callbacks run each of them before it returns, never in a thread of its own."""
    for name in _ASYNC:
        _of(callback_list, name)
        setattr(callback_list, name, False)


def seed_generator() -> Any:
    """The generator of every Keras random operation that has no seed of its own."""
    try:
        module: Any = importlib.import_module("keras.src.random.seed_generator")
    except ImportError as error:
        raise _missing("keras", "keras.src.random.seed_generator") from error
    return _of(module, "global_seed_generator")()


def traced_graphs(function: Any) -> list[Any]:
    """The graphs that a `tf.function` has traced; none of another function."""
    tensorflow: Any = importlib.import_module("tensorflow")
    if not isinstance(function, tensorflow.types.experimental.PolymorphicFunction):
        return []
    traced: Callable[[], list[Any]] = _of(function, "_list_all_concrete_functions", "tensorflow")
    return traced()


def _of(owner: object, name: str, package: str = "keras") -> Any:
    try:
        return getattr(owner, name)
    except AttributeError as error:
        raise _missing(package, f"{getattr(owner, '__name__', type(owner).__name__)}.{name}") from error


def _missing(package: str, name: str) -> StageError:
    return StageError(
        f"this release of {package} lacks a name that mltkbuild needs",
        found=f"{package} {version(package)} without {name}",
        fix=f"run `pip install '{TESTED[package]}'`, the releases that this mltkbuild is tested with",
    )
