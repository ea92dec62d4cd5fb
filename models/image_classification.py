"""Ten kinds of things in pictures of 32x32 colours: MLPerf Tiny's image classification, ResNet8 on CIFAR-10.

    doit train:image_classification-test     a dry run with a few pictures
    doit archive:image_classification        download CIFAR-10 (170 MB), train, quantize, evaluate
    mltk view_data image_classification      see them before and after augmentation

The network is that of K. He and others, Deep Residual Learning, arXiv:1512.03385, in the small form of MLPerf Tiny.
"""

import keras

from mltkbuild import (
    EvaluateClassifierMixin,
    ImageDatasetMixin,
    MltkModel,
    ParallelImageDataGenerator,
    TrainMixin,
)
from mltkbuild.datasets.image import cifar10


# @mltk_model
class Pictures(MltkModel, TrainMixin, ImageDatasetMixin, EvaluateClassifierMixin):
    """Tells apart ten kinds of animals and vehicles."""


def build_model(model):
    """Three stacks of two convolutions with a way around them: 78,700 parameters."""
    settings = {
        "padding": "same",
        "kernel_initializer": "he_normal",
        "kernel_regularizer": keras.regularizers.L2(1e-4),
    }

    def convolved(x, filters, stride=1):
        x = keras.layers.Conv2D(filters, 3, strides=stride, **settings)(x)
        return keras.layers.BatchNormalization()(x)

    inputs = keras.Input(model.input_shape)
    x = keras.layers.ReLU()(convolved(inputs, 16))
    for filters, stride in ((16, 1), (32, 2), (64, 2)):
        y = convolved(keras.layers.ReLU()(convolved(x, filters, stride)), filters)
        if stride > 1:
            x = keras.layers.Conv2D(filters, 1, strides=stride, **settings)(x)
        x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    x = keras.layers.AveragePooling2D((x.shape[1], x.shape[2]))(x)
    outputs = keras.layers.Dense(model.n_classes, activation="softmax")(keras.layers.Flatten()(x))
    keras_model = keras.Model(inputs, outputs)
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


def learning_rate(epoch):
    """A hundredth less every epoch."""
    return 0.001 * 0.99**epoch


my_model = Pictures()
my_model.default = False
my_model.version = 1
my_model.description = "Ten kinds of things, 32x32 colours"

my_model.dataset = cifar10
my_model.classes = cifar10.CLASSES
my_model.input_shape = (32, 32, 3)
my_model.datagen = ParallelImageDataGenerator(
    rescale=1 / 255,
    rotation_range=15,
    width_shift_range=0.1,
    height_shift_range=0.1,
    horizontal_flip=True,
    validation_split=0.05,
    validation_augmentation_enabled=False,
)

my_model.epochs = 200
my_model.batch_size = 40
my_model.lr_schedule = learning_rate
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
