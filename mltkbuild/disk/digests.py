"""Digests of files, taken again only when a file's stamp has moved."""

from __future__ import annotations

import hashlib
import json
import os
import stat
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial

from mltkbuild.disk.door import Door
from mltkbuild.disk.open_folder import OWN_READING, read_file
from mltkbuild.disk.records import Stamp
from mltkbuild.errors import ForeignError
from mltkbuild.fingerprint.code import code_digest

RACY_NS = 20_000_000
"""A file changed this short a time before its stamp was taken may change again within the clock's tick."""

SMALL = 1 << 20
"""A file of fewer bytes is read as a whole."""
_LIGHT = 1 << 16
"""A file of fewer bytes has its digest sooner than a thread has taken the work."""
BATCH = 128
"""So many files are one task of a thread."""
MOST_THREADS = 8
OUTSIDE = "outside:"
"""What the memo calls a file outside the workspace begins with."""
# As they are while nothing is watched: thousands of files are asked for.
_open, _stat, _fstat = os.open, os.stat, os.fstat
# Nobody waits for the writer of a pipe that has taken a file's place.
_READ = os.O_RDONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


def processors() -> int:
    """How many processors this process may use."""
    if sys.platform == "linux":
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def stamp_of(path: str) -> Stamp | None:
    """Size, mtime, ctime and inode of a file; None when there is none."""
    try:
        return _stamp(_stat(path))
    except (OSError, ValueError):
        return None


def stamp_of_open(handle: int) -> Stamp:
    """Size, mtime, ctime and inode of an open file."""
    return _stamp(_fstat(handle))


def _stamp(status: os.stat_result) -> Stamp:
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def artifact_stamp(path: str) -> Stamp | None:
    """Size, mtime, ctime and inode of a file of ours; None when there is none, or a link or something else instead."""
    try:
        status = os.lstat(path)
    except (OSError, ValueError):
        return None
    return _stamp(status) if stat.S_ISREG(status.st_mode) else None


def settled(stamp: Stamp) -> bool:
    """Say whether a stamp taken now can be trusted later: the file is older than a tick of the clock."""
    return time.time_ns() - max(stamp[1], stamp[2]) > RACY_NS


def bytes_digest(data: bytes) -> str:
    """SHA-256 of some bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


HISTORY = "train/history.json"
"""The one artifact that tells how often its making was interrupted: that part doesn't count."""


def kind_of(artifact: str) -> str:
    """How an artifact counts, for `digest_of`. A file that user code reads counts by its bytes, whatever its name.

    Args:
        artifact: Its name in its record.
    """
    return "history" if artifact == HISTORY else "bytes"


def history_without_segments(data: bytes) -> bytes:
    """A training's history without the parts that it ran in; bytes that are no history as they are."""
    try:
        document = json.loads(data)
        if not isinstance(document, dict):
            return data
    except (ValueError, RecursionError):
        return data
    if document.pop("segments", None) is None:
        return data
    return (json.dumps(document, indent=1, sort_keys=True) + "\n").encode()


def digest_of(path: str, kind: str = "bytes") -> str | None:
    """Digest of a file or folder; None when there is none, it can't be read, or it is a pipe or a device.

    Args:
        path: The file; a folder counts by the names in it, and by which of them are folders.
        kind: 'bytes', 'code' for Python source without comments, docstrings and layout, or 'history' for that of a
            training without the parts that it ran in.
    """
    try:
        status = _stat(path)
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            return folder_digest(path)
        if not stat.S_ISREG(mode):
            # Reading a pipe would wait for its writer, and take what is meant for its reader.
            return None
        if kind == "bytes":
            return _read_digest(path, status.st_size)[0]
        with open(path, "rb") as file:
            if kind == "history":
                return bytes_digest(history_without_segments(file.read()))
            return source_digest(file.read())
    except (OSError, ValueError):
        return None


def folder_digest(path: str, without: Collection[str] = ()) -> str:
    """Digest of the names in a folder.

    Args:
        path: The folder.
        without: Names that don't count.

    Raises:
        OSError: It can't be listed.
    """
    names = sorted(name for name in _names_in(path) if name.removesuffix("/") not in without)
    return bytes_digest("\0".join(names).encode("utf-8", "surrogateescape"))


