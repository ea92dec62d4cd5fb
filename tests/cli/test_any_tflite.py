"""`mltk profile`, `evaluate` and `export` on files of TensorFlow's own converter, which leaves the batch open."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.errors import StageError
from mltkbuild.tflite import graph, micro, predict

from .. import warm
from ..conftest import Front
from ..tflite.test_culprit import narrow
from ..tflite.test_micro import changed, dense_model, open_batch
from ..tflite.test_profile import Op, T, handmade, options

pytestmark = pytest.mark.usefixtures("warm_workers")
MAKE = """
import sys, keras, numpy as np, tensorflow as tf
L, folder = keras.layers, sys.argv[1]
keras.utils.set_random_seed(3)
start = keras.Input((8, 8, 3))
x = L.ReLU()(L.BatchNormalization()(L.Conv2D(4, 3, padding="same")(start)))
x = L.GlobalAveragePooling2D()(L.Add()([x, L.Conv2D(4, 3, padding="same")(x)]))
models = {
    "residual": (keras.Model(start, L.Dense(3, activation="softmax")(x)), ("int8", "int16")),
    "dense": (keras.Sequential([keras.Input((10,)), L.Dense(8), L.Dense(3, activation="softmax")]), ("float32",)),
    "lstm": (keras.Sequential([keras.Input((5, 4)), L.LSTM(6, unroll=True), L.Dense(3)]), ("float32",)),
}
for name, (model, kinds) in models.items():
    x = np.random.default_rng(1).random((40, *model.input_shape[1:])).astype("float32")
    np.savez(f"{folder}/{name}.npz", x=x, y=model.predict(x, verbose=0).argmax(axis=1))
    for kind in kinds:
        converter = tf.lite.TFLiteConverter.from_keras_model(model)
        if kind != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
            converter.representative_dataset = lambda: ([row[None]] for row in x)
            converter.inference_input_type = converter.inference_output_type = getattr(tf, kind)
        if kind == "int16":
            wide = tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
            converter.target_spec.supported_ops = [wide]
        with open(f"{folder}/{name}_{kind}.tflite", "wb") as file:
            file.write(converter.convert())
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Models of TensorFlow's converter with the samples that they were calibrated with, from one process."""
    folder = tmp_path_factory.mktemp("converted")
    warm.python(MAKE, str(folder))
    return folder


@pytest.mark.real
@pytest.mark.parametrize("name", ["dense_float32", "residual_int8", "residual_int16"])
def test_an_open_batch_is_run_as_one(front: Front, made: Path, tmp_path: Path, name: str) -> None:
    """The arena is measured, the figures are those of the answers, and there are vectors for the firmware."""
    path = made / f"{name}.tflite"
    assert graph.read(path.read_bytes()).inputs[0].is_open
    profiled = front.mltk("profile", str(path), "--json")
    assert (0, "") == (profiled.code, profiled.err)
    assert json.loads(profiled.out)["arena"]["total"] > 0
    data = made / f"{name.partition('_')[0]}.npz"
    evaluated = front.mltk("evaluate", str(path), "--data", str(data), "--json")
    assert (0, "") == (evaluated.code, evaluated.err)
    assert json.loads(evaluated.out)["tflite"]["overall_accuracy"] > 0.9
    exported = front.mltk("export", str(path), "-o", str(tmp_path / "out"))
    assert (0, "") == (exported.code, exported.err)
    assert (tmp_path / "out" / f"{name}_test_vector.h").exists()


@pytest.mark.real
def test_what_can_t_be_made_is_told_and_an_exit_code(front: Front, made: Path, tmp_path: Path) -> None:
    """A model that computes its sizes as it runs has MACs, sources and LiteRT's figures; the rest is an error each."""
    path = str(made / "lstm_float32.tflite")
    profiled = front.mltk("profile", path, "--json")
    evaluated = front.mltk("evaluate", path, "--data", str(made / "lstm.npz"), "--json")
    exported = front.mltk("export", path, "-o", str(tmp_path / "out"))
    told = ("the arena can't be told", "not those of TensorFlow Lite Micro", "no arena size and no test vector")
    for result, words in zip((profiled, evaluated, exported), told, strict=True):
        assert (1, True) == (result.code, words in result.err), result.err
        assert "FILL" in result.err
        assert "fix:" in result.err
    assert "with a batch of 1" in profiled.err
    assert json.loads(profiled.out)["macs"] > 0
    results = json.loads(evaluated.out)
    assert 1.0 == results["tflite"]["overall_accuracy"]
    assert predict.REFERENCE in results["notes"][0]
    assert (tmp_path / "out" / "lstm_float32_model.cc").exists()


def test_a_model_that_crashes_the_interpreter_harms_no_command(front: Front, tmp_path: Path) -> None:
    """The operator, its layer and the cause are told, and what is known without running is there."""
    path = tmp_path / "narrow.tflite"
    path.write_bytes(narrow())
    np.savez(tmp_path / "data.npz", x=np.zeros((4, 4), np.float32), y=np.array([0, 1, 0, 1]))
    for arguments in (("profile",), ("export", "-o", str(tmp_path / "out"))):
        result = front.mltk(arguments[0], str(path), *arguments[1:])
        assert (1, True) == (result.code, "best_1: SOFTMAX reads steps of 7.5e-09" in result.err), result.err
        assert "free memory" not in result.err


def test_a_larger_batch_is_filled_up(tmp_path: Path) -> None:
    """A model that takes several samples at once answers each as one that takes one, whatever their number."""
    path, single = tmp_path / "four.tflite", tmp_path / "one.tflite"
    for file, batch in ((path, 4), (single, 1)):
        tensors = [T((batch, 3)), T((2, 3), data=[1, 2, 3, 4, 5, 6]), T((batch, 2))]
        operators = [Op("FULLY_CONNECTED", (0, 1, -1), (2,), options("FullyConnected"))]
        file.write_bytes(handmade(tensors, operators, [0], [2]))
    assert 4 == micro.Micro(path.read_bytes()).batch
    for count in (1, 4, 6):
        x = np.random.default_rng(count).normal(size=(count, 3)).astype(np.float32)
        assert micro.run_all(single, [x])[0].tolist() == micro.run_all(path, [x])[0].tolist()


def test_a_file_that_neither_runs_is_one_error(tmp_path: Path) -> None:
    """When LiteRT's reference kernels don't answer either, TensorFlow Lite Micro's refusal is told."""
    path = tmp_path / "custom.tflite"
    path.write_bytes(handmade([T((1, 4)), T((1, 4))], [Op("mine", (0,), (1,))], [0], [1]))
    with pytest.raises(StageError, match="TensorFlow Lite Micro can't run the model"):
        predict.answers_of(path, [np.zeros((2, 4), np.float32)], predict.refusal_of(path))


def test_samples_run_whether_the_batch_is_open_or_not(tmp_path: Path) -> None:
    """The same answers come from TensorFlow Lite Micro with a batch that the file leaves open."""
    path, x = tmp_path / "model.tflite", np.eye(4, dtype=np.float32)
    answers = []
    for content in (dense_model(), changed(open_batch)):
        path.write_bytes(content)
        assert predict.refusal_of(path) is None
        answers.append(predict.answers_of(path, [x], None)[0].tolist())
    assert answers[0] == answers[1]
