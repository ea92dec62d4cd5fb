"""What the members of a model's archive are, spec, modules, artifacts, added files, from names and JSON alone."""

from __future__ import annotations

import itertools
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mltkbuild.archives.packing import member_name
from mltkbuild.archives.reading import AGAIN, DISTRUST, ArchiveFile, fault, read_member
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.names import clash, name_fault
from mltkbuild.disk.workspace import NAME, TEST
from mltkbuild.errors import StageError

PROVENANCE, SCHEMA = "provenance.json", 1
SOURCES = "workspace/"
"""Where the modules of the workspace lie in an archive."""
LARGEST_JSON, LARGEST_SOURCE = 4 << 20, 16 << 20
_VERSION = re.compile(rb"\A__mltk_version__ = '([^'\r\n]*)'\r?\n(?:\r?\n)?")


@dataclass(frozen=True)
class Contents:
    """What an archive holds.

    Args:
        name: The model's name.
        target: `NAME` or `NAME-test`.
        spec: The path of the spec in the workspace.
        sources: The path in the workspace of the spec and of each workspace module, by member.
        digests: What the digests of the sources must be, by member; those that the archive tells.
        artifacts: The members that stages have made.
        stages: What the archive tells of each stage: artifacts, inputs, tools. Made by a stranger, of any type.
        mltk: The version of MLTK that made the archive; empty for one of mltkbuild.
    """

    name: str
    target: str
    spec: str
    sources: Mapping[str, str]
    digests: Mapping[str, str]
    artifacts: frozenset[str]
    stages: Mapping[str, Any]
    mltk: str = ""


def contents(archive: ArchiveFile) -> Contents:
    """Say what the members of an archive are.

    Raises:
        StageError: It is no model's archive, or what it says of itself can't be.
    """
    if PROVENANCE not in archive.members:
        return _of_mltk(archive)
    provenance = read_json(archive, PROVENANCE)
    if not isinstance(provenance, dict) or provenance.get("schema") != SCHEMA:
        found = f"schema {_told(provenance.get('schema'))}" if isinstance(provenance, dict) else _told(provenance)
        raise fault(archive.path, "the archive's provenance.json is of another version", found, "update mltkbuild")
    name, target, spec = (provenance.get(key) for key in ("model", "target", "spec"))
    if not isinstance(name, str) or not NAME.fullmatch(name) or target not in (name, name + TEST):
        raise _bad(archive, "the model's name", f"{_told(name)}, {_told(target)}")
    if not isinstance(spec, str) or name_fault(spec) or os.path.basename(spec) != f"{name}.py" or "/" not in spec:
        raise _bad(archive, "the spec's path", _told(spec))
    sources = _mapping(provenance.get("sources"))
    members = {f"{name}.py" if path == spec else SOURCES + path: path for path in sources}
    lacking = [member for member in (f"{name}.py", *members) if member not in archive.members or member not in members]
    if lacking:
        raise fault(archive.path, "the archive lacks a file that its provenance.json names", lacking[0], AGAIN)
    stages = _mapping(provenance.get("stages"))
    artifacts = (_mapping(_mapping(stage).get("artifacts")) for stage in stages.values())
    return Contents(
        name,
        str(target),
        spec,
        members,
        {member: text if isinstance(text := sources[path], str) else "" for member, path in members.items()},
        frozenset(member_name(artifact) for stage in artifacts for artifact in stage),
        stages,
    )


def _of_mltk(archive: ArchiveFile) -> Contents:
    """The contents of an archive that MLTK made: the spec is the one Python file that lies on top."""
    target = os.path.basename(archive.path).removesuffix(ARCHIVE_SUFFIX)
    specs = [member.removesuffix(".py") for member in archive.members if "/" not in member and member.endswith(".py")]
    name = target.removesuffix(TEST)
    if name not in specs:
        if len(specs) != 1:
            found = f"{len(specs)} Python files on top, no {PROVENANCE}"
            raise fault(archive.path, "this is no model's archive", found, "give what `mltk build` made")
        name = target = specs[0]
    if name_fault(name) or name_fault(target):
        raise fault(archive.path, "the model has no name", f"{name}, {target}", "rename the archive to NAME.mltk.zip")
    made_by = _VERSION.match(read_member(archive, f"{name}.py", LARGEST_SOURCE))
    return Contents(
        name,
        target,
        f"models/{name}.py",
        {f"{name}.py": f"models/{name}.py"},
        {},
        frozenset(archive.members) - {f"{name}.py"},
        {},
        made_by[1].decode("utf-8", "replace") if made_by else "unknown",
    )


