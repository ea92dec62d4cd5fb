"""The one way from an image file to pixels: upright, 8 bits by the file's true range, in one colour mode and size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data.image_files import FIX, has_more, opened
from mltkbuild.data.told import Tell, unheard
from mltkbuild.errors import DataError

MODES = {1: "L", 3: "RGB", 4: "RGBA"}
"""Pillow's name of the colour mode by the number of channels."""
BACKGROUND = (255, 255, 255, 255)
"""What is seen through transparent parts, where the model takes no fourth channel: white, as on most pages."""
OVER_WHITE = "with transparent parts; they are seen over white"
FIRST = "of several pictures each; the first was read"
_LIKE = {"P": "RGBA", "PA": "RGBA", "RGBa": "RGBA", "La": "LA", "LAB": "RGB", "HSV": "RGB"}
"""What other modes are before all: a palette may have an alpha of its own, which only this keeps apart from colours."""
_PHOTOMETRIC, _SAMPLE_FORMAT, _WHITE_IS_ZERO, _SIGNED = 262, 339, 0, 2
"""Tags and values of TIFF 6.0."""
_SIXTEEN = ("PNG", "PPM")
"""Formats whose mode I, where Pillow gives it, has 0 for black and 65535 for white."""
_SAVE = "save it with 8 or 16 bits, or as .npy"


@dataclass(frozen=True)
class Form:
    """What every image of a model is brought to.

    Args:
        channels: 1, 3 or 4.
        size: Height and width.
        interpolation: How it is resized, by Pillow's name in lower case; 'none' leaves its size.
    """

    channels: int
    size: tuple[int, int]
    interpolation: str = "bilinear"


def read(content: bytes | Path, form: Form, *, fix: str = FIX, tell: Tell = unheard) -> np.ndarray:
    """Read an image.

    Args:
        content: The file, or its bytes.
        form: What it is brought to.
        fix: What to do about a file that can't be read.
        tell: Takes what was done about transparent parts.

    Returns:
        uint8 of shape (height, width, channels), 0 black and 255 white.

    Raises:
        DataError: The file can't be read, or doesn't say what is black and what is white.
    """
    with opened(content, fix=fix) as image:
        found = formed(eight_bits(image, fix), form, tell)
        if has_more(image):
            tell(FIRST)
        return found


def formed(image: Any, form: Form, tell: Tell = unheard) -> np.ndarray:
    """Pillow's image of 8 bits as an array of shape (height, width, channels), in a model's colours and size."""
    return resized(_in_colours(image, MODES[form.channels], tell), form)


def resized(image: Any, form: Form) -> np.ndarray:
    """Pillow's image as an array of shape (height, width, channels) in another size."""
    from PIL import Image

    height, width = form.size
    if form.interpolation != "none" and image.size != (width, height):
        image = image.resize((width, height), Image.Resampling[form.interpolation.upper()])
    found = np.asarray(image)
    return found[:, :, None] if found.ndim == 2 else found


def eight_bits(image: Any, fix: str = FIX, *, upright: bool = True) -> Any:
    """An image of 8 bits by its true range; its mode is one that Pillow converts as it should.

    Args:
        image: Pillow's image, not yet loaded.
        fix: What to do about one that can't be read.
        upright: Whether it is turned as its camera was held.

    Raises:
        DataError: The file doesn't say what is black and what is white.
    """
    from PIL import ImageOps

    # Gone once it is loaded.
    raw = str(image.tile[0][3]) if image.tile else ""
    tags = getattr(image, "tag_v2", {})
    if upright:
        ImageOps.exif_transpose(image, in_place=True)
    if _SIGNED in np.atleast_1d(tags.get(_SAMPLE_FORMAT, 1)):
        raise _unknown_range("signed numbers", fix)
    if image.mode.startswith(("I", "F")):
        return _of_one_channel(image, raw, tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, fix)
    if image.mode == "RGB" and ";16" in raw and "transparency" in image.info:
        raise DataError("an image has a transparent colour of 16 bits", found="RGB", fix=f"{_SAVE}; or {fix}")
    return image.convert(_LIKE[image.mode]) if image.mode in _LIKE else image


def _of_one_channel(image: Any, raw: str, is_negative: bool, fix: str) -> Any:
    """Levels of grey from wider numbers, which Pillow would cut off at 255."""
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F":
        levels = _of_floats(values, fix)
    elif image.mode.startswith("I;16") or image.format in _SIXTEEN:
        # 12 bits, which a TIFF may have, are as wide as they are in the file.
        levels = (values.astype(np.int32).clip(0, 65535) >> (4 if "I;12" in raw else 8)).astype(np.uint8)
    else:
        raise _unknown_range("integers of 32 bits", fix)
    levels = 255 - levels if is_negative else levels
    key = image.info.get("transparency")
    return Image.fromarray(
        levels if key is None else np.dstack([levels, np.where(values == key, 0, 255)]).astype(np.uint8)
    )


def _unknown_range(found: str, fix: str) -> DataError:
    return DataError("an image doesn't say what is black and what is white", found=found, fix=f"{_SAVE}; or {fix}")


def _of_floats(values: np.ndarray, fix: str) -> np.ndarray:
    """Levels from numbers from 0 to 1; nothing says of others what they mean."""
    if not np.isfinite(values).all():
        raise DataError("an image holds a value that is no finite number", fix=fix)
    if values.min() < 0 or values.max() > 1:
        raise _unknown_range(f"floats from {values.min():g} to {values.max():g}, not from 0 to 1", fix)
    levels: np.ndarray = np.rint(values * 255).astype(np.uint8)
    return levels


def _in_colours(image: Any, mode: str, tell: Tell) -> Any:
    """An image in one colour mode; without a channel for it, what is transparent is seen over the background."""
    from PIL import Image

    if mode != "RGBA" and image.has_transparency_data:
        clear = image.convert("RGBA")
        if clear.getextrema()[3][0] < 255:
            tell(OVER_WHITE)
            image = Image.alpha_composite(Image.new("RGBA", clear.size, BACKGROUND), clear)
    return image if image.mode == mode else image.convert(mode)
