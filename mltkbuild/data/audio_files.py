"""Recordings from wav, flac and ogg files: one channel, one sample rate, without the silence at their ends."""

from __future__ import annotations

import io
import math
import os
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from mltkbuild.errors import DataError

SUFFIXES = (".wav", ".flac", ".ogg")
LONGEST_SECONDS = 60.0
"""Of a longer recording only the beginning is read."""
HIGHEST_RATE = 768_000
"""No converter samples faster; a file that claims more is damaged, and would be resampled for minutes."""
MOST_VALUES = 1 << 27
"""Half a GiB of numbers: a minute of sixteen channels at 96 kHz has fewer."""
_FRAME, _HOP = 2048, 512
_FIX = "replace it, take it out of the data set, or set my_model.bad_samples = 'skip'"


def read(content: bytes, rate: int, *, longest: float = LONGEST_SECONDS) -> np.ndarray:
    """Decode a recording.

    Args:
        content: The bytes of a file in a format that libsndfile knows: wav of 8 to 32 bits or floats, flac, ogg, ...
        rate: The wanted samples a second.
        longest: How many seconds are read at most.

    Returns:
        A float32 array of one dimension, full scale from -1 to 1; several channels are mixed evenly.

    Raises:
        DataError: The file is damaged, empty or too large, or claims a sample rate above 768 kHz.
    """
    try:
        with soundfile.SoundFile(io.BytesIO(content)) as file:
            found = int(file.samplerate)
            check_rate(found)
            frames = math.ceil(longest * found)
            _check_size(min(frames, file.frames), file.channels)
            samples = file.read(frames, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, RuntimeError, ValueError) as error:
        raise DataError(
            "a recording can't be read", found=str(error)[:200] or type(error).__name__, fix=_FIX
        ) from error
    if not samples.size:
        raise DataError("a recording is empty", found="no samples", fix=_FIX)
    if not np.isfinite(samples).all():
        raise DataError("a recording holds a value that is no finite number", fix=_FIX)
    return resampled(samples.mean(axis=1), found, rate)


def _check_size(frames: int, channels: int) -> None:
    if frames * channels > MOST_VALUES:
        found = f"{frames:,} samples of {channels} channels"
        raise DataError("a recording is too large", found=found, fix=_FIX)


def check_rate(rate: int) -> None:
    """Refuse a sample rate that no recording has.

    Raises:
        DataError: It isn't from 1 Hz to 768 kHz.
    """
    if not 0 < rate <= HIGHEST_RATE:
        raise DataError("a recording claims a sample rate that there isn't", found=f"{rate} Hz", fix=_FIX)


def read_folder(folder: str, rate: int) -> list[np.ndarray]:
    """Decode the recordings in a folder, in the order of their names.

    Raises:
        DataError: There is no such folder, it has no recordings, or one of them is damaged.
    """
    fix = f"set bg_noise_dir to a folder of {', '.join(SUFFIXES)} files, absolute or in the data set's folder"
    try:
        names = sorted(name for name in os.listdir(folder) if name.lower().endswith(SUFFIXES))
    except OSError as error:
        raise DataError(
            "the folder of background noise can't be read", where=folder, found=error.strerror, fix=fix
        ) from error
    if not names:
        raise DataError("the folder of background noise has no recordings", where=folder, fix=fix)
    return [read(Path(folder, name).read_bytes(), rate) for name in names]


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by SciPy's polyphase filter (Kaiser window, beta 5)."""
    if rate == wanted:
        return samples.astype(np.float32)
    common = math.gcd(rate, wanted)
    return np.asarray(resample_poly(samples, wanted // common, rate // common), np.float32)


def trimmed(samples: np.ndarray, below_db: float | None) -> np.ndarray:
    """Samples without the silence at both ends.

    Silence is where the root mean square of a frame of 2048 samples, 512 apart, is more than so many dB below that of
    the loudest frame, as librosa's `effects.trim` has it. A recording that is silent all through stays as it is.

    Args:
        samples: A float32 array of one dimension.
        below_db: How many dB; None or 0 leaves the recording as it is.
    """
    if not below_db:
        return samples
    padded = np.pad(samples.astype(np.float64), _FRAME // 2)
    count = 1 + len(samples) // _HOP
    sums = np.concatenate([[0.0], np.cumsum(np.square(padded))])
    begins = np.minimum(np.arange(count) * _HOP, len(padded) - _FRAME)
    power = (sums[begins + _FRAME] - sums[begins]) / _FRAME
    loud = np.flatnonzero(power > max(power.max(), 1e-10) * 10 ** (-below_db / 10))
    if not len(loud):
        return samples
    return samples[loud[0] * _HOP : min(len(samples), (loud[-1] + 1) * _HOP)]


def as_int16(samples: np.ndarray) -> np.ndarray:
    """Samples from -1 to 1 as a microphone gives them; louder ones are clipped."""
    return np.clip(np.round(samples * 32768.0), -32768, 32767).astype(np.int16)
