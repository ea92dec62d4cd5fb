"""The slices of a spec: what each stage reads, and nothing that it doesn't; with stand-ins for Keras."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from mltkbuild.spec.mixins import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin
from mltkbuild.spec.properties import properties_of
from mltkbuild.stages import slices as slicing
from mltkbuild.stages.table import PREFLIGHT, SLICES
from mltkbuild.user_code.loader import Snapshot, loaded_spec

HEAD = """\
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

SCALE = 3

def helper():
    return SCALE

def load(subset):
    return helper()

class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    '''A model.'''

my_model = Model()
"""


@contextmanager
def run(root: Path, text: str) -> Iterator[tuple[MltkModel, Snapshot]]:
    """Run a spec."""
    snapshot = Snapshot(str(root), "models/kws.py", ("models", ""), {"models/kws.py": text})
    with loaded_spec(snapshot, "kws", "", False) as model:
        yield model, snapshot


def slices(root: Path, text: str) -> dict[str, dict[str, Any]]:
    """All slices of a spec."""
    with run(root, text) as (model, snapshot):
        return {stage: slicing.slice_of(model, stage, snapshot, "whole") for stage in SLICES}


def changed(root: Path, line: str, text: str = HEAD) -> set[str]:
    """The stages whose slice a line changes."""
    before, after = slices(root, text), slices(root, text + line + "\n")
    return {stage for stage in SLICES if before[stage] != after[stage]}


class Everything(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A model with every mixin."""


OTHER = {
    "default": "False",
    "version": "2",
    "description": "'new'",
    "classes": "['a', 'b']",
    "input_shape": "(3,)",
    "keras_custom_objects": "{'A': 3}",
    "seed": "7",
    "optimizer": "'sgd'",
    "metrics": "['mae']",
    "loss": "'mse'",
    "lr_schedule": "{'a': 1}",
    "train_callbacks": "[3]",
    "class_weights": "'balanced'",
    "dataset": "load",
    "loaded_subset": "'training'",
    "shuffle": "False",
    "deterministic": "False",
    "checkpoints_enabled": "False",
    "final_weights": "'last'",
    "on_nan": "'continue'",
    "mixed_precision": "'mixed_bfloat16'",
    "distribute": "'mirrored'",
    "tflm": "'warn'",
    "tflite_date": "True",
    "eval_shuffle": "True",
    "eval_augment": "True",
    "validation_split": "0.5",
    "validation_stratify": "True",
    "x": "3",
    "y": "3",
    "sample_weight": "3",
    "validation_data": "(1, 2)",
    "tflite_converter": "{'allow_custom_ops': True}",
    "checkpoint": "{'mode': 'min'}",
}
DICTS = ("reduce_lr_on_plateau", "tensorboard", "early_stopping", "train_kwargs", "class_counts")
FUNCTIONS = ("build_model_function", "on_training_complete", "on_save_keras_model", "eval_custom_function")


@pytest.mark.parametrize("name", properties_of(Everything))
def test_property_reaches_the_stages_that_it_is_declared_for(name: str, tmp_path: Path) -> None:
    """Another value of a property changes the slices of the stages that read it, and of no other."""
    value = OTHER.get(name) or ("{'a': 1}" if name in DICTS else "load" if name in FUNCTIONS else "5")
    expected = set(properties_of(Everything)[name].reads)
    # What the preflight tries beforehand it reads, too.
    expected |= {PREFLIGHT.name} if expected & PREFLIGHT.parts else set()
    assert expected == changed(tmp_path, f"my_model.{name} = {value}")


def test_reading_a_default_changes_nothing(tmp_path: Path) -> None:
    """A spec that only looks at its properties, or sets the default once more, has the same slices."""
    assert set() == changed(tmp_path, "print(my_model.epochs, my_model.tflite_converter, my_model.metrics)")
    assert set() == changed(tmp_path, "my_model.epochs = 100\nmy_model.tflite_converter = {}")


@pytest.mark.parametrize(
    "name",
    [
        "tflite_converter",
        "checkpoint",
        "early_stopping",
        "reduce_lr_on_plateau",
        "train_kwargs",
        "keras_custom_objects",
    ],
)
def test_settings_have_no_order(name: str, tmp_path: Path) -> None:
    """Arguments go by their names, in whatever order a spec sets them."""
    pairs = (
        "'allow_custom_ops': True, 'backend': 'tensorflow'"
        if name == "tflite_converter"
        else "'monitor': 'b', 'mode': 'min'"
    )
    one = f"my_model.{name} = {{{pairs}}}\n"
    other = f"my_model.{name} = dict(reversed({{{pairs}}}.items()))\n"
    assert slices(tmp_path, HEAD + one) == slices(tmp_path, HEAD + other)


