"""Whole specs in the style of MLTK's, with its names for what they call, built for real."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from mltkbuild.errors import DataError, SpecError
from mltkbuild.workers.executor import Processes

from ..conftest import Files, bring
from ..data.recordings import write_stripes, write_tones

pytestmark = pytest.mark.real

BUILDER = """
def my_model_builder(model):
    network = keras.Sequential([
        keras.layers.Flatten(input_shape=model.input_shape),
        keras.layers.Dense(model.n_classes, activation="softmax"),
    ])
    network.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return network

my_model.build_model_function = my_model_builder
"""
TF_DATASET = (
    '''
"""Recordings by tf.data and functions of NumPy's."""
import numpy as np
import tensorflow as tf
import mltk.core as mltk_core
from tensorflow import keras
from mltk.core.preprocess.audio.audio_feature_generator import AudioFeatureGeneratorSettings
from mltk.core.preprocess.utils import audio as audio_utils
from mltk.core.preprocess.utils import tf_dataset as tf_dataset_utils
from mltk.utils.path import fullpath

# @mltk_model
class MyModel(
    mltk_core.MltkModel, mltk_core.TrainMixin, mltk_core.DatasetMixin, mltk_core.EvaluateClassifierMixin,
    mltk_core.SshMixin, mltk_core.WeightsAndBiasesMixin,
):
    pass

my_model = MyModel()
my_model.epochs = 12
my_model.batch_size = 8
my_model.classes = ["low", "high", "_silence_"]
my_model.class_weights = "balanced"
my_model.ssh_remote_dir = "~/work"
my_model.tflite_converter["inference_input_type"] = np.int8
front = AudioFeatureGeneratorSettings()
front.sample_rate_hz = 8000
front.sample_length_ms = 250
front.window_size_ms = 30
front.window_step_ms = 20
front.filterbank_n_channels = 8
front.filterbank_upper_band_limit = 3800.0
my_model.input_shape = front.spectrogram_shape + (1,)

def pipeline(paths, seeds):
    found = np.empty((len(paths), *my_model.input_shape), np.float32)
    for place, (path, seed) in enumerate(zip(paths, seeds)):
        np.random.seed(seed)
        samples, rate = audio_utils.read_audio_file(path, return_sample_rate=True, return_numpy=True)
        samples = audio_utils.adjust_length(samples, out_length=2000, offset=np.random.uniform(0, 1))
        samples = samples + np.random.normal(0, 0.001, len(samples)).astype(np.float32)
        found[place] = np.expand_dims(audio_utils.apply_frontend(samples, front, np.int8), axis=-1)
    return found

class MyDataset(mltk_core.MltkDataset):
    def __init__(self):
        super().__init__()
        self.pools = []

    def load_dataset(self, subset, test=False, **kwargs):
        if subset == "training":
            return self.load("training", (0.25, 1)), None, self.load("validation", (0, 0.25))
        return self.load("evaluation", (0, 0.25))

    def load(self, subset, split):
        features, labels = tf_dataset_utils.load_audio_directory(
            directory=fullpath("data"), classes=my_model.classes, onehot_encode=True, shuffle=True, seed=42,
            split=split, silence_class_percentage=1.0, class_counts=my_model.class_counts[subset],
        )
        features = features.zip((features, tf.data.experimental.Counter())).batch(4, drop_remainder=True)
        features, pool = tf_dataset_utils.parallel_process(features, pipeline, dtype=np.float32, n_jobs=0.5)
        self.pools.append(pool)
        return tf.data.Dataset.zip((features.unbatch(), labels)).batch(my_model.batch_size)

    def unload_dataset(self):
        for pool in self.pools:
            pool.shutdown()
        self.pools.clear()

my_model.dataset = MyDataset()

def done(results: mltk_core.TrainingResults):
    name, value = results.get_best_metric()
    print("best", name, 0 <= value <= 1, results.mltk_model.tflite_archive_path)

