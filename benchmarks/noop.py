"""What a build with nothing to do costs, beside plain doit, ninja and GNU make with the same graph over the same files.

    python benchmarks/noop.py [--models 1000] [--rounds 9] [--limit 1.2]

The workspace is a real one except for what its stages compute: a fake body writes small files under the names that a
classifier's stages give them. Everything runs in turn, one of each a round, so that a busy moment hits all of them.
The exit code is 1 when mltkbuild takes more than `--limit` times as long as plain doit.
"""

from __future__ import annotations

import argparse
import dbm
import hashlib
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import distribution
from pathlib import Path

from mltkbuild.builder import Builder
from mltkbuild.files import digest_of
from mltkbuild.protocol import Listener, Outcome, Request
from mltkbuild.report import table
from mltkbuild.stages import STAGES, makes
from mltkbuild.state import CODE, FILE, TEXT
from mltkbuild.toolchain import version
from mltkbuild.workspace import TEST, find_workspace

SMALL = 50
# Compiled modules are kept, as they are for everybody.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
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

# Plain doit: the graph as data, one loop over it, and doit's own way to say each thing.
PLAIN_DODO = '''\
import glob

DOIT_CONFIG = {{"default_tasks": ["archive"]}}
STAGES = {stages!r}
MODELS = sorted(path[7:-3] for path in glob.glob("models/model_*.py"))


def build(stage, target):
    """A stage's work; here the files are there already."""


def make(stage, name, target):
    inputs, artifacts = STAGES[stage]
    return {{
        "actions": [(build, [stage, target])],
        "file_dep": [path.format(name=name, target=target) for path in inputs],
        "targets": [path.format(name=name, target=target) for path in artifacts],
    }}


def task_models():
    for stage in STAGES:
        for name in MODELS:
            yield {{"basename": stage, "name": name, **make(stage, name, name)}}
            # Not a subtask, so that the group of a stage holds the models alone.
            yield {{"basename": f"{{stage}}:{{name}}-test", **make(stage, name, f"{{name}}-test")}}
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
            file.write(f"target: {request.target}\nartifact: {name}\n" if not name.endswith(".json") else "{}\n")
    outcome = Outcome(artifacts=tuple(sorted(names)), facts=_facts(request), seconds=1.234)
    outcome.tools = {name: version(name) for name in ("python", "tensorflow", "keras", "numpy", "mltkbuild")}
    if request.stage == "spec":
        outcome.libraries = {name: version(name) for name in ("mltkbuild", "numpy")}
    if request.stage == "data":
        samples = os.path.join(request.root, SAMPLES)
        outcome.files = {samples: digest_of(samples) or ""}
        outcome.reads = ("classes", "dataset")
    return outcome


def _facts(request: Request) -> dict[str, object]:
    """Facts as large as a real record's."""
    digests = {name: hashlib.sha256(f"{request.target} {name}".encode()).hexdigest() for name in PROPERTIES}
    metrics = {f"{part}{name}": 0.9861111044883728 for part in ("", "val_") for name in ("accuracy", "loss")}
    facts: dict[str, dict[str, object]] = {
        "spec": {"properties": digests, "deterministic": True},
        "data": {"samples": {"calibration": 144, "evaluation": 360, "training": 1293, "validation": 144}},
        "train": {"epochs": 40, "metrics": metrics},
        "evaluate": {"keras_accuracy": 0.986111, "tflite_accuracy": 0.983333},
    }
    return facts.get(request.stage, {"bytes": 15488})


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
    builder = Builder(find_workspace(folder), run=fake)
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
    for stage in STAGES:
        record = state.record(stage)
        assert record is not None
        paths = [_source(name) or earlier.get(name, "") for name in record.inputs]
        artifacts = {name: builder.workspace.relative(state.folder.artifact(name)) or "" for name in record.artifacts}
        earlier |= artifacts
        graph[stage] = (
            [_as_template(path) for path in paths if path],
            [_as_template(path) for path in artifacts.values()],
        )
    return graph


def _source(name: str) -> str | None:
    """The path of an input that is a source or data file."""
    prefix = next((prefix for prefix in (CODE, TEXT, FILE) if name.startswith(prefix)), None)
    return None if prefix is None else name.removeprefix(prefix)


def _as_template(path: str) -> str:
    return path.replace(MODEL, "{name}" if path.endswith(f"{MODEL}.py") else "{target}")


def write_plain(folder: Path, workspace: Path, graph: Graph) -> None:
    """Copy the files of a workspace without its records, and write the same graph for doit, ninja and make."""
    for name in ("models", "data", "build"):
        shutil.copytree(workspace / name, folder / name, ignore=shutil.ignore_patterns(".*"))
    (folder / "dodo.py").write_text(PLAIN_DODO.format(stages=graph), encoding="utf-8")
    ninja = ["rule make", "  command = touch $out"]
    rules = ["MAKEFLAGS += --no-builtin-rules --no-builtin-variables", ".PHONY: all", "all:"]
    archives = []
    names = sorted(path.stem for path in (folder / "models").glob("model_*.py"))
    for name in names:
        for target in (name, name + TEST):
            for stage in graph.values():
                inputs, artifacts = (" ".join(paths).format(name=name, target=target) for paths in stage)
                ninja.append(f"build {artifacts}: make {inputs}")
                rules.append(f"{artifacts} &: {inputs}\n\ttouch {artifacts}")
        archives += [path.format(target=name) for path in graph["archive"][1]]
    ninja.append(f"default {' '.join(archives)}")
    rules.append(f"all: {' '.join(archives)}")
    (folder / "build.ninja").write_text("\n".join(ninja) + "\n", encoding="utf-8")
    (folder / "Makefile").write_text("\n".join(rules) + "\n", encoding="utf-8")


@dataclass(frozen=True)
class Tool:
    """A build tool at its no-op.

    Args:
        name: For the table.
        command: The command line.
        folder: Where it runs.
        idle: Tells from the output that nothing ran.
        prepare: Whether a first run must bring it up to date.
    """

    name: str
    command: tuple[str, ...]
    folder: Path
    idle: Callable[[str], bool]
    prepare: bool = True

    def time(self) -> float:
        """Seconds of one run."""
        start = time.perf_counter()
        self.run(subprocess.DEVNULL)
        return time.perf_counter() - start

    def run(self, output: int) -> str:
        """Run it and give what it says."""
        done = subprocess.run(
            self.command, cwd=self.folder, env=ENVIRONMENT, stdout=output, stderr=output, text=True, check=True
        )
        return done.stdout or ""

    def check(self) -> None:
        """Make sure that there is nothing to do."""
        said = self.run(subprocess.PIPE)
        if not self.idle(said):
            raise SystemExit(f"{self.name} was to do nothing, but it says: {said[-500:]}")


def bare_doit(plain: Path) -> Path:
    """Make a virtual environment that holds doit alone: doit loads the plugins of all packages beside it.

    Returns:
        Its Python.
    """
    folder = plain / ".venv"
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    for file in distribution("doit").files or ():
        if file.parts[0].startswith("doit") and file.suffix != ".pyc":
            target = site / file
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(str(file.locate()), target)
    return folder / "bin" / "python"


def tools(workspace: Path, plain: Path, count: int) -> list[Tool]:
    """The tools to compare, each with the proof that it does nothing."""
    stages = count * len(STAGES)
    ours = (sys.executable, "-m", "doit")
    doit = (str(bare_doit(plain)), "-m", "doit")

    def skips_all(output: str) -> bool:
        lines = output.splitlines()
        return len(lines) == stages and all(line.startswith("-- ") for line in lines)

    found = [
        Tool("mltkbuild", ours, workspace, lambda output: output == f"up to date: {stages} stages\n", prepare=False),
        Tool("ninja", ("ninja",), plain, lambda output: "no work to do" in output),
        Tool("make", ("make",), plain, lambda output: "Nothing to be done" in output, prepare=False),
        Tool("plain doit", doit, plain, skips_all),
        Tool("plain doit, json", (*doit, "--backend", "json", "--db-file", ".doit.json"), plain, skips_all),
    ]
    return [tool for tool in found if shutil.which(tool.command[0])]


def measure(candidates: Sequence[Tool], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run of each tool, all of them in turn; a first round isn't counted."""
    for tool in candidates:
        tool.check()
    seconds: dict[str, list[float]] = {tool.name: [] for tool in candidates}
    for number in range(rounds + 1):
        for tool in candidates:
            took = tool.time()
            if number:
                seconds[tool.name].append(took)
    for tool in candidates:
        tool.check()
    return seconds


def run(folder: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Set up one size and measure it."""
    start = time.perf_counter()
    workspace, plain = folder / "workspace", folder / "plain"
    write_workspace(workspace, count)
    write_plain(plain, workspace, build_workspace(workspace))
    candidates = tools(workspace, plain, count)
    for tool in candidates:
        if tool.prepare:
            tool.run(subprocess.DEVNULL)
    database = dbm.whichdb(str(plain / ".doit.db"))
    print(f"{count} models: set up in {time.perf_counter() - start:.0f} s; doit's database is {database}", flush=True)
    return measure(candidates, rounds)


def report(count: int, seconds: Mapping[str, Sequence[float]]) -> str:
    """A table of one size."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    rows = [
        (name, f"{median:.3f}", f"{min(seconds[name]):.3f}", f"{median / medians['plain doit']:.2f}")
        for name, median in medians.items()
    ]
    return table((f"{count} models", "median s", "min s", "x plain doit"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time builds that have nothing to do.")
    parser.add_argument("--models", type=int, default=1000, help="models of the large workspace (1000)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (9)")
    parser.add_argument("--limit", type=float, default=1.2, help="largest ratio mltkbuild / plain doit (1.2)")
    chosen = parser.parse_args(arguments)
    versions = f"Python {platform.python_version()}, doit {distribution('doit').version}"
    print(f"{os.cpu_count()} cores, {platform.machine()}, {versions}")
    ratios = []
    for count in (chosen.models, SMALL):
        with tempfile.TemporaryDirectory(prefix="mltkbuild-noop-") as folder:
            seconds = run(Path(folder).resolve(), count, chosen.rounds)
        print(report(count, seconds), flush=True)
        ratios.append(statistics.median(seconds["mltkbuild"]) / statistics.median(seconds["plain doit"]))
    print(f"{chosen.models} models, mltkbuild / plain doit: {ratios[0]:.2f} (limit {chosen.limit})")
    return int(ratios[0] > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
