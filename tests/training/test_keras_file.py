"""`.keras` files: equal bytes for equal models, and the same predictions after loading."""

from __future__ import annotations

import base64
import json
import marshal
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest

from mltkbuild.training import keras_file

from .. import warm

SPEC = """
import keras


class Scale(keras.layers.Layer):
    def __init__(self, factor=1.0, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, inputs):
        return inputs * self.factor

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def build():
    keras.utils.set_random_seed(1)
    shared = keras.layers.Dense(4, name="shared", kernel_initializer=keras.initializers.GlorotUniform(3))
    inputs = keras.Input((4,))
    hidden = keras.layers.Lambda(lambda tensor: [part * 2.0 for part in [tensor]][0], output_shape=(4,))(shared(inputs))
    outputs = keras.layers.Dense(2, activation="softmax")(Scale(0.5)(shared(hidden)))
    model = keras.Model(inputs, outputs)
    model.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    return model
"""
SCRIPT = """
import base64, json, marshal, sys, zipfile
from pathlib import Path

import keras
import numpy as np

from mltkbuild.errors import MltkError
from mltkbuild.training import keras_file

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
import spec

x = np.linspace(-1, 1, 40, dtype="float32").reshape(10, 4)


def label(path):
    return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else None


def made(name):
    keras.backend.clear_session()
    model = spec.build()
    model.fit(x, np.eye(2)[np.arange(10) % 2], epochs=1, verbose=0, shuffle=False)
    path = folder / name / "kws.keras"
    path.parent.mkdir()
    keras_file.save(model, path, label)
    return model.predict(x, verbose=0).tolist()


before = made("first")
made("second")
def rebuilt():
    keras.backend.clear_session()
    return spec.build()


def loaded_from(path, compiled, build):
    return keras_file.load(path, {"Scale": spec.Scale}, compiled=compiled, rebuilt=build, label=label)


def refusal(member_text, build=rebuilt):
    # What is said of a file with another config, or with that of another builder.
    path = folder / "forged.keras"
    with zipfile.ZipFile(folder / "first" / "kws.keras") as source, zipfile.ZipFile(path, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(name, member_text(content.decode()) if name == "config.json" else content)
    try:
        loaded_from(path, False, build)
    except MltkError as error:
        return str(error)
    return "loaded"


def planted(text):
    config = json.loads(text)
    mark = str(folder / "MARK")
    code = eval(f"lambda tensor: __import__('pathlib').Path({mark!r}).write_text('ran') and tensor").__code__
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
    layer["config"]["function"]["config"]["code"] = base64.encodebytes(marshal.dumps(code)).decode()
    return json.dumps(config)


def in_compile_config(text):
    config = json.loads(text)
    layer = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
    config["compile_config"]["loss"] = layer["config"]["function"]
    return json.dumps(config)


def without():
    keras.backend.clear_session()
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    model.compile("adam", "mse")
    return model


loaded = [loaded_from(folder / "first" / "kws.keras", compiled, rebuilt) for compiled in (True, False)]
answers = {
    "before": before,
    "after": [model.predict(x, verbose=0).tolist() for model in loaded],
    "compiled": [model.compiled for model in loaded],
    "factor": loaded[0].layers[-2].factor,
    "refusals": {
        "as it is": refusal(str),
        "other code": refusal(planted),
        "code elsewhere": refusal(in_compile_config),
        "other builder": refusal(str, without),
        "other units": refusal(lambda text: text.replace('"units": 4', '"units": 5', 1)),
    },
}
print(json.dumps(answers), file=open(folder / "answers.json", "w"))
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The same model, saved twice by each of two processes in two workspaces, at the same time."""
    folders = [tmp_path_factory.mktemp(name) for name in ("here", "a longer name")]
    for folder in folders:
        (folder / "spec.py").write_text(SPEC)

    def run(folder: Path) -> None:
        warm.python(SCRIPT, str(folder))

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, folders))
    return folders


def answers(saved: list[Path]) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((saved[0] / "answers.json").read_text())
    return found


