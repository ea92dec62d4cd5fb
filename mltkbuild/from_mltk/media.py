"""Reading and writing recordings and pictures in functions of specs, by path or by tensor, through Python's `open`.

What TensorFlow opens by itself no build can notice, so no file is opened by it here.
"""

from __future__ import annotations

import io
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import soundfile
import tensorflow as tf
from PIL import Image

from mltkbuild.data import audio_files, frontend, pixels
from mltkbuild.data.image_files import opened
from mltkbuild.data.user_functions import called_by_graph
from mltkbuild.errors import DataError

_TINY = 1e-6
"""Keeps quotients finite."""
_FIX = "replace it, or leave it out of the data set"


def path_of(path: Any) -> str:
    """A path that is text, bytes, an array of one of them, or an eager tensor."""
    value = path.numpy() if tf.is_tensor(path) else path
    value = value.item() if isinstance(value, np.ndarray | np.generic) else value
    return os.fsdecode(value)


def _is_symbolic(*values: Any) -> bool:
    return any(tf.is_tensor(value) and not hasattr(value, "numpy") for value in values)


# -- recordings ------------------------------------------------------------------------------------------------------


def read_audio_file(path: Any, return_sample_rate: bool = False, return_numpy: bool = True, **_: Any) -> Any:
    """Read a recording: wav, flac, ogg.

    Args:
        path: Text, or a tensor, also one of a `tf.data` function.
        return_sample_rate: Whether the rate is given, too.
        return_numpy: Whether arrays are given, not tensors.

    Returns:
        float32 of shape (samples,), full scale from -1 to 1, several channels mixed; with the samples a second.

    Raises:
        DataError: The file can't be read.
    """
    if _is_symbolic(path):
        samples, rate = tf.numpy_function(_read_audio, [path], (tf.float32, tf.int32))
        samples, rate = tf.ensure_shape(samples, [None]), tf.ensure_shape(rate, [])
        return (samples, rate) if return_sample_rate else samples
    samples, rate = _read_audio(path)
    if not return_numpy:
        samples, rate = tf.convert_to_tensor(samples), tf.convert_to_tensor(rate)
    elif return_sample_rate:
        rate = int(rate)
    return (samples, rate) if return_sample_rate else samples


@called_by_graph()
def _read_audio(path: Any) -> tuple[np.ndarray, np.int32]:
    name = path_of(path)
    try:
        samples, rate = soundfile.read(io.BytesIO(Path(name).read_bytes()), dtype="float32", always_2d=True)
        audio_files.check_rate(rate)
    except (OSError, soundfile.LibsndfileError, RuntimeError, ValueError, MemoryError) as error:
        raise DataError("a recording can't be read", where=name, found=str(error)[:200], fix=_FIX) from error
    return samples.mean(axis=1), np.int32(rate)


def write_audio_file(path: Any, sample: Any, sample_rate: int) -> Any:
    """Write a recording of 16 bits, to hear what a function made of it.

    Args:
        path: A `.wav` file, or a folder, in which the file is named by the time.
        sample: int16, or floats from -1 to 1, of shape (samples,) or (samples, channels).
        sample_rate: Samples a second.

    Returns:
        The file's path; a tensor in a function of `tf.data`.
    """
    if _is_symbolic(path, sample, sample_rate):
        return tf.numpy_function(_write_audio, [path, sample, sample_rate], tf.string)
    return _write_audio(path, sample, sample_rate).decode()


@called_by_graph()
def _write_audio(path: Any, sample: Any, rate: Any) -> bytes:
    values = np.asarray(sample)
    values = values if values.dtype == np.int16 else audio_files.as_int16(values)
    name = _named(path, ".wav")
    with open(name, "wb") as file:
        soundfile.write(file, values, int(rate), format="WAV", subtype="PCM_16")
    return os.fsencode(name)


def adjust_length(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    sample: np.ndarray,
    target_sr: int | None = None,
    original_sr: int | None = None,
    out_length: int | None = None,
    offset: float = 0.0,
    trim_threshold_db: float | None = 30.0,
) -> np.ndarray:
    """Bring a recording to a rate and a length.

    Args:
        sample: Floats of shape (samples,) or (samples, 1).
        target_sr: The rate wanted.
        original_sr: The rate that it has; None to leave it.
        out_length: How many samples are wanted; None for as many as there are.
        offset: Where of what is cut off the rest begins, or how much of what is missing comes first, from 0 to 1.
        trim_threshold_db: What is softer than the loudest part by so much is cut off at both ends; None for nothing.
    """
    column = sample.ndim == 2
    samples = sample[:, 0] if column else sample
    if original_sr and target_sr and original_sr != target_sr:
        samples = audio_files.resampled(samples, original_sr, target_sr)
    wanted = len(samples) if out_length is None else out_length
    samples = audio_files.trimmed(samples, trim_threshold_db) if trim_threshold_db else samples
    before = int(abs(len(samples) - wanted) * offset)
    if len(samples) > wanted:
        samples = samples[before : before + wanted]
    else:
        samples = np.pad(samples, (before, wanted - len(samples) - before))
    return samples[:, np.newaxis] if column else samples


def resample(sample: np.ndarray, *, orig_sr: int, target_sr: int, **_: Any) -> np.ndarray:
    """Bring a recording of shape (samples,) from one rate to another."""
    return audio_files.resampled(sample, orig_sr, target_sr)


