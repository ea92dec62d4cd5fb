"""The saved model is the trained one: loaded again, it answers as the one that was trained."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from types import GeneratorType
from typing import Any

import numpy as np

from mltkbuild import keras_private
from mltkbuild.data import samples as data
from mltkbuild.data import streams
from mltkbuild.errors import StageError

ROWS = 8
"""So many samples are compared."""
TOLERANCE = 1e-6
"""Of the largest value: float32 holds no more, and equal operations on equal weights give equal bits."""
_REFUSALS = (ValueError, TypeError, AttributeError, RuntimeError, ArithmeticError, LookupError)
_PLAIN = (int, float, str, bool, type(None), np.ndarray, np.generic)


def require_equal(trained: Any, load: Callable[[], Any], samples: data.Samples, where: str | None) -> str | None:
    """Compare a trained model with the one that its file holds, on real samples.

    Args:
        trained: The model that was saved.
        load: Loads what was saved.
        samples: What it was trained on; a few are read.
        where: The place of the function that built it.

    Returns:
        One line where they can't be compared; None when they are equal.

    Raises:
        StageError: They answer otherwise; names the layer.
    """
    loaded = load()
    x = _few(samples)
    if x is None:
        return "the saved model was not compared with the trained one: the generator has no sample left"
    try:
        expected = _answers(trained, x)
        again = _answers(trained, x)
    except _REFUSALS as error:
        # A model that a function of the spec has put in the trained one's place takes what it takes.
        return f"the saved model was not compared with the trained one: {type(error).__name__} on a training sample"
    if not _are_equal(expected, again):
        return "the saved model was not compared with the trained one, which answers otherwise each time"
    found = _answers(loaded, x)
    if _are_equal(expected, found):
        return None
    told, fix = _culprit(trained, loaded, x)
    raise StageError(
        "the saved model doesn't answer as the trained one does",
        where=where,
        found=f"{told}; answers to the same samples differ {_how_far(expected, found)}",
        fix=fix,
    )


def _how_far(expected: list[np.ndarray], found: list[np.ndarray]) -> str:
    shapes = [[answer.shape for answer in answers] for answers in (expected, found)]
    if shapes[0] != shapes[1]:
        return f"in shape: {shapes[0]} and {shapes[1]}"
    difference = max(float(np.abs(one - other).max(initial=0)) for one, other in zip(expected, found, strict=True))
    return f"by up to {difference:.3g}"


def _few(samples: data.Samples) -> Any:
    """The first samples as the model takes them: an array, or several in the loader's structure; None without any."""
    import keras

    if not samples.is_stream:
        return data.finished(samples.part(slice(0, ROWS))).x
    stream = samples.x
    if streams.is_py_dataset(stream):
        element = stream[0]
    else:
        element = next(stream if isinstance(stream, GeneratorType) else iter(islice(stream, 1)), None)
    x = element[0] if isinstance(element, tuple | list) else element
    return None if x is None else keras.tree.map_structure(lambda part: np.asarray(part)[:ROWS], x)


def _answers(model: Any, x: Any) -> list[np.ndarray]:
    import keras

    parts = keras.tree.flatten(model(x, training=False))
    return [np.asarray(keras.ops.convert_to_numpy(part), np.float64) for part in parts]


def _are_equal(one: list[np.ndarray], other: list[np.ndarray]) -> bool:
    return len(one) == len(other) and all(
        first.shape == second.shape
        and np.allclose(first, second, rtol=0, atol=TOLERANCE * float(np.abs(first).max(initial=0)), equal_nan=True)
        for first, second in zip(one, other, strict=True)
    )


def _culprit(trained: Any, loaded: Any, x: Any) -> tuple[str, str]:
    """Which layer has lost something, and what to do."""
    pairs = list(zip(keras_private.layers(trained), keras_private.layers(loaded), strict=False))
    for layer, other in pairs:
        for name, mine, theirs in _lost(layer, other):
            kind = type(layer).__name__
            told = f"{name} of the layer {layer.name} ({kind}) was {_short(mine)}, and is {_short(theirs)} when loaded"
            return told, f"return {name} from {kind}.get_config, and take it in __init__"
    for layer, _ in pairs:
        if _differs(trained, loaded, layer.name, x):
            kind = type(layer).__name__
            told = f"the layer {layer.name} ({kind}) is the first that answers otherwise"
            return told, f"let {kind}.get_config return all that __init__ takes, and add_weight make what it keeps"
    return "no layer shows it", "let get_config of the spec's own layers and models return all that __init__ takes"


def _lost(layer: Any, other: Any) -> Iterator[tuple[str, Any, Any]]:
    """Plain attributes that aren't what they were, with both values."""
    mine, theirs = keras_private.attributes(layer), keras_private.attributes(other)
    for name, value in mine.items():
        kept = theirs.get(name)
        if name.startswith("_") or not isinstance(value, _PLAIN):
            continue
        if name not in theirs or not isinstance(kept, _PLAIN) or not np.array_equal(np.array(value), np.array(kept)):
            yield name, value, kept


def _differs(trained: Any, loaded: Any, name: str, x: Any) -> bool:
    """Whether the output of one layer isn't what it was, as far as the network is one of layers."""
    import keras

    try:
        parts = [keras.Model(model.inputs, model.get_layer(name).output) for model in (trained, loaded)]
        return not _are_equal(*(_answers(part, x) for part in parts))
    except (AttributeError, ValueError):  # a layer within a layer, or a model of the spec's own class
        return False


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."
