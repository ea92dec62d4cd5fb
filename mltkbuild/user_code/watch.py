"""Watch which files user code reads and what it asks the system, so that both become inputs of the stage that ran it.

Python tells an audit hook about every file that Python code opens, every folder that it lists and every process that it
starts, before it does so. It doesn't tell when code asks about a path (`questions`), and nobody tells what native
code opens: `doors` stand before the libraries that do.

What counts as what:

| the code | counts |
|---|---|
| opens a file for reading | the file's content, as it was when it was opened |
| opens a file so that it can be written (`r+`, `a`, `O_RDWR`, `np.memmap`), and leaves it | if it reads it, too |
| ... and changes it | not; if it reads it, too, the build says so |
| lists a folder | the names in it, and which are folders; where the code writes too, as it is at the end |
| opens or lists what is not there | that nothing is there |
| asks `exists`, `is_file`, `lexists`, `access`, `glob` without a pattern | whether a file or a folder is there |
| asks `getsize` | the size |
| asks `getmtime`, `getctime` | the time |
| asks where a link leads (`readlink`, `resolve`) | the path in it |
| asks `os.stat`, `os.fstat`, `Path.stat`, `DirEntry.stat` | size and time; in a library whether something is there |
| starts a process | its program, if it is no installed one, and files among its arguments; the build says the rest |
| makes, changes, moves or removes a file or folder | not, nor what it asked about it before |
| does any of this below a folder that it made | not |

Who asks, and where: in ordinary folders (1); where Python, libraries, the system and programs have files, such as
`~/.cache`, and names with `.dist-info` (2). `/proc`, `/sys` and `build/` never count.

| | 1 | 2 |
|---|---|---|
| the workspace's code, or a library that it gave the path to | reads, questions | reads, questions |
| this package, for the workspace | reads | reads |
| a library for itself, or while it is imported | reads | - |
| Keras' own callbacks in a training | files, no folders | - |

Questions that other answers contain aren't kept: a file whose content counts is there, and a listed folder tells of all
the names in it. Many questions about one folder become one about what is in it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.user_code import children, doors, events, questions
from mltkbuild.user_code.hook import HOOK
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.watched import Watched

HOOK.handlers |= events.HANDLERS | children.HANDLERS


@contextmanager
def watch(ignore: tuple[str, ...], root: str = "") -> Iterator[Watched]:
    """Collect what the code inside the block reads and asks.

    Args:
        ignore: Absolute folders that don't count.
        root: The workspace: it counts wherever it lies.
    """
    HOOK.install()
    outer, watched = HOOK.current, Watched(root, ignore)
    with questions.wrapped(), doors.open_doors():
        HOOK.current = watched
        try:
            yield watched
        finally:
            HOOK.current = outer
            watched.close()


def read_whole(path: str) -> bytes:
    """The bytes of a file, which count as read by what is watched: their digest is taken of them.

    Raises:
        OSError: It can't be read.
    """
    watched, frame, path = HOOK.current, sys._getframe(1), absolute(path) or path
    if watched is None or OWN_READING.now or not watched.is_new(path):
        return Path(path).read_bytes()
    OWN_READING.now = True
    try:
        with open(path, "rb", buffering=0) as file:
            content = file.read()
            watched.read_as(path, frame, content, file.fileno())
        return content
    except OSError:
        watched.read(path, frame)
        raise
    finally:
        OWN_READING.now = False


def notice(paths: Iterable[str]) -> None:
    """Let files, and the folders that they lie in, count as read by what is watched: native code opens them."""
    watched, frame = HOOK.current, sys._getframe(1)
    if watched is None or OWN_READING.now:
        return
    OWN_READING.now = True
    try:
        for path in map(os.path.abspath, paths):
            watched.read_with_folder(path, frame)
    finally:
        OWN_READING.now = False


def unseen(what: str) -> None:
    """Let people know of what is watched that it reads what can't be."""
    if HOOK.current is not None:
        HOOK.current.unseen[what] = None
