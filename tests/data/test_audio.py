"""Recordings: reading, random steps, further classes."""

from __future__ import annotations

import io
import os
import struct
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data import audio_files, audio_transform, vocoder
from mltkbuild.data.audio_transform import AudioTransform, Augmentation, augmented, fitted
from mltkbuild.data.listing import Item
from mltkbuild.data.normalizing import Normalization
from mltkbuild.data.told import Told
from mltkbuild.errors import DataError, SpecError
from mltkbuild.spec.any_model import AnyModel, any_model
from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator
from mltkbuild.spec.audio_mixin import AudioDatasetMixin
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings
from mltkbuild.spec.mixins import EvaluateClassifierMixin, TrainMixin
from mltkbuild.spec.model import MltkModel
from mltkbuild.stages.prepare_audio import SILENCE, UNKNOWN, anomalies, list_samples, preparation

from .recordings import tone, write_tone

pytestmark = pytest.mark.real

RATE = 16000
FRONT = AudioFeatureGeneratorSettings(sample_length_ms=500)


class Model(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """A spec's model."""


def model(*classes: str, **settings_: Any) -> AnyModel:
    found = any_model(Model())
    found.classes = list(classes)
    found.datagen = ParallelAudioDataGenerator(**{"frontend_settings": FRONT.copy(), **settings_})
    return found


def recording(samples: np.ndarray, rate: int = RATE, kind: str = "WAV", subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format=kind, subtype=subtype)
    return file.getvalue()


def peak(samples: np.ndarray, rate: int = RATE) -> float:
    """The strongest frequency, in Hz."""
    power = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(np.fft.rfftfreq(len(samples), 1 / rate)[power.argmax()])


def bits(seed: int, count: int = 1) -> Any:
    found = np.random.default_rng(seed).integers(-(2**31), 2**31, (count, audio_transform.DRAWS))
    return tf.constant(found.astype(np.int32))


# -- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", None), ("WAV", "PCM_24"), ("WAV", "PCM_U8"), ("WAV", "FLOAT"), ("FLAC", None), ("OGG", "VORBIS")],
)
def test_formats_give_the_same_sound(kind: str, subtype: str | None) -> None:
    """Wav of 8, 16 and 24 bits and of floats, flac and ogg are read alike, each as exactly as it can be."""
    sound = tone(440.0, 0.5, RATE)
    found = audio_files.read(recording(sound, RATE, kind, subtype), RATE)
    allowed = 0.1 if kind == "OGG" else 0.02 if subtype == "PCM_U8" else 1e-4
    assert np.float32 == found.dtype
    np.testing.assert_allclose(found, sound, atol=allowed)


def test_channels_are_mixed_and_rates_changed() -> None:
    """Two channels become their mean; another rate keeps length and pitch."""
    left, right = tone(440.0, 0.5, 44100), tone(880.0, 0.5, 44100)
    both = audio_files.read(recording(np.stack([left, right], axis=1), 44100), 44100)
    np.testing.assert_allclose((left + right) / 2, both, atol=1e-3)
    slow = audio_files.read(recording(left, 44100), RATE)
    assert 8000 == len(slow)
    assert pytest.approx(440.0, abs=5) == peak(slow)


def test_long_recording_is_read_as_far_as_it_is_used() -> None:
    """Of two hours only the first minute is decoded."""
    silence = np.zeros(2 * 3600 * 8000, np.int16)
    assert len(audio_files.read(recording(silence, 8000, "FLAC"), 8000)) == 60 * 8000


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "can't be read"),
        (b"RIFF\x00\x00\x00\x00WAVE", "can't be read"),
        (b"some text", "can't be read"),
        (recording(np.zeros(0, np.int16)), "is empty"),
        (recording(np.full(100, np.nan, np.float32), subtype="FLOAT"), "no finite number"),
    ],
)
def test_what_is_no_recording_is_an_error(content: bytes, text: str) -> None:
    """Empty, cut and made-up files are errors that say what."""
    with pytest.raises(DataError, match=text):
        audio_files.read(content, RATE)


def as_wav(rate: int, channels: int = 1, frames: int = 400) -> bytes:
    """A silent recording of 8 bits, whose header says whatever rate."""
    data = bytes([128]) * frames * channels
    form = struct.pack("<HHIIHH", 1, channels, rate, rate * channels % 2**32, channels, 8)
    chunks = b"fmt " + struct.pack("<I", len(form)) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


