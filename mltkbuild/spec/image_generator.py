"""How images are prepared and augmented: the settings of MLTK's and Keras' image generators."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import ClassVar

from mltkbuild.spec.generators import (
    AUGMENT,
    CORES,
    NO_BATCH_FUNCTION,
    NOTHING,
    PREPARE,
    Generator,
    Setting,
    workers_of,
)
from mltkbuild.spec.properties import (
    ANY,
    BOOL,
    CALLABLE,
    COUNT_OR_ALL,
    FRACTION,
    NOT_NEGATIVE,
    Rule,
    is_int,
    is_number,
    one_of,
)

NOISES = ("gauss", "poisson", "s&p", "speckle")
DEGREES = Rule("a number of degrees from 0 to 180", lambda value: is_number(value) and 0 <= value <= 180)
NUMBER = Rule("a number", is_number)
SIZE = Rule("a number from 0 on", lambda value: is_number(value) and value >= 0)


def _is_pair(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]


FACTORS = Rule("two numbers from 0 on, the lower one first", lambda value: _is_pair(value) and value[0] >= 0)
SHIFT = Rule(
    "a part of the size below 1, a number of pixels, or a list of numbers of pixels",
    lambda value: (
        SIZE.accepts(value) or (isinstance(value, list | tuple) and bool(value) and all(is_int(item) for item in value))
    ),
)
ZOOM = Rule(
    "a number from 0 to 1, or two positive factors",
    lambda value: (is_number(value) and 0 <= value < 1) or (_is_pair(value) and value[0] > 0),
)
NOISE = Rule(
    "a list of " + ", ".join(NOISES),
    lambda value: isinstance(value, list | tuple) and bool(value) and all(item in NOISES for item in value),
)


class ParallelImageDataGenerator(Generator):
    """How the images of a data set are prepared and augmented.

    Images have values from 0 to 255. One is prepared once: read, brought to its size and given to
    `noaug_preprocessing_function`. Whenever training takes it, it is rotated, shifted, sheared, zoomed and flipped in
    one step, its brightness, channels and contrast are changed, noise is added, and it is given to
    `preprocessing_function`; then `rescale` and the normalizations follow, in Keras' order. What is drawn depends on
    the seed, the epoch and the sample alone.

    Functions are called as MLTK does, `f(params, x)`, or as Keras does, `f(x)`; they may take `class_id` by name.
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "rotation_range": Setting(0, DEGREES, "Turned by up to so many degrees to either side", AUGMENT),
        "width_shift_range": Setting(0.0, SHIFT, "Shifted sideways by up to this", AUGMENT),
        "height_shift_range": Setting(0.0, SHIFT, "Shifted up or down by up to this", AUGMENT),
        "shear_range": Setting(0.0, DEGREES, "Sheared by up to so many degrees", AUGMENT),
        "zoom_range": Setting(0.0, ZOOM, "Zoomed by factors from 1 - this to 1 + this, each axis by its own", AUGMENT),
        "fill_mode": Setting(
            "nearest", one_of("nearest", "constant", "reflect", "wrap"), "What appears beyond the image's edge", AUGMENT
        ),
        "cval": Setting(0.0, NUMBER, "The value beyond the edge with fill_mode = 'constant'", AUGMENT),
        "interpolation_order": Setting(1, one_of(0, 1), "0 takes the nearest pixel, 1 goes between pixels", AUGMENT),
        "horizontal_flip": Setting(False, BOOL, "Mirrored half of the time", AUGMENT),
        "vertical_flip": Setting(False, BOOL, "Turned upside down half of the time", AUGMENT),
        "brightness_range": Setting(None, FACTORS.or_none(), "Multiplied by a factor; 0 is black", AUGMENT),
        "contrast_range": Setting(None, FACTORS.or_none(), "Contrast by a factor; 0 is grey", AUGMENT),
        "channel_shift_range": Setting(0.0, SIZE, "Up to so much is added to all values", AUGMENT),
        "noise": Setting(None, NOISE.or_none(), "Kinds of noise, one of which is drawn for an image", AUGMENT),
        "preprocessing_function": Setting(
            None, CALLABLE.or_none(), "Called with each image whenever it is taken, after the random steps", AUGMENT
        ),
        "random_transforms_enabled": Setting(True, BOOL, "Whether there are random steps at all", AUGMENT),
        "validation_augmentation_enabled": Setting(True, BOOL, "Whether validation images are augmented", AUGMENT),
        "noaug_preprocessing_function": Setting(
            None, CALLABLE.or_none(), "Called with each image once, before all random steps", PREPARE
        ),
        "rescale": Setting(None, NUMBER.or_none(), "What all values are multiplied by; None or 0 for nothing", PREPARE),
        "samplewise_center": Setting(False, BOOL, "Whether an image's mean becomes 0", PREPARE),
        "samplewise_std_normalization": Setting(False, BOOL, "Whether an image is divided by its deviation", PREPARE),
        "featurewise_center": Setting(False, BOOL, "Whether the training images' mean is subtracted", PREPARE),
        "featurewise_std_normalization": Setting(
            False, BOOL, "Whether images are divided by the training images' deviation", PREPARE
        ),
        "zca_whitening": Setting(False, BOOL, "Whether images are whitened by ZCA of the training images", PREPARE),
        "zca_epsilon": Setting(1e-6, SIZE, "The epsilon of ZCA whitening", PREPARE),
        "validation_split": Setting(0.0, FRACTION, "Which part of the images is kept for validation", PREPARE),
        "max_samples_per_class": Setting(-1, COUNT_OR_ALL, "How many images of each class are used; -1: all", PREPARE),
        "dtype": Setting("float32", one_of("float32", None), "The number type that the model sees", PREPARE),
        "data_format": Setting(None, one_of(None, "channels_last"), "Channels are last", NOTHING),
        "cores": CORES,
        "debug": Setting(False, BOOL, "MLTK's", NOTHING),
        "max_batches_pending": Setting(4, NOT_NEGATIVE, "MLTK's", NOTHING),
        "get_batch_function": NO_BATCH_FUNCTION,
        "disable_gpu_in_subprocesses": Setting(True, BOOL, "MLTK's", NOTHING),
        "save_to_dir": Setting(None, ANY, "MLTK's; `mltk view_data` shows images", NOTHING),
        "save_prefix": Setting(None, ANY, "MLTK's", NOTHING),
        "save_format": Setting(None, ANY, "MLTK's", NOTHING),
        "batch_size": Setting(None, ANY, "MLTK's; set my_model.batch_size", NOTHING),
    }
    # How a step is done, and whether: no steps of their own.
    HOW = ("fill_mode", "cval", "interpolation_order", "random_transforms_enabled", "validation_augmentation_enabled")

    @property
    def workers(self) -> int | None:
        """How many batches are made at a time; None leaves that to TensorFlow."""
        return workers_of(self.cores, os.cpu_count() or 1)
