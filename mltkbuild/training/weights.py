"""Start weights: from a checkpoint, a `.keras` file, or Keras' weights files, checked layer by layer."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mltkbuild.errors import StageError
from mltkbuild.tflite import keras_claims
from mltkbuild.training import training_state

SUFFIXES = (".keras", ".h5", ".npz")
# The state of a layer's random generator, which is no weight.
_GENERATOR = "seed_generator_state"


class _Weight(NamedTuple):
    layer: str
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.layer} of shape {self.shape}"


def load_into(keras_model: Any, path: Path) -> None:
    """Set a model's weights to those of a file, and nothing else of it; runs no code from the file.

    Args:
        keras_model: The model; its layers must have the shapes of those in the file.
        path: A checkpoint of mltkbuild (`.npz`), a saved model (`.keras`, `.h5`) or weights (`.weights.h5`, `.h5`).

    Raises:
        StageError: The file is none of these, is damaged, or belongs to another architecture; names the first layer
            that differs. It claims more than it holds, or leads to other files.
    """
    if path.suffix not in SUFFIXES:
        raise StageError(
            "this is no weights file", found=str(path), fix="give a .keras, .h5, .weights.h5 or checkpoint (.npz) file"
        )
    try:
        if path.suffix == ".npz":
            _from_checkpoint(keras_model, path)
        else:
            _from_keras(keras_model, path)
    except (OSError, ValueError, KeyError, EOFError, RuntimeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        lines = [line for line in str(error).strip().splitlines() if line]
        raise StageError(
            "the weights file can't be loaded into this model",
            found=f"{path.name}: {' '.join(lines)[:400] if lines else type(error).__name__}",
            fix="give weights of a model with the same layers",
        ) from error


# -- a checkpoint ----------------------------------------------------------------------------------------------------


def _from_checkpoint(keras_model: Any, path: Path) -> None:
    state = training_state.decode(path.read_bytes())
    if not (isinstance(state, dict) and isinstance(state.get("variables"), dict)):
        raise training_state.Damaged("it holds no variables")
    given, own = _of_model(state["variables"]), _of_model(training_state.values(keras_model))
    _compare(zip_longest(map(_named, given.items()), map(_named, own.items())), path)
    training_state.assign_weights(
        keras_model, {**training_state.values(keras_model), **dict(zip(own, given.values(), strict=True))}
    )


def _of_model(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The weights among the variables of a training."""
    return {
        name: value for name, value in variables.items() if name.startswith("model ") and not name.endswith(_GENERATOR)
    }


def _named(item: tuple[str, Any]) -> _Weight:
    return _Weight(item[0].split(" ", 2)[-1].rpartition("/")[0], tuple(np.shape(item[1])))


# -- files of Keras --------------------------------------------------------------------------------------------------


def _from_keras(keras_model: Any, path: Path) -> None:
    import h5py

    try:
        keras_claims.compare(path)
    except StageError as error:
        raise error.at(str(path)) from error
    # Keras tells layouts apart by the name; which one a file has is told by what is in it.
    with tempfile.TemporaryDirectory() as folder:
        weights, legacy = Path(folder, "given.weights.h5"), Path(folder, "given.h5")
        if path.suffix == ".keras":
            with zipfile.ZipFile(path) as archive, weights.open("wb") as copy:
                shutil.copyfileobj(archive.open("model.weights.h5"), copy)
        else:
            weights.symlink_to(path.resolve())
        with h5py.File(weights, "r") as file:
            given = _legacy_weights(file)
            if given is None:
                _compare(_pairs(keras_model, file, Path(folder, "own.weights.h5")), path)
        if given is None:
            # The file has the state of the optimizer too, with the learning rate.
            keras_model.load_weights(weights, objects_to_skip=_optimizers(keras_model).values())
            return
        _compare(zip_longest(given, _in_legacy_order(keras_model)), path)
        weights.rename(legacy)
        keras_model.load_weights(legacy)