my_model.on_training_complete = done
'''
    + BUILDER
)
ANOMALIES = '''
"""An auto-encoder of pictures in folders."""
from tensorflow import keras
from mltk.core import MltkModel, TrainMixin, ImageDatasetMixin, EvaluateAutoEncoderMixin
from mltk.core.preprocess.image.parallel_generator import ParallelImageDataGenerator

# @mltk_model
class MyModel(MltkModel, TrainMixin, ImageDatasetMixin, EvaluateAutoEncoderMixin):
    pass

my_model = MyModel()
my_model.epochs = 40
my_model.batch_size = 8
my_model.loss = "mean_squared_error"
my_model.metrics = ["mean_squared_error"]
my_model.dataset = "data"
my_model.class_mode = "input"
my_model.classes = ["normal"]
my_model.input_shape = (16, 16, 1)
my_model.interpolation = None
my_model.datagen = ParallelImageDataGenerator(cores=1, validation_split=0.3, rescale=1 / 255, width_shift_range=1)

def my_model_builder(model):
    network = keras.Sequential([
        keras.layers.Flatten(input_shape=model.input_shape), keras.layers.Dense(8, activation="relu"),
        keras.layers.Dense(256), keras.layers.Reshape(model.input_shape),
    ])
    network.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return network

my_model.build_model_function = my_model_builder
'''
BY_CLASS = '''
"""An auto-encoder whose loader gives one class at a time."""
import numpy as np
from tensorflow import keras
from mltk.core import MltkModel, TrainMixin, DatasetMixin, EvaluateAutoEncoderMixin

# @mltk_model
class MyModel(MltkModel, TrainMixin, DatasetMixin, EvaluateAutoEncoderMixin):
    def load_dataset(self, subset, classes=None, max_samples_per_class=None, test=False, **kwargs):
        super().load_dataset(subset)
        rng = np.random.default_rng(1)
        waves = (np.sin(np.linspace(0, 6, 20)) + rng.normal(0, 0.05, (60, 20))).astype("float32")
        if subset == "evaluation":
            self.x = waves[:12] if classes[0] == "normal" else rng.normal(0, 2, (9, 20)).astype("float32")
        else:
            self.x, self.y, self.validation_data = waves[20:], waves[20:], (waves[:20], waves[:20])

my_model = MyModel()
my_model.epochs = 30
my_model.input_shape = (20,)
my_model.loss = "mse"

def my_model_builder(model):
    network = keras.Sequential([keras.layers.Dense(4, input_shape=(20,)), keras.layers.Dense(20)])
    network.compile(loss=model.loss, optimizer="adam")
    return network

my_model.build_model_function = my_model_builder
'''
OWN_EVALUATION = '''
"""A classifier with an evaluation of its own, calibrated by a function that reads my_model.x."""
import numpy as np
import tensorflow as tf
from tensorflow import keras
from mltk.core import (
    MltkModel, TrainMixin, DatasetMixin, EvaluateMixin, KerasModel, TfliteModel, ClassifierEvaluationResults,
)
from mltk.core.keras.callbacks import SteppedLearnRateScheduler
from mltk.core.keras.models import KnowledgeDistillationModel

# @mltk_model
class MyModel(MltkModel, TrainMixin, DatasetMixin, EvaluateMixin):
    pass

def load(subset, test):
    y = np.arange(80) % 2
    x = np.random.default_rng(len(subset)).normal(0, 0.3, (80, 4)) + y[:, None]
    return x.astype("float32"), np.eye(2, dtype="float32")[y]

my_model = MyModel()
my_model.epochs = 9
my_model.batch_size = 8
my_model.classes = ["a", "b"]
my_model.input_shape = (4,)
my_model.dataset = load
my_model.train_callbacks = [SteppedLearnRateScheduler([(30, 0.05), (20, 0.01)])]

def network(width):
    return keras.Sequential([keras.layers.Dense(width, activation="relu", input_shape=(4,)), keras.layers.Dense(2)])

def my_model_builder(model):
    student = KnowledgeDistillationModel(student=network(4), teacher=network(16))
    student.compile(
        optimizer=keras.optimizers.Adam(), metrics=["accuracy"],
        student_loss_fn=keras.losses.CategoricalCrossentropy(from_logits=True),
        distillation_loss_fn=keras.losses.KLDivergence(), alpha=0.9, temperature=3,
    )
    return student

