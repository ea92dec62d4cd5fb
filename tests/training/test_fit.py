"""Training: the same bits every time, how it ends, what it refuses, and the files of its history."""

from __future__ import annotations

import json
import math
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.errors import StageError
from mltkbuild.events import EpochProgress
from mltkbuild.training import fit
from mltkbuild.training.history import Training, last_metrics, write_history

from .. import warm

WORDS = ("yes", "no", "_unknown_")
SCRIPT = """
import hashlib, json, sys, warnings

import keras
import numpy as np
import tensorflow as tf

from mltkbuild.training import class_weights
from mltkbuild.training import fit as fitting
from mltkbuild.training.keeper import Keeper
from mltkbuild.data.samples import Samples, small
from mltkbuild.errors import MltkError

WORDS = ("yes", "no", "_unknown_")
tf.config.experimental.enable_op_determinism()
rng = np.random.default_rng(0)
x = rng.normal(size=(48, 4)).astype("float32")
y = rng.integers(0, 3, 48) % 3
arrays, held_out = Samples(x, y), Samples(x[:12], y[:12])
one_hot = np.eye(3, dtype="float32")[y]
events = []


def model(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=("accuracy",), eager=True):
    keras.backend.clear_session()
    keras.utils.set_random_seed(7)
    layers = [keras.layers.Dense(8, activation="relu"), keras.layers.Dropout(0.2), keras.layers.Dense(3, "softmax")]
    built = keras.Sequential([keras.Input((4,)), *layers])
    built.compile(loss=loss, optimizer=optimizer, metrics=list(metrics), run_eagerly=eager)
    return built


def fit(training=arrays, validation=None, built=None, epochs=2, seed=1, batch_size=8, **rest):
    events.clear()
    built = built or model()
    settings = fitting.TrainSettings(epochs=epochs, batch_size=batch_size, seed=seed, classes=WORDS, **rest)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", UserWarning)
            history = fitting.fit(built, training, validation, settings, Keeper(progress=events.append)).history
    except MltkError as error:
        return [type(error).__name__, error.what, error.found, error.fix]
    weights = hashlib.sha256(b"".join(value.tobytes() for value in built.get_weights())).hexdigest()
    said = [str(item.message) for item in caught if issubclass(item.category, UserWarning)]
    return {"history": history, "weights": weights, "warnings": said, "events": [vars(event) for event in events]}


class Batches(keras.utils.PyDataset):
    def __len__(self):
        return 6

    def __getitem__(self, place):
        return x[place * 8 : place * 8 + 8], y[place * 8 : place * 8 + 8]


def generate():
    for batch in range(6):
        yield Batches()[batch]


class Stop(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


# Most questions need no compiled graph, which takes a second to trace.
first = fit(built=model(eager=False))
if sys.argv[2] == "first":
    json.dump(first, open(sys.argv[1], "w"))
    sys.exit()
dataset = tf.data.Dataset.from_tensor_slices((x, y)).batch(8)
signature = (tf.TensorSpec((None, 4), tf.float32), tf.TensorSpec((None,), tf.int64))
generated = tf.data.Dataset.from_generator(generate, output_signature=signature)
loss_stop = {"monitor": "loss", "patience": 0, "min_delta": 100.0}
per_class = keras.metrics.F1Score(average=None)
balanced = class_weights.class_weight("balanced", WORDS, arrays, {})
halved = {"schedule": lambda epoch: 0.5 ** epoch / 10}
answers = {
    "first": first,
    "other seed": fit(built=model(eager=False), seed=2),
    "again": fit(built=model(eager=False)),
    "eager": fit(),
    "nan": fit(lr_schedule=lambda epoch, rate: 0.01 if epoch == 0 else 1e38, built=model(optimizer="sgd"), epochs=5),
    "no end": fit(epochs=-1),
    "stopped": fit(epochs=-1, early_stopping=loss_stop),
    "own callback": fit(train_callbacks=[Stop()]),
    "callback in kwargs": fit(epochs=-1, early_stopping=loss_stop, train_kwargs={"callbacks": [Stop()]}),
    "schedule dict": fit(lr_schedule=halved),
    "schedule function": fit(lr_schedule=lambda epoch, rate: rate / 2),
    "schedule callback": fit(lr_schedule=keras.callbacks.LearningRateScheduler(halved["schedule"])),
    "plateau": fit(reduce_lr_on_plateau={**loss_stop, "patience": 1, "factor": 0.1}, epochs=3),
    "unvalidated": fit(early_stopping={"patience": 3}),
    "misspelt": fit(validation=held_out, early_stopping={"monitor": "val_acc"}),
    "misspelt plateau": fit(reduce_lr_on_plateau={"monitor": "los"}),
    "sparse validation": fit(validation=held_out, validation_freq=2, early_stopping={"patience": 9}, epochs=4),
    "class weights": fit(class_weights="balanced"),
    "sample weights": fit(Samples(x, y, np.array([balanced[label] for label in y.tolist()]))),
    "weights by name": fit(class_weights={"no": 5.0}),
    "both weights": fit(Samples(x, y, np.ones(48)), class_weights="balanced"),
    "one-hot": fit(Samples(x, one_hot.astype(bool)), built=model("categorical_crossentropy"), class_weights="balanced"),
    "f1": fit(Samples(x, one_hot), built=model("categorical_crossentropy", metrics=[per_class])),
    "arrays in order": fit(shuffle=False),
    "dataset": fit(Samples(dataset), Samples(dataset), class_weights={"no": 1.0}),
    "py dataset": fit(Samples(Batches()), shuffle=False),
    "generated": fit(Samples(generated)),
    "few": fit(small(Samples(Batches()), WORDS)),
    "endless": fit(Samples(dataset.repeat())),
    "endless validation": fit(validation=Samples(dataset.repeat())),
    "endless in steps": fit(Samples(dataset.repeat()), steps_per_epoch=2),
    "no batch": fit(Samples(dataset.take(0)), built=model(eager=False)),
}
json.dump(answers, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What one process that trains many times, and another that trains once, have to say."""
    folder = tmp_path_factory.mktemp("trained")

    def run(name: str) -> None:
        warm.python(SCRIPT, str(folder / name), name)

    with ThreadPoolExecutor() as pool:
        list(pool.map(run, ("all", "first")))
    found = {**json.loads((folder / "all").read_text()), "other process": json.loads((folder / "first").read_text())}
    return {name: _with_events(answer) for name, answer in found.items()}


