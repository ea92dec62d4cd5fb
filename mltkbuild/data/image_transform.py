"""Random steps on batches of images by TensorFlow's operations, each image by its own random bits."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from mltkbuild.data import user_functions
from mltkbuild.data.lazy import unit
from mltkbuild.data.normalizing import Normalization

# Which of an image's random numbers a step takes.
(TURN, DOWN, DOWN_SIGN, ACROSS, ACROSS_SIGN, SHEAR, ZOOM_DOWN, ZOOM_ACROSS, MIRROR, TOPPLE) = range(10)
(BRIGHT, CONTRAST, CHANNEL, KIND, NOISE_A, NOISE_B, CALL) = range(10, 17)
DRAWS = 17
GAUSS, SPECKLE = 0.1, 0.1
"""Standard deviations, of values from 0 to 1."""
SALT_AND_PEPPER = 0.004
"""The part of the values that become black or white; MLTK's amount."""
_TINY = 1e-6


@dataclass(frozen=True)
class Augmentation:
    """The random steps, which `ParallelImageDataGenerator` explains; the defaults do nothing."""

    rotation: float = 0.0
    width_shift: float | tuple[int, ...] = 0.0
    height_shift: float | tuple[int, ...] = 0.0
    shear: float = 0.0
    zoom: tuple[float, float] = (1.0, 1.0)
    fill_mode: str = "nearest"
    cval: float = 0.0
    order: int = 1
    horizontal_flip: bool = False
    vertical_flip: bool = False
    brightness: tuple[float, float] | None = None
    contrast: tuple[float, float] | None = None
    channel_shift: float = 0.0
    noise: tuple[str, ...] = ()

    @property
    def moves(self) -> bool:
        """Whether pixels change their places."""
        shifts = any(shift != 0.0 for shift in (self.width_shift, self.height_shift))
        return shifts or bool(self.rotation or self.shear or self.horizontal_flip or self.vertical_flip) or self.zooms

    @property
    def zooms(self) -> bool:
        """Whether images are zoomed."""
        return self.zoom != (1.0, 1.0)


@dataclass(frozen=True)
class ImageTransform:
    """What turns prepared images into what the model sees; a `Transform`.

    Args:
        shape: Height, width and channels.
        augmentation: The random steps; None for none.
        normalization: What is done to each image in the end.
        mean, deviation, whitening: Of the training images, or None.
        after: A function of the spec, or None.
        params: Its first argument.
        workers: How many batches are made at a time; None leaves that to TensorFlow.
    """

    shape: tuple[int, ...]
    augmentation: Augmentation | None
    normalization: Normalization
    mean: np.ndarray | None
    deviation: np.ndarray | None
    whitening: np.ndarray | None
    after: user_functions.Function | None
    params: user_functions.ParallelProcessParams
    workers: int | None

    @property
    def draws(self) -> int:
        """How many random numbers an image takes."""
        return 0 if self.augmentation is None else DRAWS

    def batch(self, rows: Any, labels: Any, draws: Any) -> Any:
        """Finish a batch of images."""
        import tensorflow as tf

        top = 255.0 if rows.dtype == tf.uint8 else None
        x = tf.cast(rows, tf.float32)
        if self.augmentation is not None:
            x = augmented(x, draws, self.augmentation, top)
        if self.after is not None:
            seeds = draws[:, CALL] if self.draws else tf.cast(labels, tf.int32)
            x = user_functions.in_graph(self.after, self.params, x, labels, seeds, self.shape)
        x = self.normalization.apply(x)
        if self.mean is not None:
            x -= self.mean
        if self.deviation is not None:
            x /= self.deviation + _TINY
        if self.whitening is not None:
            size = self.whitening.shape[0]
            x = tf.reshape(tf.reshape(x, (-1, size)) @ self.whitening, (-1, *self.shape))
        return x


