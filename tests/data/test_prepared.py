"""Image and audio data sets through the build: what is made once, what is made anew, and always the same."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import DataError, MltkError
from mltkbuild.events import Event, Note
from mltkbuild.stages.table import BUILT
from mltkbuild.tflite import params
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running, bring
from .recordings import write_stripes, write_tone, write_tones

pytestmark = pytest.mark.real

IMAGES = '''\
"""Pictures of stripes."""
import os
import keras
from mltkbuild import (
    EvaluateClassifierMixin, ImageDatasetMixin, MltkModel, ParallelImageDataGenerator, TrainMixin,
)

# @mltk_model
class Stripes(MltkModel, TrainMixin, ImageDatasetMixin, EvaluateClassifierMixin):
    """A model."""

class Trip(keras.callbacks.Callback):
    """Raises at the third step of the second epoch while there is a file `trip`."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.epoch == 1 and batch == 2 and os.path.exists("trip"):
            raise RuntimeError("tripped")

def build(model):
    network = keras.Sequential([
        keras.Input(model.input_shape),
        keras.layers.Conv2D(4, 3, strides=2, activation="relu"),
        keras.layers.Flatten(),
        keras.layers.Dense(model.n_classes, activation="softmax"),
    ])
    network.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return network

my_model = Stripes()
my_model.dataset = "data"
my_model.classes = ["down", "across"]
my_model.input_shape = (16, 16, 1)
my_model.epochs = 3
my_model.batch_size = 8
my_model.checkpoint_interval_minutes = 1e-9
my_model.train_callbacks = [Trip()]
my_model.build_model_function = build
my_model.datagen = ParallelImageDataGenerator(
    rescale=1 / 255, validation_split=0.2, rotation_range=10, width_shift_range=0.1, noise=["gauss"], cores=1,
)
'''
AUDIO = '''\
"""Tones."""
import keras
from mltkbuild import (
    AudioDatasetMixin, AudioFeatureGeneratorSettings, EvaluateClassifierMixin, MltkModel, ParallelAudioDataGenerator,
    TrainMixin,
)

