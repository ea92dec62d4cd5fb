"""Opens image files that anybody may have made: named formats alone, none too large, and no other program's help."""

from __future__ import annotations

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltkbuild.errors import DataError

FORMATS = ("PNG", "JPEG", "BMP", "DIB", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF")
"""Those of Pillow's that are opened. For some of its others, whatever a file is called, it starts Ghostscript."""
SUFFIXES = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".mpo", ".bmp", ".dib", ".gif"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tif", ".tiff", ".webp"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".avif", ".avifs"),
)
"""How names of files in these formats end, wherever a folder of images is read; phones call some JPEGs `.mpo`."""
MOST_PIXELS = 100_000_000
"""An image with more pixels is taken for a decompression bomb."""
_FEW_PIXELS, _PER_BYTE, _ROW = 16_000_000, 4000, 8
"""A larger image has a byte for each so many pixels, as even an empty page has; a damaged header claims more.
A row takes the memory of some pixels itself."""
_DAMAGE = (
    *(OSError, ValueError, SyntaxError, EOFError, ArithmeticError, MemoryError, RuntimeError, zlib.error),
    *(struct.error, LookupError, TypeError, AttributeError, AssertionError),
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
        with Image.open(io.BytesIO(data), formats=known_formats()) as image:
            _check_size(image, len(data), fix)
            yield image
    except DataError as error:
        raise (error if where is None else error.at(str(where))) from error.__cause__
    except UnidentifiedImageError as error:
        found = f"none of the formats {', '.join(known_formats())}"
        raise DataError("an image can't be read", where=where, found=found, fix=fix) from error
    except Image.DecompressionBombError as error:
        raise DataError("an image is too large", where=where, found=str(error)[:200], fix=fix) from error
    except _DAMAGE as error:
        found = str(error)[:200] or type(error).__name__
        raise DataError("an image can't be read", where=where, found=found, fix=fix) from error


def _check_size(image: Any, held: int, fix: str) -> None:
    """Refuse an image that claims more pixels than there can be, or than its parts fill."""
    found = f"{image.width} x {image.height} pixels in {held:,} bytes"
    claimed = (image.width + _ROW) * image.height
    if image.width * image.height > MOST_PIXELS or claimed > max(_FEW_PIXELS, _PER_BYTE * held):
        raise DataError("an image is too large", found=found, fix=fix)
    if image.format == "TIFF" and image.tile:
        width, height = (max(part[1][place] for part in image.tile) for place in (2, 3))
        if width * height < image.width * image.height:
            raise DataError("an image claims more than it has", found=f"{found}; {width} x {height} are there", fix=fix)


@functools.cache
def known_formats() -> tuple[str, ...]:
    """The formats that this Pillow has; one before 11.3 lacks AVIF."""
    from PIL import Image

    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def has_more(image: Any) -> bool:
    """Whether a file has more pictures than the first, such as pages or frames; asked when that one was read.

    A phone's JPEG that has a second one keeps the same picture smaller, or its depth: that is no more.
    """
    try:
        return image.format != "MPO" and bool(getattr(image, "is_animated", False))
    except _DAMAGE:
        return False
