"""The one door to what is ours on the disk: nothing is read, written, renamed or deleted through a link.

A folder of ours, such as `build/`, may be reached through links, for its user has put them there. What lies below it
may have come with a clone, or from somebody who shares the disk. So each folder on the way to a file is opened by
itself, from the one above it and never as a link, and the file's name is given to the system together with the open
folder: a folder that is swapped for a link in between leads nowhere else. Python can't do that on every system; there
each part of the way is looked at first, which a swap can outrun.

What lies at a file's own name is replaced, never written into: a link, a hard link, a pipe or a device goes, and what
it leads to stays. Whatever else is in the way is a ForeignError.
"""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import IO

from mltkbuild.disk.open_folder import (
    NO_LINK,
    NO_WAIT,
    TEMPORARY,
    WRITES,
    OpenFolder,
    foreign,
    lock,
    opened,
    put,
    reading,
    remove_tree,
)
from mltkbuild.errors import ForeignError
from mltkbuild.shown import shown

POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class Door:
    """What may be done below one folder; every path is given as a whole and must lie below it.

    Args:
        root: Absolute path of the folder, which may be reached through links.

    Every method may raise a ForeignError for what is in the way, and an OSError for what the system refuses.
    """

    root: str

    @contextlib.contextmanager
    def _at(self, path: str, make: bool = False) -> Iterator[tuple[OpenFolder, str]]:
        """The open folder that something lies in, and its name there."""
        below = path.removeprefix(self.root + os.sep)
        *folders, name = below.split(os.sep)
        if below == path or {"", os.curdir, os.pardir} & {*folders, name} or "\0" in path:
            raise ForeignError(
                "a path leads out of its folder",
                where=shown(path),
                found=f"not below {self.root}",
                fix="see where this name comes from",
            )
        try:
            if make and not os.path.isdir(self.root):
                os.makedirs(self.root, exist_ok=True)
            with contextlib.ExitStack() as stack:
                place = stack.enter_context(opened(self.root))
                for part in folders:
                    if make and not place.is_folder(part):
                        place.make(part)
                    place = stack.enter_context(place.inner(part))
                yield place, name
        except OSError as error:
            # The system knows a name, people a path.
            if error.filename is not None:
                error.filename = path
            raise

    def _final(self, path: str) -> contextlib.AbstractContextManager[tuple[OpenFolder, str]]:
        """The open folder that something is to be written in, made if need be, and its name there."""
        sys.audit(WRITES, path)
        return self._at(path, make=True)

    # -- looking -----------------------------------------------------------------------------------------------------

    def status(self, path: str) -> os.stat_result | None:
        """What lies at a path, a link as itself; None for nothing."""
        try:
            with self._at(path) as (place, name):
                return place.status(name)
        except FileNotFoundError:
            return None

    def exists(self, path: str) -> bool:
        """Whether anything lies at a path, a link too."""
        return self.status(path) is not None

    def size(self, path: str) -> int:
        """How many bytes `append` would go on behind."""
        status = self.status(path)
        return status.st_size if status is not None and _is_own(status) else 0

    def names(self, path: str) -> list[str]:
        """The names in a folder, sorted; none where there is no folder."""
        try:
            with self._at(path) as (place, name), place.inner(name) as folder:
                return folder.names()
        except FileNotFoundError:
            return []

    def require(self, folders: Iterable[str], files: Iterable[str]) -> None:
        """Raise a ForeignError unless some paths lead to folders or to nothing, and others to anything but folders."""
        for path in folders:
            self.names(path)
        for path in files:
            status = self.status(path)
            if status is not None and stat.S_ISDIR(status.st_mode):
                raise foreign(path, status)

    # -- writing -----------------------------------------------------------------------------------------------------

    def make(self, path: str) -> None:
        """Make a folder, with those above it, unless it is there."""
        with self._at(path, make=True) as (place, name):
            if not place.is_folder(name):
                place.make(name)
            with place.inner(name):
                pass

    def make_new(self, path: str) -> None:
        """Make an empty folder in the place of whatever is there."""
        with self._at(path, make=True) as (place, name):
            remove_tree(place, name)
            os.mkdir(place.name(name), dir_fd=place.handle)

    def write(self, path: str, data: bytes, beside: str = TEMPORARY) -> None:
        """Write a file so that it is there as a whole or not at all, even after a power cut.

        Args:
            path: The file.
            data: Its bytes.
            beside: What its name ends with until it is whole; of this process alone where others may write it too.
        """
        with self._final(path) as (place, name):
            put(place, name, name + beside, lambda file: file.write(data))

    @contextlib.contextmanager
    def create(self, path: str) -> Iterator[IO[bytes]]:
        """A new file, open for writing, in the place of whatever file or link is there."""
        with self._final(path) as (place, name):
            file = place.create(name)
        with file:
            yield file

    @contextlib.contextmanager
    def append(self, path: str) -> Iterator[IO[bytes]]:
        """A file, open to be gone on with; a new one where there is none, or one that has another name elsewhere."""
        with self._final(path) as (place, name):
            flags = os.O_WRONLY | os.O_APPEND | NO_LINK | NO_WAIT
            is_own = _is_own(place.status(name))
            handle = os.open(place.name(name), flags, dir_fd=place.handle) if is_own else None
            file = place.create(name) if handle is None else os.fdopen(handle, "ab")
        with file:
            yield file

    def move(self, path: str, into: Door, final: str) -> None:
        """Give a file its final name, below another door too; across file systems by a complete copy beside it."""
        with into._final(final) as (there, name), self._at(path) as (here, old):
            try:
                here.replace(old, there, name)
            except OSError as error:
                if error.errno != errno.EXDEV:
                    raise
                with reading(here, old) as source:
                    put(there, name, name + TEMPORARY, lambda file: shutil.copyfileobj(source, file))
                here.remove(old)

    def rename(self, path: str, final: str) -> None:
        """Rename a file or a folder."""
        self.move(path, self, final)

    def flush(self, path: str) -> None:
        """Make a file's content durable."""
        with self._at(path) as (place, name), reading(place, name) as file:
            os.fsync(file.fileno())

    def flush_folder(self, path: str) -> None:
        """Make renames in a folder durable."""
        with self._at(path) as (place, name), place.inner(name) as folder:
            folder.flush()

    def flush_root(self) -> None:
        """Make renames right below the root durable."""
        with opened(self.root) as folder:
            folder.flush()

    # -- deleting ----------------------------------------------------------------------------------------------------

    def remove(self, path: str) -> bool:
        """Delete a file or a link; say whether there was one."""
        try:
            with self._at(path) as (place, name):
                return place.remove(name)
        except FileNotFoundError:
            return False

    def remove_tree(self, path: str, kept: Collection[str] = ()) -> None:
        """Delete a file, a link, or a folder with all in it but some files."""
        with contextlib.suppress(FileNotFoundError), self._at(path) as (place, name):
            remove_tree(place, name, kept)

    def remove_if_empty(self, path: str) -> bool:
        """Delete a folder that has nothing in it; say whether that was done."""
        try:
            with self._at(path) as (place, name):
                os.rmdir(place.name(name), dir_fd=place.handle)
        except OSError:
            return False
        return True

    # -- locks and temporary folders ---------------------------------------------------------------------------------

    @contextlib.contextmanager
    def locked(self, path: str, on_wait: Callable[[], None] = lambda: None) -> Iterator[None]:
        """Hold the lock that a file stands for; the system frees it when this process ends, however it does.

        Args:
            path: The file, which is made if need be and stays.
            on_wait: Called once when somebody else holds the lock.
        """
        waiting = False
        while (handle := self._try_lock(path)) is None:
            if not waiting:
                on_wait()
                waiting = True
            time.sleep(POLL_SECONDS)
        try:
            yield
        finally:
            os.close(handle)

    def _try_lock(self, path: str) -> int | None:
        """An open file whose lock is held; None when somebody else holds it, or has put another file there."""
        with self._at(path, make=True) as (place, name):
            before = place.status(name)
            if before is not None and not _is_own(before):
                place.remove(name)
            flags = os.O_RDWR | os.O_CREAT | NO_LINK | NO_WAIT
            handle = os.open(place.name(name), flags, 0o666, dir_fd=place.handle)
            kept = False
            try:
                held, after = lock(handle), place.status(name)
                kept = held and after is not None and os.path.samestat(after, os.fstat(handle))
            finally:
                if not kept:
                    os.close(handle)
        return handle if kept else None

    @contextlib.contextmanager
    def temporary(self, prefix: str) -> Iterator[str]:
        """A new folder right below the root, gone in the end; those of processes that were killed go too.

        Args:
            prefix: What the names of all such folders begin with, and no other name does.
        """
        os.makedirs(self.root, exist_ok=True)
        path = os.path.join(self.root, f"{prefix}{secrets.token_hex(8)}")
        with contextlib.ExitStack() as stack:
            with opened(self.root) as top:
                while not lock(top.handle):
                    time.sleep(POLL_SECONDS)
                _sweep(top, prefix)
                top.make(os.path.basename(path))
                # Held as long as the folder is in use: the system frees it when this process ends, however it does.
                folder = stack.enter_context(top.inner(os.path.basename(path)))
                lock(folder.handle)
            try:
                yield path
            finally:
                with contextlib.suppress(OSError):
                    self.remove_tree(path)


def _is_own(status: os.stat_result | None) -> bool:
    """Whether there is a file that has no other name elsewhere."""
    return status is not None and stat.S_ISREG(status.st_mode) and status.st_nlink <= 1


def _sweep(top: OpenFolder, prefix: str) -> None:
    """Remove the temporary folders whose locks nobody holds any longer, where there are locks on folders."""
    for name in top.names() if top.handle is not None else ():
        if name.startswith(prefix) and top.is_folder(name):
            with contextlib.suppress(OSError, ForeignError), top.inner(name) as folder:
                if lock(folder.handle) and folder.empty():
                    os.rmdir(name, dir_fd=top.handle)
