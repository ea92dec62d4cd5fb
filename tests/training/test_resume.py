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

import numpy as np
import pytest

from mltkbuild.disk.checkpoints import Position, positions_in
from mltkbuild.engine.builder import Builder
from mltkbuild.errors import MltkError, SpecError, StageError, WorkerDied
from mltkbuild.events import EpochProgress, Event, Note
from mltkbuild.stages.protocol import RESUME, Options, Start
from mltkbuild.training import training_state
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running, command
from ..disk.faults import fill, mounted
from . import kills

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
    executor: Processes
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
        builder = Builder(self.files.workspace, Running(self.executor.run))
        built = builder.build(self.name, "train", options, events.append, start=start)
        builder.close()
        assert built.record is not None
        epochs = [event.epoch for event in events if isinstance(event, EpochProgress) and event.metrics is not None]
        notes = [event.text for event in events if isinstance(event, Note)]
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
        builder = Builder(self.files.workspace, Running(self.executor.run))
        builder.go_by(builder.judge(self.name, "train", options))
        builder.build(self.name, "params")
        builder.close()
        return (self.folder / f"{self.name}.tflite").read_bytes()


Make = Callable[..., Place]


@pytest.fixture
def make(tmp_path: Path, executor: Processes) -> Make:
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


def test_killed_and_interrupted_training_is_as_if_it_never_stopped(tmp_path: Path) -> None:
    """Ctrl+C, SIGTERM, SIGKILL in a checkpoint and in publishing: the same model in the end, and nothing left over."""
    made = {}
    for name in ("calm", "killed"):
        made[name] = kills.write_spec(tmp_path / name, epochs=16, pace=0.015, interval=0.1, quick=True)
    workspace = made["killed"]

    def finish(one: kills.Workspace) -> None:
        done = command("mltk", "train", kills.NAME, "--no-evaluate", cwd=one.root, workers="warm")
        assert 0 == done.code, done.err

    calm = threading.Thread(target=finish, args=(made["calm"],))
    calm.start()
    for number, group in ((signal.SIGINT, True), (signal.SIGTERM, False)):
        before = workspace.newest
        run = kills.Run(workspace)
        assert run.until(lambda before=before: workspace.newest not in (None, before))  # type: ignore[misc]
        (os.killpg if group else os.kill)(run.process.pid, number)
        code, out, err = run.end()
        assert 130 == code, err
        assert f"train:shaky: the checkpoint of {workspace.newest} is kept; run the same command to go on\n" in out
        assert "error" not in err
    for kind in (kills.WRITING, kills.PENDING):
        assert kills.kill_at(workspace, kind, 0.0) is not None
    finish(workspace)
    calm.join()
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
        ballast = fill(tmp_path / "small", 60_000)
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


# A real one of TensorFlow's tries for 10 seconds before it gives up.
OUT_OF_MEMORY = "raise __import__('tensorflow').errors.ResourceExhaustedError(None, None, 'OOM when allocating')"