def _bad(archive: ArchiveFile, what: str, found: str) -> StageError:
    return fault(archive.path, f"{what} in the archive's provenance.json can't be", found, DISTRUST)


def _told(value: object) -> str:
    """A value of a stranger in an error: not even its length is known."""
    return repr(value) if isinstance(value, str | int | None) else type(value).__name__


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def read_json(archive: ArchiveFile, name: str) -> object:
    """The value of a JSON member; nothing is known of its type.

    Raises:
        StageError: There is no such member, or it is too large, damaged or no JSON.
    """
    data = read_member(archive, name, LARGEST_JSON)
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise fault(archive.path, "a member is no JSON", f"{name}: {str(error).splitlines()[0]}") from error


def find(archive: ArchiveFile, suffix: str) -> str | None:
    """The member that is the model in one form; None when there is none.

    Args:
        archive: The archive.
        suffix: Which form, such as `.tflite`, `.keras`, `.h5` or `.float32.tflite`.

    Raises:
        StageError: It is no model's archive.
    """
    found = contents(archive)
    # The last is how MLTK names the files of a dry run.
    stems = [found.target, *([f"{found.name}.test", found.name] if found.mltk else [])]
    return next((stem + suffix for stem in stems if stem + suffix in archive.members), None)


# -- places in the workspace -----------------------------------------------------------------------------------------


def places(archive: ArchiveFile, found: Contents, own: Iterable[str]) -> dict[str, str]:
    """The path in the workspace of every member.

    Args:
        archive: The archive.
        found: Its contents.
        own: The files that a new workspace has already; an archive's file of that name stays with the artifacts.
            So do a configuration of doit, which can have it load any module, and what Python takes for `dodo.py`.

    Raises:
        StageError: Two members would have the same place, or a module that of `dodo.py`.
    """
    hiding = next(filter(_hides_the_dodo, found.sources.values()), None)
    if hiding is not None:
        raise fault(archive.path, "a module would be run in place of the workspace's dodo.py", hiding, DISTRUST)
    taken = {name.casefold() for name in ("doit.cfg", *own, *found.sources.values())}
    found_places = {member: _place(member, found, taken) for member in archive.members}
    both = clash([*found_places.values(), *own])
    if both is not None:
        raise fault(archive.path, "two members belong in the same place", f"{both[0]} and {both[1]}", DISTRUST)
    return found_places


def _place(member: str, found: Contents, taken: set[str]) -> str:
    if member in found.sources:
        return found.sources[member]
    if member in found.artifacts or member.casefold() in taken or member == PROVENANCE or _hides_the_dodo(member):
        return f"artifacts/{found.target}/{member}"
    return member


def _hides_the_dodo(path: str) -> bool:
    """Say whether Python may import a file as `dodo`: a package, compiled code, what it keeps of a module."""
    top = path.partition("/")[0].casefold()
    return top == "__pycache__" or top.partition(".")[0] == "dodo"


def models_dir(found: Contents) -> str:
    """The folder that the specs were in, as far as it can be known: the one that the model's modules have in common."""
    top, _, _ = found.spec.partition("/")
    beside = [path for path in found.sources.values() if path.startswith(f"{top}/")]
    common = os.path.commonpath([os.path.dirname(path) for path in beside])
    # Modules beside the spec are found with any models folder above it.
    return top if common == os.path.dirname(found.spec) else common


def build_dir(restored: Iterable[str]) -> str:
    """A folder for artifacts and records in which no restored file lies."""
    tops = {path.partition("/")[0].casefold() for path in restored}
    names = itertools.chain(["build"], (f"build_{number}" for number in itertools.count(2)))
    return next(name for name in names if name not in tops)


def without_version(text: bytes) -> bytes:
    """A spec as its author wrote it, without the line that MLTK put on top."""
    return _VERSION.sub(b"", text)
