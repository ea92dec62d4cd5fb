"""How recordings are prepared and augmented: the settings of MLTK's audio generator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

from mltkbuild.errors import SpecError
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings
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
    SHAPE,
    STR,
    Rule,
    is_number,
    one_of,
    place_of_caller,
)

COLOURS = ("white", "pink", "brown", "blue", "violet")
NUMBER = Rule("a number", is_number)
SIZE = Rule("a number from 0 on", lambda value: is_number(value) and value >= 0)


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(is_number, value)) and value[0] <= value[1]


PAIR = Rule("two numbers, the lower one first", _is_pair)
PARTS = Rule(
    "two numbers from 0 to 1, the lower one first", lambda value: _is_pair(value) and 0 <= value[0] <= value[1] <= 1
)
FACTORS = Rule("two numbers from 0 on, the lower one first", lambda value: _is_pair(value) and value[0] >= 0)
SPEEDS = Rule(
    "two factors from 0.1 to 10, the lower one first",
    lambda value: _is_pair(value) and 0.1 <= value[0] <= value[1] <= 10,
)
COLOUR_LIST = Rule(
    "a list of " + ", ".join((*COLOURS, "none")) + ", or 'all'",
    lambda value: (
        value in ("all", "none")
        if isinstance(value, str)
        else isinstance(value, list | tuple) and bool(value) and all(item in (*COLOURS, "none") for item in value)
    ),
    lambda value: {"all": list(COLOURS), "none": ["none"]}[value] if isinstance(value, str) else value,
)
TYPES = one_of("float32", "int8", "uint16")


def _type_name(value: Any) -> Any:
    """The name of a NumPy or TensorFlow number type."""
    return getattr(value, "__name__", None) or getattr(value, "name", None) or value


TYPE = Rule("float32, int8 or uint16", lambda value: TYPES.accepts(_type_name(value)), _type_name)


class ParallelAudioDataGenerator(Generator):
    """How the recordings of a data set are prepared and augmented.

    A recording is prepared once: read, mixed down to one channel, resampled, given to `noaug_preprocessing_function`,
    and rid of silence at both ends. Whenever training takes it, its speed, pitch and voice are changed, it is cut or
    padded to its length, made louder or softer, mixed with noise, and given to `preprocessing_function`; then come the
    front end, `postprocessing_function`, `rescale` and the normalizations. What is drawn depends on the seed, the epoch
    and the sample alone. Without a random step all of it is done once.

    A data set may have two further classes: `_unknown_`, some recordings of each folder that is no class, and
    `_silence_`, recordings of nothing, to which noise is added.

    Functions are called as `f(params, x)`; they may take `class_id` by name.
    """

    SETTINGS: ClassVar[Mapping[str, Setting]] = {
        "frontend_settings": Setting(
            None,
            Rule(
                "AudioFeatureGeneratorSettings", lambda value: isinstance(value, AudioFeatureGeneratorSettings)
            ).or_none(),
            "How audio becomes a spectrogram; None for the defaults",
            PREPARE,
        ),
        "frontend_enabled": Setting(True, BOOL, "Whether the model sees spectrograms; else it sees samples", PREPARE),
        "frontend_dtype": Setting(None, TYPE.or_none(), "What the front end gives; None for dtype", PREPARE),
        "dtype": Setting("float32", TYPE, "The number type of spectrograms; the model sees float32", PREPARE),
        "sample_shape": Setting(None, SHAPE.or_none(), "The shape of a sample without the front end", PREPARE),
        "add_channel_dimension": Setting(True, BOOL, "Whether spectrograms get a third dimension of 1", PREPARE),
        "trim_threshold_db": Setting(
            20, SIZE.or_none(), "What is so many dB below the loudest counts as silence; None or 0 keeps it", PREPARE
        ),
        "noaug_preprocessing_function": Setting(
            None, CALLABLE.or_none(), "Called with each recording once, before all random steps", PREPARE
        ),
        "postprocessing_function": Setting(
            None, CALLABLE.or_none(), "Called with each spectrogram, after the front end", PREPARE
        ),
        "rescale": Setting(None, NUMBER.or_none(), "What all values are multiplied by; None or 0 for nothing", PREPARE),
        "samplewise_center": Setting(False, BOOL, "Whether a spectrogram's mean becomes 0", PREPARE),
        "samplewise_std_normalization": Setting(
            False, BOOL, "Whether a spectrogram is divided by its deviation", PREPARE
        ),
        "samplewise_normalize_range": Setting(
            None, PAIR.or_none(), "The range that a spectrogram's values are spread over", PREPARE
        ),
        "unknown_class_percentage": Setting(
            1.0, SIZE.or_none(), "How large `_unknown_` is, as a part of the other classes' mean", PREPARE
        ),
        "silence_class_percentage": Setting(0.6, SIZE.or_none(), "The same of `_silence_`", PREPARE),
        "validation_split": Setting(0.0, FRACTION, "Which part of the recordings is kept for validation", PREPARE),
        "max_samples_per_class": Setting(-1, COUNT_OR_ALL, "How many recordings of a class are used; -1: all", PREPARE),
        "offset_range": Setting(
            (0.0, 1.0),
            PARTS.or_none(),
            "Where in its frame a recording lies, in the middle of this when nothing is random; None: (0, 1)",
            PREPARE,
        ),
        "loudness_range": Setting(None, FACTORS.or_none(), "Multiplied by a factor", AUGMENT),
        "speed_range": Setting(None, SPEEDS.or_none(), "Faster by a factor, at the same pitch", AUGMENT),
        "pitch_range": Setting(
            None, PAIR.or_none(), "Higher by semitones, or, for numbers that aren't whole, by octaves", AUGMENT
        ),
        "vtlp_range": Setting(None, SPEEDS.or_none(), "Another voice: the vocal tract's length by a factor", AUGMENT),
        "noise_colors": Setting(None, COLOUR_LIST.or_none(), "Colours of noise, one of which is drawn", AUGMENT),
        "noise_color_range": Setting(
            None, FACTORS.or_none(), "The noise's strength; 1 is 1 % of full scale (root mean square)", AUGMENT
        ),
        "bg_noise_dir": Setting(
            None, STR.or_none(), "A folder of recordings to mix in, absolute or in the data set's folder", PREPARE
        ),
        "bg_noise_range": Setting(None, FACTORS.or_none(), "How loud they are mixed in; 1 is as they are", AUGMENT),
        "preprocessing_function": Setting(
            None, CALLABLE.or_none(), "Called with each recording whenever it is taken, before the front end", AUGMENT
        ),
        "disable_random_transforms": Setting(False, BOOL, "Whether there are no random steps", AUGMENT),
        "validation_augmentation_enabled": Setting(True, BOOL, "Whether validation data is augmented", AUGMENT),
        "cores": CORES,
        "debug": Setting(False, BOOL, "MLTK's", NOTHING),
        "max_batches_pending": Setting(4, NOT_NEGATIVE, "MLTK's", NOTHING),
        "get_batch_function": NO_BATCH_FUNCTION,
        "disable_gpu_in_subprocesses": Setting(True, BOOL, "MLTK's", NOTHING),
        "save_to_dir": Setting(None, ANY, "MLTK's; `mltk view_data` shows recordings", NOTHING),
    }

    frontend_settings: Any

    def __init__(self, **settings: object) -> None:
        super().__init__(**settings)
        if self.frontend_settings is None:
            self.frontend_settings = AudioFeatureGeneratorSettings()
        if not self.frontend_enabled and self.sample_shape is None:
            raise SpecError(
                "ParallelAudioDataGenerator needs sample_shape when frontend_enabled is False",
                where=place_of_caller(),
                fix="set sample_shape to the shape of what postprocessing_function gives, or to (number of samples,)",
            )

    @property
    def is_random(self) -> bool:
        """Whether any step is drawn or called anew each epoch."""
        steps = ("loudness_range", "speed_range", "pitch_range", "vtlp_range", "noise_colors", "bg_noise_dir")
        low, high = self.offset_range or (0.0, 1.0)
        drawn = low < high or any(getattr(self, name) is not None for name in steps)
        return (drawn and not self.disable_random_transforms) or self.preprocessing_function is not None

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of a sample as the model sees it."""
        if not self.frontend_enabled:
            return tuple(self.sample_shape)
        shape = tuple(self.sample_shape or self.frontend_settings.spectrogram_shape)
        return (*shape, 1) if self.add_channel_dimension and len(shape) == 2 else shape

    @property
    def workers(self) -> int | None:
        """How many batches are made at a time; None leaves that to TensorFlow."""
        return workers_of(self.cores, os.cpu_count() or 1)

    @property
    def sample_rate_hz(self) -> int:
        """The front end's sample rate."""
        return int(self.frontend_settings.sample_rate_hz)

    @property
    def sample_length_ms(self) -> int:
        """The front end's length of a recording."""
        return int(self.frontend_settings.sample_length_ms)

    @property
    def sample_length(self) -> int:
        """The number of samples of a recording."""
        return int(self.frontend_settings.sample_length)
