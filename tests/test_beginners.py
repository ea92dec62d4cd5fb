"""The mistakes of somebody's first spec: each is told before the first epoch, at its line, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import MltkError
from mltkbuild.workers.executor import Processes

from .conftest import Files, Running

pytestmark = pytest.mark.real

SPEC = '''
import functools
import keras
import numpy as np
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

# @mltk_model
class MyModel(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """A model."""

class Short(keras.callbacks.Callback):
    def on_epoch_end(self, epoch):
        pass

def load(subset, test):
    y = np.arange(60) % 3
    x = np.random.default_rng(len(subset)).normal(0, 1, (60, 8)).astype("float32")
    return x, y

def build(my_model):
    model = keras.Sequential([
        keras.Input(my_model.input_shape),
        keras.layers.Dense(4, activation="relu"),
        keras.layers.Dense(3, activation="softmax"),
    ])
    model.compile(loss=my_model.loss, optimizer=my_model.optimizer, metrics=my_model.metrics)
    return model

my_model = MyModel()
my_model.classes = ["a", "b", "c"]
my_model.input_shape = (8,)
my_model.epochs = 2
my_model.validation_split = 0.2
my_model.loss = "sparse_categorical_crossentropy"
my_model.dataset = load
my_model.build_model_function = build
'''
END = "my_model.build_model_function = build\n"
HIDDEN = 'keras.layers.Dense(4, activation="relu")'
LOSS = '"sparse_categorical_crossentropy"'
ROWS: dict[str, tuple[str, str, str, str, str]] = {
    # what is replaced, by what; the stage that tells; what it says; what to do
    "one-hot loss": (LOSS, '"categorical_crossentropy"', "preflight", "takes one-hot rows", "set the loss to sparse_"),
    "one-hot labels": ("return x, y", "return x, np.eye(3)[y]", "preflight", "takes class ids", "categorical_cross"),
    "metric of another form": ("", 'my_model.metrics = ["mae"]', "preflight", "in the metric mae", "take mae out"),
    "builder called": ("= build\n", "= build(my_model)\n", "spec", "must be the function", "leave the parentheses"),
    "optimizer's name": ("", 'my_model.optimizer = "adm"', "spec", "Keras has no optimizer", "did you mean adam"),
    "loss's name": (LOSS, '"sparse_crossentropy"', "preflight", "Keras has no loss", "sparse_categorical_cross"),
    "metric's name": ("", 'my_model.metrics = ["acuracy"]', "preflight", "Keras has no metric", "Accuracy"),
    "activation's name": ('"relu"', '"rellu"', "spec", "Keras has no activation", "did you mean relu"),
    "not compiled": ("    model.compile", "    dict", "spec", "is not compiled", "call keras_model.compile"),
    "nothing returned": ("    return model\n", "", "spec", "must return a compiled", "return the model"),
    "input shape": ("= (8,)", "= (9,)", "preflight", "don't fit the model's input", "keras.Input the shape"),
    "too few outputs": ("Dense(3", "Dense(2", "preflight", "a label is outside the output", "Dense(3)"),
    "monitor": ("", 'my_model.early_stopping = {"monitor": "val_acuracy"}', "preflight", "monitors a", "val_accuracy"),
    "argument": ("", 'my_model.early_stopping = {"patiance": 3}', "preflight", "early_stopping isn't", "arguments"),
    "schedule": ("", "my_model.lr_schedule = lambda n: [0.1][n]", "preflight", "raised IndexError", "mend this line"),
    "no rate": ("", "my_model.lr_schedule = lambda n: None", "preflight", "no learning rate", "return a float"),
    "callback's class": ("", "my_model.train_callbacks = [Short]", "preflight", "no callback", "objects of keras"),
    "callback's hook": ("", "my_model.train_callbacks = [Short()]", "preflight", "on_epoch_end", "epoch, logs=None)"),
    "loop": (HIDDEN, "keras.layers.Reshape((8, 1)), keras.layers.GRU(4)", "preflight", "not unrolled", "unroll=True"),
    "lambda": (HIDDEN, "keras.layers.Lambda(lambda x: keras.ops.abs(x))", "preflight", "NameError", "import what"),
    "property": ("", "my_model.batchsize = 3", "spec", "no property batchsize", "did you mean batch_size"),
    "words as labels": ("return x, y", 'return x, np.array(["a"] * 60)', "data", "no array of numbers", "class ids"),
    "labels from 1": ("return x, y", "return x, y + 1", "data", "outside the classes", "from 0 to 2"),
    "NaN": ("return x, y", "x[3] = np.nan; return x, y", "data", "no finite number", "remove or replace"),
    "class's name": ("", 'my_model.class_weights = {"d": 3}', "preflight", "class that the model has not", "a, b, c"),
    "open input": ("(my_model.input_shape)", "((None,))", "spec", "raised ValueError", "mend this line"),
    "epochs": ("epochs = 2", 'epochs = "2"', "spec", "epochs must be", "positive integer"),
    "package": ("import functools", "import librosaa", "spec", "ModuleNotFoundError", "pip install librosaa"),
    "layer's input": (HIDDEN, "keras.layers.Conv2D(4, 3)", "spec", "raised ValueError", "mend this line"),
    "5 dimensions": (
        HIDDEN,
        "keras.layers.Reshape((2, 2, 2, 1)), keras.layers.Lambda(lambda t: t[:, :1, :1, :1]), keras.layers.Flatten()",
        "preflight",
        "TensorFlow Lite Micro can't run",
        "",
    ),
}


def built(tmp_path: Path, executor: Processes, text: str) -> Files:
    """Bring the training of a spec up to date."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=text)
    builder = Builder(files.workspace, Running(executor.run))
    try:
        builder.build("kws", "train")
    finally:
        builder.close()
    return files


@pytest.mark.parametrize("name", ROWS)
def test_mistake_is_told_before_the_first_epoch(name: str, tmp_path: Path, executor: Processes) -> None:
    """By the stage that can know it first, at a place in the spec, without a graph's words."""
    old, new, stage, what, fix = ROWS[name]
    text = SPEC.replace(old, new) if old else SPEC.replace(END, f"{END}{new}\n")
    assert text != SPEC
    with pytest.raises(MltkError, match=what) as caught:
        built(tmp_path, executor, text)
    error = caught.value
    assert str(error.where).startswith("models/kws.py:")
    assert fix in str(error.fix)
    assert not [word for word in ("{{", "[Op:", "Graph execution", "\x1b", "Traceback") if word in f"{error.found}"]
    done = {path.stem.partition(".")[0] for path in tmp_path.glob("ws/build/kws/.records/*.json")}
    order = ["spec", "data", "preflight", "train"]
    assert set(order[: order.index(stage)]) == done


@pytest.mark.parametrize(
    "loss",
    [
        "functools.partial(keras.losses.sparse_categorical_crossentropy, from_logits=False)",
        "keras.losses.SparseCategoricalCrossentropy()",
    ],
)
def test_loss_may_be_a_partial_or_an_object(loss: str, tmp_path: Path, executor: Processes) -> None:
    """It is trained with, though no file holds a partial."""
    files = built(tmp_path, executor, SPEC.replace(LOSS, loss))
    assert (files.root / "build/kws/kws.keras").exists()
