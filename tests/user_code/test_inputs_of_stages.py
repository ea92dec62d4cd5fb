"""What a loader and callbacks read, in whatever way, runs their stages again when it is changed; nothing else does."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
import soundfile

from mltkbuild.disk.inputs import parse
from mltkbuild.engine.builder import Builder
from mltkbuild.stages.protocol import Outcome
from mltkbuild.workers.executor import Processes

from ..conftest import Files, Running, bring, tiny_spec

HELPERS = """
import contextlib, glob, sqlite3, subprocess
import h5py, soundfile
import tensorflow as tf

def value(read):
    try:
        return float(read())
    except (OSError, sqlite3.Error, tf.errors.OpError):
        return 0.0

def counted():
    with contextlib.closing(sqlite3.connect("data/a.db")) as base:
        return base.execute("select count(*) from t").fetchone()[0]

def attached():
    with contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("attach 'data/side.db' as side")
        base.execute("attach database ? as given", ("data/given.db",))
        return sum(base.execute(f"select count(*) from {name}.t").fetchone()[0] for name in ("side", "given"))

def plus():
    with open("data/plus.txt", "r+") as file:
        return file.read()

def locked():
    open("data/locked.txt", "a").close()
    return open("data/locked.txt").read()

def all_of_them():
    ways = [
        lambda: open("data/opened.txt").read(),
        lambda: np.load("data/loaded.npy")[0],
        lambda: Path("data/is_file.txt").is_file(),
        lambda: os.path.exists("data/exists.txt"),
        lambda: len(glob.glob("more/*.txt")),
        lambda: len(glob.glob("data/no_pattern.txt")),
        lambda: len(os.listdir("listed")),
        lambda: os.path.getsize("data/sized.txt"),
        lambda: os.path.getmtime("data/timed.txt"),
        lambda: Path("data/status.txt").stat().st_size,
        lambda: np.memmap("data/mapped.bin", "float32")[0],
        plus,
        locked,
        lambda: soundfile.read("data/a.wav")[0][0],
        lambda: h5py.File("data/a.h5", "r")["x"][0],
        counted,
        attached,
        lambda: sum(h5py.File("data/links.h5", "r")[name][0] for name in ("linked", "stored", "virtual")),
        lambda: tf.io.read_file("data/tensor.txt").numpy(),
        lambda: len(list(tf.data.TextLineDataset("lines/a.txt"))),
        lambda: tf.io.gfile.exists("data/gfile.txt"),
        lambda: subprocess.check_output(["cat", "data/child.txt"]),
        lambda: os.popen("cat < data/shell.txt").read(),
        lambda: open(os.path.expanduser("~/.cache/mine.txt")).read(),
        lambda: open("cards.egg-info/a.txt").read(),
    ]
    return sum(map(value, ways))

def cached():
    if not os.path.exists("cache/x.npy"):
        os.makedirs("cache", exist_ok=True)
        np.save("cache/x.npy", np.ones(1))
    return np.load("cache/x.npy")[0]

def load(subset, test):
    scale = all_of_them() + cached()
