"""Batches of samples in memory, in an order that is a function of the seed and the epoch alone.

Keras' own shuffling goes on from where its generator happens to be, so a training that was stopped and goes on would
see another order than one that never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from mltkbuild.data import parts
from mltkbuild.data.lazy import LazyRows, bits, finish, key_of
from mltkbuild.data.samples import Samples

PASSES = 2**62
"""More than any training takes."""


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

    def order(self, epoch: int, first: int = 0) -> Iterator[Any]:
        """Which samples the batches of an epoch hold.

        Args:
            epoch: The epoch, counted from 0.
            first: Its first batch that is wanted.

        Yields:
            For each batch an int64 array of the numbers of its samples.
        """
        for picked, _ in self._rows(epoch, first).take(self.steps - first).as_numpy_iterator():
            yield picked

    def _rows(self, epoch: int, first: int) -> Any:
        """The numbers of the samples of each batch, and random bits for each of them, without end.

        Nothing in it has a state, so TensorFlow may work ahead and in parallel and still give the same. A sample's bits
        depend on the seed, the pass and its number alone, not on where in the pass it comes.
        """
        import tensorflow as tf

        count, size = len(self._samples), self._batch_size
        number, skipped = divmod(epoch * self.steps + first, self._batches_per_pass)
        key = key_of("order", self._seed)
        x = self._samples.x
        # TensorFlow's batching crashes on rows without any element.
        draws = max(x.transform.draws if isinstance(x, LazyRows) else 0, 1)

        def permutation(place: Any) -> Any:
            rows = tf.range(count, dtype=tf.int64)
            mixed = tf.random.experimental.stateless_shuffle(rows, (key, place)) if self._shuffle else rows
            return mixed, tf.gather(bits(count, draws, self._seed, place), mixed)

        # Nothing of it is Python that TensorFlow would have to translate first, which takes longer than all the rest.
        passes = tf.data.Dataset.range(number, PASSES).map(tf.autograph.experimental.do_not_convert(permutation))
        # Each pass by itself in batches. Behind `flat_map` only one batch would be made at a time, where operations
        # must be deterministic.
        sizes = [min(size, count - place) for place in range(0, count, size)]
        endless = tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY)
        return passes.prefetch(1).rebatch(sizes).apply(endless).skip(skipped)

    def dataset(self, epoch: int, first: int = 0) -> Any:
        """An endless `tf.data.Dataset` of `x`, `(x, y)` or `(x, y, weight)`; `steps` batches make an epoch.

        Several inputs without targets are `(x,)`, which tells them from inputs and targets.

        Args:
            epoch: The epoch that it begins with, counted from 0.
            first: The first batch that is wanted, for an epoch that was begun before.
        """
        import tensorflow as tf

        samples = self._samples
        lazy = samples.x if isinstance(samples.x, LazyRows) else None
        held = tuple(None if isinstance(part, LazyRows) else part for part in (samples.x, samples.y, samples.weight))
        tensors = tuple(
            parts.mapped(lambda array: tf.convert_to_tensor(as_keras_does(array)), part)
            for part in held
            if part is not None
        )

        def gather(rows: Any, data: Any) -> Any:
            picked, drawn = rows
            batch = tf.nest.map_structure(lambda tensor: tf.gather(tensor, picked, axis=0), data[: len(tensors)])
            if lazy is not None:
                x = finish(lazy, picked, drawn)
                # An auto-encoder is to give back what it is given, augmented as it is.
                batch = (x, x, *batch) if samples.y is lazy else (x, *batch)
            return batch if len(batch) > 1 or parts.are_several(samples.x) else batch[0]

        # A data set of no tensors at all is none: an auto-encoder's samples are all finished on the fly.
        data = tf.data.Dataset.from_tensors(tensors or (0,)).repeat()
        workers = None if lazy is None else lazy.transform.workers
        chosen = tf.data.Dataset.zip((self._rows(epoch, first), data))
        # TensorFlow's own choice is one at a time when operations must be deterministic.
        gather = tf.autograph.experimental.do_not_convert(gather)
        chosen = chosen.map(gather, num_parallel_calls=workers or tf.data.AUTOTUNE)
        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False
        options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
        if workers is not None:
            options.threading.private_threadpool_size = workers
        return chosen.with_options(options).prefetch(tf.data.AUTOTUNE)


def as_keras_does(array: Any) -> Any:
    """Floats in Keras' own number type, other numbers as they are."""
    import keras

    return array.astype(keras.config.floatx()) if array.dtype.kind == "f" else array
