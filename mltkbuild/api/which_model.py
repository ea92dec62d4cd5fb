"""Which model a call of the Python API means, and its spec run in this process."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltkbuild.api.workers import workers
from mltkbuild.disk.workspace import TEST, Workspace, find_workspace, import_folders
from mltkbuild.engine import sources
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.target_state import TargetState
from mltkbuild.errors import UsageError, short
from mltkbuild.spec.model import MltkModel
from mltkbuild.spec.properties import properties_of
from mltkbuild.user_code.loader import Snapshot, loaded_spec
from mltkbuild.workers.executor import Lent

Model = str | os.PathLike[str] | MltkModel
"""How a call names a model: `NAME`, `NAME-test`, the path of its spec, or what `load_mltk_model` gave."""

_NO_SPECS = (".tflite", ".h5", ".keras", ".zip")

# One process loads one spec at a time: its folder and its modules are the process's own meanwhile.
_loading = threading.Lock()


@contextmanager
def opened_spec(state: TargetState) -> Iterator[tuple[Snapshot, MltkModel]]:
    """Run a target's spec in this process; inside the block its modules are importable.

    Raises:
        SpecError: The spec is wrong.
    """
    spec = state.spec
    folders = import_folders(state.workspace, spec.path)
    snapshot = Snapshot(state.workspace.root, spec.path, folders, state.sources.texts)
    is_test = state.target != spec.name
    with _loading, loaded_spec(snapshot, spec.name, state.folder.path, is_test) as model:
        yield snapshot, model


_loaded: weakref.WeakValueDictionary[tuple[str, str], MltkModel] = weakref.WeakValueDictionary()
_as_loaded: weakref.WeakKeyDictionary[MltkModel, dict[str, Any]] = weakref.WeakKeyDictionary()


def load(model: Model, test: bool, reload: bool) -> MltkModel:
    """Run a spec in this process and give its model; without `reload` the one that is loaded already."""
    _, found = find_target(model, test)
    key = (found.workspace.root, found.target)
    known = None if reload else _loaded.get(key)
    if known is None:
        with opened_spec(found) as (_, known):
            _loaded[key] = known
            _as_loaded[known] = _values(known)
    return known


def find_target(model: Model, test: bool) -> tuple[Builder, TargetState]:
    """The engine for a call and the target that it names."""
    sources.forget_folders()
    workspace, name, path = _located(model)
    builder = Builder(workspace, Lent(workers))
    stem = name.removesuffix(TEST)
    if path is not None and stem not in builder.listing.problems:
        spec = builder.listing.specs.get(stem)
        if spec is None or os.path.realpath(workspace.path(spec.path)) != os.path.realpath(path):
            raise UsageError(
                "this file is no spec of its workspace",
                where=path,
                found=f"the workspace {workspace.root}",
                fix=f"keep it below {workspace.models_dir}, with the line `# @mltk_model` above its class",
            )
    is_test = test or name.endswith(TEST) or (isinstance(model, MltkModel) and model.test_mode_enabled)
    return builder, builder.state(stem + TEST * is_test)


def _located(model: Model) -> tuple[Workspace, str, str | None]:
    """The workspace, the name, and the path if the model is given by one."""
    if isinstance(model, MltkModel):
        _check_as_loaded(model)
        path = model.model_specification_path
        return find_workspace(os.path.dirname(path)), model.name, path
    if not isinstance(model, str | os.PathLike):
        fix = "give its name, the path of its spec, or what load_mltk_model gave"
        raise UsageError("this is no model", found=f"{short(model)}, a {type(model).__name__}", fix=fix)
    text = os.fspath(model)
    if text.endswith(_NO_SPECS):
        raise UsageError("a model is given by its name or its spec", found=text, fix="such as 'kws' or 'models/kws.py'")
    if isinstance(model, str) and not text.endswith(".py") and os.sep not in text:
        return find_workspace(), text, None
    if not os.path.isfile(text):
        raise UsageError("there is no such spec", found=text, fix="give the path of a `.py` file, or a model's name")
    path = os.path.abspath(text)
    return find_workspace(os.path.dirname(path)), Path(path).stem, path


def _check_as_loaded(model: MltkModel) -> None:
    """Raise a UsageError for a model that is not, or no longer, what its spec says: workers run the spec."""
    if model not in _as_loaded:
        raise UsageError(
            "this model wasn't loaded by load_mltk_model",
            found=f"a {type(model).__name__}",
            fix="write it as a spec, models/NAME.py, and give its name",
        )
    before, now = _as_loaded[model], _values(model)
    changed = [name for name in sorted({*before, *now}) if not _same(before.get(name), now.get(name))]
    if changed:
        raise UsageError(
            "properties of a loaded model can't be changed for a build, which runs its spec",
            where=model.model_specification_path,
            found=f"{changed[0]} was changed to {short(now.get(changed[0]))}",
            fix="change the spec, or load the model again",
        )


def _values(model: MltkModel) -> dict[str, Any]:
    """A model's properties, set or not, but for those that its data loader fills."""
    items = properties_of(type(model))
    ours = {
        name: _copy(model.peek(name)) for name, item in items.items() if not item.loaded and name != "loaded_subset"
    }
    return {**ours, "model_parameters": dict(model.model_parameters), "archive_files": list(model.archive_files)}


def _copy(value: Any) -> Any:
    """A value whose lists and dicts don't change with those of the model."""
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if type(value) is list else value


def _same(old: Any, new: Any) -> bool:
    """Say whether a value is what it was; an object that is not the same one counts as changed."""
    if type(old) is not type(new):
        return False
    if isinstance(old, dict):
        return old.keys() == new.keys() and all(_same(value, new[key]) for key, value in old.items())
    if isinstance(old, list | tuple):
        return len(old) == len(new) and all(map(_same, old, new))
    return old is new or (isinstance(old, str | bytes | int | float) and old == new)
