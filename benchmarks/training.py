"""What mltkbuild adds to an epoch of Keras' fit, and how its commands compare with MLTK's.

    python benchmarks/training.py [--rounds 15] [--limit 1.03] [--mltk-venv FOLDER [--mltk-rounds 3]] [--quick]

First part: a train stage as a user runs it, `doit train:NAME` on a terminal, so with all that it does; beside it plain
scripts around `keras.Model.fit`, with and without deterministic operations. All three train the same model on the same
samples in one go, but take turns: each epoch waits for its turn, and whoever waits is stopped as a whole. So the epochs
that are compared ran within seconds of each other. An epoch lasts from its begin to the begin of the next one and holds
validation, checkpoint and progress; the first one, which traces, isn't counted.

Second part, with `--mltk-venv`: one spec, built by MLTK from its own virtual environment, which is made in that folder
unless it is there, and by mltkbuild. MLTK's train command converts and archives, too; mltkbuild's first runs the stages
spec and data.

The exit code is 1 when an epoch takes more than `--limit` times as long as plain fit's.
"""

from __future__ import annotations

import argparse
import os
import platform
import select
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import TracebackType

from mltkbuild.report import table

# Compiled modules are kept, as they are for everybody; the terminal is one that can show moving lines.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "TERM": "xterm-256color",
    "COLUMNS": "120",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
PORT = "TRAINING_BENCHMARK_PORT"

DODO = """\
from mltkbuild.tasks import DOIT_CONFIG, task_mltkbuild
__all__ = ["DOIT_CONFIG", "task_mltkbuild"]
"""

TURNS = f'''\
@functools.cache
def benchmark():
    """The line to the benchmark."""
    return socket.create_connection(("127.0.0.1", int(os.environ["{PORT}"])))


class Turns(keras.callbacks.Callback):
    """Begins an epoch when the benchmark says so."""

    def on_epoch_begin(self, epoch, logs=None):
        """Ask and wait."""
        benchmark().sendall(b".")
        benchmark().recv(1)
'''

# -- one epoch: the texts ----------------------------------------------------------------------------------------------

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

# -- against MLTK: the text --------------------------------------------------------------------------------------------

# One text for both: under MLTK `tensorflow.keras` is Keras 2. The calibration samples are given, because MLTK can't
# take them from arrays with a validation_split.
DIGITS = f'''\
"""Handwritten digits, 8x8 pixels, for MLTK and mltkbuild."""

import functools
import os
import socket

from mltk.core import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from tensorflow import keras


{TURNS}

# @mltk_model
class DigitsModel(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """Tells apart the digits 0 to 9."""


def load_dataset(subset, test, **others):
    """1,437 images for training, of which some validate; 360 for evaluation."""
    digits = load_digits()
    images = (digits.images / 16.0).astype("float32")[..., None]
    x_train, x_test, y_train, y_test = train_test_split(
        images, digits.target, test_size=0.2, random_state=7, stratify=digits.target
    )
    return (x_train, y_train) if subset == "training" else (x_test, y_test)


def calibration():
    """Samples that set the int8 ranges."""
    for image in load_dataset("training", False)[0][:200]:
        yield [image[None]]


def build_model(model):
    """Two convolutions, one dense layer: 11,000 parameters."""
    keras_model = keras.Sequential(
        [
            keras.layers.Input(model.input_shape),
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
my_model.classes = [str(digit) for digit in range(10)]
my_model.input_shape = (8, 8, 1)
my_model.dataset = load_dataset
my_model.validation_split = 0.1
my_model.epochs = {{epochs}}
my_model.batch_size = 32
my_model.optimizer = "adam"
my_model.loss = "sparse_categorical_crossentropy"
my_model.build_model_function = build_model
my_model.train_callbacks = [Turns()]
my_model.tflite_converter["inference_input_type"] = "int8"
my_model.tflite_converter["inference_output_type"] = "int8"
my_model.tflite_converter["representative_dataset"] = calibration
'''

REQUIREMENTS = ("silabs-mltk", "tensorflow<2.17", "click<8.2", "typer<0.12")


