"""Run a spec: import it and its workspace modules from a snapshot of their source, and find its model.

Only worker processes import this module. The snapshot is taken when a build judges the spec, so an edit that is saved
while a stage runs is seen by the next build and by none of this one's stages.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import linecache
import os
import re
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from mltkbuild import keras_words
from mltkbuild.disk.workspace import NOT_ITS_OWN
from mltkbuild.errors import MltkError, SpecError
from mltkbuild.fingerprint.origins import Origins
from mltkbuild.from_mltk import aliases
from mltkbuild.search_path import search_path
from mltkbuild.spec.model import Home, MltkModel
from mltkbuild.user_code import process_state
from mltkbuild.user_code.folders import is_library
from mltkbuild.user_code.module_loaders import ModuleLoader, namespace, run_source
from mltkbuild.user_code.system_errors import system_error

# What a process has loaded before any spec runs: as everywhere in Python, a library that is loaded hides a file. A
# script or a notebook may have loaded modules of its own too; those hide none, and stay.
_PRELOADED = frozenset(name.partition(".")[0] for name in sys.modules)
_OWN = frozenset(
    name.partition(".")[0]
    for name, module in list(sys.modules.items())
    if not is_library(getattr(module, "__file__", None) or sys.prefix, "")
)
_KEPT = (_PRELOADED - _OWN) | NOT_ITS_OWN
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_OF_LIBRARY = re.compile(rf"{re.escape(os.sep)}.*\.py(:\d+)?")
_MAX_LINES = 12


@dataclass(frozen=True)
class Snapshot:
    """The source of a spec and of the workspace modules that it imports.

    Args:
        root: Absolute path of the workspace.
        spec_path: The spec, relative to the root.
        folders: Where the spec imports from, relative to the root, first come first.
        files: Text of each file, by its path relative to the root.
        late: Text of the modules that were imported by a name which no import statement shows, read from the disk.
    """

    root: str
    spec_path: str
    folders: tuple[str, ...]
    files: Mapping[str, str]
    late: dict[str, str] = field(default_factory=dict)

    @property
    def all_files(self) -> Mapping[str, str]:
        """The text of every file that was imported or may be."""
        return {**self.late, **self.files}

    def label(self, filename: str) -> str | None:
        """The workspace-relative path of a source file; None when it isn't workspace code."""
        if not filename.startswith(self.root + os.sep):
            return None
        relative = filename[len(self.root) + 1 :].replace(os.sep, "/")
        return relative if relative in self.files or relative in self.late else None

    def source(self, filename: str) -> str:
        """The text of a workspace file, as it was when the snapshot was taken."""
        return self.source_if_known(filename) or ""

    def source_if_known(self, filename: str) -> str | None:
        """The text of a workspace file; None for a file that isn't workspace code."""
        label = self.label(filename)
        return None if label is None else self.files.get(label) or self.late.get(label, "")

    def skip(self, obj: object) -> bool:
        """Say whether a value is left out of fingerprints: what is read of a model, and of variables, is noticed."""
        return isinstance(obj, MltkModel) or obj is os.environ


class SnapshotImporter(importlib.abc.MetaPathFinder):
    """Finds workspace modules in a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.packages = {parent for path in snapshot.files for parent in _parents(path)}
        self._known: dict[str, bool] = {}

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module of the workspace; everything else is left to Python."""
        if fullname.partition(".")[0] in _KEPT:
            return None
        relative = self.find(fullname)
        if relative is not None:
            return self._spec(fullname, relative)
        # A folder without `__init__.py` is a package too, unless a library has its name.
        found = [base for base in self._bases(fullname) if base in self.packages]
        if not found or (path is None and importlib.machinery.PathFinder.find_spec(fullname) is not None):
            return None
        return namespace(fullname, [os.path.join(self.snapshot.root, base) for base in found])

    def find(self, fullname: str) -> str | None:
        """The file of a module, relative to the root; one that the snapshot lacks is read from the disk."""
        candidates = [name for base in self._bases(fullname) for name in (f"{base}/__init__.py", f"{base}.py")]
        for relative in candidates:
            if relative in self.snapshot.files or relative in self.snapshot.late:
                return relative
        for relative in candidates:
            filename = os.path.join(self.snapshot.root, relative)
            if relative != "dodo.py" and os.path.isfile(filename):
                with open(filename, encoding="utf-8", newline="") as file:
                    self.snapshot.late[relative] = file.read()
                return relative
        return None

    def knows(self, top: str) -> bool:
        """Say whether the snapshot has a module of this name at the top."""
        if top not in self._known:
            files = self.snapshot.files
            self._known[top] = any(base in self.packages or f"{base}.py" in files for base in self._bases(top))
        return self._known[top]

    def _bases(self, fullname: str) -> list[str]:
        parts = fullname.replace(".", "/")
        return [f"{folder}/{parts}" if folder else parts for folder in self.snapshot.folders]

    def _spec(self, fullname: str, relative: str) -> importlib.machinery.ModuleSpec:
        filename = os.path.join(self.snapshot.root, relative)
        is_package = relative.endswith("/__init__.py")
        loader = ModuleLoader(fullname, filename, is_package, self.snapshot.source_if_known)
        spec = importlib.machinery.ModuleSpec(fullname, loader, origin=filename, is_package=is_package)
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [os.path.dirname(filename)]
        return spec


