"""A build that is green has the right answer: what is published is what was trained, whatever it passes through."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import MltkError, StageError
from mltkbuild.events import Event, Note
from mltkbuild.workers.executor import Processes

from .conftest import Files, Running, tiny_spec

pytestmark = pytest.mark.real

HEADS = """
import keras
import numpy as np
import tensorflow as tf
from mltkbuild import DatasetMixin, EvaluateMixin, MltkModel, TrainMixin

# @mltk_model
class Heads(MltkModel, TrainMixin, DatasetMixin, EvaluateMixin):
    pass

def load(subset, test):
    x = np.random.default_rng(1).normal(0, 1, (60, 6)).astype("float32")
    wide = (np.full((60, 2), 0.5, "float32"), np.full((60, 2), 5.0, "float32"))
    return tf.data.Dataset.from_tensor_slices((x, wide)).batch(20)

def build(model):
    entry = keras.Input(model.input_shape)
    first = keras.layers.Dense(2, name="part", activation="sigmoid")(entry)
    second = keras.layers.Dense(2, name="whole")(entry)
    network = keras.Model(entry, [first, second])
    network.compile(loss=["mse", "mse"], optimizer="sgd")
    return network

def measure(mltk_model, built_model, eval_dir, show, logger):
    x = np.concatenate([part.numpy() for part, _ in load("evaluation", False)])
    is_file = hasattr(built_model, "__fspath__")
    first, second = built_model.predict(x, **({"y_dtype": "float32"} if is_file else {"verbose": 0}))
    return {f"{name} {place}": float(value) for name, part in (("first", first), ("second", second))
            for place, value in enumerate(np.ravel(part)[:20])}

my_model = Heads()
my_model.input_shape = (6,)
my_model.dataset = load
my_model.build_model_function = build
my_model.eval_custom_function = measure
my_model.epochs = 1
"""
PORTS = """
import keras
import numpy as np
import tensorflow as tf
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, EvaluateMixin, MltkModel, TrainMixin

# @mltk_model
class Ports(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    pass

def load(subset, test):
    rng = np.random.default_rng(1)
    zed, alpha = rng.normal(0, 1, (48, 6)).astype("float32"), rng.normal(0, 5, (48, 4)).astype("float32")
    x, y = {"alpha": alpha, "zed": zed}, {"kind": zed[:, :3].argmax(1), "area": alpha[:, :2]}
    WAY
    return x, y

def build(model):
    entries = {"zed": keras.Input((6,), name="zed"), "alpha": keras.Input((4,), name="alpha")}
    kind = keras.layers.Dense(3, name="kind", activation="softmax")(entries["zed"])
    ends = {"kind": kind, "area": keras.layers.Dense(2, name="area")(entries["alpha"])}
    network = NETWORK
    network.compile("adam", {"kind": "sparse_categorical_crossentropy", "area": "mse"})
    # The right answer, which no other order gives.
    weights = network.get_layer("kind"), network.get_layer("area")
    weights[0].set_weights([np.eye(6, 3), np.zeros(3)])
    weights[1].set_weights([np.eye(4, 2), np.zeros(2)])
    return network

my_model = Ports()
my_model.classes = ["a", "b", "c"]
my_model.input_shape = (6,)
my_model.dataset = load
my_model.build_model_function = build
my_model.epochs = 1
my_model.tflite_converter["generate_quantization_report"] = True
my_model.final_weights = "last"
my_model.batch_size = 48
"""
WAYS = {
    "dicts": ("pass", "keras.Model(entries, ends)"),
    "dicts for lists": ("pass", "keras.Model(list(entries.values()), list(ends.values()))"),
    "tuples": (
        "x, y = (zed, alpha), (y['kind'], y['area'])",
        "keras.Model(list(entries.values()), list(ends.values()))",
    ),
    "a stream of dicts": (
        "x, y = tf.data.Dataset.from_tensor_slices((x, y)).batch(12), None",
        "keras.Model(entries, list(ends.values()))",
    ),
}
FORGETS = """
class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **settings):
        super().__init__(**settings)
        self.factor = factor

    def call(self, x):
        return x * self.factor

    def get_config(self):
        return super().get_config()

def build(model):
    network = keras.Sequential([
        keras.Input((4,)), Scale(-1.0, name="turned"), keras.layers.Dense(2, activation="softmax"),
    ])
"""


def build(files: Files, executor: Processes, stage: str) -> None:
    """Bring a stage and what it needs up to date."""
    builder = Builder(files.workspace, Running(executor.run))
    try:
        builder.build("kws", stage)
    finally:
        builder.close()


def workspace(tmp_path: Path, text: str) -> Files:
    """A workspace with one spec."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=text)
    return files