# @mltk_model
class Tones(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """A model."""

def build(model):
    network = keras.Sequential([
        keras.Input(model.input_shape),
        keras.layers.Flatten(),
        keras.layers.Dense(model.n_classes, activation="softmax"),
    ])
    network.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return network

my_model = Tones()
my_model.dataset = "data"
my_model.classes = ["low", "high"]
my_model.epochs = 2
my_model.batch_size = 8
my_model.build_model_function = build
my_model.datagen = ParallelAudioDataGenerator(
    frontend_settings=AudioFeatureGeneratorSettings(
        sample_rate_hz=8000, sample_length_ms=250, window_size_ms=30, window_step_ms=20, filterbank_n_channels=8,
        filterbank_upper_band_limit=3800.0,
    ),
    rescale=1 / 256, validation_split=0.25, offset_range=(0.5, 0.5),
)
'''


@pytest.fixture
def images(tmp_path: Path) -> Files:
    """A workspace with a model of pictures."""
    files = Files(tmp_path / "images")
    files.write("dodo.py", "")
    files.spec(text=IMAGES)
    write_stripes(files.root / "data", ["down", "across"], 30)
    return files


@pytest.fixture
def tones(tmp_path: Path) -> Files:
    """A workspace with a model of recordings."""
    files = Files(tmp_path / "tones")
    files.write("dodo.py", "")
    files.spec(text=AUDIO)
    write_tones(files.root / "data", ["low", "high"], 20)
    return files


def build(files: Files, executor: Processes, stage: str = "params") -> list[Event]:
    """Bring a stage and what it needs up to date, and give what was said."""
    events: list[Event] = []
    builder = Builder(files.workspace, Running(executor.run))
    builder.build("kws", stage, None, events.append)
    builder.close()
    return events


def fail(files: Files, executor: Processes, stage: str = "data") -> MltkError:
    with pytest.raises(MltkError) as caught:
        build(files, executor, stage)
    return caught.value


def artifact(files: Files, name: str) -> bytes:
    return (files.root / "build/kws" / name).read_bytes()


def features(files: Files) -> Mapping[str, bytes]:
    folder = files.root / "build/kws/data/features"
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".changed"}


def names(files: Files, subset: str) -> list[str]:
    """The names of a subset's samples."""
    return list(json.loads(artifact(files, f"data/features/{subset}.json"))["names"])


def test_threads_don_t_change_a_bit(images: Files, executor: Processes) -> None:
    """One and two pipeline threads, and one that is left to TensorFlow, give the same `.tflite`."""
    made: list[bytes] = []
    for cores in ("cores=1", "cores=2", "cores=None"):
        images.edit("models/kws.py", "cores=1" if not made else f"cores={len(made)}", cores)
        build(images, executor)
        made.append(artifact(images, "kws.tflite"))
    assert made[0] == made[1] == made[2]


def test_stopped_training_with_augmentation_goes_on_exactly(images: Files, executor: Processes) -> None:
    """A training that failed within its second epoch gives the bytes of one that never stopped."""
    images.write("trip", "")
    assert "tripped" in str(fail(images, executor, "params"))
    (images.root / "trip").unlink()
    notes = [event.text for event in build(images, executor) if isinstance(event, Note)]
    assert any("goes on" in note for note in notes), notes
    stopped = artifact(images, "kws.tflite")
    Builder(images.workspace, Running(executor.run)).close()
    images.write("models/other.py", (images.root / "models/kws.py").read_text(encoding="utf-8"))
    builder = Builder(images.workspace, Running(executor.run))
    builder.build("other", "quantize")
    builder.close()
    calm = (images.root / "build/other/other.converted.tflite").read_bytes()
    assert artifact(images, "kws.converted.tflite") == calm
    assert stopped


def test_edits_re_run_what_they_reach(images: Files, executor: Processes) -> None:
    """A random step trains anew with the same features; what comes before makes new ones; a comment neither."""
    assert list(BUILT) == bring(images, executor.run)
    before = features(images)
    images.edit("models/kws.py", "rotation_range=10", "rotation_range=20")
    ran = bring(images, executor.run)
    assert ["spec", "preflight", "train"] == ran[:3]
    assert before == features(images)
    images.edit("models/kws.py", "my_model.epochs = 3", "my_model.epochs = 3\nmy_model.optimizer = 'sgd'")
    assert "data" not in bring(images, executor.run)
    images.edit("models/kws.py", "rescale=1 / 255", "rescale=1 / 128")
    ran = bring(images, executor.run)
    assert ["spec", "data", "preflight", "train"] == ran[:4]
    assert before["training.npy"] == features(images)["training.npy"]
    images.edit("models/kws.py", "# @mltk_model", "# @mltk_model\n# a comment")
    assert ["archive"] == bring(images, executor.run)


def test_added_recording_moves_no_other(tones: Files, executor: Processes) -> None:
    """One more wav re-runs the data stage and what follows; the others stay in their subsets; a touch does nothing."""
    bring(tones, executor.run)
    before = {subset: names(tones, subset) for subset in ("training", "validation")}
    assert sorted(before["training"] + before["validation"]) == sorted(
        f"{label}/{number:03}.wav" for label in ("low", "high") for number in range(20)
    )
    os.utime(tones.root / "data/low/003.wav")
    assert [] == bring(tones, executor.run)
    write_tone(tones.root / "data/low/020.wav", 430.0)
    ran = bring(tones, executor.run)
    # What follows the quantized model may end early: one recording more can give the same weights.
    assert (["data", "preflight", "train", "quantize"], "archive") == (ran[:4], ran[-1])
    for subset, earlier in before.items():
        assert earlier == [name for name in names(tones, subset) if name != "low/020.wav"]
    os.unlink(tones.root / "data/low/020.wav")
    bring(tones, executor.run)
    assert before == {subset: names(tones, subset) for subset in before}


def test_front_end_is_embedded(tones: Files, executor: Processes) -> None:
    """The device finds all 28 settings of the front end and the normalization in the `.tflite`; the spec's own win."""
    tones.edit("models/kws.py", "my_model.epochs = 2", "my_model.epochs = 2\nmy_model.model_parameters['x'] = 3")
    build(tones, executor)
    found = params.extract(artifact(tones, "kws.tflite"))
    assert 28 == sum(key.startswith("fe.") for key in found)
    assert (8000, 250, 256, 3) == tuple(
        found[key] for key in ("fe.sample_rate_hz", "fe.sample_length_ms", "fe.fft_length", "x")
    )
    assert pytest.approx(1 / 256) == found["samplewise_norm.rescale"]


def test_features_without_randomness_are_made_once(tones: Files, executor: Processes) -> None:
    """Spectrograms are kept and restored like any artifact: a damaged one is made again, with the same bytes."""
    build(tones, executor, "data")
    before = features(tones)
    shape = np.load(tones.root / "build/kws/data/features/training.npy").shape
    assert (len(names(tones, "training")), 12, 8, 1) == shape
    (tones.root / "build/kws/data/features/training.npy").write_bytes(b"rotten")
    build(tones, executor, "data")
    assert before == features(tones)


def test_dry_run_takes_a_few(tones: Files, executor: Processes) -> None:
    """`NAME-test` prepares a few samples of each class, in a folder of its own."""
    builder = Builder(tones.workspace, Running(executor.run))
    builder.build("kws-test", "quantize")
    builder.close()
    found = json.loads((tones.root / "build/kws-test/data/training.json").read_text(encoding="utf-8"))
    assert {"low": 10, "high": 10} == found["classes"]


# -- bad input -------------------------------------------------------------------------------------------------------


def test_bad_sample_stops_or_is_left_out(tones: Files, executor: Processes) -> None:
    """A corrupt recording is named; with `bad_samples = 'skip'` it is left out, counted, and listed."""
    (tones.root / "data/low/007.wav").write_bytes(b"RIFF....WAVEnonsense")
    (tones.root / "data/high/011.wav").write_bytes(b"")
    error = fail(tones, executor)
    assert isinstance(error, DataError)
    assert str(error.where).endswith(("data/low/007.wav", "data/high/011.wav"))
    tones.edit("models/kws.py", "my_model.epochs = 2", "my_model.epochs = 2\nmy_model.bad_samples = 'skip'")
    build(tones, executor, "data")
    bad = [
        one["name"]
        for subset in ("training", "validation")
        for one in json.loads(artifact(tones, f"data/features/{subset}.json"))["bad"]
    ]
    assert ["high/011.wav", "low/007.wav"] == sorted(bad)
    record = json.loads((tones.root / "build/kws/.records/data.json").read_text(encoding="utf-8"))
    assert 2 <= record["facts"]["bad"]


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('"data"', '"nowhere"', "can't be read"),
        ('["low", "high"]', '["low", "hihg"]', "no folder for the class 'hihg'"),
        ('["low", "high"]', '["low"]', "at least two classes"),
        ("sample_length_ms=250", "sample_length_ms=20", "spectrogram would be empty"),
        ("filterbank_upper_band_limit=3800.0", "filterbank_upper_band_limit=7500.0", "don't fit the sample rate"),
        ("offset_range=(0.5, 0.5)", "bg_noise_dir='noise'", "background noise can't be read"),
    ],
)
def test_wrong_data_set_is_one_error(tones: Files, executor: Processes, old: str, new: str, text: str) -> None:
    """A missing folder, a misspelt class, a single class, settings that can't be: one error that names it."""
    tones.edit("models/kws.py", old, new)
    assert text in str(fail(tones, executor))
    assert not (tones.root / "build/kws/data").exists()


def test_data_set_is_never_written_into(tones: Files, executor: Processes) -> None:
    """A build leaves the data set's folder as it was, to the names in it."""
    folder = tones.root / "data"
    before = {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}
    bring(tones, executor.run)
    assert before == {path: path.stat().st_mtime_ns for path in sorted(folder.rglob("*"))}


def test_training_reads_what_was_prepared(tones: Files, executor: Processes) -> None:
    """A recording that goes while its model is trained doesn't matter to that training; the next build knows."""
    tones.edit(
        "models/kws.py",
        "def build(model):\n",
        "def build(model):\n    import os, sys\n    path = 'data/low/001.wav'\n"
        "    if os.path.exists('build/kws/.records/data.json') and os.path.exists(path):\n        os.unlink(path)\n",
    )
    assert "train" in bring(tones, executor.run)
    assert not (tones.root / "data/low/001.wav").exists()
    assert "low/001.wav" in names(tones, "training") + names(tones, "validation")
    assert "data" in bring(tones, executor.run)
    assert "low/001.wav" not in names(tones, "training") + names(tones, "validation")


def test_arrays_are_a_data_set_too(images: Files, executor: Processes) -> None:
    """`((x, y), (x_test, y_test))` from a function: the first for training and validation, the second to evaluate."""
    images.edit(
        "models/kws.py",
        'my_model.dataset = "data"',
        "import numpy as np\n"
        "def load():\n"
        "    x = np.random.default_rng(1).integers(0, 255, (50, 16, 16)).astype('uint8')\n"
        "    y = np.arange(50) % 2\n"
        "    return (x[:40], y[:40]), (x[40:], y[40:])\n"
        "my_model.dataset = load",
    )
    build(images, executor, "evaluate")
    counts = {subset: len(names(images, subset)) for subset in ("training", "validation", "evaluation")}
    assert (40, 10) == (counts["training"] + counts["validation"], counts["evaluation"])
