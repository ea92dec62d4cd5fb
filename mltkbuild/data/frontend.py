"""The audio front end that the device has: TensorFlow's microfrontend operation, and what MLTK's adds to it.

The filters and scalings follow the fixed-point arithmetic of MLTK's audio feature generator (`dc_notch_filter`,
`activity_detection` and `audio_feature_generation` of the Gecko SDK), so that a recording gives the same numbers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

_INT8_DIVISOR = 666
"""TensorFlow Lite Micro's micro_speech maps features from 0 to 25.6 * 26 to int8."""
_LN10_BY_20 = math.log(10) / 20


def spectrogram(samples: Any, settings: Mapping[str, Any], dtype: str = "float32") -> Any:
    """The spectrogram of a recording.

    Args:
        samples: An int16 tensor of shape (samples,).
        settings: Those of `AudioFeatureGeneratorSettings`, by their names with `fe.`.
        dtype: 'uint16' for the front end's own values, 'float32' for the same as floats, 'int8' for values scaled as
            the device scales them.

    Returns:
        A float32 tensor of shape (rows, channels) that holds values of that type.
    """
    import tensorflow as tf

    if settings["fe.dc_notch_filter_enable"]:
        coefficient = int(settings["fe.dc_notch_filter_coefficient"] * (1 << 15))
        length = samples.shape
        samples = tf.numpy_function(lambda given: without_dc(given, coefficient), [samples], tf.int16, stateful=False)
        samples.set_shape(length)
    values = tf.cast(_features(samples, settings), tf.int32)
    if dtype == "int8":
        values = _as_int8(values, settings)
    return tf.cast(values, tf.float32)


def _features(samples: Any, settings: Mapping[str, Any], *, plain: bool = False) -> Any:
    """TensorFlow's operation: uint16 values; `plain` gives the filter bank's own, before anything is reduced."""
    from tensorflow.lite.experimental.microfrontend.python.ops import audio_microfrontend_op

    reduces = settings["fe.noise_reduction_enable"] and not plain
    return audio_microfrontend_op.audio_microfrontend(
        samples,
        sample_rate=settings["fe.sample_rate_hz"],
        window_size=settings["fe.window_size_ms"],
        window_step=settings["fe.window_step_ms"],
        num_channels=settings["fe.filterbank_n_channels"],
        upper_band_limit=_upper_limit(settings),
        lower_band_limit=settings["fe.filterbank_lower_band_limit"],
        smoothing_bits=settings["fe.noise_reduction_smoothing_bits"],
        even_smoothing=settings["fe.noise_reduction_even_smoothing"],
        odd_smoothing=settings["fe.noise_reduction_odd_smoothing"],
        # The operation always reduces noise; where all of a signal remains it changes nothing.
        min_signal_remaining=settings["fe.noise_reduction_min_signal_remaining"] if reduces else 1.0,
        enable_pcan=settings["fe.pcan_enable"] and not plain,
        pcan_strength=settings["fe.pcan_strength"],
        pcan_offset=settings["fe.pcan_offset"],
        gain_bits=settings["fe.pcan_gain_bits"],
        enable_log=settings["fe.log_scale_enable"] and not plain,
        scale_shift=settings["fe.log_scale_shift"],
    )


def _upper_limit(settings: Mapping[str, Any]) -> float:
    """The upper limit of the bands, as near to half of the rate as TensorFlow's operation takes it.

    MLTK's and the device's take half of the rate itself: their bands may end behind the last frequency, which has no
    weight then. TensorFlow's must end before it. The limit that is told here is a few thousandths of a Hz lower, so
    that a few of the filters' weights, which are multiples of 1/4096, are the next one.

    Source: `FilterbankPopulateState` of the microfrontend, in its arithmetic.
    """
    upper, low = (
        np.float32(settings["fe.filterbank_upper_band_limit"]),
        _mel(settings["fe.filterbank_lower_band_limit"]),
    )
    bands = np.float32(settings["fe.filterbank_n_channels"] + 1)
    last = _mel(settings["fe.sample_rate_hz"] / 2)
    while low + (_mel(upper) - low) / bands * bands >= last:
        upper = np.nextafter(upper, np.float32(0))
    return float(upper)


def _mel(hertz: Any) -> np.float32:
    return np.float32(1127.0 * math.log1p(float(np.float32(hertz)) / 700.0))


def _as_int8(values: Any, settings: Mapping[str, Any]) -> Any:
    """Scale features to -128..127: by a fixed range, or from the loudest value down."""
    import tensorflow as tf

    if settings["fe.quantize_dynamic_scale_enable"]:
        reach = settings["fe.quantize_dynamic_scale_range_db"] * (1 << settings["fe.log_scale_shift"]) * _LN10_BY_20
        most = tf.reduce_max(values)
        least = tf.maximum(most - int(reach), 0)
        # Both are positive or clipped below, so that rounding down is what C does.
        scaled = (tf.maximum(values - least, 0) * 255) // tf.maximum(most - least, 1)
    else:
        scaled = (values * 256 + _INT8_DIVISOR // 2) // _INT8_DIVISOR
    return tf.clip_by_value(scaled - 128, -128, 127)


def without_dc(samples: np.ndarray, coefficient: int) -> np.ndarray:
    """Take the constant part out of a recording: y[n] = x[n] - x[n-1] + k y[n-1], in 16 bits, rounded as on the device.

    Args:
        samples: An int16 array of shape (samples,).
        coefficient: k as a 16-bit fixed-point number with 15 fractional bits.
    """
    steps = np.diff(samples, prepend=np.int16(0)).tolist()
    found = []
    last = 0
    for step in steps:
        last = (step + ((((coefficient * last) >> 14) + 1) >> 1) + 32768 & 0xFFFF) - 32768
        found.append(last)
    return np.array(found, np.int16)


def activity_was_detected(samples: np.ndarray, settings: Mapping[str, Any]) -> bool:
    """Whether the device's detector of sudden sounds would have tripped within a recording.

    Two filters of one pole follow the power of all channels, a fast one and a slow one. The detector is armed when the
    fast one falls below a part of the slow one, and trips when it then rises above another.

    Args:
        samples: An int16 array of shape (samples,).
        settings: Those of `AudioFeatureGeneratorSettings`, by their names with `fe.`.
    """
    import tensorflow as tf

    if settings["fe.dc_notch_filter_enable"]:
        samples = without_dc(samples, int(settings["fe.dc_notch_filter_coefficient"] * (1 << 15)))
    powers = _features(tf.convert_to_tensor(samples), settings, plain=True).numpy().astype(np.int64).sum(axis=1)
    scale = math.ceil(math.log2(settings["fe.filterbank_n_channels"]))
    fast, slow = (int(settings[f"fe.activity_detection_alpha_{name}"] * (1 << 8)) for name in "ab")
    arm, trip = (int(settings[f"fe.activity_detection_{name}_threshold"] * (1 << 12)) for name in ("arm", "trip"))
    near, far, armed = 0, 0, False
    for power in powers.tolist():
        near, far = (_followed(power >> scale, state, k) for state, k in ((near, fast), (far, slow)))
        if armed and near > (far * trip) >> 12:
            return True
        armed = armed or near < (far * arm) >> 12
    return False


def _followed(value: int, state: int, k: int) -> int:
    """One step of a filter of one pole, with 8 fractional bits."""
    return (((((1 << 8) - k) * value + k * state) >> 7) + 1) >> 1
