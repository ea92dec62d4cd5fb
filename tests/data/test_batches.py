"""The order of samples in memory: a function of the seed and the epoch, whatever else is going on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples

law = settings(deadline=None, max_examples=15, database=None)
# Each order is a pipeline of TensorFlow.
pytestmark = pytest.mark.real
counts, sizes, seeds = st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1)
kinds = st.tuples(counts, sizes, seeds)
Kind = tuple[int, int, int]
lengths = st.none() | st.integers(1, 25)
ELSEWHERE = """
import json, random, sys
import numpy as np
import tensorflow as tf
from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples

random.seed(9)
np.random.seed(9)
tf.random.set_seed(9)
batches = Batches(Samples(np.zeros((23, 1))), 5, 7, shuffle=True, steps=3)
orders = [[rows.tolist() for rows in batches.order(epoch)] for epoch in range(6)]
json.dump(orders, open(sys.argv[1], "w"))
"""


def made(count: int, size: int, seed: int = 1, *, shuffle: bool = True, steps: int | None = None) -> Batches:
    return Batches(Samples(np.zeros((count, 1))), size, seed, shuffle=shuffle, steps=steps)


def rows_of(batches: Batches, epoch: int, first: int = 0) -> list[list[int]]:
    """The batches of an epoch, one after the other."""
    return [batch.tolist() for batch in batches.order(epoch, first)]


def flat(rows: list[list[int]]) -> list[int]:
    """The samples of some batches."""
    return [place for batch in rows for place in batch]


@law
@given(counts, sizes, seeds, st.integers(0, 5), st.booleans())
def test_each_pass_is_a_permutation(count: int, size: int, seed: int, epoch: int, shuffle: bool) -> None:
    """In a pass each sample comes once, in full batches and at most one that holds the rest."""
    batches = made(count, size, seed, shuffle=shuffle)
    rows = rows_of(batches, epoch)

    assert list(range(count)) == sorted(flat(rows))
    assert [size] * (count // size) + [count % size] * (count % size > 0) == [len(batch) for batch in rows]
    assert batches.steps == len(rows)
    if not shuffle:
        assert list(range(count)) == flat(rows)


@law
@given(kinds, lengths, st.integers(0, 5), st.data())
def test_an_epoch_goes_on_where_it_was_left(kind: Kind, steps: int | None, epoch: int, data: st.DataObject) -> None:
    """What comes from some batch on is the tail of the whole epoch; from the end on there is nothing."""
    batches = made(*kind, steps=steps)
    first = data.draw(st.integers(0, batches.steps))

    assert rows_of(batches, epoch)[first:] == rows_of(batches, epoch, first)


@law
@given(kinds, st.booleans(), st.integers(1, 25), st.integers(1, 4))
def test_epochs_of_any_length_tile_one_sequence(kind: Kind, shuffle: bool, steps: int, epochs: int) -> None:
    """Epochs shorter or longer than a pass are pieces of the one endless sequence of passes."""
    short = made(*kind, shuffle=shuffle, steps=steps)
    passes = made(*kind, shuffle=shuffle)
    endless = rows_of(made(*kind, shuffle=shuffle, steps=passes.steps + steps * epochs), 0)

    found = [batch for epoch in range(epochs) for batch in rows_of(short, epoch)]

    assert endless[: steps * epochs] == found
    assert endless[: passes.steps] == rows_of(passes, 0)
    assert endless[passes.steps :][: passes.steps] == rows_of(passes, 1)[: steps * epochs]
    assert {steps} == {len(rows_of(short, epoch)) for epoch in range(epochs)}


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    """Another epoch or another seed is another order, close seeds too; the same ones are the same."""
    orders = {tuple(flat(rows_of(made(40, 8, seed), epoch))) for seed in range(4) for epoch in range(4)}

    assert 16 == len(orders)
    assert rows_of(made(40, 8, 3), 4) == rows_of(made(40, 8, 3), 4)


def test_the_batch_size_does_not_change_the_order() -> None:
    """The order of a pass is one of samples: the batch size only cuts it."""
    assert flat(rows_of(made(40, 8), 1)) == flat(rows_of(made(40, 7), 1))


def test_the_global_generators_have_no_part() -> None:
    """The order neither depends on the global generators of NumPy and TensorFlow nor moves them."""
    answers = []
    for seed in (1, 2):
        np.random.seed(seed)
        tf.random.set_seed(seed)
        expected = np.random.random(), float(tf.random.uniform(()))
        np.random.seed(seed)
        tf.random.set_seed(seed)
        answers.append(rows_of(made(30, 4), 2))
        assert expected == (np.random.random(), float(tf.random.uniform(())))

    assert answers[0] == answers[1]


def test_another_process_has_the_same_order(tmp_path: Path) -> None:
    """Nothing of a process shows in the order, not even the seed of its hashes."""
    environment = {**os.environ, "PYTHONHASHSEED": "1"}
    command = [sys.executable, "-c", ELSEWHERE, str(tmp_path / "orders")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment, check=False)
    assert 0 == done.returncode, done.stderr[-3000:]
    batches = made(23, 5, 7, steps=3)

    assert [rows_of(batches, epoch) for epoch in range(6)] == json.loads((tmp_path / "orders").read_text())


def test_the_order_stays_what_it_was() -> None:
    """Checkpoints of yesterday count on yesterday's order."""
    assert [[1, 4, 0], [2, 3, 5], [6]] == rows_of(made(7, 3, 20_200_527), 0)
    assert [[5, 6, 4], [1, 0, 2], [3]] == rows_of(made(7, 3, 20_200_527), 1)


