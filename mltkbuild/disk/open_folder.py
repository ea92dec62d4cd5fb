"""An open folder of ours, and what is done by name in it: the tools of the door."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import IO

from mltkbuild.errors import ForeignError
from mltkbuild.shown import shown

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

TEMPORARY = ".tmp"
"""The end of the name of a file that is being written."""
DEEPEST = 100
"""Nothing of ours has so many folders in each other."""
BY_FOLDER = {os.open, os.stat, os.mkdir, os.unlink, os.rmdir, os.rename} <= os.supports_dir_fd
"""Whether the system takes a name together with an open folder."""
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
NO_WAIT = getattr(os, "O_NONBLOCK", 0)
_FOLDER = os.O_RDONLY | NO_LINK | getattr(os, "O_DIRECTORY", 0)
_READ = os.O_RDONLY | NO_LINK | NO_WAIT
WRITES = "mltkbuild.writes"
"""Tells an audit hook the path of a file that is about to be written; the system is only told its name."""
_KINDS = {stat.S_IFLNK: "a link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file", stat.S_IFIFO: "a pipe"}


class _OwnReading(threading.local):
    """Whether this thread reads files and folders for the build, which is no reading by the code that runs."""

    now = False


OWN_READING = _OwnReading()


@dataclass(frozen=True, slots=True)
class OpenFolder:
    """An open folder below a root.

    Args:
        path: Its path.
        handle: What the system knows it by; None where names are given as paths.
    """

    path: str
    handle: int | None

    def name(self, name: str) -> str:
        """What the system takes for something in it."""
        return name if self.handle is not None else os.path.join(self.path, name)

    def names(self) -> list[str]:
        """What is in it, sorted."""
        return sorted(os.listdir(self.path if self.handle is None else self.handle))

    def status(self, name: str) -> os.stat_result | None:
        """What lies at a name, a link as itself; None for nothing."""
        try:
            return os.stat(self.name(name), dir_fd=self.handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def is_folder(self, name: str) -> bool:
        """Whether a folder lies at a name, and no link to one."""
        status = self.status(name)
        return status is not None and stat.S_ISDIR(status.st_mode)

    def foreign(self, name: str) -> ForeignError:
        """The error for what lies at a name."""
        return foreign(os.path.join(self.path, name), self.status(name))

    @contextlib.contextmanager
    def inner(self, name: str) -> Iterator[OpenFolder]:
        """A folder in it, opened.

        Raises:
            FileNotFoundError: There is nothing.
            ForeignError: There is something else.
        """
        path = os.path.join(self.path, name)
        if self.handle is None:
            if not self.is_folder(name):
                os.lstat(path)
                raise self.foreign(name)
            yield OpenFolder(path, None)
            return
        try:
            handle = os.open(name, _FOLDER, dir_fd=self.handle)
        except OSError as error:
            if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EMLINK):
                raise self.foreign(name) from error
            raise
        try:
            yield OpenFolder(path, handle)
        finally:
            os.close(handle)

    def make(self, name: str) -> None:
        """Make a folder in it, unless there is something by now."""
        with contextlib.suppress(FileExistsError):
            os.mkdir(self.name(name), dir_fd=self.handle)

    def remove(self, name: str) -> bool:
        """Delete a file or a link in it; say whether there was one."""
        if self.is_folder(name):
            raise self.foreign(name)
        try:
            os.unlink(self.name(name), dir_fd=self.handle)
        except FileNotFoundError:
            return False
        return True

    def create(self, name: str) -> IO[bytes]:
        """A new file in it, open for writing, in the place of whatever file or link is there."""
        self.remove(name)

        def opener(path: str, flags: int) -> int:
            return os.open(path, flags | NO_LINK, 0o666, dir_fd=self.handle)

        return open(self.name(name), "xb", opener=opener)

    def replace(self, name: str, into: OpenFolder, final: str) -> None:
        """Rename something in it, also to another folder."""
        if into.is_folder(final) and not self.is_folder(name):
            raise into.foreign(final)
        os.replace(self.name(name), into.name(final), src_dir_fd=self.handle, dst_dir_fd=into.handle)

    def flush(self) -> None:
        """Make renames in it durable."""
        if self.handle is not None:
            os.fsync(self.handle)

    def empty(self, kept: Collection[str] = (), depth: int = 0) -> bool:
        """Delete all in it but some files, and the folders that this leaves empty; say whether nothing is left."""
        if depth > DEEPEST:
            raise OSError(errno.ELOOP, "too many folders in each other", self.path)
        left = False
        for name in self.names():
            if self.is_folder(name):
                with self.inner(name) as inner:
                    emptied = inner.empty(kept, depth + 1)
                if emptied:
                    os.rmdir(self.name(name), dir_fd=self.handle)
                left = left or not emptied
            elif os.path.join(self.path, name) in kept:
                left = True
            else:
                self.remove(name)
        return not left


def read_file(path: str) -> bytes:
    """The bytes of one of our files; only a door looks at the folders on the way.

    Raises:
        OSError: It can't be read, or is a link, a pipe or another thing that isn't a file.
    """
    try:
        handle = os.open(path, _READ)
    except OSError as error:
        raise _no_file(path, error) from error
    try:
        status = os.fstat(handle)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {_told(status)}, not a file", path)
        data = os.read(handle, status.st_size + 1)
        while more := b"" if len(data) == status.st_size else os.read(handle, 1 << 20):
            data += more
        return data
    finally:
        os.close(handle)


def foreign(path: str, status: os.stat_result | None) -> ForeignError:
    """The error for what is in the way at a path."""
    found = "nothing" if status is None else _told(status)
    if status is not None and stat.S_ISLNK(status.st_mode):
        with contextlib.suppress(OSError):
            found += f" to {shown(os.readlink(path))}"
    return ForeignError(
        "something is in the way of mltkbuild's own files",
        where=shown(path),
        found=found,
        fix="look at it, then move it away or delete it; nothing was written or deleted through it",
    )


def _told(status: os.stat_result) -> str:
    return _KINDS.get(stat.S_IFMT(status.st_mode), "a device")


def _no_file(path: str, error: OSError) -> OSError:
    """Why something can't be opened, in words for a link."""
    return OSError(error.errno, "it is a link, not a file", path) if os.path.islink(path) else error


