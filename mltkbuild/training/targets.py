"""Whether a loss means what the labels say: what Keras refuses in words of its own, or takes and computes wrongly."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mltkbuild import keras_private
from mltkbuild.data import parts, streams
from mltkbuild.data.samples import Samples
from mltkbuild.errors import SpecError
from mltkbuild.tflite import ports

_CATEGORICAL = frozenset({"categorical_crossentropy", "categorical_focal_crossentropy"})
_SPARSE = frozenset({"sparse_categorical_crossentropy"})
_SEVERAL_LABELS = frozenset({"binary_crossentropy", "binary_focal_crossentropy"})
_EACH_VALUE = frozenset(
    {"binary_crossentropy", "binary_focal_crossentropy", "mean_squared_error", "mse", "mean_absolute_error", "mae"}
    | {"huber", "huber_loss", "log_cosh", "logcosh", "mean_squared_logarithmic_error", "msle"}
)
"""Losses that compare each value with its own target; Keras lets one target stand for all values."""


def require_fitting(keras_model: Any, training: Samples, where: str | None) -> None:
    """Compare the form of the labels with what the loss takes, output by output.

    Args:
        keras_model: The compiled model.
        training: The training samples.
        where: The place that an error names.

    Raises:
        SpecError: They don't fit each other.
    """
    outputs = list(getattr(keras_model, "outputs", None) or [])
    targets = _targets(keras_model, training) if outputs else []
    names = ports.output_names(keras_model) if len(outputs) > 1 else [""]
    losses = _losses(keras_private.compile_settings(keras_model).get("loss"), names)
    for place, (name, y, loss) in enumerate(zip(names, targets, losses, strict=False)):
        _require_one(_name(loss), y, outputs[place].shape, output=name, where=where)
        if not training.is_stream:
            _require_ids(_name(loss), y, outputs[place].shape, where)
            _require_shares(_name(loss), y, where)


def may_have_several_labels(keras_model: Any) -> bool:
    """Whether the loss of a model's one output lets a sample have several labels, or none."""
    return _name(keras_private.compile_settings(keras_model).get("loss")) in _SEVERAL_LABELS


def _require_one(name: str | None, y: Any, shape: Sequence[int | None], **place: str | None) -> None:
    """Compare the labels of one output with its loss."""
    if y is None or len(shape) != 2 or not shape[-1] or y.ndim > 2:
        return
    values = int(shape[-1])
    each = 1 if y.ndim == 1 else int(y.shape[1])
    whose = f"the output {place['output']}" if place["output"] else "an output"
    found = f"{name}, {each} {'number' if each == 1 else 'numbers'} a label, {whose} of {values} values"
    if name in _CATEGORICAL and each == 1 and values > 1:
        what = "the loss takes one-hot rows, and the labels are class ids"
        fix = "set the loss to sparse_categorical_crossentropy, or give one-hot rows: keras.utils.to_categorical(y)"
    elif name in _SPARSE and each == values > 1:
        what = "the loss takes class ids, and the labels are one-hot rows"
        fix = "set the loss to categorical_crossentropy, or give class ids: y.argmax(axis=1)"
    elif name in _CATEGORICAL and each != values:
        what = "the labels have another width than the output"
        fix = f"end the network with Dense({each}), or give rows of {values} numbers"
    elif name in _EACH_VALUE and each == 1 and values > 1:
        what = "the loss compares each value of the output with one of its own"
        fix = f"give {values} values a sample; for class ids set the loss to sparse_categorical_crossentropy"
    else:
        return
    raise SpecError(what, where=place["where"], found=found, fix=fix)


def _require_ids(name: str | None, y: Any, shape: Sequence[int | None], where: str | None) -> None:
    """Class ids are places in the output."""
    if name not in _SPARSE or y is None or len(shape) != 2 or not shape[-1] or y.size != len(y) or not y.size:
        return
    highest, values = int(y.max()), int(shape[-1])
    if highest >= values:
        fix = f"end the network with Dense({highest + 1}), a value for each class, or give ids below {values}"
        found = f"the class id {highest}, an output of {values} values"
        raise SpecError("a label is outside the output", where=where, found=found, fix=fix)


def _require_shares(name: str | None, y: Any, where: str | None) -> None:
    """Categorical losses take rows of shares, which are 1 in sum: Keras computes with others in silence."""
    if name not in _CATEGORICAL or y is None or y.ndim != 2 or y.shape[1] < 2:
        return
    odd = np.flatnonzero(~np.isclose(y.sum(axis=1, dtype=np.float64), 1.0, rtol=0.0, atol=0.01))
    if len(odd):
        row = np.array2string(y[odd[0]], threshold=8, separator=", ")
        raise SpecError(
            "the loss takes one-hot rows, and the labels are others",
            where=where,
            found=f"{name}, sample {odd[0]}: {row}",
            fix="set the loss to binary_crossentropy for several labels a sample, or give rows that are 1 in sum",
        )


def _losses(loss: Any, names: Sequence[str]) -> list[Any]:
    """The loss of each output, in their order; None for one that has none."""
    if isinstance(loss, Mapping):
        return [loss.get(name) for name in names]
    each = list(loss) if isinstance(loss, list | tuple) else [loss] * len(names)
    return each if len(each) == len(names) else [None] * len(names)


def _targets(keras_model: Any, training: Samples) -> list[Any]:
    """The labels of each output, or what those of a stream's batches are like; none where it doesn't tell."""
    if not training.is_stream:
        given = training.y
    elif streams.has_targets(training.x):
        given = parts.mapped(_like, training.x.element_spec[1])
    else:
        return []
    return [] if given is None else ports.targets_of(keras_model, given)


def _like(spec: Any) -> np.ndarray | None:
    shape = spec.shape
    return None if shape.rank is None else np.empty([1, *(size or 1 for size in shape[1:])])


def _name(loss: Any) -> str | None:
    """What Keras calls a loss; None for one of the spec's own, or none."""
    if isinstance(loss, str):
        return loss.lower() if loss.islower() else _snake(loss)
    kind = type(loss)
    if kind.__module__.startswith("keras."):
        return _snake(kind.__name__) if kind.__name__ != "function" else str(loss.__name__)
    return str(loss.__name__) if getattr(loss, "__module__", "").startswith("keras.") else None


def _snake(name: str) -> str:
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name).strip("_")
