"""Class weights: by name, by id, as a list, and balanced as scikit-learn has it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.utils.class_weight import compute_class_weight

from mltkbuild.data.samples import Samples
from mltkbuild.errors import SpecError
from mltkbuild.training.class_weights import class_weight

WORDS = ("yes", "no", "_unknown_")

law = settings(deadline=None, max_examples=60, database=None)


@law
@given(arrays(np.int64, st.integers(1, 60), elements=st.integers(0, 2)), st.booleans())
def test_balanced_is_that_of_scikit_learn(y: np.ndarray, one_hot: bool) -> None:
    """Balanced weights are scikit-learn's for the classes that have samples, from ids and from one-hot rows."""
    present = np.unique(y)
    expected = compute_class_weight("balanced", classes=present, y=y)

    weights = class_weight("balanced", WORDS, Samples(y, np.eye(3)[y] if one_hot else y), {})

    assert dict(zip(present.tolist(), expected.tolist(), strict=True)) == weights


@pytest.mark.parametrize("weights", [None, "none"])
def test_no_class_weights(weights: str | None) -> None:
    """None and 'none' weigh nothing, even for a stream."""
    assert class_weight(weights, WORDS, Samples(object()), {}) is None


@pytest.mark.parametrize(
    ("weights", "classes", "expected"),
    [
        ({"no": 2}, WORDS, {0: 1.0, 1: 2.0, 2: 1.0}),
        ({0: 0.5, "_unknown_": 3}, WORDS, {0: 0.5, 1: 1.0, 2: 3.0}),
        ([1, 2, 3], WORDS, {0: 1.0, 1: 2.0, 2: 3.0}),
        ({0: 1, 5: 2}, None, {0: 1.0, 5: 2.0}),
        ([1, 2], None, {0: 1.0, 1: 2.0}),
        ({"1": 2.0}, ("0", "1"), {0: 1.0, 1: 2.0}),
    ],
    ids=["names", "mixed", "list", "ids alone", "list alone", "digits"],
)
def test_class_weights_become_ids(weights: Any, classes: Any, expected: dict[int, float]) -> None:
    """Weights by label, by id or as a list become weights by id; a class that isn't named weighs 1."""
    assert expected == class_weight(weights, classes, Samples(np.zeros(2), np.zeros(2)), {})


@pytest.mark.parametrize(
    ("weights", "found"),
    [({"nope": 1.0}, "'nope'"), ({3: 1.0}, "3"), ({-1: 1.0}, "-1"), ([1, 1, 1, 1], "3")],
)
def test_a_weight_for_no_class_is_refused(weights: Any, found: str) -> None:
    """A weight for a class that the model has not is an error that names it."""
    with pytest.raises(SpecError, match="has not") as caught:
        class_weight(weights, WORDS, Samples(np.zeros(2), np.zeros(2)), {})

    assert found == caught.value.found


@pytest.mark.parametrize(
    "samples", [Samples(object()), Samples(np.zeros(2), np.array([0.5, 1.5])), Samples(np.zeros(2))]
)
def test_balanced_needs_labels(samples: Samples) -> None:
    """A stream, fractions or missing labels can't be balanced."""
    with pytest.raises(SpecError, match="needs the class of each"):
        class_weight("balanced", None, samples, {})


def test_balanced_weights_of_a_stream_come_from_the_counts_that_its_loader_gives() -> None:
    """A loader of a stream fills class_counts as MLTK's do; a class without samples has no weight."""
    counts = {"training": {"yes": 30, "no": 10}, "validation": {"yes": 1}}
    assert {0: 40 / 60, 1: 2.0} == pytest.approx(class_weight("balanced", WORDS, Samples(object()), counts))
    with pytest.raises(SpecError, match="needs the class of each training sample"):
        class_weight("balanced", WORDS, Samples(object()), {"training": {}})


def test_several_labels_a_sample_have_no_class() -> None:
    """Keras would take the first label alone, and say nothing: in memory, and in a stream's first batch."""
    y = np.array([[1, 0], [1, 1]], np.float32)
    stream = tf.data.Dataset.from_tensor_slices((y, y)).batch(2)
    for samples in (Samples(y, y), Samples(stream)):
        with pytest.raises(SpecError, match="one class a sample") as caught:
            class_weight({"no": 5.0}, WORDS, samples, {})
        assert caught.value.found == "sample 1 has the labels [1., 1.]"
    assert class_weight({"no": 5.0}, WORDS, Samples(y, y[:, :1]), {})


@pytest.mark.parametrize("stream", [False, True])
def test_several_outputs_have_no_class_weights(stream: bool) -> None:
    """Keras has no word for whose they are; weights a sample do."""
    x, y = np.zeros((4, 2)), {"kind": np.zeros(4, int), "place": np.zeros(4)}
    samples = Samples(tf.data.Dataset.from_tensor_slices((x, y)).batch(2)) if stream else Samples(x, y)
    with pytest.raises(SpecError, match="one output") as caught:
        class_weight({0: 2.0}, None, samples, {})
    assert "sample_weight" in str(caught.value.fix)
