"""Samples of folders that no spec describes, and of a `DatasetMixin`'s folder: the pixels that the image mixin sees."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mltkbuild.data.image_transform import Augmentation
from mltkbuild.data.images import ImagePreparation
from mltkbuild.data.listing import Item
from mltkbuild.data.loading import Loaded, load, load_classes
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.told import Told
from mltkbuild.errors import DataError

SHAPE = (8, 8, 1)
RNG = np.random.default_rng(7)


def picture(path: Path, kind: str = "PNG", level: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(level, level + 56, (8, 8)).astype(np.uint8)).save(path, kind)
    return path


def odd_pictures(folder: Path) -> Path:
    """Pictures of every kind that is easily read wrong, in two classes."""
    for label in ("a", "b"):
        wide = RNG.integers(0, 65536, (8, 8)).astype(np.uint16)
        exif = Image.Exif()
        exif[274] = 6
        (folder / label / "more").mkdir(parents=True)
        Image.fromarray(wide).save(folder / label / "wide.png")
        Image.fromarray((wide >> 8).astype(np.uint8)).save(folder / label / "camera.jfif", "JPEG", exif=exif)
        colours = Image.fromarray(RNG.integers(0, 256, (20, 12, 4)).astype(np.uint8))
        colours.save(folder / label / "more" / "clear.webp", lossless=True)
        colours.convert("CMYK").save(folder / label / "print.TIF", "TIFF")
        colours.convert("P").save(folder / label / "palette.gif")
        colours.convert("RGB").save(
            folder / label / "phone.mpo", "MPO", save_all=True, append_images=[colours.convert("RGB")]
        )
        Image.fromarray((wide / 65535).astype(np.float32)).save(folder / label / "float.tiff")
    return folder


def loaded(folder: Path) -> Loaded:
    return load(folder, ["x"], [SHAPE])


@pytest.mark.parametrize(("channels", "mode"), [(1, "grayscale"), (3, "rgb"), (4, "rgba")])
def test_every_reader_sees_the_same_pixels(tmp_path: Path, channels: int, mode: str) -> None:
    """The image mixin, the folder of a `DatasetMixin` and `--data` read one folder alike."""
    folder = odd_pictures(tmp_path)
    shape = (8, 8, channels)
    from_data = load(folder, ["x"], [shape])
    from_spec = load_classes(str(folder), ["a", "b"], shape, validation=0.0, told=Told())["training"]
    wanted = ImagePreparation(shape, (8, 8), mode, "bilinear", Augmentation(), Normalization())
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    rows = [wanted.row(Item(name, "", 0), (folder / name).read_bytes(), random=True) for name in names]
    expected = np.stack(rows).astype(np.float32) * np.float32(1 / 255)
    np.testing.assert_array_equal(expected, from_spec[0])
    np.testing.assert_array_equal(expected, from_data.inputs[0])
    assert from_data.y is not None
    np.testing.assert_array_equal(from_spec[1], from_data.y)


def test_hidden_and_other_files_are_passed_over(tmp_path: Path) -> None:
    """What tools leave behind is no class and no sample; other files are counted, and so are links to nowhere."""
    for name in ("a/1.png", "b/deep/2.png", ".ipynb_checkpoints/1-checkpoint.png", "a/.ipynb_checkpoints/x.png"):
        picture(tmp_path / name)
    for name in ("a/._1.png", "b/.DS_Store", "b/notes.txt", "b/new.heic", "b/old.HEIC", "empty/readme.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"no picture")
    os.symlink(tmp_path / "gone.png", tmp_path / "a/gone.png")
    picture(tmp_path / "beside.png")
    found = loaded(tmp_path)
    assert (("a", "b"), [0, 1]) == (found.classes, list(found.y if found.y is not None else ()))
    assert ("6 files passed over: 2 .heic, 1 (beside the classes), 1 (broken link), 1 .md, 1 .txt",) == found.told


def test_folder_without_classes_is_read_and_told(tmp_path: Path) -> None:
    """A folder of images alone has no classes; what else lies there is told."""
    picture(tmp_path / "1.JPE", "JPEG")
    (tmp_path / "labels.csv").write_text("1.JPE,cat\n")
    found = loaded(tmp_path)
    assert (1, None, ("1 file passed over: 1 .csv",)) == (len(found.inputs[0]), found.y, found.told)


def test_folder_of_other_files_says_what_it_has(tmp_path: Path) -> None:
    """Where nothing is a sample the error says what lies there."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/1.heic").write_bytes(b"")
    with pytest.raises(DataError, match="the folder has no samples") as caught:
        loaded(tmp_path)
    assert "1 file passed over: 1 .heic" in str(caught.value.found)


def test_arrays_and_transparency(tmp_path: Path) -> None:
    """Arrays are taken in any spelling of their suffix; what is seen over white is named."""
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a/1.npy", np.full(SHAPE, 0.5, np.float32))
    os.rename(tmp_path / "a/1.npy", tmp_path / "a/1.NPY")
    Image.new("LA", (8, 8), (0, 0)).save(tmp_path / "a/2.png")
    found = loaded(tmp_path)
    np.testing.assert_array_equal([0.5, 1.0], found.inputs[0][:, 0, 0, 0])
    assert ("1 sample with transparent parts; they are seen over white: a/2.png",) == found.told


@pytest.mark.parametrize("content", [b"", b"P5\n8 nonsense", b"\x89PNG\r\n\x1a\n"])
def test_damaged_file_is_named(tmp_path: Path, content: bytes) -> None:
    """An image that can't be read is an error with its name."""
    (tmp_path / "a").mkdir()
    (tmp_path / "a/bad.pgm").write_bytes(content)
    with pytest.raises(DataError, match="an image can't be read") as caught:
        loaded(tmp_path)
    assert str(tmp_path / "a/bad.pgm") == caught.value.where
