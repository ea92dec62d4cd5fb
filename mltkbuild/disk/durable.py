"""Writing that a kill, a power cut or a full disk can't tear, and what a failing disk means for a stage."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil

from mltkbuild.errors import StageError

TEMPORARY = ".tmp"
UNTOUCHED = "the old artifacts are untouched"


def write(path: str, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, even after a power cut."""
    temporary = path + TEMPORARY
    os.makedirs(os.path.dirname(path), exist_ok=True)
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    flush_folder(os.path.dirname(path))


def flush(path: str) -> None:
    """Make a file's content durable."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


def flush_folder(path: str) -> None:
    """Make renames in a folder durable."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def move(source: str, final: str) -> None:
    """Rename into place; across file systems by a complete copy beside the final name."""
    os.makedirs(os.path.dirname(final), exist_ok=True)
    try:
        os.replace(source, final)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        temporary = final + TEMPORARY
        try:
            shutil.copyfile(source, temporary)
            flush(temporary)
            os.replace(temporary, final)
        except OSError:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
            raise


def disk_error(error: OSError, where: str, then: str = UNTOUCHED) -> StageError:
    """What a full, read-only or missing disk means for a stage.

    Args:
        error: What the system said.
        where: The stage and target.
        then: What has become of the artifacts.
    """
    fixes = {
        errno.ENOSPC: f"free some space and run the same command again; {then}",
        errno.EDQUOT: f"free some of your quota and run the same command again; {then}",
        errno.EROFS: "the file system is read-only: make it writable, or set build_dir in pyproject.toml",
        errno.EACCES: "give yourself permission to write there",
    }
    return StageError(
        "the artifacts can't be written",
        where=where,
        found=f"{error.strerror or error}: {error.filename or ''}".rstrip(": "),
        fix=fixes.get(error.errno or 0, "check the disk and run the same command again"),
    )
