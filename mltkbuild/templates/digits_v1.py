"""Handwritten digits, 8x8 pixels: scikit-learn's bundled data set, a small convolutional network for int8."""

import keras
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin


# @mltk_model
class DigitsModel(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """Tells apart the digits 0 to 9."""


def load_dataset(subset, test):
    """1,437 images for training, of which some validate; 360 for evaluation, never seen in training."""
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, random_state=7, stratify=digits.target
    )
    return (x_train, y_train) if subset == "training" else (x_test, y_test)


def build_model(model):
    """Two convolutions, one dense layer: 11,000 parameters."""
    keras_model = keras.Sequential(
        [
            keras.Input(model.input_shape),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.Conv2D(24, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Dropout(0.25),
            keras.layers.Flatten(),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(model.n_classes, activation="softmax"),
        ]
    )
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = DigitsModel()
my_model.version = 1
my_model.description = "Handwritten digits, 8x8 pixels"

my_model.classes = [str(digit) for digit in range(10)]
my_model.input_shape = (8, 8, 1)
my_model.dataset = load_dataset
my_model.validation_split = 0.1

my_model.epochs = 40
my_model.batch_size = 32
my_model.optimizer = "adam"
my_model.loss = "sparse_categorical_crossentropy"
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
