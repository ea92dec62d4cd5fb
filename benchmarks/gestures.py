"""The workspace of the no-op: specs as people write them, built by fake bodies that write small files in no time."""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from mltkbuild.disk.digests import digest_of
from mltkbuild.disk.facts import Facts
from mltkbuild.disk.inputs import CODE, FILE, TEXT, parse
from mltkbuild.disk.workspace import find_workspace
from mltkbuild.engine.builder import Builder
from mltkbuild.events import Listener
from mltkbuild.fingerprint.toolchain import version
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import BUILT, STAGES, makes

SAMPLES = "data/samples.csv"
MODEL = "model_0000"

DODO = """\
from mltkbuild.tasks import DOIT_CONFIG, task_mltkbuild
__all__ = ["DOIT_CONFIG", "task_mltkbuild"]
"""

PARTS = '''\
"""What the models have in common."""

import csv
import pathlib

import keras
import numpy as np

SAMPLES = pathlib.Path(__file__).parents[1] / "data" / "samples.csv"


def load_samples(subset, classes):
    """The rows of one subset: features and the number of the class."""
    with SAMPLES.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["subset"] == subset]
    x = np.array([[float(row["a"]), float(row["b"])] for row in rows], "float32")
    return x, np.array([classes.index(row["label"]) for row in rows])


def block(x, units, rate):
    """A dense layer with normalisation and dropout."""
    x = keras.layers.Dense(units, use_bias=False)(x)
    x = keras.layers.BatchNormalization()(x)
    x = keras.layers.ReLU(max_value=6)(x)
    return keras.layers.Dropout(rate)(x)
'''

SPEC = '''\
"""Number {number}: which of four gestures an accelerometer saw."""

import keras
from parts import block, load_samples

from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

UNITS = ({units}, 24, 16)
RATE = 0.25


# @mltk_model
class GestureModel(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A multilayer perceptron for gestures."""


def load_dataset(subset, test):
    """The samples of a subset, fewer of them in a dry run."""
    x, y = load_samples(subset, my_model.classes)
    return (x[:64], y[:64]) if test else (x, y)


def build_model(model):
    """Three dense blocks and a softmax."""
    inputs = x = keras.Input(model.input_shape)
    for units in UNITS:
        x = block(x, units, RATE)
    outputs = keras.layers.Dense(model.n_classes, activation="softmax")(x)
    keras_model = keras.Model(inputs, outputs)
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = GestureModel()
my_model.version = 1
my_model.description = "Gestures, variant {number}"

# The data set
my_model.classes = ["up", "down", "left", "right"]
my_model.input_shape = (2,)
my_model.dataset = load_dataset
my_model.validation_split = 0.1

# Training
my_model.seed = {number}
my_model.epochs = 40
my_model.batch_size = 32
my_model.optimizer = "adam"
my_model.loss = "sparse_categorical_crossentropy"
my_model.metrics = ["accuracy"]
my_model.early_stopping = {{"monitor": "val_loss", "patience": 10}}
my_model.build_model_function = build_model

# Conversion
my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"

# For the firmware
my_model.model_parameters["sample_rate_hz"] = 100
my_model.model_parameters["window_ms"] = 640
'''

# What a stage of a classifier makes beside what it promises.
EXTRAS: Mapping[str, tuple[str, ...]] = {
    "quantize": ("{name}.float32.tflite",),
    "evaluate": tuple(f"eval/{kind}/{plot}.png" for kind in ("keras", "tflite") for plot in ("confusion", "roc")),
}
# The properties whose digests a classifier's spec stage records.
PROPERTIES = re.findall(
    r"\w+",
    """
    batch_size checkpoint checkpoints_enabled class_counts class_weights classes description deterministic
    early_stopping epochs eval_augment eval_custom_function eval_max_samples_per_class eval_shuffle
    eval_steps_per_epoch input_shape keras_custom_objects loaded_subset loss lr_schedule metrics on_save_keras_model
    on_training_complete optimizer reduce_lr_on_plateau sample_weight seed shuffle steps_per_epoch tensorboard
    train_callbacks train_kwargs validation_batch_size validation_data validation_freq validation_split
    validation_steps version x y
""",
)

Graph = dict[str, tuple[list[str], list[str]]]
"""Inputs and artifacts of each stage: paths with `{name}` for the model and `{target}` for it or its dry run."""