@contextlib.contextmanager
def opened(path: str) -> Iterator[OpenFolder]:
    """A root, opened through whatever links lead to it."""
    before, OWN_READING.now = OWN_READING.now, True
    handle = None
    try:
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY) if BY_FOLDER else None
        yield OpenFolder(path, handle)
    finally:
        OWN_READING.now = before
        if handle is not None:
            os.close(handle)


@contextlib.contextmanager
def reading(place: OpenFolder, name: str) -> Iterator[IO[bytes]]:
    """A file in a folder, open for reading."""
    status = place.status(name)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise place.foreign(name)
    with os.fdopen(os.open(place.name(name), _READ, dir_fd=place.handle), "rb") as file:
        yield file


def put(place: OpenFolder, name: str, temporary: str, fill: Callable[[IO[bytes]], object]) -> None:
    """Write a file under a temporary name, and give it its final one when it is whole."""
    try:
        with place.create(temporary) as file:
            fill(file)
            file.flush()
            os.fsync(file.fileno())
        place.replace(temporary, place, name)
    except (OSError, ForeignError):
        with contextlib.suppress(OSError, ForeignError):
            place.remove(temporary)
        raise
    place.flush()


def remove_tree(place: OpenFolder, name: str, kept: Collection[str] = ()) -> None:
    """Delete something in a folder: a file, a link, or a folder with all in it but some files."""
    if place.is_folder(name):
        with place.inner(name) as folder:
            emptied = folder.empty(kept)
        if emptied:
            os.rmdir(place.name(name), dir_fd=place.handle)
    elif os.path.join(place.path, name) not in kept:
        place.remove(name)


def lock(handle: int | None) -> bool:
    """Take the lock of an open file or folder, if nobody holds it; a folder without a handle has none."""
    if handle is None:
        return True
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        return False
    return True
