"""Find a workspace, read its configuration, list its specs: text scans only, no user code runs."""

from __future__ import annotations

import io
import os
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mltkbuild.errors import SpecError, UsageError, WorkspaceError, did_you_mean

MARKER = re.compile(rb"^[ \t]*#[ \t]*@mltk_model\b", re.MULTILINE)
_MAKES_MODEL = re.compile(rb"^my_model[ \t]*(:[^=\n]*)?=[^=]", re.MULTILINE)
_MARK_IT = "put `# @mltk_model` on a line of its own above the model's class"
NAME = re.compile(r"[A-Za-z0-9_]+")
NOT_DEFAULT = re.compile(rb"^\w+\.default[ \t]*=[ \t]*False\b", re.MULTILINE)
"""How a spec says that it is built only when it is asked for; the text counts, for nobody runs a spec to list it."""
TEST = "-test"
NOT_ITS_OWN = frozenset({*sys.stdlib_module_names, "dodo", "keras", "mltkbuild", "numpy", "tensorflow"})
"""Modules that a spec never finds in the workspace: Python's own, and what every worker has loaded before."""
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
    """A model spec's name and its file, relative to the workspace.

    Args:
        name: The model's name.
        path: The spec.
        default: Whether a build of everything includes it.
    """

    name: str
    path: str
    default: bool = True


@dataclass(frozen=True)
class Listing:
    """The specs of a workspace, and what isn't one.

    Args:
        specs: By name.
        problems: The files that should be specs but can't be.
        unmarked: The paths of files without the marker, relative to the workspace, by the names that they would have.
        forgotten: Those of them that make a `my_model`, as a spec does.
    """

    specs: Mapping[str, Spec]
    problems: Mapping[str, SpecError] = field(default_factory=dict)
    unmarked: Mapping[str, str] = field(default_factory=dict)
    forgotten: tuple[str, ...] = ()

    @property
    def defaults(self) -> tuple[str, ...]:
        """The names that a build of everything builds, or reports as wrong."""
        return (*(spec.name for spec in self.specs.values() if spec.default), *self.problems)

    def __getitem__(self, target: str) -> Spec:
        """The spec behind `NAME` or `NAME-test`.

        Raises:
            SpecError: The name is taken twice or can't be a name.
            UsageError: There is no such model; names the near ones, or the file without the marker.
        """
        name = target.removesuffix(TEST)
        if name in self.problems:
            raise self.problems[name]
        if name not in self.specs and name in self.unmarked:
            what = "this file is no spec: it has no line `# @mltk_model`"
            raise UsageError(what, where=self.unmarked[name], found=target, fix=_MARK_IT)
        if name not in self.specs:
            fix = did_you_mean(name, self.specs, "the models are") if self.specs else "write one, or try `mltk init`"
            raise UsageError(f"there is no model {name}", found=target, fix=fix)
        return self.specs[name]

    def notes(self) -> list[str]:
        """What to tell of files that look like specs and aren't."""
        return [f"{path} makes a my_model and is no spec: {_MARK_IT}" for path in self.forgotten]


def find_workspace(start: str | Path | None = None) -> Workspace:
    """Find the workspace that a folder belongs to.

    Args:
        start: Where to begin; the working directory when None. Its parents are searched upwards.

    Raises:
        WorkspaceError: No folder above has a `dodo.py`, or the configuration is wrong.
    """
    try:
        folder = os.path.realpath(start or os.getcwd())
    except FileNotFoundError as error:
        raise WorkspaceError("the working directory is gone", fix="change to a folder that exists") from error
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
    """Read `[tool.mltkbuild]` of a workspace's `pyproject.toml`; every key is optional.

    Raises:
        WorkspaceError: The file can't be read, or a key or value is wrong.
    """
    path = os.path.join(root, "pyproject.toml")
    where = f"{path} [tool.mltkbuild]"
    table = _table(path, where)
    known = ("build_dir", "models_dir", "toolchain")
    for key, value in table.items():
        if key not in known:
            raise WorkspaceError(f"unknown key {key}", where=where, found=key, fix=did_you_mean(key, known))
        if not isinstance(value, str) or not value:
            raise WorkspaceError(
                f"{key} must be a string", where=where, found=repr(value), fix=f'such as {key} = "build"'
            )
    toolchain = table.get("toolchain", "minor")
    if toolchain not in POLICIES:
        raise WorkspaceError(
            "toolchain must be minor, exact or ignore", where=where, found=toolchain, fix="use one of them"
        )
    build = _folder("build_dir", table.get("build_dir", "build"), where)
    models = _folder("models_dir", table.get("models_dir", "models"), where)
    if f"{models}/".startswith(f"{build}/"):
        raise WorkspaceError(
            "the specs can't be in the build folder, which `clean` empties",
            where=where,
            found=f"build_dir = {build!r}, models_dir = {models!r}",
            fix="give build_dir a folder of its own",
        )
    return Workspace(root, build, models, toolchain)