def fake(request: Request, listener: Listener) -> Outcome:
    """A stage body that writes small files in no time and notices what a classifier's stage would."""
    extras = [name.replace("{name}", request.target) for name in EXTRAS.get(request.stage, ())]
    names = (*makes(STAGES[request.stage], request.target), *extras)
    for name in names:
        path = os.path.join(request.scratch, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            text = f"target: {request.target}\nartifact: {name}\nproperties: {{}}\n"
            file.write("{}\n" if name.endswith(".json") else text)
    outcome = Outcome(artifacts=tuple(sorted(names)), facts=_facts(request), seconds=1.234)
    outcome.tools = {name: version(name) for name in ("python", "tensorflow", "keras", "numpy", "mltkbuild")}
    if request.stage == "spec":
        outcome.libraries = {name: version(name) for name in ("mltkbuild", "numpy")}
    if request.stage == "data":
        samples = os.path.join(request.root, SAMPLES)
        outcome.files = {samples: digest_of(samples) or ""}
        outcome.reads = ("classes", "dataset")
    return outcome


def _facts(request: Request) -> Facts:
    """Facts as large as a real record's."""
    digests = {name: hashlib.sha256(f"{request.target} {name}".encode()).hexdigest() for name in PROPERTIES}
    metrics = {f"{part}{name}": 0.9861111044883728 for part in ("", "val_") for name in ("accuracy", "loss")}
    facts: dict[str, Facts] = {
        "spec": {"properties": digests, "deterministic": True},
        "data": {"samples": {"calibration": 144, "evaluation": 360, "training": 1293, "validation": 144}},
        "train": {"epochs": 40, "metrics": metrics},
        "evaluate": {"keras_accuracy": 0.986111, "tflite_accuracy": 0.983333},
    }
    return facts.get(request.stage, {"bytes": 15488})


class Fake:
    """An executor that runs the fake bodies in this process."""

    def __init__(self, run: Callable[[Request, Listener], Outcome] = fake) -> None:
        self.run = run

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """Nothing runs beside this process."""
        return []

    def kill(self) -> None:
        """Nothing runs beside this process."""

    def stop(self) -> None:
        """Nothing runs beside this process."""


def write_workspace(folder: Path, count: int) -> None:
    """Write the specs, their helper module, their data, and `dodo.py`."""
    (folder / "models").mkdir(parents=True)
    (folder / "data").mkdir()
    (folder / "dodo.py").write_text(DODO, encoding="utf-8")
    (folder / "models/parts.py").write_text(PARTS, encoding="utf-8")
    rows = (f"{'evaluation' if row % 5 == 0 else 'training'},{row / 7:.4f},{row / 3:.4f},up" for row in range(100))
    (folder / SAMPLES).write_text("\n".join(("subset,a,b,label", *rows)) + "\n", encoding="utf-8")
    for number in range(count):
        text = SPEC.format(number=number, units=32 + number % 16)
        (folder / f"models/model_{number:04}.py").write_text(text, encoding="utf-8")


def build_workspace(folder: Path) -> Graph:
    """Build every model's archive with the fake stage bodies.

    Returns:
        The graph, as the records have it.
    """
    builder = Builder(find_workspace(folder), Fake())
    # A stamp is kept only for a file that is older than a tick of the clock when it is read.
    time.sleep(0.1)
    for name in builder.listing.specs:
        builder.build(name, "archive")
    builder.close()
    return _graph(builder)


def _graph(builder: Builder) -> Graph:
    """The files that each stage of one model has as inputs and artifacts."""
    graph: Graph = {}
    earlier: dict[str, str] = {}
    state = builder.state(MODEL)
    state.reload()
    for stage in BUILT:
        record = state.record(stage)
        assert record is not None
        paths = [_source(name) or earlier.get(name, "") for name in record.inputs]
        # What looks ahead of a stage is made before it: another tool knows that by a file alone.
        ahead = [name for name in STAGES[stage].needs if STAGES[name].before == stage]
        paths += [earlier[artifact] for name in ahead for artifact in makes(STAGES[name], MODEL)]
        artifacts = {name: builder.workspace.relative(state.folder.artifact(name)) or "" for name in record.artifacts}
        earlier |= artifacts
        graph[stage] = (
            [_as_template(path) for path in paths if path],
            [_as_template(path) for path in artifacts.values()],
        )
    return graph


def _source(name: str) -> str | None:
    """The path of an input that is a source or data file."""
    kind, subject = parse(name)
    return subject if kind in {CODE, TEXT, FILE} else None


def _as_template(path: str) -> str:
    return path.replace(MODEL, "{name}" if path.endswith(f"{MODEL}.py") else "{target}")