def _with_events(answer: Any) -> Any:
    """What a training had to say, its events as they were."""
    if "events" not in answer:
        return answer
    return {**answer, "events": [EpochProgress(**event) for event in answer["events"]]}


def losses(answer: Any) -> list[float]:
    assert isinstance(answer, dict), answer
    return [float(value) for value in answer["history"]["loss"]]


@pytest.mark.real
def test_training_gives_the_same_bits(trained: dict[str, Any]) -> None:
    """Weights and history are the same in another process, and after another training in the same process."""
    assert trained["first"] == trained["other process"]
    assert trained["first"] == trained["again"]
    assert trained["first"]["weights"] != trained["other seed"]["weights"]


@pytest.mark.real
def test_progress_is_reported(trained: dict[str, Any]) -> None:
    """Each step of each epoch, and the metrics after it, are reported, counting from 1."""
    events = trained["first"]["events"]

    steps = [EpochProgress(1, 2, step, 6) for step in range(1, 7)]
    assert steps == events[:6]
    metrics = last_metrics(trained["first"]["history"])
    assert EpochProgress(2, 2, metrics=metrics) == events[-1]
    assert 14 == len(events)


@pytest.mark.real
def test_a_diverged_loss_names_its_epoch(trained: dict[str, Any]) -> None:
    """A loss that becomes NaN or infinite is an error that names the step, and ends the training at once."""
    kind, what, found, _ = trained["nan"]

    assert ("StageError", "the loss is no finite number at step 2 of epoch 2") == (kind, what)
    assert found in ("loss nan", "loss inf")


