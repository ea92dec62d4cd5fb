"""What the system refuses while user code runs: a full disk or no memory is no mistake in somebody's code.

Libraries hand on what the system said in their own ways: HDF5 and TensorFlow only quote it, and code that catches an
error often raises another. So the chain of an exception is looked through, and its texts where no number is left.
"""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator

from mltkbuild.disk.durable import UNTOUCHED
from mltkbuild.errors import StageError
from mltkbuild.process import MEMORY, out_of_memory

_AGAIN = f"and run the same command again; {UNTOUCHED}"
_MEANINGS: dict[int, tuple[str, str]] = {
    errno.ENOSPC: ("the disk became full while {} ran", f"free some space {_AGAIN}"),
    errno.EDQUOT: ("the quota of the disk was used up while {} ran", f"free some of your quota {_AGAIN}"),
    errno.EROFS: ("{} can't write on a read-only file system", "write somewhere else, or make it writable"),
    errno.EIO: ("the disk failed while {} ran", f"check the disk {_AGAIN}"),
    errno.ESTALE: ("a network folder failed while {} ran", f"check the network folder {_AGAIN}"),
    errno.ETIMEDOUT: ("a network folder or server didn't answer {}", f"check the connection {_AGAIN}"),
    errno.EMFILE: ("{} has too many files open", "close files when they are read, or raise the limit by `ulimit -n`"),
    errno.ENFILE: ("the machine has too many files open", f"end other programs {_AGAIN}"),
    errno.EACCES: ("{} has no permission", "give yourself the permission, or mend the path"),
    errno.EPERM: ("{} has no permission", "give yourself the permission, or mend the path"),
}
_ALWAYS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What also counts when code has caught it and raised something else."""
_NUMBER = re.compile(r"\berrno = (\d+)")
# NumPy says only this when a file takes less than all.
_SHORT_WRITE = re.compile(r"\d+ requested and \d+ written")
_QUOTING = ("tensorflow", "h5py", "sqlite3", "keras", "builtins")
"""Whose exceptions are looked through for what the system said."""


def system_error(error: BaseException, what: str, where: str | None, trace: str | None = None) -> StageError | None:
    """What an exception says of the system; None for any other.

    Args:
        error: What was raised.
        what: What ran, as the error names it.
        where: The place that the error names.
        trace: The user's part of its traceback.
    """
    for number, link in enumerate(_chain(error)):
        code = _code_of(link)
        if code == errno.ENOMEM:
            fix = f"free some, or make the model or batch_size smaller; {MEMORY} sets another limit in GiB"
            title = f"the machine ran out of memory while {what} ran"
            return StageError(title, where=where, found=_said(link) or out_of_memory(), fix=fix, trace=trace)
        if code in _MEANINGS and (number == 0 or code in _ALWAYS):
            title, fix = _MEANINGS[code]
            return StageError(title.format(what), where=where, found=_said(link), fix=fix, trace=trace)
    return None


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An exception, and those that led to it."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def _code_of(error: BaseException) -> int | None:
    """The system's number of an exception; None for one that isn't about the system."""
    if isinstance(error, MemoryError):
        return errno.ENOMEM
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    kind = type(error)
    if kind.__module__.partition(".")[0] not in _QUOTING:
        return None
    return _quoted(error, kind)


def _quoted(error: BaseException, kind: type) -> int | None:
    """The number that an exception of a library quotes, as a number or in words."""
    text = str(error)
    if kind.__module__ == "builtins" and kind not in (OSError, BlockingIOError, RuntimeError):
        return None
    if kind.__module__ == "sqlite3":
        return errno.ENOSPC if "disk is full" in text else errno.EIO if "disk I/O error" in text else None
    if kind is OSError and _SHORT_WRITE.fullmatch(text):
        return errno.ENOSPC
    found = _NUMBER.search(text)
    if found:
        return int(found.group(1))
    told = next((code for code in _MEANINGS if os.strerror(code) in text), None)
    # TensorFlow's word for a lack of memory is its word for a lack of space, too.
    return errno.ENOMEM if told is None and kind.__name__ == "ResourceExhaustedError" else told


def _said(error: BaseException) -> str | None:
    """What the system said, with the file that it is about."""
    if isinstance(error, OSError) and error.strerror:
        names = [os.fsdecode(name) for name in (error.filename, error.filename2) if isinstance(name, str | bytes)]
        return ": ".join((error.strerror, *names))
    lines = str(error).strip().splitlines()
    return lines[0][:300] if lines else None
