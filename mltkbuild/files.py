"""Digests of files, taken again only when a file's stamp has moved."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import time
from collections.abc import Mapping

from mltkbuild.fingerprint.code import code_digest
from mltkbuild.freshness import Stamp

RACY_NS = 20_000_000
"""A file changed this short a time before its stamp was taken may change again within the clock's tick."""


def stamp_of(path: str) -> Stamp | None:
    """Size, mtime, ctime and inode of a file; None when there is none."""
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)


def settled(stamp: Stamp) -> bool:
    """Say whether a stamp taken now can be trusted later: the file is older than a tick of the clock."""
    return time.time_ns() - max(stamp[1], stamp[2]) > RACY_NS


def bytes_digest(data: bytes) -> str:
    """SHA-256 of some bytes, hexadecimal."""
    return hashlib.sha256(data).hexdigest()


HISTORY = os.path.join("train", "history.json")
"""The one artifact that tells how often its making was interrupted: that part doesn't count."""


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
        path: The file; a folder counts by the names in it.
        kind: 'bytes', or 'code' for Python source without comments, docstrings and layout.
    """
    try:
        mode = os.stat(path).st_mode
        if stat.S_ISDIR(mode):
            return bytes_digest("\0".join(sorted(os.listdir(path))).encode("utf-8", "surrogateescape"))
        if not stat.S_ISREG(mode):
            # Reading a pipe would wait for its writer, and take what is meant for its reader.
            return None
        with open(path, "rb") as file:
            if path.endswith(os.sep + HISTORY):
                return bytes_digest(history_without_segments(file.read()))
            if kind == "bytes":
                return hashlib.file_digest(file, "sha256").hexdigest()
            return source_digest(file.read())
    except (OSError, ValueError):
        return None


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
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._known: dict[str, tuple[Stamp, str]] | None = None
        self._dirty = False

    def digest(
        self, path: str, recorded: Mapping[str, Stamp], key: str, digest: str, kind: str = "bytes"
    ) -> str | None:
        """The digest of a file as it is now.

        Args:
            path: The file.
            recorded: The stamps of a record.
            key: The file's name in the record.
            digest: Its digest in the record, which stands while the stamp stands.
            kind: 'bytes' or 'code'.
        """
        stamp = stamp_of(path)
        if stamp is None:
            return None
        if recorded.get(key) == stamp:
            return digest
        return self._remembered(path, stamp, kind)

    def _remembered(self, path: str, stamp: Stamp, kind: str) -> str | None:
        known = self._load()
        name = f"{kind} {path}"
        entry = known.get(name)
        if entry is not None and entry[0] == stamp:
            return entry[1]
        found = digest_of(path, kind)
        # Only a stamp that was the same before and after the reading belongs to what was read.
        if found is not None and settled(stamp) and stamp_of(path) == stamp:
            known[name] = (stamp, found)
            self._dirty = True
        return found

    def _load(self) -> dict[str, tuple[Stamp, str]]:
        if self._known is None:
            self._known = {}
            try:
                with open(self._path, encoding="utf-8") as file:
                    for name, (stamp, digest) in json.load(file).items():
                        self._known[str(name)] = (tuple(stamp), str(digest))
            except (OSError, ValueError, TypeError, AttributeError, RecursionError):
                self._known = {}
        return self._known

    def save(self) -> None:
        """Keep what was learned; a workspace that can't be written just learns it again."""
        if not self._dirty or self._known is None:
            return
        temporary = f"{self._path}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(self._path), exist_ok=True)
            with open(temporary, "w", encoding="utf-8") as file:
                # A copy: another thread of a build that is being interrupted may still be learning.
                json.dump(dict(self._known), file, sort_keys=True)
            os.replace(temporary, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            return
        self._dirty = False
