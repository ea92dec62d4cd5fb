"""An epoch of the train stage beside one of plain scripts around `keras.Model.fit`."""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from mltkbuild.front.report import table
from turns import DODO, ENVIRONMENT, TURNS, Run

PARTS = f'''\
"""What the train stage and the plain script have in common."""

import functools
import os
import socket

import keras
import numpy as np

SHAPE = (32, 32, 1)
CLASSES = 10
BATCH = 32
SEED = 1


{TURNS}

def samples(count, seed):
    """Noise over a pattern for each class, as 8 bit images scaled to 0 to 1."""
    random = np.random.default_rng(seed)
    patterns = np.random.default_rng(0).random((CLASSES, *SHAPE), dtype="float32")
    y = random.integers(0, CLASSES, count)
    return (patterns[y] + random.random((count, *SHAPE), dtype="float32")) / 2, y


def build_model(model=None):
    """Three convolutions: 16,000 parameters."""
    x = inputs = keras.Input(SHAPE)
    for filters in (16, 24, 32):
        x = keras.layers.Conv2D(filters, 3, padding="same", use_bias=False)(x)
        x = keras.layers.BatchNormalization()(x)
        x = keras.layers.ReLU(max_value=6)(x)
        x = keras.layers.MaxPooling2D()(x)
    x = keras.layers.Dropout(0.3)(keras.layers.Flatten()(x))
    outputs = keras.layers.Dense(CLASSES, activation="softmax")(x)
    keras_model = keras.Model(inputs, outputs)
    keras_model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return keras_model
'''

SPEC = '''\
"""The train stage that is timed."""

from parts import BATCH, CLASSES, SEED, SHAPE, Turns, build_model, samples

from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin


# @mltk_model
class EpochModel(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """Tells apart patterns in noise."""


def load_dataset(subset, test):
    """Samples to train on, and a tenth as many to validate."""
    return (*samples({count}, 1), samples({count} // 10, 2))


my_model = EpochModel()
my_model.classes = [str(label) for label in range(CLASSES)]
my_model.input_shape = SHAPE
my_model.dataset = load_dataset
my_model.build_model_function = build_model
my_model.seed = SEED
my_model.batch_size = BATCH
my_model.epochs = {epochs}
my_model.train_callbacks = [Turns()]
'''

PLAIN = '''\
"""The same training as the train stage's, by Keras alone and without its progress bar."""

import sys

import keras
import tensorflow as tf
from parts import BATCH, SEED, Turns, build_model, samples

if "deterministic" in sys.argv:
    tf.config.experimental.enable_op_determinism()
keras.utils.set_random_seed(SEED)
x, y = samples({count}, 1)
model = build_model()
model.fit(
    x,
    y,
    batch_size=BATCH,
    epochs={epochs},
    validation_data=samples({count} // 10, 2),
    callbacks=[Turns()],
    verbose=0,
)
'''


OURS, PLAIN_FIT, FREE_FIT = "mltkbuild, train stage", "Keras fit, deterministic", "Keras fit"


def write_workspace(folder: Path, count: int, epochs: int) -> None:
    """Write the spec, what it shares with the plain script, and that script."""
    (folder / "models").mkdir(parents=True)
    texts = {"dodo.py": DODO, "parts.py": PARTS, "models/epochs.py": SPEC, "plain.py": PLAIN}
    for name, text in texts.items():
        filled = text.format(count=count, epochs=epochs) if text in (SPEC, PLAIN) else text
        (folder / name).write_text(filled, encoding="utf-8")


def time_epochs(folder: Path, count: int, rounds: int) -> dict[str, list[float]]:
    """Seconds of each counted epoch of each side, one epoch of each a round."""
    # The first epoch and the last one aren't counted: tracing, and no next one that would mark the end.
    write_workspace(folder, count, rounds + 2)
    commands = {
        OURS: ("-m", "doit", "train:epochs"),
        PLAIN_FIT: ("plain.py", "deterministic"),
        FREE_FIT: ("plain.py",),
    }
    environment = ENVIRONMENT | {"TMPDIR": str(folder)}
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    with (
        Run((sys.executable, *commands[OURS]), folder, environment) as ours,
        Run((sys.executable, *commands[PLAIN_FIT]), folder, environment) as plain,
        Run((sys.executable, *commands[FREE_FIT]), folder, environment) as free,
    ):
        sides = {OURS: ours, PLAIN_FIT: plain, FREE_FIT: free}
        for side in sides.values():
            side.must_ask()
            side.pause()
        for number in range(rounds + 1):
            # Back and forth, so that a machine that grows slower or faster favours nobody.
            for name in list(sides)[:: -1 if number % 2 else 1]:
                took = sides[name].epoch()
                if number:
                    seconds[name].append(took)
        for side in sides.values():
            side.finish()
    return seconds


def ratios(seconds: Mapping[str, Sequence[float]], over: str, under: str) -> list[float]:
    """The ratio of two sides in each round."""
    return [one / other for one, other in zip(seconds[over], seconds[under], strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median and, for more than one value, the middle half."""
    if len(values) < 2:
        return f"{values[0]:.3f}"
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return f"{median:.3f} (the middle half {low:.3f} to {high:.3f})"


def epoch_report(seconds: Mapping[str, Sequence[float]]) -> str:
    """A table of the sides and the two ratios."""
    rows = [(name, f"{statistics.median(took):.3f}", f"{min(took):.3f}") for name, took in seconds.items()]
    ours, cost = ratios(seconds, OURS, PLAIN_FIT), ratios(seconds, PLAIN_FIT, FREE_FIT)
    least = min(seconds[OURS]) / min(seconds[PLAIN_FIT])
    return "\n".join(
        (
            table((f"{len(ours)} epochs each", "median s", "least s"), rows),
            f"mltkbuild / plain fit, both deterministic: {spread(ours)}; of the least ones {least:.3f}",
            f"what determinism costs plain fit: {spread(cost)}",
        )
    )
