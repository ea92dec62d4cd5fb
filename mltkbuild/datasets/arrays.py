"""Arrays in the formats of old data sets."""

from __future__ import annotations

import gzip
import pickle  # nosec B403  # _Arrays loads arrays and nothing else
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.errors import DataError

Split = tuple[tuple[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def read_idx(path: Path) -> np.ndarray:
    """Read a gzipped IDX file of bytes.

    The format is Y. LeCun's: two zeros, 8 for unsigned bytes, the number of dimensions, their sizes as 32-bit integers,
    the values.

    Raises:
        DataError: The file isn't in that format, or is cut.
    """
    try:
        with path.open("rb") as file, gzip.open(file) as unpacked:
            data = unpacked.read()
        dimensions = data[3] if data[:3] == b"\0\0\x08" else 0
        shape = np.frombuffer(data, ">i4", dimensions, 4).astype(int)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape if dimensions else (-1, -1))
    except (OSError, EOFError, ValueError, IndexError, zlib.error) as error:
        fix = "delete it, and it is downloaded again"
        raise DataError("a file is not in IDX format", where=str(path), found=str(error)[:200], fix=fix) from error


class _Arrays(pickle.Unpickler):
    """Reads pickled arrays, and runs nothing else that a pickle may ask for."""

    ALLOWED = (
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy._core.multiarray", "_reconstruct"),
        ("numpy", "ndarray"),
        ("numpy", "dtype"),
        ("_codecs", "encode"),
    )

    def find_class(self, module: str, name: str) -> Any:
        """Give NumPy's own, and refuse the rest."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f"{module}.{name} isn't allowed")
        return super().find_class(module, name)


def read_pickled(path: Path) -> dict[bytes, Any]:
    """Read a pickled dict of arrays, without running code.

    Raises:
        DataError: It is none.
    """
    try:
        with path.open("rb") as file:
            found: dict[bytes, Any] = _Arrays(file, encoding="bytes").load()
    except (pickle.UnpicklingError, EOFError, ValueError, AttributeError, IndexError) as error:
        fix = "delete it, and it is downloaded again"
        raise DataError("a file can't be read", where=str(path), found=str(error)[:200], fix=fix) from error
    return found
