"""Whether a loss means what the labels say: what Keras refuses in words of its own, or takes and computes wrongly."""

from __future__ import annotations

from typing import Any

import numpy as np

from mltkbuild import keras_private
from mltkbuild.data import streams
from mltkbuild.data.samples import Samples
from mltkbuild.errors import SpecError

_CATEGORICAL = frozenset({"categorical_crossentropy", "categorical_focal_crossentropy"})
_SPARSE = frozenset({"sparse_categorical_crossentropy"})
_EACH_VALUE = frozenset(
    {"binary_crossentropy", "binary_focal_crossentropy", "mean_squared_error", "mse", "mean_absolute_error", "mae"}
    | {"huber", "huber_loss", "log_cosh", "logcosh", "mean_squared_logarithmic_error", "msle"}
)
"""Losses that compare each value with its own target; Keras lets one target stand for all values."""


def require_fitting(keras_model: Any, training: Samples, where: str | None) -> None:
    """Compare the form of the labels with what the loss takes, for a model with one output.

    Args:
        keras_model: The compiled model.
        training: The training samples.
        where: The place that an error names.

    Raises:
        SpecError: They don't fit each other.
    """
    outputs = getattr(keras_model, "outputs", None) or []
    y = _targets(training)
    name = _name(keras_private.compile_settings(keras_model).get("loss"))
    if len(outputs) != 1 or y is None or len(outputs[0].shape) != 2 or not outputs[0].shape[-1] or y.ndim > 2:
        return
    values = int(outputs[0].shape[-1])
    each = 1 if y.ndim == 1 else int(y.shape[1])
    found = f"{name}, {each} {'number' if each == 1 else 'numbers'} a label, an output of {values} values"
    if name in _CATEGORICAL and each == 1 and values > 1:
        fix = "set the loss to sparse_categorical_crossentropy, or give one-hot rows: keras.utils.to_categorical(y)"
        raise SpecError("the loss takes one-hot rows, and the labels are class ids", where=where, found=found, fix=fix)
    if name in _SPARSE and each == values > 1:
        fix = "set the loss to categorical_crossentropy, or give class ids: y.argmax(axis=1)"
        raise SpecError("the loss takes class ids, and the labels are one-hot rows", where=where, found=found, fix=fix)
    if name in _CATEGORICAL and each != values:
        fix = f"end the network with Dense({each}), or give rows of {values} numbers"
        raise SpecError("the labels have another width than the output", where=where, found=found, fix=fix)
    if name in _SPARSE and each == 1 and not training.is_stream and y.max(initial=0) >= values:
        highest = int(y.max())
        fix = f"end the network with Dense({highest + 1}), a value for each class, or give ids below {values}"
        found = f"the class id {highest}, an output of {values} values"
        raise SpecError("a label is outside the output", where=where, found=found, fix=fix)
    if name in _EACH_VALUE and each == 1 and values > 1:
        fix = f"give {values} values a sample; for class ids set the loss to sparse_categorical_crossentropy"
        raise SpecError(
            "the loss compares each value of the output with one of its own", where=where, found=found, fix=fix
        )


def _targets(training: Samples) -> np.ndarray | None:
    """The labels, or those of a stream's first batch, where it can be read again."""
    if not training.is_stream:
        return None if training.y is None else np.asarray(training.y)
    if not streams.has_one_target(training.x):
        return None
    shape = training.x.element_spec[1].shape
    return None if shape.rank is None else np.empty([1, *(size or 1 for size in shape[1:])])


def _name(loss: Any) -> str | None:
    """What Keras calls a loss; None for one of the spec's own, or several."""
    if isinstance(loss, str):
        return loss.lower() if loss.islower() else _snake(loss)
    kind = type(loss)
    if kind.__module__.startswith("keras."):
        return _snake(kind.__name__) if kind.__name__ != "function" else str(loss.__name__)
    return str(loss.__name__) if getattr(loss, "__module__", "").startswith("keras.") else None


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")
