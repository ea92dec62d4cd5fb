"""What it costs to watch a data stage that opens 10,000 files, with and without in turn.

    python benchmarks/watching.py [--files 10000] [--rounds 5] [--limit 0.03]

Three data sets, each of so many files that are opened once: recordings of a second that become spectrograms (a data
set that is prepared), the same recordings in a spec's own loader, which reads each by soundfile and takes its spectrum,
and arrays of 4 kB in a loader that does nothing but `np.load`, the least that a file can cost. Each run of the data
stage is a process of its own, in which TensorFlow is loaded before; "without" has no audit hook, and nothing of `os` or
a library is replaced. Each run keeps to one processor: threads that hand Python's lock to each other across two make
times swing by more than watching costs. Beside them stands what the digests alone cost, taken of the same files once
more: who wants to know whether a file has changed must read it. Figures are those of the quickest run. The exit code is
1 when watching, digests and all, costs more than `--limit` of the data stage that prepares recordings.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from gestures import DODO, Fake
from mltkbuild.disk.digests import stamp_of, unchanged_digests
from mltkbuild.disk.workspace import find_workspace
from mltkbuild.engine.builder import Builder
from mltkbuild.events import Listener
from mltkbuild.front.report import table
from mltkbuild.stages import running_code
from mltkbuild.stages.protocol import Outcome, Request, Start
from mltkbuild.user_code.watched import Watched

CLASSES = ("a", "b", "c", "d")
RATE = 16_000
HEAD = """
import glob
import keras
import numpy as np
import soundfile
from mltkbuild import AudioDatasetMixin, AudioFeatureGeneratorSettings, DatasetMixin, EvaluateClassifierMixin
from mltkbuild import MltkModel, ParallelAudioDataGenerator, TrainMixin

def build(model):
    network = keras.Sequential([keras.Input(model.input_shape), keras.layers.Flatten(), keras.layers.Dense(4)])
    network.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    return network

# @mltk_model
class Model(MltkModel, TrainMixin, {mixin}, EvaluateClassifierMixin):
    pass

my_model = Model()
my_model.classes = ["a", "b", "c", "d"]
my_model.build_model_function = build
"""
PREPARED = (
    HEAD.replace("{mixin}", "AudioDatasetMixin")
    + """
settings = AudioFeatureGeneratorSettings(window_size_ms=30, window_step_ms=20, filterbank_n_channels=40)
my_model.datagen = ParallelAudioDataGenerator(frontend_settings=settings)
my_model.dataset = "recordings"
my_model.sample_length_ms = 1000
my_model.class_mode = "sparse"
"""
)
LOADER = (
    HEAD.replace("{mixin}", "DatasetMixin")
    + """
def load(subset, test):
    paths = sorted(glob.glob("{pattern}"))
    chosen = paths[::10] if subset == "evaluation" else [path for place, path in enumerate(paths) if place % 10]
    return np.stack([read(path) for path in chosen]), np.array(["abcd".index(path.split("/")[1]) for path in chosen])

my_model.dataset = load
my_model.input_shape = ({size},)
"""
)
READS = {
    "recordings": """
def read(path):
    return np.abs(np.fft.rfft(soundfile.read(path, dtype="float32")[0].reshape(-1, 400))).mean(axis=0)
""",
    "arrays": """
def read(path):
    return np.load(path)
