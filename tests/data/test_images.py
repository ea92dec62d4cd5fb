"""Images from files and arrays: formats, colours, sizes, and files that are none."""

from __future__ import annotations

import contextlib
import io
import resource
import subprocess
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mltkbuild.data import loading
from mltkbuild.data.image_files import opened
from mltkbuild.data.image_transform import Augmentation
from mltkbuild.data.images import ImagePreparation
from mltkbuild.data.lazy import Rows
from mltkbuild.data.listing import Item
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.told import unheard
from mltkbuild.errors import DataError, SpecError
from mltkbuild.from_mltk import media

ITEM = Item("a/ü.png", "", 2)
GREY = ImagePreparation((4, 6, 1), (4, 6), "grayscale", "bilinear", Augmentation(), Normalization())
RGB = replace(GREY, shape=(4, 6, 3), mode="rgb")


def over_white(image: Image.Image) -> Image.Image:
    """An image without the channel of its transparency."""
    if not image.has_transparency_data:
        return image
    clear = image.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", clear.size, "white"), clear)


FORMATS = (
    *("L PNG", "RGB PNG", "RGBA PNG", "P PNG", "1 PNG", "RGB BMP", "RGB PPM", "L TIFF", "CMYK TIFF", "P GIF"),
    *("RGB WEBP", "RGB JPEG", "CMYK JPEG"),
)


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def picture(mode: str, size: tuple[int, int] = (6, 4)) -> Image.Image:
    values = np.random.default_rng(1).integers(0, 256, (size[1], size[0], 4)).astype(np.uint8)
    return Image.fromarray(values).convert(mode)


@pytest.mark.parametrize(
    ("mode", "kind"),
    [tuple(pair.split()) for pair in FORMATS],
)
def test_formats_and_colours_become_what_the_model_takes(mode: str, kind: str) -> None:
    """Files of many formats and colour modes are brought to one mode, as Pillow converts them, over white."""
    options = {"lossless": True} if kind == "WEBP" else {}
    content = encoded(picture(mode), kind, **options)
    for wanted, target in ((GREY, "L"), (RGB, "RGB")):
        found = wanted.row(ITEM, content, random=True)
        image = Image.open(io.BytesIO(content))
        expected = np.asarray(over_white(image).convert(target)).reshape(wanted.shape)
        np.testing.assert_array_equal(expected, found)
        assert np.uint8 == found.dtype


def test_sixteen_bits_are_scaled_to_eight() -> None:
    """A 16-bit image loses its lower bits, not its upper ones."""
    values = (np.arange(24).reshape(4, 6) * 2700).astype(np.uint16)
    found = GREY.row(ITEM, encoded(Image.fromarray(values), "PNG"), random=False)
    np.testing.assert_array_equal(values >> 8, found[:, :, 0])


def test_camera_s_orientation_is_obeyed() -> None:
    """A picture that the camera held sideways is turned upright."""
    image = picture("L", (4, 6))
    exif = Image.Exif()
    exif[274] = 6
    found = GREY.row(ITEM, encoded(image, "PNG", exif=exif), random=True)
    np.testing.assert_array_equal(np.rot90(np.asarray(image), -1), found[:, :, 0])


def test_other_sizes_are_resized() -> None:
    """Images and arrays of any size come out in the model's; with 'none' they must have it."""
    large = picture("L", (60, 40))
    assert (4, 6, 1) == GREY.row(ITEM, encoded(large, "PNG"), random=True).shape
    assert (4, 6, 1) == GREY.row(ITEM, np.asarray(large), random=True).shape
    assert (4, 6, 3) == RGB.row(ITEM, np.zeros((40, 60, 3), np.float32), random=True).shape
    with pytest.raises(DataError, match="doesn't have the shape"):
        replace(GREY, interpolation="none").row(ITEM, encoded(large, "PNG"), random=True)


def test_arrays_keep_their_values() -> None:
    """An array of the right size is taken as it is: bytes as bytes, floats as floats."""
    values = np.random.default_rng(2).normal(size=(4, 6, 1)).astype(np.float32)
    np.testing.assert_array_equal(values, GREY.row(ITEM, values, random=True))
    file = io.BytesIO()
    np.save(file, values)
    np.testing.assert_array_equal(values, GREY.row(ITEM, file.getvalue(), random=True))


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "can't be read"),
        (b"no image at all", "can't be read"),
        (encoded(picture("RGB", (60, 40)), "PNG")[:-200], "can't be read"),
        (encoded(picture("RGB", (60, 40)), "JPEG")[:-200], "can't be read"),
        (b"\x93NUMPY\x01\x00nonsense", "can't be read"),
        (np.zeros((2, 3, 4, 5)), "is no image"),
        (np.zeros((4, 6, 3), np.float32), "another number of channels"),
        (np.full((4, 6, 1), np.nan, np.float32), "no finite number"),
    ],
)
def test_what_is_no_image_is_an_error(content: Any, text: str) -> None:
    """Empty, cut and made-up files, and arrays of the wrong shape: one error that says what."""
    with pytest.raises(DataError, match=text):
        GREY.row(ITEM, content, random=True)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 20_000])
