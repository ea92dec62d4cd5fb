"""Start weights: from a checkpoint, a `.keras` file, or Keras' weights files, checked layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mltkbuild.bodies import training_state
from mltkbuild.errors import StageError

SUFFIXES = (".keras", ".h5", ".npz")


def load_into(keras_model: Any, path: Path) -> None:
    """Set a model's weights to those of a file; runs no code from it.

    Args:
        keras_model: The model; its layers must have the shapes of those in the file.
        path: A checkpoint of mltkbuild (`.npz`), a saved model (`.keras`, `.h5`) or weights (`.weights.h5`, `.h5`).

    Raises:
        StageError: The file is none of these, is damaged, or belongs to another architecture; names the first layer
            that differs.
    """
    if path.suffix not in SUFFIXES:
        raise StageError(
            "this is no weights file", found=str(path), fix="give a .keras, .h5, .weights.h5 or checkpoint (.npz) file"
        )
    try:
        if path.suffix == ".npz":
            _from_checkpoint(keras_model, path)
        else:
            if path.suffix == ".h5" and (layers := _legacy_shapes(path)) is not None:
                _compare(layers, _shapes(keras_model), path)
            keras_model.load_weights(path)
    except (OSError, ValueError, KeyError, TypeError, training_state.Damaged) as error:
        lines = [line for line in str(error).strip().splitlines() if line]
        raise StageError(
            "the weights file can't be loaded into this model",
            found=f"{path.name}: {' '.join(lines)[:400] if lines else type(error).__name__}",
            fix="give weights of a model with the same layers",
        ) from error


def _from_checkpoint(keras_model: Any, path: Path) -> None:
    saved = training_state.decode(path.read_bytes())["variables"]
    wanted = [name for name in training_state.variables(keras_model) if name.startswith("model ")]
    there = {name: value for name, value in saved.items() if name.startswith("model ")}
    _compare(
        [(name.split(" ", 2)[2], tuple(value.shape)) for name, value in there.items()],
        [(variable.path, tuple(variable.shape)) for variable in keras_model.variables],
        path,
    )
    training_state.assign_weights(keras_model, dict(zip(wanted, there.values(), strict=True)))


def _shapes(keras_model: Any) -> list[tuple[str, tuple[int, ...]]]:
    """The layer and the shape of each weight."""
    return [(weight.path.rpartition("/")[0], tuple(weight.shape)) for weight in keras_model.weights]


def _legacy_shapes(path: Path) -> list[tuple[str, tuple[int, ...]]] | None:
    """The layer and the shape of each weight in a file of Keras 2; None for one of Keras 3."""
    import h5py

    found = []
    with h5py.File(path, "r") as file:
        group = file.get("model_weights", file)
        if "layer_names" not in group.attrs:
            return None
        for layer in group.attrs["layer_names"]:
            name = layer.decode() if isinstance(layer, bytes) else str(layer)
            found += [(name, tuple(group[name][weight].shape)) for weight in group[name].attrs["weight_names"]]
    return found


def _compare(
    given: Sequence[tuple[str, tuple[int, ...]]], wanted: Sequence[tuple[str, tuple[int, ...]]], path: Path
) -> None:
    """Raise a StageError that names the first layer whose weights differ in shape."""
    for place in range(max(len(given), len(wanted))):
        mine = wanted[place] if place < len(wanted) else None
        theirs = given[place] if place < len(given) else None
        if mine is not None and theirs is not None and mine[1] == theirs[1]:
            continue
        layer = mine[0] if mine is not None else theirs[0] if theirs is not None else ""
        raise StageError(
            f"the weights file is of another architecture: layer {layer} differs",
            found=f"{_told(theirs)} in {path.name}, {_told(mine)} in the model",
            fix="give weights of a model with the same layers",
        )


def _told(weight: tuple[str, tuple[int, ...]] | None) -> str:
    return "no such weight" if weight is None else f"{weight[0]} of shape {weight[1]}"