def apply_frontend(sample: Any, settings: Mapping[str, Any], dtype: Any = np.float32) -> np.ndarray:
    """The spectrogram of a recording, as the device computes it.

    Args:
        sample: int16, or floats from -1 to 1, of shape (samples,) or (samples, 1).
        settings: `AudioFeatureGeneratorSettings`.
        dtype: uint16 for the front end's own values, float32 for the same as floats, int8 for values as TensorFlow
            Lite Micro's micro_speech scales them.

    Returns:
        An array of that type and of shape (rows, channels).
    """
    samples = np.asarray(sample).reshape(-1)
    if samples.dtype != np.int16:
        samples = audio_files.as_int16(samples)
    kind = np.dtype(dtype)
    features = frontend.spectrogram(tf.constant(samples), settings, kind.name)
    return np.asarray(features.numpy(), kind)


# -- pictures --------------------------------------------------------------------------------------------------------


def read_image_file(path: Any, target_channels: int | None = 0, return_numpy: bool = False) -> Any:
    """Read a picture.

    Args:
        path: Text, or a tensor, also one of a `tf.data` function.
        target_channels: 1, 3 or 4; 0 for as many as the file has.
        return_numpy: Whether an array is given, not a tensor.

    Returns:
        uint8 of shape (height, width, channels).

    Raises:
        DataError: The file can't be read.
    """
    channels = target_channels or 0
    if _is_symbolic(path):
        read = tf.numpy_function(lambda name: _read_image(name, channels), [path], tf.uint8)
        return tf.ensure_shape(read, [None, None, channels or None])
    found = _read_image(path, channels)
    return found if return_numpy else tf.convert_to_tensor(found)


@called_by_graph()
def _read_image(path: Any, channels: int) -> np.ndarray:
    name = path_of(path)
    with opened(Path(name)) as image:
        # Palettes and depths other than 8 bits have no channels of their own.
        own = image.mode if image.mode in pixels.MODES.values() else "RGB"
        # As TensorFlow decodes it, which MLTK had do this: 16 bits lose the lower ones, no orientation is obeyed.
        found = np.asarray(pixels.eight_bits(image, upright=False).convert(pixels.MODES.get(channels, own)))
    return found[..., np.newaxis] if found.ndim == 2 else found


def load_img(path: Any, *options: Any, **named: Any) -> Any:
    """Keras' function of this name, for the image formats that a data set may have.

    Args:
        path: The file, or one that is open.
        options: Keras' own.
        named: Keras' own.

    Returns:
        Pillow's image.

    Raises:
        DataError: The file can't be read.
    """
    content = path.getvalue() if isinstance(path, io.BytesIO) else Path(path)
    with opened(content):
        return keras.utils.load_img(io.BytesIO(content) if isinstance(content, bytes) else path, *options, **named)


def write_image_file(path: Any, sample: Any, auto_scale: bool = True) -> Any:
    """Write a picture, to see what a function made of it.

    Args:
        path: A `.jpg` or `.png` file, or a folder, in which the file is named by the time.
        sample: Of shape (height, width) or (height, width, channels): uint8; int8, to which 128 is added; or floats.
        auto_scale: Whether floats are spread from 0 to 255; else they are cut off there.

    Returns:
        The file's path; a tensor in a function of `tf.data`.
    """
    if _is_symbolic(path, sample):
        return tf.numpy_function(lambda name, values: _write_image(name, values, auto_scale), [path, sample], tf.string)
    return _write_image(path, sample, auto_scale).decode()


@called_by_graph()
def _write_image(path: Any, sample: Any, auto_scale: bool) -> bytes:
    values = np.asarray(sample)
    values = values[..., 0] if values.ndim == 3 and values.shape[-1] == 1 else values
    if values.dtype == np.int8:
        values = values.astype(np.int16) + 128
    elif np.issubdtype(values.dtype, np.floating) and auto_scale:
        values = (values - values.min()) * (255.0 / (np.ptp(values) + _TINY))
    name = _named(path, ".png" if path_of(path).endswith(".png") else ".jpg")
    Image.fromarray(np.clip(values, 0, 255).astype(np.uint8)).save(name, quality=95)
    return os.fsencode(name)


def _named(path: Any, suffix: str) -> str:
    """A file's path; one named by the time for a folder."""
    name = os.path.abspath(path_of(path))
    name = name if name.endswith(suffix) else os.path.join(name, f"{time.time_ns()}{suffix}")
    os.makedirs(os.path.dirname(name), exist_ok=True)
    return name


# -- values ----------------------------------------------------------------------------------------------------------


def normalize(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    x: np.ndarray,
    rescale: float | None = None,
    samplewise_center: bool = False,
    samplewise_std_normalization: bool = False,
    samplewise_normalize_range: tuple[float, float] | None = None,
    dtype: Any = None,
) -> np.ndarray:
    """Normalize one sample; the array that is given stays as it is.

    Args:
        x: The sample.
        rescale: What it is multiplied with.
        samplewise_center: Whether its mean is taken off.
        samplewise_std_normalization: Whether it is divided by its standard deviation.
        samplewise_normalize_range: From where to where its values are spread.
        dtype: The type of the result; float32 when None.
    """
    x = np.asarray(x, np.float32)
    if rescale:
        x = x * np.float32(rescale)
    if samplewise_center:
        x = x - x.mean()
    if samplewise_std_normalization:
        x = x / (x.std() + _TINY)
    if samplewise_normalize_range:
        lower, upper = map(float, samplewise_normalize_range)
        x = (upper - lower) * (x - x.min()) / (np.ptp(x) or 1.0) + lower
    return x.astype(dtype or np.float32)
