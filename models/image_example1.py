"""Rock, paper, scissors: hand gestures in pictures of 96x96 grey pixels.

    doit train:image_example1-test     a dry run with a few pictures
    doit archive:image_example1        download the pictures, train, quantize, evaluate
    mltk view_data image_example1      see them before and after augmentation

The task and the layers of the model of this name in MLTK: three convolutions and one dense layer. The pictures come as
a 7z archive: `pip install 'mltkbuild[7z]'`.
"""

import keras

from mltkbuild import (
    EvaluateClassifierMixin,
    ImageDatasetMixin,
    MltkModel,
    ParallelImageDataGenerator,
    TrainMixin,
)
from mltkbuild.datasets.image import rock_paper_scissors_v1


# @mltk_model
class Hands(MltkModel, TrainMixin, ImageDatasetMixin, EvaluateClassifierMixin):
    """Sees three hand gestures."""


def build_model(model):
    """Three convolutions and one dense layer: 8,400 parameters."""
    keras_model = keras.Sequential(
        [
            keras.Input(model.input_shape),
            keras.layers.Conv2D(24, 3, strides=2, padding="same", activation="relu"),
            keras.layers.AveragePooling2D(2),
            keras.layers.Conv2D(16, 3, strides=2, activation="relu"),
            keras.layers.Conv2D(24, 3),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.AveragePooling2D(2),
            keras.layers.Flatten(),
            keras.layers.Dense(model.n_classes),
            keras.layers.Activation("softmax"),
        ]
    )
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = Hands()
my_model.default = False
my_model.version = 1
my_model.description = "Image classifier for rock, paper and scissors"

my_model.dataset = rock_paper_scissors_v1
my_model.classes = rock_paper_scissors_v1.CLASSES
my_model.input_shape = rock_paper_scissors_v1.INPUT_SHAPE
my_model.class_weights = "balanced"

my_model.datagen = ParallelImageDataGenerator(
    validation_split=0.1,
    validation_augmentation_enabled=False,
    rotation_range=35,
    width_shift_range=5,
    height_shift_range=5,
    brightness_range=(0.5, 1.7),
    contrast_range=(0.5, 1.7),
    noise=["gauss", "poisson", "s&p"],
    horizontal_flip=True,
    vertical_flip=True,
    samplewise_center=True,
    samplewise_std_normalization=True,
)

my_model.epochs = 100
my_model.batch_size = 32
my_model.reduce_lr_on_plateau = {"monitor": "loss", "factor": 0.95, "min_delta": 0.0001, "patience": 1}
my_model.early_stopping = {"monitor": "val_accuracy", "patience": 35}
my_model.build_model_function = build_model

# Each picture is normalized by itself, in floats: the model takes what comes out.
my_model.tflite_converter["inference_input_type"] = "float32"
my_model.tflite_converter["inference_output_type"] = "float32"
