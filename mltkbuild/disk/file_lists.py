"""Many input files of one stage: their list beside the record, and what of it has changed.

A record of a stage that reads more than LIMIT files holds one input for all of them, the digest of the list. The list
lies beside the record as `STAGE.SHA256.files`, named by its own bytes, so that the list of an old record stays whole
until the new record is written.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from mltkbuild.disk.digests import DigestMemo, bytes_digest, processors
from mltkbuild.disk.file_scan import DIGEST, Listing, Row, moved, pack, rows_of, share, unpack
from mltkbuild.disk.file_scan import __file__ as scan_file
from mltkbuild.disk.folder import RECORDS, Folder
from mltkbuild.disk.inputs import FILE, FILES, Input, parse
from mltkbuild.disk.open_folder import read_file
from mltkbuild.disk.records import FILE_LIST, Record
from mltkbuild.errors import RecordError

LIMIT = 200
"""A record lists so many files itself."""
SHOWN = 20
"""So many changed files are named."""
SUFFIX = ".files"
SHARE = 20_000
"""A process of its own pays for so many files."""
MOST_PROCESSES = 4


# -- what a record holds ---------------------------------------------------------------------------------------------


def fold(record: Record, limit: int = LIMIT) -> tuple[Record, bytes]:
    """Take a record's files out into a list, if there are many.

    Args:
        record: A record that names each file.
        limit: How many a record names itself.

    Returns:
        The record as it is to be written, and the list's bytes: empty when the record is as it was.
    """
    rows = {name: row for name, row in _rows(record) if row is not None}
    if len(rows) <= limit:
        return record, b""
    data = pack(sorted(rows.values()))
    inputs = {name: digest for name, digest in record.inputs.items() if name not in rows}
    paths = {parse(name).subject for name in rows}
    folded = replace(
        record,
        inputs={**inputs, FILES: list_digest((path, record.inputs[Input(FILE, path).name]) for path in paths)},
        stamps={name: stamp for name, stamp in record.stamps.items() if name not in paths},
        facts={**record.facts, FILE_LIST: bytes_digest(data)},
    )
    return folded, data


def _rows(record: Record) -> Iterator[tuple[str, Row | None]]:
    """Every file of a record, and how a list holds it; None for one that no list can hold."""
    for name, digest in record.inputs.items():
        kind, path = parse(name)
        if kind == FILE:
            encoded = _encoded(path)
            raw = _raw(digest)
            if encoded is None or raw is None:
                yield name, None
                continue
            folder = encoded[: encoded.rfind(b"/") + 1]
            yield name, (folder, encoded[len(folder) :], raw, record.stamps.get(path))


def _encoded(path: str) -> bytes | None:
    """A path's bytes, if they lead back to it."""
    try:
        encoded = path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return None
    return encoded if _decoded(encoded) == path and "\0" not in path else None


def _decoded(path: bytes) -> str:
    return path.decode("utf-8", "surrogateescape")


def _raw(digest: str) -> bytes | None:
    """The bytes of a SHA-256 in hexadecimal; None for any other text."""
    try:
        raw = bytes.fromhex(digest)
    except ValueError:
        return None
    return raw if len(raw) == DIGEST and raw.hex() == digest else None


def list_digest(files: Iterable[tuple[str, str]]) -> str:
    """One digest for many files, whatever their order.

    Args:
        files: Path and digest of each; a file outside the workspace counts by its name, so that the digest is the same
            on every machine.
    """
    shown = ((os.path.basename(path) if os.path.isabs(path) else path, digest) for path, digest in files)
    lines = sorted(f"{name}\0{digest}\n".encode("utf-8", "surrogateescape") for name, digest in shown)
    return bytes_digest(b"".join(lines))


# -- on the disk -----------------------------------------------------------------------------------------------------


def list_path(folder: Folder, record: Record) -> str | None:
    """Where the list of a record's files lies; None for a record without one."""
    if FILES not in record.inputs:
        return None
    return folder.record_path(record.stage, f".{record.facts.get(FILE_LIST)}{SUFFIX}")


def keep(folder: Folder, record: Record, data: bytes) -> None:
    """Write the list of a record that is about to be written; nothing for a record without one."""
    path = list_path(folder, record)
    if path is not None:
        folder.door.write(path, data)


