"""Folders of recordings and pictures as `tf.data`, and own functions on them."""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import soundfile
import tensorflow as tf

from mltkbuild.data.user_functions import called_by_graph
from mltkbuild.disk.door import Door
from mltkbuild.errors import DataError
from mltkbuild.from_mltk.listing import list_dataset_directory
from mltkbuild.from_mltk.media import read_audio_file, read_image_file

_UNKNOWN, _SILENCE = "_unknown_", "_silence_"
_SILENT = ""
"""Stands for a recording of a second of silence: it has no file."""


def load_audio_directory(  # noqa: PLR0913, PLR0917  # the arguments are MLTK's
    directory: str,
    classes: Sequence[str],
    unknown_class_percentage: float = 1.0,
    silence_class_percentage: float = 1.0,
    onehot_encode: bool = False,
    sample_rate_hz: int | None = None,
    return_audio_data: bool = False,
    return_audio_sample_rate: bool = False,
    white_list_formats: Sequence[str] | None = None,
    **more: Any,
) -> tuple[Any, Any]:
    """The recordings of some classes.

    Args:
        directory: A folder with a folder for each class.
        classes: The labels; `_unknown_` has samples of the other folders, `_silence_` has silence.
        unknown_class_percentage: How many of `_unknown_`, by the mean of the other classes.
        silence_class_percentage: The same of `_silence_`.
        onehot_encode: Whether labels are one-hot.
        sample_rate_hz: The rate of the silence; 16000 when None.
        return_audio_data: Whether the recordings are read; else their paths are given.
        return_audio_sample_rate: Whether each comes with its rate.
        white_list_formats: Endings of names; `.wav` when None.
        more: Further arguments of `list_dataset_directory`.

    Returns:
        A `tf.data.Dataset` of the samples and one of their labels.
    """
    paths, labels = list_dataset_directory(
        directory,
        classes,
        unknown_class_percentage=unknown_class_percentage,
        unknown_class_label=_UNKNOWN,
        empty_class_percentage=silence_class_percentage,
        empty_class_label=_SILENCE,
        white_list_formats=white_list_formats or (".wav",),
        return_absolute_paths=True,
        **more,
    )
    rate = sample_rate_hz if sample_rate_hz and sample_rate_hz > 0 else 16_000
    if not return_audio_data and None in paths:
        silence = _silence_file(rate)
        paths = [path or silence for path in paths]
    samples = tf.data.Dataset.from_tensor_slices([path or _SILENT for path in paths])
    if return_audio_data:
        samples = samples.map(lambda path: _read(path, rate, return_audio_sample_rate))
    return samples, _labels(labels, classes, onehot_encode)


def _read(path: Any, rate: int, with_rate: bool) -> Any:
    def silence() -> tuple[Any, Any]:
        return tf.zeros([rate], tf.float32), tf.constant(rate, tf.int32)

    def recording() -> tuple[Any, Any]:
        samples, found = read_audio_file(path, return_sample_rate=True, return_numpy=False)
        return samples, found

    samples, found = tf.cond(tf.equal(path, _SILENT), silence, recording)
    samples = tf.ensure_shape(samples, [None])
    return (samples, found) if with_rate else samples


def _silence_file(rate: int) -> str:
    """A recording of a second of silence, outside the data set, for functions that want a path."""
    path = os.path.join(tempfile.gettempdir(), f"mltkbuild_silence_{rate}hz.wav")
    sound = io.BytesIO()
    soundfile.write(sound, np.zeros(rate, np.int16), rate, format="WAV")
    Door(os.path.dirname(path)).write(path, sound.getvalue(), f".{os.getpid()}")
    return path


def load_image_directory(
    directory: str,
    classes: Sequence[str],
    onehot_encode: bool = False,
    return_image_data: bool = False,
    white_list_formats: Sequence[str] | None = None,
    **more: Any,
) -> tuple[Any, Any]:
    """The pictures of some classes.

    Args:
        directory: A folder with a folder for each class.
        classes: The labels; `_unknown_` has samples of the other folders.
        onehot_encode: Whether labels are one-hot.
        return_image_data: Whether the pictures are read; else their paths are given.
        white_list_formats: Endings of names; `.png`, `.jpg` and `.jpeg` when None.
        more: Further arguments of `list_dataset_directory`.

    Returns:
        A `tf.data.Dataset` of the samples and one of their labels.
    """
    paths, labels = list_dataset_directory(
        directory,
        classes,
        unknown_class_label=_UNKNOWN,
        white_list_formats=white_list_formats or (".png", ".jpg", ".jpeg"),
        return_absolute_paths=True,
        **more,
    )
    samples = tf.data.Dataset.from_tensor_slices(paths)
    return samples.map(read_image_file) if return_image_data else samples, _labels(labels, classes, onehot_encode)


def _labels(labels: Sequence[int], classes: Sequence[str], onehot: bool) -> Any:
    found = tf.data.Dataset.from_tensor_slices(np.array(labels, np.int32))
    return found.map(lambda label: tf.one_hot(label, len(classes), dtype=tf.int32)) if onehot else found


class Pool:
    """What `parallel_process` gives beside the data set; there are no processes to end."""

    def shutdown(self) -> None:
        """Nothing is held."""

    close = shutdown


def parallel_process(
    dataset: Any, callback: Callable[..., Any], dtype: Any = np.float32, pool: Pool | None = None, **_: Any
) -> tuple[Any, Pool]:
    """Let a function of NumPy's change each element.

    MLTK runs it in processes. Here it runs in this one and in order, ahead of the training, so that what it draws from
    NumPy's random numbers is the same in every run; and the shapes of what it gives stay known.

    Args:
        dataset: A `tf.data.Dataset` of at least one element.
        callback: Takes an element's arrays, and gives an array, or several; all elements must give the same shapes.
        dtype: The type of the result, or one for each.
        pool: What an earlier call gave.

    Returns:
        The changed data set, and what stands for MLTK's pool.
    """
    several = isinstance(dtype, list | tuple)
    kinds = [tf.as_dtype(kind) for kind in (dtype if several else [dtype])]

    @called_by_graph()
    def call(*values: Any) -> list[np.ndarray]:
        found = callback(*values)
        arrays = found if several else [found]
        return [np.asarray(array, kind.as_numpy_dtype) for array, kind in zip(arrays, kinds, strict=True)]

    first = next(iter(dataset.take(1).as_numpy_iterator()), None)
    if first is None:
        fix = "give more samples, or batch them without drop_remainder"
        raise DataError("parallel_process got a data set without elements", found=str(dataset.element_spec), fix=fix)
    state = np.random.get_state()  # the function may draw from it
    shapes = [array.shape for array in call(*(first if isinstance(first, tuple) else (first,)))]
    np.random.set_state(state)

    def process(*values: Any) -> Any:
        found = tf.numpy_function(call, values, kinds)
        known = tuple(tf.ensure_shape(array, shape) for array, shape in zip(found, shapes, strict=True))
        return known if several else known[0]

    return dataset.map(process).prefetch(tf.data.AUTOTUNE), pool or Pool()


def enable_numpy_behavior() -> bool:
    """Let tensors behave as NumPy's arrays do, and say that they do."""
    tf.experimental.numpy.experimental_enable_numpy_behavior()
    return True