def keep_student(mltk_model, keras_model, logger):
    return keras_model.student

def calibrate():
    for x in tf.data.Dataset.from_tensor_slices(my_model.x).batch(1).take(20):
        yield [x]

def evaluate(mltk_model, built_model, eval_dir, logger, show):
    x, y = load("evaluation", False)
    more = {"y_dtype": np.float32} if isinstance(built_model, TfliteModel) else {}
    assert more or isinstance(built_model, KerasModel)
    results = ClassifierEvaluationResults(name=mltk_model.name, classes=mltk_model.classes)
    results.calculate(y=y, y_pred=built_model.predict(x, **more))
    results.generate_plots(logger=logger, output_dir=eval_dir, show=show)
    return results

my_model.build_model_function = my_model_builder
my_model.on_save_keras_model = keep_student
my_model.tflite_converter["representative_dataset"] = calibrate
my_model.eval_custom_function = evaluate
'''
HEARTBEATS = (
    '''
"""Samples without a front end, at a rate that no front end takes."""
import numpy as np
from tensorflow import keras
import mltk.core as mltk_core
from mltk.core.preprocess.audio.audio_feature_generator import AudioFeatureGeneratorSettings
from mltk.core.preprocess.audio.parallel_generator import ParallelAudioDataGenerator, ParallelProcessParams

# @mltk_model
class MyModel(
    mltk_core.MltkModel, mltk_core.TrainMixin, mltk_core.AudioDatasetMixin, mltk_core.EvaluateClassifierMixin
):
    pass

my_model = MyModel()
my_model.epochs = 2
my_model.dataset = "data"
my_model.classes = ["slow", "fast"]
my_model.input_shape = (360, 1)
front = AudioFeatureGeneratorSettings()
front.sample_rate_hz = 360
front.sample_length_ms = 1000.0

def post(params: ParallelProcessParams, x: np.ndarray):
    x = np.reshape(x, my_model.input_shape)
    x *= 127
    assert params.dtype == np.int8
    return x.astype(params.dtype)

