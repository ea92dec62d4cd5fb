"""Read samples from files that no spec describes: NumPy arrays, or a folder of arrays or images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import array_files
from mltkbuild.data.image_files import opened
from mltkbuild.data.listing import as_items, list_classes
from mltkbuild.data.splits import split
from mltkbuild.errors import DataError

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif")
_MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@dataclass(frozen=True)
class Loaded:
    """Samples of a file or folder.

    Args:
        inputs: One array of shape `(n, *input_shape)` for each input of the model.
        y: The targets, or class ids by subfolder; None when there are none.
        classes: The names of the subfolders.
        others: What else a `.npz` holds, by name: targets of several outputs.
    """

    inputs: tuple[np.ndarray, ...]
    y: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


def load(path: Path, names: Sequence[str], shapes: Sequence[tuple[int, ...]], rescale: float = 1 / 255) -> Loaded:
    """Read samples for a model.

    Args:
        path: A `.npz` with `x` and perhaps `y`, or with an array for each input by its name or number (`NAME`,
            `x_NAME`, `x0`), and for each of several outputs likewise (`NAME`, `y_NAME`, `y0`); a `.npy` of samples; or
            a folder of `.npy` files or images, in subfolders by class or not.
        names: The model's inputs.
        shapes: Their shapes without the batch.
        rescale: What images' values, 0 to 255, are multiplied by.

    Raises:
        DataError: There is no such file, it can't be read, or its samples don't fit the model.
    """
    if path.is_dir():
        loaded = _folder(path, shapes[0], rescale)
    elif path.suffix == ".npy":
        loaded = Loaded((_read(path),))
    elif path.suffix == ".npz":
        loaded = _npz(path, names)
    else:
        fix = "give a .npz with x (and y), a .npy, or a folder of .npy files or images"
        raise DataError("these are no samples", where=path, found=path.suffix or "no such folder", fix=fix)
    _check(path, loaded, names, shapes)
    return loaded


def load_classes(
    folder: str, classes: Sequence[str], shape: tuple[int, ...], validation: float
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read a folder that has a folder of `.npy` files or images for each class.

    Args:
        folder: Absolute path.
        classes: The labels; others are left out.
        shape: The shape of one sample.
        validation: Which part is for validation; a file's name decides whether it belongs to it.

    Returns:
        For 'training' and 'validation' samples and class ids; images' values are from 0 to 1.

    Raises:
        DataError: A class has no folder or no files, or a file can't be read or has another shape.
    """
    items = as_items(folder, list_classes(folder, classes, (".npy", *IMAGES)), classes)
    found = {}
    for subset, part in split(items, validation).items():
        if not part:
            continue
        rows = []
        for item in part:
            path = Path(item.path)
            row = _read(path) if path.suffix == ".npy" else _image(path, shape) * np.float32(1 / 255)
            if row.shape != shape:
                fix = f"save one sample of shape {shape} a file, or set my_model.input_shape"
                raise DataError("a sample has another shape", where=path, found=f"{row.shape}", fix=fix)
            rows.append(row)
        found[subset] = (np.stack(rows), np.array([item.label for item in part]))
    return found


def _read(path: Path) -> Any:
    try:
        return array_files.read_file(path)
    except array_files.UNREADABLE as error:
        raise _unreadable(path, error, "numpy.save") from error


def _unreadable(path: Path, error: BaseException, writer: str) -> DataError:
    found = str(error)[:200] or type(error).__name__
    fix = f"write it with {writer}, without Python objects"
    return DataError("the samples can't be read", where=path, found=found, fix=fix)


def _npz(path: Path, names: Sequence[str]) -> Loaded:
    try:
        arrays = array_files.read_archive(path)
    except array_files.UNREADABLE as error:
        raise _unreadable(path, error, "numpy.savez") from error
    y = arrays.pop("y", None)
    called = names_in(arrays, names, "x")
    if called is None and len(names) == 1 and ("x" in arrays or len(arrays) == 1):
        called = ["x" if "x" in arrays else next(iter(arrays))]
    if called is not None:
        inputs = tuple(arrays.pop(name) for name in called)
        return Loaded(inputs, y, others=arrays)
    raise DataError(
        "the file has no samples for the model's inputs",
        where=path,
        found=f"arrays {', '.join(arrays) or 'none'}; the model takes {', '.join(names)}",
        fix="save an array x, or one for each input by its name or as x0, x1, ..., and y for the targets",
    )


