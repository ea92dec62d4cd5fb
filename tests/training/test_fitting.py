"""Samples reach a network's inputs and outputs by name or in order, in memory and as streams."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data import parts
from mltkbuild.data.batches import Batches
from mltkbuild.data.samples import Samples
from mltkbuild.errors import DataError
from mltkbuild.training.fitting import fitted

law = settings(deadline=None, max_examples=8, database=None)
N = 6
ARRAYS = {"zeta": np.arange(N * 2.0).reshape(N, 2), "alpha": np.arange(N * 3.0).reshape(N, 3)}
TARGETS = {"second": np.arange(N * 1.0)[:, None], "first": np.arange(N * 4.0).reshape(N, 4)}


def network(*, named: bool) -> Any:
    """Two inputs and two outputs, in no order of the alphabet."""
    entries = {"zeta": keras.Input((2,), name="zeta"), "alpha": keras.Input((3,), name="alpha")}
    joined = keras.layers.Concatenate()(list(entries.values()))
    ends = {
        "second": keras.layers.Dense(1, name="second")(joined),
        "first": keras.layers.Dense(4, name="first")(joined),
    }
    model = keras.Model(entries, ends) if named else keras.Model(list(entries.values()), list(ends.values()))
    model.compile("sgd", {"second": "mse", "first": "mse"})
    return model


class Own(keras.utils.PyDataset):  # type: ignore[misc]  # Keras has no types
    """A stream of one batch."""

    def __init__(self, *element: Any) -> None:
        super().__init__()
        self._element = element

    def __len__(self) -> int:
        return 1

    def __getitem__(self, index: int) -> Any:
        return self._element


def generator(*element: Any) -> Iterator[Any]:
    """A stream that begins once."""
    yield element


def in_kind(kind: str, x: Any, y: Any) -> Samples:
    if kind == "arrays":
        return Samples(x, y)
    if kind == "dataset":
        return Samples(tf.data.Dataset.from_tensor_slices((x, y)).batch(N))
    return Samples(Own(x, y) if kind == "PyDataset" else generator(x, y))


@pytest.mark.parametrize("kind", ["arrays", "dataset", "PyDataset", "generator"])
@pytest.mark.parametrize("named", [False, True], ids=["lists", "dicts"])
@pytest.mark.parametrize("by_name", [False, True], ids=["in order", "by name"])
def test_arrays_reach_their_ports(kind: str, named: bool, by_name: bool) -> None:
    """Whatever the data's structure, the network gets what is meant; where only names tell, order is refused."""
    model = network(named=named)
    given_ = (ARRAYS, TARGETS) if by_name else (tuple(ARRAYS.values()), tuple(TARGETS.values()))
    if named and not by_name:
        with pytest.raises(DataError, match="nothing tells which array"):
            next(iter(fitted(model, in_kind(kind, *given_)).x))
        return
    samples = fitted(model, in_kind(kind, *given_))
    x, y = (samples.x, samples.y) if kind == "arrays" else next(iter(samples.x))

    expected = model({"zeta": ARRAYS["zeta"], "alpha": ARRAYS["alpha"]})
    found = model(x)
    for one, other in zip(keras.tree.flatten(expected), keras.tree.flatten(found), strict=True):
        assert np.array_equal(one, other)
    shapes = [tuple(part.shape) for part in keras.tree.flatten(y)]
    assert [tuple(part.shape) for part in keras.tree.flatten(expected)] == shapes
    assert [type(model.output) is dict] == [isinstance(y, dict)]


@pytest.mark.parametrize("weight", [np.ones(N), {"first": np.ones(N), "second": np.zeros(N)}], ids=["one", "each"])
def test_a_network_trains_on_several(weight: Any) -> None:
    """Keras takes the batches, and weights reach their outputs."""
    model = network(named=False)
    samples = fitted(model, Samples(ARRAYS, TARGETS, weight))
    history = model.fit(
        Batches(samples, 4, 1, shuffle=True, steps=2).dataset(0), steps_per_epoch=2, verbose=0, shuffle=False
    ).history

    assert {"loss", "first_loss", "second_loss"} == set(history)
    assert (0.0 == history["second_loss"][0]) == isinstance(weight, dict)


def test_one_input_and_output_stay_as_they_are() -> None:
    """Nothing is put between a stream and Keras that needs nothing."""
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    stream = tf.data.Dataset.from_tensor_slices((ARRAYS["zeta"], TARGETS["second"])).batch(2)

    assert stream is fitted(model, Samples(stream)).x
    samples = Samples(ARRAYS["zeta"], TARGETS["second"])
    assert samples.x is fitted(model, samples).x


@law
@given(st.integers(1, 20), st.integers(1, 7), st.booleans(), st.booleans())
def test_batches_keep_the_parts_of_a_sample_together(n: int, size: int, named: bool, labelled: bool) -> None:
    """In each batch row i of every array is of one sample, and all samples come once a pass."""
    left, right = np.arange(n), np.arange(n) * 2
    samples = Samples({"a": left, "b": right} if named else (left, right), (left * 3, right) if labelled else None)
    batches = Batches(samples, size, 5, shuffle=True, steps=None)
    seen: list[int] = []
    for element in batches.dataset(0).take(batches.steps).as_numpy_iterator():
        assert (2 if labelled else 1) == len(element)
        one, other = parts.by_name(element[0]).values()
        assert np.array_equal(one * 2, other)
        assert not labelled or np.array_equal(one * 3, element[1][0])
        seen += one.tolist()

    assert list(range(n)) == sorted(seen)