def test_decompression_bomb_is_refused(side: int) -> None:
    """A small file with a huge picture isn't unpacked."""
    huge = encoded(Image.new("1", (side, side)), "PNG")
    assert len(huge) < 100_000
    with pytest.raises(DataError):
        GREY.row(ITEM, huge, random=True)


def no_reader_takes(path: Path, words: str) -> None:
    """Wherever a picture is read, this one is an error with its name."""
    for read in (
        lambda path, shape: loading._content(path, shape, 1.0, unheard),
        lambda path, _: media._read_image(str(path), 3),
        lambda path, _: media.load_img(path),
    ):
        with pytest.raises(DataError, match=words) as caught:
            read(path, (4, 4, 3))
        assert str(path) == caught.value.where


@pytest.mark.parametrize("kind", ["EPS", "PCX", "ICO", "TGA", "SGI", "MSP", "PALM", "DDS"])
@pytest.mark.parametrize("name", ["x.png", "x.jpg"])
def test_only_named_formats_are_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, name: str) -> None:
    """Whatever a file is called, one of another format is an error with its name, and no other program is started."""
    monkeypatch.setattr(subprocess, "Popen", None)
    path = tmp_path / name
    image = picture("1" if kind in ("MSP", "PALM") else "RGB", (32, 32))
    path.write_bytes(encoded(image, kind))
    with pytest.raises(DataError, match="can't be read") as caught, opened(path) as found:
        found.load()
    assert str(path) == caught.value.where
    no_reader_takes(path, "can't be read")
    with pytest.raises(DataError, match="can't be read"):
        RGB.row(ITEM, path.read_bytes(), random=True)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("side", [10_001, 20_000])
def test_a_bomb_is_named(tmp_path: Path, side: int) -> None:
    """A small file with a huge picture is an error with its name, wherever it is read."""
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.new("1", (side, side)), "PNG"))
    no_reader_takes(path, "too large")


@settings(deadline=None, max_examples=200, database=None)
@given(st.data())
def test_damage_is_one_error(data: st.DataObject) -> None:
    """An image file with any bytes or numbers changed is read or is one error, in less than 500 MB more."""
    kind = data.draw(st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "JPEG2000", "AVIF"]))
    options: dict[str, Any] = {"exif": b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0"}
    content = bytearray(encoded(picture("RGB"), kind, **(options if kind in ("PNG", "JPEG", "WEBP") else {})))
    word = st.sampled_from([b"\0\0\0\0", b"\xff\xff\xff\x7f", b"\0\0\x27\x10", b"\x10\x27\0\0"])
    changes = st.tuples(st.integers(0, len(content) - 4), st.one_of(st.binary(min_size=1, max_size=1), word))
    for place, found in data.draw(st.lists(changes, max_size=6)):
        content[place : place + len(found)] = found
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with contextlib.suppress(DataError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        RGB.row(ITEM, bytes(content), random=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500 << 10


def test_function_before_all_gets_name_and_class() -> None:
    """`noaug_preprocessing_function` is called once with each image; what it can't know is an error."""

    def before(params: object, x: np.ndarray, class_id: int, filename: str) -> np.ndarray:
        assert (2, "a/ü.png") == (class_id, filename)
        return 255 - x

    values = np.asarray(picture("L"))
    found = replace(GREY, before=before).row(ITEM, values, random=True)
    np.testing.assert_array_equal(255 - values, found[:, :, 0])
    with pytest.raises(SpecError, match="isn't known"):
        replace(GREY, before=lambda params, x, batch_filenames: x).row(ITEM, values, random=True)


@pytest.mark.real
def test_statistics_of_the_training_images() -> None:
    """Mean and deviation of each channel, and a whitening matrix that takes the correlation away."""
    rng = np.random.default_rng(4)
    images = (rng.normal(size=(300, 4, 6, 1)) * 20 + 100 + np.arange(6)[:, None] * 10).clip(0, 255).astype(np.uint8)
    wanted = replace(GREY, center=True, deviation=True)
    found = wanted.statistics(Rows(images))
    np.testing.assert_allclose(images.mean(axis=(0, 1, 2)), found["mean"], rtol=1e-4)
    np.testing.assert_allclose(images.std(axis=(0, 1, 2)), found["deviation"], rtol=1e-3)
    white = replace(GREY, zca=True)
    finish = white.with_statistics(white.statistics(Rows(images))).transform(random=False, prepared_for_random=True)
    out = finish.batch(tf.constant(images), tf.zeros((300,), tf.int64), tf.zeros((300, 0), tf.int32)).numpy()
    covariance = np.cov(out.reshape(300, -1).T)
    np.testing.assert_allclose(np.eye(24), covariance, atol=0.1)
    assert {} == GREY.statistics(Rows(images))