def names_in(arrays: Collection[str], names: Sequence[str], what: str) -> list[str] | None:
    """How arrays are called that belong to a model's inputs or outputs; None unless each has one.

    Args:
        arrays: The names of arrays.
        names: The names of the inputs or outputs, in their order.
        what: 'x' or 'y'.

    Returns:
        For each the first of its own name, `x_NAME`, `x0` and `x_0` that is there.
    """
    found = []
    for place, name in enumerate(names):
        ways = (name, f"{what}_{name}", f"{what}{place}", f"{what}_{place}")
        own = next((way for way in ways if way in arrays and way not in found), None)
        if own is None:
            return None
        found.append(own)
    return found


def _folder(path: Path, shape: tuple[int, ...], rescale: float) -> Loaded:
    classes = sorted(item.name for item in path.iterdir() if item.is_dir() and _samples_in(item))
    groups = [path / name for name in classes] or [path]
    parts, ids = [], []
    for number, group in enumerate(groups):
        for file in _samples_in(group):
            batch = _read(file) if file.suffix == ".npy" else _image(file, shape) * np.float32(rescale)
            rows = batch[None] if batch.shape == shape else batch
            parts.append(rows)
            ids += [number] * len(rows)
    if not parts:
        fix = f"put .npy files or images ({', '.join(IMAGES)}) in it, or in a subfolder for each class"
        raise DataError("the folder has no samples", where=path, found="no such file", fix=fix)
    try:
        x = np.concatenate(parts)
    except ValueError as error:
        raise DataError(
            "the samples don't all have one shape", where=path, found=str(error), fix="give all of them one shape"
        ) from error
    return Loaded((x,), np.array(ids) if classes else None, tuple(classes))


def _samples_in(folder: Path) -> list[Path]:
    return sorted(file for file in folder.iterdir() if file.suffix.lower() in (".npy", *IMAGES) and file.is_file())


def _image(path: Path, shape: tuple[int, ...]) -> np.ndarray:
    """An image in the size and the channels of a model's input, values from 0 to 255."""
    from PIL import Image

    if len(shape) != 3 or shape[2] not in _MODES:
        found = f"an input of shape {shape}"
        raise DataError("images don't fit the model", where=path, found=found, fix="give .npy files of that shape")
    with opened(path) as image:
        ready = image.convert(_MODES[shape[2]]).resize((shape[1], shape[0]), Image.Resampling.BILINEAR)
    return np.asarray(ready, np.float32).reshape(shape)


def _check(path: Path, loaded: Loaded, names: Sequence[str], shapes: Sequence[tuple[int, ...]]) -> None:
    counts = {len(part) for part in loaded.inputs if part.ndim}
    if loaded.y is not None:
        counts.add(len(loaded.y))
    if len(counts) != 1 or not min(counts):
        found = f"{', '.join(map(str, sorted(counts))) or 'no'} samples"
        fix = "give each array one row a sample, at least one"
        raise DataError("the arrays don't have equally many samples", where=path, found=found, fix=fix)
    for name, part, shape in zip(names, loaded.inputs, shapes, strict=True):
        if part.shape[1:] != tuple(shape):
            raise DataError(
                "the samples don't fit the model's input",
                where=path,
                found=f"samples of shape {part.shape[1:]}; {name} takes {tuple(shape)}",
                fix="save them in the shape that the model was trained on",
            )
        if part.dtype.kind not in "biuf" or not np.isfinite(part).all():
            found = f"{name} of type {part.dtype}"
            fix = "remove or replace NaN and infinity"
            raise DataError("the samples hold a value that is no finite number", where=path, found=found, fix=fix)
