"""Ten keywords, other words and silence: MLPerf Tiny's keyword spotting, a depthwise separable network (DS-CNN).

    doit train:keyword_spotting-test     a dry run with a few recordings
    doit archive:keyword_spotting        download Speech Commands (2.3 GB), train, quantize, evaluate
    mltk view_data keyword_spotting      listen to them, and see what the model sees

The network is the small one of Y. Zhang and others, Hello Edge, arXiv:1711.07128, as MLPerf Tiny has it.
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
class Keywords(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    """Hears ten keywords."""


def build_model(model):
    """One convolution, four depthwise separable ones, one dense layer: 24,900 parameters."""
    regular = keras.regularizers.L2(1e-4)

    def normalized(x):
        return keras.layers.ReLU()(keras.layers.BatchNormalization()(x))

    inputs = keras.Input(model.input_shape)
    x = keras.layers.Conv2D(64, (10, 4), strides=2, padding="same", kernel_regularizer=regular)(inputs)
    x = keras.layers.Dropout(0.2)(normalized(x))
    for _ in range(4):
        x = normalized(keras.layers.DepthwiseConv2D(3, padding="same", depthwise_regularizer=regular)(x))
        x = normalized(keras.layers.Conv2D(64, 1, padding="same", kernel_regularizer=regular)(x))
    x = keras.layers.Dropout(0.4)(x)
    x = keras.layers.AveragePooling2D((x.shape[1], x.shape[2]))(x)
    outputs = keras.layers.Dense(model.n_classes, activation="softmax")(keras.layers.Flatten()(x))
    keras_model = keras.Model(inputs, outputs)
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


def learning_rate(epoch):
    """A step down every ten epochs from the thirtieth on."""
    return 0.001 if epoch <= 30 else 0.0005 if epoch <= 40 else 0.00025 if epoch <= 60 else 0.0001


my_model = Keywords()
my_model.default = False
my_model.version = 1
my_model.description = "Keyword spotting for ten words"

my_model.dataset = speech_commands_v2
my_model.classes = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_", "_silence_"]
my_model.split_group = speech_commands_v2.group_of

my_model.datagen = ParallelAudioDataGenerator(
    frontend_settings=AudioFeatureGeneratorSettings(
        sample_length_ms=1000,
        window_size_ms=30,
        window_step_ms=20,
        filterbank_n_channels=10,
        noise_reduction_enable=True,
    ),
    rescale=1 / 256,
    validation_split=0.1,
    validation_augmentation_enabled=False,
    unknown_class_percentage=1.0,
    silence_class_percentage=0.5,
    bg_noise_range=(0.0, 0.3),
    bg_noise_dir="_background_noise_",
)

my_model.epochs = 80
my_model.batch_size = 64
my_model.lr_schedule = learning_rate
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
