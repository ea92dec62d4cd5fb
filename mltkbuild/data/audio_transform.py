"""Random steps on recordings by TensorFlow's operations, each recording by its own random bits, and the front end."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mltkbuild.data import frontend, user_functions, vocoder
from mltkbuild.data.lazy import unit
from mltkbuild.data.normalizing import Normalization

# Which of a recording's random numbers a step takes.
(SPEED, PITCH, VOICE, OFFSET, LOUDNESS, COLOUR, COLOUR_SIZE, BACK, BACK_SIZE, BACK_PLACE, WHICH) = range(11)
(NOISE_A, NOISE_B, CALL) = range(11, 14)
DRAWS = 14
NOISE_LEVEL = 0.01
"""The root mean square of coloured noise of strength 1, full scale being 1."""
# How a colour's amplitude goes with frequency; its power with twice the exponent.
EXPONENTS = {"white": 0.0, "pink": -0.5, "brown": -1.0, "blue": 0.5, "violet": 1.0}


@dataclass(frozen=True)
class Augmentation:
    """The random steps; the defaults do nothing. See `ParallelAudioDataGenerator` for their meaning.

    Args:
        backgrounds: Recordings to mix in, float32 arrays at the wanted rate.
    """

    offset: tuple[float, float] = (0.0, 0.0)
    loudness: tuple[float, float] | None = None
    speed: tuple[float, float] | None = None
    pitch: tuple[float, float] | None = None
    voice: tuple[float, float] | None = None
    colours: tuple[str, ...] = ()
    colour_size: tuple[float, float] = (0.0, 0.0)
    backgrounds: tuple[np.ndarray, ...] = ()
    background_size: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True)
class AudioTransform:
    """What turns recordings into what the model sees; a `Transform`.

    Args:
        shape: The shape of a finished sample.
        length: The number of samples of a recording.
        settings: The front end's, with `fe.`; None for no front end.
        dtype: What the front end gives: 'float32', 'int8' or 'uint16'.
        augmentation: The random steps; None for none.
        normalization: What is done to each spectrogram in the end.
        before: A function of the spec that gets each recording, or None.
        after: One that gets each spectrogram, or None.
        params: Their first argument.
        workers: How many batches are made at a time; None leaves that to TensorFlow.
        offset: Where in its frame a recording lies when nothing is random, from 0 to 1.
    """

    shape: tuple[int, ...]
    length: int
    settings: Mapping[str, Any] | None
    dtype: str
    augmentation: Augmentation | None
    normalization: Normalization
    before: user_functions.Function | None = None
    after: user_functions.Function | None = None
    params: user_functions.ParallelProcessParams = field(default_factory=user_functions.ParallelProcessParams)
    workers: int | None = None
    offset: float = 0.5

    @property
    def draws(self) -> int:
        """How many random numbers a recording takes."""
        return 0 if self.augmentation is None else DRAWS

    def batch(self, rows: Any, labels: Any, draws: Any) -> Any:
        """Finish a batch of recordings: a ragged int16 tensor, or float32 samples that are finished already."""
        import tensorflow as tf

        if not isinstance(rows, tf.RaggedTensor):
            return rows
        rate = 16000 if self.settings is None else self.settings["fe.sample_rate_hz"]

        def one(parts: Any) -> Any:
            clip, bits = parts
            wave = tf.cast(clip, tf.float32) / 32768.0
            if self.augmentation is None:
                return fitted(wave, self.length, tf.constant(self.offset))
            return augmented(wave, bits, self.augmentation, self.length, rate)

        spec = tf.TensorSpec((self.length,), tf.float32)
        waves = tf.map_fn(one, (rows, draws), fn_output_signature=spec)
        return self._heard(tf.ensure_shape(waves, (None, self.length)), labels, draws)

    def _heard(self, waves: Any, labels: Any, draws: Any) -> Any:
        """What the model sees of recordings of the right length."""
        import tensorflow as tf

        seeds = draws[:, CALL] if self.draws else tf.cast(labels, tf.int32)
        if self.before is not None:
            waves = user_functions.in_graph(self.before, self.params, waves, labels, seeds, (self.length,))
        if self.settings is None:
            return self._given_shape(waves, labels, seeds)
        pulses = tf.cast(tf.clip_by_value(tf.round(waves * 32768.0), -32768.0, 32767.0), tf.int16)
        rows = (self.length - _window(self.settings)) // _step(self.settings) + 1
        spec = tf.TensorSpec((rows, self.settings["fe.filterbank_n_channels"]), tf.float32)

        def hear(pulse: Any) -> Any:
            return tf.ensure_shape(frontend.spectrogram(pulse, self.settings or {}, self.dtype), spec.shape)

        return self.normalization.apply(
            self._given_shape(tf.map_fn(hear, pulses, fn_output_signature=spec), labels, seeds)
        )

    def _given_shape(self, x: Any, labels: Any, seeds: Any) -> Any:
        """Call the spec's last function, and give the result the shape that the model takes."""
        import tensorflow as tf

        if self.after is not None:
            x = user_functions.in_graph(self.after, self.params, x, labels, seeds, self.after_shape)
        return tf.reshape(x, (-1, *self.shape))

    @property
    def after_shape(self) -> tuple[int, ...]:
        """The shape of what the spec's last function gives: that of the sample, without a last dimension of 1."""
        return self.shape[:-1] if len(self.shape) == 3 and self.shape[-1] == 1 else self.shape