@pytest.mark.parametrize("allocate", ["np.ones(1 << 50)", OUT_OF_MEMORY], ids=["numpy", "tensorflow"])
def test_failed_allocation_is_told_as_one(make: Make, allocate: str) -> None:
    """Out of memory inside the worker: said so, with what to do, and the training goes on later."""
    place = make('raise RuntimeError("tripped")', allocate)
    error = place.trip(2, 3)
    assert "the machine ran out of memory while " in error.what
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
    assert "the checkpoint of step 1 of epoch 3 is kept" in str(error.fix)
    assert [Position(1), Position(2), Position(2, 1)] == place.positions
    state = training_state.decode((place.shelves[0] / Position(2).file).read_bytes())
    assert all(np.isfinite(value).all() for value in state["variables"].values())


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
    returns = 'return x, (x.sum(axis=1) > 0).astype("int64")'
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
    data = bytearray(before.read_bytes())
    data[len(data) // 2] ^= 1
    before.write_bytes(data)
    trained = place.train()
    assert "train:tiny: the checkpoint of epoch 3 is damaged" in trained.notes[0]
    assert "train:tiny: the checkpoint of epoch 2 is damaged" in trained.notes[1]
    assert ("train:tiny: goes on after epoch 1", [2, 3, 4]) == (trained.notes[2], trained.epochs)
    assert make("1e-9", "None").train().result == trained.result


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
    trained = place.train()
    assert [2, 3, 4] == trained.epochs
    assert make("batch_size = 8", "batch_size = 16").train().result == trained.result
    assert (False, 1) == (old.exists(), len(place.shelves))


def test_twice_the_epochs_are_those_at_once(tmp_path: Path, executor: Processes) -> None:
    """10 epochs then 20, and 20 then 10, give the bytes of a training that was told so at once; stopped ones too."""
    places = {}
    for name in ("first", "second"):
        root = kills.write_spec(tmp_path / name, epochs=10, pace=0.0, interval=1e-9, quick=True).root
        places[name] = Place(Files(root), executor, kills.NAME)
        text = (root / f"models/{kills.NAME}.py").read_text(encoding="utf-8") + TRIP.replace("ROOT", str(root))
        places[name].files.write(f"models/{kills.NAME}.py", text + "my_model.train_callbacks.append(Trip())\n")
    made: dict[tuple[str, int], tuple[object, ...]] = {}
    for epochs in (10, 20):
        places["first"].trip(epochs - 5, 6, {"epochs": epochs})
        trained = places["first"].train({"epochs": epochs})
        assert ("not_exact" in trained.facts, epochs) == (False, trained.epochs[-1])
        made["first", epochs] = (*trained.result, places["first"].tflite({"epochs": epochs}))
    for epochs in (20, 10):
        trained = places["second"].train({"epochs": epochs})
        assert ([] if epochs == 10 else list(range(1, 21))) == trained.epochs
        made["second", epochs] = (*trained.result, places["second"].tflite({"epochs": epochs}))
    assert (made["first", 10], made["first", 20]) == (made["second", 10], made["second", 20])


def test_rules_that_strike_do_so_at_the_same_epoch(make: Make) -> None:
    """EarlyStopping and ReduceLROnPlateau go on from where they were, and a training that they ended has no more."""
    rules = (
        'my_model.early_stopping = {"monitor": "val_loss", "patience": 4, "min_delta": 0.5}\n'
        'my_model.reduce_lr_on_plateau = {"monitor": "val_loss", "patience": 1, "min_delta": 0.5, "factor": 0.1}\n'
    )
    pairs = (MORE, MORE + rules, "epochs = 4", "epochs = 20")
    straight = make(*pairs).train()
    assert (list(range(1, 6)), True) == (straight.epochs, "learning_rate 1e-05" in straight.log)
    place = make(*pairs)
    for epoch, step in ((3, 1), (4, 4)):
        place.trip(epoch, step)
    assert straight.result == place.train().result
    longer = place.train({"epochs": 40})
    assert ([], straight.result) == (longer.epochs, longer.result)


TOTALS = {
    "builder": (
        '"adam"', "keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(0.01, model.epochs * 4))"
    ),
    "schedule": (MORE, MORE + "my_model.lr_schedule = lambda epoch, rate: 0.01 * (1 - epoch / my_model.epochs)\n"),
    "callback": (
        '        self.epoch = epoch\n',
        "        self.epoch = epoch\n"
        "        self.model.optimizer.learning_rate.assign(0.01 * (1 - epoch / self.params['epochs']))\n",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", TOTALS)
def test_setting_that_depends_on_the_total_starts_over_by_itself(make: Make, how: str) -> None:
    """Where a decay runs over all epochs, a longer training is another one from its first epoch on."""
    place = make(*TOTALS[how])
    assert [1, 2, 3, 4] == place.train().epochs
    place.edit("epochs = 4", "epochs = 6")
    assert [1, 2, 3, 4, 5, 6] == (longer := place.train()).epochs
    assert "goes on" not in " ".join(longer.notes)
    assert 6 == longer.facts["epochs"]


def test_longer_by_option_starts_over_where_a_setting_depends_on_it(make: Make) -> None:
    """The same by --epochs, of which the spec itself knows nothing, for a callback that asks Keras."""
    place = make(*TOTALS["callback"])
    place.train()
    assert [1, 2, 3] == place.train({"epochs": 3}).epochs


def test_disk_of_a_hundred_epochs_is_bounded(make: Make) -> None:
    """A tenth of the epochs, the last two, the best, one within an epoch, and one that is being written; no more."""
    place = make(
        "epochs = 4",
        "epochs = 100",
        "batch_size = 8",
        "batch_size = 16",
        "run_eagerly=True",
        "jit_compile=False",
        MORE,
        "",
    )
    peak, done = [0], threading.Event()

    def look() -> None:
        while not done.is_set():
            names = [name for shelf in place.shelves for name in os.listdir(shelf) if name.startswith("epoch")]
            peak[0] = max(peak[0], len(names))
            time.sleep(0.002)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        trained = place.train()
    finally:
        done.set()
        thread.join()
    assert 100 == len(trained.epochs)
    assert 12 <= peak[0] <= 10 + 2 + 1 + 2
    kept = {position.epoch for position in place.positions}
    assert kept == {*range(10, 101, 10), 99, trained.facts["best_epoch"]}


STREAMS = {
    "dataset": "__import__('tensorflow').data.Dataset.from_tensor_slices((x, y)).shuffle(40).batch(8)",
    "sequence": "Batches(x, y)",
}
SEQUENCE = """
class Batches(keras.utils.PyDataset):
    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def __len__(self):
        return 4

    def __getitem__(self, place):
        return self.x[place * 8 : place * 8 + 8], self.y[place * 8 : place * 8 + 8]

# @mltk_model
"""


@pytest.mark.parametrize("kind", STREAMS)
def test_stream_goes_on_at_an_epochs_begin_and_says_so(make: Make, kind: str) -> None:
    """What has an order of its own is resumed at the last whole epoch, and its record says that it isn't exact."""
    loads = f'y = (x.sum(axis=1) > 0).astype("int64")\n    return {STREAMS[kind]}, None, (x[:8], y[:8])'
    pairs = ('return x, (x.sum(axis=1) > 0).astype("int64")', loads, "# @mltk_model\n", SEQUENCE)
    place = make(*pairs, "my_model.validation_split = 0.2\n", "")
    place.trip(3, 2)
    assert Position(2) == place.positions[-1]
    trained = place.train()
    assert (["train:tiny: goes on after epoch 2"], [3, 4]) == (trained.notes, trained.epochs)
    assert "keeps its own place in the data" in trained.facts["not_exact"]


HOOKS = """
def complete(results):
    print("done")

def save(mltk_model, keras_model, logger):
    return keras_model

my_model.on_training_complete = complete
my_model.on_save_keras_model = save
"""


def test_function_after_training_counts_as_code_of_the_training(make: Make) -> None:
    """Another on_training_complete or on_save_keras_model is other code of the stage: it trains from its beginning."""
    place = make(text=SPEC + HOOKS)
    place.train()
    place.edit('print("done")', 'print("over")')
    assert [1, 2, 3, 4] == place.train().epochs


KEEPS = '''
class Keeps(keras.callbacks.Callback):
    """Puts a file of each epoch into a folder, and looks at what is there, and for a file that tells it to stop."""

    def on_epoch_end(self, epoch, logs=None):
        os.makedirs("kept", exist_ok=True)
        with open(f"kept/{epoch}.txt", "w") as file:
            file.write("1")
        assert os.listdir("kept")
        if os.path.exists("stop.txt"):
            self.model.stop_training = True

# @mltk_model
'''


def test_checkpoint_stands_beside_files_of_a_callbacks_own(make: Make) -> None:
    """A folder that it fills costs no checkpoint, also one that was there before; what else appears there does."""
    pairs = ("# @mltk_model\n", KEEPS.lstrip(), "[Trip()]", "[Trip(), Keeps()]", "1e-9", "None")
    place = make(*pairs)
    place.files.write("kept/readme.md", "-")
    place.trip(3, 2)
    trained = place.train()
    assert (["train:tiny: goes on after epoch 2"], [3, 4]) == (trained.notes, trained.epochs)

    place = make(*pairs)
    place.files.write("kept/readme.md", "-")
    place.trip(3, 2)
    place.files.write("kept/another.md", "-")
    assert [1, 2, 3, 4] == place.train().epochs

    place = make(*pairs)
    place.trip(3, 2)
    place.files.write("stop.txt", "")
    trained = place.train()
    assert "train:tiny: the checkpoint of epoch 2 is not used: " in trained.notes[0]
    assert [1] == trained.epochs


@pytest.mark.parametrize("append", ["False", "True"])
def test_a_csv_log_goes_on_with_one_header(make: Make, append: str) -> None:
    """Stopped within an epoch, extended, or begun again at an earlier one: a row for each epoch, under one header."""
    logged = "my_model.train_callbacks = [Trip(), keras.callbacks.CSVLogger('ROOT/log.csv', append=APPEND)]\n"
    place = make(MORE, logged.replace("APPEND", append) + "my_model.checkpoints_keep = 9\n")
    path = place.files.root / "log.csv"
    place.trip(3, 2)
    place.train()
    straight = path.read_text()
    place.edit("epochs = 4", "epochs = 6")
    assert [5, 6] == place.train().epochs
    rows = path.read_text().splitlines()
    assert "epoch,accuracy,loss,val_accuracy,val_loss" == rows[0]
    assert [*map(str, range(6))] == [row.partition(",")[0] for row in rows[1:]]
    assert path.read_text().startswith(straight)
    assert [2, 3, 4, 5, 6] == place.train(start=Start(resume=1)).epochs
    assert rows == path.read_text().splitlines()
