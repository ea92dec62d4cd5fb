"""Speed, pitch and voice of a recording, by TensorFlow's Fourier transforms."""

from __future__ import annotations

import math
from typing import Any

_FRAME, _HOP = 1024, 256
_BINS = _FRAME // 2
_VOICE_HZ = 4800.0
_TINY = 1e-30
"""The squared size of a number that counts as 0, whose direction is that of 1."""


def stretched(samples: Any, speed: Any) -> Any:
    """Play a recording faster or slower at the same pitch, by a phase vocoder.

    Frames are read at `speed` times the pace; magnitudes are mixed between neighbours, and each frequency's phase goes
    on by the step that it made there (Flanagan and Golden, Phase Vocoder, 1966). The frames that are written lie as far
    apart as those that are read, so a step may be any of the angles that differ by whole turns, and phases are kept as
    numbers of size 1: products in place of sums, and no angle is ever computed.

    Args:
        samples: A float32 tensor of shape (n,).
        speed: A float32 scalar; 2 gives half of the length.

    Returns:
        A float32 tensor of shape (round(n / speed),).
    """
    import tensorflow as tf

    wanted = tf.cast(tf.round(tf.cast(tf.shape(samples)[0], tf.float32) / speed), tf.int32)
    frames = _analyzed(samples)
    places = tf.range(0.0, tf.cast(tf.shape(frames)[0] - 1, tf.float32), speed)
    first = tf.cast(places, tf.int32)
    part = (places - tf.floor(places))[:, None]
    here, there = tf.gather(frames, first), tf.gather(frames, first + 1)
    size = (1.0 - part) * tf.abs(here) + part * tf.abs(there)
    return _rebuilt(size, _direction(frames[:1]), _direction(there * tf.math.conj(here)), wanted)


def shifted(samples: Any, semitones: Any, speed: Any = 1.0) -> Any:
    """Raise a recording by semitones: stretch it, then read it faster.

    Args:
        samples: A float32 tensor of shape (n,).
        semitones: A float32 scalar.
        speed: A float32 scalar; 1 keeps the length, 2 gives half of it.

    Returns:
        A float32 tensor of shape (round(n / speed),).
    """
    import tensorflow as tf

    factor = tf.pow(2.0, semitones / 12.0)
    length = tf.cast(tf.round(tf.cast(tf.shape(samples)[0], tf.float32) / speed), tf.int32)
    longer = stretched(samples, speed / factor)
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

    frames = _analyzed(samples)
    half = rate / 2
    heard = tf.range(_BINS + 1, dtype=tf.float32) * (half / _BINS)
    bend = min(_VOICE_HZ, 0.6 * half) * tf.minimum(factor, 1.0)
    above = half - (half - heard) / (half - bend) * (half - bend / factor)
    # The result's frequency f shows what was at f / factor.
    places = tf.where(heard <= bend, heard / factor, above) * (_BINS / half)
    first = tf.clip_by_value(tf.cast(places, tf.int32), 0, _BINS - 1)
    part = tf.clip_by_value(places - tf.cast(first, tf.float32), 0.0, 1.0)
    size = (1.0 - part) * tf.gather(tf.abs(frames), first, axis=1) + part * tf.gather(tf.abs(frames), first + 1, axis=1)
    nearest = tf.clip_by_value(tf.cast(tf.round(places), tf.int32), 0, _BINS)
    # A frequency that is moved goes on by as much more in each step.
    moved = tf.math.divide_no_nan(heard * (_BINS / half), places)
    steps = tf.gather(_steps(frames[:-1], frames[1:]), nearest, axis=1) * moved
    begin = tf.gather(_direction(frames[:1]), nearest, axis=1)
    return _rebuilt(size[:-1], begin, tf.complex(tf.cos(steps), tf.sin(steps)), tf.shape(samples)[0])


def _analyzed(samples: Any) -> Any:
    """The spectra of frames, the first one with the recording's beginning in its middle, without an edge there."""
    import tensorflow as tf

    lacking = tf.maximum(_FRAME - tf.shape(samples)[0], 0)
    long = tf.pad(samples, [[0, lacking]])
    padded = tf.pad(long, [[_BINS, _BINS]], "REFLECT")
    return tf.signal.stft(tf.pad(padded, [[0, _FRAME]]), _FRAME, _HOP)


def _steps(here: Any, there: Any) -> Any:
    """By how much each frequency's phase goes on from one frame to the next."""
    import tensorflow as tf

    expected = tf.constant(2 * math.pi * _HOP / _FRAME) * tf.range(_BINS + 1, dtype=tf.float32)
    step = tf.math.angle(there) - tf.math.angle(here) - expected
    return expected + step - 2 * math.pi * tf.round(step / (2 * math.pi))


def _direction(numbers: Any) -> Any:
    """Complex numbers of size 1 in the direction of those that are given."""
    import tensorflow as tf

    real, imaginary = tf.math.real(numbers), tf.math.imag(numbers)
    square = real * real + imaginary * imaginary
    is_any = square > _TINY
    scale = tf.math.rsqrt(tf.where(is_any, square, 1.0))
    return tf.complex(tf.where(is_any, real * scale, 1.0), tf.where(is_any, imaginary * scale, 0.0))


def _rebuilt(size: Any, begin: Any, turns: Any, wanted: Any) -> Any:
    """The recording of so many samples that has these magnitudes, and phases that go on by these turns."""
    import tensorflow as tf

    phase = tf.math.cumprod(tf.concat([begin, turns[:-1]], axis=0), axis=0)
    spectra = _locked(_sized(phase, size), size)
    window = tf.signal.inverse_stft_window_fn(_HOP)
    samples = tf.signal.inverse_stft(spectra, _FRAME, _HOP, window_fn=window)
    return tf.pad(samples[_BINS:], [[0, wanted]])[:wanted]


def _sized(directions: Any, size: Any) -> Any:
    import tensorflow as tf

    return tf.complex(tf.math.real(directions) * size, tf.math.imag(directions) * size)


def _locked(spectra: Any, size: Any) -> Any:
    """Let a peak's neighbours have phases that fit its own, half a turn apart as a window has them.

    Phases that went on by themselves since the last beginning of a sound would else cancel each other (Puckette,
    Phase-locked Vocoder, 1995).
    """
    import tensorflow as tf

    zero = tf.zeros_like(spectra[:, :1])
    below, above = tf.concat([zero, spectra[:, :-1]], axis=1), tf.concat([spectra[:, 1:], zero], axis=1)
    return _sized(_direction(spectra - below - above), size)