"""
ABSENT = ("opened.txt", "loaded.npy", "is_file.txt", "exists.txt", "no_pattern.txt", "gfile.txt")


def _database(path: Path, count: int) -> None:
    path.unlink(missing_ok=True)
    with contextlib.closing(sqlite3.connect(path)) as base:
        base.execute("create table t (x)")
        base.executemany("insert into t values (?)", [(number,) for number in range(count)])
        base.commit()


def _hdf5(path: Path, value: float) -> None:
    with h5py.File(path, "w") as file:
        file["x"] = np.full(1, value)


def _links(path: Path) -> None:
    """A file whose values lie in others; one of those leads on to another."""
    with h5py.File(path.parent / "middle.h5", "w") as file:
        file["x"] = h5py.ExternalLink("far.h5", "/x")
    with h5py.File(path, "w") as file:
        file["linked"] = h5py.ExternalLink("middle.h5", "/x")
        file.create_dataset("stored", (1,), "f8", external=[("data/stored.bin", 0, 8)])
        layout = h5py.VirtualLayout((1,), "f8")
        layout[:] = h5py.VirtualSource("part.h5", "x", (1,))
        file.create_virtual_dataset("virtual", layout)


def write(root: Path, value: int) -> None:
    """Write what the loader reads."""
    data = root / "data"
    for name in ("sized", "timed", "status", "plus", "locked", "tensor", "child", "shell"):
        (data / f"{name}.txt").write_text(str(value))
    np.full(1, value, "float32").tofile(data / "mapped.bin")
    soundfile.write(data / "a.wav", np.full(16, value / 10), 16000)
    for name in ("a", "far", "part"):
        _hdf5(data / f"{name}.h5", value)
    _links(data / "links.h5")
    np.full(1, value, "float64").tofile(data / "stored.bin")
    for name in ("a", "side", "given"):
        _database(data / f"{name}.db", value)
    for path in ("home/.cache/mine.txt", "cards.egg-info/a.txt", "lines/a.txt", "listed/a.txt"):
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{value}\n")


EDITS: dict[str, Callable[[Path], object]] = {
    **{f"data/{name}": lambda path: path.write_text("1") for name in ABSENT},
    **{
        f"data/{name}.txt": lambda path: path.write_text("22")
        for name in ("plus", "locked", "tensor", "child", "shell", "sized", "status")
    },
    "data/timed.txt": lambda path: os.utime(path, ns=(1, 1)),
    "more": lambda path: path.mkdir(),
    "listed": lambda path: (path / "b.txt").write_text(""),
    "data/mapped.bin": lambda path: np.full(1, 3, "float32").tofile(path),
    "data/a.wav": lambda path: soundfile.write(path, np.full(16, 0.3), 16000),
    **{f"data/{name}.h5": lambda path: _hdf5(path, 3) for name in ("a", "far", "part")},
    "data/stored.bin": lambda path: np.full(1, 3.0).tofile(path),
    **{f"data/{name}.db": lambda path: _database(path, 3) for name in ("a", "side", "given")},
    "lines/a.txt": lambda path: path.write_text("1\n2\n"),
    "home/.cache/mine.txt": lambda path: path.write_text("3"),
    "cards.egg-info/a.txt": lambda path: path.write_text("3"),
    "cache/x.npy": lambda path: np.save(path, np.zeros(1)),
}


@dataclass
class Built:
    """A workspace whose data stage has run.

    Args:
        files: The workspace.
        notes: What the stage has told.
    """

    files: Files
    notes: tuple[str, ...]

    def reasons(self) -> set[str]:
        """What makes the data stage run."""
        builder = Builder(self.files.workspace)
        found = {parse(reason.subject).subject for reason in builder.judge("kws", "data").reasons}
        builder.close()
        return found


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Built]:
    """The data stage of a loader that reads in all these ways, built once."""
    files = Files(tmp_path_factory.mktemp("reads"))
    files.write("dodo.py", "")
    files.write("data/readme.md", "-")
    write(files.root, 1)
    text = tiny_spec().replace("def load(subset, test):\n", HELPERS.lstrip())
    files.spec(text=text.replace("reshape(8, 4), np", "reshape(8, 4) * scale, np"))
    outcomes: list[Outcome] = []
    executor = Processes()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HOME", str(files.root / "home"))
        builder = Builder(
            files.workspace, Running(lambda request, listener: _kept(outcomes, executor.run(request, listener)))
        )
        builder.build("kws", "data")
        builder.close()
        yield Built(files, outcomes[-1].notes)
    executor.stop()


def _kept(outcomes: list[Outcome], outcome: Outcome) -> Outcome:
    outcomes.append(outcome)
    return outcome


@pytest.mark.real
@pytest.mark.parametrize("path", EDITS)
def test_change_runs_the_data_stage(path: str, built: Built, tmp_path: Path) -> None:
    """Each way of reading alone; once it is as it was, nothing runs."""
    place = built.files.root / path
    kept = tmp_path / "kept"
    if place.is_dir():
        shutil.copytree(place, kept)
    elif place.exists():
        shutil.copy2(place, kept)
    assert set() == built.reasons()
    EDITS[path](place)
    assert {path} == built.reasons()
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    if kept.exists():
        shutil.move(kept, place)
    assert set() == built.reasons()


@pytest.mark.real
def test_touch_and_files_of_no_matter_run_nothing(built: Built) -> None:
    """A file whose content or presence counts may get another time; one beside it is nobody's."""
    for name in ("sized", "plus", "tensor", "child"):
        (built.files.root / f"data/{name}.txt").touch()
    (built.files.root / "data/another.txt").write_text("")
    assert set() == built.reasons()


