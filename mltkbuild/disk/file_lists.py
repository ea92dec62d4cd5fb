"""Many input files of one stage: their list beside the record, and what of it has changed.

A record of a stage that reads more than LIMIT files holds one input for all of them, the digest of the list. The list
lies beside the record as `STAGE.SHA256.files`, named by its own bytes, so that the list of an old record stays whole
until the new record is written.

A later stage that reads the same files again shares the list: its record names it beside its own. Then all of the list
counts for it, even where it reads only a part.
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
from mltkbuild.disk.folder import DONE, PENDING, RECORDS, VALUES, Folder
from mltkbuild.disk.inputs import FILE, FILES, Input, parse
from mltkbuild.disk.open_folder import read_file
from mltkbuild.disk.records import FILE_LIST, SHARED_LISTS, Record
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


def fold(record: Record, earlier: Iterable[str] = (), limit: int = LIMIT) -> tuple[Record, bytes]:
    """Take a record's files out into lists, if there are many.

    Args:
        record: A record that names each file.
        earlier: Paths of the lists of stages before it.
        limit: How many a record names itself.

    Returns:
        The record as it is to be written, and the bytes of its own list: empty when it needs none.

    Raises:
        RecordError: A list of a stage before it can't be read.
    """
    rows = {parse(name).subject: row for name, row in _rows(record) if row is not None}
    if len(rows) <= limit:
        return record, b""
    files = {path: record.inputs[Input(FILE, path).name] for path in rows}
    shared: list[str] = []
    for list_of_earlier in earlier:
        theirs = dict(_files(list_of_earlier))
        common = [path for path in theirs if path in rows]
        if len(common) > limit and all(files[path] == theirs[path] for path in common):
            shared.append(os.path.basename(list_of_earlier).removesuffix(SUFFIX))
            files |= theirs
            for path in common:
                del rows[path]
    data = pack(sorted(rows.values())) if len(rows) > limit else b""
    if not data:
        files = {path: digest for path, digest in files.items() if path not in rows}
    if not files:
        return record, b""
    listed = {Input(FILE, path).name for path in files}
    folded = replace(
        record,
        inputs={
            **{name: digest for name, digest in record.inputs.items() if name not in listed},
            FILES: list_digest(files.items()),
        },
        stamps={name: stamp for name, stamp in record.stamps.items() if name not in files},
        facts={
            **record.facts,
            **({FILE_LIST: bytes_digest(data)} if data else {}),
            **({SHARED_LISTS: sorted(shared)} if shared else {}),
        },
    )
    return folded, data


def _files(path: str) -> Iterator[tuple[str, str]]:
    """Path and digest of each file of a list."""
    return ((_decoded(folder + name), digest.hex()) for folder, name, digest, _ in rows_of(read(path)))


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


def list_paths(folder: Folder, record: Record) -> list[str]:
    """Where the lists of a record's files lie: its own first, then those of earlier stages; nothing for most."""
    if FILES not in record.inputs:
        return []
    own, shared = record.facts.get(FILE_LIST), record.facts.get(SHARED_LISTS)
    names = [f"{record.stage}.{own}"] if own is not None else []
    names += shared if isinstance(shared, list) else []
    return [folder.record_path(name, SUFFIX) for name in names]


def keep(folder: Folder, record: Record, data: bytes) -> None:
    """Write the own list of a record that is about to be written; nothing for a record without one."""
    if data:
        folder.door.write(list_paths(folder, record)[0], data)


def drop_others(folder: Folder) -> None:
    """Delete the lists that no record names any longer; call it when a record is written."""
    records = os.path.join(folder.path, RECORDS)
    names = folder.door.names(records)
    lists = [name for name in names if name.endswith(SUFFIX)]
    if not lists:
        return
    texts = []
    for name in names:
        if name.endswith((DONE, PENDING)) and not name.endswith(VALUES):
            with contextlib.suppress(OSError):
                texts.append(read_file(os.path.join(records, name)))
    for name in lists:
        digest = name.removesuffix(SUFFIX).rpartition(".")[2].encode()
        if not any(digest in text for text in texts):
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


def listed_files(lists: Iterable[str], root: str) -> Mapping[str, str]:
    """Digests by absolute path of all files of some lists.

    Args:
        lists: Paths of the lists.
        root: Absolute path of the workspace.

    Raises:
        RecordError: A list can't be read.
    """
    return {os.path.join(root, name): digest for path in lists for name, digest in _files(path)}


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


Changes = dict[str, Mapping[str, str]]
"""What has changed of each list, by its path: the recorded digests by file. Several records share a list."""


def compare(record: Record, folder: Folder, root: str, memo: DigestMemo, looked_at: Changes) -> Compared:
    """Find the files of a record's lists that are no longer what they say; a file that was only touched still is.

    Args:
        record: A record, with lists or without.
        folder: The target's folder.
        root: Absolute path of the workspace.
        memo: The digests of touched files.
        looked_at: What is known of lists already; takes what is found.

    Raises:
        RecordError: A list is missing or damaged.
    """
    if FILES not in record.inputs:
        return Compared(record)
    changed: dict[str, str] = {}
    for path in list_paths(folder, record):
        if path not in looked_at:
            looked_at[path] = _changed(path, root, memo)
        changed |= looked_at[path]
    if not changed:
        return Compared(record)
    named = {Input(FILE, name).name: changed[name] for name in sorted(changed)[:SHOWN]}
    return Compared(replace(record, inputs={**record.inputs, **named}), len(changed) - len(named))


def _changed(path: str, root: str, memo: DigestMemo) -> Mapping[str, str]:
    """The files of a list that are no longer what it says, with the digests that it has."""
    listing = read(path)
    old = _old_digests(listing, _moved(path, listing, root))
    now = memo.digests(os.path.join(root, name) for name in old)
    return {name: digest for name, digest in old.items() if now.get(os.path.join(root, name)) != digest}


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