def _parents(path: str) -> Iterator[str]:
    """The folders above a file, without the root."""
    while path := os.path.dirname(path):
        yield path


@contextmanager
def loaded_spec(snapshot: Snapshot, name: str, log_dir: str, test: bool) -> Iterator[MltkModel]:
    """Run a spec in this process and give its model; afterwards the process forgets it again.

    Raises:
        SpecError: The spec has a syntax error, raises, or defines no model or more than one.
    """
    importer = SnapshotImporter(snapshot)
    home = Home(name, os.path.join(snapshot.root, snapshot.spec_path), log_dir, test)
    with _as_before(snapshot), _own_modules(importer):
        sys.meta_path[:0] = [importer, aliases.MltkAliases()]
        with MltkModel.at_home(home):
            with process_state.importing(snapshot.root, Origins(snapshot).is_ours):
                module = _run_spec(snapshot, name)
            model = _the_model(snapshot, module)
        with user_code(snapshot, "the spec", SpecError):
            model.validate()
        yield model


@contextmanager
def _as_before(snapshot: Snapshot) -> Iterator[None]:
    """Work in the workspace's folder, and leave the process's settings as they were."""
    folder, environment = os.getcwd(), dict(os.environ)
    search, finders, known = list(sys.path), list(sys.meta_path), set(sys.path_importer_cache)
    os.chdir(snapshot.root)
    # What the spec may import from the workspace is the importer's to find, and nothing else is looked for there.
    sys.path[:] = search_path(*snapshot.folders)
    try:
        yield
    finally:
        sys.path[:], sys.meta_path[:] = search, finders
        os.environ.clear()
        os.environ.update(environment)
        os.chdir(folder)
        # A relative folder of the search path means another one in another workspace.
        for path in set(sys.path_importer_cache) - known:
            del sys.path_importer_cache[path]
        for path in snapshot.files:
            linecache.cache.pop(os.path.join(snapshot.root, path), None)


@contextmanager
def _own_modules(importer: SnapshotImporter) -> Iterator[None]:
    """Hide modules that bear the name of a workspace module, and forget all but libraries in the end.

    What another spec has left in a warm worker must not decide what this one imports.
    """
    hidden = {name: module for name, module in list(sys.modules.items()) if _is_ours(importer, name, module)}
    for name in hidden:
        del sys.modules[name]
    before = set(sys.modules)
    try:
        yield
    finally:
        for name, module in list(sys.modules.items()):
            if name not in before and _is_ours(importer, name, module):
                del sys.modules[name]
        sys.modules.update(hidden)


def _is_ours(importer: SnapshotImporter, name: str, module: ModuleType | None) -> bool:
    """Say whether a module is workspace code, has its name, or is otherwise no library's."""
    top = name.partition(".")[0]
    if top in _KEPT or top == "__main__":
        return False
    if top == "mltk" or importer.knows(top):
        return True
    if top in _OWN:
        return False
    filename = getattr(module, "__file__", None)
    return isinstance(filename, str) and not is_library(filename, importer.snapshot.root)


def _run_spec(snapshot: Snapshot, name: str) -> ModuleType:
    filename = os.path.join(snapshot.root, snapshot.spec_path)
    # A model may be called `signal` or `profile`; Python's own modules keep these names.
    module = ModuleType(f"{name}_spec" if name in _KEPT else name)
    module.__file__ = filename
    module.__loader__ = ModuleLoader(module.__name__, filename, False, snapshot.source_if_known)
    module.__spec__ = importlib.machinery.ModuleSpec(module.__name__, module.__loader__, origin=filename)
    module.__spec__.has_location = True
    sys.modules[module.__name__] = module
    with user_code(snapshot, "the spec", SpecError):
        run_source(module, filename, snapshot.files[snapshot.spec_path])
    return module


def own_objects(snapshot: Snapshot) -> dict[str, Any]:
    """The spec's own classes and functions by name, while it is loaded."""
    own: dict[str, Any] = {}
    for module in list(sys.modules.values()):
        if snapshot.label(getattr(module, "__file__", None) or "") is not None:
            own.update({name: item for name, item in vars(module).items() if callable(item)})
    return own


