"""Samples in memory or as a stream: what a data loader gave, checked, described, cut down for a dry run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mltkbuild.data import parts, streams
from mltkbuild.data.lazy import LazyRows
from mltkbuild.errors import DataError

TEST_SAMPLES_PER_CLASS = 10
TEST_SAMPLES = 64
TEST_BATCHES = 3


@dataclass(frozen=True)
class Samples:
    """One subset of a data set.

    Args:
        x: An array whose first axis counts the samples, or for several inputs a tuple or dict of them; or a stream, a
            `tf.data.Dataset` or `keras.utils.PyDataset` of batches `x`, `(x, y)` or `(x, y, weight)`.
        y: Labels or target values, one a sample, for several outputs a tuple or dict of them; None for a stream or for
            data without labels.
        weight: How much each sample weighs in the loss, for several outputs one array for all or one for each; None
            for all the same.
    """

    x: Any
    y: Any = None
    weight: Any = None

    @property
    def is_stream(self) -> bool:
        """True when the samples come in batches of the loader's own making."""
        several = parts.are_several(self.x) and len(self.x) > 0
        return not (several or isinstance(self.x, np.ndarray | LazyRows))

    def __len__(self) -> int:
        """The number of samples in memory."""
        return int(parts.first_of(self.x).shape[0])

    def part(self, index: Any) -> Samples:
        """Some of the samples, by a slice or by their numbers."""
        picked = [parts.mapped(lambda array: array[index], value) for value in (self.x, self.y, self.weight)]
        # What an auto-encoder is to give back stays what it is given.
        return Samples(picked[0], picked[0] if self.y is self.x else picked[1], picked[2])

    @property
    def arrays(self) -> dict[str, Any]:
        """All arrays as people call them: `x`, of several `x[0]` or `x['left']`; `y` and `sample_weight` likewise."""
        given = (("x", self.x), ("y", self.y), ("sample_weight", self.weight))
        return {
            parts.called(what, name): array
            for what, value in given
            if value is not None
            for name, array in parts.by_name(value).items()
        }


def as_samples(x: Any, y: Any = None, weight: Any = None) -> Samples:
    """Turn what a loader gave into Samples: lists, tensors and tables become arrays; arrays and streams stay.

    Raises:
        DataError: The samples differ in shape.
    """
    return Samples(*map(_arrays, (parts.as_parts(x, y), parts.as_parts(y, x), parts.as_parts(weight, x))))


def _arrays(value: Any) -> Any:
    """One array, or several in a tuple or dict."""
    if isinstance(value, dict) or (isinstance(value, tuple) and all(hasattr(part, "__array__") for part in value)):
        return parts.mapped(_array, value)
    return _array(value)


def _array(value: Any) -> Any:
    if not isinstance(value, list | tuple) and (not hasattr(value, "__array__") or streams.is_dataset(value)):
        return value
    try:
        return np.asarray(value)
    except ValueError as error:
        raise DataError(
            "the samples don't all have one shape", found=str(error), fix="pad or crop them to one shape"
        ) from error


