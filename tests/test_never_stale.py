"""Edits that reach a stage by ways that are easily missed: an incremental build gives what a fresh one gives."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.workers.executor import Processes

from .conftest import Files

SPEC = '''
import functools, json, os
from pathlib import Path
import keras
import numpy as np
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A tiny model that reads its settings from a file."""

def setting(name):
    return json.loads(Path("settings.json").read_text())[name]

TOP

def load(subset, test):
    scale = LOADER
    return np.arange(32, dtype="float32").reshape(8, 4) * scale, np.arange(8) % 2

def build(model):
    units = BUILDER
    layers = [keras.Input((4,)), keras.layers.Dense(units), keras.layers.Dense(2, "softmax")]
    network = keras.Sequential(layers)
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network

def rate(epoch, old):
    return SCHEDULE

my_model = Model()
my_model.classes = ["a", "b"]
my_model.input_shape = (4,)
my_model.epochs = 1
my_model.dataset = load
my_model.lr_schedule = rate
my_model.build_model_function = build
'''
DEFAULTS = {"TOP": "", "LOADER": "1.0", "BUILDER": "3", "SCHEDULE": "0.1"}
SETTINGS = '{"scale": 1.0, "units": 3, "rate": 0.1}'
RESULTS = {"data": "data/training.json", "train": "kws.keras"}
"""What is compared for each stage."""


def spec(**parts: str) -> str:
    """The tiny model with some of its parts exchanged."""
    text = SPEC
    for name, code in {**DEFAULTS, **parts}.items():
        text = text.replace(name, code)
    return text


@dataclass(frozen=True)
class Case:
    """A spec and an edit after which a stage must run.

    Args:
        stage: The stage.
        text: The spec.
        edit: What somebody changes.
    """

    stage: str
    text: str
    edit: Callable[[Files], object]


def settings(**changed: float) -> Callable[[Files], object]:
    """Change settings in their file."""

    def edit(files: Files) -> None:
        for name, value in changed.items():
            text = (files.root / "settings.json").read_text()
            start = text.index(f'"{name}": ') + len(name) + 4
            end = min(place for place in (text.find(",", start), text.find("}", start)) if place > 0)
            (files.root / "settings.json").write_text(text[:start] + str(value) + text[end:])

    return edit


SCALE, RATE, UNITS = 'setting("scale")', 'setting("rate")', 'setting("units")'
CASES = {
    "file of builder and loader": Case("data", spec(LOADER=SCALE, BUILDER=UNITS), settings(scale=2.0)),
    "file of loader and schedule": Case("train", spec(LOADER=SCALE, SCHEDULE=RATE), settings(rate=0.5)),
    "file of builder and schedule": Case("train", spec(BUILDER=UNITS, SCHEDULE=RATE), settings(rate=0.5)),
    "file of the spec's top and schedule": Case("train", spec(TOP="TOP = " + UNITS, SCHEDULE=RATE), settings(rate=0.5)),
    "file that a helper remembers": Case(
        "train",
        spec(TOP="@functools.cache\ndef known(name):\n    return setting(name)\n", LOADER="1.0 + 0 * known('rate')",
             SCHEDULE="known('rate')"),
        settings(rate=0.5),
    ),
    "file that the loader leaves for the schedule": Case(
        "train",
        spec(TOP="LEFT = {}", LOADER="1.0\n    LEFT.update(json.loads(Path('settings.json').read_text()))",
             SCHEDULE="LEFT['rate']"),
        settings(rate=0.5),
    ),
}  # fmt: skip


def result(root: Path, case: Case, executor: Processes) -> tuple[bytes, bool]:
    """Build the case's stage, and give what it made and whether it ran."""
    builder = Builder(Files(root).workspace, executor)
    built = builder.build("kws", case.stage)
    builder.memo.save()
    return (root / "build/kws" / RESULTS[case.stage]).read_bytes(), bool(built.reasons)


@pytest.mark.parametrize("name", CASES)
def test_incremental_build_gives_what_a_fresh_one_gives(name: str, workspace: Files, executor: Processes) -> None:
    """After the edit the stage runs, its result is that of a build from nothing, and the next build does nothing."""
    case = CASES[name]
    workspace.write("settings.json", SETTINGS)
    workspace.spec("kws", case.text)
    before, _ = result(workspace.root, case, executor)
    case.edit(workspace)
    after, ran = result(workspace.root, case, executor)
    assert ran
    assert (after, False) == result(workspace.root, case, executor)
    shutil.rmtree(workspace.root / "build")
    assert after == result(workspace.root, case, executor)[0]
    assert before != after


def test_name_that_the_loader_skips_trains_nothing(workspace: Files, executor: Processes) -> None:
    """A file that is added to the folder of the data, and that the loader leaves alone, only makes the loader look."""
    workspace.write("samples/a.txt", "2.0")
    folder = "[float(path.read_text()) for path in sorted(Path('samples').iterdir()) if path.suffix == '.txt'][0]"
    case = Case("train", spec(LOADER=folder), lambda files: files.write("samples/README.md", "The samples."))
    workspace.spec("kws", case.text)
    before, _ = result(workspace.root, case, executor)
    case.edit(workspace)
    assert Builder(workspace.workspace, executor).judge("kws", "data").reasons
    assert (before, False) == result(workspace.root, case, executor)
    workspace.write("samples/a.txt", "3.0")
    assert result(workspace.root, case, executor)[1]
