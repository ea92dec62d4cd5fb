"""What the commands do with files that belong to no workspace, and the commands for them alone."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence
from typing import Any

from mltkbuild.cli.parameters import Changes
from mltkbuild.cli.telling import tell
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.errors import StageError, UsageError
from mltkbuild.front.report import size
from mltkbuild.shown import shown

KERAS = (".keras", ".h5", ".hdf5")
TFLITE = ".tflite"
SAVED_MODEL = "a SavedModel's folder"


def is_file(name: str) -> bool:
    """Whether an argument names a file, or a SavedModel's folder, instead of a model of the workspace."""
    return name.endswith((*KERAS, TFLITE, ARCHIVE_SUFFIX)) or _is_saved_model(name)


def _is_saved_model(name: str) -> bool:
    return os.path.isfile(os.path.join(name, "saved_model.pb"))


def do(job: str, **arguments: object) -> Any:
    """Do a job with files in a worker process.

    Raises:
        MltkError: It failed, or the worker died.
    """
    # Loaded late: asking for help needs no process pool.
    return importlib.import_module("mltkbuild.workers.files").do(job, **arguments)


def existing(path: str, *kinds: str) -> str:
    """The absolute path of a file of one of these kinds: suffixes, and `SAVED_MODEL`.

    Raises:
        UsageError: There is no such file, or it is of another kind.
    """
    if SAVED_MODEL in kinds and _is_saved_model(path):
        return os.path.abspath(path)
    if not path.endswith(kinds):
        raise UsageError("this is another kind of file", where=path, fix=f"give {' or '.join(kinds)}")
    if not os.path.isfile(path):
        raise UsageError("there is no such file", where=path, fix="check the path")
    return os.path.abspath(path)


def require_no(options: Mapping[str, object], of: str) -> None:
    """Refuse options that are given and have no meaning here.

    Raises:
        UsageError: One is given.
    """
    given = [name for name, value in options.items() if value not in (None, False, ())]
    if given:
        raise UsageError(
            f"--{given[0].replace('_', '-')} is for files",
            found=f"a model of the workspace: {of}",
            fix="leave it out; the spec says how its model is made",
        )


def quantize_file(path: str, options: Mapping[str, Any]) -> None:
    """Convert one Keras file or SavedModel and say what came of it."""
    path = existing(path, *KERAS, SAVED_MODEL)
    output = os.path.abspath(options["output"] or (path if os.path.isdir(path) else os.path.splitext(path)[0]) + TFLITE)
    data = options["data"]
    settings: dict[str, Any] = {
        "rescale": options["rescale"] if options["rescale"] is not None else 1 / 255,
        "max_samples": options["max_samples"] or 1000,
        "tflm": options["tflm"] or "error",
        "inference_input_type": options["input_type"] or ("float32" if options["as_float"] else "int8"),
        "inference_output_type": options["output_type"] or ("float32" if options["as_float"] else "int8"),
    }
    if options["as_float"]:
        settings["optimizations"] = []
    if options["int16"]:
        settings["supported_ops"] = ["EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"]
        for name in ("input", "output"):
            settings[f"inference_{name}_type"] = options[f"{name}_type"] or "int16"
    found = do(
        "quantize",
        path=path,
        output=output,
        data=None if data is None else os.path.abspath(data),
        settings=settings,
        trust=options["trust"],
    )
    for note in found["notes"]:
        tell(f"note: {shown(note)}")
    runs = "" if found["arena"] is None else f", runs on TensorFlow Lite Micro with {found['arena']['total']:,} B"
    tell(f"made {shown(os.path.relpath(output))}: {size(found['bytes'])}{runs}")


def evaluate_files(paths: Sequence[str], options: Mapping[str, Any]) -> None:
    """Evaluate a Keras file or SavedModel, a `.tflite` or one of each, and print the figures."""
    if options["data"] is None:
        fix = "give --data FILE.npz with x and y, or a folder with a subfolder for each class"
        raise UsageError("evaluating a file needs samples", found="no --data", fix=fix)
    found = [existing(path, *KERAS, TFLITE, SAVED_MODEL) for path in paths]
    kinds = [path.endswith(TFLITE) for path in found]
    if len(set(kinds)) != len(kinds):
        fix = "give one Keras model, one .tflite, or one of each"
        raise UsageError("these files can't be compared", found=", ".join(paths), fix=fix)
    classes = options["classes"]
    result = do(
        "evaluate",
        # The .tflite last: parity is told in its steps.
        paths=sorted(found, key=lambda path: path.endswith(TFLITE)),
        data=os.path.abspath(options["data"]),
        options={
            "rescale": options["rescale"] if options["rescale"] is not None else 1 / 255,
            "trust": options["trust"],
            "output": None if options["output"] is None else os.path.abspath(options["output"]),
            "classes": None if classes is None else [label.strip() for label in classes.split(",")],
        },
    )
    tell(json.dumps(result["results"], indent=1) if options["as_json"] else result["text"])
    _require_whole("the figures are not those of TensorFlow Lite Micro", found[-1], result)


def print_profile(path: str, vela: str | None, form: str) -> None:
    """Print what a `.tflite` costs as `text`, `json` or `csv`."""
    found = do("profile", path=existing(path, TFLITE), vela=vela)
    text = json.dumps(found["json"], indent=1) if form == "json" else found[form]
    tell(text.rstrip("\n"))
    _require_whole("the arena can't be told", path, found)


def _require_whole(what: str, path: str, found: Mapping[str, Any]) -> None:
    """End with an error when a part couldn't be made; with a note where TensorFlow Lite Micro is not installed.

    Raises:
        StageError: It says why.
    """
    if found["problem"] is None:
        return
    if not found["tried"]:
        tell(f"note: {what}: {shown(found['problem'])}", error=True)
        return
    raise StageError(what, where=path, found=found["problem"], fix=found["fix"])


def export_file(path: str, output: str | None) -> None:
    """Write what firmware needs of any `.tflite`."""
    path = existing(path, TFLITE)
    name = os.path.basename(path).removesuffix(TFLITE)
    folder = os.path.abspath(output or f"{name}_export")
    found = do("export", path=path, folder=folder, name=name)
    tell(f"made {shown(os.path.relpath(folder))}: {', '.join(map(shown, found['names']))}")
    _require_whole("no arena size and no test vector could be made", path, found)


def summarize_file(path: str, trust: bool) -> None:
    """Describe a Keras model or a `.tflite`."""
    tell(do("summarize", path=existing(path, *KERAS, TFLITE, SAVED_MODEL), trust=trust).rstrip("\n"))


# -- update_params ---------------------------------------------------------------------------------------------------


def update_file(path: str, output: str | None, changes: Changes, description: str | None) -> None:
    """Change parameters in a `.tflite` and print them."""
    path = existing(path, TFLITE)
    found = do(
        "update_params",
        path=path,
        output=os.path.abspath(output or path),
        changes=changes.values,
        types=changes.types,
        description=description,
    )
    for key, value in sorted(found.items()):
        tell(f"{shown(key)}: {value!r}")
