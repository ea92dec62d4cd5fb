"""What an image data set's spec says, as plain values for its preparation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mltkbuild.data import images
from mltkbuild.data.image_transform import Augmentation
from mltkbuild.data.listing import Item, as_items, list_classes
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.splits import split
from mltkbuild.data.told import Told
from mltkbuild.data.user_functions import ParallelProcessParams
from mltkbuild.errors import SpecError, short
from mltkbuild.spec.any_model import AnyModel
from mltkbuild.spec.image_generator import ParallelImageDataGenerator

SUFFIXES = images.SUFFIXES

_MODES = {1: "grayscale", 3: "rgb", 4: "rgba"}


def preparation(model: AnyModel, subset: str, folder: str = "") -> images.ImagePreparation:
    """How the images of a subset are prepared.

    Raises:
        SpecError: The spec's settings don't fit each other.
    """
    generator = generator_of(model, subset)
    shape = tuple(model.input_shape)
    if len(shape) != 3 or shape[2] not in _MODES:
        raise SpecError(
            "input_shape of an image model must be (height, width, channels), with 1, 3 or 4 channels",
            where=model.place_of("input_shape"),
            found=str(shape),
            fix="set my_model.input_shape, such as (96, 96, 1)",
        )
    mode = model.color_mode if model.color_mode != "auto" else _MODES[shape[2]]
    if images.CHANNELS[mode] != shape[2] and generator.preprocessing_function is None:
        raise SpecError(
            "color_mode and input_shape don't fit",
            where=model.place_of("color_mode", "input_shape"),
            found=f"{mode} has {images.CHANNELS[mode]} channels, input_shape is {shape}",
            fix="set color_mode to 'auto'",
        )
    size = tuple(model.target_size or shape[:2])
    return images.ImagePreparation(
        shape=(shape[0], shape[1], shape[2]),
        size=(size[0], size[1]),
        mode=mode,
        interpolation=model.interpolation,
        augmentation=_augmentation(generator),
        normalization=Normalization(
            rescale=float(generator.rescale or 0),
            center=generator.samplewise_center,
            deviation=generator.samplewise_std_normalization,
        ),
        center=generator.featurewise_center,
        deviation=generator.featurewise_std_normalization,
        zca=generator.zca_whitening,
        zca_epsilon=float(generator.zca_epsilon),
        before=generator.noaug_preprocessing_function,
        after=generator.preprocessing_function,
        params=ParallelProcessParams(
            {
                "image_data_generator": generator,
                "subset": subset,
                "class_mode": model.class_mode,
                "color_mode": mode,
                "target_size": size,
                "interpolation": model.interpolation,
                "class_indices": {label: number for number, label in enumerate(model.classes)},
                "dtype": "float32",
            }
        ),
        workers=generator.workers,
    )


def generator_of(model: AnyModel, subset: str) -> Any:
    """The generator of a subset; one with defaults where the spec sets none."""
    found = model.generator_of(subset)
    if found is None:
        return ParallelImageDataGenerator()
    if not isinstance(found, ParallelImageDataGenerator):
        raise SpecError(
            "datagen of an image model must be a ParallelImageDataGenerator",
            where=model.place_of("datagen", "validation_datagen"),
            found=short(found),
            fix="from mltkbuild import ParallelImageDataGenerator",
        )
    return found


def _augmentation(generator: Any) -> Augmentation:
    zoom = generator.zoom_range
    return Augmentation(
        rotation=float(generator.rotation_range),
        width_shift=_shift(generator.width_shift_range),
        height_shift=_shift(generator.height_shift_range),
        shear=float(generator.shear_range),
        zoom=(float(zoom[0]), float(zoom[1])) if isinstance(zoom, list | tuple) else (1.0 - zoom, 1.0 + zoom),
        fill_mode=generator.fill_mode,
        cval=float(generator.cval),
        order=generator.interpolation_order,
        horizontal_flip=generator.horizontal_flip,
        vertical_flip=generator.vertical_flip,
        brightness=_pair(generator.brightness_range),
        contrast=_pair(generator.contrast_range),
        channel_shift=float(generator.channel_shift_range),
        noise=tuple(generator.noise or ()),
    )


def _shift(value: float | Sequence[int]) -> float | tuple[int, ...]:
    return tuple(value) if isinstance(value, list | tuple) else float(value)  # type: ignore[arg-type]  # a number


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def list_samples(model: AnyModel, folder: str, told: Told) -> dict[str, list[Item]]:
    """The images of each subset in a folder; what is passed over there is told."""
    listed = list_classes(folder, model.classes, SUFFIXES, follow_links=model.follow_links, told=told)
    return split(
        as_items(folder, listed, model.classes),
        model.validation_fraction,
        group=model.split_group,
        subset=model.split_subset,
    )


def anomalies(model: AnyModel, items: Sequence[Item]) -> dict[str, list[str]]:
    """Nothing is known to be wrong with an image that can be read."""
    return {}
