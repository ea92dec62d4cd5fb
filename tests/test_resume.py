"""Trainings that are stopped, killed, starved or changed, in real processes: where they go on and what they come to."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.builder import Builder
from mltkbuild.checkpoints import Position, positions_in
from mltkbuild.errors import MltkError, SpecError, StageError, WorkerDied
from mltkbuild.executor import Executor
from mltkbuild.protocol import RESUME, Event, Options, Start

from . import kills
from .conftest import Files
from .disk import fill, mounted

pytestmark = pytest.mark.real

NAME = "tiny"
TRIP = '''
import os

class Trip(keras.callbacks.Callback):
    """Raises at a step for which there is a file `trip-EPOCH-STEP`."""

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if os.path.exists(f"ROOT/trip-{self.epoch + 1}-{batch + 1}"):
            trip()

def trip():
    raise RuntimeError("tripped")
'''
SPEC = f'''\
"""A model that trains in an instant."""
import keras
import numpy as np
from mltkbuild import DatasetMixin, EvaluateMixin, MltkModel, TrainMixin
{TRIP}

# @mltk_model
class Tiny(MltkModel, TrainMixin, DatasetMixin, EvaluateMixin):
    """A model."""

def load(subset, test):
    rng = np.random.default_rng(3)
    x = rng.normal(size=(40, 4)).astype("float32")
    return x, (x.sum(axis=1) > 0).astype("int64")

def build(model):
    middle = keras.layers.Dense(6, activation="relu", name="middle")
    last = keras.layers.Dense(2, activation="softmax", name="last")
    network = keras.Sequential([keras.Input((4,)), middle, keras.layers.Dropout(0.3), last])
    network.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=["accuracy"], run_eagerly=True)
    return network

my_model = Tiny()
my_model.input_shape = (4,)
my_model.dataset = load
my_model.validation_split = 0.2
my_model.batch_size = 8
my_model.epochs = 4
my_model.checkpoint_interval_minutes = 1e-9
my_model.build_model_function = build
my_model.train_callbacks = [Trip()]
'''
STEPS = 4
MORE = "my_model.train_callbacks = [Trip()]\n"


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Args:
        epochs: The epochs that this run trained to their end.
        notes: What it said.
        facts: What its record tells.
        keras: The bytes of the model.
        log: The text of its log.
    """

    epochs: list[int]
    notes: list[str]
    facts: Mapping[str, Any]
    keras: bytes
    log: str

    @property
    def result(self) -> tuple[bytes, str]:
        """What must not depend on where it was stopped."""
        return self.keras, self.log


@dataclass
class Place:
    """A workspace with one model, trained in shared workers."""

    files: Files
    executor: Executor
    name: str = NAME

    @property
    def folder(self) -> Path:
        """Where the artifacts are."""
        return self.files.root / "build" / self.name

    @property
    def shelves(self) -> list[Path]:
        """The folders of checkpoints, one for each training."""
        return sorted(path for path in (self.folder / "train/checkpoints").glob("*") if path.is_dir())

    @property
    def positions(self) -> list[Position]:
        """The checkpoints of the one training."""
        (shelf,) = self.shelves
        return list(positions_in(str(shelf)))

    def edit(self, old: str, new: str) -> None:
        """Change the spec."""
        self.files.edit(f"models/{self.name}.py", old, new)

    def train(self, options: Options | None = None, start: Start = RESUME) -> Trained:
        """Bring the training up to date."""
        events: list[Event] = []
        builder = Builder(self.files.workspace, run=self.executor.run)
        built = builder.build(self.name, "train", options, events.append, start=start)
        builder.close()
        assert built.record is not None
        epochs = [int(str(event["epoch"])) for event in events if "metrics" in event]
        notes = [str(event["note"]) for event in events if "note" in event]
        model, log = self.folder / f"{self.name}.keras", self.folder / "train/log.txt"
        return Trained(epochs, notes, built.record.facts, model.read_bytes(), log.read_text(encoding="utf-8"))

    def fail(self, options: Options | None = None, start: Start = RESUME) -> MltkError:
        """Train until it fails."""
        with pytest.raises(MltkError) as caught:
            self.train(options, start)
        return caught.value

    def trip(self, epoch: int, step: int, options: Options | None = None) -> MltkError:
        """Train until it raises at a step."""
        path = self.files.write(f"trip-{epoch}-{step}", "")
        error = self.fail(options)
        path.unlink()
        return error

    def tflite(self, options: Options) -> bytes:
        """The bytes of the model for the device."""
        builder = Builder(self.files.workspace, run=self.executor.run)
        builder.reasons(self.name, "train", options)
        builder.build(self.name, "params")
        builder.close()
        return (self.folder / f"{self.name}.tflite").read_bytes()