def _table(path: str, where: str) -> dict[str, Any]:
    """The table of a configuration file; empty when there is no file or no table."""
    try:
        with open(path, "rb") as file:
            document: Any = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise WorkspaceError(
            "pyproject.toml is not valid TOML", where=path, found=str(error), fix="mend this place"
        ) from error
    except OSError as error:
        raise WorkspaceError(
            "pyproject.toml can't be read", where=path, found=error.strerror, fix="give yourself the right to read it"
        ) from error
    tool = document.get("tool", {})
    table = tool.get("mltkbuild", {}) if isinstance(tool, dict) else tool
    if not isinstance(table, dict):
        raise WorkspaceError(
            "tool.mltkbuild must be a table", where=path, found=repr(table), fix="write [tool.mltkbuild] above its keys"
        )
    return table


def _folder(key: str, value: str, where: str) -> str:
    """A configured folder in its normal form."""
    folder = os.path.normpath(value)
    if os.path.isabs(folder) or folder.split(os.sep)[0] == os.pardir or folder == os.curdir:
        raise WorkspaceError(
            f"{key} must be a folder inside the workspace", where=where, found=value, fix=f'such as {key} = "build"'
        )
    return folder.replace(os.sep, "/")


def list_specs(workspace: Workspace) -> Listing:
    """List the files with the marker `# @mltk_model` below the models folder, by a text scan."""
    specs: dict[str, Spec] = {}
    problems: dict[str, SpecError] = {}
    unmarked: dict[str, str] = {}
    forgotten: list[str] = []
    for path in sorted(_python_files(workspace.path(workspace.models_dir))):
        relative = os.path.relpath(path, workspace.root).replace(os.sep, "/")
        name = os.path.basename(path)[:-3]
        try:
            text = _text(path)
        except OSError as error:
            problems[name] = SpecError(
                "this file can't be read",
                where=relative,
                found=error.strerror,
                fix="give yourself the right to read it",
            )
            continue
        if not _is_marked(text):
            unmarked[name] = relative
            forgotten += [relative] if b"my_model" in text and _MAKES_MODEL.search(text) else []
        elif not NAME.fullmatch(name):
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
            specs[name] = Spec(name, relative, NOT_DEFAULT.search(text) is None)
    return Listing(specs, problems, unmarked, tuple(forgotten))


def _python_files(top: str) -> Iterator[str]:
    """Every `.py` file below a folder; hidden folders and caches are left out.

    A folder that links lead to as well is looked through once, by its own name if it has one here.
    """
    folders, links, seen = [top], list[str](), set[tuple[int, int]]()
    while folders or links:
        folder = folders.pop() if folders else links.pop()
        try:
            status = os.stat(folder)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name, reverse=True)
        except OSError:
            continue
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in entries:
            if entry.name.startswith((".", "__pycache__")):
                continue
            if entry.name.endswith(".py"):
                if entry.is_file():
                    yield entry.path
            elif entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)


def _text(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        return file.read()


def _is_marked(data: bytes) -> bool:
    """Say whether the text of a file has the marker, a comment on a line of its own."""
    found = MARKER.search(data) if b"@mltk_model" in data else None
    if found is None:
        return False
    # Only behind an opening quote it may be a text that looks like a comment; telling that takes a closer look.
    before = data[: found.start()]
    in_text = before.count(b'"""') % 2 or before.count(b"'''") % 2
    return not in_text or _has_marker_comment(data)


def _has_marker_comment(data: bytes) -> bool:
    """Say whether the marker is a comment; in a file that can't be read as Python, whatever looks like one is."""
    try:
        tokens = list(tokenize.tokenize(io.BytesIO(data).readline))
    except (SyntaxError, tokenize.TokenError, UnicodeDecodeError):
        return True
    return any(token.type == tokenize.COMMENT and MARKER.match(token.string.encode()) for token in tokens)


def module_file(workspace: Workspace, spec_path: str, dotted: str) -> str | None:
    """The workspace file of a module, as a spec would import it; None when it isn't workspace code.

    A spec finds modules beside itself, in the models folder and at the workspace root, in this order.
    """
    if dotted.partition(".")[0] in NOT_ITS_OWN:
        return None
    parts = dotted.replace(".", "/")
    for folder in import_folders(workspace, spec_path):
        for candidate in (f"{parts}/__init__.py", f"{parts}.py"):
            relative = f"{folder}/{candidate}" if folder else candidate
            if relative != "dodo.py" and os.path.isfile(workspace.path(relative)):
                return relative
    return None


def import_folders(workspace: Workspace, spec_path: str) -> tuple[str, ...]:
    """The folders that a spec imports from, relative to the root, first come first."""
    return tuple(dict.fromkeys((os.path.dirname(spec_path), workspace.models_dir, "")))
