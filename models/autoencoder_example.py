"""Anomalies in heartbeats: an auto-encoder that has learned the normal ones rebuilds the others badly.

    doit train:autoencoder_example-test     a dry run with a few heartbeats
    doit archive:autoencoder_example        download ECG5000 (8 MB), train, quantize, evaluate

The task and the layers of the model of this name in MLTK: six dense layers, 140 values in and out.
"""

import keras
from sklearn.model_selection import train_test_split

from mltkbuild import DatasetMixin, EvaluateAutoEncoderMixin, MltkModel, TrainMixin
from mltkbuild.datasets.timeseries import ecg5000


# @mltk_model
class Heartbeats(MltkModel, TrainMixin, DatasetMixin, EvaluateAutoEncoderMixin):
    """Tells normal heartbeats from others."""


def load_dataset(subset, test):
    """Normal heartbeats to learn from; normal ones (0) and others (1) to evaluate."""
    beats, is_normal = ecg5000.load_data()
    x_train, x_test, normal_train, normal_test = train_test_split(beats, is_normal, test_size=0.2, random_state=21)
    low, high = x_train.min(), x_train.max()
    x_train, x_test = (x_train - low) / (high - low), (x_test - low) / (high - low)
    if subset == "evaluation":
        return x_test, 1 - normal_test
    learned = x_train[normal_train == 1]
    held_out = x_test[normal_test == 1]
    return learned, learned, (held_out, held_out)


def build_model(model):
    """Three dense layers down to 8 values, three up again: 10,500 parameters."""
    keras_model = keras.Sequential(
        [
            keras.Input(model.input_shape),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(8, activation="relu"),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(140, activation="sigmoid"),
        ]
    )
    keras_model.compile(loss=model.loss, optimizer=model.optimizer, metrics=model.metrics)
    return keras_model


my_model = Heartbeats()
my_model.default = False
my_model.version = 1
my_model.description = "Anomalies in heartbeats"

my_model.dataset = load_dataset
my_model.input_shape = (140,)

my_model.epochs = 40
my_model.batch_size = 128
my_model.loss = "mae"
my_model.metrics = ["mae"]
my_model.checkpoint["monitor"] = "val_loss"
my_model.build_model_function = build_model

my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