my_model.datagen = ParallelAudioDataGenerator(
    dtype=np.int8, frontend_enabled=False, frontend_settings=front, sample_shape=my_model.input_shape, cores=0.5,
    validation_split=0.2, noise_colors=None, bg_noise_dir=None, bg_noise_range=(0.1, 0.2), trim_threshold_db=30,
    loudness_range=(0.8, 1.0), unknown_class_percentage=0.0, silence_class_percentage=0.0, postprocessing_function=post,
)
'''
    + BUILDER
)


def workspace(tmp_path: Path, text: str) -> Files:
    """A workspace with one model."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=text)
    return files


def document(files: Files, name: str) -> Any:
    """A JSON artifact."""
    return json.loads((files.root / "build/kws" / name).read_text(encoding="utf-8"))


def test_tf_data_of_mltk_s_helpers(tmp_path: Path, executor: Processes) -> None:
    """Recordings listed, read, changed and heard by MLTK's functions; weights balanced by what the listing counts."""
    files = workspace(tmp_path, TF_DATASET)
    write_tones(files.root / "data", ["low", "high"], 24)
    bring(files, executor.run)
    assert document(files, "eval/tflite/results.json")["overall_accuracy"] > 0.8
    log = (files.root / "build/kws/.logs/train.log").read_text(encoding="utf-8")
    assert "best val_accuracy True" in log
    assert str(files.root / "build/kws/kws.tflite") in log
    assert [] == bring(files, executor.run)


def test_an_added_recording_is_noticed_behind_tf_data(tmp_path: Path, executor: Processes) -> None:
    """What MLTK's functions read and list is an input of the build, though TensorFlow calls them."""
    files = workspace(tmp_path, TF_DATASET)
    write_tones(files.root / "data", ["low", "high"], 16)
    bring(files, executor.run)
    write_tones(files.root / "data", ["low", "high"], 17)
    assert {"data", "train"} <= set(bring(files, executor.run))


def test_anomalies_among_pictures(tmp_path: Path, executor: Processes) -> None:
    """An auto-encoder learns one folder; held-out samples of it are told from those of the folder `abnormal`."""
    files = workspace(tmp_path, ANOMALIES)
    write_stripes(files.root / "data", ["normal", "abnormal"], 30)
    bring(files, executor.run)
    results = document(files, "eval/tflite/results.json")
    assert ["normal", "abnormal"] == list(results["classes"])
    assert results["overall_roc_auc"] > 0.9
    assert 30 < document(files, "data/evaluation.json")["samples"] < 60


def test_anomalies_need_their_folder(tmp_path: Path, executor: Processes) -> None:
    """Without samples of the second class the data stage says which folder it looked for."""
    files = workspace(tmp_path, ANOMALIES)
    write_stripes(files.root / "data", ["normal", "abnorml"], 8)
    with pytest.raises(DataError, match="no folder for the class 'abnormal'") as caught:
        bring(files, executor.run)
    assert "abnorml" in str(caught.value.fix)


def test_a_loader_is_asked_for_one_class_at_a_time(tmp_path: Path, executor: Processes) -> None:
    """A loader with an argument `classes` gets each evaluation class by itself, as MLTK's auto-encoders do."""
    files = workspace(tmp_path, BY_CLASS)
    bring(files, executor.run)
    assert 21 == document(files, "data/evaluation.json")["samples"]
    results = document(files, "eval/keras/results.json")
    assert (21, True) == (results["n_samples"], results["overall_roc_auc"] > 0.95)


def test_distilled_scheduled_calibrated_and_evaluated_by_the_spec(tmp_path: Path, executor: Processes) -> None:
    """A student that is saved, a schedule that ends the training, samples for a generator, a classifier's report."""
    files = workspace(tmp_path, OWN_EVALUATION)
    bring(files, executor.run)
    # The student that is saved comes of on_save_keras_model, which no preflight calls.
    assert {"operators": None, "starts": None}.items() <= document(files, "preflight.json").items()
    assert 6 == len(document(files, "train/history.json")["epochs"])
    for kind in ("keras", "tflite"):
        results = document(files, f"eval/{kind}/results.json")
        assert results["overall_accuracy"] > 0.9
        assert (files.root / f"build/kws/eval/{kind}/confusion_matrix.png").is_file()


def test_samples_at_a_rate_of_their_own(tmp_path: Path, executor: Processes) -> None:
    """Without the front end any rate will do; a function may change what it gets, and knows the type wanted."""
    files = workspace(tmp_path, HEARTBEATS)
    time = np.arange(400) / 360
    for number, label in enumerate(["slow", "fast"]):
        (files.root / "data" / label).mkdir(parents=True)
        for place in range(10):
            wave = 0.5 * np.sin(2 * np.pi * (2 + 9 * number + 0.1 * place) * time)
            soundfile.write(files.root / "data" / label / f"{place}.wav", wave, 360)
    files.edit("models/kws.py", "assert params.dtype == np.int8", "assert params.dtype == np.int16, 'wrong type'")
    with pytest.raises(DataError, match="the data set raised AssertionError") as caught:
        bring(files, executor.run)
    assert ("wrong type", "in post") == (caught.value.found, str(caught.value.trace).splitlines()[0][-7:])
    assert str(caught.value.where).startswith("models/kws.py:")
    files.edit("models/kws.py", "np.int16, 'wrong type'", "np.int8")
    bring(files, executor.run)
    assert document(files, "eval/tflite/results.json")["n_samples"] > 0


def test_two_arrays_for_one_input_are_an_error_that_helps(tmp_path: Path, executor: Processes) -> None:
    """Two arrays in place of one are taken for two inputs, not for two samples."""
    text = BY_CLASS.replace("self.x, self.y, self.validation_data = waves[20:]", "self.x, self.y, _ = [waves[20:]] * 2")
    files = workspace(tmp_path, text)
    with pytest.raises((DataError, SpecError), match="doesn't fit the model's input"):
        bring(files, executor.run)
