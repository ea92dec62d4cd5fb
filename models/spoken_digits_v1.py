"""Spoken digits, eight kilohertz: real speech of six speakers, for int8.

    doit train:spoken_digits_v1-test     a dry run with a few recordings
    doit archive:spoken_digits_v1        download the recordings (15 MB), train, quantize, evaluate
    mltk view_data spoken_digits_v1      listen to them, and see what the model sees

The recordings are the Free Spoken Digit Dataset's; each speaker's first five of a digit are the official test. Without
a network put the archive at `datasets/free-spoken-digit-dataset.tar.gz`.
"""

import keras

from mltkbuild import (
    AudioDatasetMixin,
    AudioFeatureGeneratorSettings,
    EvaluateClassifierMixin,
    MltkModel,
    ParallelAudioDataGenerator,
    TrainMixin,
)
from mltkbuild.datasets.audio import free_spoken_digits


# @mltk_model
class SpokenDigits(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """Tells apart the ten spoken digits."""


def build_model(model):
    """Three convolutions and one dense layer: 19,000 parameters."""
    layers = [keras.Input(model.input_shape)]
    for filters in (16, 32, 32):
        layers += [
            keras.layers.Conv2D(filters, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(0.4),
        keras.layers.Dense(model.n_classes, activation="softmax"),
    ]
    keras_model = keras.Sequential(layers)
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = SpokenDigits()
my_model.default = False
my_model.version = 1
my_model.description = "Ten spoken digits, 8 kHz"

my_model.dataset = free_spoken_digits
my_model.classes = free_spoken_digits.CLASSES
my_model.split_subset = free_spoken_digits.split_subset

my_model.datagen = ParallelAudioDataGenerator(
    frontend_settings=AudioFeatureGeneratorSettings(
        sample_rate_hz=8000,
        sample_length_ms=700,
        window_size_ms=30,
        window_step_ms=20,
        filterbank_n_channels=32,
        filterbank_lower_band_limit=100.0,
        filterbank_upper_band_limit=3800.0,
    ),
    rescale=1 / 256,
    offset_range=(0.3, 0.7),
    loudness_range=(0.5, 1.5),
    validation_split=0.1,
    validation_augmentation_enabled=False,
)

my_model.epochs = 30
my_model.batch_size = 32
my_model.optimizer = "adam"
my_model.loss = "categorical_crossentropy"
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