def augmented(x: Any, draws: Any, how: Augmentation, top: float | None) -> Any:
    """Take the random steps.

    Args:
        x: A float32 tensor of shape (n, height, width, channels).
        draws: An int32 tensor of shape (n, DRAWS): random bits.
        how: The steps.
        top: The greatest value that a pixel can have, 255 for images of 8 bits; None for no limit.
    """
    drawn = unit(draws)
    if how.moves:
        x = moved(x, drawn, how)
    x = _shifted_in_channels(x, drawn, how)
    if how.brightness is not None:
        x = _clipped(x * _between(drawn[:, BRIGHT], *how.brightness), top)
    if how.contrast is not None:
        x = _clipped(_contrasted(x, _between(drawn[:, CONTRAST], *how.contrast)), top)
    if how.noise:
        x = _clipped(_noisy(x, drawn, draws, how.noise, top or 1.0), top)
    return x


def _between(part: Any, low: float, high: float) -> Any:
    """Numbers from 0 to 1 brought to a range, one an image."""
    return (low + part * (high - low))[:, None, None, None]


def _clipped(x: Any, top: float | None) -> Any:
    import tensorflow as tf

    return x if top is None else tf.clip_by_value(x, 0.0, top)


def _shifted_in_channels(x: Any, drawn: Any, how: Augmentation) -> Any:
    """Add the same to all values of an image, and keep within the range that it had."""
    import tensorflow as tf

    if not how.channel_shift:
        return x
    least, most = (reduce(x, (1, 2, 3), keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    return tf.clip_by_value(x + _between(drawn[:, CHANNEL], -how.channel_shift, how.channel_shift), least, most)


def _contrasted(x: Any, factor: Any) -> Any:
    """Spread values around the image's mean grey, in which colours weigh as ITU-R BT.601 says."""
    import tensorflow as tf

    channels = x.shape[3]
    weights = [0.299, 0.587, 0.114] if channels >= 3 else [1.0]
    grey = tf.reduce_sum(x[..., : len(weights)] * tf.constant(weights), axis=3, keepdims=True)
    middle = tf.reduce_mean(grey, (1, 2), keepdims=True)
    return middle + (x - middle) * factor


# -- places ----------------------------------------------------------------------------------------------------------


def moved(x: Any, drawn: Any, how: Augmentation) -> Any:
    """Rotate, shift, shear, zoom and flip, all in one step so that pixels are mixed once.

    The matrices and their order are those of Keras' `ImageDataGenerator`: rotation, shift, shear, zoom, around the
    image's middle; then the flips. A matrix takes a place in the result, across and down, to the place in the image
    that it shows. (Keras takes the shift down for that across; here each goes where its name says.)

    Args:
        x: A float32 tensor of shape (n, height, width, channels).
        drawn: A float32 tensor of shape (n, DRAWS), from 0 to 1.
        how: The steps.
    """
    import tensorflow as tf

    height, width = x.shape[1], x.shape[2]
    topple, mirror = _choose(drawn[:, TOPPLE], how.vertical_flip), _choose(drawn[:, MIRROR], how.horizontal_flip)
    matrix = _keras_matrix(drawn, how, height, width) @ _flip_matrix(topple, mirror, height, width)
    across, down = matrix[:, 0], matrix[:, 1]
    zeros = tf.zeros_like(across[:, 0])
    columns = [*(across[:, place] for place in range(3)), *(down[:, place] for place in range(3)), zeros, zeros]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=x,
        transforms=tf.stack(columns, axis=1),
        output_shape=(height, width),
        interpolation="BILINEAR" if how.order else "NEAREST",
        fill_mode=how.fill_mode.upper(),
        fill_value=how.cval,
    )


def _choose(part: Any, wanted: bool) -> Any:
    """1 for the half of the images that are flipped, else 0."""
    import tensorflow as tf

    return tf.cast(part < 0.5, tf.float32) if wanted else tf.zeros_like(part)


def _keras_matrix(drawn: Any, how: Augmentation, height: int, width: int) -> Any:
    import tensorflow as tf

    def centred(part: Any, reach: float) -> Any:
        return (2.0 * part - 1.0) * reach

    one, zero = tf.ones_like(drawn[:, 0]), tf.zeros_like(drawn[:, 0])
    turn = centred(drawn[:, TURN], math.radians(how.rotation))
    shear = centred(drawn[:, SHEAR], math.radians(how.shear))
    low, high = how.zoom
    down, across = (low + drawn[:, place] * (high - low) for place in (ZOOM_DOWN, ZOOM_ACROSS))
    shift_down = _shift(drawn[:, DOWN], drawn[:, DOWN_SIGN], how.height_shift, height)
    shift_across = _shift(drawn[:, ACROSS], drawn[:, ACROSS_SIGN], how.width_shift, width)
    middle_down, middle_across = height / 2 - 0.5, width / 2 - 0.5
    steps = (
        [[one, zero, one * middle_across], [zero, one, one * middle_down], [zero, zero, one]],
        [[tf.cos(turn), -tf.sin(turn), zero], [tf.sin(turn), tf.cos(turn), zero], [zero, zero, one]],
        [[one, zero, shift_across], [zero, one, shift_down], [zero, zero, one]],
        [[one, -tf.sin(shear), zero], [zero, tf.cos(shear), zero], [zero, zero, one]],
        [[across, zero, zero], [zero, down, zero], [zero, zero, one]],
        [[one, zero, -one * middle_across], [zero, one, -one * middle_down], [zero, zero, one]],
    )
    matrices = [tf.stack([tf.stack(row, axis=1) for row in step], axis=1) for step in steps]
    matrix = matrices[0]
    for step in matrices[1:]:
        matrix @= step
    return matrix


def _shift(part: Any, sign: Any, reach: float | tuple[int, ...], size: int) -> Any:
    """How many pixels an image is shifted: up to a part of its size or a number of pixels, or one of some numbers."""
    import tensorflow as tf

    if isinstance(reach, tuple):
        picked = tf.gather(tf.constant(reach, tf.float32), tf.cast(part * len(reach), tf.int32))
        return tf.where(sign < 0.5, picked, -picked)
    pixels = reach * size if reach < 1 else reach
    return (2.0 * part - 1.0) * pixels


def _flip_matrix(topple: Any, mirror: Any, height: int, width: int) -> Any:
    import tensorflow as tf

    one, zero = tf.ones_like(topple), tf.zeros_like(topple)
    rows = (
        [1.0 - 2.0 * mirror, zero, mirror * (width - 1.0)],
        [zero, 1.0 - 2.0 * topple, topple * (height - 1.0)],
        [zero, zero, one],
    )
    return tf.stack([tf.stack(row, axis=1) for row in rows], axis=1)


# -- noise -----------------------------------------------------------------------------------------------------------


def _noisy(x: Any, drawn: Any, draws: Any, kinds: tuple[str, ...], top: float) -> Any:
    """Add to each image noise of a kind that is drawn for it; the images' values count as going from 0 to `top`."""
    import tensorflow as tf

    kind = tf.cast(drawn[:, KIND] * len(kinds), tf.int32)

    def one(parts: Any) -> Any:
        image, chosen, seed = parts
        branches = [lambda name=name: _with_noise(image / top, name, seed) * top for name in kinds]
        return branches[0]() if len(branches) == 1 else tf.switch_case(chosen, branches)

    seeds = draws[:, NOISE_A : NOISE_B + 1]
    found = tf.map_fn(one, (x, kind, seeds), fn_output_signature=tf.TensorSpec(x.shape[1:], tf.float32))
    return tf.ensure_shape(found, (None, *x.shape[1:]))


def _with_noise(image: Any, kind: str, seed: Any) -> Any:
    import tensorflow as tf

    shape = tf.shape(image)
    if kind == "s&p":
        level = tf.random.stateless_uniform(shape, seed)
        salted = tf.where(level > 1.0 - SALT_AND_PEPPER / 2, 1.0, image)
        return tf.where(level < SALT_AND_PEPPER / 2, 0.0, salted)
    if kind == "poisson":
        # So many photons as an 8-bit image has levels.
        rate = tf.maximum(image, 0.0) * 255.0
        return tf.random.stateless_poisson(shape, seed, lam=rate, dtype=tf.float32) / 255.0
    noise = tf.random.stateless_normal(shape, seed)
    return image + GAUSS * noise if kind == "gauss" else image * (1.0 + SPECKLE * noise)
