"""Doors of libraries whose native code opens files by itself: each tells what is about to be opened.

A door stands before the lowest function of the library that still is Python's, so that whatever leads there is seen. It
is put there when the library is there, or else as it is imported, and stays: while nothing is watched it does nothing.
"""

from __future__ import annotations

import functools
import importlib.abc
import importlib.machinery
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType, ModuleType
from typing import Any

from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.fingerprint import kinds
from mltkbuild.user_code import hdf5_links, sqlite_doors, tensorflow_doors
from mltkbuild.user_code.children import process_started
from mltkbuild.user_code.events import opened
from mltkbuild.user_code.hook import HOOK
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.watched import Watched

_NAMES = ("model_path", "font", "path", "filename", "source")

_done: set[str] = set()


@contextmanager
def open_doors() -> Iterator[None]:
    """Let the libraries that are loaded have their doors, and those that are imported meanwhile."""
    for name in _DOORS.keys() - _done:
        if name in sys.modules:
            _add(sys.modules[name], name)
    finder = _Finder()
    sys.meta_path.insert(0, finder)
    try:
        yield
    finally:
        if finder in sys.meta_path:
            sys.meta_path.remove(finder)


def _add(module: ModuleType, name: str) -> None:
    if name not in _done:
        _done.add(name)
        _DOORS[name](module)


class _Finder(importlib.abc.MetaPathFinder):
    """Finds what has doors by the other finders, and adds them once it is imported."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Find a module that has doors."""
        if fullname not in _DOORS or fullname in _done:
            return None
        for finder in sys.meta_path:
            spec = None if finder is self else finder.find_spec(fullname, path, target)
            if spec is not None:
                break
        else:
            return None
        if spec.loader is not None and hasattr(spec.loader, "exec_module"):
            spec.loader = _Loader(spec.loader, fullname)
        return spec


class _Loader(importlib.abc.Loader):
    """Loads a module as its own loader does, and adds its doors."""

    def __init__(self, loader: Any, name: str) -> None:
        self._loader, self._name = loader, name

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        """Make the module."""
        made: ModuleType | None = self._loader.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run the module's code."""
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        module.__loader__ = self._loader
        self._loader.exec_module(module)
        _add(module, self._name)


def door(owner: Any, name: str, tell: Callable[..., None], *, after: bool = False) -> None:
    """Put a door before a function, if the library has it.

    Args:
        owner: The module or class.
        name: The function's name.
        tell: Takes what is watched, the frame that calls, and the function's arguments.
        after: Whether it takes what the function has returned in place of its arguments.
    """
    real = getattr(owner, name, None)
    if real is None:
        return

    def told(frame: FrameType, *args: Any, **options: Any) -> None:
        watched = HOOK.current
        if watched is not None and not OWN_READING.now:
            OWN_READING.now = True
            try:
                tell(watched, frame, *args, **options)
            finally:
                OWN_READING.now = False

    @functools.wraps(real)
    def through(*args: Any, **options: Any) -> Any:
        if not after:
            told(sys._getframe(1), *args, **options)
        made = real(*args, **options)
        if after:
            told(sys._getframe(1), made)
        return made

    kinds.stand_in(through, real)
    setattr(owner, name, through)


def _open_as(watched: Watched, frame: FrameType | None, path: Any, mode: str) -> None:
    if isinstance(path, str | bytes | os.PathLike):
        opened(watched, (path, mode, None), frame)


def _keyed(watched: Watched, frame: FrameType | None, file: Any, flag: str = "r", *_: Any, **__: Any) -> None:
    """A file of `dbm` or `shelve`, whose name some of its libraries end in `.db`."""
    name = os.fsdecode(file)
    for path in (name, name + ".db"):
        _open_as(watched, frame, path, {"r": "r", "n": "w"}.get(flag[:1], "r+"))


def _first(watched: Watched, frame: FrameType | None, *args: Any, **options: Any) -> None:
    """A function reads the path that it gets first, or by one of these names."""
    _open_as(watched, frame, args[0] if args else _by_name(options), "r")