def split_validation(
    samples: Samples, fraction: float, *, stratify: bool = False, seed: int | None = None
) -> tuple[Samples, Samples | None]:
    """Keep a part of the samples for validation.

    Args:
        samples: The samples.
        fraction: Which part; 0 for none.
        stratify: Whether it is that part of each class.
        seed: Draws the samples; None takes the last ones, as Keras' `validation_split` does.

    Returns:
        The samples to train on and those for validation, both in the order that they had.

    Raises:
        DataError: The samples are a stream, one of the parts would be empty, or they have no class.
    """
    if not fraction:
        return samples, None
    if samples.is_stream:
        raise DataError(
            "validation_split needs samples in memory",
            found=f"validation_split = {fraction} and a {type(samples.x).__name__}",
            fix="return (x, None, validation_data) from the data loader, with a stream of its own for validation",
        )
    cut = int(len(samples) * (1.0 - fraction))
    if cut in (0, len(samples)):
        raise DataError(
            f"validation_split leaves no sample for {'validation' if cut else 'training'}",
            found=f"{len(samples)} samples, validation_split = {fraction}",
            fix="give more samples, or another validation_split",
        )
    if not stratify and seed is None:
        return samples.part(slice(0, cut)), samples.part(slice(cut, None))
    rng = None if seed is None else np.random.default_rng(seed)
    held = np.zeros(len(samples), bool)
    for members in _groups(samples) if stratify else [np.arange(len(samples))]:
        order = members if rng is None else rng.permutation(members)
        # One sample of each class at least is trained on.
        count = min(round(len(order) * fraction), len(order) - 1) if stratify else len(order) - cut
        held[order[len(order) - count :]] = True
    if not held.any():
        raise DataError(
            "validation_split leaves no sample of any class for validation",
            found=f"{len(samples)} samples, validation_split = {fraction}",
            fix="give more samples, or another validation_split",
        )
    return samples.part(~held), samples.part(held)


def _groups(samples: Samples) -> list[np.ndarray]:
    """The numbers of the samples of each class."""
    ids = labels(samples)
    if ids is None:
        raise DataError(
            "validation_stratify needs the class of each sample",
            found="labels that are no class ids or one-hot rows",
            fix="leave it out, and set my_model.validation_split_seed to draw the samples",
        )
    return [np.flatnonzero(ids == label) for label in np.unique(ids)]


def head(samples: Samples, count: int) -> Samples:
    """The first samples; a stream as it is."""
    return samples if samples.is_stream else samples.part(slice(0, count))


def check(samples: Samples, subset: str, classes: Sequence[str] | None) -> None:
    """Raise a DataError for samples that can't be trained on or evaluated.

    Args:
        samples: The samples; the batches of a stream are only checked where they are read.
        subset: The subset's name, for the error.
        classes: The class labels of a classifier; None for other models.
    """
    if samples.is_stream:
        streams.check(samples.x, subset)
        if samples.y is not None or samples.weight is not None:
            raise DataError(
                f"the {subset} data has y or sample_weight beside a stream",
                found=f"x is a {type(samples.x).__name__}",
                fix="let the stream yield (x, y) or (x, y, weight)",
            )
        return
    arrays = samples.arrays
    for name, value in arrays.items():
        _check_numbers(name, value, subset)
    first = next(iter(arrays))
    for name, value in arrays.items():
        if len(value) != len(samples):
            raise DataError(
                f"{first} and {name} of the {subset} data differ in length",
                found=f"{len(samples)} samples, {name} of shape {value.shape}",
                fix=f"give one entry of {name} for each sample",
            )
    # Which of several outputs the classes are of, the model will tell.
    if classes is not None and not parts.are_several(samples.y):
        _check_labels(samples.y, subset, classes)


def _check_numbers(name: str, value: Any, subset: str) -> None:
    """Every array holds finite numbers, and its first axis counts the samples."""
    if not isinstance(value, np.ndarray):
        raise DataError(
            f"{name} of the {subset} data is no array", found=f"a {type(value).__name__}", fix="return a NumPy array"
        )
    if value.dtype.kind not in "biuf":
        ids = "the position of each label in my_model.classes"
        raise DataError(
            f"{name} of the {subset} data is no array of numbers",
            found=f"an array of type {value.dtype} and shape {value.shape}",
            fix=f"give class ids: {ids}"
            if name.startswith("y")
            else "bring all samples to one shape and one number type",
        )
    if value.size == 0 or value.ndim == 0:
        what = "samples" if value.ndim == 0 or len(value) == 0 else f"values in {name}"
        raise DataError(f"the {subset} data has no {what}", found=f"{name} of shape {value.shape}")
    if value.dtype.kind == "f" and not (finite := np.isfinite(value)).all():
        raise DataError(
            f"{name} of the {subset} data holds a value that is no finite number",
            found=f"{int((~finite).sum())} such values, the first in sample {np.argwhere(~finite)[0][0]}",
            fix="remove or replace NaN and infinity in the data loader",
        )


