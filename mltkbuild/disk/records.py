"""Records: what a stage's last success read and made, as a value and as JSON on the disk."""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, cast

from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.inputs import FILES
from mltkbuild.disk.names import all_plain, name_fault
from mltkbuild.errors import RecordError
from mltkbuild.shown import shown

if TYPE_CHECKING:
    # The deciding process reads facts, and has no use for the table of their types.
    from mltkbuild.disk.facts import Facts

SCHEMA = 1
FILE_LIST = "file list"
"""The fact that names the list of a record's files by its SHA-256."""
SHARED_LISTS = "shared file lists"
"""The fact that names lists of earlier stages that hold files of this record too, each `STAGE.SHA256`."""
_SEAL = "seal"
_SEALED = b',"seal":"%08x"}\n'
_SEAL_BYTES = len(_SEALED % 0)
_FIELDS = {
    *("schema", "stage", "target", "inputs", "artifacts", "stamps", "facts", "tools", "seconds", "finished"),
    # Of earlier releases.
    "host",
    _SEAL,
}
# What JSON gives: as sets of types, which are asked of all values of a record at once.
_TEXT, _TABLE = frozenset((str,)), frozenset((dict,))
_LIST = re.compile(r"[a-z_]+\.[0-9a-f]{64}")

Stamp = tuple[int, int, int, int]
"""Size, mtime_ns, ctime_ns and inode: while they stand, a file's digest stands."""


@dataclass(frozen=True, slots=True)
class Record:
    """What a stage's last success read and made.

    Args:
        stage: The stage's name.
        target: The model, with `-test` for its dry run.
        inputs: Digest (or plain value) of everything that the stage read, taken before it ran.
        artifacts: Digest of every file that it made, as published.
        stamps: Size, times and inode of the files behind inputs and artifacts, which save taking a digest again.
        facts: Figures for people (accuracy, size) and what later judging needs, as JSON values.
        tools: Versions of what ran.
        seconds: How long the stage ran.
        finished: UTC time of the success, ISO 8601.
    """

    stage: str
    target: str
    inputs: Mapping[str, str]
    artifacts: Mapping[str, str]
    stamps: Mapping[str, Stamp] = field(default_factory=dict)
    facts: Mapping[str, object] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    finished: str = ""


def facts_of(record: Record) -> Facts:
    """A record's facts by the names and types that stages give them; a damaged record may hold anything."""
    return cast("Facts", record.facts)


def encode(record: Record) -> bytes:
    """A record as UTF-8 JSON, one line, keys sorted but for the last, which seals it."""
    fields = {
        "schema": SCHEMA,
        "stage": record.stage,
        "target": record.target,
        "inputs": dict(record.inputs),
        "artifacts": dict(record.artifacts),
        "stamps": dict(record.stamps),
        "facts": dict(record.facts),
        "tools": dict(record.tools),
        "seconds": record.seconds,
        "finished": record.finished,
    }
    body = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()[:-1]
    return body + _seal(body)


def _seal(body: bytes | memoryview) -> bytes:
    """The end of a record: the CRC-32 of what stands before it, so that one which lost something tells."""
    return _SEALED % zlib.crc32(body)


def _require_whole(data: bytes, fields: Mapping[str, object]) -> None:
    """Raise a ValueError unless a record is as it was written; those of earlier releases have no seal."""
    if not _FIELDS.issuperset(fields):
        raise ValueError(f"the field {shown(min(fields.keys() - _FIELDS), 100)}")
    if _SEAL in fields:
        # An editor may have added or taken the end of the line.
        line = data if data.endswith(b"}\n") else data.rstrip() + b"\n"
        if not line.endswith(_seal(memoryview(line)[:-_SEAL_BYTES])):
            raise ValueError("something in it was changed")


def decode(data: bytes, path: str) -> Record:
    """Read a record.

    Args:
        data: The file's bytes.
        path: Its path, for the error.

    Raises:
        RecordError: It is no record, one of another version, or one with a name that no stage gives; says which file to
            delete.
    """
    try:
        fields = json.loads(data.decode())
        _require_whole(data, fields)
        if fields["schema"] != SCHEMA:
            raise RecordError(
                "this record is of another version of mltkbuild",
                where=path,
                found=f"schema {fields['schema']}, not {SCHEMA}",
                fix=f"delete {path}; its stage runs again",
            )
        maps = [fields[name] for name in ("inputs", "artifacts", "stamps", "facts", "tools")]
        if not _TABLE.issuperset(map(type, maps)):
            raise TypeError("not a table")
        inputs, artifacts, stamps, facts, tools = maps
        if not _TEXT.issuperset(map(type, chain(inputs.values(), artifacts.values(), tools.values()))):
            raise TypeError("not a digest")
        if not _TEXT.issuperset(map(type, (fields["stage"], fields["target"], fields["finished"]))):
            raise TypeError("not a text")
        _require_own_names(artifacts, fields["target"])
        if FILES in inputs:
            _require_lists(facts)
        return Record(
            stage=fields["stage"],
            target=fields["target"],
            inputs=inputs,
            artifacts=artifacts,
            stamps={name: tuple(stamp) for name, stamp in stamps.items()},
            facts=facts,
            tools=tools,
            seconds=float(fields["seconds"]),
            finished=fields["finished"],
        )
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise RecordError(
            "this file is no record",
            where=path,
            found=f"{type(error).__name__}: {error}",
            fix=f"delete {path}; its stage runs again",
        ) from error


def _require_lists(facts: Mapping[str, object]) -> None:
    """Raise a ValueError unless a record that has lists of files names at least one, and each by its digest."""
    own, shared = facts.get(FILE_LIST), facts.get(SHARED_LISTS, [])
    names = ([f"own.{own}"] if own is not None else []) + (shared if isinstance(shared, list) else [None])
    if not names or not all(isinstance(name, str) and _LIST.fullmatch(name) for name in names):
        raise ValueError("a list of files without a digest")


def _require_own_names(artifacts: Collection[str], target: str) -> None:
    """Raise a ValueError unless all artifacts lie in the target's folder, but for its one archive beside the spec."""
    archives = [name for name in artifacts if name.endswith(ARCHIVE_SUFFIX)]
    if all_plain(artifacts) and (not archives or archives == [target + ARCHIVE_SUFFIX]):
        return
    for name in artifacts:
        fault = name_fault(name)
        if fault is None and name.endswith(ARCHIVE_SUFFIX) and name != target + ARCHIVE_SUFFIX:
            fault = "is another model's archive"
        if fault is None and name.startswith("."):
            fault = "is where mltkbuild keeps its own"
        if fault is not None:
            raise ValueError(f"an artifact's name {fault}: {shown(name, 100)}")
