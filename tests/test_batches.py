"""The order of samples in memory: a function of the seed and the epoch, whatever else is going on."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples

law = settings(deadline=None, max_examples=60, database=None)
counts, sizes, seeds = st.integers(1, 60), st.integers(1, 20), st.integers(0, 2**32 - 1)
lengths = st.none() | st.integers(1, 25)
ELSEWHERE = """
import json, random
import numpy as np
from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples

random.seed(9)
np.random.seed(9)
batches = Batches(Samples(np.zeros((23, 1))), 5, 7, shuffle=True, steps=3)
print(json.dumps([[rows.tolist() for rows in batches.order(epoch)] for epoch in range(6)]))
"""


def made(count: int, size: int, seed: int = 1, *, shuffle: bool = True, steps: int | None = None) -> Batches:
    return Batches(Samples(np.zeros((count, 1))), size, seed, shuffle=shuffle, steps=steps)


def rows_of(batches: Batches, epoch: int, first: int = 0) -> list[list[int]]:
    """The batches of an epoch, one after the other."""
    return [batch.tolist() for chunk in batches.order(epoch, first) for batch in chunk]


@law
@given(counts, sizes, seeds, st.integers(0, 5), st.booleans())
def test_each_pass_is_a_permutation(count: int, size: int, seed: int, epoch: int, shuffle: bool) -> None:
    """In a pass each sample comes once, in full batches and at most one that holds the rest."""
    batches = made(count, size, seed, shuffle=shuffle)
    rows = rows_of(batches, epoch)

    assert list(range(count)) == sorted(sum(rows, []))
    assert [size] * (count // size) + [count % size] * (count % size > 0) == [len(batch) for batch in rows]
    assert batches.steps == len(rows)
    if not shuffle:
        assert list(range(count)) == sum(rows, [])


@law
@given(counts, sizes, seeds, lengths, st.integers(0, 5), st.data())
def test_an_epoch_goes_on_where_it_was_left(
    count: int, size: int, seed: int, steps: int | None, epoch: int, data: st.DataObject
) -> None:
    """What comes from some batch on is the tail of the whole epoch; from the end on there is nothing."""
    batches = made(count, size, seed, steps=steps)
    first = data.draw(st.integers(0, batches.steps))

    assert rows_of(batches, epoch)[first:] == rows_of(batches, epoch, first)


@law
@given(counts, sizes, seeds, st.booleans(), st.integers(1, 25), st.integers(1, 6))
def test_epochs_of_any_length_tile_one_sequence(
    count: int, size: int, seed: int, shuffle: bool, steps: int, epochs: int
) -> None:
    """Epochs shorter or longer than a pass are pieces of the one endless sequence of passes."""
    short = made(count, size, seed, shuffle=shuffle, steps=steps)
    passes = made(count, size, seed, shuffle=shuffle)
    needed = -(-steps * epochs // passes.steps)

    found = [batch for epoch in range(epochs) for batch in rows_of(short, epoch)]

    endless = [batch for number in range(needed) for batch in rows_of(passes, number)]
    assert endless[: steps * epochs] == found
    assert {steps} == {len(rows_of(short, epoch)) for epoch in range(epochs)}


@law
@given(counts, sizes, seeds, lengths)
def test_chunks_are_what_tensorflow_takes(count: int, size: int, seed: int, steps: int | None) -> None:
    """Every chunk is a two-dimensional array of int64 with rows of one length."""
    for chunk in made(count, size, seed, steps=steps).order(2):
        assert (np.dtype(np.int64), 2, True) == (chunk.dtype, chunk.ndim, chunk.size > 0)


def test_passes_and_seeds_have_orders_of_their_own() -> None:
    """Another epoch or another seed is another order, close seeds too; the same ones are the same."""
    orders = {tuple(sum(rows_of(made(40, 8, seed), epoch), [])) for seed in range(5) for epoch in range(5)}

    assert 25 == len(orders)
    assert rows_of(made(40, 8, 3), 4) == rows_of(made(40, 8, 3), 4)


def test_the_batch_size_does_not_change_the_order() -> None:
    """The order of a pass is one of samples: the batch size only cuts it."""
    assert sum(rows_of(made(40, 8), 1), []) == sum(rows_of(made(40, 7), 1), [])


def test_the_global_generators_have_no_part(monkeypatch: pytest.MonkeyPatch) -> None:
    """The order neither depends on NumPy's global generator nor moves it."""
    np.random.seed(1)
    first = rows_of(made(30, 4), 2)
    before = np.random.get_state()[1].tolist()  # type: ignore[union-attr]  # a tuple, as is the default
    np.random.seed(2)

    assert first == rows_of(made(30, 4), 2)
    np.random.seed(1)
    rows_of(made(30, 4), 3)
    assert before == np.random.get_state()[1].tolist()  # type: ignore[union-attr]


def test_another_process_has_the_same_order() -> None:
    """Nothing of a process shows in the order, not even the seed of its hashes."""
    answers = []
    for hashes in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", ELSEWHERE],
            capture_output=True,
            text=True,
            timeout=120,
            check=True,
            env={"PYTHONHASHSEED": hashes},
        )
        answers.append(json.loads(done.stdout))
    batches = made(23, 5, 7, steps=3)
    expected = [[rows.tolist() for rows in batches.order(epoch)] for epoch in range(6)]

    assert [expected, expected] == answers


def test_the_order_stays_what_it_was() -> None:
    """Checkpoints of yesterday count on yesterday's order."""
    assert [[6, 0, 1], [2, 3, 4], [5]] == rows_of(made(7, 3, 20_200_527), 0)
    assert [[5, 4, 3], [0, 6, 2], [1]] == rows_of(made(7, 3, 20_200_527), 1)


# With TensorFlow.


def numbered(dtype: str = "float32") -> Samples:
    """Samples that hold their own place, in x, y and weight."""
    places = np.arange(11)
    return Samples(places.astype(dtype)[:, None], places, places.astype(np.float64))


@pytest.mark.real
@pytest.mark.parametrize(("steps", "epoch", "first"), [(None, 0, 0), (None, 3, 2), (2, 1, 1), (7, 2, 3)])
def test_the_dataset_gives_exactly_these_rows(steps: int | None, epoch: int, first: int) -> None:
    """The dataset holds the batches of the epoch that is set when it is read, x beside y and weight, and knows how many."""
    batches = Batches(numbered(), 4, 1, shuffle=True, steps=steps)
    dataset = batches.dataset(first)
    batches.epoch = epoch

    found = [[part.numpy() for part in batch] for batch in dataset]

    rows = rows_of(batches, epoch, first)
    assert batches.steps - first == len(found) == dataset.cardinality().numpy()
    for parts in zip(*found, strict=True):
        assert rows == [np.ravel(part).astype(int).tolist() for part in parts]
    assert [np.dtype("float32"), np.dtype("int64"), np.dtype("float32")] == [part.dtype for part in found[0]]
    assert [(None, 1), (None,), (None,)] == [tuple(spec.shape) for spec in dataset.element_spec]


@pytest.mark.real
def test_a_dataset_of_x_alone_gives_no_tuples() -> None:
    """Samples without labels come bare, as Keras has it; whole numbers keep their type."""
    x: Any = np.arange(6, dtype=np.uint8)[:, None]
    dataset = Batches(Samples(x), 4, 1, shuffle=False, steps=None).dataset()

    assert [[0, 1, 2, 3], [4, 5]] == [np.ravel(batch.numpy()).tolist() for batch in dataset]
    assert "uint8" == dataset.element_spec.dtype.name
