"""How recordings are prepared: read, and as far as nothing random comes before, finished."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from mltkbuild.data import audio_files, user_functions
from mltkbuild.data.audio_transform import AudioTransform
from mltkbuild.data.lazy import Rows
from mltkbuild.data.listing import Item
from mltkbuild.data.told import Tell, unheard
from mltkbuild.errors import DataError


@dataclass(frozen=True)
class AudioPreparation:
    """How recordings are prepared; a `Preparation`.

    Args:
        rate: Samples a second.
        below_db: What is so many dB below the loudest counts as silence; None keeps it.
        before: A function of the spec that gets each recording once, or None.
        finishing: What follows, with the random steps.
        params: What functions get first.
        backgrounds: The folder of the recordings that are mixed in, or None.
    """

    rate: int
    below_db: float | None
    before: user_functions.Function | None
    finishing: AudioTransform
    params: user_functions.ParallelProcessParams = field(default_factory=user_functions.ParallelProcessParams)
    backgrounds: str | None = None
    ragged = True

    def row(self, item: Item, content: Any, *, random: bool, tell: Tell = unheard) -> np.ndarray:
        """Prepare one recording: int16 samples of its own length if random steps follow, else what the model sees."""
        if content is None:
            clip = np.zeros(self.finishing.length, np.int16)
        else:
            clip = audio_files.as_int16(self._clip(item, content, tell))
        if random:
            return clip
        return np.asarray(self._finish(clip, item.label))

    @cached_property
    def _finish(self) -> Any:
        """Finishes one recording; a function of TensorFlow's, traced once."""
        import tensorflow as tf

        transform = self.transform(random=False, prepared_for_random=True)

        def finish(samples: Any, label: Any) -> Any:
            rows = tf.RaggedTensor.from_tensor(samples[None])
            return transform.batch(rows, label[None], tf.zeros((1, 0), tf.int32))[0]

        return tf.function(finish, input_signature=[tf.TensorSpec((None,), tf.int16), tf.TensorSpec((), tf.int64)])

    def _clip(self, item: Item, content: bytes, tell: Tell) -> np.ndarray:
        samples = audio_files.read(content, self.rate, tell=tell)
        if self.before is not None:
            seed = int.from_bytes(item.name.encode("utf-8", "surrogateescape")[-4:], "big")
            given = {"class_id": item.label, "filename": item.name, "batch_index": 0}
            samples = user_functions.call_seeded(self.before, self.params, samples, seed, **given).astype(np.float32)
            if samples.ndim != 1 or not samples.size:
                raise DataError(
                    "noaug_preprocessing_function gives no recording",
                    found=f"an array of shape {samples.shape}",
                    fix="return samples, an array of one dimension",
                )
            if not np.isfinite(samples).all():
                raise DataError(
                    "noaug_preprocessing_function gives a value that is no finite number",
                    fix="return samples from -1 to 1",
                )
            audio_files.check_scale(samples, tell, "what noaug_preprocessing_function gives")
        return audio_files.trimmed(samples, self.below_db)

    def statistics(self, rows: Rows) -> dict[str, np.ndarray]:
        """The recordings that are mixed in, as int16 arrays: kept, so that training needs no other file."""
        if self.backgrounds is None:
            return {}
        found = audio_files.read_folder(self.backgrounds, self.rate)
        return {f"background {number:04}": audio_files.as_int16(line) for number, line in enumerate(found)}

    def with_statistics(self, found: Mapping[str, np.ndarray]) -> AudioPreparation:
        """The same preparation with the recordings that are mixed in."""
        lines = tuple(found[name].astype(np.float32) / 32768.0 for name in sorted(found))
        if not lines or self.finishing.augmentation is None:
            return self
        augmentation = replace(self.finishing.augmentation, backgrounds=lines)
        return replace(self, finishing=replace(self.finishing, augmentation=augmentation))

    def transform(self, *, random: bool, prepared_for_random: bool) -> AudioTransform:
        """What is left to do to a recording; nothing where it was finished when it was prepared."""
        return self.finishing if random else replace(self.finishing, augmentation=None)
