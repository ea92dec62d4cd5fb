"""TensorFlow Lite Micro's speech example: "yes", "no", other words, silence.

    doit train:tflite_micro_speech-test     a dry run with a few recordings
    doit archive:tflite_micro_speech        download Speech Commands (2.3 GB), train, quantize, evaluate
    mltk view_data tflite_micro_speech      listen to them, and see what the model sees

The task and the layers of the model of this name in MLTK: one convolution and one dense layer on a spectrogram of 49
rows and 40 channels, with noise reduction and gain control as TensorFlow Lite Micro's own firmware has them.
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
class MicroSpeech(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """Hears "yes" and "no"."""


def build_model(model):
    """One convolution and one dense layer: 16,700 parameters."""
    keras_model = keras.Sequential(
        [
            keras.Input(model.input_shape),
            keras.layers.Conv2D(8, (10, 8), strides=2, padding="same"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Dropout(0.5),
            keras.layers.Flatten(),
            keras.layers.Dense(model.n_classes, activation="softmax"),
        ]
    )
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = MicroSpeech()
my_model.default = False
my_model.version = 1
my_model.description = "TFLite-Micro speech"

my_model.dataset = speech_commands_v2
my_model.classes = ["yes", "no", "_unknown_", "_silence_"]
my_model.class_weights = "balanced"
my_model.split_group = speech_commands_v2.group_of

my_model.datagen = ParallelAudioDataGenerator(
    dtype="int8",
    frontend_settings=AudioFeatureGeneratorSettings(
        window_size_ms=30,
        window_step_ms=20,
        filterbank_n_channels=40,
        noise_reduction_enable=True,
        pcan_enable=True,
    ),
    validation_split=0.15,
    validation_augmentation_enabled=False,
    unknown_class_percentage=3.0,
    silence_class_percentage=0.2,
    offset_range=(0.0, 1.0),
    trim_threshold_db=20,
    bg_noise_range=(0.0, 0.3),
    bg_noise_dir="_background_noise_",
)

my_model.epochs = -1
my_model.batch_size = 32
my_model.reduce_lr_on_plateau = {"monitor": "accuracy", "factor": 0.25, "patience": 7}
my_model.early_stopping = {"monitor": "val_accuracy", "patience": 20}
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"

my_model.model_parameters = {
    "average_window_duration_ms": 1000,
    "detection_threshold": 185,
    "suppression_ms": 750,
    "minimum_count": 3,
    "volume_gain": 2,
    "latency_ms": 100,
    "verbose_model_output_logs": False,
}