""",
}
SPECS = {
    "prepared": ("recordings", PREPARED),
    "loader": ("recordings", LOADER.format(pattern="recordings/*/*.wav", size=201) + READS["recordings"]),
    "arrays": ("arrays", LOADER.format(pattern="arrays/*/*.npy", size=1000) + READS["arrays"]),
}
TOLD = {
    "prepared": "recordings that are prepared",
    "loader": "recordings in a loader",
    "arrays": "arrays in a loader",
}


def write(workspace: Path, count: int) -> None:
    """Write the specs and the files."""
    (workspace / "models").mkdir(parents=True)
    (workspace / "dodo.py").write_text(DODO, encoding="utf-8")
    for name, (_, text) in SPECS.items():
        (workspace / f"models/{name}.py").write_text(text, encoding="utf-8")
    random = np.random.default_rng(1)
    noise = random.normal(0, 0.1, 2 * RATE)
    for number in range(count):
        label = CLASSES[number % len(CLASSES)]
        for folder in ("recordings", "arrays"):
            (workspace / folder / label).mkdir(parents=True, exist_ok=True)
        start = int(random.integers(RATE))
        soundfile.write(workspace / f"recordings/{label}/{number}.wav", noise[start : start + RATE], RATE)
        np.save(workspace / f"arrays/{label}/{number}.npy", noise[start : start + 1000].astype("float32"))


# -- one run, in a process of its own --------------------------------------------------------------------------------


@contextlib.contextmanager
def _unwatched(ignore: tuple[str, ...], root: str = "") -> Iterator[Any]:
    yield Watched(root, ignore)


def one(workspace: str, name: str, watched: bool) -> None:
    """Run one data stage and print its seconds, its processor's, and those of the digests alone."""
    from mltkbuild.workers import run_stage  # noqa: PLC0415  # loads TensorFlow: only in the process that is timed

    if not watched:
        for module in (running_code, run_stage):
            setattr(module, "watch", _unwatched)  # noqa: B010  # the modules re-export no `watch`, so a plain assignment fails mypy --strict
    took: dict[str, float] = {}

    def run(request: Request, listener: Listener) -> Outcome:
        clock, processor = time.perf_counter(), time.process_time()
        outcome = run_stage.run_stage(request, listener)
        if request.stage == "data":
            took.update(wall=time.perf_counter() - clock, cpu=time.process_time() - processor)
            took["files"] = sum(path.endswith((".wav", ".npy")) for path in outcome.files)
        return outcome

    builder = Builder(find_workspace(workspace), Fake(run))
    builder.build(name, "data", start=Start(force=True))
    builder.close()
    folder = Path(workspace, SPECS[name][0])
    stamps = {str(path): stamp for path in folder.rglob("*") if path.is_file() and (stamp := stamp_of(str(path)))}
    clock, processor = time.perf_counter(), time.process_time()
    unchanged_digests(stamps)
    took |= {"digests wall": time.perf_counter() - clock, "digests cpu": time.process_time() - processor}
    print(json.dumps(took))


# -- all runs --------------------------------------------------------------------------------------------------------


def run(workspace: Path, name: str, watched: bool) -> dict[str, float]:
    """Run one data stage in a process of its own."""
    command = (sys.executable, __file__, "--one", str(workspace), name, "yes" if watched else "no")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": ""}
    if hasattr(os, "sched_setaffinity"):
        # The child has it from here.
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def row(name: str, runs: dict[bool, list[dict[str, float]]]) -> tuple[tuple[str, ...], float]:
    """A row of the table, and the part of the stage that watching costs."""

    def least(watched: bool, key: str) -> float:
        return min(found[key] for found in runs[watched])

    # What else the machine does only adds to a run.
    without, beside = least(False, "cpu"), least(True, "cpu")
    digests = least(True, "digests cpu")
    cost = beside - without
    told = (
        TOLD[name],
        f"{least(False, 'wall'):.2f}",
        f"{least(True, 'wall'):.2f}",
        f"{without:.2f}",
        f"{beside:.2f}",
        f"{digests / without:.1%}",
        f"{cost / without:.1%}",
    )
    return told, cost / without


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time data stages that are watched and that aren't.")
    parser.add_argument("--files", type=int, default=10_000, help="files that a data stage opens (10000)")
    parser.add_argument("--rounds", type=int, default=5, help="rounds that count (5)")
    parser.add_argument("--limit", type=float, default=0.03, help="most that watching may cost beside digests (0.03)")
    parser.add_argument("--one", nargs=3, metavar=("WORKSPACE", "NAME", "WATCHED"), help=argparse.SUPPRESS)
    chosen = parser.parse_args(arguments)
    if chosen.one:
        one(chosen.one[0], chosen.one[1], chosen.one[2] == "yes")
        return 0
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {chosen.files} files")
    rows, costs = [], {}
    with tempfile.TemporaryDirectory(prefix="mltkbuild-watching-") as folder:
        workspace = Path(folder).resolve() / "workspace"
        write(workspace, chosen.files)
        for name in SPECS:
            runs: dict[bool, list[dict[str, float]]] = {False: [], True: []}
            for number in range(chosen.rounds + 1):
                for watched in (False, True) if number % 2 else (True, False):
                    found = run(workspace, name, watched)
                    if number:
                        runs[watched].append(found)
            seen = {found["files"] for found in runs[True]}
            if seen != {chosen.files}:
                raise SystemExit(f"{name}: {seen} files were noticed")
            told, costs[name] = row(name, runs)
            rows.append(told)
    head = ("10,000 files", "s without", "s with", "processor s without", "with", "digests alone", "watching")
    print(table(head, rows))
    return int(costs["prepared"] > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
