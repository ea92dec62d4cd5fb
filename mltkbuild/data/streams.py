"""Streams of batches, a `tf.data.Dataset`, a `keras.utils.PyDataset` or a generator."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import islice
from types import GeneratorType
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.errors import DataError

_ENDLESS = -1
_UNKNOWN = -2
# What opens files: operations, and the classes of data sets.
_READERS = ("ReadFile", "TFRecordDataset", "TextLineDataset", "FixedLengthRecordDataset", "CsvDataset", "SqlDataset")


def is_dataset(value: object) -> bool:
    """Say whether a value is a `tf.data.Dataset`."""
    return hasattr(value, "element_spec") and hasattr(value, "cardinality")


def is_py_dataset(value: object) -> bool:
    """Say whether a value is a `keras.utils.PyDataset`."""
    return hasattr(type(value), "num_batches") and hasattr(type(value), "__getitem__")


def check(stream: object, subset: str) -> None:
    """Raise a DataError for what Keras doesn't read.

    Args:
        stream: What the data loader gave in place of arrays.
        subset: The subset's name, for the error.
    """
    if is_dataset(stream) or is_py_dataset(stream) or isinstance(stream, GeneratorType):
        return
    fix = "return arrays, a tf.data.Dataset or a keras.utils.PyDataset"
    if hasattr(stream, "__next__"):
        raise DataError(
            f"the {subset} data comes from an iterator, which Keras doesn't take",
            found=f"a {type(stream).__name__}",
            fix=f"{fix}; tf.data.Dataset.from_generator takes the function that makes the generator",
        )
    raise DataError(f"x of the {subset} data is no array and no stream", found=f"a {type(stream).__name__}", fix=fix)


def is_endless(stream: Any) -> bool:
    """Say whether a stream is known to go on for ever."""
    return _cardinality(stream) == _ENDLESS


def length(stream: Any) -> int | None:
    """How many batches a stream has; None when it doesn't know or has no end."""
    count = _cardinality(stream)
    return count if count >= 0 else None


def _cardinality(stream: Any) -> int:
    if is_dataset(stream):
        return int(stream.cardinality())
    if isinstance(stream, GeneratorType):
        # Nobody knows where it ends, and it begins only once: the spec says how many batches make an epoch.
        return _ENDLESS
    try:
        count = stream.num_batches
    except NotImplementedError:
        # Keras raises it for a PyDataset that has neither `num_batches` nor `__len__`.
        return _UNKNOWN
    return _ENDLESS if count is None else int(count)


def files_of(stream: Any) -> list[str]:
    """The files that a `tf.data.Dataset` names, which TensorFlow opens by itself: its texts that are paths of files.

    `image_dataset_from_directory`, `list_files`, `TFRecordDataset` and their like keep the paths in such texts.

    Args:
        stream: A `tf.data.Dataset`; other streams have none.
    """
    found: dict[str, None] = {}
    for node in _nodes(stream) if is_dataset(stream) else ():
        for tensor in (*(getattr(node, "_tensors", None) or ()), getattr(node, "_filenames", None)):
            if getattr(getattr(tensor, "dtype", None), "name", "") == "string" and hasattr(tensor, "numpy"):
                found.update(dict.fromkeys(os.fsdecode(text) for text in np.ravel(tensor.numpy())))
        kept = getattr(node, "_path", None)
        if isinstance(kept, str | bytes | os.PathLike):
            # What `Dataset.save` has made.
            folders = os.walk(os.fsdecode(kept))
            found.update(dict.fromkeys(os.path.join(folder, name) for folder, _, names in folders for name in names))
    return [path for path in found if os.path.isfile(path)]


def opens_files(stream: Any) -> bool:
    """Whether TensorFlow opens files by itself where a `tf.data.Dataset` reads them."""
    for node in _nodes(stream) if is_dataset(stream) else ():
        called = (part.function.graph.get_operations() for part in node._functions())
        kinds = [type(node).__name__, *(operation.type for operations in called for operation in operations)]
        if any(kind.startswith(_READERS) for kind in kinds):
            return True
    return False


def has_processes(stream: Any) -> bool:
    """Whether Keras reads a `keras.utils.PyDataset` in processes of its own."""
    return is_py_dataset(stream) and bool(getattr(stream, "use_multiprocessing", False)) and stream.workers > 0


def has_targets(stream: Any) -> bool:
    """Whether a `tf.data.Dataset` yields `(x, y)` with one array as y, or a tuple or dict of them."""
    element = stream.element_spec if is_dataset(stream) else ()
    targets = parts.by_name(element[1]).values() if isinstance(element, tuple) and len(element) > 1 else ()
    return bool(targets) and all(hasattr(part, "shape") for part in targets)


