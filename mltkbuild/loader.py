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
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType

from mltkbuild import compat
from mltkbuild.errors import MltkError, SpecError
from mltkbuild.model import MltkModel


@dataclass(frozen=True)
class Snapshot:
    """The source of a spec and of the workspace modules that it imports.

    Args:
        root: Absolute path of the workspace.
        spec_path: The spec, relative to the root.
        folders: Where the spec imports from, relative to the root, first come first.
        files: Text of each file, by its path relative to the root.
    """

    root: str
    spec_path: str
    folders: tuple[str, ...]
    files: Mapping[str, str]

    def label(self, filename: str) -> str | None:
        """The workspace-relative path of a source file; None when it isn't workspace code."""
        if not filename.startswith(self.root + os.sep):
            return None
        relative = filename[len(self.root) + 1 :].replace(os.sep, "/")
        return relative if relative in self.files else None

    def source(self, filename: str) -> str:
        """The text of a workspace file, as it was when the snapshot was taken."""
        label = self.label(filename)
        return "" if label is None else self.files[label]

    def skip(self, obj: object) -> bool:
        """Say whether a value is left out of fingerprints: the reads of a model's properties are tracked instead."""
        return isinstance(obj, MltkModel)


class SnapshotImporter(importlib.abc.MetaPathFinder, importlib.abc.InspectLoader):
    """Imports workspace modules from a snapshot."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self.loaded: list[str] = []

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module of the snapshot; everything else is left to Python."""
        parts = fullname.replace(".", "/")
        for folder in self.snapshot.folders:
            base = f"{folder}/{parts}" if folder else parts
            for relative, is_package in ((f"{base}.py", False), (f"{base}/__init__.py", True)):
                if relative in self.snapshot.files:
                    return self._spec(fullname, relative, base if is_package else None)
            if any(name.startswith(base + "/") for name in self.snapshot.files):
                spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
                spec.submodule_search_locations = [os.path.join(self.snapshot.root, base)]
                self.loaded.append(fullname)
                return spec
        return None

    def _spec(self, fullname: str, relative: str, package: str | None) -> importlib.machinery.ModuleSpec:
        filename = os.path.join(self.snapshot.root, relative)
        spec = importlib.machinery.ModuleSpec(fullname, self, origin=filename, is_package=package is not None)
        spec.has_location = True
        if package is not None:
            spec.submodule_search_locations = [os.path.join(self.snapshot.root, package)]
        self.loaded.append(fullname)
        return spec

    def get_source(self, fullname: str) -> str | None:
        """The text of a module that this importer found."""
        module_spec = self.find_spec(fullname, None)
        return None if module_spec is None or module_spec.origin is None else self.snapshot.source(module_spec.origin)

    def exec_module(self, module: ModuleType) -> None:
        """Run a module's code from the snapshot."""
        origin = module.__spec__.origin if module.__spec__ else None
        assert origin is not None
        run_source(module, origin, self.snapshot.source(origin))


def run_source(module: ModuleType, filename: str, text: str) -> None:
    """Execute source in a module, known to tracebacks and `inspect` under its real file name."""
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    exec(compile(text, filename, "exec", dont_inherit=True), module.__dict__)  # noqa: S102  # running specs is the job


@contextmanager
def loaded_spec(snapshot: Snapshot, name: str, log_dir: str, test: bool) -> Iterator[MltkModel]:
    """Run a spec in this process and give its model; afterwards the process forgets the modules again.

    Raises:
        SpecError: The spec has a syntax error, raises, or defines no model or more than one.
    """
    importer = SnapshotImporter(snapshot)
    aliases = compat.MltkAliases()
    before = dict(sys.modules)
    sys.meta_path[:0] = [importer, aliases]
    MltkModel.created.clear()
    try:
        module = _run_spec(snapshot, importer, name)
        model = _the_model(snapshot, module)
        model.bind(name, os.path.join(snapshot.root, snapshot.spec_path), log_dir, test)
        yield model
    finally:
        sys.meta_path[:] = [finder for finder in sys.meta_path if finder not in (importer, aliases)]
        for loaded in [*importer.loaded, *aliases.loaded]:
            if loaded in before:
                sys.modules[loaded] = before[loaded]
            else:
                sys.modules.pop(loaded, None)
        MltkModel.created.clear()


def _run_spec(snapshot: Snapshot, importer: SnapshotImporter, name: str) -> ModuleType:
    filename = os.path.join(snapshot.root, snapshot.spec_path)
    text = snapshot.files[snapshot.spec_path]
    module = ModuleType(name)
    module.__file__ = filename
    module.__spec__ = importlib.machinery.ModuleSpec(name, importer, origin=filename)
    importer.loaded.append(name)
    sys.modules[name] = module
    with user_code(snapshot, "the spec", SpecError):
        run_source(module, filename, text)
    return module


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
        error.where = _relative(snapshot, error.where) or _user_place(snapshot, error)
        raise
    except SyntaxError as error:
        where = f"{_relative(snapshot, error.filename) or snapshot.spec_path}:{error.lineno}"
        found = (error.text or "").strip() or None
        raise kind(f"syntax error: {error.msg}", where=where, found=found, fix="mend this line") from error
    except (Exception, SystemExit) as error:  # user code may raise anything, and all of it is the user's to mend
        text = "".join(traceback.format_exception_only(error)).strip()
        raise kind(
            f"{what} raised {type(error).__name__}",
            where=_user_place(snapshot, error) or snapshot.spec_path,
            found=text.partition(": ")[2] or None,
            trace=_user_trace(snapshot, error),
        ) from error


def _relative(snapshot: Snapshot, place: str | None) -> str | None:
    """A place with its path made relative to the workspace."""
    return place.removeprefix(snapshot.root + os.sep) if place else None


def _user_frames(snapshot: Snapshot, error: BaseException) -> list[traceback.FrameSummary]:
    frames = traceback.extract_tb(error.__traceback__)
    return [frame for frame in frames if snapshot.label(frame.filename) is not None]


def _user_place(snapshot: Snapshot, error: BaseException) -> str | None:
    frames = _user_frames(snapshot, error)
    return f"{snapshot.label(frames[-1].filename)}:{frames[-1].lineno}" if frames else None


def _user_trace(snapshot: Snapshot, error: BaseException) -> str:
    """The user's frames of a traceback, with paths relative to the workspace."""
    lines = [
        f"{snapshot.label(frame.filename)}:{frame.lineno}, in {frame.name}\n    {frame.line}"
        for frame in _user_frames(snapshot, error)
    ]
    return "\n".join([*lines, *"".join(traceback.format_exception_only(error)).rstrip().splitlines()])