Make = Callable[..., Place]


@pytest.fixture
def make(tmp_path: Path, executor: Executor) -> Make:
    """Makes workspaces with the tiny model, with texts replaced: old, new, old, new, ..."""

    def place(*pairs: str, root: Path | None = None, text: str = SPEC) -> Place:
        files = Files(root or tmp_path / f"ws{len(list(tmp_path.iterdir()))}")
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text
            text = text.replace(old, new)
        files.write("dodo.py", "")
        files.write(f"models/{NAME}.py", text.replace("ROOT", str(files.root)))
        return Place(files, executor)

    return place


# -- stopped from outside ----------------------------------------------------------------------------------------------


def test_killed_and_interrupted_training_is_as_if_it_never_stopped(tmp_path: Path, executor: Executor) -> None:
    """SIGKILL in an epoch, in a checkpoint and in publishing, Ctrl+C and SIGTERM: the same model in the end."""
    made = {}
    for name in ("calm", "killed"):
        made[name] = kills.write_spec(tmp_path / name, epochs=16, pace=0.015, interval=0.1)
    workspace = made["killed"]
    for number, group in ((signal.SIGINT, True), (signal.SIGTERM, False)):
        before = workspace.newest
        run = kills.Run(workspace)
        assert run.until(lambda before=before: workspace.newest not in (None, before))  # type: ignore[misc]
        (os.killpg if group else os.kill)(run.process.pid, number)
        code, out, err = run.end()
        assert 130 == code, err
        assert f"train:shaky: the checkpoint of {workspace.newest} is kept; run the same command to go on\n" in out
        assert "error" not in err
    for kind in (kills.WRITING, kills.INSIDE, kills.PENDING):
        assert kills.kill_at(workspace, kind, 0.2) is not None
    for one in made.values():
        builder = Builder(Files(one.root).workspace, run=executor.run)
        builder.build(kills.NAME, "params")
        builder.close()
    assert kills.results(made["calm"]) == kills.results(workspace)
    facts = json.loads(workspace.record().read_text(encoding="utf-8"))["facts"]
    assert (True, False) == (len(facts["segments"]) >= 3, "not_exact" in facts)
    assert [] == [path.name for path in workspace.root.rglob("*") if path.suffix in (".tmp", ".pending")]


def test_full_disk_stops_the_training_and_no_more(make: Make, tmp_path: Path) -> None:
    """No space for a checkpoint: an error that says so, old checkpoints and artifacts intact, and on it goes later."""
    text = SPEC.replace("Dense(6,", "Dense(900,").replace("epochs = 4", "epochs = 2")
    calm = make("epochs = 2", "epochs = 3", text=text).train()
    with mounted(tmp_path / "small", "size=24m"):
        place = make(root=tmp_path / "small/ws", text=text)
        place.train()
        before = {name: data for name, data in place.files.tree().items() if "memo" not in name}
        ballast = fill(tmp_path / "small", 300_000)
        error = place.fail({"epochs": 3})
        assert isinstance(error, StageError)
        # A worker that is out of space for its log would be another error.
        assert "can't be written" in error.what, str(error)
        assert "No space left" in str(error.found)
        assert "the checkpoints so far and the old artifacts are untouched" in str(error.fix)
        after = {name: data for name, data in place.files.tree().items() if name in before}
        assert before == after
        ballast.unlink()
        trained = place.train({"epochs": 3})
    assert calm.result == trained.result


