"""Ctrl+C, SIGTERM and SIGKILL during real builds: how the process ends, what is left, what the next build does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mltkbuild.stages import STAGES

from .conftest import REPOSITORY, Files

pytestmark = pytest.mark.real

DOIT, MLTK = ("-m", "doit"), ("-m", "mltkbuild.cli.main")


@pytest.fixture
def digits(tmp_path: Path) -> Files:
    """A workspace with the digits model, which trains long enough to be interrupted, and nothing built."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", (REPOSITORY / "dodo.py").read_text(encoding="utf-8"))
    text = (REPOSITORY / "models/digits_v1.py").read_text(encoding="utf-8")
    files.spec("digits", text.replace("epochs = 40", "epochs = 12"))
    return files


class Build:
    """A build in a process group of its own, as a terminal gives it one."""

    def __init__(self, files: Files, *arguments: str) -> None:
        self.files = files
        self.process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=files.root,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until something has happened in the workspace."""
        end = time.monotonic() + 120
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end
            time.sleep(0.02)

    def members(self) -> list[int]:
        """The processes of its group."""
        found = []
        for name in filter(str.isdecimal, os.listdir("/proc")):
            try:
                fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            if int(fields[2]) == self.process.pid and fields[0] != "Z":
                found.append(int(name))
        return found

    def end(self) -> tuple[int, str, str]:
        """Wait for the end and for its workers to go; the code and what was printed."""
        out, err = self.process.communicate(timeout=60)
        end = time.monotonic() + 20
        while self.members():
            assert time.monotonic() < end, f"workers are left: {self.members()}"
            time.sleep(0.02)
        return self.process.returncode, out, err


@pytest.fixture
def start(digits: Files) -> Iterator[Callable[..., Build]]:
    """Start a build; whatever is left of it ends with the test."""
    builds: list[Build] = []

    def begin(*arguments: str) -> Build:
        builds.append(Build(digits, *arguments))
        return builds[-1]

    yield begin
    for build in builds:
        for pid in build.members():
            os.kill(pid, signal.SIGKILL)
        build.process.wait()


def epochs_done(files: Files) -> int:
    """How many epochs the training under way has a checkpoint of."""
    found = list((files.root / "build/digits/train").rglob("*")) if (files.root / "build/digits").exists() else []
    return sum(path.is_file() for path in found)


def trains(files: Files) -> bool:
    """Whether the training has made its first checkpoint and is not done."""
    return epochs_done(files) > 0


def whole(files: Files) -> None:
    """No file is torn: records are JSON, archives are complete, and no temporary file has a final name."""
    for path in files.root.rglob("*"):
        if path.suffix == ".json" and path.is_file():
            json.loads(path.read_text())
        if path.suffix in (".zip", ".keras"):
            assert None is zipfile.ZipFile(path).testzip()


def stages_run(build: Build) -> list[str]:
    """The stages that a build ran, in order, when it ended well."""
    code, _, err = build.end()
    assert 0 == code, err
    return [line.partition(":")[0] for line in err.splitlines() if line.partition(":")[0] in STAGES]


@pytest.mark.parametrize(
    ("arguments", "number", "group"),
    [
        (DOIT, signal.SIGINT, True),
        ((*DOIT, "-n", "2"), signal.SIGINT, False),
        ((*MLTK, "train", "digits"), signal.SIGINT, True),
        ((*MLTK, "build", "-n", "2"), signal.SIGTERM, True),
    ],
)
def test_interrupted_training_ends_in_one_line_and_goes_on_from_there(
    digits: Files, start: Callable[..., Build], arguments: tuple[str, ...], number: int, group: bool
) -> None:
    """Ctrl+C to the group or to the parent, or SIGTERM: code 130, one line, no worker left; only the rest runs next."""
    build = start(*arguments)
    build.wait_for(lambda: trains(digits))
    (os.killpg if group else os.kill)(build.process.pid, number)
    code, out, err = build.end()
    assert 130 == code
    assert "interrupted during train:digits: 2 finished stages kept; run the same command to go on\n" == out
    assert ["spec", "data"] == [line.partition(":")[0] for line in err.splitlines()], err
    whole(digits)
    assert [stage for stage in STAGES if stage not in ("spec", "data")] == stages_run(start(*DOIT))
    history = json.loads((digits.root / "build/digits/train/history.json").read_text())
    assert 12 == len(history["epochs"] if "epochs" in history else next(iter(history.values())))


@pytest.mark.parametrize("stage", ["train", "quantize"])
def test_killed_build_loses_nothing_that_was_finished(digits: Files, start: Callable[..., Build], stage: str) -> None:
    """SIGKILL of the whole group while a stage runs: nothing is torn, and the next build runs that stage and the rest."""
    build = start(*DOIT)
    started = digits.root / f"build/digits/.logs/{stage}.log"
    build.wait_for(lambda: trains(digits) if stage == "train" else started.exists())
    os.killpg(build.process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == build.end()[0]
    whole(digits)
    assert list(STAGES)[list(STAGES).index(stage) :] == stages_run(start(*DOIT))
    assert "up to date: 7 stages\n" == start(*DOIT).end()[1]
