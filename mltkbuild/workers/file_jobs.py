"""What can be done with files that no workspace made; runs in a worker, which a damaged file may crash."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mltkbuild.data import loading
from mltkbuild.disk import durable
from mltkbuild.errors import MltkError, StageError, UsageError
from mltkbuild.firmware import export as exporting
from mltkbuild.shown import shown
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.stages import slices
from mltkbuild.tflite import foreign, micro, params, saved_model
from mltkbuild.tflite import profile as profiling
from mltkbuild.tflite import quantize as quantizing
from mltkbuild.tflite import vela as arm
from mltkbuild.tflite.convert import convert

TFLITE = ".tflite"


def profile(path: str, vela: str | None = None) -> dict[str, Any]:
    """Count what a `.tflite` costs.

    Returns:
        The profile as `json` (a document), `text` and `csv`, and what `missing` tells of an arena that there isn't.
    """
    with about(path):
        found = profiling.profile(content_of(path), Path(path).stem)
        document, text = profiling.as_json(found), profiling.as_text(found)
        if vela is not None:
            estimate = arm.estimate(Path(path), vela)
            document["vela"] = arm.as_json(estimate)
            text += "\n" + arm.as_text(estimate)
    return {"json": document, "text": text, "csv": profiling.as_csv(found), **missing(found.problem, found.fix)}


def export(path: str, folder: str, name: str) -> dict[str, Any]:
    """Write what firmware needs of a `.tflite`, whole or not at all."""
    with about(path):
        embedded = params.extract(content_of(path)).get("classes")
        classes = embedded if isinstance(embedded, list) else None
        with tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
            facts = exporting.run(Path(path), Path(scratch), name=name, classes=classes, vectors=None)
            files = {file.name: file.read_bytes() for file in sorted(Path(scratch).iterdir())}
    for file_name, content in files.items():
        write(os.path.join(folder, file_name), content)
    fix = f"see `mltk profile {shown(os.path.basename(path))}`, which tells what to do"
    return {"names": sorted(files), **missing(facts.get("problem"), fix)}


def missing(problem: str | None, fix: str | None) -> dict[str, Any]:
    """What tells that something couldn't be made: why, what to do, and whether it was `tried` at all."""
    return {"problem": problem, "fix": fix, "tried": micro.is_here()}


def update_params(
    path: str, output: str, changes: Mapping[str, object], types: Mapping[str, str], description: str | None
) -> dict[str, object]:
    """Set, change or remove parameters that are embedded in a `.tflite`.

    Args:
        path: The file.
        output: Where to write; nothing is written without a change.
        changes: New values by key; None to remove one.
        types: The types of those for which one is chosen.
        description: The model's own description; None keeps it.

    Returns:
        All parameters as they are now, with types as they are stored.
    """
    with about(path):
        content = content_of(path)
        parameters = params.extract_typed(content)
        removed = [key for key, value in changes.items() if value is None]
        unknown = [key for key in removed if key not in parameters]
        if unknown:
            found = f"{unknown[0]}; it has {', '.join(sorted(parameters)) or 'none'}"
            raise UsageError("the model has no such parameter", found=found, fix="remove one that it has")
        kept = {key: value for key, value in parameters.items() if key not in removed}
        new = {key: value for key, value in changes.items() if value is not None}
        typed = {key: params.Typed(new[key], kind) for key, kind in types.items()}
        changed: dict[str, object] = {**kept, **new, **typed}
        if "hash" in kept and "hash" not in changes:
            changed["hash"] = params.model_hash(content, changed, description)
        if changes or description is not None:
            write(output, params.embed(content, changed, description))
            content = Path(output).read_bytes()
        return params.extract(content)


def summarize(path: str, trust: bool = False) -> str:
    """Describe a Keras model's layers, or what is in a `.tflite`."""
    if path.endswith(TFLITE):
        text = str(profile(path)["text"])
        with about(path):
            embedded = params.extract(content_of(path))
        lines = [f"  {shown(key)}: {value!r}" for key, value in sorted(embedded.items())]
        return text + "\n".join(["", "parameters", *(lines or ["  none"]), ""])
    return slices.summarize(keras_model_of(path, trust))


def quantize(path: str, output: str, data: str | None, settings: Mapping[str, Any], trust: bool) -> dict[str, Any]:
    """Convert a Keras model to a `.tflite` that is proven on TensorFlow Lite Micro.

    Args:
        path: A `.keras` or `.h5` file, or a SavedModel's folder.
        output: The `.tflite` to write.
        data: Calibration samples, as `data.files.load` reads them; None for a float model.
        settings: `rescale`, `max_samples`, `tflm` and what differs from the defaults of `tflite_converter`.
        trust: Whether code inside the file may run.

    Returns:
        `bytes`, `notes` and what is known of the model on TensorFlow Lite Micro.
    """
    changed = dict(settings)
    rescale, most, mode = changed.pop("rescale"), changed.pop("max_samples"), changed.pop("tflm")
    converter = {**TrainMixin.tflite_converter.default, "generate_unquantized": False, **changed}
    keras_model = keras_model_of(path, trust)
    with about(path), tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
        wanted = quantizing.wants_calibration(converter)
        samples, told = _calibration(keras_model, data, rescale, most) if wanted else (None, ())
        converted, float32 = Path(scratch, "model.tflite"), Path(scratch, "float32.tflite")
        found = convert(keras_model, samples, converter, mode=mode, converted=converted, float32=float32, align=True)
        content = converted.read_bytes()
    write(output, content)
    return {**found.tflm, "bytes": len(content), "notes": [*told, *found.notes]}


def _calibration(keras_model: Any, data: str | None, rescale: float, most: int) -> tuple[list[Any], tuple[str, ...]]:
    """Some of the samples, evenly spread, and what is told of where they lie."""
    if data is None:
        fix = "give --data FILE.npz or a folder, or --float for a model that isn't quantized"
        raise UsageError("quantizing needs calibration samples", found="no --data", fix=fix)
    loaded = samples_of(keras_model.inputs, data, rescale)
    count = len(loaded.inputs[0])
    picked = [count * place // min(most, count) for place in range(min(most, count))]
    rows = [[part[place] for part in loaded.inputs] for place in picked]
    return ([row[0] for row in rows] if len(loaded.inputs) == 1 else rows), loaded.told


def samples_of(inputs: Sequence[Any], data: str, rescale: float) -> loading.Loaded:
    """The samples in a file or folder, in the order of a model's inputs."""
    shapes = [tuple(entry.shape[1:]) for entry in inputs]
    return loading.load(Path(data), [entry.name for entry in inputs], shapes, rescale)


# -- files -----------------------------------------------------------------------------------------------------------


class about:  # reads as the statement that it stands for
    """Give an error without a place that of the file that it is about."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, MltkError) and error.where is None:
            error.where = self._path


def content_of(path: str) -> bytes:
    """The bytes of a file."""
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError("the file can't be read", where=path, found=error.strerror, fix="give another path") from error


def write(path: str, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        durable.write(os.path.abspath(path), content)
    except OSError as error:
        fix = "give another path, or make room"
        raise StageError("the file can't be written", where=path, found=error.strerror, fix=fix) from error


def keras_model_of(path: str, trust: bool) -> Any:
    """Load a Keras model, or a SavedModel as one, for conversions that give the same bytes again."""
    # Loaded late: what reads a `.tflite` alone needs no TensorFlow.
    tensorflow: Any = importlib.import_module("tensorflow")
    tensorflow.config.experimental.enable_op_determinism()
    return (saved_model if os.path.isdir(path) else foreign).load(Path(path), trust=trust)