def has_one_target(stream: Any) -> bool:
    """Whether a `tf.data.Dataset` yields `(x, y)` with one array as y."""
    return has_targets(stream) and not parts.are_several(stream.element_spec[1])


def _nodes(stream: Any) -> Iterator[Any]:
    """A `tf.data.Dataset` and all that it is made of."""
    waiting = [stream]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += node._inputs()
        waiting += [part for part in [getattr(node, "_filenames", None)] if is_dataset(part)]


def first(stream: Any, count: int) -> Any:
    """A stream of the same kind with the first batches alone."""
    if isinstance(stream, GeneratorType):
        return (batch for batch in islice(stream, count))
    return stream.take(count) if is_dataset(stream) else _first_of_py_dataset(stream, count)


def _first_of_py_dataset(stream: Any, count: int) -> Any:
    import keras

    length = _cardinality(stream)

    class First(keras.utils.PyDataset):
        def __len__(self) -> int:
            return count if length < 0 else min(count, length)

        def __getitem__(self, index: int) -> Any:
            return stream[index]

        def on_epoch_begin(self) -> None:
            stream.on_epoch_begin()

        def on_epoch_end(self) -> None:
            stream.on_epoch_end()

    return First()


def restructured(stream: Any, function: Callable[..., Any]) -> Any:
    """A stream of the same kind of what a function makes of each element's parts.

    Args:
        stream: Yields tuples.
        function: Takes the parts of an element, and gives one.
    """
    if is_dataset(stream):
        # What is made of parts is no more than another order of them, which needs no translation.
        import tensorflow as tf

        return stream.map(tf.autograph.experimental.do_not_convert(function))
    if isinstance(stream, GeneratorType):
        return (function(*element) for element in stream)
    return _restructured_py_dataset(stream, function)


def _restructured_py_dataset(stream: Any, function: Callable[..., Any]) -> Any:
    import keras

    class Restructured(keras.utils.PyDataset):
        def __init__(self) -> None:
            super().__init__(stream.workers, stream.use_multiprocessing, stream.max_queue_size)

        @property
        def num_batches(self) -> int | None:
            found: int | None = stream.num_batches
            return found

        def __getitem__(self, index: int) -> Any:
            return function(*stream[index])

        def on_epoch_begin(self) -> None:
            stream.on_epoch_begin()

        def on_epoch_end(self) -> None:
            stream.on_epoch_end()

    return Restructured()


def element_of(stream: Any) -> Any:
    """What one element of a stream is made of, without its values: None for a generator, which begins only once."""
    if is_dataset(stream):
        return stream.element_spec
    return stream[0] if is_py_dataset(stream) else None


def batches(stream: Any, limit: int | None = None, *, labels: bool = True) -> Iterator[tuple[Any, Any]]:
    """The batches `(x, y)` of a stream as arrays; y is None without labels, weights are left out.

    Args:
        stream: Yields `x`, `(x, y)` or `(x, y, weight)`, where x and y may be tuples or dicts of arrays.
        limit: How many batches to read; None for all.
        labels: Whether labels are wanted; without them they may have any form.

    Raises:
        DataError: An element is no batch of arrays.
    """
    for item in islice(stream, limit):
        element = item if isinstance(item, tuple | list) else (item,)
        x = _structure("x", element[0])
        y = _structure("y", element[1]) if labels and len(element) > 1 else None
        _check_batch({"x": x} if y is None else {"x": x, "y": y})
        yield x, y


def _structure(what: str, value: Any) -> Any:
    """One array, or a tuple or dict of them."""
    if any(map(parts.are_several, parts.by_name(value).values())):
        raise DataError(
            "the data loader's stream nests arrays",
            found=f"{what} is a {type(value).__name__} that holds another",
            fix="yield one array, a tuple of arrays, or a dict of arrays",
        )
    return parts.mapped(np.asarray, value)


def _check_batch(given: Mapping[str, Any]) -> None:
    """The first axis of each array counts the samples of the batch."""
    arrays = {
        parts.called(what, name): array for what, value in given.items() for name, array in parts.by_name(value).items()
    }
    counts = {array.shape[:1] for array in arrays.values()}
    if len(counts) == 1 and () not in counts:
        return
    raise DataError(
        "the data loader's stream doesn't give batches",
        found=", ".join(f"{name} of shape {array.shape}" for name, array in arrays.items()),
        fix="yield (x, y) whose first axes count the samples: call .batch(my_model.batch_size) on a dataset",
    )
