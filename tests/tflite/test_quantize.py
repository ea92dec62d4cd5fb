"""Conversion to `.tflite`: types, bytes, calibration, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter

from mltkbuild.errors import SpecError
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.tflite import calibration, quantize

from .. import warm

SCRIPT = """
import json, sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mltkbuild.tflite import calibration, quantize
from mltkbuild.errors import MltkError
from mltkbuild.spec.mixins import TrainMixin

layers = keras.layers
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
images = rng.uniform(0, 255, (20, 6, 6, 1)).astype("float32")
int8 = {**TrainMixin.tflite_converter.default, "inference_input_type": "int8", "inference_output_type": tf.int8}
plain = {"optimizations": [], "supported_ops": ["TFLITE_BUILTINS"]}
floats = {"inference_input_type": "float32", "inference_output_type": "float32"}


class Inverse(layers.Layer):
    def call(self, inputs):
        return tf.linalg.inv(inputs)


class Subclassed(keras.Model):
    def call(self, inputs):
        return inputs


class Broken(layers.Layer):
    whole = True

    def call(self, inputs):
        if not self.whole:
            raise KeyError("user code")
        return inputs


def sequential(shape, *parts, dtype="float32"):
    return keras.Sequential([keras.Input(shape, dtype=dtype), *parts])


def run(name, model, calibration, **settings):
    files = folder / f"{name}.tflite", folder / f"{name}.float32.tflite"
    try:
        return quantize.run(model, calibration, {**int8, **settings}, *files)
    except MltkError as error:
        return [type(error).__name__, error.what, error.found]


keras.utils.set_random_seed(1)
convolution = [layers.Conv2D(3, 3, activation="relu"), layers.Flatten(), layers.Dense(3, activation="softmax")]
conv = sequential((6, 6, 1), *convolution)
broken = sequential((3,), Broken())
Broken.whole = False
pair = [keras.Input((1,)), keras.Input((1,))]
answers = {
    "conv": run("conv", conv, images),
    "dense": run("dense", sequential((4,), layers.Dense(2)), iter(rng.normal(size=(20, 4)))),
    "again": run("again", conv, images),
    "alone": run("alone", conv, images, generate_unquantized=False),
    "plain": run("plain", conv, None, **plain, **floats),
    "bytes": run("bytes", sequential((6, 6, 1), layers.Rescaling(1 / 255), *convolution, dtype="uint8"), images),
    "unknown size": run("x", sequential((None, 6, 1), layers.GlobalAveragePooling2D()), images),
    "two inputs": run("x", keras.Model(pair, layers.Add()(pair)), images),
    "no input": run("x", Subclassed(), images),
    "unsupported": run("x", sequential((3, 3), Inverse()), rng.normal(size=(5, 3, 3))),
    "broken": run("x", broken, rng.normal(size=(5, 3))),
    "uncalibrated": run("x", conv, None),
    "other shape": run("x", conv, images[..., 0]),
}
(folder / "answers.json").write_text(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that a process of its own has converted, and what it said."""
    folder = tmp_path_factory.mktemp("converted")
    warm.python(SCRIPT, str(folder))
    return folder


def answer(converted: Path, name: str) -> Any:
    return json.loads((converted / "answers.json").read_text())[name]


def ends(tflite: Path) -> tuple[str, list[int], str]:
    """The type and shape of a file's input, and the type of its output."""
    interpreter = Interpreter(str(tflite))
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    return np.dtype(entry["dtype"]).name, entry["shape_signature"].tolist(), np.dtype(end["dtype"]).name


@pytest.mark.real
def test_int8_and_float32_lie_side_by_side(converted: Path) -> None:
    """The converted file has int8 ends, the other one float32, both a batch of 1; the record has their sizes."""
    int8, float32 = converted / "conv.tflite", converted / "conv.float32.tflite"

    assert ("int8", [1, 6, 6, 1], "int8") == ends(int8)
    assert ("float32", [1, 6, 6, 1], "float32") == ends(float32)
    expected = {"bytes": int8.stat().st_size, "float32_bytes": float32.stat().st_size}
    assert expected == answer(converted, "conv")


@pytest.mark.real
def test_a_conversion_gives_the_same_bytes_again(converted: Path) -> None:
    """A second conversion in the same process, after that of another model, gives the same bytes."""
    for suffix in ("tflite", "float32.tflite"):
        assert (converted / f"conv.{suffix}").read_bytes() == (converted / f"again.{suffix}").read_bytes()
    assert (converted / "conv.tflite").read_bytes() != (converted / "dense.tflite").read_bytes()


@pytest.mark.real
def test_the_float32_file_can_be_left_out(converted: Path) -> None:
    """Without generate_unquantized there is the int8 file alone, and its bytes are the same."""
    assert ["bytes"] == list(answer(converted, "alone"))
    assert not (converted / "alone.float32.tflite").exists()
    assert (converted / "conv.tflite").read_bytes() == (converted / "alone.tflite").read_bytes()


@pytest.mark.real
def test_without_optimizations_nothing_is_quantized(converted: Path) -> None:
    """With no optimizations and float32 ends the converted file is the float32 file."""
    assert (converted / "plain.float32.tflite").read_bytes() == (converted / "plain.tflite").read_bytes()


@pytest.mark.real
def test_an_input_of_bytes_is_calibrated(converted: Path) -> None:
    """A model that takes uint8 images is calibrated with float32 samples of them; the converter keeps its input."""
    assert "bytes" in answer(converted, "bytes")
    assert ("uint8", [1, 6, 6, 1], "int8") == ends(converted / "bytes.tflite")


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "what", "found"),
    [
        ("unknown size", "the model's input has a size that is not fixed", "(None, None, 6, 1)"),
        ("two inputs", "a calibration sample doesn't fit the model's inputs", "arrays; the model takes 2"),
        ("no input", "a model for TensorFlow Lite Micro must have inputs of fixed shape", "no keras.Input"),
        (
            "other shape",
            "a calibration sample doesn't fit the model's input",
            "sample 0 has shape (6, 6); the model takes (6, 6, 1)",
        ),
    ],
    ids=["unknown size", "two inputs", "no input", "other shape"],
)
def test_a_model_for_microcontrollers_has_fixed_inputs(converted: Path, name: str, what: str, found: str) -> None:
    """Samples of one of two inputs or of another shape, no input, or one of unknown size are errors of the spec."""
    kind, given_what, given_found = answer(converted, name)

    assert ("SpecError", what) == (kind, given_what)
    assert found in given_found


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("unsupported", "TF Select ops: MatrixInverse"),
        ("broken", "user code"),
        ("uncalibrated", "`representative_dataset` must be specified"),
    ],
    ids=["unsupported", "broken", "uncalibrated"],
)
def test_what_tensorflow_cannot_convert_is_a_stage_error(converted: Path, name: str, found: str) -> None:
    """An unsupported operation, a layer that raises or missing samples are errors that quote TensorFlow."""
    kind, what, given = answer(converted, name)

    assert ("StageError", "TensorFlow can't convert the model") == (kind, what)
    assert found in given


