"""Start weights: from every kind of file, only the weights, and the first layer that differs by its name."""

from __future__ import annotations

import io
import json
import pickle
import random
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest

from mltkbuild.errors import StageError
from mltkbuild.training import training_state
from mltkbuild.training.weights import load_into

pytestmark = [
    pytest.mark.real,
    # NumPy says so of TensorFlow's variables whenever Keras reads one.
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),
    # Keras' own advice to save in its new format.
    pytest.mark.filterwarnings("ignore:You are saving your model as an HDF5 file"),
]


def built(width: int = 6, more: int = 0, filters: int = 3, frozen: bool = False) -> Any:
    """A model with layers in layers, normalization, dropout, and an optimizer that has a state."""
    inner = [keras.layers.Dense(5, name="first"), keras.layers.BatchNormalization(), keras.layers.Dense(4, name="last")]
    layers = [
        keras.layers.Conv1D(filters, 2, name="conv"),
        keras.layers.Flatten(),
        keras.layers.Dense(width, name="wide", trainable=not frozen),
        keras.layers.Dropout(0.5),
        keras.Sequential([keras.Input((width,)), *inner], name="inner"),
        keras.layers.Dense(4, name="head"),
        *(keras.layers.Dense(4, name=f"more_{number}") for number in range(more)),
    ]
    model = keras.Sequential([keras.Input((4, 2)), *layers])
    model.compile(keras.optimizers.SGD(0.25), "mse", metrics=["mae"], run_eagerly=True)
    return model


def trained() -> Any:
    """A model with weights, moving means and an optimizer that have gone some way."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(5)
    model = built()
    rng = np.random.default_rng(1)
    for _ in range(3):
        model.train_on_batch(rng.normal(size=(8, 4, 2)), rng.normal(size=(8, 4)))
    return model


def legacy(model: Any, path: Path, top: str = "", split: bool = False) -> None:
    """Write a file in Keras 2's layout: a group a layer, its weights by name, those that are trained first."""

    def put(attributes: Any, name: str, values: list[bytes]) -> None:
        parts = [values[:2], values[2:]] if split else [values]
        for number, part in enumerate(parts):
            attributes[f"{name}{number}" if split else name] = np.array(part or np.zeros(0), "S" if part else "f8")

    with h5py.File(path, "w") as file:
        group = file.create_group(top) if top else file
        layers = [*model.layers]
        put(group.attrs, "layer_names", [layer.name.encode() for layer in layers])
        group.attrs["backend"], group.attrs["keras_version"] = b"tensorflow", b"2.12.0"
        for layer in layers:
            own = group.create_group(layer.name)
            weights = [*layer.trainable_weights, *layer.non_trainable_weights]
            names = [f"{layer.name}/{number}:0" for number, _ in enumerate(weights)]
            put(own.attrs, "weight_names", [name.encode() for name in names])
            for name, weight in zip(names, weights, strict=True):
                own[name] = np.array(weight)


def checkpoint(model: Any, path: Path) -> None:
    path.write_bytes(training_state.encode({"variables": training_state.values(model)}))


def renamed(model: Any, path: Path) -> None:
    """Write a file of Keras 3 under a name that Keras takes for one of Keras 2."""
    model.save_weights(path.with_name("other.weights.h5"))
    path.with_name("other.weights.h5").rename(path)


def save(model: Any, path: Path) -> None:
    model.save(path)


FORMATS: dict[str, Callable[[Any, Path], None]] = {
    "m.keras": save,
    "m.weights.h5": lambda model, path: model.save_weights(str(path)),
    "new.h5": renamed,
    "m.h5": save,
    "old.h5": legacy,
    "old_model.h5": lambda model, path: legacy(model, path, "model_weights"),
    "old.weights.h5": legacy,
    "split.h5": lambda model, path: legacy(model, path, split=True),
    "m.npz": checkpoint,
}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Any]]:
    """A folder with the same model in every format, and its weights."""
    folder = tmp_path_factory.mktemp("saved")
    model = trained()
    for name, write in FORMATS.items():
        write(model, folder / name)
    return folder, model.get_weights()


def refused(model: Any, path: Path) -> StageError:
    with pytest.raises(StageError) as caught:
        load_into(model, path)
    return caught.value


def is_same(one: list[Any], other: list[Any]) -> bool:
    return len(one) == len(other) and all(map(np.array_equal, one, other))


