"""The text of a spec and of the workspace modules that it imports, and where these may be found."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field

from mltkbuild.disk.digests import bytes_digest, settled, source_digest, stamp_of
from mltkbuild.disk.inputs import CODE, Input
from mltkbuild.disk.records import Stamp
from mltkbuild.disk.workspace import Spec, Workspace, module_file
from mltkbuild.errors import SpecError
from mltkbuild.fingerprint.code import workspace_closure


@dataclass(frozen=True)
class Sources:
    """The text of a spec and of the workspace modules that it imports, read once for a whole build.

    Args:
        texts: Text by path, relative to the workspace.
        outside: Top-level modules that it imports from elsewhere.
        stamps: Stamps of those files that were settled when they were read.
    """

    texts: Mapping[str, str]
    outside: frozenset[str]
    stamps: Mapping[str, Stamp] = field(default_factory=dict)

    def digests(self, kind: str) -> dict[str, str | None]:
        """The files as inputs of a kind: by meaning for CODE, by their bytes for TEXT."""
        digest = source_digest if kind == CODE else bytes_digest
        return {Input(kind, path).name: digest(text.encode()) for path, text in self.texts.items()}


def importable(name: str) -> bool:
    """Say whether a file or folder of this name may be a module."""
    return name.endswith(".py") or ("." not in name and name != "__pycache__")


_module_names: dict[str, frozenset[str]] = {}


def names_in(folder: str) -> frozenset[str]:
    """The names in a folder, listed once a process, or until `forget_folders`."""
    if folder not in _module_names:
        try:
            _module_names[folder] = frozenset(os.listdir(folder))
        except OSError:
            _module_names[folder] = frozenset()
    return _module_names[folder]


def forget_folders() -> None:
    """Let folders be listed anew: a process that lives long must not go by what they held at an earlier call."""
    _module_names.clear()


def read_sources(workspace: Workspace, spec: Spec) -> Sources:
    """Read a spec and every workspace module that it imports, directly or not."""
    texts: dict[str, str] = {}
    stamps: dict[str, Stamp] = {}

    def read(path: str) -> str:
        if path not in texts:
            before = stamp_of(workspace.path(path))
            try:
                with open(workspace.path(path), encoding="utf-8", newline="") as file:
                    texts[path] = file.read()
            except (OSError, UnicodeDecodeError) as error:
                raise SpecError(
                    "this file can't be read", where=path, found=str(error), fix="save it as UTF-8 text"
                ) from error
            if before is not None and settled(before) and stamp_of(workspace.path(path)) == before:
                stamps[path] = before
        return texts[path]

    def find(dotted: str) -> str | None:
        return module_file(workspace, spec.path, dotted)

    try:
        files, outside = workspace_closure(spec.path, find, read)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        # The spec stage runs the spec and reports the line; the closure of what can't be parsed is the file itself.
        files, outside = (spec.path,), frozenset()
    return Sources({path: read(path) for path in files}, outside, stamps)
