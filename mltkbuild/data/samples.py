"""Samples in memory or as a stream: what a data loader gave, checked, described, cut down for a dry run."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from mltkbuild.errors import DataError

TEST_SAMPLES_PER_CLASS = 10
TEST_SAMPLES = 64
TEST_BATCHES = 3


@dataclass(frozen=True)
class Samples:
    """One subset of a data set.

    Args:
        x: An array whose first axis counts the samples; or a stream: a `tf.data.Dataset`, a `keras.utils.PyDataset`,
            or an iterable of batches `x`, `(x, y)` or `(x, y, weight)`.
        y: Labels or target values, one a sample; None for a stream or for data without labels.
        weight: How much each sample weighs in the loss; None for all the same.
    """

    x: Any
    y: Any = None
    weight: Any = None

    @property
    def is_stream(self) -> bool:
        """True when the samples come in batches of the loader's own making."""
        return not hasattr(self.x, "shape")

    def __len__(self) -> int:
        """The number of samples in memory."""
        return int(self.x.shape[0])


def as_samples(x: object, y: object = None, weight: object = None) -> Samples:
    """Turn what a loader gave into Samples: lists become arrays, arrays and streams stay."""
    def array(value: Any) -> Any:
        if isinstance(value, list | tuple) or (hasattr(value, "__array__") and not hasattr(value, "element_spec")):
            try:
                return np.asarray(value)
            except ValueError as error:
                raise DataError(
                    "the samples don't all have one shape", found=str(error), fix="pad or crop them to one shape"
                ) from error
        return value

    return Samples(array(x), array(y), array(weight))


def split_validation(samples: Samples, fraction: float) -> tuple[Samples, Samples | None]:
    """Keep the last part of the samples for validation, as Keras' `validation_split` does."""
    if not fraction or samples.is_stream:
        return samples, None
    cut = int(len(samples) * (1.0 - fraction))
    return _part(samples, slice(0, cut)), _part(samples, slice(cut, None))


def _part(samples: Samples, index: Any) -> Samples:
    def pick(value: Any) -> Any:
        return None if value is None else value[index]

    return Samples(pick(samples.x), pick(samples.y), pick(samples.weight))


def check(samples: Samples, subset: str, classes: Sequence[str] | None) -> None:
    """Raise a DataError for samples that can't be trained on or evaluated.

    Args:
        samples: The samples; a stream is only checked while it is read.
        subset: The subset's name, for the error.
        classes: The class labels of a classifier; None for other models.
    """
    if samples.is_stream:
        return
    if samples.x.ndim == 0 or len(samples) == 0:
        raise DataError(f"the {subset} data has no samples", found=f"x of shape {samples.x.shape}")
    for name, value in (("y", samples.y), ("sample_weight", samples.weight)):
        if value is not None and (getattr(value, "ndim", 0) == 0 or len(value) != len(samples)):
            raise DataError(
                f"x and {name} of the {subset} data differ in length",
                found=f"{len(samples)} samples, {name} of shape {getattr(value, 'shape', '?')}",
                fix=f"give one entry of {name} for each sample",
            )
    for name, value in (("x", samples.x), ("y", samples.y), ("sample_weight", samples.weight)):
        if value is not None and np.issubdtype(value.dtype, np.inexact) and not np.isfinite(value).all():
            first = int(np.argwhere(~np.isfinite(value))[0][0])
            raise DataError(
                f"{name} of the {subset} data holds a value that is no finite number",
                found=f"{int((~np.isfinite(value)).sum())} such values, the first in sample {first}",
                fix="remove or replace NaN and infinity in the data loader",
            )
        if value is not None and value.dtype == object:
            raise DataError(
                f"{name} of the {subset} data is no array of numbers",
                found=f"an array of Python objects of shape {value.shape}",
                fix="bring all samples to one shape and one number type",
            )
    if classes is not None and samples.y is not None:
        _check_labels(samples.y, subset, classes)


def _check_labels(y: Any, subset: str, classes: Sequence[str]) -> None:
    """Labels are class ids from 0 on, or one-hot rows."""
    n = len(classes)
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
        first = int(np.argwhere(wrong)[0][0])
        raise DataError(
            f"y of the {subset} data has labels outside the classes",
            found=f"{y.reshape(-1)[first]} in sample {first}, with {n} classes",
            fix=f"use whole numbers from 0 to {n - 1}, or one-hot rows of {n} numbers",
        )


