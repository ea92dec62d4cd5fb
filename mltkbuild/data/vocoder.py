"""Speed, pitch and voice of a recording, by TensorFlow's Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

_FRAME, _HOP = 1024, 256
_VOICE_HZ = 4800.0


def stretched(samples: Any, speed: Any) -> Any:
    """Play a recording faster or slower at the same pitch, by a phase vocoder.

    Frames are read at `speed` times the pace; magnitudes are mixed between neighbours, and each frequency's phase goes
    on by the step that it made there (Flanagan and Golden, Phase Vocoder, 1966).

    Args:
        samples: A float32 tensor of shape (n,).
        speed: A float32 scalar; 2 gives half of the length.

    Returns:
        A float32 tensor of shape (round(n / speed),).
    """
    import tensorflow as tf

    wanted = tf.cast(tf.round(tf.cast(tf.shape(samples)[0], tf.float32) / speed), tf.int32)
    # Padding lets the first and last samples lie in as many frames as the others, and gives short recordings a frame.
    padded = tf.pad(samples, [[_FRAME, _FRAME + _HOP]])
    frames = tf.signal.stft(padded, _FRAME, _HOP)
    count = tf.shape(frames)[0]
    places = tf.range(0.0, tf.cast(count - 1, tf.float32), speed)
    first = tf.cast(places, tf.int32)
    part = (places - tf.floor(places))[:, None]
    here, there = tf.gather(frames, first), tf.gather(frames, first + 1)
    size = (1.0 - part) * tf.abs(here) + part * tf.abs(there)
    expected = tf.constant(2 * math.pi * _HOP / _FRAME) * tf.range(_FRAME // 2 + 1, dtype=tf.float32)
    step = tf.math.angle(there) - tf.math.angle(here) - expected
    step = expected + step - 2 * math.pi * tf.round(step / (2 * math.pi))
    phase = tf.cumsum(tf.concat([tf.math.angle(frames[:1]), step[:-1]], axis=0))
    rebuilt = tf.signal.inverse_stft(
        tf.complex(size * tf.cos(phase), size * tf.sin(phase)),
        _FRAME,
        _HOP,
        window_fn=tf.signal.inverse_stft_window_fn(_HOP),
    )
    start = tf.cast(tf.round(_FRAME / speed), tf.int32)
    return tf.pad(rebuilt[start:], [[0, wanted]])[:wanted]


def shifted(samples: Any, semitones: Any) -> Any:
    """Raise a recording by semitones at the same length: stretch it, then read it faster.

    Args:
        samples: A float32 tensor of shape (n,).
        semitones: A float32 scalar.
    """
    import tensorflow as tf

    factor = tf.pow(2.0, semitones / 12.0)
    length = tf.shape(samples)[0]
    longer = stretched(samples, 1.0 / factor)
    places = tf.range(tf.cast(length, tf.float32)) * factor
    last = tf.maximum(tf.shape(longer)[0] - 1, 0)
    first = tf.minimum(tf.cast(places, tf.int32), last)
    part = places - tf.floor(places)
    return (1.0 - part) * tf.gather(longer, first) + part * tf.gather(longer, tf.minimum(first + 1, last))


def with_vocal_tract(samples: Any, factor: Any, rate: int) -> Any:
    """Give a recording another speaker's voice by warping its frequencies.

    Frequencies below 4800 Hz times min(factor, 1) are multiplied by the factor, those above brought linearly to the
    highest one (Jaitly and Hinton, Vocal Tract Length Perturbation, 2013).

    Args:
        samples: A float32 tensor of shape (n,).
        factor: A float32 scalar; 1 changes nothing.
        rate: Samples a second.
    """
    import tensorflow as tf

    length = tf.shape(samples)[0]
    frames = tf.signal.stft(tf.pad(samples, [[_FRAME, _FRAME + _HOP]]), _FRAME, _HOP)
    bins = _FRAME // 2
    half = rate / 2
    heard = tf.range(bins + 1, dtype=tf.float32) * (half / bins)
    bend = min(_VOICE_HZ, 0.6 * half) * tf.minimum(factor, 1.0)
    above = half - (half - heard) / (half - bend) * (half - bend / factor)
    # The result's frequency f shows what was at f / factor.
    places = tf.where(heard <= bend, heard / factor, above) * (bins / half)
    first = tf.clip_by_value(tf.cast(places, tf.int32), 0, bins - 1)
    part = tf.cast(tf.clip_by_value(places - tf.cast(first, tf.float32), 0.0, 1.0), tf.complex64)
    warped = (1.0 - part) * tf.gather(frames, first, axis=1) + part * tf.gather(frames, first + 1, axis=1)
    rebuilt = tf.signal.inverse_stft(warped, _FRAME, _HOP, window_fn=tf.signal.inverse_stft_window_fn(_HOP))
    return tf.pad(rebuilt[_FRAME:], [[0, length]])[:length]
