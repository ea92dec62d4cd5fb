"""From image files to pixels: every mode by its true range, or refused by name."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mltkbuild.data.pixels import FIRST, OVER_WHITE, Form, read
from mltkbuild.errors import DataError

GREY, COLOUR, CLEAR = Form(1, (2, 2)), Form(3, (2, 2)), Form(4, (2, 2))
LEVELS = np.array([[0, 64], [128, 255]], np.uint8)


def encoded(values: np.ndarray | Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image = values if isinstance(values, Image.Image) else Image.fromarray(values)
    image.save(file, kind, **options)
    return file.getvalue()


def tiff(values: np.ndarray | Image.Image, **tags: int) -> bytes:
    """A TIFF whose tags say what they are told to say."""
    content = bytearray(encoded(values, "TIFF"))
    for name, value in tags.items():
        number = {"height": 257, "bits": 258, "photometric": 262, "extra": 338}[name]
        kind = b"\x04" if name == "height" else b"\x03"
        place = content.index(number.to_bytes(2, "little") + kind + b"\x00\x01\x00\x00\x00", 4)
        content[place + 8 : place + 10] = value.to_bytes(2, "little")
    return bytes(content)


WIDE = LEVELS.astype(np.uint16) * 257
RIGHT = {
    "16 bits, PNG": encoded(WIDE, "PNG"),
    "16 bits, TIFF": encoded(WIDE, "TIFF"),
    "16 bits, big-endian TIFF": encoded(Image.frombytes("I;16B", (2, 2), WIDE.byteswap().tobytes()), "TIFF"),
    "16 bits, PGM": encoded(WIDE, "PPM"),
    "16 bits, JPEG 2000": encoded(WIDE, "JPEG2000"),
    "10 bits, PGM": b"P2 2 2 1023\n0 257\n514 1023\n",
    "2 bits, PGM": b"P2 2 2 255\n0 64\n128 255\n",
    "floats, TIFF": encoded(LEVELS.astype(np.float32) / 255, "TIFF"),
    "floats, PFM": encoded(LEVELS.astype(np.float32) / 255, "PPM"),
    "white is zero, 8 bits": tiff(255 - LEVELS, photometric=0),
    "white is zero, 16 bits": tiff(65535 - WIDE, photometric=0),
    "white is zero, floats": tiff(1 - LEVELS.astype(np.float32) / 255, photometric=0),
    "palette": encoded(Image.fromarray(LEVELS).convert("P"), "PNG"),
    "opaque LA": encoded(Image.fromarray(LEVELS).convert("LA"), "PNG"),
    "opaque PA": encoded(Image.fromarray(LEVELS).convert("LA").convert("PA"), "TIFF"),
    "AVIF": encoded(Image.fromarray(LEVELS).convert("RGB"), "AVIF", quality=100, subsampling="4:4:4"),
    "CMYK": encoded(Image.fromarray(LEVELS).convert("RGB").convert("CMYK"), "TIFF"),
    "YCbCr": encoded(Image.fromarray(LEVELS).convert("RGB").convert("YCbCr"), "TIFF"),
    "PNG of two bits with a colour that is clear, but isn't there": encoded(LEVELS, "PNG", transparency=7),
}


@pytest.mark.parametrize("content", RIGHT.values(), ids=RIGHT)
def test_same_picture_has_the_same_pixels(content: bytes) -> None:
    """Whatever numbers a file keeps its levels in, they come out from 0 for black to 255 for white."""
    said: list[str] = []
    for form in (GREY, COLOUR, CLEAR):
        found = read(content, form, tell=said.append).astype(int)
        assert (2, 2, form.channels) == found.shape
        np.testing.assert_allclose(np.dstack([LEVELS] * min(form.channels, 3)), found[:, :, :3], atol=2)
        np.testing.assert_array_equal(255, found[:, :, 3:])
    assert [] == said


def test_twelve_bits_are_as_wide_as_they_are() -> None:
    """A TIFF of 12 bits has its white at 4095."""
    values = LEVELS.astype(int) * 4095 // 255
    packed = b"".join(bytes([a >> 4, (a & 15) << 4 | b >> 8, b & 255]) for a, b in values.tolist())
    content = bytearray(tiff(WIDE, bits=12))
    strip = content.index(WIDE.tobytes())
    content[strip : strip + 8] = packed.ljust(8, b"\0")
    np.testing.assert_allclose(LEVELS[:, :, None], read(bytes(content), GREY).astype(int), atol=1)


SEEN = {
    "RGBA": encoded(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), "PNG"),
    "LA": encoded(Image.new("LA", (2, 2), (9, 0)), "PNG"),
    "La": tiff(Image.new("LA", (2, 2), (0, 0)), extra=1),
    "palette": encoded(Image.new("P", (2, 2), 3), "GIF", transparency=3),
    "palette of a PNG": encoded(Image.new("P", (2, 2), 0), "PNG", transparency=0),
    "a colour": encoded(Image.new("RGB", (2, 2), (1, 2, 3)), "PNG", transparency=(1, 2, 3)),
    "a level": encoded(Image.new("L", (2, 2), 5), "PNG", transparency=5),
    "a level of 16 bits": encoded(Image.fromarray(np.full((2, 2), 515, np.uint16)), "PNG", transparency=515),
}


@pytest.mark.parametrize("content", SEEN.values(), ids=SEEN)
def test_what_is_clear_shows_white(content: bytes) -> None:
    """Transparent parts are seen over white, which is told; a model with a fourth channel gets it instead."""
    for form in (GREY, COLOUR):
        said: list[str] = []
        np.testing.assert_array_equal(255, read(content, form, tell=said.append))
        assert [OVER_WHITE] == said
    said = []
    np.testing.assert_array_equal(0, read(content, CLEAR, tell=said.append)[:, :, 3])
    assert [] == said


def test_half_clear_is_half_seen() -> None:
    """What shows through counts as much as it shows."""
    content = encoded(Image.new("RGBA", (2, 2), (0, 100, 255, 128)), "PNG")
    np.testing.assert_allclose(np.array([127, 177, 255]), read(content, COLOUR)[0, 0].astype(int), atol=1)


@pytest.mark.parametrize("kind", ["GIF", "TIFF", "PNG", "WEBP", "AVIF", "MPO"])
def test_first_of_several_pictures_is_read(kind: str) -> None:
    """Of pages and frames the first is read as if it were alone, which is told; a phone's second picture is none."""
    one, other = (Image.fromarray(np.full((2, 2), level, np.uint8)) for level in (50, 200))
    options = {"lossless": True} if kind == "WEBP" else {}
    said: list[str] = []
    content = encoded(one, kind, save_all=True, append_images=[other], **options)
    np.testing.assert_allclose(50, read(content, GREY, tell=said.append).astype(int), atol=2)
    assert ([] if kind == "MPO" else [FIRST]) == said


