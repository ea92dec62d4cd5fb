"""Watch which files and folders user code reads, so that they become inputs of the stage that ran it.

Python tells an audit hook about every file that Python code opens and every folder that it lists, before it does so;
the digest is taken at that moment. Files that native code opens by itself are not seen, and neither is the question
whether a file exists.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from mltkbuild.disk.digests import digest_of
from mltkbuild.disk.open_folder import OWN_READING, WRITES

_SYSTEM = ("/dev", "/proc", "/sys", "/etc", "/usr/lib", "/usr/share/zoneinfo", "/usr/share/fonts", "/usr/share/locale")
_EVENTS = frozenset({"open", "os.listdir", "os.scandir", "os.rename", WRITES})


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

    def __call__(self, event: str, args: tuple[object, ...]) -> None:
        watched = self.current
        if watched is None or event not in _EVENTS or not args:
            return
        # Python's own search for a module is no reading of a folder.
        searches = event != "open" and sys._getframe(1).f_code.co_filename.startswith("<frozen importlib")
        if searches or OWN_READING.now:
            return
        OWN_READING.now = True
        try:
            self._note(watched, event, args)
        finally:
            OWN_READING.now = False

    def _note(self, watched: Watched, event: str, args: tuple[object, ...]) -> None:
        path = _as_path(args[1 if event == "os.rename" else 0])
        if path is not None and path.endswith(".pyc"):
            path = _source_of(path)
        if path is None or self._is_ignored(path):
            return
        if event in ("os.rename", WRITES) or (event == "open" and _writes(args[1:3])):
            watched.written.add(path)
        elif path not in watched.files and path not in watched.written:
            digest = digest_of(path)
            if digest is not None:
                watched.files[path] = digest

    def _is_ignored(self, path: str) -> bool:
        # What is installed counts by its version; an editable package has its metadata beside its source.
        return ".egg-info" in path or ".dist-info" in path or _is_below(path, self.ignored)


_HOOK = _Hook()


@contextmanager
def watch(ignore: tuple[str, ...], root: str = "") -> Iterator[Watched]:
    """Collect what the code inside the block reads.

    Args:
        ignore: Absolute folders that don't count, beside Python's own, the system's and caches.
        root: The workspace: it counts wherever it lies.
    """
    if not _HOOK.installed:
        sys.addaudithook(_HOOK)
        _HOOK.installed = True
    outer, outer_ignored = _HOOK.current, _HOOK.ignored
    watched = Watched()
    _HOOK.current, _HOOK.ignored = watched, (*ignore, *_never_inputs(root))
    try:
        yield watched
    finally:
        _HOOK.current, _HOOK.ignored = outer, outer_ignored
        _settle(watched)


def notice(paths: Iterable[str]) -> None:
    """Let files, and the folders that they lie in, count as read by what is watched: native code opens them."""
    for path in map(os.path.abspath, paths):
        _HOOK("open", (path, "r"))
        # The folder of a file that the code wrote itself, such as the system's for temporary files, is no data set's.
        if _HOOK.current is not None and path in _HOOK.current.files:
            _HOOK("os.scandir", (os.path.dirname(path),))


def _settle(watched: Watched) -> None:
    """Leave out what the code wrote or what has gone; a folder that it wrote into counts as it is now."""
    grown = {os.path.dirname(path) for path in watched.written}
    for path in list(watched.files):
        digest = digest_of(path) if path in grown else watched.files[path]
        if path in watched.written or digest is None or not os.path.exists(path):
            del watched.files[path]
        else:
            watched.files[path] = digest


def is_library(filename: str, root: str) -> bool:
    """Say whether a module's file belongs to Python, an installed package or this one.

    Args:
        filename: Absolute path.
        root: The workspace; no library's, even where it lies in a folder of Python's.
    """
    # A warm worker asks for each of its thousands of modules around every stage; they lie in far fewer folders.
    return _is_library_folder(os.path.dirname(filename), root) or filename in _never_inputs(root)


@functools.lru_cache(maxsize=8192)
def _is_library_folder(folder: str, root: str) -> bool:
    return _is_below(folder, _never_inputs(root))


def _is_below(path: str, folders: tuple[str, ...]) -> bool:
    return any(path == folder or path.startswith(folder + os.sep) for folder in folders)


@functools.cache
def _never_inputs(root: str) -> tuple[str, ...]:
    """Folders whose files count by library version, or not at all."""
    home = os.path.expanduser("~")
    python = [sys.prefix, sys.base_prefix, sys.exec_prefix, *sysconfig.get_paths().values(), *site.getsitepackages()]
    caches = [os.path.join(home, name) for name in (".cache", ".config", ".local", ".matplotlib", ".keras/keras.json")]
    package = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    # A Python that is installed as the system's own has the prefix /usr, below which users do keep data.
    folders = {os.path.abspath(folder) for folder in (*python, *caches, *_SYSTEM, package)} - {
        "/",
        "/usr",
        "/usr/local",
        home,
    }
    return tuple(sorted(folder for folder in folders if not root or not _is_below(root, (folder,))))


def _source_of(compiled: str) -> str | None:
    """The source of a compiled module: Python opens the one in place of the other."""
    with suppress(ValueError, NotImplementedError):
        return importlib.util.source_from_cache(compiled)
    return None


def _as_path(value: object) -> str | None:
    """The absolute path that an audit event names; None for file descriptors."""
    if value is None:
        return os.getcwd()
    if isinstance(value, bytes):
        value = os.fsdecode(value)
    if not isinstance(value, str | os.PathLike):
        return None
    path = os.fspath(value)
    return os.path.abspath(os.fsdecode(path) if isinstance(path, bytes) else path)


def _writes(mode_and_flags: tuple[object, ...]) -> bool:
    """Say whether an open call can change the file."""
    mode, flags = (*mode_and_flags, None, None)[:2]
    if isinstance(mode, str):
        return any(letter in mode for letter in "wax+")
    return isinstance(flags, int) and bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))
