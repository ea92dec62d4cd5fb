"""The audio front end: the device's numbers, value for value where another implementation can tell them."""

from __future__ import annotations

import json
import tarfile
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from pymicro_features import MicroFrontend

from mltkbuild.data import audio_files, frontend
from mltkbuild.errors import SpecError
from mltkbuild.spec.audio_settings import VALUES, AudioFeatureGeneratorSettings

from ..conftest import REPOSITORY
from .recordings import tone

pytestmark = pytest.mark.real

# The one setting that pymicro-features has.
MICRO = AudioFeatureGeneratorSettings(
    window_size_ms=30,
    filterbank_n_channels=40,
    noise_reduction_enable=True,
    pcan_enable=True,
)
CHUNK = 320
DIGITS = REPOSITORY.parent / "shared/data/free-spoken-digit-dataset.tar.gz"


def pulses(seed: int = 0, seconds: float = 1.0, rate: int = 16000) -> np.ndarray:
    """Tones that come and go in noise, int16."""
    rng = np.random.default_rng(seed)
    count = int(seconds * rate)
    sound = sum(tone(float(rng.uniform(200, 3000)), seconds, rate) for _ in range(3))
    swell = np.interp(np.arange(count), np.linspace(0, count, 12), rng.uniform(0, 1, 12))
    return audio_files.as_int16(np.asarray(sound * swell * 0.5 + rng.normal(0, 0.02, count), np.float32))


def spectrogram(samples: np.ndarray, settings_: Any, dtype: str = "float32") -> np.ndarray:
    return np.asarray(frontend.spectrogram(tf.constant(samples), settings_, dtype))


def micro(samples: np.ndarray) -> np.ndarray:
    """What pymicro-features gives, in the front end's own numbers."""
    engine, rows = MicroFrontend(), []
    data = samples.tobytes()
    while len(data) >= CHUNK:
        output = engine.process_samples(data)
        if output.features:
            rows.append(output.features)
        data = data[output.samples_read * 2 :]
    return np.round(np.array(rows) * 25.6).astype(int)


@pytest.mark.parametrize("seed", range(4))
def test_values_are_those_of_pymicro_features(seed: int) -> None:
    """Nearly all values are equal, and none is off by more than its Fourier transform's rounding can do."""
    samples = pulses(seed)
    expected, found = micro(samples), spectrogram(samples, MICRO).astype(int)
    assert expected.shape == found.shape == MICRO.spectrogram_shape
    difference = np.abs(expected - found)
    assert np.mean(difference == 0) > 0.97
    assert np.mean(difference / np.maximum(expected, 1) <= 0.01) > 0.99


def test_real_speech_is_heard_as_pymicro_features_hears_it() -> None:
    """The same for recordings of speech."""
    if not DIGITS.exists():
        pytest.skip("needs shared/data/free-spoken-digit-dataset.tar.gz beside the repository")
    with tarfile.open(DIGITS) as archive:
        names = [name for name in archive.getnames() if name.endswith(("_jackson_7.wav", "_theo_3.wav"))]
        contents = [archive.extractfile(name) for name in names]
        clips = [audio_files.as_int16(audio_files.read(file.read(), 16000)) for file in contents if file is not None]
    same = close = count = 0
    for clip in clips:
        expected, found = micro(clip), spectrogram(clip, MICRO).astype(int)
        difference = np.abs(expected - found)
        same += int((difference == 0).sum())
        close += int((difference <= np.maximum(expected, 1) * 0.01).sum())
        count += difference.size
    assert len(clips) == 20
    assert same / count > 0.97
    assert close / count > 0.99


def test_steady_noise_is_reduced_and_gain_controlled() -> None:
    """Each switch changes the spectrogram; without noise reduction a steady tone stays."""
    samples = audio_files.as_int16(tone(1000.0, 1.0, 16000))
    plain = AudioFeatureGeneratorSettings()
    reduced = AudioFeatureGeneratorSettings(noise_reduction_enable=True)
    steady, gone = (spectrogram(samples, one) for one in (plain, reduced))
    assert abs(steady[5].max() - steady[-1].max()) < 0.02 * steady[5].max()
    assert gone[-1].max() < 0.9 * steady[-1].max()
    for name in ("pcan_enable", "dc_notch_filter_enable", "log_scale_enable"):
        other = AudioFeatureGeneratorSettings(**{name: not getattr(plain, name)})
        assert not np.array_equal(steady, spectrogram(samples, other)), name


def test_tone_is_in_its_channel() -> None:
    """A higher tone shows in a higher column."""
    peaks = [
        int(
            spectrogram(audio_files.as_int16(tone(hertz, 0.5, 16000)), AudioFeatureGeneratorSettings()).mean(0).argmax()
        )
        for hertz in (300, 1000, 3000, 6000)
    ]
    assert sorted(set(peaks)) == peaks


