"""`.npy` and `.npz` files: what they claim is compared with what they hold before any of it is read."""

from __future__ import annotations

import math
import os
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np

SUFFIX, MAGIC = ".npy", b"\x93NUMPY"
"""How the name of an array's file ends, and how the file begins."""
UNREADABLE = (OSError, ValueError, EOFError, TypeError, SyntaxError, NotImplementedError, zipfile.BadZipFile)
"""What NumPy raises on a file that is no array, or a damaged one."""
_MOST_MEMBERS = 10_000
_EXPANSION = 100
_LARGE = 256 << 20


def read_array(file: IO[bytes], size: int) -> np.ndarray:
    """Read a `.npy` file.

    Args:
        file: The file, at its beginning.
        size: How many bytes it has.

    Raises:
        ValueError: It claims more than it has, or holds Python objects; like all of `UNREADABLE`, for other damage.
    """
    version = np.lib.format.read_magic(file)
    shape, _, dtype = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else _header(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    claimed, held = math.prod(shape) * dtype.itemsize, size - file.tell()
    if claimed > held:
        raise ValueError(f"it claims {claimed} bytes and holds {held}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """The header of format 2; that of 3 differs in how it spells the names of fields alone."""
    return np.lib.format.read_array_header_2_0(file)


def read_file(path: Path) -> np.ndarray:
    """Read a `.npy` file; raises what `read_array` does."""
    with path.open("rb") as file:
        return read_array(file, os.path.getsize(path))


def read_archive(path: Path) -> dict[str, np.ndarray]:
    """Read a `.npz` file; raises what `read_array` does.

    A member that is compressed to less than a hundredth and large is refused: arrays of real samples aren't so empty.
    """
    with zipfile.ZipFile(path) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        if len(members) > _MOST_MEMBERS:
            raise ValueError(f"it has {len(members)} arrays, more than {_MOST_MEMBERS}")
        claimed, held = sum(member.file_size for member in members), os.path.getsize(path)
        if claimed > max(_LARGE, _EXPANSION * held):
            raise ValueError(f"its {held} bytes unfold to {claimed}")
        found = {}
        for member in members:
            with archive.open(member) as file:
                found[member.filename.removesuffix(".npy")] = read_array(file, member.file_size)
        return found
