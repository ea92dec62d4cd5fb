"""Samples that are finished when they are asked for: rows as prepared, and what is done to them on the fly."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

_CHUNK = 256


class Transform(Protocol):
    """What turns prepared rows into what the model sees.

    Args:
        shape: The shape of one sample as the model sees it.
        draws: How many random numbers one sample takes; 0 for a transform without randomness.
        workers: How many batches are made at a time; None leaves that to TensorFlow.
    """

    shape: tuple[int, ...]
    draws: int
    workers: int | None

    def batch(self, rows: Any, labels: Any, draws: Any) -> Any:
        """Finish a batch, by TensorFlow's operations.

        Args:
            rows: A tensor of shape (n, *row_shape); for rows of several lengths a `tf.RaggedTensor` of 2 dimensions.
            labels: An int64 tensor of shape (n,): class ids.
            draws: An int32 tensor of shape (n, draws): random bits, for each sample its own.

        Returns:
            A float32 tensor of shape (n, *shape). Sample i depends on row i, label i and draws i alone.
        """


@dataclass(frozen=True)
class Rows:
    """Prepared rows, on the disk or in memory.

    Args:
        data: An array of shape (n, *row_shape); for rows of several lengths all of them in one line.
        starts: For rows of several lengths, where each one begins in `data`, and at last where the last one ends.
    """

    data: np.ndarray
    starts: np.ndarray | None = None

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.data) if self.starts is None else len(self.starts) - 1

    def take(self, numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Some rows, and the length of each where these differ (else an empty array)."""
        if self.starts is None:
            return np.ascontiguousarray(self.data[numbers]), np.empty(0, np.int64)
        begins, ends = self.starts[numbers], self.starts[numbers + 1]
        parts = [self.data[begin:end] for begin, end in zip(begins, ends, strict=True)]
        return np.concatenate(parts) if parts else self.data[:0], (ends - begins).astype(np.int64)


@dataclass(frozen=True)
class LazyRows:
    """Samples of a model's input, finished when they are asked for; in much like a NumPy array.

    Args:
        rows: What was prepared.
        labels: Class ids, int64, one a row.
        transform: What training does to a row on the fly.
        plain: The same without randomness.
        chosen: Numbers of the rows that are meant, in their order.
        digest: Stands for the content of all rows.
    """

    rows: Rows
    labels: np.ndarray
    transform: Transform
    plain: Transform
    chosen: np.ndarray
    digest: str

    def __len__(self) -> int:
        """How many samples there are."""
        return len(self.chosen)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of all samples together, as the model sees them."""
        return (len(self), *self.plain.shape)

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The number type of finished samples."""
        return np.dtype(np.float32)

    @property
    def ndim(self) -> int:
        """The number of dimensions of all samples together."""
        return len(self.shape)

    def __getitem__(self, index: Any) -> LazyRows:
        """Some of the samples, still unfinished."""
        return replace(self, chosen=self.chosen[index])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """The samples without randomness."""
        found = np.empty(self.shape, dtype or np.float32)
        for place, part in self._finished():
            found[place : place + len(part)] = part
        return found

    def drawn(self, seed: int) -> np.ndarray:
        """The samples with their random steps, drawn once: what training is judged by stays the same each epoch."""
        import tensorflow as tf

        table = bits(len(self.rows), self.transform.draws, seed, -1)
        parts = []
        for place in range(0, len(self), _CHUNK):
            places = tf.range(place, min(place + _CHUNK, len(self)), dtype=tf.int64)
            parts.append(finish(self, places, tf.gather(table, self.chosen[place : place + _CHUNK])).numpy())
        return np.concatenate(parts)

    def astype(self, dtype: Any) -> np.ndarray:
        """The samples without randomness, in another number type."""
        return np.asarray(self, dtype)

    def _finished(self) -> Iterator[tuple[int, np.ndarray]]:
        import tensorflow as tf

        for place in range(0, len(self), _CHUNK):
            places = tf.range(place, min(place + _CHUNK, len(self)), dtype=tf.int64)
            rows, labels = self.gather(places)
            yield place, self.plain.batch(rows, labels, tf.zeros((len(places), 0), tf.int32)).numpy()

    def gather(self, places: Any) -> tuple[Any, Any]:
        """The rows and labels at some places, inside a TensorFlow graph.

        Args:
            places: An int64 tensor of shape (n,): places in `chosen`.
        """
        import tensorflow as tf

        data, ragged = self.rows.data, self.rows.starts is not None
        kinds = [tf.as_dtype(data.dtype), tf.int64, tf.int64]

        def take(wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            numbers = self.chosen[wanted]
            return (*self.rows.take(numbers), self.labels[numbers])

        # Without state: TensorFlow may then work on several batches at a time, and keep their order.
        flat, lengths, labels = tf.numpy_function(take, [places], kinds, stateful=False)
        labels.set_shape((None,))
        if ragged:
            flat.set_shape((None,))
            lengths.set_shape((None,))
            return tf.RaggedTensor.from_row_lengths(flat, lengths, validate=False), labels
        flat.set_shape((None, *data.shape[1:]))
        return flat, labels


def finish(lazy: LazyRows, places: Any, drawn: Any) -> Any:
    """The samples at some places with their random steps, inside a TensorFlow graph.

    Args:
        lazy: The samples.
        places: An int64 tensor of shape (n,).
        drawn: An int32 tensor of shape (n, draws), or with a column that nothing reads: random bits.
    """
    rows, labels = lazy.gather(places)
    x = lazy.transform.batch(rows, labels, drawn)
    x.set_shape((None, *lazy.transform.shape))
    return x


def key_of(purpose: str, seed: int) -> int:
    """A key for TensorFlow's stateless random operations, of its own for each purpose."""
    return int.from_bytes(hashlib.sha256(f"{purpose} {seed}".encode()).digest()[:7], "big")


def bits(count: int, draws: int, seed: int, place: Any) -> Any:
    """Random bits for each sample of a pass over the data, an int32 tensor of shape (count, draws).

    Args:
        count: How many samples there are.
        draws: How many numbers each one takes.
        seed: The seed of the training.
        place: Which pass, a tensor or number; -1 for the validation.
    """
    import tensorflow as tf

    shape, key = (count, draws), (key_of("draws", seed), place)
    return tf.random.stateless_uniform(shape, key, minval=None, maxval=None, dtype=tf.int32)


def unit(bits: Any) -> Any:
    """Random bits, int32 of any shape, as float32 numbers from 0 up to, but not including, 1."""
    import tensorflow as tf

    high = tf.bitwise.right_shift(tf.bitcast(bits, tf.uint32), tf.constant(8, tf.uint32))
    return tf.cast(tf.cast(high, tf.int32), tf.float32) * 2.0**-24