def test_order_inside_a_setting_counts(tmp_path: Path) -> None:
    """What is no name of a setting may be looked at in its order."""
    one = "my_model.train_kwargs = {'callbacks_by': {'b': 1, 'a': 2}}\n"
    other = "my_model.train_kwargs = {'callbacks_by': {'a': 2, 'b': 1}}\n"
    before, after = slices(tmp_path, HEAD + one), slices(tmp_path, HEAD + other)
    assert {"preflight", "train"} == {stage for stage in SLICES if before[stage] != after[stage]}


def test_order_of_what_a_loader_reads_counts(tmp_path: Path) -> None:
    """The groups that a loader counts through are others in another order."""
    text = HEAD.replace("SCALE = 3", "SCALE = {'low': (0, 1), 'high': (2, 3)}") + "my_model.dataset = load\n"
    other = text.replace("'low': (0, 1), 'high': (2, 3)", "'high': (2, 3), 'low': (0, 1)")
    before, after = slices(tmp_path, text), slices(tmp_path, other)
    assert {"data"} == {stage for stage in SLICES if before[stage] != after[stage]}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("class_weights = {'a': 1.0, 'b': 2}", "class_weights = {'b': 2.0, 'a': 1}"),
        ("class_weights = [1.0, 2]", "class_weights = [1, 2.0]"),
        ("train_kwargs = {}", "train_kwargs = {'verbose': 0}"),
        ("train_kwargs = {'verbose': 2}", "train_kwargs = {'verbose': 1}"),
        ("train_kwargs = {'class_weight': {0: 1}}", "train_kwargs = {'class_weight': {0: 1.0}, 'verbose': 1}"),
    ],
)
def test_two_ways_to_say_the_same_are_one(one: str, other: str, tmp_path: Path) -> None:
    """A weight of 1 is one of 1.0, and what fit is to print is decided elsewhere."""
    assert slices(tmp_path, f"{HEAD}my_model.{one}\n") == slices(tmp_path, f"{HEAD}my_model.{other}\n")


def test_another_weight_or_argument_still_counts(tmp_path: Path) -> None:
    """Only what means the same is one."""
    assert {"preflight", "train"} == changed(
        tmp_path, "my_model.class_weights = {'a': 2}", HEAD + "my_model.class_weights = {'a': 1}\n"
    )
    assert {"preflight", "train"} == changed(tmp_path, "my_model.train_kwargs = {'verbose': 0, 'validation_freq': 2}")


def test_annotations_of_a_loader_reach_no_stage(tmp_path: Path) -> None:
    """What a checker of types reads is no reason to load or to train again."""
    text = HEAD + "my_model.dataset = load\n"
    annotated = text.replace("def load(subset):", "def load(subset: str) -> int:").replace(
        "helper():", "helper() -> int:"
    )
    assert annotated != text
    assert slices(tmp_path, text) == slices(tmp_path, annotated)


def test_constant_of_tensorflow_is_its_name(tmp_path: Path) -> None:
    """`tf.int8` and 'int8', `tf.lite.Optimize.DEFAULT` and 'DEFAULT' are the same setting."""
    fake = (
        "class Type:\n    __module__ = 'tensorflow.dtypes'\n    name = 'int8'\nclass Optimize:\n    name = 'DEFAULT'\n"
    )
    constants = (
        "my_model.tflite_converter['inference_input_type'] = Type()\n"
        "my_model.tflite_converter['optimizations'] = [Optimize()]\n"
    )
    strings = "my_model.tflite_converter['inference_input_type'] = 'int8'\n"
    assert slices(tmp_path, HEAD + fake + strings)["quantize"] == slices(tmp_path, HEAD + fake + constants)["quantize"]


def test_code_that_a_property_reaches_counts(tmp_path: Path) -> None:
    """The loader counts with its helpers and their constants; code that it doesn't reach is nobody's."""
    text = HEAD + "my_model.dataset = load\n"
    before = slices(tmp_path, text)
    assert {"data"} == {
        stage for stage, item in slices(tmp_path, text.replace("= 3", "= 4")).items() if item != before[stage]
    }
    assert set() == changed(tmp_path, "def unused():\n    return 9", text)


OWN = HEAD.replace(
    "    '''A model.'''\n",
    "    window = 5\n    def load_dataset(self, subset, test=False):\n        self.x = self.window * self._gain\n"
    "    def normalise(self, x):\n        return x / 2\n",
)
USERS = {"data", "preflight", "train", "quantize", "evaluate"}


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("window = 5", "window = 6", USERS),
        ("my_model = Model()", "my_model = Model()\nmy_model._gain = 3", USERS),
        ("my_model = Model()", "my_model = Model()\nmy_model.window = 3", USERS),
        ("return x / 2", "return x / 3", USERS),
        ("self.window * self._gain", "self.window", {"data"}),
    ],
)
def test_class_of_the_spec_counts_with_its_attributes(old: str, new: str, expected: set[str], tmp_path: Path) -> None:
    """What a method may read by self counts for every stage that runs user code; the loader itself for data alone."""
    before, after = slices(tmp_path, OWN), slices(tmp_path, OWN.replace(old, new))
    assert expected == {stage for stage in SLICES if before[stage] != after[stage]}


