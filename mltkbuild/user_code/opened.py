"""Files that were opened for reading, and their digests: taken when they are needed, those of the time of opening."""

from __future__ import annotations

import threading
from collections.abc import Callable

from mltkbuild.disk.digests import bytes_digest, digest_of, settled, stamp_of, unchanged_digests
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
        if not settled(stamp):
            # It may change again without a new stamp.
            self.digests[path] = digest_of(path) or CHANGED
            return False
        with self._lock:
            self._waiting[path] = stamp
            self._bytes += stamp[0]
        return self._bytes > _WARM

    def put(self, path: str, stamp: Stamp, digest: str) -> None:
        """Take a file whose digest is known already.

        Args:
            path: The file.
            stamp: Its stamp after it was read.
            digest: The digest of what was read.
        """
        self.digests[path] = digest
        if settled(stamp):
            _known[path] = (stamp, digest)

    def take(self, is_made: Callable[[str], bool], *, anyhow: bool) -> None:
        """Take the digests that are missing; a stamp that still stands says that they are those of then.

        Args:
            is_made: Says of a path whether the code has made it itself.
            anyhow: Whether a file that has changed counts as it is now: a process of the code's own may have done it.
        """
        with self._lock:
            waiting, self._waiting, self._bytes = self._waiting, {}, 0
        waiting = {path: stamp for path, stamp in waiting.items() if not is_made(path)}
        if len(_known) > _MOST_KNOWN:
            _known.clear()
        known = {
            path: _known[path][1] for path, stamp in waiting.items() if path in _known and _known[path][0] == stamp
        }
        found = {path: digest for path, digest in known.items() if stamp_of(path) == waiting[path]}
        new = unchanged_digests({path: stamp for path, stamp in waiting.items() if path not in known})
        _known.update((path, (waiting[path], digest)) for path, digest in new.items())
        self.digests |= found | new
        for path in waiting.keys() - self.digests.keys():
            _known.pop(path, None)
            now = digest_of(path) if anyhow else CHANGED
            if now is not None:
                self.digests[path] = now
            if now == CHANGED:
                self.changed[path] = None