# What is loaded.


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("frozen", [False, True])
def test_weights_come_from_every_format(saved: tuple[Path, list[Any]], name: str, frozen: bool) -> None:
    """All weights are those of the file, in layers within layers and moving means too, and nothing else changes."""
    folder, weights = saved
    model = built(frozen=frozen)
    others = {key: value for key, value in training_state.values(model).items() if not is_weight(key)}

    load_into(model, folder / name)

    assert is_same(weights, model.get_weights())
    after = {key: value for key, value in training_state.values(model).items() if not is_weight(key)}
    assert others.keys() == after.keys()
    assert is_same(list(others.values()), list(after.values()))
    assert 0.25 == float(model.optimizer.learning_rate.numpy())


def is_weight(name: str) -> bool:
    return name.startswith("model ") and "seed_generator" not in name


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5"])
def test_the_rate_of_the_file_is_not_taken(tmp_path: Path, name: str) -> None:
    """A file has its optimizer's rate and step count beside the weights; those of the spec stay."""
    model = trained()
    model.optimizer.learning_rate.assign(0.5)
    FORMATS[name](model, tmp_path / name)
    fresh = built()

    load_into(fresh, tmp_path / name)

    assert (0.25, 0) == (float(fresh.optimizer.learning_rate.numpy()), int(fresh.optimizer.iterations.numpy()))


def test_a_model_that_is_not_compiled_loads_too(saved: tuple[Path, list[Any]]) -> None:
    """Weights need no optimizer, and a file whose optimizer has a state is no hindrance."""
    folder, weights = saved
    bare = keras.Sequential.from_config(built().get_config())

    load_into(bare, folder / "m.keras")

    assert is_same(weights, bare.get_weights())


def test_models_without_a_list_of_layers_load(tmp_path: Path) -> None:
    """A functional model with branches and a shared layer gets its weights."""

    def branched() -> Any:
        given = keras.Input((3,))
        shared = keras.layers.Dense(3)
        joined = keras.layers.Concatenate()([shared(given), keras.layers.Dense(2)(shared(given))])
        return keras.Model(given, keras.layers.Dense(1)(joined))

    first, second, third = branched(), branched(), branched()
    first.save(tmp_path / "m.keras")
    first.save_weights(tmp_path / "m.weights.h5")
    load_into(second, tmp_path / "m.keras")
    load_into(third, tmp_path / "m.weights.h5")

    assert is_same(first.get_weights(), second.get_weights())
    assert is_same(first.get_weights(), third.get_weights())


# What is refused.


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize(
    ("other", "layer", "shapes"),
    [
        ({"filters": 5}, "conv", ((2, 2, 3), (2, 2, 5))),
        ({"width": 7}, "wide", ((9, 6), (9, 7))),
        ({"more": 1}, "more_0", (None, (4, 4))),
    ],
    ids=["filters", "width", "more"],
)
def test_another_architecture_names_its_first_layer(
    saved: tuple[Path, list[Any]], name: str, other: dict[str, Any], layer: str, shapes: Any
) -> None:
    """In every format the first layer whose shapes differ is named, with both shapes, and no weight is changed."""
    given, wanted = shapes
    model = built(**other)
    before = model.get_weights()
    error = refused(model, saved[0] / name)

    assert re.fullmatch(
        rf"the weights file is of another architecture: layer (sequential\w*/)?{layer} differs", error.what
    )
    assert ("no such weight in" if given is None else f"of shape {given} in {name}") in str(error.found)
    assert f"of shape {wanted} in the model" in str(error.found)
    assert is_same(before, model.get_weights())


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_with_more_layers_is_refused(tmp_path: Path, name: str) -> None:
    """Layers that the model lacks are named, where Keras would load the rest and say nothing."""
    FORMATS[name](built(more=2), tmp_path / name)
    error = refused(built(), tmp_path / name)

    assert "more_0 differs" in error.what
    assert "no such weight in the model" in str(error.found)


@pytest.mark.parametrize("name", ["m.tflite", "m", "m.txt", "m.H5", "m.ckpt", ".keras"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    """A file of another kind is refused by its name, with the kinds there are."""
    (tmp_path / name).touch()
    error = refused(built(), tmp_path / name)

    assert ("this is no weights file", str(tmp_path / name)) == (error.what, error.found)
    assert ".keras" in str(error.fix)


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "m.npz"])
@pytest.mark.parametrize("content", [None, b"", b"garbage" * 99, b"PK\x03\x04" * 9, b"\x89HDF\r\n\x1a\n" + bytes(2000)])
def test_what_is_no_file_of_its_kind_is_one_error(tmp_path: Path, name: str, content: bytes | None) -> None:
    """A missing, empty or foreign file is one error that names it; a folder likewise."""
    path = tmp_path / name
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)

    for given in (path, tmp_path / "none" / name):
        error = refused(built(), given)
        assert "the weights file can't be loaded into this model" == error.what
        assert str(error.found).startswith(f"{name}: ")


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5", "m.npz"])
def test_torn_files_are_one_error(saved: tuple[Path, list[Any]], tmp_path: Path, name: str) -> None:
    """A file that was cut off anywhere is an error, and of no other kind."""
    data = (saved[0] / name).read_bytes()
    model = built()
    for share in (0.02, 0.3, 0.6, 0.95, 0.999):
        (tmp_path / name).write_bytes(data[: int(len(data) * share)])
        assert "the weights file can't be loaded into this model" == refused(model, tmp_path / name).what


