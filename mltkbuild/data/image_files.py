"""Opens image files that anybody may have made: named formats alone, none too large, and no other program's help."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltkbuild.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")
"""Those of Pillow's that are opened. For some of its others, whatever a file is called, it starts Ghostscript."""
MOST_PIXELS = 100_000_000
"""An image with more pixels is taken for a decompression bomb."""
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, OverflowError, MemoryError),
    *(struct.error, KeyError, IndexError, TypeError),
)
"""What Pillow raises of damaged files, those of their orientation too."""
FIX = "replace this file, or take it out of the data set"


@contextmanager
def opened(content: bytes | Path, *, fix: str = FIX) -> Iterator[Any]:
    """Open an image file; whatever is wrong with it, inside the block too, is one error.

    Args:
        content: The file, or its bytes.
        fix: What to do about it.

    Yields:
        Pillow's image.

    Raises:
        DataError: It is too large, damaged, or of another format; the place is the file, where that is known.
    """
    from PIL import Image, UnidentifiedImageError

    where = content if isinstance(content, Path) else None
    try:
        data = content.read_bytes() if isinstance(content, Path) else content
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > MOST_PIXELS:
                found = f"{image.width} x {image.height} pixels"
                raise DataError("an image is too large", where=where, found=found, fix=fix)
            yield image
    except UnidentifiedImageError as error:
        found = f"none of the formats {', '.join(FORMATS)}"
        raise DataError("an image can't be read", where=where, found=found, fix=fix) from error
    except Image.DecompressionBombError as error:
        raise DataError("an image is too large", where=where, found=str(error)[:200], fix=fix) from error
    except _DAMAGE as error:
        found = str(error)[:200] or type(error).__name__
        raise DataError("an image can't be read", where=where, found=found, fix=fix) from error