@pytest.mark.parametrize("rate", [1, 99, 768_001, 10_000_019, 100_000_007, 2_147_483_647])
def test_rate_that_there_is_not_is_an_error(rate: int) -> None:
    """A small file that claims it would be resampled for minutes, in gigabytes, or become hours."""
    with pytest.raises(DataError, match="a sample rate that there isn't"):
        audio_files.read(as_wav(rate), 16_000)


@pytest.mark.parametrize("rate", [100, 44_100, 767_999, 768_000])
def test_odd_rates_are_read(rate: int) -> None:
    """Each rate that there may be is resampled."""
    found = audio_files.read(as_wav(rate, frames=400), 16_000)
    assert np.isfinite(found).all()
    assert pytest.approx(400 * 16_000 / rate, abs=1) == len(found)


def test_a_slow_model_hears_slow_recordings() -> None:
    """What is no rate for a microphone is one for a model that takes it."""
    assert 400 == len(audio_files.read(as_wav(50), 50))
    with pytest.raises(DataError, match="a sample rate that there isn't"):
        audio_files.read(as_wav(49), 50)


@settings(deadline=None, max_examples=200, database=None)
@given(st.integers(100, 100_000), st.integers(100, 768_000))
def test_ratio_of_rates_is_theirs(wanted: int, rate: int) -> None:
    """Two rates are brought together as exactly as a clock is, by a filter that fits into memory."""
    up, down = audio_files._ratio(wanted, rate)
    assert pytest.approx(wanted / rate, rel=2e-5) == up / down
    assert max(up, down) <= 1 << 16


def test_blocks_make_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording that is read in parts, for it is long or has many channels, is the same."""
    content = recording(np.random.default_rng(3).uniform(-1, 1, (1000, 3)), 8000, subtype="PCM_24")
    whole = audio_files.read(content, 8000)
    monkeypatch.setattr(audio_files, "_BLOCK", 100)
    np.testing.assert_array_equal(whole, audio_files.read(content, 8000))


def test_silence_at_the_ends_is_trimmed() -> None:
    """What is so many dB below the loudest goes at both ends, not in between; silence all through stays."""
    gap = np.zeros(RATE // 2, np.float32)
    sound = np.concatenate([gap, tone(440.0, 0.3, RATE), gap, tone(440.0, 0.3, RATE), gap])
    found = audio_files.trimmed(sound, 20)
    assert pytest.approx(1.1 * RATE, abs=3 * 1024) == len(found)
    assert len(sound) == len(audio_files.trimmed(sound, None))
    assert len(gap) == len(audio_files.trimmed(gap, 20))


@pytest.mark.parametrize(("factor", "told"), [(1.0, []), (4.0, ["beyond"]), (32768.0, ["far"]), (np.nan, None)])
def test_function_that_leaves_the_scale_is_told(factor: float, told: list[str] | None) -> None:
    """What a spec's function makes of a recording is clipped, not in silence; what is no number is an error."""
    spec = model("yes", "no", noaug_preprocessing_function=lambda params, x: x * factor)
    said: list[str] = []
    prepared = preparation(spec, "training")
    sound = tone(440.0, 0.3, RATE) * 2
    if told is None:
        with pytest.raises(DataError, match="no finite number"):
            prepared.row(Item("yes/1.wav", "", 0), recording(sound), random=True, tell=said.append)
    else:
        prepared.row(Item("yes/1.wav", "", 0), recording(sound), random=True, tell=said.append)
        assert told == [text.partition(" ")[0] for text in said]
        assert all("noaug_preprocessing_function" in text for text in said)


