"""What changed, in old and new values: properties, layers, functions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.disk.checkpoints import Position, Shelf
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.explain import changes, difference, unused_checkpoints
from mltkbuild.engine.freshness import Reason
from mltkbuild.engine.provenance import course_of
from mltkbuild.workers.executor import Processes

from ..conftest import REPOSITORY, Fakes, Files, Front, Running, bring


def layer(name: str, kind: str = "Conv2D", inbound: object = None, **config: object) -> dict[str, object]:
    """A layer as `spec/model.json` has it."""
    return {"class_name": kind, "config": {"name": name, **config}, "inbound_nodes": inbound or []}


def model(*layers: object, weights: str = "w", **rest: object) -> dict[str, object]:
    """A model as `spec/model.json` has it."""
    return {"class": "Sequential", "config": {"name": "m", "layers": list(layers)}, "weights": weights, **rest}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (model(layer("conv")), model(layer("conv")), []),
        (
            model(layer("conv", filters=8, kernel_size=[3, 3])),
            model(layer("conv", filters=16, kernel_size=[3, 3])),
            ["layer conv: filters 8 -> 16"],
        ),
        (
            model(layer("conv"), layer("pool", "MaxPooling2D")),
            model(layer("conv"), layer("drop", "Dropout")),
            ["layer pool is gone", "layer drop is new (Dropout)"],
        ),
        (
            model(layer("act", "ReLU", max_value=6.0)),
            model(layer("act", "LeakyReLU", alpha=0.1)),
            [
                "layer act: ReLU -> LeakyReLU",
                "layer act: alpha unset -> 0.1",
                "layer act: max_value 6.0 -> unset",
            ],
        ),
        (model(layer("add", inbound=[1])), model(layer("add", inbound=[2])), ["layer add: its inputs changed"]),
        (
            model(layer("conv"), compile={"optimizer": {"lr": 0.1}, "loss": "mse"}),
            model(layer("conv"), compile={"optimizer": {"lr": 0.2}, "loss": "mse"}),
            ["compile.optimizer.lr: 0.1 -> 0.2"],
        ),
        (
            model(layer("conv")),
            model(layer("conv"), weights="v"),
            ["the initial weights: the seed or an initializer changed"],
        ),
        (model(layer("conv", filters=1)), model(layer("conv", filters=2), weights="v"), ["layer conv: filters 1 -> 2"]),
        (
            model(layer("conv"), code={"code models/parts.py:Attention": "1"}),
            model(layer("conv"), code={"code models/parts.py:Attention": "2"}),
            ["code of Attention() in models/parts.py"],
        ),
        ({}, model(layer("conv")), ["layer conv is new (Conv2D)"]),
        (None, None, []),
        ({"config": "not a table"}, {"config": None}, []),
    ],
)
def test_models_differ_by_layers_then_settings(old: Any, new: Any, expected: list[str]) -> None:
    """Two models are told apart layer by layer; weights are named only where nothing else tells them apart."""
    found = list(difference("spec/model.json", old, new))
    assert expected == [line for line in found if not (old == {} and line.startswith("model."))]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ({"properties": {"batch_size": 32}}, {"properties": {"batch_size": 64}}, ["train.batch_size: 32 -> 64"]),
        ({"properties": {}}, {"properties": {"seed": 1}}, ["train.seed: unset -> 1"]),
        ({"properties": {"a": {"b": 1, "c": 2}}}, {"properties": {"a": {"b": 1}}}, ["train.a.c: 2 -> unset"]),
        ({"properties": {"a": 1}}, {"properties": {"a": True}}, ["train.a: 1 -> true"]),
        ({"properties": {"a": "x"}}, {"properties": {"a": [1, 2]}}, ["train.a: x -> [1, 2]"]),
        (
            {"code": {"code models/parts.py:augment": "1", "value models/parts.py:RATE": "0.5"}},
            {"code": {"code models/parts.py:augment": "2", "value models/parts.py:RATE": "0.25"}},
            ["code of augment() in models/parts.py", "RATE in models/parts.py: 0.5 -> 0.25"],
        ),
        (
            {"code": {"code models/a.py:gone": "1"}},
            {"code": {"code models/a.py:new": "1"}},
            ["code of gone() in models/a.py is gone", "code of new() in models/a.py is new"],
        ),
        (
            {"code": {"effect models/a.py:np.seterr": "1", "effect models/a.py:lib.A": "1"}},
            {"code": {"effect models/a.py:np.seterr": "2", "outside lib.B": 2}},
            [
                "what models/a.py does to lib.A is gone",
                "what models/a.py does to np.seterr changed",
                "what the spec sets: lib.B: unset -> 2",
            ],
        ),
        ({"code": {"library scipy": "1"}}, {"code": {"library scipy": "2"}}, ["library scipy: 1 -> 2"]),
        ({}, {}, []),
    ],
)
def test_slices_differ_by_properties_and_functions(old: Any, new: Any, expected: list[str]) -> None:
    """Two slices are told apart by the values of properties, by constants and by functions."""
    assert expected == list(difference("spec/train.yaml", old, new))


def test_long_values_are_cut() -> None:
    """A value of thousands of characters leaves a line that can be read."""
    (line,) = difference("spec/train.yaml", {"properties": {"a": "x"}}, {"properties": {"a": "y" * 5000}})
    assert line.startswith("train.a: x -> yyy")
    assert len(line) < 250


@pytest.mark.parametrize("text", [None, "", "[]", "{", '"x"'])
def test_values_that_are_lost_or_damaged_leave_the_plain_reason(
    built_workspace: Files, fakes: Fakes, text: str | None
) -> None:
    """Without what the last run read, explain falls back to which slice changed."""
    values = Path(built_workspace.root, "build/kws/.records/train.values.json")
    values.unlink()
    if text is not None:
        values.write_text(text)
    reason = Reason("input changed", "spec/train.yaml", "a", "b")
    assert [] == changes(Builder(built_workspace.workspace, Running(fakes)), "kws", "train", [reason])


def test_damaged_slice_leaves_the_plain_reason(built_front: Front) -> None:
    """A slice on disk that somebody broke is no reason for a traceback."""
    for text in ("{", "[1]", "a: [", ""):
        built_front.files.write("build/kws/spec/train.yaml", text)
        result = built_front.mltk("explain", "kws")
        assert (0, "") == (result.code, result.err)
        assert "  spec/train.yaml is not what was built" in result.out.splitlines()


PARTS = '''
import numpy as np

RATE = 0.5

def augment(images):
    """Noise."""
    return images + RATE * 0.01 * np.ones_like(images)
'''


@pytest.mark.real
def test_real_edits_are_explained_by_value(tmp_path: Path, executor: Processes) -> None:
    """On the digits model: a property, a layer, a helper function and a constant are told as the user wrote them."""
    files = Files(tmp_path)
    files.write("dodo.py", "")
    files.write("models/parts.py", PARTS)
    text = (REPOSITORY / "models/digits_v1.py").read_text(encoding="utf-8")
    text = text.replace("epochs = 40", "epochs = 1").replace("import keras\n", "import keras\nimport parts\n", 1)
    files.spec("digits", text.replace("images = (digits.images", "images = parts.augment(digits.images"))
    files.edit("models/digits.py", '/ 16.0).astype("float32")', '/ 16.0).astype("float32")')
    bring(files, executor.run, "digits")
    front = Front(files, executor.run)  # type: ignore[arg-type]  # real bodies in place of the fakes

    def explained(path: str, old: str, new: str) -> dict[str, list[str]]:
        before = (files.root / path).read_text()
        files.edit(path, old, new)
        found = json.loads(front.mltk("explain", "digits", "--json").out)
        (files.root / path).write_text(before)
        return {step["stage"]: step["changes"] for step in found}

    edit = explained("models/digits.py", "batch_size = 32", "batch_size = 64")
    kept = "checkpoints up to epoch 1 are not used: train.batch_size: 32 -> 64"
    assert ["train.batch_size: 32 -> 64", kept] == edit["train"]
    edit = explained("models/digits.py", "Conv2D(16", "Conv2D(8")
    assert "layer conv2d: filters 16 -> 8" in edit["train"]
    edit = explained("models/parts.py", "RATE * 0.01", "RATE * 0.02")
    assert ["code of augment() in models/parts.py"] == edit["data"]
    edit = explained("models/parts.py", "RATE = 0.5", "RATE = 0.25")
    assert ["RATE in models/parts.py: 0.5 -> 0.25"] == edit["data"]
    assert {"archive"} == explained("models/digits.py", "my_model.epochs", "# why\nmy_model.epochs").keys()
    assert "digits is up to date\n" == front.mltk("explain", "digits").out


def test_checkpoints_of_another_training_are_told(workspace: Files, fakes: Fakes) -> None:
    """Checkpoints with another fingerprint are named with what differs; those of this training are not."""
    builder = Builder(workspace.workspace, Running(fakes))
    builder.build("kws", "train")
    state = builder.state("kws")
    course = course_of(state.inputs("train", None), state.slice_text("train"))
    inputs = dict(course["inputs"]) if isinstance(course["inputs"], dict) else {}
    other = {**course, "inputs": {**inputs, "data/training.json": "another"}}
    Shelf(state.folder.door, state.folder.checkpoints, course).put(Position(3), b"mine")
    assert [] == unused_checkpoints(builder, "kws", "train")
    Shelf(state.folder.door, state.folder.checkpoints, other).put(Position(7), b"not mine")
    expected = ["checkpoints up to epoch 7 are not used: data/training.json differs"]
    assert expected == unused_checkpoints(builder, "kws", "train")


def test_another_order_and_what_no_config_shows_are_named() -> None:
    """An order has a line of its own, a place of its own, and no list of keys."""
    code = {"value models/a.py:D (order)": ["['b']", "['a']"], "root layer dense .gain": 1}
    assert ["the order in D of models/a.py"] == list(
        difference("spec/data.yaml", {"code": code}, {"code": {"root layer dense .gain": 1}})
    )
    one = {"config": {}, "code": code, "states": {"optimizer iteration": 1}}
    other = {"config": {}, "config (order)": ["['b']"], "code": {**code, "root layer dense .gain": 2}}
    assert [
        "the order in the config",
        'states: {"optimizer iteration": 1} -> unset',
        "layer dense .gain: 1 -> 2",
    ] == list(difference("spec/model.json", one, other))
    assert ["the order in train.x"] == list(
        difference("spec/train.yaml", {"properties": {"x (order)": ["a"]}}, {"properties": {}})
    )
