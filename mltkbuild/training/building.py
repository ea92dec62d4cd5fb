"""What a spec's builder is called with, and what it may give: a compiled Keras model with an input shape."""

from __future__ import annotations

import inspect
from typing import Any

import keras

from mltkbuild.errors import SpecError


def clear_names() -> None:
    """Let layer names be counted from 1, and keep the number type that the spec may have chosen."""
    policy = keras.config.dtype_policy()
    keras.backend.clear_session(free_memory=False)
    keras.config.set_dtype_policy(policy)


def takes_argument(builder: Any) -> bool:
    """Say whether a builder takes the model; one without parameters is called without it."""
    try:
        return bool(inspect.signature(builder).parameters)
    except (TypeError, ValueError):
        return True


def called(builder: Any, model: Any) -> Any:
    """What a builder gives for a spec's model."""
    return builder(*([model] if takes_argument(builder) else []))


def check_model(keras_model: Any) -> None:
    """Raise a SpecError unless a builder's result is a Keras model that can be trained."""
    if not isinstance(keras_model, keras.Model):
        raise SpecError(
            "build_model_function must return a compiled Keras model",
            found=type(keras_model).__name__,
            fix="return the model at the end of the builder",
        )
    found = f"{type(keras_model).__name__} {keras_model.name}"
    if not keras_model.compiled:
        raise SpecError(
            "the model that build_model_function returns is not compiled",
            found=found,
            fix="call keras_model.compile(loss=..., optimizer=..., metrics=...) before you return it",
        )
    if not keras_model.built:
        raise SpecError(
            "the model that build_model_function returns has no input shape",
            found=found,
            fix="begin it with keras.Input(my_model.input_shape), or call keras_model.build",
        )