# -- random steps ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("speed", [0.5, 0.8, 1.3, 2.0])
def test_speed_changes_the_length_alone(speed: float) -> None:
    """Twice the speed is half the length, at the same pitch and loudness."""
    sound = tone(440.0, 1.0, RATE)
    found = vocoder.stretched(tf.constant(sound), tf.constant(speed)).numpy()
    assert pytest.approx(RATE / speed, abs=1) == len(found)
    middle = found[len(found) // 4 : -len(found) // 4]
    assert pytest.approx(440.0, abs=10) == peak(middle)
    assert pytest.approx(float(sound.std()), rel=0.15) == float(middle.std())


@pytest.mark.parametrize(("semitones", "hertz"), [(12.0, 880.0), (-12.0, 220.0), (7.0, 659.3), (0.0, 440.0)])
def test_pitch_changes_the_frequency_alone(semitones: float, hertz: float) -> None:
    """Twelve semitones are an octave; the length stays."""
    found = vocoder.shifted(tf.constant(tone(440.0, 1.0, RATE)), tf.constant(semitones)).numpy()
    assert RATE == len(found)
    assert pytest.approx(hertz, abs=8) == peak(found[4000:-4000])


def test_speed_and_pitch_change_together() -> None:
    """Faster by a quarter and higher by an octave, in one pass."""
    found = vocoder.shifted(tf.constant(tone(440.0, 1.0, RATE)), tf.constant(12.0), tf.constant(1.25)).numpy()
    assert pytest.approx(RATE / 1.25, abs=1) == len(found)
    assert pytest.approx(880.0, abs=8) == peak(found[3000:-3000])


def test_sound_is_heard_behind_digital_silence() -> None:
    """Where there is nothing there is no direction to keep: silence stays silence, and what follows it stays."""
    gap = np.zeros(RATE, np.float32)
    sound = np.concatenate([gap, tone(440.0, 1.0, RATE), gap])
    found = vocoder.stretched(tf.constant(sound), tf.constant(1.0)).numpy()
    assert not found[2000:-2000][: RATE - 6000].any()
    assert pytest.approx(440.0, abs=5) == peak(found[RATE + 2000 : 2 * RATE - 2000])
    assert pytest.approx(float(sound.std()), rel=0.05) == float(found.std())
    assert not vocoder.stretched(tf.constant(gap), tf.constant(1.3)).numpy().any()


@pytest.mark.parametrize(("factor", "hertz"), [(1.1, 1100.0), (0.9, 900.0), (1.0, 1000.0)])
def test_voice_moves_frequencies(factor: float, hertz: float) -> None:
    """Another vocal tract moves a low frequency by its factor, and keeps the length."""
    found = vocoder.with_vocal_tract(tf.constant(tone(1000.0, 1.0, RATE)), tf.constant(factor), RATE).numpy()
    assert RATE == len(found)
    assert pytest.approx(hertz, abs=20) == peak(found[4000:-4000])


@given(st.integers(1, 50), st.integers(1, 50), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_recording_is_cut_or_padded_at_an_offset(found: int, wanted: int, offset: float) -> None:
    """What is too long is cut, what is too short padded, by the offset's part before it."""
    clip = np.arange(1, found + 1, dtype=np.float32)
    result = fitted(tf.constant(clip), wanted, tf.constant(offset, tf.float32)).numpy()
    assert wanted == len(result)
    if found >= wanted:
        begin = int(np.float32(found - wanted) * np.float32(offset))
        np.testing.assert_array_equal(clip[begin : begin + wanted], result)
    else:
        before = int(np.float32(wanted - found) * np.float32(offset))
        np.testing.assert_array_equal(np.pad(clip, (before, wanted - found - before)), result)


@pytest.mark.parametrize("colour", ["white", "pink", "brown", "blue", "violet"])
def test_noise_has_its_colour_and_strength(colour: str) -> None:
    """Power goes with frequency as the colour says; the root mean square is 1 % of full scale times the strength."""
    how = Augmentation(colours=(colour,), colour_size=(2.0, 2.0))
    silence = tf.zeros((RATE,))
    noise = np.stack([augmented(silence, bits(seed)[0], how, RATE, RATE).numpy() for seed in range(8)])
    assert pytest.approx(0.02, rel=0.1) == float(noise.std())
    power = np.square(np.abs(np.fft.rfft(noise))).mean(axis=0)
    low, high = power[100:200].mean(), power[1000:2000].mean()
    exponent = np.log(high / low) / np.log(10.0)
    assert pytest.approx(2 * audio_transform.EXPONENTS[colour], abs=0.25) == exponent


def test_background_is_really_mixed_in() -> None:
    """A piece of a background recording, from a place that is drawn, as loud as is drawn; a short one is repeated."""
    hum, short = tone(300.0, 3.0, RATE), tone(2000.0, 0.1, RATE)
    how = Augmentation(backgrounds=(hum, short), background_size=(0.5, 0.5))
    found = [augmented(tf.zeros((RATE,)), bits(seed)[0], how, RATE, RATE).numpy() for seed in range(12)]
    heard = {round(peak(sound), -2) for sound in found}
    assert {300.0, 2000.0} == heard
    assert all(0.1 < sound.std() < 0.2 for sound in found)
    assert 12 == len({sound.tobytes() for sound in found})


def test_loudness_is_a_factor() -> None:
    """Each recording is made louder or softer by a factor within the range."""
    sound = tf.constant(tone(440.0, 1.0, RATE))
    how = Augmentation(loudness=(0.5, 2.0))
    factors = [float(np.std(augmented(sound, bits(seed)[0], how, RATE, RATE)) / np.std(sound)) for seed in range(20)]
    assert 0.5 <= min(factors) < 0.9
    assert 1.4 < max(factors) <= 2.0


ALL = Augmentation(
    offset=(0.0, 1.0),
    loudness=(0.5, 1.5),
    speed=(0.8, 1.2),
    pitch=(-2.0, 2.0),
    voice=(0.9, 1.1),
    colours=("white", "none", "pink"),
    colour_size=(0.0, 3.0),
    backgrounds=(tone(300.0, 2.0, RATE),),
    background_size=(0.0, 0.3),
)
FINISH = AudioTransform((48, 32, 1), 8000, dict(FRONT), "float32", ALL, Normalization(rescale=1 / 256))


@settings(max_examples=8, deadline=None)
@given(st.integers(0, 100), st.permutations(range(4)), st.integers(1, 4))
def test_recording_depends_on_its_own_draws(seed: int, order: list[int], few: int) -> None:
    """A recording comes out the same whatever batch it is in and wherever in it."""
    clips = [audio_files.as_int16(tone(300.0 + 200 * place, 0.2 + 0.15 * place, RATE)) for place in range(4)]
    drawn, labels, chosen = bits(seed, 4), tf.zeros((4,), tf.int64), order[:few]
    whole = FINISH.batch(tf.ragged.constant(clips, dtype=tf.int16), labels, drawn).numpy()
    part = FINISH.batch(
        tf.ragged.constant([clips[place] for place in chosen], dtype=tf.int16), labels[:few], tf.gather(drawn, chosen)
    ).numpy()
    np.testing.assert_array_equal(whole[chosen], part)
    other = FINISH.batch(tf.ragged.constant(clips, dtype=tf.int16), labels, bits(seed + 1, 4)).numpy()
    assert not np.array_equal(whole, other)


def test_prepared_with_and_without_randomness() -> None:
    """With random steps the clip is kept; without them what the model sees, at the middle of the offsets."""
    found = preparation(model("a", "b", rescale=0.5), "training")
    item, content = Item("a/1.wav", "x", 1), recording(tone(440.0, 0.2, RATE))
    clip = found.row(item, content, random=True)
    assert ("int16", 1) == (clip.dtype.name, clip.ndim)
    done = found.row(item, content, random=False)
    assert ((48, 32, 1), "float32") == (done.shape, done.dtype.name)
    loud = done[:, :, 0].max(axis=1)
    assert pytest.approx(23.5, abs=3) == float(np.average(np.arange(48), weights=np.square(loud)))
    assert (48, 32, 1) == found.row(Item("s", "", 0), None, random=False).shape


def test_functions_of_the_spec() -> None:
    """Before all, before the front end, and after it: each gets what it should, and its result is used."""
    seen: list[tuple[str, Any]] = []

    def before(params: Any, x: np.ndarray, filename: str) -> np.ndarray:
        seen.append((filename, params.sample_rate))
        return x * 0.5

    def middle(params: Any, x: np.ndarray, class_id: int) -> np.ndarray:
        return np.zeros_like(x) if class_id == 1 else x

    def after(params: Any, x: np.ndarray) -> np.ndarray:
        return x + 1000.0

    spec = model(
        "a",
        "b",
        noaug_preprocessing_function=before,
        preprocessing_function=middle,
        postprocessing_function=after,
        disable_random_transforms=True,
    )
    found = preparation(spec, "training")
    content = recording(tone(440.0, 0.5, RATE))
    loud = found.row(Item("a/1.wav", "x", 0), content, random=False)
    quiet = found.row(Item("b/1.wav", "x", 1), content, random=False)
    assert [("a/1.wav", RATE), ("b/1.wav", RATE)] == seen
    assert 1000.0 <= quiet.min() <= quiet.max() < 1300.0 < loud.max()


# -- classes ---------------------------------------------------------------------------------------------------------


def fill(folder: Path, **counts: int) -> None:
    for label, count in counts.items():
        for number in range(count):
            write_tone(folder / label / f"{label}_{number}.wav", 500.0, 0.05)


def test_unknown_and_silence_are_added(tmp_path: Path) -> None:
    """`_unknown_` takes as many of each other folder as can be, `_silence_` has no files; their sizes are as set."""
    fill(tmp_path, yes=20, no=20, cat=10, dog=30, _background_noise_=2)
    spec = model("yes", "no", UNKNOWN, SILENCE, unknown_class_percentage=0.5, silence_class_percentage=0.25)
    found = list_samples(spec, str(tmp_path), Told())["training"]
    labels = [item.label for item in found]
    assert [20, 20, 10, 5] == [labels.count(number) for number in range(4)]
    folders = [item.name.split("/")[0] for item in found if item.label == 2]
    assert {"cat": 5, "dog": 5} == {name: folders.count(name) for name in folders}
    assert all(item.path == "" for item in found if item.label == 3)


def test_subsets_share_no_unknown(tmp_path: Path) -> None:
    """Recordings of `_unknown_` are divided as the others are; an added file moves none but itself."""
    fill(tmp_path, yes=30, no=30, cat=40)
    spec = model("yes", "no", UNKNOWN, validation_split=0.3)
    parts = list_samples(spec, str(tmp_path), Told())
    training, validation = ({item.name for item in parts[subset]} for subset in ("training", "validation"))
    assert not training & validation
    assert sum(name.startswith("cat/") for name in validation) >= 3
    write_tone(tmp_path / "cat/cat_more.wav", 500.0, 0.05)
    again = {item.name for item in list_samples(spec, str(tmp_path), Told())["training"]}
    assert len(training ^ again) <= 2


def test_unknown_without_other_folders_is_an_error(tmp_path: Path) -> None:
    """`_unknown_` needs recordings that are no class."""
    fill(tmp_path, yes=2, no=2)
    with pytest.raises(DataError, match="no recordings for _unknown_"):
        list_samples(model("yes", "no", UNKNOWN), str(tmp_path), Told())


def test_silent_and_clipped_recordings_are_found(tmp_path: Path) -> None:
    """For the page that shows the data: recordings of nothing, and overdriven ones."""
    fill(tmp_path, yes=1)
    soundfile.write(tmp_path / "yes/silent.wav", np.zeros(1000, np.int16), RATE)
    soundfile.write(tmp_path / "yes/loud.wav", np.clip(tone(100.0, 0.2, RATE) * 20, -1, 1), RATE)
    (tmp_path / "yes/broken.wav").write_bytes(b"x")
    items = [Item(f"yes/{name}", str(tmp_path / "yes" / name), 0) for name in sorted(os.listdir(tmp_path / "yes"))]
    assert {"silent": ["yes/silent.wav"], "clipped": ["yes/loud.wav"]} == anomalies(model("yes"), items)


# -- settings --------------------------------------------------------------------------------------------------------


def test_shape_follows_from_the_front_end() -> None:
    """The input's shape is the spectrogram's unless the spec sets one; without the front end it must be given."""
    assert (48, 32, 1) == model("a").input_shape
    assert (48, 32) == model("a", add_channel_dimension=False).input_shape
    spec = model("a", frontend_enabled=False, sample_shape=(8000,))
    assert (8000,) == spec.input_shape
    spec.input_shape = (100, 80)
    assert (100, 80) == spec.audio_input_shape
    with pytest.raises(SpecError, match="needs sample_shape"):
        ParallelAudioDataGenerator(frontend_enabled=False)


def test_what_counts_as_random() -> None:
    """MLTK's default offsets are random; a fixed one isn't, nor is anything when random steps are disabled."""
    assert ParallelAudioDataGenerator().is_random
    fixed = ParallelAudioDataGenerator(offset_range=(0.5, 0.5))
    assert not fixed.is_random
    fixed.noise_colors = ["white"]
    assert fixed.is_random
    assert not replace_settings(fixed, disable_random_transforms=True).is_random


def replace_settings(generator: ParallelAudioDataGenerator, **changes: Any) -> ParallelAudioDataGenerator:
    values = {name: getattr(generator, name) for name in generator.SETTINGS}
    return ParallelAudioDataGenerator(**{**values, **changes})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("offset_range", (0.5, 0.2)),
        ("offset_range", (0.0, 1.5)),
        ("loudness_range", (-1, 1)),
        ("speed_range", (0.0, 2.0)),
        ("noise_colors", ["green"]),
        ("noise_colors", "white"),
        ("dtype", "float16"),
        ("cores", 0),
        ("validation_split", 1.0),
        ("frontend_settings", {"fe.sample_rate_hz": 8000}),
        ("get_batch_function", print),
        ("noise_colours", ["white"]),
    ],
)
def test_wrong_setting_names_its_line(name: str, value: object) -> None:
    """A value out of range, or a setting that doesn't exist, is an error with the line that set it."""
    with pytest.raises(SpecError) as caught:
        ParallelAudioDataGenerator(**{name: value})
    assert (name in str(caught.value), __file__ in str(caught.value.where)) == (True, True)


def test_number_types_by_any_name() -> None:
    """NumPy's and TensorFlow's number types are as good as their names."""
    for value in (np.int8, tf.int8, "int8"):
        assert "int8" == ParallelAudioDataGenerator(dtype=value).dtype
    assert FINISH == replace(FINISH)