# Without TensorFlow.


@pytest.mark.parametrize(
    ("settings", "expected"),
    [({}, True), ({"optimizations": []}, False), ({"representative_dataset": None}, False)],
)
def test_calibration_is_wanted_for_activations(settings: dict[str, Any], expected: bool) -> None:
    """Samples are wanted if something is optimized and they aren't switched off."""
    assert expected == quantize.wants_calibration({**TrainMixin.tflite_converter.default, **settings})


@pytest.mark.parametrize(
    ("samples", "found"),
    [
        ([], "representative_dataset yields nothing"),
        ([np.zeros(2), np.zeros(3)], "sample 1 has shape (3,); the model takes (2,)"),
        ([np.zeros(2), np.array([0.0, np.nan])], "sample 1 of type float64"),
        ([np.array(["a", "b"])], "sample 0 of type <U1"),
    ],
)
def test_samples_that_calibrate_nothing_are_refused(samples: list[np.ndarray], found: str) -> None:
    """No samples, another shape, NaN and text are errors that say which sample."""
    with pytest.raises(SpecError) as caught:
        calibration.checked(samples, [SimpleNamespace(name="x", shape=(None, 2), dtype="float32")])

    assert found == caught.value.found


def test_samples_can_be_read_again() -> None:
    """A generator of samples is read once; the converter gets them as often as it asks, in the input's type."""
    inputs = [SimpleNamespace(name="x", shape=(None, 2), dtype="uint8")]
    generate = quantize._representative(calibration.checked(iter([[1.0, 2.0]]), inputs), inputs)

    for _ in range(2):
        ((sample,),) = generate()
        assert ([[1, 2]], np.dtype(np.uint8)) == (sample.tolist(), sample.dtype)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ()),
        ({"backend": "ai-edge-quantizer"}, ("ai-edge-quantizer",)),
        ({"backend": "ai-edge-quantizer", "optimizations": []}, ()),
        ({"generate_quantization_report": True}, ("ai-edge-litert",)),
    ],
)
def test_a_package_counts_where_the_settings_use_it(settings: dict[str, Any], expected: tuple[str, ...]) -> None:
    """The other quantizer counts only where it is chosen and has something to quantize."""
    assert expected == quantize.libraries_of({**TrainMixin.tflite_converter.default, **settings})
