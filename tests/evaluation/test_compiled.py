"""What a Keras model was compiled with, measured batch by batch, is what Keras measures."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import keras
import numpy as np
import pytest

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation.compiled import CompiledMetrics

pytestmark = pytest.mark.real
RNG = np.random.default_rng(1)
X, Y = RNG.normal(0, 1, (11, 3)), RNG.integers(0, 2, (11, 1))


def network() -> Any:
    """A network with a metric that is no mean."""
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy", "auc"])
    return model


@pytest.mark.parametrize("sizes", [[11], [8, 3], [4, 4, 3]])
def test_batches_come_to_what_keras_measures(sizes: list[int]) -> None:
    """The loss and the metrics, to 6 significant digits, whatever is given at once; and again from nothing."""
    model = network()
    expected = model.evaluate(X, Y, batch_size=4, verbose=0, return_dict=True)
    for _ in range(2):
        compiled, start = CompiledMetrics(model, 4), 0
        for size in sizes:
            compiled.add(size, X[start : start + size], Y[start : start + size])
            start += size
        assert pytest.approx(expected, rel=1e-5) == compiled.result()


def test_losses_of_outputs_are_weighed_by_samples() -> None:
    """Keras weighs a last batch of few samples like the others; here the sum is that of all samples."""
    entry = keras.Input((3,), name="entry")
    model = keras.Model(entry, [keras.layers.Dense(1, name=name)(entry) for name in ("left", "right")])
    model.compile("sgd", {"left": "mse", "right": "mae"})
    compiled = CompiledMetrics(model, 4, ["left", "right"])
    compiled.add(11, X, (Y, Y * 2.0))
    found = compiled.result()

    left, right = (np.asarray(part) for part in model(X))
    expected = float(((left - Y) ** 2).mean()), float(np.abs(right - 2 * Y).mean())
    assert pytest.approx(expected, rel=1e-5) == (found["left_loss"], found["right_loss"])
    assert pytest.approx(sum(expected), rel=1e-5) == found["loss"]


def test_values_are_as_json_holds_them() -> None:
    """None for NaN, all values of a vector by number."""
    metrics = {"loss": 1.23456789e-8, "mae": float("nan"), "f1_score": np.array([0.5, 0.25])}
    fake = SimpleNamespace(
        compiled=True, metrics=[], test_on_batch=lambda x, y: None, get_metrics_result=lambda: metrics
    )
    compiled = CompiledMetrics(fake, 2)
    compiled.add(1, X[:1], None)

    assert {"loss": 1.23457e-08, "mae": None, "f1_score[0]": 0.5, "f1_score[1]": 0.25} == compiled.result()


def test_without_metrics_or_samples_there_is_nothing_to_tell() -> None:
    """A model that isn't compiled, and no samples, are errors that say so."""
    with pytest.raises(StageError, match="no metrics"):
        CompiledMetrics(SimpleNamespace(compiled=False), 2)
    with pytest.raises(DataError, match="no samples"):
        CompiledMetrics(network(), 2).result()
