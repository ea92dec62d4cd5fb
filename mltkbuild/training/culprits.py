"""Which part of a model fails in a step of Keras': the metric, the loss or the layer, and what it was given."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras

from mltkbuild import keras_words
from mltkbuild.errors import SpecError

_GRAPH = "Graph execution error"


@contextmanager
def whole_tracebacks() -> Iterator[None]:
    """Let Keras keep its own frames in what it raises, while this goes on."""
    filtered = keras.config.is_traceback_filtering_enabled()
    keras.config.disable_traceback_filtering()
    try:
        yield
    finally:
        if filtered:
            keras.config.enable_traceback_filtering()


def is_of_graph(error: BaseException) -> bool:
    """Whether it was raised while a graph ran, where no Python frame is."""
    return _GRAPH in str(error)


def of(error: BaseException, label: Callable[[str], str | None]) -> SpecError | None:
    """The error that names the part which fails.

    Args:
        error: What was raised with whole tracebacks.
        label: Gives the workspace's name for a file of the spec's code.

    Returns:
        None where code of the spec fails, whose own frames tell more, or no part is found.
    """
    unknown = keras_words.unknown_name(str(error))
    if unknown is not None:
        return SpecError(unknown.what, found=unknown.found, fix=unknown.fix)
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    for frame in reversed(frames):
        if label(frame.f_code.co_filename) is not None:
            return None
        part = frame.f_locals.get("self")
        kind = _kind(part)
        if part is not None and kind:
            return _told(error, part, kind, frame.f_locals)
    return None


def _kind(part: Any) -> str:
    kinds = {keras.metrics.Metric: "metric", keras.losses.Loss: "loss", keras.layers.Layer: "layer"}
    # A model is a layer, too, and all that fails does so within one.
    return next(
        (name for kind, name in kinds.items() if isinstance(part, kind) and not isinstance(part, keras.Model)), ""
    )


def _told(error: BaseException, part: Any, kind: str, values: dict[str, Any]) -> SpecError:
    shapes = {words: _shape(values.get(name)) for name, words in (("y_true", "labels"), ("y_pred", "answers"))}
    given = ", ".join(f"{words} of shape {shape}" for words, shape in shapes.items() if shape is not None)
    said = keras_words.gist(str(error))[:300] or type(error).__name__
    fixes = {
        "metric": f"take {part.name} out of the metrics in compile, or give labels of the form that it takes",
        "loss": "give labels of the form that the loss takes, or another loss",
        "layer": "give the layer an input that it takes",
    }
    return SpecError(
        f"the first training step fails in the {kind} {part.name}",
        found=f"{said}; {given}" if given else said,
        fix=fixes[kind],
    )


def _shape(value: Any) -> tuple[Any, ...] | None:
    shape = getattr(value, "shape", None)
    return None if shape is None else tuple(shape)