@pytest.mark.parametrize("name", ["m.keras", "m.weights.h5", "m.h5"])
def test_damaged_files_are_one_error_or_load(saved: tuple[Path, list[Any]], tmp_path: Path, name: str) -> None:
    """Flipped bits in the structure of a file end in an error of a stage that changes no weight, or harm none."""
    data = (saved[0] / name).read_bytes()
    # An HDF5 file begins with its structure; of a `.keras` file that part is a description that nobody reads.
    reach = len(data) if name.endswith(".keras") else min(len(data), 3000)
    model = built()
    rng = random.Random(2)
    errors = 0
    for _ in range(25):
        damaged = bytearray(data)
        for _ in range(4):
            damaged[rng.randrange(reach)] ^= 1 << rng.randrange(8)
        (tmp_path / name).write_bytes(damaged)
        fresh = [np.full_like(weight, 7) for weight in saved[1]]
        model.set_weights(fresh)
        try:
            load_into(model, tmp_path / name)
        except StageError:
            errors += 1
            assert is_same(fresh, model.get_weights())
        else:
            assert is_same(saved[1], model.get_weights())
    assert errors


@pytest.mark.parametrize(
    "state",
    [None, [], {}, {"variables": 3}, {"variables": {"model 0 a": 1}}, {"variables": {"model": 1, "model 0": 1}}],
)
def test_a_checkpoint_of_something_else_is_refused(tmp_path: Path, state: Any) -> None:
    """Bytes of the right format that hold no weights are damaged."""
    (tmp_path / "m.npz").write_bytes(training_state.encode(state))

    assert "m.npz" in str(refused(built(), tmp_path / "m.npz").found)


# Whose code runs.


class Trap:
    """What pickle would run."""

    def __reduce__(self) -> Any:
        return pytest.fail, ("code of the file was run",)


def test_no_code_of_a_saved_model_runs(saved: tuple[Path, list[Any]], tmp_path: Path) -> None:
    """The description of a saved model isn't even read: it may name what it likes, or be none."""
    trap = {
        "module": "builtins",
        "class_name": "exec",
        "config": {"source": "raise SystemExit"},
        "registered_name": None,
    }
    for config in (json.dumps(trap), "{", ""):
        with zipfile.ZipFile(saved[0] / "m.keras") as source, zipfile.ZipFile(tmp_path / "m.keras", "w") as copy:
            for name in source.namelist():
                copy.writestr(name, config if name.endswith(".json") else source.read(name))
        model = built()

        load_into(model, tmp_path / "m.keras")

        assert is_same(saved[1], model.get_weights())


def test_no_pickle_of_a_file_is_loaded(tmp_path: Path) -> None:
    """Objects in a checkpoint, and a pickle under its name, are refused."""
    file = io.BytesIO()
    members: dict[str, Any] = {"meta": np.array([Trap()], object)}
    np.savez(file, **members)
    for content in (file.getvalue(), pickle.dumps(Trap())):
        (tmp_path / "m.npz").write_bytes(content)
        refused(built(), tmp_path / "m.npz")


def test_links_out_of_a_file_are_refused(saved: tuple[Path, list[Any]], tmp_path: Path) -> None:
    """A link to a weight in another file isn't followed."""
    path = tmp_path / "m.weights.h5"
    path.write_bytes((saved[0] / path.name).read_bytes())
    with h5py.File(path, "r+") as file:
        del file["layers/conv1d/vars/0"]
        file["layers/conv1d/vars/0"] = h5py.ExternalLink(str(saved[0] / path.name), "layers/conv1d/vars/0")

    assert "the Keras file leads to other files" == refused(built(), path).what


def test_weights_that_unfold_to_far_more_are_refused(tmp_path: Path) -> None:
    """A small file can't fill the folder for temporary files, nor the memory."""
    path = tmp_path / "m.keras"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.weights.h5", bytes(100 << 20))
    assert "the Keras file claims more than it can hold" == refused(built(), path).what