def _check_labels(y: Any, subset: str, classes: Sequence[str]) -> None:
    """Labels are class ids from 0 on, or one-hot rows."""
    n = len(classes)
    if y is None:
        raise DataError(f"the {subset} data has no labels", found=f"x without y, for {n} classes", fix="return (x, y)")
    if y.ndim == 2 and y.shape[1] > 1:
        if y.shape[1] != n:
            raise DataError(
                f"y of the {subset} data has a column for each of {y.shape[1]} classes, but the model has {n}",
                found=f"y of shape {y.shape}, classes {list(classes)}"[:200],
                fix="make the columns and my_model.classes agree",
            )
        return
    wrong = (y < 0) | (y >= n) | (y != np.floor(y))
    if wrong.any():
        place = tuple(np.argwhere(wrong)[0])
        raise DataError(
            f"y of the {subset} data has labels outside the classes",
            found=f"{y[place]} in sample {place[0]}, with {n} classes",
            fix=f"use whole numbers from 0 to {n - 1}, or one-hot rows of {n} numbers",
        )


def labels(samples: Samples) -> Any:
    """The class id of each sample in memory, from ids or one-hot rows; None without such labels, or for several y."""
    y = samples.y
    if samples.is_stream or y is None or parts.are_several(y) or y.ndim > 2:
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        # Several labels a sample, or several target values, name no class.
        one_hot = y.min() >= 0 and np.allclose(y.sum(axis=1, dtype=np.float64), 1.0, rtol=0.0, atol=0.01)
        return y.argmax(axis=1) if one_hot else None
    flat = y.reshape(len(samples))
    return flat.astype(np.int64) if np.array_equal(flat, np.floor(flat)) else None


def small(samples: Samples, classes: Sequence[str] | None) -> Samples:
    """The few samples of a dry run: the first ones of each class, in their order; a stream's first batches."""
    if samples.is_stream:
        return replace(samples, x=streams.first(samples.x, TEST_BATCHES))
    ids = labels(samples) if classes else None
    if ids is None:
        return samples.part(slice(0, TEST_SAMPLES))
    picked = [np.flatnonzero(ids == label)[:TEST_SAMPLES_PER_CLASS] for label in np.unique(ids)]
    return samples.part(np.sort(np.concatenate(picked)))


def describe(samples: Samples | None, classes: Sequence[str] | None, stream_digest: str) -> dict[str, Any]:
    """What later stages depend on: shape, type, counts and a digest of the content.

    Args:
        samples: The subset; None when the data set has none.
        classes: The class labels of a classifier.
        stream_digest: What stands for the content of a stream: the digest of the code and files that make it.
    """
    if samples is None:
        return {"kind": "none"}
    if samples.is_stream:
        spec = getattr(samples.x, "element_spec", None)
        return {"kind": "stream", "type": type(samples.x).__name__, "elements": str(spec), "digest": stream_digest}
    description: dict[str, Any] = {"kind": "arrays", "samples": len(samples), "digest": content_digest(samples)}
    for name, value in replace(samples, weight=None).arrays.items():
        description[name] = f"{value.dtype} {tuple(value.shape)}"
    ids = labels(samples) if classes is not None else None
    if ids is not None:
        description["classes"] = {label: int((ids == number).sum()) for number, label in enumerate(classes or ())}
    return description


