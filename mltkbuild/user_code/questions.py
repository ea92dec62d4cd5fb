"""What code asks the system about a path without opening it: Python tells no audit hook of it.

`os.stat` and its like are wrapped while something is watched. Whoever asks through `os.path` or `pathlib` wants one
thing of the many that `os.stat` tells: the function that calls it says which.
"""

from __future__ import annotations

import functools
import os
import stat
import sys
import threading
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from mltkbuild.disk.inputs import EXISTS, LINK, MODIFIED, SIZE
from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.fingerprint import kinds
from mltkbuild.user_code.askers import Code
from mltkbuild.user_code.events import opened
from mltkbuild.user_code.hook import HOOK
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.watched import Watched

_PRESENCE = (EXISTS,)
_EVERYTHING = (SIZE, MODIFIED)
_NOTHING = "nothing"
_TESTS = frozenset({"exists", "isfile", "isdir", "lexists", "is_file", "is_dir"})
_BY_NAME = {"getsize": (SIZE,), "getmtime": (MODIFIED,), "getctime": (MODIFIED,)}
# What is found on the way to something else: the parts of a path, a folder that is there already.
_ON_THE_WAY = frozenset(
    {"realpath", "_joinrealpath", "resolve", "makedirs", "mkdir", "rmtree", "samefile", "sameopenfile", "ismount"}
    | {"which", "_access_check"}
)
_PATHS = ("genericpath", "posixpath", "ntpath")
_MAKERS = ("os", "shutil", "pathlib", *_PATHS)

_lock = threading.Lock()
_real = {name: getattr(os, name) for name in ("stat", "lstat", "fstat", "access", "scandir", "open", "readlink")}
# Windows has functions of its own that never call `os.stat`.
_tests = {
    name: function
    for name in ("exists", "lexists", "isfile", "isdir", "islink")
    if isinstance(function := getattr(os.path, name), types.BuiltinFunctionType)
}
_sets = [getattr(os, name) for name in ("supports_dir_fd", "supports_fd", "supports_follow_symlinks")]
_sets.append(os.supports_effective_ids)
_users = 0


@contextmanager
def wrapped() -> Iterator[None]:
    """Stand before the functions that answer questions, and give them back in the end."""
    global _users  # noqa: PLW0603  # one process has one `os`
    with _lock:
        _users += 1
        if _users == 1:
            _replace(os, _real, _WRAPPERS)
            _replace(os.path, _tests, _TESTERS)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                _replace(os, _WRAPPERS, _real)
                _replace(os.path, _TESTERS, _tests)


def _replace(owner: Any, old: dict[str, Any], new: dict[str, Any]) -> None:
    for name, function in new.items():
        # Somebody else may have put a function of theirs there.
        if getattr(owner, name) is old[name]:
            setattr(owner, name, function)
            for supporting in _sets:
                if old[name] in supporting:
                    supporting.add(function)


def _stat(path: Any, *, dir_fd: int | None = None, follow_symlinks: bool = True) -> os.stat_result:
    real: Callable[..., os.stat_result] = _real["stat"]
    watched = HOOK.current
    if watched is None or OWN_READING.now:
        return real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    status = None
    try:
        status = real(path, dir_fd=dir_fd, follow_symlinks=follow_symlinks)
    finally:
        frame = sys._getframe(1)
        place = path if isinstance(path, int) else absolute(path, dir_fd)
        if frame.f_code.co_name not in _TESTS or not watched.has_read(place):
            _asked(watched, frame, place, _there(status, follow_symlinks))
    return status


def _lstat(path: Any, *, dir_fd: int | None = None) -> os.stat_result:
    real: Callable[..., os.stat_result] = _real["lstat"]
    watched = HOOK.current
    if watched is None or OWN_READING.now:
        return real(path, dir_fd=dir_fd)
    status = None
    try:
        status = real(path, dir_fd=dir_fd)
    finally:
        place = path if dir_fd is None else absolute(path, dir_fd)
        _asked(watched, sys._getframe(1), place, _there(status, False))
    return status


def _fstat(fd: int) -> os.stat_result:
    watched = HOOK.current
    if watched is not None and not OWN_READING.now:
        _asked(watched, sys._getframe(1), fd, "")
    status: os.stat_result = _real["fstat"](fd)
    return status


def _access(path: Any, mode: int, **options: Any) -> bool:
    watched, frame = HOOK.current, sys._getframe(1)
    if watched is not None and not OWN_READING.now and not _is_on_the_way(frame):
        _told(watched, frame, _PRESENCE, absolute(path, options.get("dir_fd")))
    answer: bool = _real["access"](path, mode, **options)
    return answer


def _readlink(path: Any, *, dir_fd: int | None = None) -> Any:
    watched = HOOK.current
    place = None
    if watched is not None and not OWN_READING.now:
        place = absolute(path, dir_fd)
    if watched is not None and place is not None and not watched.places.leads_to_the_workspace(place):
        _told(watched, sys._getframe(1), (LINK,), place)
    return _real["readlink"](path, dir_fd=dir_fd)


def _tester(real: Any) -> Any:
    """Stand before a function that says whether something is there."""

    def test(path: Any) -> Any:
        watched = HOOK.current
        if watched is not None and not OWN_READING.now and not isinstance(path, int):
            _told(watched, sys._getframe(1), _PRESENCE, path)
        return real(path)

    return test


