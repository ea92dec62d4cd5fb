"""Kills one training again and again, at random and at chosen moments, and compares its end with that of a calm one.

    python -m tests.training.kills --kills 20 --seed 1 [--rules] [--python PATH] [--keep]

The suite runs a few kills of the same kind in `test_resume.py`; this is for proofs by hand, minutes each.
"""

# ruff: noqa: T201  # a script that tells what it does

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from mltkbuild.disk import checkpoints
from mltkbuild.disk.checkpoints import Position
from mltkbuild.disk.open_folder import TEMPORARY

NAME = "shaky"
MLTK = ("-m", "mltkbuild.cli.main")
TRAIN = (*MLTK, "train", NAME, "--no-evaluate")
INSIDE, WRITING, PENDING, PUBLISHED = "inside an epoch", "inside a checkpoint", "before publishing", "before the record"
POLL_SECONDS = 0.0005
ATTEMPTS = 12
MARGIN = 0.7
"""Which part of the training's time the delays before kills may use up, so that it isn't over before the last one."""

SPEC = '''\
"""Handwritten digits, with all that makes it hard to go on exactly."""

import collections
import time

import keras
import numpy as np
from sklearn.datasets import load_digits

from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin


# @mltk_model
class Shaky(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """Tells apart the digits 0 to 9."""


class Pace(keras.callbacks.Callback):
    """Makes steps slow enough to be killed in."""

    def on_train_batch_end(self, batch, logs=None):
        time.sleep(PACE)


class Wobble(keras.callbacks.Callback):
    """Changes the learning rate by what it has seen, in plain attributes, and by chance."""

    def __init__(self):
        super().__init__()
        self.steps, self.losses, self.weights = 0, [], np.ones(3)

    def on_train_batch_end(self, batch, logs=None):
        self.steps += 1
        self.losses = [*self.losses, float(logs["loss"])][-5:]
        self.weights = np.roll(self.weights, 1) * np.array([1.001, 0.999, 1.0])

    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        wobble = 0.98 + 0.04 * ((self.steps * sum(self.losses) * self.weights[0]) % 1) * np.random.random()
        rate.assign(float(rate) * wobble)


class Tally(keras.callbacks.Callback):
    """Keeps what is no plain value, and tells it by get_state."""

    def __init__(self):
        super().__init__()
        self.counts = collections.Counter()

    def on_train_batch_begin(self, batch, logs=None):
        self.counts[batch % 5] += 1

    def on_epoch_end(self, epoch, logs=None):
        rate = self.model.optimizer.learning_rate
        rate.assign(float(rate) * (1 - 0.001 * (self.counts[1] % 7)))

    def get_state(self):
        return {str(key): count for key, count in self.counts.items()}

    def set_state(self, state):
        self.counts = collections.Counter({int(key): count for key, count in state.items()})


def load(subset, test):
    digits = load_digits()
    images = (digits.images[:448] / 16.0).astype("float32")[..., None]
    return images, digits.target[:448]


def build(model):
    layers = [
        keras.layers.RandomTranslation(0.1, 0.1),
        keras.layers.Conv2D(8, 3, padding="same"),
        keras.layers.BatchNormalization(),
        keras.layers.ReLU(),
        keras.layers.MaxPooling2D(),
        keras.layers.Dropout(0.3),
        keras.layers.Flatten(),
        keras.layers.Dense(10, activation="softmax"),
    ]
    network = keras.Sequential([keras.Input((8, 8, 1)), *layers])
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(2, name="top2")]
    network.compile(loss="sparse_categorical_crossentropy", optimizer="adam", metrics=metrics)
    return network


my_model = Shaky()
my_model.classes = [str(digit) for digit in range(10)]
my_model.input_shape = (8, 8, 1)
my_model.dataset = load
my_model.validation_split = 1 / 7
my_model.batch_size = 32
my_model.epochs = EPOCHS
my_model.class_weights = "balanced"
my_model.build_model_function = build
my_model.train_callbacks = [Pace(), Wobble(), Tally()]
my_model.lr_schedule = lambda epoch, rate: rate * 0.99
my_model.checkpoint_interval_minutes = INTERVAL / 60
my_model.tflite_converter["generate_unquantized"] = False
'''
RULES = """
my_model.early_stopping = {"monitor": "val_loss", "patience": 6, "min_delta": 0.03, "restore_best_weights": True}
my_model.reduce_lr_on_plateau = {"monitor": "val_loss", "patience": 2, "min_delta": 0.03, "factor": 0.5}
"""


