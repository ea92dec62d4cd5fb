"""Random steps on images: each does what it says, and what it does depends on the image's own draws alone."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from keras.src.legacy.preprocessing.image import apply_affine_transform, apply_channel_shift

from mltkbuild.data import image_transform as steps
from mltkbuild.data.image_transform import Augmentation, ImageTransform
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.user_functions import ParallelProcessParams

pytestmark = pytest.mark.real

ALL = Augmentation(
    rotation=20.0,
    width_shift=0.2,
    height_shift=(1, 2),
    shear=10.0,
    zoom=(0.8, 1.2),
    horizontal_flip=True,
    vertical_flip=True,
    brightness=(0.5, 1.5),
    contrast=(0.5, 1.5),
    channel_shift=20.0,
    noise=("gauss", "poisson", "s&p", "speckle"),
)


def smooth(count: int = 1, size: int = 24, channels: int = 1, *, seed: int = 0) -> np.ndarray:
    """Images whose values change slowly from pixel to pixel, float32 from 0 to 255."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(0, 255, (count, 4, 4, channels)).astype(np.float32)
    return np.asarray(tf.image.resize(coarse, (size, size), "bicubic").numpy().clip(0, 255))


def parts(count: int, **values: float) -> np.ndarray:
    """Numbers from 0 to 1 for each step: 0.5, which is the middle, but for those given by name."""
    found = np.full((count, steps.DRAWS), 0.5, np.float32)
    for name, value in values.items():
        found[:, getattr(steps, name)] = value
    return found


def moved(images: np.ndarray, how: Augmentation, **values: float) -> Any:
    return steps.moved(tf.constant(images), tf.constant(parts(len(images), **values)), how).numpy()


def draws(count: int, seed: int) -> Any:
    bits = np.random.default_rng(seed).integers(-(2**31), 2**31, (count, steps.DRAWS))
    return tf.constant(bits.astype(np.int32))


def transform(how: Augmentation | None, **changes: Any) -> ImageTransform:
    plain: dict[str, Any] = {
        "shape": (24, 24, 1),
        "normalization": Normalization(),
        "mean": None,
        "deviation": None,
        "whitening": None,
        "after": None,
        "params": ParallelProcessParams(),
        "workers": None,
    }
    return ImageTransform(augmentation=how, **{**plain, **changes})


# -- places ----------------------------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")  # Keras' old code reaches for SciPy's old names
@pytest.mark.parametrize(
    ("how", "draw", "keras_settings"),
    [
        (Augmentation(rotation=30.0), {"TURN": 0.8}, {"theta": 18.0}),
        (Augmentation(height_shift=0.25), {"DOWN": 0.9}, {"ty": 0.8 * 0.25 * 24}),
        (Augmentation(width_shift=5.0), {"ACROSS": 0.1}, {"tx": -4.0}),
        (Augmentation(shear=20.0), {"SHEAR": 0.75}, {"shear": 10.0}),
        (Augmentation(zoom=(0.5, 1.5)), {"ZOOM_DOWN": 0.2, "ZOOM_ACROSS": 0.9}, {"zy": 0.7, "zx": 1.4}),
        (
            Augmentation(rotation=30.0, height_shift=2.0, shear=20.0, zoom=(0.5, 1.5)),
            {"TURN": 0.3, "DOWN": 0.8, "SHEAR": 0.6, "ZOOM_DOWN": 0.6, "ZOOM_ACROSS": 0.4},
            {"theta": -12.0, "ty": 1.2, "shear": 4.0, "zy": 1.1, "zx": 0.9},
        ),
    ],
)
@pytest.mark.parametrize("fill_mode", ["nearest", "constant", "reflect", "wrap"])
def test_moves_as_keras_does(
    how: Augmentation, draw: dict[str, float], keras_settings: dict[str, float], fill_mode: str
) -> None:
    """Rotation, shifts, shear, zoom and all together give what Keras' ImageDataGenerator gives for the same numbers.

    Its `tx` moves across, although it draws it from the range for down.
    """
    image = smooth(seed=3)
    how = Augmentation(**{**vars(how), "fill_mode": fill_mode, "cval": 7.0})
    expected = apply_affine_transform(
        image[0], **keras_settings, row_axis=0, col_axis=1, channel_axis=2, fill_mode=fill_mode, cval=7.0, order=1
    )
    found = moved(image, how, **draw)[0]
    # Beyond the edge the two mix the fill with the last pixel differently: within it they agree.
    inside = np.abs(found - expected)[3:-3, 3:-3]
    assert np.quantile(inside, 0.85) < 1.0
    assert np.median(inside) < 0.05


