"""Who asks: the workspace's code, a library that it gave a path to, a library for itself, or the build.

The frames above a reading say it, from the innermost outwards. Frames of libraries are passed over until one is found
of the workspace, of this package, or of Python's import of a library.
"""

from __future__ import annotations

import enum
import functools
import inspect
import os
import re
import sysconfig
from collections.abc import Iterator, Sequence
from types import FrameType

from mltkbuild.user_code.folders import is_below, is_library, package

_MOST = 1000
"""So many items of a list are looked at for a path."""
_GOES_ON = "/\\.-_~"
"""What a path goes on with that is made from another one: a file in it, another ending."""
_MAGIC = re.compile(r"[*?\[]")


class Code(enum.Enum):
    """Whose code a frame runs."""

    WORKSPACE = enum.auto()
    LIBRARY = enum.auto()
    BUILD = enum.auto()
    IMPORT = enum.auto()


class Askers:
    """Tells who asks, in one workspace.

    Args:
        root: The workspace.
    """

    def __init__(self, root: str) -> None:
        self._root = root
        self._known: dict[str, Code] = {}

    def code_of(self, frame: FrameType) -> Code:
        """Whose code a frame runs."""
        filename = frame.f_code.co_filename
        found = self._known.get(filename)
        if found is None:
            found = self._known[filename] = self._code_of(filename)
        return found

    def _code_of(self, filename: str) -> Code:
        if filename.startswith("<frozen importlib"):
            return Code.IMPORT
        # Code without a file is passed over: whoever runs it asks. So is what watches, whose doors lie in between.
        if filename.startswith("<") or os.path.dirname(filename) == os.path.dirname(__file__):
            return Code.LIBRARY
        if filename.startswith(package() + os.sep):
            return Code.BUILD
        return Code.LIBRARY if is_library(filename, self._root) else Code.WORKSPACE

    def nearest(self, frame: FrameType | None) -> tuple[Code, FrameType | None]:
        """Who is the first that is no library, from a frame outwards; LIBRARY where there is nobody, as in a thread.

        Returns:
            Whose code it is, and the frame that it has called, if any: a library's.
        """
        called = None
        while frame is not None:
            code = self.code_of(frame)
            if code is not Code.LIBRARY:
                return code, called
            called, frame = frame, frame.f_back
        return Code.LIBRARY, called

    def asks(self, frame: FrameType | None, path: str, *, build: bool = False) -> bool:
        """Say whether the workspace's code asks for a path, or a library to which it gave the path.

        Args:
            frame: What asks.
            path: Absolute path.
            build: Whether what this package does for the workspace counts as well.
        """
        code, called = self.nearest(frame)
        if code is Code.BUILD and not build:
            code, called = self._beyond(frame)
        if code is Code.LIBRARY:
            called = _task(frame)
        elif code is not Code.WORKSPACE and not (build and code is Code.BUILD):
            return False
        return called is None or _is_given(called, path)

    def is_direct(self, frame: FrameType | None) -> bool:
        """Say whether no library but Python's own lies between the workspace's code and what asks."""
        while frame is not None and self.code_of(frame) is Code.LIBRARY:
            if not _is_standard(frame.f_code.co_filename):
                return False
            frame = frame.f_back
        return True

    def is_task(self, frame: FrameType | None) -> bool:
        """Say whether a thread of a pool asks."""
        while frame is not None and not _is_pool(frame.f_code.co_filename):
            frame = frame.f_back
        return frame is not None

    def is_incidental(self, frame: FrameType | None) -> bool:
        """Say whether Keras asks for itself, in a training: its callbacks look after their own files."""
        code, called = self.nearest(frame)
        above = None if called is None else called.f_back
        if code is not Code.BUILD or above is None or self.is_direct(frame):
            return False
        return os.path.dirname(above.f_code.co_filename) == os.path.join(package(), "training")

    def _beyond(self, frame: FrameType | None) -> tuple[Code, FrameType | None]:
        """As `nearest`, with this package as one library among others: a spec may call its functions."""
        called = None
        while frame is not None:
            code = self.code_of(frame)
            if code in (Code.WORKSPACE, Code.IMPORT):
                return code, called
            called, frame = frame, frame.f_back
        return Code.BUILD, None


def _task(frame: FrameType | None) -> FrameType | None:
    """What a pool's thread was given to do: the frame within the pool's own; None when it is no frame of Python's."""
    task = None
    while frame is not None:
        if _is_pool(frame.f_code.co_filename):
            return task
        task, frame = frame, frame.f_back
    return task


@functools.cache
def _is_pool(filename: str) -> bool:
    standard = sysconfig.get_path("stdlib")
    folders = (os.path.join(standard, name) + os.sep for name in ("concurrent", "multiprocessing"))
    return filename == os.path.join(standard, "threading.py") or any(map(filename.startswith, folders))


@functools.cache
def _is_standard(filename: str) -> bool:
    """Say whether a file is Python's own, or one that watches."""
    if filename.startswith("<") or os.path.dirname(filename) == os.path.dirname(__file__):
        return True
    paths = sysconfig.get_paths()
    installed = is_below(filename, (paths["purelib"], paths["platlib"]))
    return filename.startswith(paths["stdlib"] + os.sep) and not installed


def _is_given(called: FrameType, path: str) -> bool:
    """Say whether a function got a path as an argument, one that it lies below, or one that it leads to.

    So does `name` for `name.gz`, which a reader may look for in its place.
    """
    code, local = called.f_code, called.f_locals
    for name in code.co_varnames[: code.co_argcount]:
        value = local.get(name)
        if type(value) is str and value == path:
            return True
    for given in _paths(called):
        if path == given or given.startswith(path + os.sep):
            return True
        if path.startswith(given) and path[len(given)] in _GOES_ON:
            return True
    return False


def _paths(frame: FrameType) -> Iterator[str]:
    """The arguments of a function that may be paths, also those that its object or a list of them holds."""
    code, local = frame.f_code, frame.f_locals
    count = code.co_argcount + code.co_kwonlyargcount
    count += bool(code.co_flags & inspect.CO_VARARGS) + bool(code.co_flags & inspect.CO_VARKEYWORDS)
    values = [local.get(name) for name in (*code.co_varnames[:count], *code.co_freevars)]
    for holder in (*values[:1], *values[count:]):
        held = getattr(holder, "__dict__", None)
        if isinstance(held, dict):
            values += held.values()
    for value in values:
        for item in _items(value):
            for inner in _items(item):
                yield from _texts(inner)


def _items(value: object) -> Sequence[object]:
    if isinstance(value, list | tuple | set | frozenset):
        return list(value)[:_MOST]
    return list(value.values())[:_MOST] if isinstance(value, dict) else (value,)


def _texts(value: object) -> Iterator[str]:
    """The absolute path that a value may be; of a pattern, the folder that it begins with."""
    if not isinstance(value, str | bytes | os.PathLike):
        return
    try:
        text = os.fsdecode(value)
    except (TypeError, ValueError):
        # An object that only looks like a path.
        return
    if not text or "\0" in text or text == os.sep:
        return
    pattern = _MAGIC.search(text)
    if pattern is not None:
        text = os.path.dirname(text[: pattern.start()])
    yield os.path.abspath(text)
    if text.startswith("~"):
        yield os.path.abspath(os.path.expanduser(text))