@dataclass(frozen=True)
class Workspace:
    """A workspace with the one model.

    Args:
        root: Its folder.
        python: The Python that trains.
    """

    root: Path
    python: str = sys.executable

    @property
    def folder(self) -> Path:
        """Where the artifacts are."""
        return self.root / "build" / NAME

    @property
    def checkpoints(self) -> Path:
        """Where the checkpoints of its one training are; it may not be there yet."""
        root = self.folder / "train/checkpoints"
        return next((path for path in sorted(root.glob("*")) if path.is_dir()), root / "none")

    @property
    def newest(self) -> Position | None:
        """The position of the newest checkpoint."""
        return next(reversed(checkpoints.positions_in(str(self.checkpoints))), None)

    @property
    def keras_file(self) -> int | None:
        """Which file the published model is."""
        try:
            return (self.folder / f"{NAME}.keras").stat().st_ino
        except OSError:
            return None

    def record(self, suffix: str = ".json") -> Path:
        """The path of the training's record."""
        return self.folder / f".records/train{suffix}"

    def unpublish(self) -> None:
        """Let a training that is done publish again."""
        for path in (self.record(), self.folder / f"{NAME}.keras"):
            path.unlink(missing_ok=True)


def write_spec(
    root: Path, *, epochs: int, pace: float, interval: float, rules: bool = False, quick: bool = False
) -> Workspace:
    """A new workspace with the model.

    Args:
        root: Its folder.
        epochs: How many epochs.
        pace: Seconds that each step sleeps.
        interval: Seconds between checkpoints within an epoch.
        rules: Whether it stops early and lowers its learning rate.
        quick: Do without XLA, which compiles for seconds.
    """
    (root / "models").mkdir(parents=True)
    (root / "dodo.py").write_text("", encoding="utf-8")
    text = SPEC + (RULES if rules else "")
    if quick:
        text = text.replace("metrics=metrics)", "metrics=metrics, jit_compile=False)")
    for name, value in {"EPOCHS": epochs, "PACE": pace, "INTERVAL": interval}.items():
        text = text.replace(name, str(value))
    (root / f"models/{NAME}.py").write_text(text, encoding="utf-8")
    return Workspace(root)