@pytest.mark.real
def test_equal_models_give_equal_bytes(saved: list[Path]) -> None:
    """A model with a lambda and a custom layer is saved to the same bytes in every folder and every process."""
    files = [folder / name / "kws.keras" for folder in saved for name in ("first", "second")]

    assert 1 == len({path.read_bytes() for path in files})
    assert ["kws.keras"] == [path.name for path in files[0].parent.iterdir()]


@pytest.mark.real
def test_a_file_names_no_clock_and_no_folder(saved: list[Path]) -> None:
    """The saved file has no date, and no folder of the machine."""
    with zipfile.ZipFile(saved[0] / "first" / "kws.keras") as opened:
        members = {name: opened.read(name) for name in opened.namelist()}

    assert {"config.json", "metadata.json", "model.weights.h5"} == set(members)
    assert "" == json.loads(members["metadata.json"])["date_saved"]
    config = json.loads(members["config.json"])
    encoded = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Lambda")
    code = base64.b64decode(encoded["config"]["function"]["config"]["code"])
    assert b"spec.py" in code
    for data in (code, *members.values()):
        assert saved[0].name.encode() not in data


@pytest.mark.real
def test_a_loaded_model_predicts_the_same(saved: list[Path]) -> None:
    """A loaded model has its lambda, custom layer and weights, and its optimizer only if asked for."""
    found = answers(saved)

    assert [found["before"]] * 2 == found["after"]
    assert [True, False] == found["compiled"]
    assert 0.5 == found["factor"]


@pytest.mark.real
def test_code_in_a_file_runs_only_where_the_spec_makes_the_same(saved: list[Path]) -> None:
    """A lambda that the spec doesn't build is refused before it runs, wherever in the config it stands."""
    refusals = answers(saved)["refusals"]

    assert "loaded" == refusals.pop("as it is")
    for what, error in refusals.items():
        assert "isn't the network that the spec builds" in error, (what, error)
        assert "forged.keras" in error
    assert not (saved[0] / "MARK").exists()


# Without Keras.


def lambda_code(source: str, filename: str, version: int = marshal.version) -> str:
    """The bytecode of a lambda as Keras writes it."""
    module = compile(source, filename, "exec")
    code = next(item for item in module.co_consts if isinstance(item, CodeType))
    return base64.encodebytes(marshal.dumps(code, version)).decode("ascii")


def test_bytecode_names_the_file_in_the_workspace() -> None:
    """The bytecode of a lambda, and of what it defines, has the label of its file, or the bare name of another file."""
    encoded = lambda_code("f = lambda x: (lambda y: y + x)", "/somewhere/models/kws.py")

    for label, expected in ((lambda _: "models/kws.py", "models/kws.py"), (lambda _: None, "kws.py")):
        code = marshal.loads(base64.b64decode(keras_file._without_paths(encoded, label)))
        inner = next(item for item in code.co_consts if isinstance(item, CodeType))
        assert (expected, expected) == (code.co_filename, inner.co_filename)


def test_bytecode_does_not_depend_on_shared_constants() -> None:
    """Whether equal constants are one object or two doesn't show in the bytes; the function stays the same."""
    source = "f = lambda x: (x * 1234.5, (lambda y: y * 1234.5)(x))"

    one, two = (keras_file._without_paths(lambda_code(source, "a.py", version), lambda _: "a.py") for version in (4, 2))

    assert one == two
    assert (2469.0, 2469.0) == FunctionType(marshal.loads(base64.b64decode(one)), {})(2)


def test_shared_objects_are_numbered_in_order() -> None:
    """The ids of shared objects, which are addresses, become 1, 2, ... in the order of their appearance."""
    config = {"layers": [{"shared_object_id": 140_001}, {"shared_object_id": 77}, {"shared_object_id": 140_001}]}

    normal = keras_file._normal(config, {}, lambda _: None)

    assert {"layers": [{"shared_object_id": 1}, {"shared_object_id": 2}, {"shared_object_id": 1}]} == normal
