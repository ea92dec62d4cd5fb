"""Audio data sets: a folder of recordings by class, heard through the front end that the device has."""

from __future__ import annotations

from typing import Any

from mltkbuild.errors import SpecError, short
from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings
from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin


class AudioDatasetMixin(DataGeneratorDatasetMixin):
    """A data set of recordings: a folder with a folder of wav, flac, mp3 or other files for each class.

    `input_shape` is that of the spectrogram unless the spec sets it. The front end's settings are embedded in the
    `.tflite`, where the firmware finds them.
    """

    @property
    def audio_generator(self: Any) -> ParallelAudioDataGenerator:
        """The generator, which an audio model must have."""
        found = self.datagen
        if not isinstance(found, ParallelAudioDataGenerator):
            raise SpecError(
                "an audio model needs a ParallelAudioDataGenerator",
                where=self.place_of("datagen"),
                found=f"my_model.datagen = {short(found)}",
                fix="set my_model.datagen = ParallelAudioDataGenerator(frontend_settings=...)",
            )
        return found

    @property
    def frontend_settings(self: Any) -> AudioFeatureGeneratorSettings:
        """How audio becomes a spectrogram."""
        found: AudioFeatureGeneratorSettings = self.audio_generator.frontend_settings
        return found

    @property
    def sample_rate_hz(self: Any) -> int:
        """Samples a second."""
        return int(self.frontend_settings.sample_rate_hz)

    @sample_rate_hz.setter
    def sample_rate_hz(self: Any, value: int) -> None:
        self.frontend_settings.sample_rate_hz = value

    @property
    def sample_length_ms(self: Any) -> int:
        """The length of a recording in milliseconds."""
        return int(self.frontend_settings.sample_length_ms)

    @sample_length_ms.setter
    def sample_length_ms(self: Any, value: int) -> None:
        self.frontend_settings.sample_length_ms = value

    @property
    def audio_classes(self: Any) -> Any:
        """MLTK's other name for `classes`."""
        return self.classes

    @audio_classes.setter
    def audio_classes(self: Any, value: Any) -> None:
        self.classes = value

    @property
    def audio_input_shape(self: Any) -> Any:
        """MLTK's other name for `input_shape`."""
        return self.input_shape

    @audio_input_shape.setter
    def audio_input_shape(self: Any, value: Any) -> None:
        self.input_shape = value

    def default_input_shape(self: Any) -> tuple[int, ...]:
        """The shape of a sample, by the generator's settings."""
        return tuple(self.audio_generator.shape)

    def firmware_parameters(self: Any) -> dict[str, object]:
        """What the firmware must know to hear as the model was trained: the front end and the normalization."""
        generator = self.audio_generator
        return {
            **generator.frontend_settings,
            "samplewise_norm.rescale": float(generator.rescale or 0.0),
            "samplewise_norm.mean_and_std": generator.samplewise_center and generator.samplewise_std_normalization,
        }
