"""`.keras` files with reproducible bytes: the format embeds a clock, Python ids and absolute paths; these come out."""

from __future__ import annotations

import base64
import json
import marshal
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import CodeType
from typing import Any

from mltkbuild.archives.writing import write_zip
from mltkbuild.errors import StageError
from mltkbuild.tflite import keras_claims


def save(keras_model: Any, path: Path, label: Callable[[str], str | None]) -> None:
    """Save a model so that equal weights and config give equal bytes.

    Args:
        keras_model: The model.
        path: The `.keras` file to write.
        label: Gives the workspace-relative path of a source file, for the bytecode of lambdas.
    """
    raw = path.with_name("raw.keras")
    with savable(keras_model):
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


@contextmanager
def savable(keras_model: Any) -> Iterator[None]:
    """Leave out for a while how a model was compiled, where no file can hold that: a loss may be a partial.

    Without it only training knows, which builds the model by the spec.
    """
    compiled = keras_model.compiled
    try:
        keras_model.get_compile_config()
    except (TypeError, ValueError, NotImplementedError):
        keras_model.compiled = False
    try:
        yield
    finally:
        keras_model.compiled = compiled


@contextmanager
def saved_for_a_while(keras_model: Any, path: Path, label: Callable[[str], str | None]) -> Iterator[None]:
    """Save a model as `save` does, to a file that goes when the block ends."""
    save(keras_model, path, label)
    try:
        yield
    finally:
        path.unlink()


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


def load(
    path: Path,
    custom_objects: Mapping[str, object],
    *,
    compiled: bool,
    rebuilt: Callable[[], Any],
    label: Callable[[str], str | None],
) -> Any:
    """Load a `.keras` file of this workspace, which somebody else may have written.

    Code in the file, such as a lambda's, runs only where the spec itself makes a model with the same code: a spec is
    trusted, a file isn't, whatever its record says.

    Args:
        path: The file.
        custom_objects: The spec's own classes and functions by name.
        compiled: Whether losses, metrics and the optimizer are wanted too.
        rebuilt: Builds the spec's model; asked only where Keras' safe mode refuses the file.
        label: Gives the workspace-relative path of a source file, for the bytecode of lambdas.

    Raises:
        StageError: It can't be loaded, or holds code that the spec doesn't make.
    """
    import keras

    keras_claims.check(path)

    def loaded(*, safe_mode: bool) -> Any:
        objects = dict(custom_objects)
        return keras.saving.load_model(path, custom_objects=objects, compile=compiled, safe_mode=safe_mode)

    try:
        return loaded(safe_mode=True)
    except Exception as error:  # Keras may raise anything on what it refuses
        with zipfile.ZipFile(path) as archive:
            found = _network(json.loads(archive.read("config.json")))
        made = json.loads(json.dumps(keras.saving.serialize_keras_object(rebuilt())))
        if found != _network(_normal(made, {}, label)):
            raise StageError(
                "the saved model holds more than Keras' safe mode loads, and isn't the network that the spec builds",
                where=path,
                found=" ".join(str(error).split())[:200],
                fix="delete it, and the next build trains it anew; what a function of the spec changes after training "
                "must do without lambdas",
            ) from error
    return loaded(safe_mode=False)


def _network(config: Any) -> Any:
    """A model's config without what training changes: of how it was compiled, only the code counts."""
    if isinstance(config, list):
        return [_network(item) for item in config]
    if not isinstance(config, dict):
        return config
    kept = {key: _network(value) for key, value in config.items() if key not in ("compile_config", "shared_object_id")}
    return {**kept, "compile_config": list(_lambdas(config.get("compile_config")))}


def _lambdas(config: Any) -> Iterator[Any]:
    """The code in a config."""
    if isinstance(config, dict) and config.get("class_name") == "__lambda__":
        yield config.get("config")
    for item in config.values() if isinstance(config, dict) else config if isinstance(config, list) else ():
        yield from _lambdas(item)