def _window(settings: Mapping[str, Any]) -> int:
    return int(settings["fe.window_size_ms"] * settings["fe.sample_rate_hz"]) // 1000


def _step(settings: Mapping[str, Any]) -> int:
    return int(settings["fe.window_step_ms"] * settings["fe.sample_rate_hz"]) // 1000


def augmented(wave: Any, bits: Any, how: Augmentation, length: int, rate: int) -> Any:
    """Take the random steps.

    Args:
        wave: A float32 tensor of shape (samples,), full scale from -1 to 1.
        bits: An int32 tensor of shape (DRAWS,): random bits.
        how: The steps.
        length: The wanted number of samples.
        rate: Samples a second.
    """
    drawn = unit(bits)

    def between(place: int, limits: tuple[float, float]) -> Any:
        return limits[0] + drawn[place] * (limits[1] - limits[0])

    if how.pitch is not None:
        wave = vocoder.shifted(wave, between(PITCH, how.pitch), 1.0 if how.speed is None else between(SPEED, how.speed))
    elif how.speed is not None:
        wave = vocoder.stretched(wave, between(SPEED, how.speed))
    if how.voice is not None:
        wave = vocoder.with_vocal_tract(wave, between(VOICE, how.voice), rate)
    wave = fitted(wave, length, between(OFFSET, how.offset))
    loudness = 1.0 if how.loudness is None else between(LOUDNESS, how.loudness)
    return wave * loudness + _noise(drawn, bits, how, length) * loudness


def fitted(wave: Any, length: int, offset: Any) -> Any:
    """Cut or pad a recording to a length.

    Args:
        wave: A float32 tensor of shape (samples,).
        length: The wanted number of samples.
        offset: From 0 to 1: which part of what is too much is cut off before, or of what lacks is added before.
    """
    import tensorflow as tf

    found = tf.shape(wave)[0]
    more, less = tf.maximum(found - length, 0), tf.maximum(length - found, 0)
    begin = tf.cast(tf.cast(more, tf.float32) * offset, tf.int32)
    before = tf.cast(tf.cast(less, tf.float32) * offset, tf.int32)
    cut = wave[begin : begin + length]
    return tf.ensure_shape(tf.pad(cut, [[before, less - before]]), (length,))


def _noise(drawn: Any, bits: Any, how: Augmentation, length: int) -> Any:
    """Coloured noise or a piece of a background recording; where a spec has both, one of them."""
    import tensorflow as tf

    kinds = []
    if how.colours:
        kinds.append(lambda: _coloured(drawn, bits, how, length))
    if how.backgrounds:
        kinds.append(lambda: _background(drawn, how, length))
    if not kinds:
        return tf.zeros((length,))
    return kinds[0]() if len(kinds) == 1 else tf.cond(drawn[WHICH] < 0.5, *kinds)


def _coloured(drawn: Any, bits: Any, how: Augmentation, length: int) -> Any:
    import tensorflow as tf

    places = np.arange(length // 2 + 1, dtype=np.float64)
    curves = np.zeros((len(how.colours), len(places)), np.float32)
    for number, colour in enumerate(how.colours):
        if colour != "none":
            # Without a constant part, which no noise has.
            curve = np.concatenate([[0.0], places[1:] ** EXPONENTS[colour]])
            # White noise of this spectrum has a root mean square of 1.
            curves[number] = curve / math.sqrt(np.mean(np.square(curve)))
    chosen = tf.gather(tf.constant(curves), tf.cast(drawn[COLOUR] * len(how.colours), tf.int32))
    white = tf.random.stateless_normal((length,), bits[NOISE_A : NOISE_B + 1])
    spectrum = tf.signal.rfft(white)[: len(places)] * tf.cast(chosen, tf.complex64)
    low, high = how.colour_size
    size = NOISE_LEVEL * (low + drawn[COLOUR_SIZE] * (high - low))
    return tf.signal.irfft(spectrum, [length]) * size


def _background(drawn: Any, how: Augmentation, length: int) -> Any:
    """A piece of one of the background recordings; a short one is repeated."""
    import tensorflow as tf

    lines = [line if len(line) > length else np.tile(line, length // len(line) + 2) for line in how.backgrounds]
    starts = np.cumsum([0, *(len(line) for line in lines)])
    flat = tf.constant(np.concatenate(lines).astype(np.float32))
    number = tf.cast(drawn[BACK] * len(lines), tf.int32)
    start, end = tf.gather(starts, number), tf.gather(starts, number + 1)
    spare = tf.cast(end - start - length, tf.float32)
    begin = tf.cast(start, tf.int32) + tf.cast(spare * drawn[BACK_PLACE], tf.int32)
    low, high = how.background_size
    return flat[begin : begin + length] * (low + drawn[BACK_SIZE] * (high - low))