def test_flips_turn_the_image_around() -> None:
    """A flip mirrors every pixel, and happens for half of the draws."""
    image = smooth(size=9)
    mirrored = moved(image, Augmentation(horizontal_flip=True), MIRROR=0.49)
    toppled = moved(image, Augmentation(vertical_flip=True), TOPPLE=0.0)
    np.testing.assert_allclose(mirrored, image[:, :, ::-1], atol=1e-3)
    np.testing.assert_allclose(toppled, image[:, ::-1], atol=1e-3)
    np.testing.assert_allclose(moved(image, Augmentation(horizontal_flip=True), MIRROR=0.5), image, atol=1e-3)


def test_shift_by_one_of_some_numbers() -> None:
    """A list of numbers of pixels: one of them, to either side."""
    image = smooth(size=9)
    how = Augmentation(width_shift=(2, 3))
    left = moved(image, how, ACROSS=0.0, ACROSS_SIGN=0.0)
    right = moved(image, how, ACROSS=0.9, ACROSS_SIGN=0.9)
    np.testing.assert_allclose(left[:, :, :-2], image[:, :, 2:], atol=1e-3)
    np.testing.assert_allclose(right[:, :, 3:], image[:, :, :-3], atol=1e-3)


# -- values ----------------------------------------------------------------------------------------------------------


def test_channel_shift_is_that_of_keras() -> None:
    """The same is added to all values of an image, within the range that it had."""
    image = smooth(channels=3)
    found = steps.augmented(tf.constant(image), _bits(CHANNEL=0.9), Augmentation(channel_shift=50.0), 255.0).numpy()
    np.testing.assert_allclose(apply_channel_shift(image[0], 0.8 * 50.0, channel_axis=2), found[0], atol=0.1)


def _bits(**values: float) -> Any:
    """Random bits whose numbers from 0 to 1 are those given, and 0.5."""
    return tf.constant((parts(1, **values).astype(np.float64) * 2**32).astype(np.uint32).view(np.int32))


@pytest.mark.parametrize("factor", [0.0, 0.5, 1.0, 2.0])
def test_brightness_and_contrast_are_factors(factor: float) -> None:
    """Brightness 0 is black and contrast 0 is the mean grey; 1 changes nothing; values stay from 0 to 255."""
    image = smooth(seed=5)
    pair = (factor, factor)
    bright = steps.augmented(tf.constant(image), _bits(), Augmentation(brightness=pair), 255.0).numpy()
    strong = steps.augmented(tf.constant(image), _bits(), Augmentation(contrast=pair), 255.0).numpy()
    np.testing.assert_allclose((image * factor).clip(0, 255), bright, atol=1e-2)
    np.testing.assert_allclose((image.mean() + (image - image.mean()) * factor).clip(0, 255), strong, atol=1e-1)


@pytest.mark.parametrize(("kind", "low", "high"), [("gauss", 15, 40), ("poisson", 5, 20), ("speckle", 5, 25)])
def test_noise_is_seen(kind: str, low: float, high: float) -> None:
    """Noise of each kind is there, in a size that doesn't drown the image."""
    image = np.full((1, 64, 64, 1), 128.0, np.float32)
    found = steps.augmented(tf.constant(image), _bits(), Augmentation(noise=(kind,)), 255.0).numpy()
    assert low < found.std() < high
    assert abs(float(found.mean()) - 128.0) < 3


def test_salt_and_pepper_replaces_single_values() -> None:
    """A few values become black or white, the others stay."""
    image = np.full((1, 100, 100, 1), 128.0, np.float32)
    found = steps.augmented(tf.constant(image), _bits(), Augmentation(noise=("s&p",)), 255.0).numpy()
    assert {0.0, 128.0, 255.0} == set(np.unique(found))
    assert 10 < (found != 128.0).sum() < 90