def _open(path: Any, flags: int, mode: int = 0o777, *, dir_fd: int | None = None) -> int:
    """Open a file; what a path counts from isn't told to an audit hook."""
    if dir_fd is None or HOOK.current is None or OWN_READING.now:
        descriptor: int = _real["open"](path, flags, mode, dir_fd=dir_fd)
        return descriptor
    OWN_READING.now = True
    try:
        opened(HOOK.current, (absolute(path, dir_fd), None, flags), sys._getframe(1))
        descriptor = _real["open"](path, flags, mode, dir_fd=dir_fd)
    finally:
        OWN_READING.now = False
    return descriptor


def _scandir(path: Any = ".") -> Any:
    watched = HOOK.current
    found = _real["scandir"](path)
    if watched is None or OWN_READING.now or watched.askers.code_of(sys._getframe(1)) is not Code.WORKSPACE:
        return found
    return _Entries(found, absolute(path))


class _Entries:
    """What the workspace's code gets of `os.scandir`: entries that tell when they are asked for size and time."""

    def __init__(self, entries: Any, folder: str | None) -> None:
        self._entries, self._folder = entries, folder

    def __iter__(self) -> _Entries:
        return self

    def __next__(self) -> _Entry:
        return _Entry(next(self._entries), self._folder)

    def __enter__(self) -> _Entries:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Free what the system keeps for it."""
        self._entries.close()


class _Entry:
    """An entry of a folder."""

    def __init__(self, entry: os.DirEntry[Any], folder: str | None) -> None:
        self._entry, self._folder = entry, folder

    # It passes for what it stands for.
    __class__ = os.DirEntry  # type: ignore[assignment]  # for isinstance alone

    def __getattr__(self, name: str) -> Any:
        return getattr(self._entry, name)

    def __fspath__(self) -> Any:
        return self._entry.path

    def __repr__(self) -> str:
        return repr(self._entry)

    def stat(self, *, follow_symlinks: bool = True) -> os.stat_result:
        """Size, time and the rest."""
        watched = HOOK.current
        if watched is not None and not OWN_READING.now and self._folder is not None:
            path = os.path.join(self._folder, os.fsdecode(self._entry.name))
            _told(watched, sys._getframe(1), _EVERYTHING, path)
        return self._entry.stat(follow_symlinks=follow_symlinks)


def _there(status: os.stat_result | None, follows: bool) -> str:
    """What `disk/answers` calls what is there; empty where it must look itself."""
    if status is None:
        return _NOTHING
    mode = status.st_mode if follows else 0
    return "file" if stat.S_ISREG(mode) else "folder" if stat.S_ISDIR(mode) else ""


def _asked(watched: Watched, frame: FrameType, path: Any, there: str) -> None:
    """Note what somebody wants to know who has called `os.stat`."""
    wanted = _wanted(watched, frame)
    if there is _NOTHING and wanted:
        wanted = _PRESENCE
    if wanted is _PRESENCE:
        # Who has an open file knows that it is there.
        if not isinstance(path, int):
            _told(watched, frame, wanted, path, "" if there is _NOTHING else there)
    elif wanted:
        _told(watched, frame, wanted, path)


def _wanted(watched: Watched, frame: FrameType) -> tuple[str, ...]:
    """Which of its answers count for whoever calls `os.stat`."""
    name = frame.f_code.co_name
    if _module(frame) in _PATHS:
        outer = frame.f_back
        if name in _ON_THE_WAY or (outer is not None and _is_on_the_way(outer)):
            return ()
        return _BY_NAME.get(name, _PRESENCE)
    asker: FrameType | None = frame
    while asker is not None and _module(asker).startswith("pathlib"):
        name, asker = asker.f_code.co_name, asker.f_back
    if _is_on_the_way(frame) or (asker is not frame and name in _ON_THE_WAY):
        return ()
    if _module(frame) == "filecmp":
        # It takes files of one size and time for equal, and reads neither.
        return _EVERYTHING
    asks_itself = asker is frame or name in ("stat", "lstat")
    if asks_itself and asker is not None and watched.askers.code_of(asker) is Code.WORKSPACE:
        return _EVERYTHING
    return _PRESENCE


def _is_on_the_way(frame: FrameType) -> bool:
    return frame.f_code.co_name in _ON_THE_WAY and _module(frame).partition(".")[0] in _MAKERS


def _module(frame: FrameType) -> str:
    name = frame.f_globals.get("__name__")
    return name if isinstance(name, str) else ""


def _told(watched: Watched, frame: FrameType, wanted: tuple[str, ...], path: Any, answer: str = "") -> None:
    OWN_READING.now = True
    try:
        place = absolute(path)
        if place is not None:
            for kind in wanted:
                watched.ask(kind, place, frame, answer or None)
    finally:
        OWN_READING.now = False


_WRAPPERS: dict[str, Any] = {
    "stat": _stat,
    "lstat": _lstat,
    "fstat": _fstat,
    "access": _access,
    "scandir": _scandir,
    "open": _open,
    "readlink": _readlink,
}
_TESTERS = {name: _tester(function) for name, function in _tests.items()}
for _function, _wrapper in [(_real[name], _WRAPPERS[name]) for name in _real] + [
    (_tests[name], _TESTERS[name]) for name in _tests
]:
    functools.update_wrapper(_wrapper, _function)
    _wrapper.__module__ = "os.path" if _wrapper in _TESTERS.values() else "os"
    kinds.stand_in(_wrapper, _function)