# As a dataset.


def numbered() -> Samples:
    """Samples that hold their own place, in x, y and weight."""
    places = np.arange(11)
    return Samples(places.astype(np.float64)[:, None], places, places.astype(np.float64))


@pytest.mark.parametrize(("steps", "epoch", "first"), [(None, 0, 0), (None, 3, 2), (2, 1, 1), (7, 2, 3)])
def test_the_dataset_gives_exactly_these_rows(steps: int | None, epoch: int, first: int) -> None:
    """The dataset holds the batches of its first epoch and all epochs after, x beside y and weight, without end."""
    batches = Batches(numbered(), 4, 1, shuffle=True, steps=steps)
    dataset = batches.dataset(epoch, first)
    rows = [*rows_of(batches, epoch, first), *rows_of(batches, epoch + 1)]

    found = [[part.numpy() for part in batch] for batch in dataset.take(len(rows))]

    # TensorFlow doesn't look into a flat_map, so Keras is told how many steps an epoch has.
    assert tf.data.INFINITE_CARDINALITY == dataset.cardinality().numpy()
    for parts in zip(*found, strict=True):
        assert rows == [np.ravel(part).astype(int).tolist() for part in parts]
    assert [np.dtype("float32"), np.dtype("int64"), np.dtype("float32")] == [part.dtype for part in found[0]]
    assert [(None, 1), (None,), (None,)] == [tuple(spec.shape) for spec in dataset.element_spec]


def test_a_dataset_can_be_read_again() -> None:
    """A dataset begins anew each time that it is read."""
    dataset = Batches(numbered(), 4, 1, shuffle=True, steps=None).dataset(1).take(4)

    first, second = ([batch[1].numpy().tolist() for batch in dataset] for _ in range(2))

    assert first == second


def test_a_dataset_of_x_alone_gives_no_tuples() -> None:
    """Samples without labels come bare, as Keras has it; whole numbers keep their type."""
    x: Any = np.arange(6, dtype=np.uint8)[:, None]
    dataset = Batches(Samples(x), 4, 1, shuffle=False, steps=None).dataset(0)

    assert [[0, 1, 2, 3], [4, 5]] == [np.ravel(batch.numpy()).tolist() for batch in dataset.take(2)]
    assert "uint8" == dataset.element_spec.dtype.name
