"""Samples in the structure of a model's inputs and outputs, which Keras would else take in an order of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from mltkbuild.data import parts, streams
from mltkbuild.data.samples import Samples
from mltkbuild.tflite import ports


def fitted(keras_model: Any, samples: Samples) -> Samples:
    """Give samples whose arrays are those of the model's inputs and outputs, in its structure.

    Args:
        keras_model: The model.
        samples: Arrays or a stream; one array, several in order, or by the names of inputs and outputs.

    Raises:
        DataError: They don't fit the model; of a stream as far as it tells what it is made of.
    """
    if not ports.are_told(keras_model):
        return samples
    if samples.is_stream:
        return replace(samples, x=_fitted_stream(keras_model, samples.x))
    y, weight = samples.y, samples.weight
    return Samples(
        ports.as_taken(keras_model, samples.x),
        None if y is None else ports.as_compared(keras_model, y),
        ports.as_compared(keras_model, weight) if parts.are_several(weight) else weight,
    )


def _fitted_stream(keras_model: Any, stream: Any) -> Any:
    def fit(x: Any, y: Any = None, weight: Any = None) -> tuple[Any, ...]:
        x = ports.as_taken(keras_model, x)
        if y is None:
            return (x,)
        y = ports.as_compared(keras_model, y)
        if weight is None:
            return x, y
        return x, y, ports.as_compared(keras_model, weight) if parts.are_several(weight) else weight

    element = streams.element_of(stream)
    several = isinstance(element, tuple | list) and any(map(parts.are_several, element))
    if not several and not ports.are_several(keras_model):
        return stream
    return streams.restructured(stream, fit)
