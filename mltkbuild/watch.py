"""Watch which files and folders user code reads, so that they become inputs of the stage that ran it.

Python tells an audit hook about every file that Python code opens and every folder that it lists, before it does so;
the digest is taken at that moment. Files that native code opens by itself are not seen.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from mltkbuild.files import digest_of

_SYSTEM = ("/dev", "/proc", "/sys", "/etc", "/usr/lib", "/usr/share/zoneinfo", "/usr/share/fonts", "/usr/share/locale")
_FOLDER_EVENTS = {"os.listdir", "os.scandir"}


@dataclass
class Watched:
    """What was read, and what was written first and is therefore no input.

    Args:
        files: Digest of each file or folder, by absolute path, taken as it was opened.
    """

    files: dict[str, str] = field(default_factory=dict)
    written: set[str] = field(default_factory=set)


class _Hook:
    """The one audit hook of this process; hooks can't be removed, so it is quiet unless something is watched."""

    def __init__(self) -> None:
        self.current: Watched | None = None
        self.ignored: tuple[str, ...] = ()
        self.installed = False
        self._busy = threading.local()

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        watched = self.current
        if watched is None or not args or (event != "open" and event not in _FOLDER_EVENTS):
            return
        if getattr(self._busy, "now", False):
            return
        self._busy.now = True
        try:
            self._note(watched, event, args)
        finally:
            self._busy.now = False

    def _note(self, watched: Watched, event: str, args: tuple[object, ...]) -> None:
        path = _as_path(args[0])
        if path is None or path.endswith(".pyc") or self._is_ignored(path):
            return
        if event == "open" and _writes(args[1:3]):
            watched.written.add(path)
        elif path not in watched.files and path not in watched.written:
            digest = digest_of(path)
            if digest is not None:
                watched.files[path] = digest

    def _is_ignored(self, path: str) -> bool:
        return any(path == folder or path.startswith(folder + os.sep) for folder in self.ignored)


_HOOK = _Hook()


@contextmanager
def watch(ignore: tuple[str, ...]) -> Iterator[Watched]:
    """Collect what the code inside the block reads.

    Args:
        ignore: Absolute folders that don't count, beside Python's own, the system's and caches.
    """
    if not _HOOK.installed:
        sys.addaudithook(_HOOK)
        _HOOK.installed = True
    outer, outer_ignored = _HOOK.current, _HOOK.ignored
    watched = Watched()
    _HOOK.current, _HOOK.ignored = watched, (*ignore, *_never_inputs())
    try:
        yield watched
    finally:
        _HOOK.current, _HOOK.ignored = outer, outer_ignored
        for path in list(watched.files):
            if path in watched.written or not os.path.exists(path):
                del watched.files[path]


def _never_inputs() -> tuple[str, ...]:
    """Folders whose files count by library version, or not at all."""
    home = os.path.expanduser("~")
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()]
    caches = [os.path.join(home, name) for name in (".cache", ".config", ".local", ".matplotlib", ".keras/keras.json")]
    # A Python that is installed as the system's own has the prefix /usr, below which users do keep data.
    folders = {os.path.abspath(folder) for folder in (*python, *caches, *_SYSTEM)}
    return tuple(sorted(folders - {"/", "/usr", "/usr/local", home}))


def _as_path(value: object) -> str | None:
    """The absolute path that an audit event names; None for file descriptors."""
    if value is None:
        return os.getcwd()
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if not isinstance(value, str | os.PathLike):
        return None
    return os.path.abspath(os.fspath(value))


def _writes(mode_and_flags: tuple[object, ...]) -> bool:
    """Say whether an open call can change the file."""
    mode, flags = (*mode_and_flags, None, None)[:2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
