"""A loss that doesn't mean what the labels say is refused before the first epoch."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mltkbuild.data.samples import Samples
from mltkbuild.errors import SpecError
from mltkbuild.training import targets

IDS, ROWS = np.arange(6) % 3, np.eye(3, dtype="float32")[np.arange(6) % 3]
X = np.zeros((6, 4), "float32")


def network(loss: Any, values: int = 3) -> Any:
    """A compiled network."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(values)])
    model.compile("sgd", loss)
    return model


WRONG: dict[str, tuple[Any, Any, str]] = {
    "ids for rows": ("categorical_crossentropy", IDS, "takes one-hot rows"),
    "ids in a column": ("categorical_crossentropy", IDS[:, None], "takes one-hot rows"),
    "ids, an object": (keras.losses.CategoricalCrossentropy(), IDS, "takes one-hot rows"),
    "ids, a function": (keras.losses.categorical_crossentropy, IDS, "takes one-hot rows"),
    "ids, a class's name": ("CategoricalCrossentropy", IDS, "takes one-hot rows"),
    "rows for ids": ("sparse_categorical_crossentropy", ROWS, "takes class ids"),
    "rows for ids, an object": (keras.losses.SparseCategoricalCrossentropy(), ROWS, "takes class ids"),
    "ids for each": ("binary_crossentropy", IDS, "compares each value"),
    "one target for three": ("mse", IDS.astype("float32"), "compares each value"),
}


@pytest.mark.parametrize("name", WRONG)
def test_loss_and_labels_that_part_are_refused(name: str) -> None:
    """In memory and as a stream."""
    loss, y, told = WRONG[name]
    stream = tf.data.Dataset.from_tensor_slices((X, y)).batch(2)
    for samples in (Samples(X, y), Samples(stream)):
        with pytest.raises(SpecError, match=told) as caught:
            targets.require_fitting(network(loss), samples, "models/a.py:9")
        assert (caught.value.where, True) == ("models/a.py:9", "an output of 3 values" in str(caught.value.found))


RIGHT: dict[str, tuple[Any, Any, int]] = {
    "rows": ("categorical_crossentropy", ROWS, 3),
    "ids": ("sparse_categorical_crossentropy", IDS, 3),
    "ids in a column": ("sparse_categorical_crossentropy", IDS[:, None], 3),
    "several labels": ("binary_crossentropy", ROWS, 3),
    "one value": ("mse", IDS, 1),
    "one class": ("binary_crossentropy", IDS[:, None], 1),
    "a loss of its own": (lambda y, found: keras.ops.sum(found), IDS, 3),
    "a loss that has a form of its own": ("cosine_similarity", ROWS, 3),
    "no labels": ("mse", None, 3),
}


@pytest.mark.parametrize("name", RIGHT)
def test_loss_and_labels_that_fit_pass(name: str) -> None:
    """What Keras means as well, and what nobody can tell."""
    loss, y, values = RIGHT[name]
    targets.require_fitting(network(loss, values), Samples(X, y), None)


def test_rows_of_several_labels_need_another_loss() -> None:
    """Keras computes a categorical loss of them in silence; rows of shares pass."""
    y = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 0]])
    with pytest.raises(SpecError, match="the labels are others") as caught:
        targets.require_fitting(network("categorical_crossentropy"), Samples(X[:3], y), None)
    assert "sample 0: [1, 1, 0]" in str(caught.value.found)
    assert not targets.may_have_several_labels(network("categorical_crossentropy"))
    targets.require_fitting(network("categorical_crossentropy"), Samples(X, np.full((6, 3), 1 / 3)), None)
    targets.require_fitting(network("binary_crossentropy"), Samples(X[:3], y), None)
    assert targets.may_have_several_labels(network(keras.losses.BinaryCrossentropy()))


LOSSES = {"left": "mse", "right": "categorical_crossentropy"}


@pytest.mark.parametrize("loss", [LOSSES, list(LOSSES.values())], ids=["by name", "in order"])
@pytest.mark.parametrize("y", [(ROWS, IDS), {"right": IDS, "left": ROWS}], ids=["in order", "by name"])
def test_each_output_is_compared_with_its_own_loss(loss: Any, y: Any) -> None:
    """The error names the output; what fits is left alone."""
    entry = keras.Input((4,))
    several = keras.Model(entry, [keras.layers.Dense(3, name=name)(entry) for name in LOSSES])
    several.compile("sgd", loss)
    stream = tf.data.Dataset.from_tensor_slices((X, y)).batch(2)
    for samples in (Samples(X, y), Samples(stream)):
        with pytest.raises(SpecError, match="takes one-hot rows") as caught:
            targets.require_fitting(several, samples, None)
        assert "the output right of 3 values" in str(caught.value.found)
    targets.require_fitting(several, Samples(X, (ROWS, ROWS)), None)


def test_other_networks_are_left_alone() -> None:
    """Outputs of more axes, and generators."""
    entry = keras.Input((4,))
    wide = keras.Sequential([entry, keras.layers.Dense(4), keras.layers.Reshape((2, 2))])
    wide.compile("sgd", "mse")
    targets.require_fitting(wide, Samples(X, IDS), None)
    targets.require_fitting(network("mse"), Samples(iter(())), None)