def test_worker_without_memory(make: Make) -> None:
    """A worker that the system kills, and one whose allocation fails, are each one error; both trainings go on."""
    place = make('raise RuntimeError("tripped")', "os.kill(os.getpid(), 9)")
    error = place.trip(2, 3)
    assert isinstance(error, WorkerDied)
    assert "ran out of memory" in str(error.found)
    trained = place.train()
    assert ["train:tiny: goes on after step 2 of epoch 2"] == trained.notes
    assert make().train().result == trained.result


@pytest.mark.parametrize(
    "allocate", ["np.ones(1 << 50)", "__import__('tensorflow').zeros((1 << 21, 1 << 21))"], ids=["numpy", "tensorflow"]
)
def test_failed_allocation_is_told_as_one(make: Make, allocate: str) -> None:
    """Out of memory inside the worker: said so, with what to do, and the training goes on later."""
    place = make('raise RuntimeError("tripped")', allocate)
    error = place.trip(2, 3)
    assert "memory" in error.what, str(error)
    assert "batch_size" in str(error.fix), str(error)
    assert [2, 3, 4] == place.train().epochs


# -- goes wrong by itself ----------------------------------------------------------------------------------------------


def test_callback_that_raises_leaves_the_checkpoint(make: Make) -> None:
    """The error is at the user's line; the next run goes on from the last step before it."""
    place = make()
    error = place.trip(3, 2)
    assert "training raised RuntimeError" in error.what
    line = next(n for n, text in enumerate(SPEC.splitlines(), 1) if "tripped" in text)
    assert (f"models/tiny.py:{line}", "tripped") == (error.where, error.found)
    assert Position(2, 1) == place.positions[-1]
    trained = place.train()
    assert (["train:tiny: goes on after step 1 of epoch 3"], [3, 4]) == (trained.notes, trained.epochs)
    assert make().train().result == trained.result


DIVERGES = (MORE, MORE + "my_model.lr_schedule = lambda epoch, rate: 0.01 if epoch < 2 else 1e38\n", '"adam"', '"sgd"')


def test_loss_that_becomes_nan_stops_at_once(make: Make) -> None:
    """The error names epoch and step, and the last good checkpoint is kept."""
    place = make(*DIVERGES)
    error = place.fail()
    assert isinstance(error, StageError)
    assert "the loss is no finite number at step 2 of epoch 3" == error.what
    assert "nan" in str(error.found) or "inf" in str(error.found)
    assert "the checkpoint of epoch 2 is kept" in str(error.fix)
    assert Position(2) == place.positions[-1]
    assert place.shelves[0].joinpath("about.json").exists()


def test_training_may_go_on_with_nan(make: Make) -> None:
    """With on_nan = 'continue' it trains to its end and the model is that of the best epoch."""
    trained = make(*DIVERGES, MORE, MORE + 'my_model.on_nan = "continue"\n').train()
    assert ([1, 2, 3, 4], True) == (trained.epochs, trained.facts["final_epoch"] <= 2)
    assert "nan" in trained.log


def test_epochs_without_end_need_a_rule(make: Make) -> None:
    """Epochs = -1 without early stopping is refused, and with it trains until it strikes."""
    place = make("epochs = 4", "epochs = -1")
    error = place.fail()
    assert isinstance(error, SpecError)
    assert "epochs = -1 needs early_stopping" in error.what
    place.edit(MORE, MORE + 'my_model.early_stopping = {"monitor": "loss", "patience": 2, "min_delta": 9.0}\n')
    place.trip(2, 2)
    assert [2, 3] == place.train().epochs