def test_model_parameters_are_read_by_params_alone(tmp_path: Path) -> None:
    """Parameters change the slice of params, in whatever order they are set not."""
    assert {"params"} == changed(tmp_path, "my_model.model_parameters['a'] = 1")
    one, other = "my_model.model_parameters = {'a': 1, 'b': 2}", "my_model.model_parameters = {'b': 2, 'a': 1}"
    assert slices(tmp_path, HEAD + one) == slices(tmp_path, HEAD + other)


def test_what_has_no_exact_fingerprint_counts_by_the_whole_spec(tmp_path: Path) -> None:
    """A value that nothing tells apart brings in the digest of the spec, and the reason is named."""
    code = slices(tmp_path, HEAD + "import threading\nmy_model.dataset = threading.local()\n")["data"]["code"]
    assert "whole" == code["whole spec and its modules"]
    assert any(label.startswith(slicing.INEXACT) for label in code)


def test_digests_of_properties_leave_out_defaults(tmp_path: Path) -> None:
    """A property with its default is left out, but for the ones that an option may replace; None stands for inexact."""
    text = HEAD + "import threading\nmy_model.batch_size = 32\nmy_model.seed = 1\nmy_model.x = threading.local()\n"
    with run(tmp_path, text) as (model, _):
        digests = slicing.property_digests(model)
    assert {"epochs", "seed", "x"} == set(digests)
    assert digests["x"] is None


class _Weight:
    path = "dense/kernel"

    def __init__(self, value: float) -> None:
        self._value = np.full(2, value, np.float32)

    def numpy(self) -> np.ndarray:
        return self._value


class _Network:
    """What the spec stage asks of a Keras model."""

    optimizer = None
    compiled = False

    def __init__(self, config: object, weight: float = 1.0) -> None:
        self._config = config
        self.weights = [_Weight(weight)]

    def count_params(self) -> int:
        return 2

    def _flatten_layers(self, include_self: bool) -> list[object]:
        return []

    def get_config(self) -> object:
        if isinstance(self._config, Exception):
            raise self._config
        return self._config

    def get_compile_config(self) -> object:
        return {"loss": "mse"}

    def summary(self, line_length: int, print_fn: Any) -> None:
        print_fn("a  \nb   ", line_break=True)


NOWHERE = Snapshot("/nowhere", "kws.py", ("",), {})


def test_description_of_a_keras_model_ignores_what_differs_from_run_to_run() -> None:
    """Shared object ids and the bytecode of lambdas are no part of it; config and initial weights are."""

    def told(config: object, weight: float = 1.0) -> str:
        return slicing.model_text(slicing.describe_keras_model(_Network(config, weight), NOWHERE, "whole"))

    lambdas = [{"class_name": "__lambda__", "config": {"code": code}} for code in ("a", "b")]
    assert told({"a": (1, 2), "shared_object_id": 1}) == told({"a": [1, 2], "shared_object_id": 9})
    assert told(lambdas[0]) == told(lambdas[1])
    assert told({"a": 1}) != told({"a": 2})
    assert told({"a": 1}) != told({"a": 1}, weight=2.0)


def test_model_without_a_config_counts_by_the_whole_spec() -> None:
    """A subclassed model that can't be described brings in the digest of the spec."""
    description = slicing.describe_keras_model(_Network(NotImplementedError("no get_config\nmore")), NOWHERE, "whole")
    expected = {"inexact _Network.get_config": "no get_config", "whole spec and its modules": "whole"}
    assert expected == description["code"]


def test_artifacts_are_written_canonically(tmp_path: Path) -> None:
    """Slices are YAML, the model is JSON, the summary has no trailing blanks; equal content gives equal bytes."""
    values = {stage: {"properties": {"b": 1, "a": [1.5, None, "ü"]}, "code": {}} for stage in SLICES}
    slicing.write(tmp_path, values, {"b": 1, "a": 2}, slicing.summarize(_Network({})))
    assert values["train"] == yaml.safe_load((tmp_path / "spec/train.yaml").read_text(encoding="utf-8"))
    assert ["a", "b"] == list(json.loads((tmp_path / "spec/model.json").read_text(encoding="utf-8")))
    assert "a\nb\n" == (tmp_path / "summary.txt").read_text(encoding="utf-8")
