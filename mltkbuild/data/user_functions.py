"""Functions of the spec that get one sample after another: MLTK's and Keras' ways of calling them, seeded."""

from __future__ import annotations

import inspect
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mltkbuild.errors import DataError, SpecError

Function = Callable[..., Any]
# The generators of Python and NumPy belong to the whole process: one function at a time has them.
_turn = threading.RLock()
# What functions raised that TensorFlow called, which tells of it in an error of its own, as text.
_raised: list[BaseException] = []
_NAMES = ("filename", "batch_filenames", "batch_class_ids", "batch_index")


@dataclass
class ParallelProcessParams:
    """What a function of the spec gets as `params`, as MLTK's generators give it.

    Args:
        settings: The generator and what else MLTK's object has, by name.
    """

    settings: Mapping[str, Any] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        """One of the settings."""
        if name in self.settings:
            return self.settings[name]
        raise AttributeError(f"params has no {name}; it has {', '.join(self.settings)}")


@contextmanager
def called_by_graph() -> Iterator[None]:
    """Keep what is raised inside the block for `raised_in_graph`."""
    try:
        yield
    except BaseException as error:  # it may be anything, and goes on
        _raised.append(error)
        raise


def raised_in_graph() -> BaseException | None:
    """The first exception of a function that TensorFlow has called since this was asked last; None without one."""
    first = _raised[0] if _raised else None
    _raised.clear()
    return first


@contextmanager
def as_raised() -> Iterator[None]:
    """Raise what a function raised, where TensorFlow called it and only tells of it."""
    import tensorflow as tf

    raised_in_graph()
    try:
        yield
    except tf.errors.OpError as error:
        original = raised_in_graph()
        if original is None:
            raise
        raise original from error


def call(function: Function, params: ParallelProcessParams, x: np.ndarray, **offered: Any) -> np.ndarray:
    """Call a function with one sample.

    Args:
        function: Takes `(x)` or `(params, x)`, and any of `offered` by name.
        params: For the first argument of two.
        x: The sample.
        offered: Further arguments: `class_id`, and where it is known `filename`.

    Raises:
        SpecError: The function takes something that isn't known here.
    """
    taken = inspect.signature(function).parameters
    lacking = [name for name in _NAMES if name in taken and name not in offered]
    if lacking:
        raise SpecError(
            "a function takes what isn't known when it is called",
            found=f"{lacking[0]} of {getattr(function, '__name__', function)}",
            fix="use class_id, or do this in noaug_preprocessing_function, which takes filename",
        )
    x = np.array(x)  # a copy that the function may change
    given = {name: value for name, value in offered.items() if name in taken}
    others = [name for name in taken if name not in given]
    return np.asarray(function(x, **given) if len(others) == 1 else function(params, x, **given))


def call_seeded(
    function: Function, params: ParallelProcessParams, x: np.ndarray, seed: int, **offered: Any
) -> np.ndarray:
    """Call a function with one sample and with Python's and NumPy's generators set from a seed of 32 bits."""
    with _turn:
        before = random.getstate(), np.random.get_state()
        random.seed(seed)
        np.random.seed(seed)
        try:
            return call(function, params, x, **offered)
        finally:
            random.setstate(before[0])
            np.random.set_state(before[1])


def in_graph(  # noqa: PLR0913, PLR0917  # a batch, what belongs to it, and the function
    function: Function, params: ParallelProcessParams, x: Any, labels: Any, seeds: Any, shape: tuple[int, ...] | None
) -> Any:
    """Call a function for each sample of a batch, inside a TensorFlow graph.

    Args:
        function: The function.
        params: Its first argument.
        x: A tensor of shape (n, *sample).
        labels: An int64 tensor of shape (n,).
        seeds: An int32 tensor of shape (n,).
        shape: The shape of what it gives; None for that of `x`.

    Returns:
        A float32 tensor of shape (n, *shape).
    """
    import tensorflow as tf

    @called_by_graph()
    def each(batch: np.ndarray, ids: np.ndarray, bits: np.ndarray) -> np.ndarray:
        made = [
            call_seeded(function, params, row, int(seed) & 0xFFFFFFFF, class_id=int(label))
            for row, label, seed in zip(batch, ids, bits, strict=True)
        ]
        wanted = batch.shape[1:] if shape is None else shape
        for row in made:
            if row.shape != wanted and shape is not None:
                raise DataError(
                    f"{getattr(function, '__name__', 'the function')} gives another shape",
                    found=f"{row.shape}",
                    fix=f"return an array of shape {wanted}",
                )
        return np.stack(made).astype(np.float32)

    found = tf.numpy_function(each, [x, labels, seeds], tf.float32, stateful=False)
    found.set_shape((None, *shape) if shape is not None else x.shape)
    return found
