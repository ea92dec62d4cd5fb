"""Batches of samples in memory, in an order that is a function of the seed and the epoch alone.

Keras' own shuffling goes on from where its generator happens to be, so a training that was stopped and goes on would
see another order than one that never stopped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from mltkbuild.data.samples import Samples


class Batches:
    """The batches of each epoch of some samples.

    Args:
        samples: The samples, in memory.
        batch_size: How many samples a batch holds; the last one of a pass may hold fewer.
        seed: The seed of the order.
        shuffle: Whether each pass has an order of its own.
        steps: How many batches make an epoch; None for one pass over the samples.
    """

    def __init__(self, samples: Samples, batch_size: int, seed: int, *, shuffle: bool, steps: int | None) -> None:
        self._samples = samples
        self._batch_size = batch_size
        self._seed = seed
        self._shuffle = shuffle
        self._batches_per_pass = -(-len(samples) // batch_size)
        self.steps = steps or self._batches_per_pass
        self.epoch = 0

    def order(self, epoch: int, first: int = 0) -> Iterator[Any]:
        """Which samples the batches of an epoch hold.

        Args:
            epoch: The epoch, counted from 0.
            first: Its first batch that is wanted.

        Yields:
            int64 arrays of shape (batches, samples of a batch), one after the other.
        """
        start, end = epoch * self.steps + first, (epoch + 1) * self.steps
        while start < end:
            number, begin = divmod(start, self._batches_per_pass)
            stop = min(self._batches_per_pass, begin + end - start)
            rows = self._pass(number)[begin * self._batch_size : stop * self._batch_size]
            whole = len(rows) // self._batch_size * self._batch_size
            if whole:
                yield rows[:whole].reshape(-1, self._batch_size)
            if whole < len(rows):
                yield rows[whole:].reshape(1, -1)
            start += stop - begin

    def _pass(self, number: int) -> Any:
        count = len(self._samples)
        if not self._shuffle:
            return np.arange(count)
        # RandomState's algorithm is frozen, so a new NumPy keeps the order.
        digest = hashlib.sha256(f"order {self._seed} {number}".encode()).digest()
        return np.random.RandomState(np.frombuffer(digest, np.uint32)).permutation(count).astype(np.int64)

    def dataset(self, first: int = 0) -> Any:
        """A `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, weight)`, of the epoch in `self.epoch` when it is iterated.

        Args:
            first: The first batch that is wanted, for an epoch that was begun before.
        """
        import tensorflow as tf

        parts = (self._samples.x, self._samples.y, self._samples.weight)
        tensors = tuple(tf.convert_to_tensor(_as_keras_does(part)) for part in parts if part is not None)
        rows = tf.data.Dataset.from_generator(
            lambda: self.order(self.epoch, first), output_signature=tf.TensorSpec((None, None), tf.int64)
        )
        batches = rows.flat_map(tf.data.Dataset.from_tensor_slices)
        batches = batches.apply(tf.data.experimental.assert_cardinality(self.steps - first))
        whole = tf.data.Dataset.from_tensors(tensors).repeat()

        def gather(picked: Any, data: Any) -> Any:
            batch = tuple(tf.gather(tensor, picked, axis=0) for tensor in data)
            return batch if len(batch) > 1 else batch[0]

        chosen = tf.data.Dataset.zip((batches, whole)).map(gather, num_parallel_calls=tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        return chosen.with_options(options).prefetch(tf.data.AUTOTUNE)


def _as_keras_does(array: Any) -> Any:
    """Floats in Keras' own number type, other numbers as they are."""
    import keras

    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
