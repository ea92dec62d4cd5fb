"""Four directions: "up", "down", "left", "right", other words, silence.

    doit train:audio_example1-test     a dry run with a few recordings
    doit archive:audio_example1        download Speech Commands (2.3 GB), train, quantize, evaluate
    mltk view_data audio_example1      listen to them, and see what the model sees

The task and the layers of the model of this name in MLTK: a depthwise convolution and two others on a spectrogram of 59
rows and 49 channels of 1.2 seconds.
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
from mltkbuild.datasets.audio.speech_commands import speech_commands_v2


# @mltk_model
class Directions(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """Hears four directions."""


def build_model(model):
    """Three convolutions and one dense layer: 7,200 parameters."""
    keras_model = keras.Sequential(
        [
            keras.Input(model.input_shape),
            keras.layers.DepthwiseConv2D(7, depth_multiplier=8, strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Conv2D(24, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(20, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Flatten(),
            keras.layers.Dense(model.n_classes, activation="softmax"),
        ]
    )
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = Directions()
my_model.default = False
my_model.version = 1
my_model.description = "Audio classifier for the words left, right, up and down"

my_model.dataset = speech_commands_v2
my_model.classes = ["up", "down", "left", "right", "_unknown_", "_silence_"]
my_model.class_weights = "balanced"
my_model.split_group = speech_commands_v2.group_of

my_model.datagen = ParallelAudioDataGenerator(
    dtype="int8",
    frontend_settings=AudioFeatureGeneratorSettings(
        sample_length_ms=1200,
        window_size_ms=30,
        window_step_ms=20,
        filterbank_n_channels=49,
        filterbank_upper_band_limit=3999.0,
        noise_reduction_enable=True,
        noise_reduction_min_signal_remaining=0.03,
    ),
    validation_split=0.15,
    validation_augmentation_enabled=False,
    unknown_class_percentage=2.0,
    silence_class_percentage=0.2,
    offset_range=(0.0, 1.0),
    trim_threshold_db=20,
    bg_noise_range=(0.0, 0.3),
    bg_noise_dir="_background_noise_",
)

my_model.epochs = -1
my_model.batch_size = 64
my_model.reduce_lr_on_plateau = {"monitor": "accuracy", "factor": 0.25, "patience": 4}
my_model.early_stopping = {"monitor": "val_accuracy", "patience": 15}
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"

my_model.model_parameters = {
    "average_window_duration_ms": 1000,
    "detection_threshold": 165,
    "suppression_ms": 750,
    "minimum_count": 3,
    "volume_gain": 2,
    "latency_ms": 100,
    "verbose_model_output_logs": False,
}