def _names_in(folder: str) -> Iterator[str]:
    """The names in a folder, those of folders with a slash behind: one that becomes a file is another name."""
    with os.scandir(folder) as entries:
        for entry in entries:
            yield entry.name + "/" if _is_folder(entry) else entry.name


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _read_digest(path: str, size: int) -> tuple[str, Stamp]:
    """SHA-256 of a file's bytes, and its stamp after they were read.

    Args:
        path: The file.
        size: Its size as the system tells it: a small file is read at once.
    """
    handle = _open(path, _READ)
    try:
        if size < SMALL:
            data = os.read(handle, size + 1)
            if len(data) == size:
                return bytes_digest(data), stamp_of_open(handle)
            os.lseek(handle, 0, os.SEEK_SET)
        with open(handle, "rb", buffering=0, closefd=False) as file:
            return hashlib.file_digest(file, "sha256").hexdigest(), stamp_of_open(handle)
    finally:
        os.close(handle)


def artifact_digest(path: str, name: str) -> str | None:
    """Digest of an artifact as it counts; None when there is none, or a link or something else instead.

    Args:
        path: Where it is.
        name: Its name in its record.
    """
    return None if artifact_stamp(path) is None else digest_of(path, kind_of(name))


def digest_files(paths: Iterable[str], progress: Callable[[int, int], None] | None = None) -> dict[str, str]:
    """Digests of many files and folders by path, read in parallel; what is missing or can't be read is left out.

    Args:
        paths: The files.
        progress: Called now and then with how many are done and how many there are.
    """
    return _in_parallel(digest_of, list(dict.fromkeys(paths)), progress)


def unchanged_digests(stamps: Mapping[str, Stamp]) -> dict[str, str]:
    """Digests of files by path, of those alone that have the same stamp as ever after they were read.

    Args:
        stamps: The stamps that they had.
    """

    def digest(path: str) -> str | None:
        try:
            found, stamp = _read_digest(path, stamps[path][0])
        except (OSError, ValueError):
            return None
        return found if stamp == stamps[path] else None

    light = [path for path, stamp in stamps.items() if stamp[0] < _LIGHT]
    found = {path: one for path, one in _quietly(digest, light).items() if one is not None}
    return found | _in_parallel(digest, [path for path in stamps if path not in found])


def _in_parallel(
    digest: Callable[[str], str | None], paths: list[str], progress: Callable[[int, int], None] | None = None
) -> dict[str, str]:
    parts = [paths[start : start + BATCH] for start in range(0, len(paths), BATCH)]
    take = partial(_quietly, digest)
    if len(parts) < 2:
        return _gathered(map(take, parts), len(paths), progress)
    pool = ThreadPoolExecutor(min(processors(), MOST_THREADS))
    try:
        return _gathered(pool.map(take, parts), len(paths), progress)
    finally:
        pool.shutdown(cancel_futures=True)


def _gathered(
    parts: Iterable[dict[str, str | None]], count: int, progress: Callable[[int, int], None] | None
) -> dict[str, str]:
    found: dict[str, str] = {}
    done = 0
    for part in parts:
        found.update((path, digest) for path, digest in part.items() if digest is not None)
        done += len(part)
        if progress is not None:
            progress(done, count)
    return found


def _quietly(digest: Callable[[str], str | None], paths: Iterable[str]) -> dict[str, str | None]:
    """Digests of some files, taken by this thread; nobody takes that for reading."""
    before = OWN_READING.now
    OWN_READING.now = True
    try:
        return {path: digest(path) for path in paths}
    finally:
        OWN_READING.now = before


def source_digest(data: bytes) -> str:
    """Digest of Python source by its meaning; by its bytes when it can't be parsed."""
    try:
        return code_digest(data.decode("utf-8"))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return "text:" + bytes_digest(data)


