"""Find a workspace, read its configuration, list its specs: text scans only, no user code runs."""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mltkbuild.errors import SpecError, UsageError, WorkspaceError
from mltkbuild.properties import did_you_mean

MARKER = re.compile(rb"^[ \t]*#[ \t]*@mltk_model\b", re.MULTILINE)
NAME = re.compile(r"[A-Za-z0-9_]+")
TEST = "-test"
POLICIES = ("minor", "exact", "ignore")


@dataclass(frozen=True)
class Workspace:
    """A folder with specs and their build folder.

    Args:
        root: Absolute path of the folder that holds `dodo.py`.
        build_dir: Where artifacts and records go, relative to the root.
        models_dir: Where the specs are, relative to the root.
        toolchain: How exactly tool versions count: 'minor', 'exact' or 'ignore'.
    """

    root: str
    build_dir: str = "build"
    models_dir: str = "models"
    toolchain: str = "minor"

    def path(self, relative: str) -> str:
        """The absolute path of something in the workspace."""
        return os.path.join(self.root, relative)

    def relative(self, path: str) -> str | None:
        """The path relative to the root with forward slashes; None for one that lies outside."""
        if path.startswith(self.root + os.sep):
            return path[len(self.root) + 1 :].replace(os.sep, "/")
        return None


@dataclass(frozen=True)
class Spec:
    """A model spec's name and its file, relative to the workspace."""

    name: str
    path: str


@dataclass(frozen=True)
class Listing:
    """The specs of a workspace, and the files that should be specs but can't be."""

    specs: Mapping[str, Spec]
    problems: Mapping[str, SpecError] = field(default_factory=dict)

    def __getitem__(self, target: str) -> Spec:
        """The spec behind `NAME` or `NAME-test`.

        Raises:
            SpecError: The name is taken twice or can't be a name.
            UsageError: There is no such model; names the near ones.
        """
        name = target.removesuffix(TEST)
        if name in self.problems:
            raise self.problems[name]
        if name not in self.specs:
            fix = did_you_mean(name, self.specs, "the models are") if self.specs else "write one, or try `mltk init`"
            raise UsageError(f"there is no model {name}", found=target, fix=fix)
        return self.specs[name]


def find_workspace(start: str | Path | None = None) -> Workspace:
    """Find the workspace that a folder belongs to.

    Args:
        start: Where to begin; the working directory when None. Its parents are searched upwards.

    Raises:
        WorkspaceError: No folder above has a `dodo.py`, or the configuration is wrong.
    """
    folder = os.path.realpath(start or os.getcwd())
    top = folder
    while not os.path.isfile(os.path.join(top, "dodo.py")):
        parent = os.path.dirname(top)
        if parent == top:
            raise WorkspaceError(
                "this is no workspace", where=folder, found="no dodo.py here or above", fix="run `mltk init .`"
            )
        top = parent
    return configure(top)


def configure(root: str) -> Workspace:
    """Read `[tool.mltkbuild]` of a workspace's `pyproject.toml`; every key is optional."""
    path = os.path.join(root, "pyproject.toml")
    try:
        with open(path, "rb") as file:
            table = tomllib.load(file).get("tool", {}).get("mltkbuild", {})
    except FileNotFoundError:
        table = {}
    except tomllib.TOMLDecodeError as error:
        raise WorkspaceError("pyproject.toml is not valid TOML", where=path, found=str(error)) from error
    where = f"{path} [tool.mltkbuild]"
    known = ("build_dir", "models_dir", "toolchain")
    for key, value in table.items():
        if key not in known:
            raise WorkspaceError(f"unknown key {key}", where=where, fix=did_you_mean(key, known))
        if not isinstance(value, str) or not value:
            raise WorkspaceError(f"{key} must be a string", where=where, found=repr(value))
    workspace = Workspace(root, **table)
    if workspace.toolchain not in POLICIES:
        raise WorkspaceError(
            "toolchain must be minor, exact or ignore", where=where, found=workspace.toolchain, fix="use one of them"
        )
    for key in ("build_dir", "models_dir"):
        folder = os.path.normpath(getattr(workspace, key))
        if os.path.isabs(folder) or folder.startswith(os.pardir) or folder == os.curdir:
            raise WorkspaceError(
                f"{key} must be a folder inside the workspace", where=where, found=folder, fix='such as "build"'
            )
    return workspace


def list_specs(workspace: Workspace) -> Listing:
    """List the files with the marker `# @mltk_model` below the models folder, by a text scan."""
    specs: dict[str, Spec] = {}
    problems: dict[str, SpecError] = {}
    for path in sorted(_python_files(workspace.path(workspace.models_dir))):
        if not _is_marked(path):
            continue
        relative = os.path.relpath(path, workspace.root).replace(os.sep, "/")
        name = os.path.basename(path)[:-3]
        if not NAME.fullmatch(name):
            problems[name] = SpecError(
                "a model's name may only have letters, digits and underscores",
                where=relative,
                found=name,
                fix=f"rename the file to {re.sub(r'[^A-Za-z0-9_]+', '_', name)}.py",
            )
        elif name in problems or name in specs:
            first = specs.pop(name, None)
            problems[name] = problems.get(name) or SpecError(
                f"two specs have the name {name}",
                where=relative,
                found=f"{first.path if first else name} and {relative}",
                fix="rename one of them",
            )
        else:
            specs[name] = Spec(name, relative)
    return Listing(specs, problems)


def _python_files(folder: str) -> Iterator[str]:
    """Every `.py` file below a folder; hidden folders and caches are left out."""
    try:
        entries = list(os.scandir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.name.endswith(".py"):
            if entry.is_file():
                yield entry.path
        elif "." not in entry.name and entry.name != "__pycache__" and entry.is_dir():
            yield from _python_files(entry.path)


def _is_marked(path: str) -> bool:
    """Say whether a file has the marker line; one that can't be read has not."""
    try:
        with open(path, "rb", buffering=0) as file:
            data = file.read()
    except OSError:
        return False
    return b"@mltk_model" in data and MARKER.search(data) is not None


def module_file(workspace: Workspace, spec_path: str, dotted: str) -> str | None:
    """The workspace file of a module, as a spec would import it; None when it isn't workspace code.

    A spec finds modules beside itself, in the models folder and at the workspace root, in this order.
    """
    parts = dotted.replace(".", "/")
    for folder in import_folders(workspace, spec_path):
        for candidate in (f"{parts}.py", f"{parts}/__init__.py"):
            relative = f"{folder}/{candidate}" if folder else candidate
            if relative != "dodo.py" and os.path.isfile(workspace.path(relative)):
                return relative
    return None


def import_folders(workspace: Workspace, spec_path: str) -> tuple[str, ...]:
    """The folders that a spec imports from, relative to the root, first come first."""
    models = workspace.models_dir.replace(os.sep, "/").rstrip("/")
    return tuple(dict.fromkeys((os.path.dirname(spec_path), models, "")))


def workspace_modules(workspace: Workspace, spec_path: str) -> frozenset[str]:
    """The top-level names that a spec could import from the workspace."""
    names = set()
    for folder in import_folders(workspace, spec_path):
        try:
            names.update(entry.removesuffix(".py") for entry in os.listdir(workspace.path(folder)))
        except OSError:
            continue
    return frozenset(names)