def _made_of(watched: Watched, frame: FrameType | None, made: object, *args: Any, **options: Any) -> None:
    """An object reads the path that it is made of."""
    _first(watched, frame, *args, **options)


def _by_name(options: dict[str, Any]) -> Any:
    return next((options[name] for name in _NAMES if name in options), None)


def _sound(
    watched: Watched, frame: FrameType | None, made: object, file: Any, mode: str | None = "r", *_: Any, **__: Any
) -> None:
    path = absolute(file) if type(file) is str and mode == "r" else None
    if path is not None:
        # As most are opened, thousands of them.
        watched.read(path, frame)
    else:
        _open_as(watched, frame, file, mode or "r")


def _hdf5(watched: Watched, frame: FrameType | None, name: Any, flags: int = 1, *_: Any, **__: Any) -> None:
    _open_as(watched, frame, name, "r+" if flags & 1 else "r")
    _behind_hdf5(watched, name)


def _behind_hdf5(watched: Watched, name: Any) -> None:
    """The files that an HDF5 file leads to, which may lead further."""
    waiting, seen = [absolute(name)], set[str]()
    while waiting:
        path = waiting.pop()
        if path is None or path in seen:
            continue
        seen.add(path)
        for behind in hdf5_links.files_behind(path):
            # Nobody gave the library this path, but the file that it was given did.
            watched.read(behind, None)
            waiting.append(behind)


def _tables(watched: Watched, frame: FrameType | None, *args: Any, **options: Any) -> None:
    _first(watched, frame, *args, **options)
    _behind_hdf5(watched, args[0] if args else _by_name(options))


def _sqlite(module: ModuleType) -> None:
    door(module, "connect", sqlite_doors.connected, after=True)


def _new_hdf5(watched: Watched, frame: FrameType | None, name: Any, *_: Any, **__: Any) -> None:
    _open_as(watched, frame, name, "w")


def _process(watched: Watched, frame: FrameType | None, process: Any) -> None:
    process_started(watched, (process._args, process._kwargs), frame)


def _tensorflow(name: str, module: ModuleType) -> None:
    for path, tell in tensorflow_doors.DOORS[name].items():
        owner, _, function = path.rpartition(".")
        door(getattr(module, owner) if owner else module, function, tell)


def _h5py(module: ModuleType) -> None:
    door(module, "open", _hdf5)
    door(module, "create", _new_hdf5)
    door(module, "is_hdf5", _first)


def _functions(*names: str) -> Callable[[ModuleType], None]:
    """Doors before functions of a module that take a path first."""

    def add(module: ModuleType) -> None:
        for name in names:
            door(module, name, _first)

    return add


def _classes(*names: str) -> Callable[[ModuleType], None]:
    """Doors before classes of a module whose objects are made of a path."""

    def add(module: ModuleType) -> None:
        for name in names:
            door(getattr(module, name, None), "__init__", _made_of)

    return add


_DOORS: dict[str, Callable[[ModuleType], None]] = {
    "multiprocessing.process": lambda module: door(module.BaseProcess, "start", _process),
    "dbm.gnu": lambda module: door(module, "open", _keyed),
    "dbm.ndbm": lambda module: door(module, "open", _keyed),
    "soundfile": lambda module: door(module.SoundFile, "__init__", _sound),
    "h5py.h5f": _h5py,
    "PIL.ImageFont": _classes("FreeTypeFont"),
    "tensorflow.lite.python.interpreter": _classes("Interpreter"),
    "ai_edge_litert.interpreter": _classes("Interpreter"),
    "cv2": _functions("imread", "imreadmulti", "VideoCapture", "FileStorage"),
    "pandas": _functions("read_parquet", "read_feather", "read_orc", "read_hdf", "HDFStore"),
    "pyarrow.parquet": _functions("read_table", "ParquetFile", "ParquetDataset"),
    "sqlite3": _sqlite,
    "sqlite3.dbapi2": _sqlite,
    "tables": lambda module: door(module, "open_file", _tables),
    **{name: functools.partial(_tensorflow, name) for name in tensorflow_doors.DOORS},
}
