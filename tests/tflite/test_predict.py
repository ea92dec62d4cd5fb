"""Predictions of Keras and of .tflite files."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.errors import DataError, StageError
from mltkbuild.tflite import predict

from .. import warm


@pytest.mark.parametrize(
    ("structure", "expected"),
    [
        (lambda x: x, [1.0]),
        (lambda x: [x, 2 * x], [1.0, 2.0]),
        (lambda x: {"b": 2 * x, "a": x}, [1.0, 2.0]),
    ],
    ids=["one", "in order", "by name"],
)
def test_predict_keras_is_silent_and_gives_each_output(structure: Callable[[Any], Any], expected: list[float]) -> None:
    """Prediction passes `verbose=0` and gives float32 arrays, those of a dict in Keras' order."""

    def give(x: np.ndarray, *, batch_size: int, verbose: int) -> Any:
        assert (3, 0) == (batch_size, verbose)
        return structure(x)

    scores = predict.predict_keras(SimpleNamespace(predict=give), np.ones((2, 2)), 3)
    assert [(value, np.dtype("float32")) for value in expected] == [(float(y[0, 0]), y.dtype) for y in scores]


def on_reference(tflite: Path, x: np.ndarray) -> np.ndarray:
    """What LiteRT's reference kernels answer, of one input and output."""
    return predict.predict_tflite(tflite, [x], on_reference=True)[0]


def test_no_samples_is_a_data_error(tmp_path: Path) -> None:
    """Nothing to predict is an error of the data, whatever model there is."""
    calls: list[Callable[[], object]] = [
        lambda: predict.predict_keras(None, np.zeros((0, 2)), 1),
        lambda: on_reference(tmp_path / "unread.tflite", np.zeros((0, 2))),
    ]
    for call in calls:
        with pytest.raises(DataError, match="no samples"):
            call()


@pytest.mark.parametrize(
    ("dtype", "scale", "zero_point", "x", "expected"),
    [
        ("int8", 0.5, 0, [0.25, 0.75, 1.25, -0.25, -0.75], [0, 2, 2, 0, -2]),
        ("int8", 1.0, -1, [126.4, 1e9, -1e9, -127.6, 1.5], [125, 127, -128, -128, 1]),
        ("uint8", 1.0, 128, [-128.0, -129.0, 127.0, 128.0, np.inf], [0, 0, 255, 255, 255]),
        ("int16", 2.0, 0, [65536.0, -65538.0, 3.0, 5.0, 1.0], [32767, -32768, 2, 2, 0]),
        ("float32", 0.0, 0, [0.25, 0.75, 1.25, -0.25, -0.75], [0.25, 0.75, 1.25, -0.25, -0.75]),
        ("int32", 0.0, 0, [1.0, 2.0, 3.0, 4.0, 5.0], [1, 2, 3, 4, 5]),
    ],
)
def test_inputs_are_rounded_and_clipped(
    dtype: str, scale: float, zero_point: int, x: list[float], expected: list[float]
) -> None:
    """A quantized input rounds half to even and clips to its range; it neither truncates nor wraps."""
    entry = {"dtype": np.dtype(dtype).type, "scale": scale, "zero_point": zero_point}

    values = predict.quantized(np.array(x), entry)

    assert (expected, np.dtype(dtype)) == (values.tolist(), values.dtype)


def test_nan_is_no_int8() -> None:
    """A NaN sample is an error, not an arbitrary integer."""
    with pytest.raises(StageError, match="can't be quantized"):
        predict.quantized(np.array([np.nan]), {"dtype": np.int8, "scale": 1.0, "zero_point": 0})


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    """A file that LiteRT can't read is an error that names it."""
    tflite = tmp_path / "bad.tflite"
    tflite.write_bytes(b"not a flatbuffer")

    with pytest.raises(StageError) as caught:
        on_reference(tflite, np.zeros((1, 4)))

    assert str(tflite) == caught.value.where