# -- laws ------------------------------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.permutations(range(5)), st.integers(1, 5))
def test_image_depends_on_its_own_draws(seed: int, order: list[int], few: int) -> None:
    """An image comes out the same whatever batch it is in and wherever in it."""
    images, bits, chosen = smooth(5, seed=seed), draws(5, seed), order[:few]
    labels = tf.zeros((5,), tf.int64)
    finish = transform(ALL)
    whole = finish.batch(tf.constant(images), labels, bits).numpy()
    part = finish.batch(tf.constant(images[chosen]), labels[:few], tf.gather(bits, chosen)).numpy()
    np.testing.assert_array_equal(whole[chosen], part)


def test_every_step_changes_the_image() -> None:
    """Each setting by itself makes another image of other draws; none leaves it as it is."""
    images = smooth(8, seed=2)
    labels = tf.zeros((8,), tf.int64)
    same = transform(Augmentation()).batch(tf.constant(images), labels, draws(8, 1)).numpy()
    np.testing.assert_array_equal(images, same)
    for name, value in vars(ALL).items():
        if name in ("fill_mode", "cval", "order"):
            continue
        finish = transform(Augmentation(**{name: value}))
        first, second = (finish.batch(tf.constant(images), labels, draws(8, seed)).numpy() for seed in (1, 2))
        assert not np.array_equal(first, second), name
        assert not np.array_equal(first, images), name


def test_normalizations_come_last() -> None:
    """Rescale, each image's own mean and deviation, then the training images', as Keras does."""
    images = smooth(3)
    own = transform(None, normalization=Normalization(rescale=0.5, center=True, deviation=True))
    found = own.batch(tf.constant(images), tf.zeros((3,), tf.int64), tf.zeros((3, 0), tf.int32)).numpy()
    np.testing.assert_allclose(found.mean(axis=(1, 2, 3)), 0.0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=(1, 2, 3)), 1.0, atol=1e-3)
    shared = transform(None, mean=np.array([3.0], np.float32), deviation=np.array([2.0], np.float32))
    found = shared.batch(tf.constant(images), tf.zeros((3,), tf.int64), tf.zeros((3, 0), tf.int32)).numpy()
    np.testing.assert_allclose((images - 3.0) / 2.0, found, rtol=1e-4)


def test_spread_of_a_constant_image_is_its_lower_end() -> None:
    """`samplewise_normalize_range` spreads values over a range; an image without a range lies at its lower end."""
    images = np.concatenate([smooth(1), np.full((1, 24, 24, 1), 9.0, np.float32)])
    found = Normalization(spread=(-1.0, 1.0)).apply(tf.constant(images)).numpy()
    assert pytest.approx((-1.0, 1.0), abs=1e-5) == (found[0].min(), found[0].max())
    assert {-1.0} == set(np.unique(found[1]))


def test_functions_of_the_spec_are_called_as_mltk_and_keras_do() -> None:
    """`f(x)` and `f(params, x, class_id)` get single images; their random numbers are the image's own."""
    labels = tf.constant([3, 4], tf.int64)
    images = tf.constant(smooth(2))
    plain = transform(Augmentation(), after=lambda x: x + 1.0)
    np.testing.assert_allclose(images + 1.0, plain.batch(images, labels, draws(2, 1)), rtol=1e-6)

    def shaken(params: Any, x: np.ndarray, class_id: int) -> np.ndarray:
        return np.full_like(x, class_id * params.step) + np.random.uniform()

    random = transform(Augmentation(), after=shaken, params=ParallelProcessParams({"step": 10}))
    before = repr(np.random.get_state())
    first, again, other = (random.batch(images, labels, draws(2, seed)).numpy() for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)
    assert [30, 40] == [math.floor(float(image.min())) for image in first]
    assert before == repr(np.random.get_state())


def test_graph_is_that_of_keras() -> None:
    """The steps work inside a graph, where the number of images isn't known."""
    finish = tf.function(transform(ALL).batch, input_signature=_SIGNATURE)
    images, bits = tf.constant(smooth(3)), draws(3, 4)
    labels = tf.zeros((3,), tf.int64)
    eager = transform(ALL).batch(images, labels, bits)
    np.testing.assert_allclose(eager, finish(images, labels, bits), atol=1e-2)
    assert keras.backend.floatx() == "float32"


_SIGNATURE = [
    tf.TensorSpec((None, 24, 24, 1), tf.float32),
    tf.TensorSpec((None,), tf.int64),
    tf.TensorSpec((None, steps.DRAWS), tf.int32),
]