class DigestMemo:
    """Remembers the digests of files whose stamp is not the one in any record: touched, copied or restored files.

    Args:
        path: Where the memo is kept between runs; a lost or damaged one only costs reading the files again.
        root: Absolute path of the workspace.

    Attributes:
        progress: Takes how many of the files of a list have been read again, and how many there are.
    """

    def __init__(self, path: str, root: str) -> None:
        self._path = path
        self._root = root + os.sep
        self._known: dict[str, tuple[Stamp, str]] | None = None
        self._dirty = False
        self._lock = threading.Lock()
        self.progress: Callable[[int, int], None] | None = None

    def digest(
        self, path: str, recorded: Mapping[str, Stamp], key: str, digest: str, kind: str = "bytes"
    ) -> str | None:
        """The digest of a file as it is now.

        Args:
            path: The file.
            recorded: The stamps of a record.
            key: The file's name in the record.
            digest: Its digest in the record, which stands while the stamp stands.
            kind: As `digest_of` takes it.
        """
        stamp = stamp_of(path)
        if stamp is None:
            return None
        if recorded.get(key) == stamp:
            return digest
        return self._remembered(path, stamp, kind)

    def artifact(self, path: str, recorded: Mapping[str, Stamp], name: str, digest: str) -> str | None:
        """The digest of an artifact as it is now; None when there is none, or a link or something else instead.

        Args:
            path: The file.
            recorded: The stamps of a record.
            name: The artifact's name in the record.
            digest: Its digest in the record, which stands while the stamp stands.
        """
        stamp = artifact_stamp(path)
        if stamp is None:
            return None
        if recorded.get(name) == stamp:
            return digest
        return self._remembered(path, stamp, kind_of(name))

    def _name(self, path: str, kind: str = "bytes") -> str:
        """What the memo calls a file: its path in the workspace; one outside only by a digest of its path."""
        below = path.removeprefix(self._root)
        return f"{kind} {below}" if below != path else f"{kind} {OUTSIDE}{bytes_digest(os.fsencode(path))}"

    def _remembered(self, path: str, stamp: Stamp, kind: str) -> str | None:
        known = self._load()
        name = self._name(path, kind)
        entry = known.get(name)
        if entry is not None and entry[0] == stamp:
            return entry[1]
        found = digest_of(path, kind)
        if found is not None:
            self._learn(name, path, stamp, found)
        return found

    def digests(self, paths: Iterable[str]) -> dict[str, str]:
        """The digests of many files as they are now, by path, without those that are missing or can't be read."""
        found: dict[str, str] = {}
        unread: dict[str, Stamp] = {}
        for path in paths:
            stamp, entry = stamp_of(path), self._load().get(self._name(path))
            if stamp is not None and entry is not None and entry[0] == stamp:
                found[path] = entry[1]
            elif stamp is not None:
                unread[path] = stamp
        with self._lock:
            # One at a time: each uses all processors, and has one place to show how far it is.
            for path, digest in digest_files(unread, self.progress).items():
                self._learn(self._name(path), path, unread[path], digest)
                found[path] = digest
        return found

    def _learn(self, name: str, path: str, stamp: Stamp, digest: str) -> None:
        # Only a stamp that was the same before and after the reading belongs to what was read.
        if settled(stamp) and stamp_of(path) == stamp:
            self._load()[name] = (stamp, digest)
            self._dirty = True

    def _load(self) -> dict[str, tuple[Stamp, str]]:
        if self._known is None:
            self._known = {}
            try:
                for name, (stamp, digest) in json.loads(read_file(self._path)).items():
                    self._known[str(name)] = (tuple(stamp), str(digest))
            except (OSError, ValueError, TypeError, AttributeError, RecursionError):
                self._known = {}
        return self._known

    def save(self) -> None:
        """Keep what was learned; a workspace that can't be written just learns it again."""
        if not self._dirty or self._known is None:
            return
        # A copy: another thread of a build that is being interrupted may still be learning.
        text = json.dumps(dict(self._known), sort_keys=True)
        try:
            Door(os.path.dirname(self._path)).write(self._path, text.encode(), f".{os.getpid()}")
        except (OSError, ForeignError):
            return
        self._dirty = False
