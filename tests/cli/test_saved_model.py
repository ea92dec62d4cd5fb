"""`mltk quantize`, `evaluate` and `summarize` on a SavedModel's folder, and what in one needs trust."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltkbuild.tflite import graph

from .. import warm
from ..conftest import Front

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("warm_workers")]
MAKE = """
import sys, keras, numpy as np, tensorflow as tf
L, folder = keras.layers, sys.argv[1]
keras.utils.set_random_seed(3)
model = keras.Sequential([keras.Input((8, 8, 1)), L.Conv2D(4, 3, dilation_rate=2), L.Flatten(), L.Dense(3)])
model.export(folder + "/conv", verbose=False)
x = np.random.default_rng(1).random((40, 8, 8, 1)).astype("float32")
np.savez(folder + "/conv.npz", x=x, y=model.predict(x, verbose=0).argmax(axis=1))

class Writing(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((None, 2))])
    def __call__(self, x):
        tf.io.write_file(folder + "/written", "here")
        return inner(x)

class Plain(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec(None)])
    def shapeless(self, x):
        return x

@tf.function
def inner(x):
    tf.print("there", output_stream="file://" + folder + "/printed")
    return x * 2.0

writing, plain = Writing(), Plain()
tf.saved_model.save(writing, folder + "/writing", signatures=writing.__call__)
tf.saved_model.save(plain, folder + "/shapeless", signatures=plain.shapeless)
tf.saved_model.save(tf.Module(), folder + "/unsigned")
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SavedModels and samples, from one process; one can't be read."""
    folder = tmp_path_factory.mktemp("saved")
    warm.python(MAKE, str(folder))
    (folder / "damaged").mkdir()
    (folder / "damaged/saved_model.pb").write_bytes(b"\xff" * 40)
    return folder


def test_a_saved_model_becomes_int8(front: Front, made: Path, tmp_path: Path) -> None:
    """It is converted with a batch of 1, so that a dilated convolution runs, and its figures can be compared."""
    output, data = tmp_path / "conv.tflite", ("--data", str(made / "conv.npz"))
    result = front.mltk("quantize", str(made / "conv"), *data, "-o", str(output))
    assert (0, "") == (result.code, result.err)
    assert "runs on TensorFlow Lite Micro with" in result.out
    model = graph.read(output.read_bytes())
    assert ("int8", (1, 8, 8, 1)) == (model.inputs[0].dtype, model.inputs[0].shape)
    evaluated = front.mltk("evaluate", str(made / "conv"), str(output), *data)
    assert (0, "") == (evaluated.code, evaluated.err)
    assert "overall accuracy  1.0000" in evaluated.out
    assert "saved_model" in front.mltk("summarize", str(made / "conv")).out


def test_operators_that_reach_out_need_trust(front: Front, made: Path, tmp_path: Path) -> None:
    """A graph that writes files, also in a function that it calls, isn't loaded without trust, and each is named."""
    output = tmp_path / "model.tflite"
    result = front.mltk("quantize", str(made / "writing"), "--float", "-o", str(output))
    assert (2, False) == (result.code, output.exists())
    assert "found: PrintV2, WriteFile\n" in result.err
    assert "--trust" in result.err
    assert not (made / "written").exists()
    # TensorFlow Lite has no such operators; the file is loaded, and nothing more is asked.
    trusted = front.mltk("quantize", str(made / "writing"), "--float", "--trust", "-o", str(output))
    assert (1, False) == (trusted.code, "--trust" in trusted.err)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("damaged", "is damaged"),
        ("unsigned", "no signature serving_default"),
        ("shapeless", "an input without a shape"),
    ],
)
def test_what_is_no_model_is_one_error(front: Front, made: Path, tmp_path: Path, name: str, words: str) -> None:
    """The folder is named, with what is wrong in it."""
    result = front.mltk("quantize", str(made / name), "--float", "-o", str(tmp_path / "model.tflite"))
    assert (1, True, True) == (result.code, words in result.err, name in result.err), result.err
    assert "fix:" in result.err


def test_a_saved_model_is_no_tflite(front: Front, made: Path) -> None:
    """A command that takes another kind says which."""
    result = front.mltk("profile", str(made / "conv"))
    assert (2, True) == (result.code, "give .tflite" in result.err)