@pytest.mark.real
def test_what_cannot_be_watched_is_said_once(built: Built) -> None:
    """A line for each program that was started, with what to do."""
    told = "what the program cat reads can't be watched: after a change, doit forget data:kws"
    assert [told] == [note for note in built.notes if " samples" not in note]


KEPT = """
def load(subset, test):
    import tensorflow as tf
    scale = float(open("data/scale.txt").read())
    stream = tf.data.Dataset.from_tensor_slices(np.full((8, 4), scale, "float32")).cache("kept/samples")
    return np.stack([*stream.as_numpy_iterator()]), np.arange(8) % 2
"""


@pytest.mark.real
def test_samples_that_tensorflow_keeps_are_told(tmp_path: Path, executor: Processes) -> None:
    """What `Dataset.cache` has left from an earlier run counts, and a line says that changed data aren't read."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.write("data/scale.txt", "1")
    files.write("kept/readme.md", "-")
    head, _, rest = tiny_spec().partition("def load(subset, test):\n")
    files.spec(text=head + KEPT.lstrip() + rest.partition("\n\n")[2])
    outcomes: list[Outcome] = []
    run = Running(lambda request, listener: _kept(outcomes, executor.run(request, listener)))
    for number in (1, 2):
        files.write("data/scale.txt", str(number))
        builder = Builder(files.workspace, run)
        builder.build("kws", "data")
        builder.close()
        told = "kept/samples keeps samples for later runs, whatever changes meanwhile: delete it after a change"
        assert [told] == [note for note in outcomes[-1].notes if "evaluation" not in note and "fewer" not in note]
    (files.root / "kept/samples.index").unlink()
    builder = Builder(files.workspace)
    assert ["kept/samples.index"] == [parse(one.subject).subject for one in builder.judge("kws", "data").reasons]
    builder.close()


CALLBACKS = '''
import tempfile

class Own(keras.callbacks.Callback):
    """Writes, lists, reads and removes files of its own; reads one that isn't."""

    def on_epoch_end(self, epoch, logs=None):
        with tempfile.TemporaryDirectory() as folder:
            self.model.save_weights(os.path.join(folder, "a.weights.h5"))
            assert os.listdir(folder)
            self.model.load_weights(os.path.join(folder, "a.weights.h5"))
        os.makedirs("kept", exist_ok=True)
        Path("kept", f"{epoch}.txt").write_text("1")
        assert [path.read_text() for path in Path("kept").iterdir()]
        if os.path.exists("data/stop.txt"):
            self.model.stop_training = True

def build(model):'''


@pytest.mark.real
def test_files_of_callbacks_own_are_no_inputs(tmp_path: Path, executor: Processes) -> None:
    """What Keras' callbacks and a spec's own write, list, read and remove; what they read beside it is one."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.write("data/readme.md", "-")
    text = tiny_spec().replace("def build(model):", CALLBACKS.lstrip())
    callbacks = [
        'keras.callbacks.ModelCheckpoint("out/x.keras")',
        'keras.callbacks.ModelCheckpoint("out/{epoch}.weights.h5", save_weights_only=True)',
        'keras.callbacks.CSVLogger("log.csv")',
        'keras.callbacks.BackupAndRestore("backup")',
        "Own()",
    ]
    files.spec(text=text + f"my_model.train_callbacks = [{', '.join(callbacks)}]\n")
    assert "train" in bring(files, executor.run)
    assert [] == bring(files, executor.run)
    builder = Builder(files.workspace)
    record = builder.state("kws").record("train")
    assert record is not None
    asked = {name for name in record.inputs if name.startswith(("file ", "exists ", "size ", "modified "))}
    assert {"exists data/stop.txt"} == asked
    builder.close()
    files.write("data/stop.txt", "")
    assert "train" in bring(files, executor.run)
    assert [] == bring(files, executor.run)
