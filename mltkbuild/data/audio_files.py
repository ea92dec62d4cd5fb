"""Recordings from wav, mp3 and other files: one channel, one sample rate, without the silence at their ends."""

from __future__ import annotations

import io
import math
import os
from fractions import Fraction
from pathlib import Path

import numpy as np
import soundfile
from scipy.signal import resample_poly

from mltkbuild.data import wav_claims
from mltkbuild.data.told import Tell, Told, unheard
from mltkbuild.errors import DataError

SUFFIXES = (
    *(".wav", ".wave", ".bwf", ".rf64", ".w64", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".mp2"),
    *(".aiff", ".aif", ".aifc", ".au", ".snd", ".caf", ".voc", ".sph", ".nist", ".avr", ".paf", ".pvf", ".ircam"),
)
"""How the names of files end that libsndfile reads, wherever a folder of recordings is read."""
LONGEST_SECONDS = 60.0
"""Of a longer recording only the beginning is read."""
HIGHEST_RATE = 768_000
"""No converter samples faster; a file that claims more is damaged, and would be resampled for minutes."""
LOWEST_RATE = 100
"""No microphone is sampled slower, and what claims it becomes hours. A model that hears slower sets its own limit."""
LONG = f"longer than {LONGEST_SECONDS:g} s; the beginning was read"
_BLOCK = 1 << 24
"""So many numbers are read at a time: a minute of most recordings, so that no decoder need go back."""
_LARGEST_TERM = 1 << 16
"""The filter that resamples is twenty times as long; for a longer one nearly the same ratio is taken."""
_PRECISION = 2e-5
"""A ratio may be off by this part, which is less than most clocks are."""
_UNKNOWN_LENGTH = 1 << 60
_FLOATS = ("FLOAT", "DOUBLE")
_FAR = 100.0
_FRAME, _HOP = 2048, 512
_FIX = "replace it, take it out of the data set, or set my_model.bad_samples = 'skip'"


