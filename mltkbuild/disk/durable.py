"""Writing where a user says, and what a failing disk means for a stage."""

from __future__ import annotations

import errno
import os

from mltkbuild.disk.door import Door
from mltkbuild.errors import StageError

UNTOUCHED = "the old artifacts are untouched"


def write(path: str, data: bytes) -> None:
    """Write a file so that it is there as a whole or not at all, even after a power cut."""
    path = os.path.abspath(path)
    Door(os.path.dirname(path)).write(path, data)


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
