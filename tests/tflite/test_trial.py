"""A model that isn't trained yet is converted and started as the trained one will be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

from mltkbuild.errors import SpecError
from mltkbuild.spec.mixins import TFLITE_CONVERTER, TrainMixin
from mltkbuild.spec.model import MltkModel
from mltkbuild.tflite import arena, micro, trial

pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.skipif(not micro.is_here(), reason=micro.PACKAGE)]


class Model(MltkModel, TrainMixin):
    """A model with the converter's defaults."""


def network(*layers: Any, shape: tuple[int, ...] = (4, 4, 1)) -> Any:
    """A network that nobody has trained."""
    keras.utils.set_random_seed(1)
    return keras.Sequential([keras.Input(shape), *layers])


def tried(model: Any, tmp_path: Path, mode: str = "error", calibration: Any = trial.MADE_UP, **given: Any) -> Any:
    """What the trial says of it; no file is left."""
    whole = {"inference_input_type": "int8", "inference_output_type": "int8"}
    converter = {**Model().peek("tflite_converter"), **whole, **given}
    assert set(TFLITE_CONVERTER) == set(converter)
    try:
        return trial.try_out(model, calibration, converter, mode=mode, folder=tmp_path)
    finally:
        assert not [*tmp_path.iterdir()]


def test_network_starts(tmp_path: Path) -> None:
    """With made-up samples, with real ones, and unquantized."""
    flat = network(keras.layers.Conv2D(2, 3), keras.layers.Flatten(), keras.layers.Dense(2))
    samples = np.random.default_rng(0).normal(0, 1, (4, 4, 4, 1)).astype("float32")
    for calibration in (trial.MADE_UP, samples):
        found = tried(flat, tmp_path, calibration=calibration)
        assert (True, (), ("CONV_2D", "FULLY_CONNECTED", "RESHAPE")) == (found.starts, found.notes, found.operators)
    floats = {"inference_input_type": "float32", "inference_output_type": "float32"}
    assert tried(flat, tmp_path, calibration=None, optimizations=[], **floats).starts


def test_several_inputs_get_samples_of_their_own(tmp_path: Path) -> None:
    """In the order of the model's inputs."""
    one, other = keras.Input((3,), name="b"), keras.Input((5,), name="a")
    joined = keras.layers.Concatenate()([one, other])
    assert tried(keras.Model([one, other], keras.layers.Dense(2)(joined)), tmp_path).starts


def test_what_no_microcontroller_runs_is_told(tmp_path: Path) -> None:
    """A slice of five dimensions is converted and doesn't start; the mode says what that is."""
    sliced = network(
        keras.layers.Reshape((2, 2, 2, 2)), keras.layers.Lambda(lambda x: x[:, 0:1, 1:2, 0:1]), keras.layers.Flatten()
    )
    with pytest.raises(micro.CantRun, match="can't run the model"):
        tried(sliced, tmp_path)
    assert tried(sliced, tmp_path, mode="warn").starts is None
    with pytest.raises(SpecError, match="not unrolled"):
        tried(network(keras.layers.GRU(3), shape=(4, 2)), tmp_path)


def test_crash_of_the_interpreter_is_no_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The trained weights may do; the worker lives on."""
    monkeypatch.setattr(arena, "tried", lambda *given, **named: arena.Trial({}, "", 6))
    found = tried(network(keras.layers.Flatten()), tmp_path)
    assert (None, 1) == (found.starts, len(found.notes))
    assert found.notes[0].startswith("TensorFlow Lite Micro crashes on the model while it isn't trained (")
