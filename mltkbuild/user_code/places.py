"""The absolute path that an argument of a system call means."""

from __future__ import annotations

import os
import sys

if sys.platform == "darwin":
    import fcntl

_BELOW_FD = "/proc/self/fd" if sys.platform == "linux" else "/dev/fd"


def absolute(value: object, folder: object = None) -> str | None:
    """The path that is meant; None for what is no path, or can't be known.

    Args:
        value: A path, or a descriptor of an open file; None for the working folder.
        folder: The descriptor of the folder that a relative path counts from; None or -1 for the working folder.
    """
    if type(value) is str and value and value[0] not in ".~" and _is_plain(value):
        # Most are; `os.path.abspath` takes its time.
        return value if value[0] == "/" else f"{os.getcwd()}/{value}"
    if value is None:
        return os.getcwd()
    if isinstance(value, int):
        return path_of(value)
    if not isinstance(value, str | bytes | os.PathLike):
        return None
    path = os.fsdecode(value)
    if isinstance(folder, int) and folder >= 0 and not os.path.isabs(path):
        base = path_of(folder)
        return None if base is None else os.path.abspath(os.path.join(base, path))
    return os.path.abspath(path)


def _is_plain(path: str) -> bool:
    """Whether a path has no part that leads elsewhere."""
    return "//" not in path and "/." not in path and path[-1] != "/" and os.sep == "/"


def path_of(descriptor: int) -> str | None:
    """The path of an open file or folder; None where the system doesn't tell, or it has gone."""
    try:
        if sys.platform == "darwin":
            return os.fsdecode(fcntl.fcntl(descriptor, fcntl.F_GETPATH, b"\0" * 1024).rstrip(b"\0"))
        path = os.readlink(f"{_BELOW_FD}/{descriptor}")
    except (OSError, ValueError, OverflowError):
        return None
    return path if os.path.isabs(path) and not path.endswith(" (deleted)") else None