def read(
    content: bytes, rate: int, *, longest: float = LONGEST_SECONDS, fix: str = _FIX, tell: Tell = unheard
) -> np.ndarray:
    """Decode a recording.

    Args:
        content: The bytes of a file in a format that libsndfile knows: wav of 8 to 32 bits or floats, flac, mp3, ...
        rate: The wanted samples a second.
        longest: How many seconds are read at most.
        fix: What to do about a file that can't be read.
        tell: Takes what the file claims wrongly, what lies beyond full scale, and what was done about it.

    Returns:
        A float32 array of one dimension, full scale from -1 to 1; several channels are mixed evenly.

    Raises:
        DataError: The file is damaged or empty, or claims a sample rate that there isn't.
    """
    content = wav_claims.mended(content, tell)
    try:
        with soundfile.SoundFile(_Content(content)) as file:
            found = int(file.samplerate)
            check_rate(found, min(LOWEST_RATE, rate), fix=fix)
            samples = _mixed(file, math.ceil(longest * found))
            wav_claims.tell_of_rest(content, file.frames, file.extra_info, tell)
            _tell(file, len(samples), math.ceil(longest * found), tell)
            is_float = file.subtype in _FLOATS
    except (soundfile.LibsndfileError, RuntimeError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        raise DataError("a recording can't be read", found=str(error)[:200] or type(error).__name__, fix=fix) from error
    if not samples.size:
        raise DataError("a recording is empty", found=f"no samples in {len(content):,} bytes", fix=fix)
    if not np.isfinite(samples).all():
        raise DataError("a recording holds a value that is no finite number", fix=fix)
    if is_float:
        check_scale(samples, tell)
    return resampled(samples, found, rate)


class _Content(io.BytesIO):
    """A file as libsndfile sees it, which a damaged header may send before its beginning: it stays where it is then."""

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a place, if there is one."""
        try:
            return super().seek(offset, whence)
        except ValueError:
            return self.tell()


def _mixed(file: soundfile.SoundFile, frames: int) -> np.ndarray:
    """So many samples at most, channels mixed; of what a header claims no more is reserved than is there."""
    each = max(1, _BLOCK // file.channels)
    parts = [np.empty(0, np.float32)]
    while frames > 0:
        part = file.read(min(each, frames), dtype="float32", always_2d=True)
        if not len(part):
            break
        with np.errstate(all="ignore"):  # what isn't finite is an error later
            parts.append(part.mean(axis=1))
        frames -= len(part)
    return np.concatenate(parts)


def _tell(file: soundfile.SoundFile, read: int, wanted: int, tell: Tell) -> None:
    """Tell that a file has fewer samples than it claims, or more than were wanted."""
    if read < min(wanted, file.frames) and file.frames < _UNKNOWN_LENGTH:
        tell(wav_claims.CUT)
    if wanted < file.frames < _UNKNOWN_LENGTH:
        tell(LONG)


def check_scale(samples: np.ndarray, tell: Tell, what: str = "what the file holds") -> None:
    """Tell of samples that aren't from -1 to 1, which become integers later."""
    peak = float(np.abs(samples).max(initial=0))
    if peak >= _FAR:
        tell(f"far beyond full scale, which is from -1 to 1, in {what}; clipped there")
    elif peak > 1:
        tell(f"beyond full scale in {what}; clipped there")


def check_rate(rate: int, lowest: int = 1, *, fix: str = _FIX) -> None:
    """Refuse a sample rate that no recording has.

    Raises:
        DataError: It isn't from the lowest to 768 kHz.
    """
    if not lowest <= rate <= HIGHEST_RATE:
        raise DataError("a recording claims a sample rate that there isn't", found=f"{rate} Hz", fix=fix)


def read_folder(folder: str, rate: int) -> list[np.ndarray]:
    """Decode the recordings in a folder, in the order of their names.

    Raises:
        DataError: There is no such folder, it has no recordings, or one of them is damaged.
    """
    paths = recordings_in(folder, Told())
    if not paths:
        raise DataError("the folder of background noise has no recordings", where=folder, fix=_NOISE)
    return [_noise(path, rate) for path in paths]


_NOISE = f"set bg_noise_dir to a folder of {', '.join(SUFFIXES)} files, absolute or in the data set's folder"


def _noise(path: Path, rate: int) -> np.ndarray:
    try:
        fix = "replace it, or take it out of the folder of background noise"
        return read(path.read_bytes(), rate, fix=fix)
    except DataError as error:
        raise error.at(str(path)) from error.__cause__


def recordings_in(folder: str, told: Told) -> list[Path]:
    """The recordings in a folder, sorted; hidden ones are left out, and what is passed over is told.

    Raises:
        DataError: There is no such folder.
    """
    try:
        names = sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise DataError(
            "the folder of background noise can't be read", where=folder, found=error.strerror, fix=_NOISE
        ) from error
    found = [name for name in names if name.lower().endswith(SUFFIXES)]
    for name in sorted(set(names) - set(found)):
        if os.path.isfile(os.path.join(folder, name)):
            told.pass_over(f"{os.path.basename(folder)}/{name}")
    return [Path(folder, name) for name in found]


def resampled(samples: np.ndarray, rate: int, wanted: int) -> np.ndarray:
    """Samples at another rate, by SciPy's polyphase filter (Kaiser window, beta 5)."""
    if rate == wanted:
        return samples.astype(np.float32)
    up, down = _ratio(wanted, rate)
    return np.asarray(resample_poly(samples, up, down), np.float32)


def _ratio(wanted: int, rate: int) -> tuple[int, int]:
    """The ratio of two rates in lowest terms; of large terms, whose filter would take seconds and 700 MB, nearly so."""
    exact = Fraction(wanted, rate)
    if max(exact.as_integer_ratio()) <= _LARGEST_TERM:
        return exact.as_integer_ratio()
    near = exact.limit_denominator(_LARGEST_TERM) if exact < 1 else 1 / (1 / exact).limit_denominator(_LARGEST_TERM)
    return (near if abs(near / exact - 1) < _PRECISION else exact).as_integer_ratio()


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