def test_int8_has_a_fixed_range() -> None:
    """int8 spectrograms go by TensorFlow Lite Micro's range: 666 of the front end's numbers are 256 steps."""
    samples = pulses()
    raw, small = spectrogram(samples, MICRO), spectrogram(samples, MICRO, "int8")
    np.testing.assert_array_equal(((raw.astype(int) * 256 + 333) // 666 - 128).clip(-128, 127), small)
    np.testing.assert_array_equal(raw, spectrogram(samples, MICRO, "uint16"))


def test_dynamic_scale_goes_from_the_loudest_down() -> None:
    """With dynamic scaling the loudest value is 127, and what is 40 dB below it, or lower, is -128."""
    dynamic = AudioFeatureGeneratorSettings(quantize_dynamic_scale_enable=True)
    samples = pulses()
    raw, found = spectrogram(samples, dynamic), spectrogram(samples, dynamic, "int8")
    assert (127, -128) == (found.max(), found.min())
    reach = int(40.0 * 64 * np.log(10) / 20)
    assert np.all(found[raw <= raw.max() - reach] == -128)
    silence = spectrogram(np.zeros(16000, np.int16), dynamic, "int8")
    assert np.isfinite(silence).all()


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(-32768, 32767), min_size=1, max_size=60), st.integers(0, 32768))
def test_notch_filter_is_the_device_s(values: list[int], coefficient: int) -> None:
    """y[n] = x[n] - x[n-1] + k y[n-1] in 16 bits, rounded half up, wrapping as the device's integers do."""
    expected, last, before = [], 0, 0
    for value in values:
        step = np.int32(value - before).astype(np.int16)
        product = (coefficient * last) >> 14
        last = int(np.int64(int(step) + ((product + 1) >> 1)).astype(np.int16))
        before = value
        expected.append(last)
    assert expected == frontend.without_dc(np.array(values, np.int16), coefficient).tolist()


def test_constant_voltage_goes() -> None:
    """A recording on a constant offset loses it."""
    samples = (pulses() // 4 + 6000).astype(np.int16)
    found = frontend.without_dc(samples, int(0.95 * (1 << 15)))
    assert abs(float(found[2000:].mean())) < 50


def test_activity_is_a_sound_after_silence() -> None:
    """The detector trips at a sound that begins, not in silence."""
    heard = AudioFeatureGeneratorSettings(activity_detection_enable=True)
    rng = np.random.default_rng(1)
    silence = rng.normal(0, 30, 16000).astype(np.int16)
    sound = np.concatenate([silence[:4000] * 8, silence[:8000], audio_files.as_int16(tone(800.0, 0.25, 16000))])
    assert frontend.activity_was_detected(sound, heard)
    assert not frontend.activity_was_detected(np.zeros(16000, np.int16), heard)


# -- the settings ----------------------------------------------------------------------------------------------------


def test_settings_are_those_of_mltk() -> None:
    """28 values with MLTK's names; arguments count, properties and keys are one; the transform's length follows."""
    found = AudioFeatureGeneratorSettings(
        sample_rate_hz=8000, filterbank_upper_band_limit=3800.0, **{"fe.window_size_ms": 32}
    )
    assert (28, 8000, 256) == (len(found), found["fe.sample_rate_hz"], found.fft_length)
    found.filterbank_n_channels = 20.0
    assert (20, (97, 20)) == (found["fe.filterbank_n_channels"], found.spectrogram_shape)
    copy = found.copy()
    copy.update({"fe.sample_length_ms": 500})
    assert (1000, 500) == (found.sample_length_ms, copy.sample_length_ms)
    assert found == AudioFeatureGeneratorSettings(**json.loads(json.dumps(found)))
    assert (98, 32) == AudioFeatureGeneratorSettings().spectrogram_shape
    assert 27 == len(VALUES)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("sample_rate", 8000, "no setting 'sample_rate'"),
        ("sample_length_ms", 0.5, "is in milliseconds"),
        ("filterbank_n_channels", 0, "a whole number from 1"),
        ("pcan_enable", 1, "True or False"),
        ("noise_reduction_even_smoothing", 2.0, "from 0 to 1"),
    ],
)
def test_wrong_setting_is_refused_where_it_is_set(name: str, value: object, text: str) -> None:
    """A misspelt setting and a value out of range are errors with the line."""
    with pytest.raises(SpecError, match=text) as caught:
        setattr(AudioFeatureGeneratorSettings(), name, value)
    assert __file__ in str(caught.value.where)


def test_settings_that_don_t_fit_each_other() -> None:
    """An empty spectrogram, bands above half of the rate, more bands than frequencies: errors with the fix."""
    for settings_, text in (
        ({"sample_length_ms": 20}, "would be empty"),
        ({"sample_rate_hz": 8000}, "don't fit the sample rate"),
        ({"filterbank_n_channels": 300}, "more frequency bands"),
    ):
        with pytest.raises(SpecError, match=text):
            AudioFeatureGeneratorSettings(**settings_).check()


@pytest.mark.parametrize("rate", [8000, 16000, 22050])
def test_bands_may_end_at_half_of_the_rate(rate: int) -> None:
    """As in MLTK; TensorFlow's operation gets a limit so little below it that the spectrogram hardly differs."""
    noise = tf.constant(np.random.default_rng(1).normal(0, 3000, rate).astype(np.int16))
    given = AudioFeatureGeneratorSettings(sample_rate_hz=rate, filterbank_upper_band_limit=rate / 2)
    near = AudioFeatureGeneratorSettings(sample_rate_hz=rate, filterbank_upper_band_limit=rate / 2 - 1)
    found = np.asarray(frontend.spectrogram(noise, given))
    assert given.spectrogram_shape == found.shape
    assert np.abs(found - np.asarray(frontend.spectrogram(noise, near))).max() <= 2
    assert rate / 2 == given.filterbank_upper_band_limit
