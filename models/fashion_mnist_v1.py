"""Fashion-MNIST: ten kinds of clothes in 28x28 grey pixels, for int8.

    doit train:fashion_mnist_v1-test     a dry run with a few pictures
    doit archive:fashion_mnist_v1        download the pictures (30 MB), train, quantize, evaluate
    mltk view_data fashion_mnist_v1      see them before and after augmentation

Debian's package dataset-fashion-mnist is used where it is installed.
"""

import keras

from mltkbuild import (
    EvaluateClassifierMixin,
    ImageDatasetMixin,
    MltkModel,
    ParallelImageDataGenerator,
    TrainMixin,
)
from mltkbuild.datasets.image import fashion_mnist


# @mltk_model
class FashionMnist(MltkModel, TrainMixin, ImageDatasetMixin, EvaluateClassifierMixin):
    """Tells apart ten kinds of clothes."""


def build_model(model):
    """Two convolutions with strides and batch normalization, and two dense layers: 106,000 parameters."""
    layers = [keras.Input(model.input_shape)]
    for filters, size in ((16, 5), (32, 3)):
        layers += [
            keras.layers.Conv2D(filters, size, strides=2, padding="same", use_bias=False),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
        ]
    layers += [
        keras.layers.Flatten(),
        keras.layers.Dropout(0.25),
        keras.layers.Dense(64, activation="relu"),
        keras.layers.Dense(model.n_classes, activation="softmax"),
    ]
    keras_model = keras.Sequential(layers)
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


def falling(epoch):
    """The learning rate: from 0.003 down to almost nothing, in a line."""
    return 0.003 * (1 - epoch / my_model.epochs) + 5e-5


my_model = FashionMnist()
my_model.default = False
my_model.version = 1
my_model.description = "Ten kinds of clothes, 28x28 pixels"

my_model.dataset = fashion_mnist
my_model.classes = fashion_mnist.CLASSES
my_model.input_shape = (28, 28, 1)
my_model.datagen = ParallelImageDataGenerator(
    rescale=1 / 255,
    horizontal_flip=True,
    validation_split=0.05,
    validation_augmentation_enabled=False,
)

my_model.epochs = 10
my_model.batch_size = 128
my_model.optimizer = "adam"
my_model.loss = "categorical_crossentropy"
my_model.lr_schedule = falling
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
