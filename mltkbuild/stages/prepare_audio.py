"""What an audio data set's spec says, as plain values for its preparation."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import audio_files
from mltkbuild.data.audio import AudioPreparation
from mltkbuild.data.audio_transform import AudioTransform, Augmentation
from mltkbuild.data.listing import Item, as_items, folders_of, list_classes, list_files
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.splits import place_of, split
from mltkbuild.data.told import Told
from mltkbuild.data.user_functions import ParallelProcessParams
from mltkbuild.errors import DataError, SpecError, short
from mltkbuild.spec.any_model import AnyModel
from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator

SUFFIXES = audio_files.SUFFIXES
UNKNOWN, SILENCE = "_unknown_", "_silence_"
QUIET, CLIPPED = 0.001, 0.99
"""A recording that is never louder than the first counts as silent, one often as loud as the second as clipped."""
_CLIPPED_PART = 0.001


def preparation(model: AnyModel, subset: str, folder: str = "") -> AudioPreparation:
    """How the recordings of a subset are prepared.

    Args:
        model: The spec's model.
        subset: 'training', 'validation' or 'evaluation'.
        folder: The data set's folder; only who prepares must know it.
    """
    generator = generator_of(model, subset)
    settings = generator.frontend_settings
    if generator.frontend_enabled:
        settings.check()
    params = ParallelProcessParams(
        {
            "audio_data_generator": generator,
            "subset": subset,
            "class_mode": model.class_mode,
            "class_indices": {label: number for number, label in enumerate(model.classes)},
            "sample_rate": settings.sample_rate_hz,
            "sample_length_ms": settings.sample_length_ms,
            "sample_shape": generator.shape,
            "frontend_enabled": generator.frontend_enabled,
            "dtype": np.dtype(generator.dtype),
        }
    )
    finishing = AudioTransform(
        shape=tuple(model.input_shape),
        length=settings.sample_length,
        settings=dict(settings) if generator.frontend_enabled else None,
        dtype=generator.frontend_dtype or generator.dtype,
        augmentation=_augmentation(generator),
        normalization=Normalization(
            rescale=float(generator.rescale or 0),
            center=generator.samplewise_center,
            deviation=generator.samplewise_std_normalization,
            spread=_pair(generator.samplewise_normalize_range),
        ),
        before=generator.preprocessing_function,
        after=generator.postprocessing_function,
        params=params,
        workers=generator.workers,
        offset=sum(generator.offset_range or (0.0, 1.0)) / 2,
    )
    return AudioPreparation(
        rate=settings.sample_rate_hz,
        below_db=generator.trim_threshold_db,
        before=generator.noaug_preprocessing_function,
        finishing=finishing,
        params=params,
        backgrounds=_background_folder(generator, folder),
    )


def _background_folder(generator: Any, folder: str) -> str | None:
    given = generator.bg_noise_dir
    return None if given is None else os.path.join(folder, os.path.expanduser(given))


def generator_of(model: AnyModel, subset: str) -> ParallelAudioDataGenerator:
    """The generator of a subset."""
    found = model.generator_of(subset)
    if not isinstance(found, ParallelAudioDataGenerator):
        raise SpecError(
            "an audio model needs a ParallelAudioDataGenerator",
            where=model.place_of("datagen", "validation_datagen"),
            found=short(found),
            fix="set my_model.datagen = ParallelAudioDataGenerator(frontend_settings=...)",
        )
    return found


def _augmentation(generator: Any) -> Augmentation:
    if generator.disable_random_transforms:
        return Augmentation()
    pitch = generator.pitch_range
    if pitch is not None and not all(isinstance(limit, int) for limit in pitch):
        pitch = [12.0 * limit for limit in pitch]
    return Augmentation(
        offset=_pair(generator.offset_range) or (0.0, 1.0),
        loudness=_pair(generator.loudness_range),
        speed=_pair(generator.speed_range),
        pitch=_pair(pitch),
        voice=_pair(generator.vtlp_range),
        colours=tuple(generator.noise_colors or ()),
        colour_size=_pair(generator.noise_color_range) or (0.0, 0.0),
        background_size=_pair(generator.bg_noise_range) or (0.0, 0.0),
    )


def _pair(value: Sequence[float] | None) -> tuple[float, float] | None:
    return None if value is None else (float(value[0]), float(value[1]))


def list_samples(model: AnyModel, folder: str, told: Told) -> dict[str, list[Item]]:
    """The recordings of each subset in a folder, with `_unknown_` and `_silence_` where the spec has these classes.

    What is passed over there, and in the folder of background noise, is told.
    """
    classes = list(model.classes)
    known = [label for label in classes if label not in (UNKNOWN, SILENCE)]
    listed = list_classes(folder, known, SUFFIXES, follow_links=model.follow_links, told=told)
    generator = generator_of(model, "training")
    if (noise := _background_folder(generator, folder)) is not None:
        audio_files.recordings_in(noise, told)
    how = {"group": model.split_group, "subset": model.split_subset}
    parts = split(as_items(folder, listed, classes), model.validation_fraction, **how)
    others = _others(model, folder, known, told) if UNKNOWN in classes else {}
    strangers = {name: split(items, model.validation_fraction, **how) for name, items in others.items()}
    for subset, items in parts.items():
        mean = len(items) / len(known)
        if items and others and generator.unknown_class_percentage:
            wanted = max(1, int(mean * generator.unknown_class_percentage))
            items.extend(_chosen({name: found[subset] for name, found in strangers.items()}, wanted))
        if items and SILENCE in classes and generator.silence_class_percentage:
            count = max(1, int(mean * generator.silence_class_percentage))
            label = classes.index(SILENCE)
            items.extend(Item(f"{SILENCE}/{subset}_{number:06}", "", label) for number in range(count))
        items.sort()
    return parts


def _others(model: AnyModel, folder: str, known: Sequence[str], told: Told) -> dict[str, list[Item]]:
    """The recordings of each folder that is no class, as those of `_unknown_`."""
    label = list(model.classes).index(UNKNOWN)
    found = {}
    for name in folders_of(folder):
        if name not in known and not name.startswith("_"):
            files = list_files(folder, name, SUFFIXES, follow_links=model.follow_links, told=told)
            found[name] = [Item(item.name, item.path, label) for item in as_items(folder, {name: files}, [name])]
    if not any(found.values()):
        raise DataError(
            "there are no recordings for _unknown_",
            where=folder,
            found="no further folders",
            fix="put other words into folders beside those of the classes, or take _unknown_ out of my_model.classes",
        )
    return found


def _chosen(others: Mapping[str, Sequence[Item]], wanted: int) -> list[Item]:
    """So many items, as many of each folder as can be; those whose names come first in the order of digests."""
    ranked = [sorted(items, key=lambda item: place_of(item.name)) for items in others.values()]
    found: list[Item] = []
    for place in range(max((len(items) for items in ranked), default=0)):
        row = sorted((items[place] for items in ranked if place < len(items)), key=lambda item: place_of(item.name))
        found += row[: wanted - len(found)]
        if len(found) == wanted:
            break
    return found


def anomalies(model: AnyModel, items: Sequence[Item]) -> dict[str, list[str]]:
    """Recordings that are silent, and those that are clipped."""
    rate = generator_of(model, "training").sample_rate_hz
    silent, clipped = [], []
    for item in items:
        if not item.path:
            continue
        try:
            loudness = np.abs(audio_files.read(Path(item.path).read_bytes(), rate))
        except DataError:
            # A recording that can't be read is listed as such.
            continue
        if loudness.max() < QUIET:
            silent.append(item.name)
        elif np.mean(loudness >= CLIPPED) > _CLIPPED_PART:
            clipped.append(item.name)
    return {"silent": silent, "clipped": clipped}