def _the_model(snapshot: Snapshot, module: ModuleType) -> MltkModel:
    """The one model among a module's globals; a second name for it does no harm."""
    found: dict[int, tuple[str, MltkModel]] = {}
    for name, value in vars(module).items():
        if isinstance(value, MltkModel):
            found.setdefault(id(value), (name, value))
    if len(found) == 1:
        return next(iter(found.values()))[1]
    if not found:
        raise SpecError(
            "the spec defines no model",
            where=snapshot.spec_path,
            fix="create one at the top level: my_model = MyModel(), where MyModel inherits MltkModel",
        )
    raise SpecError(
        "the spec defines more than one model",
        where=snapshot.spec_path,
        found=", ".join(name for name, _ in found.values()),
        fix="keep one model a file: the file's name is the model's name",
    )


@contextmanager
def user_code(snapshot: Snapshot, what: str, kind: type[MltkError]) -> Iterator[None]:
    """Turn what user code raises into one error with the place in the user's file and their part of the traceback.

    Args:
        snapshot: The workspace code.
        what: What ran, as the error names it: 'the spec', 'the data loader'.
        kind: The error to raise.
    """
    try:
        yield
    except MltkError as error:
        error.where = _place(snapshot, error)
        raise
    except BaseException as error:  # user code may raise anything, even exit; all of it is the user's to mend
        raise _user_error(snapshot, what, kind, error) from error


def _user_error(snapshot: Snapshot, what: str, kind: type[MltkError], error: BaseException) -> MltkError:
    if isinstance(error, SyntaxError) and (label := snapshot.label(error.filename or "")) is not None:
        where = f"{label}:{error.lineno}" if error.lineno else label
        found = (error.text or "").strip() or None
        return kind(f"syntax error: {error.msg}", where=where, found=found, fix="mend this line")
    message = _message(error)
    where, trace = _user_place(snapshot, error) or snapshot.spec_path, _user_trace(snapshot, error, message)
    refused = system_error(error, what, where, trace)
    if refused is not None:
        return refused
    unknown = keras_words.unknown_name(message)
    if unknown is not None:
        return kind(unknown.what, where=where, found=unknown.found, fix=unknown.fix, trace=trace)
    said = keras_words.gist(message) or None
    return kind(
        f"{what} raised {type(error).__name__}", where=where, found=said, fix=_advice(snapshot, error), trace=trace
    )


def _advice(snapshot: Snapshot, error: BaseException) -> str:
    """What to do about an exception of user code."""
    missing = getattr(error, "name", None) if isinstance(error, ImportError) else None
    hidden = f"{missing}.py"
    if missing in _KEPT and any(os.path.isfile(os.path.join(snapshot.root, at, hidden)) for at in snapshot.folders):
        return f"rename {hidden}: Python has a module {missing} of its own, and so that file is never imported"
    if isinstance(error, ModuleNotFoundError) and missing and missing.partition(".")[0] not in sys.modules:
        return f"install the package that has the module {missing}, as in `pip install {missing.partition('.')[0]}`"
    if isinstance(error, NameError) and "Lambda.call" in str(error):
        return "import what the lambda uses within a function of its own, or make it a class of keras.layers.Layer"
    return "mend this line, or what it is given" if _user_frames(snapshot, error) else "mend what the spec asks for"


def relative(snapshot: Snapshot, text: str) -> str:
    """A text with the paths of workspace files made relative to the workspace."""
    return text.replace(snapshot.root + os.sep, "")


def _place(snapshot: Snapshot, error: MltkError) -> str | None:
    """The place that an error names, such as a file of samples; for a library's line the user's that led there."""
    where = None if error.where is None else relative(snapshot, error.where)
    return _user_place(snapshot, error) or where if where is None or _OF_LIBRARY.fullmatch(where) else where


def _message(error: BaseException) -> str:
    """What an exception says, without colours."""
    text = "".join(traceback.format_exception_only(error)).partition(": ")[2]
    return _COLOURS.sub("", text).strip()


def _user_frames(snapshot: Snapshot, error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if snapshot.label(frame.filename) is not None]


def _user_place(snapshot: Snapshot, error: BaseException) -> str | None:
    frames = _user_frames(snapshot, error)
    return f"{snapshot.label(frames[-1].filename)}:{frames[-1].lineno}" if frames else None


def _user_trace(snapshot: Snapshot, error: BaseException, message: str) -> str:
    """The user's frames of a traceback, with paths relative to the workspace."""
    lines = [
        f"{snapshot.label(frame.filename)}:{frame.lineno}, in {frame.name}\n    {frame.line}"
        for frame in _user_frames(snapshot, error)
    ]
    told = relative(snapshot, message).splitlines()
    cut = [*told[:_MAX_LINES], "..."] if len(told) > _MAX_LINES else told
    head = type(error).__name__ + (f": {cut[0]}" if cut else "")
    return "\n".join([*lines, head, *cut[1:]])