def _optimizers(keras_model: Any) -> dict[str, Any]:
    """The optimizers of a model, by the attribute that has them."""
    import keras

    own = {"optimizer": getattr(keras_model, "optimizer", None), **vars(keras_model)}
    return {name: value for name, value in own.items() if isinstance(value, keras.optimizers.Optimizer)}


def _pairs(keras_model: Any, given: Any, scratch: Path) -> Iterator[tuple[_Weight | None, _Weight | None]]:
    """The weights of a file of Keras 3 beside those of the model, in the model's order."""
    import h5py
    import keras

    if "_layer_checkpoint_dependencies" in given:
        # The layout of Keras 2.13 has other paths; Keras compares as it loads.
        return
    # What Keras would save tells where it will look.
    optimizers = _optimizers(keras_model)
    keras.saving.save_weights(keras_model, scratch, objects_to_skip=optimizers.values())
    skipped = {"optimizer", *optimizers}
    theirs = {place: found for place, found in _weights_in(given).items() if place.partition("/")[0] not in skipped}
    with h5py.File(scratch, "r") as file:
        mine = _weights_in(file)
    order = {name: number for number, name in enumerate(_layer_names(keras_model))}
    for place in sorted(mine, key=lambda place: order.get(mine[place].layer, len(order))):
        yield theirs.pop(place, None), mine[place]
    for found in theirs.values():
        yield found, None


def _weights_in(file: Any) -> dict[str, _Weight]:
    """The weights of a file of Keras 3, by their place in it."""
    import h5py

    found: dict[str, _Weight] = {}

    def visit(place: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            group = place.rpartition("/")[0]
            found[place] = _Weight(str(file[group].attrs.get("name", group)), tuple(item.shape))

    file.visititems(visit)
    return found


def _layer_names(layer: Any) -> Iterator[str]:
    """The names of a model's layers and those within them, in their order."""
    for part in getattr(layer, "layers", ()):
        yield part.name
        yield from _layer_names(part)


def _legacy_weights(file: Any) -> list[_Weight] | None:
    """The weights in a file of Keras 2's layout; None for one of Keras 3."""
    group = file.get("model_weights", file)
    if not any(name in group.attrs for name in ("layer_names", "layer_names0")):
        return None
    found = []
    for layer in _names(group, "layer_names"):
        for weight in _names(group[layer], "weight_names"):
            shape = getattr(group[layer][weight], "shape", None)
            if shape is None:
                raise ValueError(f"{layer}/{weight} is no array")
            found.append(_Weight(layer, tuple(shape)))
    return found


def _names(group: Any, attribute: str) -> list[str]:
    """A list of names, which Keras splits where it is too long for HDF5."""
    parts = [attribute] if attribute in group.attrs else []
    while not (parts and parts[0] == attribute) and f"{attribute}{len(parts)}" in group.attrs:
        parts.append(f"{attribute}{len(parts)}")
    names = [name for part in parts for name in group.attrs[part]]
    return [name.decode() if isinstance(name, bytes) else str(name) for name in names]


def _in_legacy_order(keras_model: Any) -> list[_Weight]:
    """The weights layer by layer, of each first those that are trained."""
    return [
        _Weight(layer.name, tuple(weight.shape))
        for layer in keras_model.layers
        for weight in (*layer.trainable_weights, *layer.non_trainable_weights)
    ]


# -- comparison ------------------------------------------------------------------------------------------------------


def _compare(pairs: Iterable[tuple[_Weight | None, _Weight | None]], path: Path) -> None:
    """Raise a StageError that names the first layer whose weights differ in shape: the file's, and the model's."""
    for theirs, mine in pairs:
        if theirs is not None and mine is not None and theirs.shape == mine.shape:
            continue
        layer = mine.layer if mine is not None else theirs.layer if theirs is not None else ""
        raise StageError(
            f"the weights file is of another architecture: layer {layer} differs",
            found=f"{theirs or 'no such weight'} in {path.name}, {mine or 'no such weight'} in the model",
            fix="give weights of a model with the same layers",
        )