@pytest.mark.real
def test_unlimited_epochs_need_early_stopping(trained: dict[str, Any]) -> None:
    """Unlimited epochs are an error without early_stopping; with it the training ends by itself."""
    assert ["SpecError", "epochs = -1 needs early_stopping to end the training"] == trained["no end"][:2]
    assert 2 == len(losses(trained["stopped"]))


@pytest.mark.real
def test_callbacks_of_the_spec_run_beside_the_others(trained: dict[str, Any]) -> None:
    """Callbacks in train_callbacks and in train_kwargs run; progress is reported all the same."""
    for name in ("own callback", "callback in kwargs"):
        assert 1 == len(losses(trained[name]))
        assert 7 == len(trained[name]["events"])


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("schedule dict", [0.1, 0.05]),
        ("schedule function", [0.0005, 0.00025]),
        ("schedule callback", [0.1, 0.05]),
        ("plateau", [0.001, 0.001, 0.0001]),
    ],
)
def test_the_learning_rate_follows_its_rule(trained: dict[str, Any], name: str, expected: list[float]) -> None:
    """A schedule as a dict, a function or a callback, and the plateau rule, set the rate of each epoch."""
    assert pytest.approx(expected) == trained[name]["history"]["learning_rate"]


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "found", "fix"),
    [
        ("unvalidated", "early_stopping monitors 'val_loss'", "validation_split"),
        ("misspelt", "'val_acc'", "val_accuracy"),
        ("misspelt plateau", "'los'", "loss"),
    ],
)
def test_a_rule_that_waits_for_nothing_is_refused(trained: dict[str, Any], name: str, found: str, fix: str) -> None:
    """A rule that monitors a metric which never comes is an error, where Keras would train on for ever."""
    kind, _, given, hint = trained[name]

    assert ("SpecError", found) == (kind, given)
    assert fix in hint


@pytest.mark.real
def test_a_rule_may_wait_for_a_rare_validation(trained: dict[str, Any]) -> None:
    """Where validation runs every second epoch, a rule that monitors it waits."""
    history = trained["sparse validation"]["history"]

    assert (4, 2) == (len(history["loss"]), len(history["val_loss"]))


@pytest.mark.real
def test_class_weights_weigh_samples(trained: dict[str, Any]) -> None:
    """Balanced classes train as samples with the same weights do; one-hot rows and weights by name work too."""
    assert trained["sample weights"]["weights"] == trained["class weights"]["weights"]
    assert trained["eager"]["weights"] != trained["class weights"]["weights"]
    assert trained["eager"]["weights"] != trained["weights by name"]["weights"]
    assert pytest.approx(losses(trained["class weights"]), rel=1e-5) == losses(trained["one-hot"])


@pytest.mark.real
def test_two_kinds_of_weights_are_refused(trained: dict[str, Any]) -> None:
    """Class weights beside sample weights are an error."""
    assert ["SpecError", "class_weights and sample_weight can't be used together"] == trained["both weights"][:2]


@pytest.mark.real
def test_a_metric_with_several_values_is_several_metrics(trained: dict[str, Any]) -> None:
    """An F1 score per class has a series of its own for each class."""
    assert {"f1_score[0]", "f1_score[1]", "f1_score[2]", "loss"} == set(trained["f1"]["history"])


@pytest.mark.real
def test_streams_train_as_arrays_do(trained: dict[str, Any]) -> None:
    """A dataset, a PyDataset and a dataset of unknown length give the losses of the arrays, and no warning."""
    expected = losses(trained["arrays in order"])
    for name in ("dataset", "py dataset"):
        assert pytest.approx(expected, rel=1e-4) == losses(trained[name]), name
    # Where Keras meets the end unawares, dropout goes on from another state.
    assert pytest.approx(expected[:1], rel=1e-4) == losses(trained["generated"])[:1]
    assert 2 == len(losses(trained["generated"]))
    assert [] == trained["dataset"]["warnings"]
    assert 2 == len(trained["dataset"]["history"]["val_loss"])


