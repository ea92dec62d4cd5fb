"""`.keras` files with reproducible bytes: the format embeds a clock, Python ids and absolute paths; these come out."""

from __future__ import annotations

import base64
import json
import marshal
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from types import CodeType
from typing import Any

from mltkbuild.archives.writing import write_zip


def save(keras_model: Any, path: Path, label: Callable[[str], str | None]) -> None:
    """Save a model so that equal weights and config give equal bytes.

    Args:
        keras_model: The model.
        path: The `.keras` file to write.
        label: Gives the workspace-relative path of a source file, for the bytecode of lambdas.
    """
    raw = path.with_name("raw.keras")
    keras_model.save(raw)
    with zipfile.ZipFile(raw) as source:
        members = {name: source.read(name) for name in sorted(source.namelist())}
    raw.unlink()
    metadata = json.loads(members["metadata.json"])
    metadata["date_saved"] = ""
    members["metadata.json"] = json.dumps(metadata, sort_keys=True).encode()
    ids: dict[object, int] = {}
    members["config.json"] = json.dumps(_normal(json.loads(members["config.json"]), ids, label)).encode()
    write_zip(path, members, zipfile.ZIP_STORED)


def _normal(config: Any, ids: dict[object, int], label: Callable[[str], str | None]) -> Any:
    """Number shared objects in the order of their appearance, and take this machine's paths out of lambdas."""
    if isinstance(config, list):
        return [_normal(item, ids, label) for item in config]
    if not isinstance(config, dict):
        return config
    result = {key: _normal(value, ids, label) for key, value in config.items()}
    if "shared_object_id" in result:
        result["shared_object_id"] = ids.setdefault(result["shared_object_id"], len(ids) + 1)
    if result.get("class_name") == "__lambda__" and isinstance(result.get("config"), dict):
        result["config"]["code"] = _without_paths(result["config"]["code"], label)
    return result


def _without_paths(encoded: str, label: Callable[[str], str | None]) -> str:
    def relative(code: CodeType) -> CodeType:
        inner = tuple(relative(item) if isinstance(item, CodeType) else item for item in code.co_consts)
        return code.replace(co_filename=label(code.co_filename) or Path(code.co_filename).name, co_consts=inner)

    code = marshal.loads(base64.b64decode(encoded))  # noqa: S302  # Keras wrote it a moment ago
    # Version 2 writes values alone; later ones also whether equal constants happen to be one object.
    return base64.encodebytes(marshal.dumps(relative(code), 2)).decode("ascii")


def load(path: Path, custom_objects: Mapping[str, object], *, compiled: bool) -> Any:
    """Load a `.keras` file of this workspace.

    Args:
        path: The file.
        custom_objects: The spec's own classes and functions by name.
        compiled: Whether losses, metrics and the optimizer are wanted too.
    """
    import keras

    return keras.saving.load_model(path, custom_objects=dict(custom_objects), compile=compiled, safe_mode=False)