REFUSED = {
    "signed 16 bits": encoded(Image.fromarray(LEVELS.astype(np.int32)), "TIFF"),
    "floats above one": encoded(LEVELS.astype(np.float32), "TIFF"),
    "floats below zero": encoded(-LEVELS.astype(np.float32) / 255, "PPM"),
    "no numbers": encoded(np.full((2, 2), np.nan, np.float32), "TIFF"),
}


@pytest.mark.parametrize("content", REFUSED.values(), ids=REFUSED)
def test_range_that_nobody_knows_is_refused(tmp_path: Path, content: bytes) -> None:
    """Numbers of which nothing says what is white are an error with the file's name, not a black picture."""
    path = tmp_path / "odd.tif"
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"what is black|no finite number") as caught:
        read(path, GREY)
    assert str(path) == caught.value.where


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_header_that_claims_more_than_its_file_can_hold_is_refused() -> None:
    """A few bytes that claim millions of pixels reserve none of them."""
    with pytest.raises(DataError, match="too large"):
        read(b"P5 9999 9999 255\n" + bytes(1000), GREY)
    with pytest.raises(DataError, match="too large"):
        read(b"P5 1 5000000 255\n" + bytes(1000), GREY)
    with pytest.raises(DataError, match="claims more than it has"):
        read(tiff(LEVELS, height=1000), GREY)
    with pytest.raises(DataError, match="can't be read"):
        read(b"P5 400 400 255\n" + bytes(1000), GREY)


@settings(deadline=None, max_examples=100, database=None)
@given(
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from(["1", "L", "LA", "P", "PA", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F"]),
    st.sampled_from(["PNG", "TIFF", "GIF", "WEBP", "PPM", "BMP", "JPEG2000"]),
    st.integers(0, 255),
)
def test_plain_grey_stays_that_grey(width: int, height: int, mode: str, kind: str, level: int) -> None:
    """A picture of one level is that level in every mode and format that can hold it, and in every size."""
    level = 255 * (level > 127) if mode == "1" else level
    grey = Image.fromarray(np.full((height, width), level, np.uint8))
    if mode == "I;16":
        image = Image.fromarray(np.full((height, width), level * 257, np.uint16))
    elif mode == "F":
        image = Image.fromarray(np.full((height, width), level / 255, np.float32))
    else:
        image = (
            grey.convert("LA") if mode == "PA" else grey.convert("RGB") if mode in ("CMYK", "YCbCr") else grey
        ).convert(mode)
    try:
        content = encoded(image, kind, **({"lossless": True} if kind == "WEBP" else {}))
    except (OSError, ValueError, KeyError):
        return
    if (mode, kind) in {("F", "GIF"), ("F", "WEBP"), ("I;16", "GIF"), ("I;16", "WEBP")}:
        return  # Pillow writes these cut off at 255
    for form in (GREY, COLOUR, CLEAR):
        assert abs(read(content, form)[:, :, :3].astype(int) - level).max() <= 1