class Run:
    """A command on a terminal of its own, whose training asks before each epoch.

    Args:
        command: The command line.
        folder: Where it runs.
        environment: Its environment, to which the port is added.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._command = " ".join(command)
        self._said = b""
        self._line: socket.socket | None = None
        self._waits = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self._terminal, theirs = os.openpty()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, PORT: str(self._server.getsockname()[1])},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
        self._server.close()
        os.close(self._terminal)

    def asks(self) -> bool:
        """Wait until it stands before an epoch.

        Returns:
            False when the command and all that it started have ended.
        """
        while not self._waits:
            source = (self._line or self._server).fileno()
            ready, _, _ = select.select([source, self._terminal], [], [])
            if self._terminal in ready and not self._hear():
                return False
            if source not in ready:
                continue
            if self._line is None:
                self._line, _ = self._server.accept()
            elif self._line.recv(1):
                self._waits = True
            else:
                self._line.close()
                self._line = None
        return True

    def _hear(self) -> bool:
        """Take what it prints; False when nobody can print any more."""
        try:
            said = os.read(self._terminal, 65536)
        except OSError:
            said = b""
        self._said += said
        return bool(said)

    def go(self) -> None:
        """Let it begin the epoch that it stands before."""
        assert self._line is not None
        self._waits = False
        self._line.sendall(b".")

    def must_ask(self) -> None:
        """Wait until it stands before an epoch; that it ends instead is an error."""
        if not self.asks():
            self._fail("it ended before the last epoch")

    def epoch(self) -> float:
        """Run one epoch with nothing beside it.

        Returns:
            Its seconds, until the next one is to begin.
        """
        os.killpg(self._process.pid, signal.SIGCONT)
        start = time.perf_counter()
        self.go()
        self.must_ask()
        took = time.perf_counter() - start
        self.pause()
        return took

    def pause(self) -> None:
        """Stop it as a whole, moving lines on its terminal included."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def finish(self) -> int:
        """Let it run to its end.

        Returns:
            How many epochs it began.
        """
        os.killpg(self._process.pid, signal.SIGCONT)
        count = 0
        while self.asks():
            count += 1
            self.go()
        if self._process.wait() != 0:
            self._fail(f"exit code {self._process.returncode}")
        return count

    def kill(self) -> None:
        """Kill it and all that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        while self._hear():
            pass

    def _fail(self, what: str) -> None:
        raise SystemExit(f"{self._command}: {what}\n{self._said[-3000:].decode(errors='replace')}")


# -- one epoch ---------------------------------------------------------------------------------------------------------

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


# -- against MLTK ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Contender:
    """One of two command lines that build the same spec.

    Args:
        name: For the table.
        train: The command that trains; also once more, when nothing has changed.
        quantize: The command that converts to int8.
        resume: The command that goes on after a kill.
    """

    name: str
    train: tuple[str, ...]
    quantize: tuple[str, ...]
    resume: tuple[str, ...]


def contenders(mltk: Path) -> tuple[Contender, Contender]:
    """MLTK and mltkbuild."""
    doit = (sys.executable, "-m", "doit")
    train = (str(mltk), "train", "digits", "--no-evaluate")
    return (
        Contender("MLTK", train, (str(mltk), "quantize", "digits"), (*train, "--resume")),
        Contender("mltkbuild", (*doit, "train:digits"), (*doit, "quantize:digits"), (*doit, "train:digits")),
    )


def mltk_command(folder: Path) -> Path:
    """MLTK's command line in its own virtual environment, which is made if it isn't there.

    Raises:
        LookupError: No Python that MLTK runs on.
        OSError: The environment can't be made.
        subprocess.CalledProcessError: Likewise.
    """
    mltk = folder.resolve() / "bin" / "mltk"
    if not mltk.exists():
        print(f"installing MLTK into {folder}", flush=True)
        subprocess.run((_python_for_mltk(), "-m", "venv", folder), check=True)
        subprocess.run((folder / "bin" / "pip", "install", "--quiet", *REQUIREMENTS), check=True)
    told = subprocess.run((mltk, "--version"), check=True, capture_output=True, text=True).stdout
    print(f"MLTK {told.strip()}", flush=True)
    return mltk


def _python_for_mltk() -> str:
    if sys.version_info[:2] in ((3, 10), (3, 11)):
        return sys.executable
    found = shutil.which("python3.11") or shutil.which("python3.10")
    if found is None:
        raise LookupError("MLTK needs Python 3.10 or 3.11, and there is none on the PATH")
    return found


def write_digits(folder: Path, epochs: int) -> dict[str, str]:
    """Write a workspace for both contenders.

    Returns:
        The environment that goes with it.
    """
    for name in ("models", "cache", "home", "tmp"):
        (folder / name).mkdir(parents=True)
    (folder / "dodo.py").write_text(DODO, encoding="utf-8")
    (folder / "models" / "digits.py").write_text(DIGITS.format(epochs=epochs), encoding="utf-8")
    return ENVIRONMENT | {
        "HOME": str(folder / "home"),
        "TMPDIR": str(folder / "tmp"),
        "MLTK_CACHE_DIR": str(folder / "cache"),
        "MLTK_MODEL_PATHS": str(folder / "models"),
        # MLTK does not survive what oneDNN does on CPUs with AMX.
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE",
    }


Times = dict[str, list[tuple[float, int]]]
"""Seconds and epochs of each run of each command."""


def time_contender(contender: Contender, folder: Path, epochs: int) -> dict[str, tuple[float, int]]:
    """Train, train again, convert; in another workspace train, kill in the middle, go on."""

    def run(command: Sequence[str]) -> tuple[float, int]:
        start = time.perf_counter()
        with Run(command, straight, environment) as started:
            count = started.finish()
        return time.perf_counter() - start, count

    straight = folder / "straight"
    environment = write_digits(straight, epochs)
    times = {
        "train": run(contender.train),
        "train, nothing changed": run(contender.train),
        "quantize": run(contender.quantize),
    }
    straight = folder / "killed"
    environment = write_digits(straight, epochs)
    with Run(contender.train, straight, environment) as killed:
        for _ in range(epochs // 2):
            killed.must_ask()
            killed.go()
        killed.must_ask()
        killed.kill()
    return times | {f"go on after a kill at {epochs // 2} of {epochs}": run(contender.resume)}


def time_contenders(folder: Path, mltk: Path, epochs: int, rounds: int) -> dict[str, Times]:
    """The contenders in turn."""
    sides = contenders(mltk)
    times: dict[str, Times] = {side.name: {} for side in sides}
    for number in range(rounds):
        for side in sides:
            for label, run in time_contender(side, folder / f"{side.name}{number}", epochs).items():
                times[side.name].setdefault(label, []).append(run)
    return times


def contender_report(times: Mapping[str, Times]) -> str:
    """A table of all commands."""
    rows = []
    for label in times["MLTK"]:
        medians = {name: statistics.median(took for took, _ in runs[label]) for name, runs in times.items()}
        epochs = {name: str(runs[label][-1][1]) for name, runs in times.items()}
        cells = [cell for name in times for cell in (f"{medians[name]:.2f}", epochs[name])]
        rows.append((label, *cells, f"{medians['MLTK'] / medians['mltkbuild']:.1f}"))
    return table(("", "MLTK s", "epochs", "mltkbuild s", "epochs", "x faster"), rows)


def compare_with_mltk(venv: Path, epochs: int, rounds: int) -> None:
    """Print the second part, or why there is none."""
    try:
        mltk = mltk_command(venv)
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        print(f"MLTK can't be run, so the comparison with it is left out: {error}")
        return
    with tempfile.TemporaryDirectory(prefix="mltkbuild-mltk-") as folder:
        times = time_contenders(Path(folder).resolve(), mltk, epochs, rounds)
    print(contender_report(times), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time epochs beside plain Keras, and commands beside MLTK.")
    parser.add_argument("--rounds", type=int, default=15, help="epochs of each side that count (15); 0 for none")
    parser.add_argument("--limit", type=float, default=1.03, help="largest ratio mltkbuild / plain fit (1.03)")
    parser.add_argument("--mltk-venv", type=Path, help="MLTK's virtual environment; made if it isn't there")
    parser.add_argument("--mltk-rounds", type=int, default=3, help="rounds of the comparison with MLTK (3)")
    parser.add_argument("--quick", action="store_true", help="only see that it works: small figures that say nothing")
    chosen = parser.parse_args(arguments)
    # Whoever ends this must not leave stopped processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    count, rounds = (1280, min(chosen.rounds, 2)) if chosen.quick else (24576, chosen.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}", flush=True)
    ratio = 0.0
    if rounds:
        with tempfile.TemporaryDirectory(prefix="mltkbuild-epochs-") as folder:
            seconds = time_epochs(Path(folder).resolve(), count, rounds)
        ratio = statistics.median(ratios(seconds, OURS, PLAIN_FIT))
        print(epoch_report(seconds), flush=True)
        print(f"an epoch of mltkbuild takes {ratio:.3f} of plain fit's (limit {chosen.limit})", flush=True)
    if chosen.mltk_venv is not None:
        compare_with_mltk(chosen.mltk_venv, *((8, 1) if chosen.quick else (40, chosen.mltk_rounds)))
    return int(ratio > chosen.limit and not chosen.quick)


if __name__ == "__main__":
    sys.exit(main())