@pytest.mark.real
def test_a_dry_run_of_a_py_dataset_reads_three_batches(trained: dict[str, Any]) -> None:
    """A dry run trains on the first three batches of a PyDataset."""
    assert {3} == {event.steps for event in trained["few"]["events"] if event.step is not None}


@pytest.mark.real
def test_a_stream_without_end_needs_steps(trained: dict[str, Any]) -> None:
    """A stream that repeats is an error unless the spec says how many batches make an epoch."""
    assert ["SpecError", "the training data has no end"] == trained["endless"][:2]
    assert ["SpecError", "the validation data has no end"] == trained["endless validation"][:2]
    assert {2} == {event.steps for event in trained["endless in steps"]["events"] if event.step is not None}


@pytest.mark.real
def test_a_stream_without_batches_is_refused(trained: dict[str, Any]) -> None:
    """A stream that gives nothing trains nothing, which is an error."""
    assert ["DataError", "the training data gave no batch"] == trained["no batch"][:2]


# Without Keras.


def test_an_epoch_without_loss_is_no_error() -> None:
    """A model with a training step of its own need not report a loss."""
    plain = fit.TrainSettings(epochs=1, batch_size=1, seed=1)

    fit._check_epoch(1, {"accuracy": 0.5}, plain)
    with pytest.raises(StageError, match="after epoch 3"):
        fit._check_epoch(3, {"loss": math.inf}, plain)


METRICS = {"accuracy": [0.25, 0.5, 0.75], "loss": [2.0, 1.5, 1.0], "val_loss": [math.nan]}
HISTORY = Training(
    METRICS, epochs=3, final_epoch=2, best_epoch=2, monitor="accuracy", segments=[{"from": [0, 0], "to": [3, 0]}]
)


def test_the_history_is_written(tmp_path: Path) -> None:
    """The history is strict JSON in MLTK's layout, a log of a line per epoch, and a picture."""
    write_history(tmp_path, "kws", HISTORY)

    text = (tmp_path / "train" / "history.json").read_text()
    document = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert {
        "epochs": [0, 1, 2],
        "params": {"epochs": 3},
        "history": {"accuracy": [0.25, 0.5, 0.75], "loss": [2.0, 1.5, 1.0], "val_loss": [None]},
        "monitor": "accuracy",
        "best_epoch": 2,
        "final_epoch": 2,
        "stopped_early": False,
        "segments": [{"from": [0, 0], "to": [3, 0]}],
    } == document
    expected = ["accuracy 0.25, loss 2", "accuracy 0.5, loss 1.5  (best)", "accuracy 0.75, loss 1"]
    lines = [f"epoch {number}/3: {text}\n" for number, text in enumerate(expected, 1)]
    assert "".join(lines) == (tmp_path / "train" / "log.txt").read_text()
    assert b"\x89PNG" == (tmp_path / "train" / "history.png").read_bytes()[:4]


def test_the_same_history_gives_the_same_bytes(tmp_path: Path) -> None:
    """Neither the time nor the order of the metrics shows in the files of a history."""
    for name, history in (("a", METRICS), ("b", dict(reversed(METRICS.items())))):
        write_history(tmp_path / name, "kws", replace(HISTORY, history=history))

    for path in ("history.json", "log.txt"):
        assert (tmp_path / "a" / "train" / path).read_bytes() == (tmp_path / "b" / "train" / path).read_bytes()


def test_last_metrics_are_those_of_the_last_epoch() -> None:
    """Each metric has its last value; one without values has none."""
    assert {"loss": 1.0, "accuracy": 0.75} == last_metrics({"loss": [2, 1], "accuracy": [0.75], "val_loss": []})
