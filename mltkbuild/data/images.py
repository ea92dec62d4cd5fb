"""Images from files or arrays, brought to one size and colour mode, and what is done to them on the fly."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from mltkbuild.data import array_files, image_files, pixels, user_functions
from mltkbuild.data.image_files import FIX
from mltkbuild.data.image_transform import Augmentation, ImageTransform
from mltkbuild.data.lazy import Rows
from mltkbuild.data.listing import Item
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.told import Tell, unheard
from mltkbuild.errors import DataError

SUFFIXES = (*image_files.SUFFIXES, array_files.SUFFIX)
CHANNELS = {"grayscale": 1, "rgb": 3, "rgba": 4}
_MOST_ZCA = 8192
_CHUNK = 512


@dataclass(frozen=True)
class ImagePreparation:
    """How images are prepared; a `Preparation`.

    Args:
        shape: Height, width and channels of the model's input.
        size: Height and width that images are resized to.
        mode: 'grayscale', 'rgb' or 'rgba'.
        interpolation: How they are resized; 'none' leaves them as they are.
        augmentation: The random steps.
        normalization: What is done to each image in the end.
        center, deviation, zca: Whether the training images' statistics are used.
        zca_epsilon: The epsilon of ZCA whitening.
        before: A function that gets each image once, or None.
        after: A function that gets each image whenever it is taken, or None.
        params: What these functions get first.
        workers: How many batches are made at a time; None leaves that to TensorFlow.
        known: Statistics of the training images, by name.
    """

    shape: tuple[int, int, int]
    size: tuple[int, int]
    mode: str
    interpolation: str
    augmentation: Augmentation
    normalization: Normalization
    center: bool = False
    deviation: bool = False
    zca: bool = False
    zca_epsilon: float = 1e-6
    before: user_functions.Function | None = None
    after: user_functions.Function | None = None
    params: user_functions.ParallelProcessParams = field(default_factory=user_functions.ParallelProcessParams)
    workers: int | None = None
    known: Mapping[str, np.ndarray] = field(default_factory=dict)
    ragged = False

    @property
    def form(self) -> pixels.Form:
        """What every image is brought to before anything else."""
        return pixels.Form(CHANNELS[self.mode], self.size, self.interpolation)

    def row(self, item: Item, content: Any, *, random: bool, tell: Tell = unheard) -> np.ndarray:
        """Prepare one image: an array of shape (height, width, channels), uint8 unless it was made of floats."""
        image = (
            _decoded(content, self, tell) if isinstance(content, bytes) else _as_image(np.asarray(content), self, tell)
        )
        if self.before is not None:
            given = {"class_id": item.label, "filename": item.name, "batch_index": 0}
            seed = int.from_bytes(item.name.encode("utf-8", "surrogateescape")[-4:], "big")
            image = user_functions.call_seeded(self.before, self.params, image, seed, **given)
            image = image if image.dtype == np.uint8 else image.astype(np.float32)
        if self.after is None and image.shape != self.shape:
            raise DataError(
                "an image doesn't have the shape of the model's input",
                found=f"{image.shape}, not {self.shape}",
                fix="set my_model.interpolation to 'bilinear' and target_size to the input's size, or return that "
                "shape from preprocessing_function",
            )
        if image.dtype.kind == "f" and not np.isfinite(image).all():
            raise DataError("an image holds a value that is no finite number", fix="mend or remove it")
        return image

    def statistics(self, rows: Rows) -> dict[str, np.ndarray]:
        """Mean, deviation and whitening matrix of the training images, as far as they are wanted.

        As with Keras' `ImageDataGenerator.fit`: mean and deviation of each channel, over images without random steps.
        """
        found: dict[str, np.ndarray] = {}
        if not (self.center or self.deviation or self.zca):
            return found
        count, total, squares = 0, np.zeros(self.shape[2]), np.zeros(self.shape[2])
        for part in self._plain(rows):
            count += part.shape[0] * part.shape[1] * part.shape[2]
            total += part.sum(axis=(0, 1, 2), dtype=np.float64)
            squares += np.square(part, dtype=np.float64).sum(axis=(0, 1, 2))
        mean = total / count
        if self.center or self.zca:
            found["mean"] = mean.astype(np.float32)
        if self.deviation:
            found["deviation"] = np.sqrt(np.maximum(squares / count - mean**2, 0)).astype(np.float32)
        if self.zca:
            found["whitening"] = self._whitening(rows, found)
        return found

    def _plain(self, rows: Rows) -> Any:
        """The images without random steps and without statistics, some at a time."""
        import tensorflow as tf

        transform = replace(self, known={}).transform(random=False, prepared_for_random=True)
        for place in range(0, len(rows), _CHUNK):
            part = tf.convert_to_tensor(np.ascontiguousarray(rows.data[place : place + _CHUNK]))
            zeros = tf.zeros((len(part),), tf.int64)
            yield transform.batch(part, zeros, tf.zeros((len(part), 0), tf.int32)).numpy()

    def _whitening(self, rows: Rows, found: Mapping[str, np.ndarray]) -> np.ndarray:
        size = int(np.prod(self.shape))
        if size > _MOST_ZCA:
            raise DataError(
                "ZCA whitening needs smaller images",
                found=f"{size} values, at most {_MOST_ZCA}",
                fix="make them smaller",
            )
        covariance = np.zeros((size, size))
        for part in self._plain(rows):
            flat = (part - found["mean"]) / (found["deviation"] + 1e-6 if self.deviation else 1.0)
            flat = flat.reshape(len(flat), size).astype(np.float64)
            covariance += flat.T @ flat
        values, vectors = np.linalg.eigh(covariance / len(rows))
        whitening = (vectors / np.sqrt(np.maximum(values, 0) + self.zca_epsilon)) @ vectors.T
        return np.asarray(whitening, np.float32)

    def with_statistics(self, found: Mapping[str, np.ndarray]) -> ImagePreparation:
        """The same preparation, which knows what `statistics` gave."""
        return replace(self, known=found)

    def transform(self, *, random: bool, prepared_for_random: bool) -> ImageTransform:
        """What is left to do to an image."""
        return ImageTransform(
            shape=self.shape,
            augmentation=self.augmentation if random else None,
            normalization=self.normalization,
            mean=self.known.get("mean") if self.center or self.zca else None,
            deviation=self.known.get("deviation"),
            whitening=self.known.get("whitening"),
            after=self.after,
            params=self.params,
            workers=self.workers,
        )


def _decoded(content: bytes, wanted: ImagePreparation, tell: Tell) -> np.ndarray:
    """An image file as uint8 of shape (height, width, channels)."""
    if content[:6] == array_files.MAGIC:
        return _as_image(_array_of(content), wanted, tell)
    fix = f"{FIX}, or set my_model.bad_samples = 'skip'"
    return pixels.read(content, wanted.form, fix=fix, tell=tell)


def _array_of(content: bytes) -> Any:
    try:
        return array_files.read_array(io.BytesIO(content), len(content))
    except (*array_files.UNREADABLE, MemoryError) as error:
        fix = "write it with numpy.save, without Python objects"
        raise DataError("an array can't be read", found=str(error)[:200], fix=fix) from error


def _as_image(array: np.ndarray, wanted: ImagePreparation, tell: Tell) -> np.ndarray:
    """An array of pixels in the wanted size and colour mode."""
    from PIL import Image

    channels = CHANNELS[wanted.mode]
    image = array[:, :, None] if array.ndim == 2 else array
    if image.ndim != 3 or image.shape[2] not in (1, 3, 4) or image.dtype.kind not in "buif":
        found = f"an array of shape {array.shape} and type {array.dtype}"
        raise DataError("an array is no image", found=found, fix="give (height, width) or (height, width, 1, 3 or 4)")
    if image.dtype == np.uint8:
        if image.shape[2] == channels and image.shape[:2] == wanted.size:
            return image
        picture = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        return pixels.formed(picture, wanted.form, tell)
    if image.shape[2] != channels:
        fix = f"give {channels} channels, or set my_model.input_shape"
        raise DataError("an array has another number of channels", found=str(image.shape), fix=fix)
    # Floats can't be converted between colours, and are resized channel by channel.
    planes = [Image.fromarray(image[:, :, place].astype(np.float32)) for place in range(channels)]
    return np.concatenate([pixels.resized(plane, wanted.form) for plane in planes], axis=2)
