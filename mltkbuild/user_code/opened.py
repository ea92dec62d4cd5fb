"""Files that were opened for reading, and their digests: taken when they are needed, those of the time of opening."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from mltkbuild.disk.digests import RACY_NS, bytes_digest, digest_files, digest_of, stamp_of
from mltkbuild.disk.records import Stamp

CHANGED = bytes_digest(b"changed while it was read")
"""Counts for a file that somebody else has changed before its digest was taken: no file has it."""
_MOST_KNOWN = 500_000
_WARM = 256 << 20
# Digests of this process by path, with the stamp that they belong to: the stages of a worker read the same files.
_known: dict[str, tuple[Stamp, str]] = {}


class Opened:
    """Files that were opened for reading.

    Attributes:
        digests: Those that were taken, by path.
        changed: Paths of the files that somebody else has changed before their digest was taken.
    """

    def __init__(self) -> None:
        self.digests: dict[str, str] = {}
        self.changed: dict[str, None] = {}
        self._waiting: dict[str, Stamp] = {}
        self._bytes = 0
        # Threads of the code's may read while another one asks what was read.
        self._lock = threading.RLock()

    def __contains__(self, path: object) -> bool:
        return path in self._waiting or path in self.digests

    def add(self, path: str, stamp: Stamp) -> bool:
        """Take a file that is about to be opened.

        Returns:
            Whether digests had better be taken now: what was just read is still in the system's memory.
        """
        if time.time_ns() - max(stamp[1], stamp[2]) < RACY_NS:
            # It may change again without a new stamp.
            self.digests[path] = digest_of(path) or CHANGED
            return False
        with self._lock:
            self._waiting[path] = stamp
            self._bytes += stamp[0]
        return self._bytes > _WARM

    def take(self, is_made: Callable[[str], bool], *, anyhow: bool) -> None:
        """Take the digests that are missing; a stamp that still stands says that they are those of then.

        Args:
            is_made: Says of a path whether the code has made it itself.
            anyhow: Whether a file that has changed counts as it is now: a process of the code's own may have done it.
        """
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, {}, 0
        waiting = {path: stamp for path, stamp in waiting.items() if not is_made(path)}
        new = [path for path, stamp in waiting.items() if path not in _known or _known[path][0] != stamp]
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        for path, digest in digest_files(new).items():
            _known[path] = (waiting[path], digest)
        for path, stamp in waiting.items():
            if stamp_of(path) == stamp:
                if path in _known:
                    self.digests[path] = _known[path][1]
                continue
            _known.pop(path, None)
            now = digest_of(path) if anyhow else CHANGED
            if now is not None:
                self.digests[path] = now
            if now == CHANGED:
                self.changed[path] = None
