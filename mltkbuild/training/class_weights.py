"""The class weights of a training, as a spec gives them and as Keras wants them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from mltkbuild.data import parts, streams
from mltkbuild.data.samples import Samples, labels
from mltkbuild.errors import SpecError, did_you_mean


def class_weight(
    weights: Any, classes: Sequence[str] | None, training: Samples, counts: Mapping[str, Any]
) -> dict[int, float] | None:
    """The class weights as Keras wants them, `{class id: weight}`.

    'balanced' gives each class n / (classes * n_of_class), as scikit-learn's `compute_class_weight` defines it.

    Args:
        weights: 'balanced', 'none', None, weights by class label or id, or one weight a class.
        classes: The class labels of a classifier.
        training: The training samples.
        counts: How many samples each class has, by subset, as a loader of streams may tell.
    """
    if weights is None or weights == "none":
        return None
    if training.weight is not None:
        raise SpecError(
            "class_weights and sample_weight can't be used together",
            found="both are set",
            fix="multiply the class's weight into my_model.sample_weight",
        )
    _require_one_class(training)
    if isinstance(weights, str):
        ids = labels(training)
        told = counts.get("training") or {}
        if ids is None and classes and any(told.values()):
            ids = np.repeat(np.arange(len(classes)), [int(told.get(label, 0)) for label in classes])
        return _balanced(ids)
    given = weights if isinstance(weights, Mapping) else dict(enumerate(weights))
    return _weights_by_id(given, list(classes or ()))


def _require_one_class(training: Samples) -> None:
    """Keras takes the first label of a sample for its class, and says nothing."""
    element = streams.element_of(training.x) if training.is_stream else (training.x, training.y)
    if isinstance(element, tuple | list) and len(element) > 1 and parts.are_several(element[1]):
        raise SpecError(
            "class_weights are for a model with one output",
            found=f"targets of {len(element[1])} outputs",
            fix="leave them out, and set my_model.sample_weight, a dict of one array an output",
        )
    shown = training
    if training.is_stream:
        if not streams.has_one_target(training.x):
            return
        shown = Samples(*next(streams.batches(training.x, 1), (None, None)))
    y = shown.y
    if y is None or y.ndim != 2 or y.shape[1] < 2 or labels(shown) is not None:
        return
    odd = int(np.flatnonzero(~np.isclose(y.sum(axis=1, dtype=np.float64), 1.0, rtol=0.0, atol=0.01))[0])
    raise SpecError(
        "class_weights need one class a sample",
        found=f"sample {odd} has the labels {np.array2string(y[odd], threshold=8, separator=', ')}",
        fix="leave them out, and set my_model.sample_weight, one weight a sample, as the loader can work them out",
    )


def _balanced(ids: Any) -> dict[int, float]:
    if ids is None:
        raise SpecError(
            "class_weights = 'balanced' needs the class of each training sample",
            found="a stream, or targets that are no classes",
            fix="give the weights as a dict, or let the data loader fill my_model.class_counts['training']",
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
