"""The saved model answers as the trained one, or the build says what it has lost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf

from mltkbuild.data.samples import Samples
from mltkbuild.errors import StageError
from mltkbuild.training import published

pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(0, 1, (20, 4)).astype("float32")


class Scale(keras.layers.Layer):  # type: ignore[misc]  # Keras has no types
    """Multiplies; forgets its factor, or keeps it."""

    def __init__(self, factor: float = 1.0, *, keeps: bool = False, **settings: Any) -> None:
        super().__init__(**settings)
        self.factor, self.keeps = factor, keeps

    def call(self, x: Any) -> Any:
        """Multiply."""
        return x * self.factor

    def get_config(self) -> dict[str, Any]:
        """What is saved."""
        kept = {"factor": self.factor} if self.keeps else {}
        return {**super().get_config(), **kept, "keeps": self.keeps}


class Hidden(keras.layers.Layer):  # type: ignore[misc]
    """Keeps numbers where no config and no weight shows them."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self._numbers = {"factor": 1.0}

    def call(self, x: Any) -> Any:
        """Multiply."""
        return x * self._numbers["factor"]


class Noise(keras.layers.Layer):  # type: ignore[misc]
    """Answers otherwise each time."""

    def call(self, x: Any) -> Any:
        """Add noise."""
        return x + keras.random.normal(keras.ops.shape(x))


OWN = {kind.__name__: kind for kind in (Scale, Hidden, Noise)}


def network(*layers: Any) -> Any:
    """A network with these layers in it."""
    return keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2, name="end")])


def compared(model: Any, tmp_path: Path, samples: Samples | None = None) -> str | None:
    """Save a model and compare it with what was saved."""
    path = tmp_path / "a.keras"
    model.save(path)
    samples = Samples(X) if samples is None else samples
    return published.require_equal(model, lambda: keras.saving.load_model(path, OWN), samples, "models/a.py:3")


def test_forgotten_setting_is_named(tmp_path: Path) -> None:
    """The layer, its attribute, and both values."""
    with pytest.raises(StageError, match="doesn't answer as the trained one") as caught:
        compared(network(keras.layers.Dense(4), Scale(-1.0, name="turn")), tmp_path)
    assert str(caught.value.found).startswith(
        "factor of the layer turn (Scale) was -1.0, and is 1.0 when loaded; answers"
    )
    assert (caught.value.where, caught.value.fix) == (
        "models/a.py:3",
        "return factor from Scale.get_config, and take it in __init__",
    )


def test_answers_of_another_shape_are_told(tmp_path: Path) -> None:
    """A file that holds another network."""
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    with pytest.raises(StageError, match="doesn't answer") as caught:
        published.require_equal(network(), lambda: other, Samples(X), None)
    assert "differ in shape: [(8, 2)] and [(8, 3)]" in str(caught.value.found)


def test_layer_that_hides_its_state_is_named(tmp_path: Path) -> None:
    """The first one that answers otherwise, where no attribute tells."""
    hidden = Hidden(name="hidden")
    model = network(keras.layers.Dense(4), hidden, Scale(2.0, keeps=True))
    hidden._numbers["factor"] = 3.0
    with pytest.raises(StageError, match="doesn't answer") as caught:
        compared(model, tmp_path)
    assert "the layer hidden (Hidden) is the first that answers otherwise" in str(caught.value.found)


def test_layer_within_a_layer_is_named(tmp_path: Path) -> None:
    """A model in a model."""
    inner = keras.Sequential([keras.Input((4,)), Scale(0.5, name="deep")], name="inner")
    with pytest.raises(StageError, match="doesn't answer") as caught:
        compared(network(inner), tmp_path)
    assert "factor of the layer deep (Scale)" in str(caught.value.found)


WHOLE: dict[str, Any] = {
    "a layer that keeps its setting": lambda: network(Scale(-1.0, keeps=True)),
    "normalization, dropout": lambda: network(keras.layers.BatchNormalization(), keras.layers.Dropout(0.5)),
    "a cell": lambda: keras.Sequential([keras.Input((2, 2)), keras.layers.LSTM(3)]),
}


@pytest.mark.parametrize("name", WHOLE)
def test_whole_model_is_equal(name: str, tmp_path: Path) -> None:
    """Layers that save what they have."""
    model = WHOLE[name]()
    x = X.reshape(-1, *model.input_shape[1:])
    assert compared(model, tmp_path, Samples(x)) is None


def test_several_inputs_come_from_a_stream(tmp_path: Path) -> None:
    """The samples are as the loader gives them: an array, a list, a dict; batches from a stream."""
    entries = {name: keras.Input((4,), name=name) for name in ("left", "right")}
    model = keras.Model(entries, keras.layers.Dense(2)(Scale(2.0)(keras.layers.Add()(list(entries.values())))))
    stream = tf.data.Dataset.from_tensor_slices(({"left": X, "right": X}, np.zeros(20))).batch(8)
    with pytest.raises(StageError, match="doesn't answer"):
        compared(model, tmp_path, Samples(stream))
    assert compared(network(), tmp_path, Samples(batch for batch in [(X, X)])) is None


def test_model_that_answers_by_chance_is_told(tmp_path: Path) -> None:
    """What can't be compared is said."""
    assert compared(network(Noise()), tmp_path) == (
        "the saved model was not compared with the trained one, which answers otherwise each time"
    )
    assert compared(network(), tmp_path, Samples(batch for batch in [(X, X)][:0])) == (
        "the saved model was not compared with the trained one: the generator has no sample left"
    )
    assert compared(network(), tmp_path, Samples(X[:, :3])) == (
        "the saved model was not compared with the trained one: ValueError on a training sample"
    )