MAKE_MODELS = """
import json, sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mltkbuild.evaluation.compiled import CompiledMetrics
from mltkbuild.tflite import predict

folder = Path(sys.argv[1])
rng = np.random.default_rng(0)


def export(model, name, **kwargs):
    shape = (1, *model.input_shape[1:])
    signature = [keras.InputSpec(shape=shape, dtype="float32")]
    model.export(folder / name, format="litert", verbose=False, input_signature=signature, **kwargs)


def export_int8(model, name):
    samples = rng.uniform(-1, 1, (50, 1, *model.input_shape[1:])).astype("float32")
    export(
        model,
        name,
        optimizations=[tf.lite.Optimize.DEFAULT],
        representative_dataset=lambda: ([sample] for sample in samples),
        target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
        inference_input_type=tf.int8,
        inference_output_type=tf.int8,
    )


layers = keras.layers
keras.utils.set_random_seed(1)
dense = keras.Sequential([keras.Input((4,)), layers.Dense(8, activation="relu"), layers.Dense(3, activation="softmax")])
conv = keras.Sequential([keras.Input((6, 6, 1)), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(3)])
inputs = keras.Input((4,))
forked = keras.Model(inputs, [layers.Dense(2)(inputs), layers.Dense(3)(inputs)])
export_int8(dense, "dense.tflite")
export_int8(conv, "conv.tflite")
export(forked, "forked.tflite")

x = rng.uniform(-1, 1, (70, 4)).astype("float32")
dense.compile(loss="categorical_crossentropy", metrics=["accuracy"])
compiled = CompiledMetrics(dense, 16)
compiled.add(70, x, np.eye(3)[dense.predict(x, verbose=0).argmax(1)])
(folder / "answers.json").write_text(json.dumps([predict.predict_keras(dense, x, 16)[0].tolist(), compiled.result()]))
np.save(folder / "x.npy", x)
export(keras.Sequential([keras.Input((5, 3)), layers.LSTM(4), layers.Dense(3)]), "lstm.tflite")
"""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real .tflite files, converted in a process of their own."""
    folder = tmp_path_factory.mktemp("models")
    warm.python(MAKE_MODELS, str(folder))
    return folder


def one_by_one(tflite: Path, x: np.ndarray) -> np.ndarray:
    """The plainest loop over the reference kernels."""
    interpreter = Interpreter(str(tflite), experimental_op_resolver_type=OpResolverType.BUILTIN_REF)
    interpreter.allocate_tensors()
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    (scale, zero_point), (end_scale, end_zero_point) = entry["quantization"], end["quantization"]
    outputs = []
    for sample in x:
        steps = [min(max(round(float(value) / scale) + zero_point, -128), 127) for value in sample.ravel()]
        interpreter.set_tensor(entry["index"], np.array(steps, np.int8).reshape(1, *sample.shape))
        interpreter.invoke()
        outputs.append((interpreter.get_tensor(end["index"])[0].astype(np.float32) - end_zero_point) * end_scale)
    return np.array(outputs, np.float32)


@pytest.mark.real
@pytest.mark.parametrize("name", ["dense", "conv"])
def test_predict_reference_agrees_with_a_plain_loop(models: Path, name: str, capfd: pytest.CaptureFixture[str]) -> None:
    """An int8 model predicts bit for bit what a loop over single samples predicts, and prints nothing."""
    tflite = models / f"{name}.tflite"
    shape = (4,) if name == "dense" else (6, 6, 1)
    x = np.random.default_rng(1).uniform(-1.5, 1.5, (70, *shape)).astype(np.float32)

    scores = on_reference(tflite, x)

    assert ("", "") == tuple(capfd.readouterr())
    assert ((70, 3), np.dtype("float32")) == (scores.shape, scores.dtype)
    assert one_by_one(tflite, x).tolist() == scores.tolist()
    assert scores[:5].tolist() == on_reference(tflite, x[:5]).tolist()


@pytest.mark.real
def test_a_recurrent_model_starts_anew_with_each_sample(models: Path) -> None:
    """A sample's scores don't depend on the samples before it."""
    x = np.random.default_rng(1).uniform(-1.0, 1.0, (4, 5, 3))

    scores = on_reference(models / "lstm.tflite", x)

    assert scores[::-1].tolist() == on_reference(models / "lstm.tflite", x[::-1]).tolist()


@pytest.mark.real
def test_a_real_input_clips(models: Path) -> None:
    """Samples far outside the calibrated range give what its ends give."""
    ends = np.array([[1.0, -1.0, 1.0, -1.0]])

    far, near = (on_reference(models / "dense.tflite", ends * factor) for factor in (1e6, 2.0))

    assert near.tolist() == far.tolist()


@pytest.mark.real
def test_keras_and_tflite_predict_the_same_classes(models: Path) -> None:
    """The Keras model and its int8 file give nearly the same scores, and the compiled metrics are silent numbers."""
    keras_scores, metrics = json.loads((models / "answers.json").read_text())

    scores = on_reference(models / "dense.tflite", np.load(models / "x.npy"))

    assert float(np.abs(scores - keras_scores).max()) < 0.03
    assert (1.0, {"loss", "accuracy"}) == (metrics["accuracy"], set(metrics))


@pytest.mark.real
def test_what_a_tflite_file_cannot_take_is_refused(models: Path) -> None:
    """Samples of another shape, and more than the inputs, are errors that show what was found."""
    with pytest.raises(StageError) as caught:
        on_reference(models / "dense.tflite", np.zeros((2, 5)))
    assert "samples of shape (5,); the model takes (4,)" == caught.value.found

    with pytest.raises(StageError) as caught:
        predict.predict_tflite(models / "forked.tflite", [np.zeros((2, 4))] * 2, on_reference=True)
    assert "2 arrays; the model takes 1" == caught.value.found


@pytest.mark.real
def test_several_outputs_are_predicted(models: Path) -> None:
    """An array each, in the file's order."""
    found = predict.predict_tflite(models / "forked.tflite", [np.zeros((2, 4))], on_reference=True)
    assert [(2, 2), (2, 3)] == sorted(part.shape for part in found)