def drop_others(folder: Folder, record: Record) -> None:
    """Delete the lists of a stage's earlier records; call it when the record is written."""
    path = list_path(folder, record)
    kept = os.path.basename(path) if path is not None else ""
    records = os.path.join(folder.path, RECORDS)
    for name in folder.door.names(records):
        if name.startswith(record.stage + ".") and name.endswith(SUFFIX) and name != kept:
            with contextlib.suppress(OSError):
                folder.door.remove(os.path.join(records, name))


def read(path: str) -> Listing:
    """Read a list.

    Raises:
        RecordError: It is missing, damaged or of another version.
    """
    fix = f"delete {path}, if it is there; its stage runs again"
    try:
        data = read_file(path)
    except OSError as error:
        found = error.strerror or str(error)
        raise RecordError("the list of a record's files can't be read", where=path, found=found, fix=fix) from error
    if bytes_digest(data) != os.path.basename(path).removesuffix(SUFFIX).rpartition(".")[2]:
        raise RecordError("the list of a record's files is damaged", where=path, found="other bytes", fix=fix)
    try:
        return unpack(data)
    except ValueError as error:
        raise RecordError("this file is no list of files", where=path, found=str(error), fix=fix) from error


def known_files(few: Mapping[str, str], lists: Sequence[str], root: str) -> Mapping[str, str]:
    """Digests by absolute path of all files that some records have as inputs.

    Args:
        few: Those that the records name themselves.
        lists: Paths of the lists of the others.
        root: Absolute path of the workspace.

    Raises:
        RecordError: A list can't be read.
    """
    found = dict(few)
    for path in lists:
        for folder, name, digest, _ in rows_of(read(path)):
            found[os.path.join(root, _decoded(folder + name))] = digest.hex()
    return found


# -- what has changed ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Compared:
    """A record against the files as they are now.

    Args:
        record: The record, which names the first files that have changed or gone, each with its old digest.
        more: How many others have.
    """

    record: Record
    more: int = 0


def compare(record: Record, folder: Folder, root: str, memo: DigestMemo) -> Compared:
    """Find the files of a record's list that are no longer what it says; a file that was only touched still is.

    Args:
        record: A record, with a list or without.
        folder: The target's folder.
        root: Absolute path of the workspace.
        memo: The digests of touched files.

    Raises:
        RecordError: The list is missing or damaged.
    """
    path = list_path(folder, record)
    if path is None:
        return Compared(record)
    listing = read(path)
    old = _old_digests(listing, _moved(path, listing, root))
    now = memo.digests(os.path.join(root, name) for name in old)
    changed = sorted(name for name, digest in old.items() if now.get(os.path.join(root, name)) != digest)
    if not changed:
        return Compared(record)
    named = {Input(FILE, name).name: old[name] for name in changed[:SHOWN]}
    return Compared(replace(record, inputs={**record.inputs, **named}), len(changed) - len(named))


def _old_digests(listing: Listing, rows: Sequence[int]) -> dict[str, str]:
    """Digests by path of some rows, whose numbers ascend."""
    wanted = set(rows)
    if not wanted:
        return {}
    return {
        _decoded(folder + name): digest.hex()
        for row, (folder, name, digest, _) in enumerate(rows_of(listing))
        if row in wanted
    }


def _moved(path: str, listing: Listing, root: str) -> list[int]:
    """The rows whose files have moved; of a long list some processes look at a part each."""
    rows = len(listing.names)
    parts = max(1, min(processors(), rows // SHARE, MOST_PROCESSES))
    helpers = [_helper(path, root, part, parts) for part in range(1, parts)]
    found = moved(listing, os.fsencode(root), *share(rows, 0, parts))
    for part, helper in enumerate(helpers, 1):
        told = _told(helper)
        found += moved(listing, os.fsencode(root), *share(rows, part, parts)) if told is None else told
    return found


def _helper(path: str, root: str, part: int, parts: int) -> subprocess.Popen[bytes] | None:
    """A process that looks at one part of a list; None when there can be none."""
    if not sys.executable:
        return None
    command = [sys.executable, "-I", "-S", scan_file, path, root, str(part), str(parts)]
    try:
        return subprocess.Popen(  # noqa: S603  # this Python, with a file of this package
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
    except OSError:
        return None


def _told(helper: subprocess.Popen[bytes] | None) -> list[int] | None:
    """The rows that a process has found; None when it has failed, whatever the cause."""
    if helper is None:
        return None
    with helper:
        said, _ = helper.communicate()
    words = memoryview(said).cast("Q").tolist() if len(said) % 8 == 0 else []
    return words[1:] if helper.returncode == 0 and words and words[0] == len(words) - 1 else None