def test_outputs_stay_in_their_places(tmp_path: Path, executor: Processes) -> None:
    """From the network to the spec's own evaluation of the `.tflite`, `tflm.json` and the exported header."""
    files = workspace(tmp_path, HEADS)
    build(files, executor, "evaluate")
    build(files, executor, "export")
    folder = files.root / "build/kws"
    keras_, tflite = (json.loads((folder / f"eval/{kind}/results.json").read_text()) for kind in ("keras", "tflite"))
    assert 40 == len(keras_["metrics"])
    assert pytest.approx(keras_["metrics"], abs=0.3) == tflite["metrics"]
    assert ["part", "whole"] == [port["name"] for port in json.loads((folder / "tflm.json").read_text())["outputs"]]
    header = next((folder / "export").glob("*_model.h")).read_text()
    assert header.index("// part: ") < header.index("// whole: ")


@pytest.mark.parametrize("way", WAYS)
def test_each_input_and_output_has_its_own(tmp_path: Path, executor: Processes, way: str) -> None:
    """From the loader to the page, the reports and the firmware's test, by name or in order."""
    way_in, network = WAYS[way]
    files = workspace(tmp_path, PORTS.replace("WAY", way_in).replace("NETWORK", network))
    for stage in ("view_data", "evaluate", "export"):
        build(files, executor, stage)
    folder = files.root / "build/kws"
    assert len((folder / "quantization_report.csv").read_text().splitlines()) > 2
    for kind in ("keras", "tflite"):
        results = json.loads((folder / f"eval/{kind}/results.json").read_text())
        assert results["outputs"]["kind"]["overall_accuracy"] > 0.95
        assert (["a", "b", "c"], 48) == (results["outputs"]["kind"]["classes"], results["n_samples"])
        assert results["outputs"]["area"]["metrics"]["mean_squared_error"] < 0.05
        assert (folder / f"eval/{kind}/kind/confusion_matrix.png").is_file()
    parity = json.loads((folder / "eval/parity.json").read_text())
    assert {"kind", "area"} == {one["output"] for one in parity["outputs"]}
    vectors = next((folder / "export").glob("*_test_vector.h")).read_text()
    assert [f"vector_{port}" in vectors for port in ("input0[4]", "input1[4]", "output0[4]", "output1[4]")] == [
        True
    ] * 4


def test_loggers_of_a_spec_are_shown(tmp_path: Path, executor: Processes) -> None:
    """While the stage runs, with its name; the two models predict alike, and what comes of it is a figure."""
    head, _, rest = HEADS.partition("    x = np.concatenate")
    text = f"{head}    logger.info('measuring')\n    logger.warning('odd')\n    x = np.concatenate{rest}"
    files = workspace(tmp_path, text.replace('**({"y_dtype": "float32"} if is_file else {"verbose": 0})', "verbose=0"))
    heard: list[Event] = []
    builder = Builder(files.workspace, Running(lambda request, _: executor.run(request, heard.append)))
    try:
        builder.build("kws", "evaluate")
    finally:
        builder.close()
    said = [event.text for event in heard if isinstance(event, Note)]
    assert ["evaluate:kws: measuring", "evaluate:kws: warning: odd"] * 2 == said


def test_forgotten_setting_costs_no_training(tmp_path: Path, executor: Processes) -> None:
    """It is told before the first epoch, with the layer's name; nothing is published."""
    head, _, rest = tiny_spec().partition("def build(model):\n")
    files = workspace(tmp_path, head + FORGETS.lstrip() + rest.partition("\n")[2])
    with pytest.raises(StageError, match="doesn't answer as the trained one") as caught:
        build(files, executor, "train")
    assert "factor of the layer turned (Scale) was -1.0, and is 1.0 when loaded" in str(caught.value.found)
    assert str(caught.value.where).startswith("models/kws.py:")
    assert not [*files.root.glob("build/kws/train/checkpoints/*"), *files.root.glob("build/kws/*.keras")]


def test_loss_that_parts_from_its_labels_costs_no_training(tmp_path: Path, executor: Processes) -> None:
    """The commonest mistake of a beginner's, in words that say what to do."""
    files = workspace(tmp_path, tiny_spec().replace("sparse_categorical", "categorical"))
    with pytest.raises(MltkError, match="takes one-hot rows, and the labels are class ids") as caught:
        build(files, executor, "train")
    assert "sparse_categorical_crossentropy" in str(caught.value.fix)