def content_digest(samples: Samples) -> str:
    """SHA-256 over types, shapes and bytes of the arrays."""
    digest = hashlib.sha256()
    for name, value in samples.arrays.items():
        # Digests of weights were made under this name.
        what = name.removeprefix("sample_")
        if isinstance(value, LazyRows):
            digest.update(f"{what} {value.digest}\n".encode())
        else:
            digest.update(f"{what} {value.dtype.str} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def in_memory(samples: Samples, limit: int | None = None, *, labels: bool = True) -> Samples:
    """An evaluation stream's samples as arrays; samples in memory stay.

    Args:
        samples: The samples; a stream's weights get lost.
        limit: How many batches of a stream to read; None for all.
        labels: Whether a stream's labels are wanted, too.
    """
    if isinstance(samples.x, LazyRows):
        return finished(samples)
    if not samples.is_stream:
        return samples
    if limit is None and streams.is_endless(samples.x):
        raise DataError(
            "the evaluation data has no end",
            found=f"a {type(samples.x).__name__} that repeats",
            fix="set my_model.eval_steps_per_epoch to how many batches are evaluated",
        )
    return _collected(streams.batches(samples.x, limit, labels=labels), "evaluation")


def finished(samples: Samples, seed: int | None = None) -> Samples:
    """Samples in memory, with what is done to them on the fly done; streams stay.

    Args:
        samples: The samples.
        seed: The seed of random steps; None to leave these out.
    """
    x = samples.x
    if not isinstance(x, LazyRows):
        return samples
    array = np.asarray(x) if seed is None else x.drawn(seed)
    return replace(samples, x=array, y=array if samples.y is x else samples.y)


def _collected(batches: Iterable[tuple[Any, Any]], subset: str) -> Samples:
    found = [Samples(x, y) for x, y in batches]
    if not found:
        raise DataError(f"the stream of {subset} data gave no batch")
    try:
        collected = joined(found)
    except ValueError as error:
        raise DataError(
            f"the batches of the {subset} data don't fit together", found=str(error), fix="give all samples one shape"
        ) from error
    check(collected, subset, None)
    return collected


def joined(found: Sequence[Samples]) -> Samples:
    """Some samples behind each other, without weights; raises a ValueError where their shapes differ."""
    each = found[0]
    if len({tuple(part.arrays) for part in found}) > 1:
        raise ValueError(f"one has {', '.join(each.arrays)}, another {', '.join(found[-1].arrays)}")

    def pick(values: Sequence[Any]) -> Any:
        first = values[0]
        if first is None:
            return None
        if isinstance(first, dict):
            return {name: np.concatenate([value[name] for value in values]) for name in first}
        if isinstance(first, tuple):
            return tuple(np.concatenate(column) for column in zip(*values, strict=True))
        return np.concatenate(values)

    return Samples(pick([part.x for part in found]), pick([part.y for part in found]))


def calibration_samples(samples: Samples, limit: int, classes: Sequence[str] | None) -> Any:
    """The samples that set the int8 ranges, at most `limit`, in their order.

    Of a classifier's samples the first ones of each class, as many of each as there are; of other samples some from
    everywhere, for they may be sorted; of a stream the first.

    Returns:
        A float32 array of shape (n, *input_shape); for several inputs a tuple or dict of them.
    """
    if samples.is_stream:
        batches = streams.batches(samples.x, labels=False)
        samples = _collected(_until(batches, limit), "calibration").part(slice(0, limit))
    count = len(samples)
    if count <= limit:
        return parts.mapped(lambda array: array.astype(np.float32), samples.x)
    ids = labels(samples) if classes else None
    picked = np.arange(limit) * count // limit if ids is None else _evenly(ids, limit)
    return parts.mapped(lambda array: array[picked].astype(np.float32), samples.x)


def _evenly(ids: np.ndarray, limit: int) -> np.ndarray:
    """The numbers of the first samples of each class, as many of each as there are, in their order."""
    count = len(ids)
    # The k-th sample of every class comes before the (k+1)-th of any.
    rank = np.empty(count, np.int64)
    for label in np.unique(ids):
        members = np.flatnonzero(ids == label)
        rank[members] = np.arange(len(members))
    chosen: np.ndarray = np.sort(np.lexsort((np.arange(count), rank))[:limit])
    return chosen


def _until(batches: Iterator[tuple[Any, Any]], limit: int) -> Iterator[tuple[Any, Any]]:
    """The first batches that together hold as many samples as are asked for."""
    count = 0
    for x, y in batches:
        yield x, y
        count += len(parts.first_of(x))
        if count >= limit:
            return