def labels(samples: Samples) -> Any:
    """The class id of each sample in memory, from ids or one-hot rows; None without such labels."""
    y = samples.y
    if samples.is_stream or y is None:
        return None
    if y.ndim == 2 and y.shape[1] > 1:
        return y.argmax(axis=1)
    if y.ndim > 2 or (y.ndim == 2 and y.shape[1] == 0):
        return None
    flat = y.reshape(len(samples))
    return flat.astype(np.int64) if np.array_equal(flat, np.floor(flat)) else None


def small(samples: Samples, classes: Sequence[str] | None) -> Samples:
    """The few samples of a dry run: the first ones of each class, in their order; a stream's first batches."""
    if samples.is_stream:
        return replace(samples, x=samples.x.take(TEST_BATCHES)) if hasattr(samples.x, "take") else samples
    ids = labels(samples) if classes is not None else None
    if ids is None:
        return _part(samples, slice(0, TEST_SAMPLES))
    picked = [np.flatnonzero(ids == label)[:TEST_SAMPLES_PER_CLASS] for label in range(len(classes or ()))]
    return _part(samples, np.sort(np.concatenate(picked)))


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
    description: dict[str, Any] = {
        "kind": "arrays",
        "samples": len(samples),
        "x": f"{samples.x.dtype} {tuple(samples.x.shape)}",
        "digest": content_digest(samples),
    }
    if samples.y is not None:
        description["y"] = f"{samples.y.dtype} {tuple(samples.y.shape)}"
    ids = labels(samples) if classes is not None else None
    if ids is not None:
        description["classes"] = {label: int((ids == number).sum()) for number, label in enumerate(classes or ())}
    return description


def content_digest(samples: Samples) -> str:
    """SHA-256 over types, shapes and bytes of the arrays."""
    digest = hashlib.sha256()
    for name, value in (("x", samples.x), ("y", samples.y), ("weight", samples.weight)):
        if value is not None:
            digest.update(f"{name} {value.dtype.str} {value.shape}\n".encode())
            digest.update(np.ascontiguousarray(value).data)
    return digest.hexdigest()


def batches(samples: Samples, limit: int | None = None) -> Iterator[tuple[Any, Any]]:
    """The batches `(x, y)` of a stream as arrays; at most `limit` of them."""
    source = samples.x
    if hasattr(source, "__getitem__") and hasattr(source, "__len__"):
        source = (samples.x[number] for number in range(len(samples.x)))
    for number, batch in enumerate(source):
        if limit is not None and number >= limit:
            return
        parts = batch if isinstance(batch, tuple | list) else (batch,)
        yield np.asarray(parts[0]), np.asarray(parts[1]) if len(parts) > 1 else None


def in_memory(samples: Samples, limit: int | None = None) -> Samples:
    """A stream's samples as arrays; samples in memory stay."""
    if not samples.is_stream:
        return samples
    xs, ys = [], []
    for x, y in batches(samples, limit):
        xs.append(x)
        ys.append(y)
    if not xs:
        raise DataError("the data loader's stream gave no batch", found=type(samples.x).__name__)
    return Samples(np.concatenate(xs), None if ys[0] is None else np.concatenate(ys))


def calibration_samples(samples: Samples, limit: int, classes: Sequence[str] | None) -> Any:
    """The samples that set the int8 ranges: evenly from each class, at most `limit`, in their order.

    Returns:
        A float32 array of shape (n, *input_shape).
    """
    if samples.is_stream:
        samples = _first_samples(samples, limit)
    ids = labels(samples) if classes is not None else None
    if ids is None or len(samples) <= limit:
        return samples.x[:limit].astype(np.float32)
    # The k-th sample of every class comes before the (k+1)-th of any.
    rank = np.empty(len(ids), np.int64)
    for label in np.unique(ids):
        members = np.flatnonzero(ids == label)
        rank[members] = np.arange(len(members))
    picked = np.sort(np.lexsort((np.arange(len(ids)), rank))[:limit])
    return samples.x[picked].astype(np.float32)


def _first_samples(samples: Samples, limit: int) -> Samples:
    """As many of a stream's first samples as are asked for."""
    xs: list[Any] = []
    ys: list[Any] = []
    for x, y in batches(samples):
        xs.append(x)
        ys.append(y)
        if sum(map(len, xs)) >= limit:
            break
    if not xs:
        raise DataError("the data loader's stream gave no batch", found=type(samples.x).__name__)
    return Samples(np.concatenate(xs)[:limit], None if ys[0] is None else np.concatenate(ys)[:limit])
