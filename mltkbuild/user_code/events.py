"""What Python's audit events mean: files that are opened, folders that are listed, what is written, moved, removed."""

from __future__ import annotations

import importlib.util
import os
from contextlib import suppress
from types import FrameType
from urllib.parse import parse_qs, unquote, urlsplit

from mltkbuild.disk.open_folder import WRITES
from mltkbuild.user_code.hook import Handler
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.watched import Watched

_READING = frozenset({"r", "rb", "rt", "br"})
_SEARCH = "<frozen importlib"
_COMPANIONS = ("-wal", "-journal")


def opened(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A file is opened: its path, and a mode in letters or flags of the system."""
    path = absolute(args[0]) if args[0] is not None and not isinstance(args[0], int) else None
    if path is not None and path.endswith(".pyc"):
        # Python opens a module's compiled form in place of its source.
        path = _source_of(path)
    if path is None:
        return
    mode, flags = (*args[1:3], None, None)[:2]
    if isinstance(mode, str):
        if mode in _READING:
            watched.read(path, frame)
            return
        both, empties = "+" in mode, "w" in mode or "x" in mode
        writes = both or empties or "a" in mode
    else:
        bits = flags if isinstance(flags, int) else os.O_RDONLY
        both, empties = bool(bits & os.O_RDWR), bool(bits & os.O_TRUNC)
        writes = both or empties or bool(bits & os.O_WRONLY)
        writes = writes or (bool(bits & os.O_CREAT) and not os.path.exists(path))
    if writes:
        watched.read_or_write(path, frame, reads=both, told=both, empties=empties)
    else:
        watched.read(path, frame)


def listed(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A folder is listed; Python's own search for a module is no reading of a folder."""
    path = absolute(args[0])
    if path is not None and not (frame is not None and frame.f_code.co_filename.startswith(_SEARCH)):
        watched.list_folder(path, frame)


def _written(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    path = absolute(args[0])
    if path is not None:
        watched.make(path)


def _removed(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A file or folder is removed, if it is there: its path, and the folder that this counts from."""
    path = absolute(args[0], args[-1])
    if path is not None and os.path.lexists(path):
        watched.make(path)


def _made_folder(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    path = absolute(args[0], args[-1])
    if path is not None:
        watched.make_folder(path)


def _removed_tree(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    path = absolute(args[0], args[1] if len(args) > 1 else None)
    if path is not None:
        watched.remove_tree(path)


def _timed(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    path = absolute(args[0], args[-1])
    if path is not None:
        watched.set_time(path)


def _moved(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    folders = (*args[2:4], None, None)
    source, target = absolute(args[0], folders[0]), absolute(args[1], folders[1])
    if source is not None and target is not None and os.path.lexists(source):
        watched.move(source, target)


def _linked(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    path = absolute(args[1], args[-1])
    if path is not None and not os.path.lexists(path):
        watched.make(path)


def _connected(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    if isinstance(args[0], str | bytes | os.PathLike):
        database(watched, os.fsdecode(args[0]), frame)


def database(watched: Watched, name: str, frame: FrameType | None) -> None:
    """SQLite opens a file by itself, to read and to write, and files beside it with what isn't in it yet."""
    reads_only = False
    if name.startswith("file:"):
        parts = urlsplit(name)
        modes = parse_qs(parts.query)
        if modes.get("mode") == ["memory"]:
            return
        reads_only = modes.get("mode") == ["ro"] or "immutable" in modes
        name = unquote(parts.path)
    if not name or name.startswith(":memory:"):
        return
    path = os.path.abspath(name)
    for companion in (path + end for end in _COMPANIONS):
        if os.path.exists(companion):
            watched.read_or_write(companion, frame, reads=True, told=False, empties=False)
    if reads_only:
        watched.read(path, frame)
    else:
        watched.read_or_write(path, frame, reads=True, told=True, empties=False)


def _loaded(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A library of machine code is loaded by its path; a name alone is the system's to find."""
    if isinstance(args[0], str) and os.sep in args[0]:
        watched.read(os.path.abspath(args[0]), frame)


def _extended(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """SQLite loads a library of machine code, whose name may lack its ending."""
    if len(args) > 1 and isinstance(args[1], str):
        for path in (os.path.abspath(args[1]), os.path.abspath(args[1]) + ".so"):
            if os.path.isfile(path):
                watched.read(path, frame)


def _imported(watched: Watched, args: tuple[object, ...], frame: FrameType | None) -> None:
    """A module of machine code is imported; of others Python opens the source."""
    if len(args) > 1 and isinstance(args[1], str):
        watched.read(os.path.abspath(args[1]), frame)


def _source_of(compiled: str) -> str | None:
    with suppress(ValueError, NotImplementedError):
        return importlib.util.source_from_cache(compiled)
    return None


HANDLERS: dict[str, Handler] = {
    "open": opened,
    "os.listdir": listed,
    "os.scandir": listed,
    WRITES: _written,
    "os.remove": _removed,
    "os.rmdir": _removed,
    "os.truncate": _written,
    "os.mkdir": _made_folder,
    "os.rename": _moved,
    "os.link": _linked,
    "os.symlink": _linked,
    "os.utime": _timed,
    "shutil.rmtree": _removed_tree,
    "sqlite3.connect": _connected,
    "sqlite3.load_extension": _extended,
    "ctypes.dlopen": _loaded,
    "import": _imported,
}