class Run:
    """One command in a process group of its own, as a terminal gives it one."""

    def __init__(self, workspace: Workspace, *arguments: str) -> None:
        self.process = subprocess.Popen(
            [workspace.python, *(arguments or TRAIN)],
            cwd=workspace.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    @property
    def goes(self) -> bool:
        """Whether it is still at work."""
        return self.process.poll() is None

    def until(self, condition: Callable[[], bool]) -> bool:
        """Wait until something has happened; False when the command has ended before."""
        while not condition():
            if not self.goes:
                return condition()
            time.sleep(POLL_SECONDS)
        return True

    def pause(self, seconds: float) -> bool:
        """Let it work for a while; False when it ends before."""
        end = time.monotonic() + seconds
        return not self.until(lambda: time.monotonic() > end or not self.goes) or self.goes

    def kill(self) -> None:
        """SIGKILL to the whole group."""
        os.killpg(self.process.pid, signal.SIGKILL)
        self.end()

    def end(self) -> tuple[int, str, str]:
        """The code and what was printed, when all processes of the group are gone."""
        out, err = self.process.communicate(timeout=600)
        end = time.monotonic() + 30
        while any(_members(self.process.pid)):
            assert time.monotonic() < end, "processes of the group are left"
            time.sleep(0.01)
        return self.process.returncode, out, err


def _members(group: int) -> Iterator[int]:
    """The living processes of a group."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            yield int(name)


# The moments of a publication are a few milliseconds long, which a busy machine sleeps through.
LINGERING = """
import runpy, sys, time
from mltkbuild.disk import store

stamps = store._final_stamps
store._final_stamps = lambda *arguments: (time.sleep(1), stamps(*arguments))[1]
sys.argv = ["mltk", *sys.argv[1:]]
runpy.run_module("mltkbuild.cli.main", run_name="__main__")
"""


def complete(workspace: Workspace) -> float:
    """Run the training to its end, and say how many seconds it trained."""
    code, out, err = Run(workspace).end()
    assert code == 0, f"exit code {code}\n{out}\n{err}"
    return float(json.loads(workspace.record().read_text(encoding="utf-8"))["seconds"])


def moment(workspace: Workspace, kind: str) -> Callable[[], bool]:
    """Whether it is the moment to kill, which must still hold when all are dead."""
    before, published = workspace.newest, workspace.keras_file
    if kind == INSIDE:
        return lambda: workspace.newest not in (None, before) and not workspace.record().exists()
    if kind == WRITING:
        return lambda: (
            workspace.newest != before and any(name.endswith(TEMPORARY) for name in _names(workspace.checkpoints))
        )
    if kind == PENDING:
        return lambda: workspace.record(".pending").exists() and not workspace.record().exists()
    return lambda: workspace.keras_file not in (None, published) and not workspace.record().exists()


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def kill_at(workspace: Workspace, kind: str, delay: float) -> str | None:
    """Start the training and kill it at a moment.

    Args:
        workspace: The workspace.
        kind: The moment.
        delay: Seconds to wait on before a kill inside an epoch.

    Returns:
        'hit', 'elsewhere' when the kill came too late for the moment, or None when the training ended before.
    """
    is_now = moment(workspace, kind)
    if kind == PENDING and is_now():
        workspace.record(".pending").unlink()
    run = Run(workspace, "-c", LINGERING, *TRAIN[len(MLTK) :]) if kind in (PENDING, PUBLISHED) else Run(workspace)
    if not run.until(is_now) or (kind == INSIDE and not run.pause(delay)):
        code, out, err = run.end()
        assert code == 0, f"exit code {code}\n{out}\n{err}"
        return None
    run.kill()
    return "hit" if is_now() else "elsewhere"


def plan(kills: int, rng: random.Random) -> list[str]:
    """The moments of the kills: at least one of each kind, those of publishing at the end."""
    inside = [INSIDE if rng.random() < 2 / 3 else WRITING for _ in range(max(0, kills - 4))]
    first = [INSIDE, WRITING, *inside]
    rng.shuffle(first)
    return [*first, PENDING, PUBLISHED][:kills]


def torture(workspace: Workspace, kills: int, rng: random.Random, seconds: float, epochs: int) -> dict[str, int]:
    """Kill the training so many times, then let it end.

    Args:
        workspace: The workspace.
        kills: How many kills must hit their moments.
        rng: Chooses the moments.
        seconds: How long the training takes in calm.
        epochs: How many epochs it takes.

    Returns:
        How many kills hit each kind of moment.
    """
    hits: dict[str, int] = {}
    for number, kind in enumerate(plan(kills, rng)):
        for _ in range(ATTEMPTS):
            place = workspace.newest
            left = 1 - (place.epoch if place is not None else 0) / epochs
            delay = rng.uniform(0, 2 * MARGIN * seconds * left / (kills - number))
            result = kill_at(workspace, kind, delay)
            after = f"{place or 'the beginning'} -> {workspace.newest}"
            print(f"kill {number + 1}/{kills} {kind}: {result or 'ended before'}, {after}", flush=True)
            if result == "hit":
                hits[kind] = hits.get(kind, 0) + 1
                break
            if result is None:
                assert kind in (PENDING, PUBLISHED), "the training is too short for so many kills"
            if kind in (PENDING, PUBLISHED):
                workspace.unpublish()
        else:
            raise AssertionError(f"no kill {kind} in {ATTEMPTS} attempts")
    complete(workspace)
    return hits


def results(workspace: Workspace) -> Mapping[str, str]:
    """Digests of what a training makes; the history without the places where it was stopped."""
    found = {}
    for name in (f"{NAME}.keras", f"{NAME}.tflite", "train/log.txt", "train/history.png"):
        path = workspace.folder / name
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    history = json.loads((workspace.folder / "train/history.json").read_text(encoding="utf-8"))
    history.pop("segments")
    found["train/history.json"] = hashlib.sha256(json.dumps(history).encode()).hexdigest()[:16]
    return found


def check_rules(workspace: Workspace, epochs: int) -> int:
    """Both rules must have had an effect; gives the number of epochs that they left."""
    history = json.loads((workspace.folder / "train/history.json").read_text(encoding="utf-8"))
    assert history["stopped_early"]
    assert len(history["epochs"]) < epochs
    rates = history["history"]["learning_rate"]
    lowered = sum(after < 0.6 * before for before, after in itertools.pairwise(rates))
    assert lowered >= 1, rates
    print(f"EarlyStopping ended it after {len(history['epochs'])} epochs; ReduceLROnPlateau struck {lowered} times")
    return len(history["epochs"])


def main(arguments: list[str] | None = None) -> int:
    """Train calmly, then with kills, and compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20, help="how many kills must hit their moments")
    parser.add_argument("--seed", type=int, default=0, help="chooses the moments")
    parser.add_argument("--rules", action="store_true", help="with EarlyStopping and ReduceLROnPlateau")
    parser.add_argument("--python", default=sys.executable, help="the Python that trains")
    parser.add_argument("--keep", action="store_true", help="keep the workspaces")
    options = parser.parse_args(arguments)
    folder = Path(tempfile.mkdtemp(prefix="mltkbuild-kills-"))
    epochs = 200 if options.rules else 30
    pace = max(0.01, 0.004 * options.kills)
    try:
        made = {}
        for name in ("calm", "killed"):
            made[name] = write_spec(folder / name, epochs=epochs, pace=pace, interval=0.15, rules=options.rules)
            made[name] = Workspace(made[name].root, options.python)
        seconds = complete(made["calm"])
        trained = check_rules(made["calm"], epochs) if options.rules else epochs
        print(f"calm: {trained} epochs in {seconds:.1f} s", flush=True)
        hits = torture(made["killed"], options.kills, random.Random(options.seed), seconds, trained)
        expected, found = results(made["calm"]), results(made["killed"])
        for name, digest in expected.items():
            print(f"{name}: {digest} {'equal' if found[name] == digest else 'DIFFERS: ' + found[name]}")
        left = [path.name for path in made["killed"].root.rglob("*") if path.suffix in (TEMPORARY, ".pending")]
        record = json.loads(made["killed"].record().read_text(encoding="utf-8"))
        facts = record["facts"]
        print(f"{facts.get('segments') and len(facts['segments'])} segments, not_exact: {facts.get('not_exact')}")
        equal = expected == found and not left and "not_exact" not in facts
        print(f"{'EQUAL' if equal else 'NOT EQUAL'} after {sum(hits.values())} kills: {hits}, left behind: {left}")
        return 0 if equal else 1
    finally:
        if options.keep:
            print(f"kept {folder}")
        else:
            shutil.rmtree(folder)


if __name__ == "__main__":
    sys.exit(main())
