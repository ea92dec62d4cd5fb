"""Read samples from files that no spec describes: NumPy arrays, or a folder of arrays or images."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import array_files, pixels
from mltkbuild.data.images import SUFFIXES
from mltkbuild.data.listing import as_items, folders_of, list_classes, list_files
from mltkbuild.data.splits import split
from mltkbuild.data.told import Tell, Told
from mltkbuild.errors import DataError

_READABLE = "make it readable, or give another folder"


@dataclass(frozen=True)
class Loaded:
    """Samples of a file or folder.

    Args:
        inputs: One array of shape `(n, *input_shape)` for each input of the model.
        y: The targets, or class ids by subfolder; None when there are none.
        classes: The names of the subfolders.
        told: Lines about files that were passed over, and about images that were changed.
        others: What else a `.npz` holds, by name: targets of several outputs.
    """

    inputs: tuple[np.ndarray, ...]
    y: np.ndarray | None = None
    classes: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    others: Mapping[str, np.ndarray] = field(default_factory=dict)


def load(path: Path, names: Sequence[str], shapes: Sequence[tuple[int, ...]], rescale: float = 1 / 255) -> Loaded:
    """Read samples for a model.

    Args:
        path: A `.npz` with `x` and perhaps `y`, or with an array for each input by its name or number (`NAME`,
            `x_NAME`, `x0`), and for each of several outputs likewise (`NAME`, `y_NAME`, `y0`); a `.npy` of samples; or
            a folder of `.npy` files or images, in folders by class or not; all that lies below a class's folder is its.
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
    folder: str, classes: Sequence[str], shape: tuple[int, ...], *, validation: float, told: Told
) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Read a folder that has a folder of `.npy` files or images for each class.

    Args:
        folder: Absolute path.
        classes: The labels; others are left out.
        shape: The shape of one sample.
        validation: Which part is for validation; a file's name decides whether it belongs to it.
        told: Takes the files that are passed over, and what is done to images.

    Returns:
        For 'training' and 'validation' samples and class ids; images' values are from 0 to 1.

    Raises:
        DataError: A class has no folder or no files, or a file can't be read or has another shape.
    """
    items = as_items(folder, list_classes(folder, classes, SUFFIXES, told=told), classes)
    found = {}
    for subset, part in split(items, validation).items():
        if not part:
            continue
        rows = []
        for item in part:
            row = _content(Path(item.path), shape, 1 / 255, told.about(item.name))
            if row.shape != shape:
                fix = f"save one sample of shape {shape} a file, or set my_model.input_shape"
                raise DataError("a sample has another shape", where=item.path, found=f"{row.shape}", fix=fix)
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
    told = Told()
    found = {name: list_files(str(path), name, SUFFIXES, told=told) for name in folders_of(str(path), fix=_READABLE)}
    groups = [names for names in found.values() if names]
    beside = _beside(path, told, is_sample=not groups)
    classes = tuple(name for name, names in found.items() if names)
    parts, ids = [], []
    for number, names in enumerate(groups or [beside]):
        for name in names:
            batch = _content(path / name, shape, rescale, told.about(name))
            rows = batch[None] if batch.shape == shape else batch
            parts.append(rows)
            ids += [number] * len(rows)
    if not parts:
        nothing = "; ".join(["no file that ends as one", *told.notes()])
        fix = f"put .npy files or images ({', '.join(SUFFIXES)}) in it, or in a folder for each class"
        raise DataError("the folder has no samples", where=path, found=nothing, fix=fix)
    try:
        x = np.concatenate(parts)
    except ValueError as error:
        raise DataError(
            "the samples don't all have one shape", where=path, found=str(error), fix="give all of them one shape"
        ) from error
    return Loaded((x,), np.array(ids) if classes else None, classes, tuple(told.notes()))


def _beside(path: Path, told: Told, *, is_sample: bool) -> list[str]:
    """The samples in a folder itself; beside folders of classes they belong to none, and are passed over."""
    names = sorted(entry.name for entry in path.iterdir() if entry.is_file() and not entry.name.startswith("."))
    found = [name for name in names if name.lower().endswith(SUFFIXES)]
    for name in names:
        if is_sample and name not in found:
            told.pass_over(name)
        elif not is_sample and name in found:
            told.pass_over(name, "(beside the classes)")
    return found if is_sample else []


def _content(path: Path, shape: tuple[int, ...], rescale: float, tell: Tell) -> Any:
    """What one file of a folder holds: an array as it is, or an image brought to the shape of a sample."""
    if path.name.lower().endswith(array_files.SUFFIX):
        return _read(path)
    if len(shape) != 3 or shape[2] not in pixels.MODES:
        found = f"an input of shape {shape}"
        raise DataError("images don't fit the model", where=path, found=found, fix="give .npy files of that shape")
    image = pixels.read(path, pixels.Form(shape[2], (shape[0], shape[1])), tell=tell)
    return image.astype(np.float32) * np.float32(rescale)


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