def test_validation_of_another_shape_is_one_error(make: Make) -> None:
    """Validation samples that don't fit the model are refused in words."""
    returns = "return x, (x.sum(axis=1) > 0).astype(\"int64\")"
    place = make(returns, returns + ", (x[:8, :3], np.zeros(8))", "my_model.validation_split = 0.2\n", "")
    error = place.fail()
    assert "the validation samples don't fit the model's input" == error.what, str(error)
    assert "samples of shape (3,), an input of shape (4,)" == error.found


def test_weights_of_another_architecture(make: Make, tmp_path: Path) -> None:
    """A file of start weights that doesn't fit names the first layer that differs."""
    other = make('Dense(6, activation="relu", name="middle")', 'Dense(5, activation="relu", name="middle")')
    other.train()
    checkpoint = other.shelves[0] / other.positions[-1].file
    for number, source in enumerate((other.folder / "tiny.keras", checkpoint)):
        weights = tmp_path / f"start{number}{source.suffix}"
        shutil.copy(source, weights)
        error = make().fail({"weights": str(weights)})
        assert "middle" in str(error), str(error)
        assert "(4, 5)" in str(error.found), str(error)
        assert "(4, 6)" in str(error.found), str(error)


# -- where it begins ---------------------------------------------------------------------------------------------------


def test_epoch_to_resume_from(make: Make) -> None:
    """A --resume-epoch that isn't there lists those that are; one that is goes on there, to the same end."""
    place = make(MORE, MORE + "my_model.checkpoints_keep = 2\n", "epochs = 4", "epochs = 7")
    straight = place.train()
    error = place.fail(start=Start(resume=3))
    assert "there is no checkpoint of epoch 3 to resume from" == error.what
    assert str(error.found).endswith(", ".join(str(p.epoch) for p in place.positions if not p.step)), error.found
    trained = place.train(start=Start(resume=4))
    assert ([5, 6, 7], straight.result) == (trained.epochs, trained.result)


def test_damaged_checkpoint_falls_back_to_the_one_before(make: Make) -> None:
    """A torn and a corrupt checkpoint are each said and passed over; the end is the same."""
    place = make("1e-9", "None")
    place.trip(4, 2)
    newest, before = (place.shelves[0] / position.file for position in (Position(3), Position(2)))
    newest.write_bytes(newest.read_bytes()[:1000])
    trained = place.train()
    assert "train:tiny: the checkpoint of epoch 3 is damaged" in trained.notes[0]
    assert ("train:tiny: goes on after epoch 2", [3, 4]) == (trained.notes[1], trained.epochs)
    assert make("1e-9", "None").train().result == trained.result
    data = bytearray(before.read_bytes()) if before.exists() else bytearray()
    assert before.exists() == bool(data)


def test_checkpoint_of_another_fingerprint_is_kept_until_the_end_and_not_used(make: Make) -> None:
    """A changed batch size trains from its beginning; its predecessor's checkpoints go when it is done."""
    place = make()
    place.trip(3, 2)
    (old,) = place.shelves
    kept = {path.name: path.read_bytes() for path in old.iterdir()}
    place.edit("batch_size = 8", "batch_size = 16")
    place.trip(2, 1)
    assert kept == {path.name: path.read_bytes() for path in old.iterdir()}
    assert 2 == len(place.shelves)
    place.edit("batch_size = 16", "batch_size = 8")
    assert ["train:tiny: goes on after step 1 of epoch 3"] == [
        note for note in place.trip_notes(3, 3) if "goes on" in note
    ]
    place.edit("batch_size = 8", "batch_size = 16")
    trained = place.train()
    assert [2, 3, 4] == trained.epochs
    assert make("batch_size = 8", "batch_size = 16").train().result == trained.result
    assert (False, 1) == (old.exists(), len(place.shelves))
