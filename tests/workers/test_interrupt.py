"""Ctrl+C, SIGTERM and SIGKILL during real builds: how the process ends, what is left, what the next build does."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.stages.table import BUILT

from ..conftest import REPOSITORY, Files

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


def runs(files: Files, stage: str) -> Callable[[], bool]:
    """Whether a stage is under way: its worker writes a log."""
    return (files.root / f"build/digits/.logs/{stage}.log").exists


def to_do(files: Files) -> list[str]:
    """The stages that a build would run now."""
    return [stage for stage in BUILT if Builder(files.workspace).judge("digits", stage).reasons]


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
    return [line.partition(":")[0] for line in err.splitlines() if line.partition(":")[0] in BUILT]


@pytest.mark.parametrize(
    ("arguments", "number", "group"),
    [
        (DOIT, signal.SIGINT, True),
        ((*MLTK, "train", "digits"), signal.SIGINT, False),
        ((*DOIT, "-n", "2"), signal.SIGTERM, True),
    ],
)
def test_interrupted_training_ends_in_one_line(
    digits: Files, start: Callable[..., Build], arguments: tuple[str, ...], number: int, group: bool
) -> None:
    """Ctrl+C to the group or to the parent, or SIGTERM: code 130, one line, no worker left; the rest is to do."""
    build = start(*arguments)
    build.wait_for(runs(digits, "train"))
    # Into the training, as far as it goes: wherever the signal meets it, the outcome is the same.
    time.sleep(0.5)
    (os.killpg if group else os.kill)(build.process.pid, number)
    code, out, err = build.end()
    assert 130 == code, err
    kept = r"(train:digits: (the checkpoint of [a-z0-9 ]+ is kept|no epoch was done); )?"
    line = f"interrupted during train:digits: 3 finished stages kept; {kept}run the same command to go on\n"
    assert re.fullmatch(line, out), out
    assert ["spec", "data", "preflight"] == [line.partition(":")[0] for line in err.splitlines()], err
    whole(digits)
    assert list(BUILT[BUILT.index("train") :]) == to_do(digits)


def test_killed_build_loses_nothing_that_was_finished(digits: Files, start: Callable[..., Build]) -> None:
    """SIGKILL of the whole group in train, then in quantize: nothing is torn, and only unfinished stages run again."""
    build = start(*DOIT)
    build.wait_for(runs(digits, "train"))
    time.sleep(0.5)
    os.killpg(build.process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == build.end()[0]
    whole(digits)
    assert list(BUILT[BUILT.index("train") :]) == to_do(digits)
    build = start(*DOIT)
    build.wait_for(runs(digits, "quantize"))
    os.killpg(build.process.pid, signal.SIGKILL)
    assert -signal.SIGKILL == build.end()[0]
    whole(digits)
    left = list(BUILT[BUILT.index("quantize") :])
    assert left == to_do(digits)
    code, _, err = start(*DOIT).end()
    assert 0 == code, err
    assert left == [line.partition(":")[0] for line in err.splitlines()]
    assert [] == to_do(digits)
    leftovers = [path.name for path in digits.root.rglob("*") if path.suffix in (".tmp", ".pending", ".changed")]
    assert [] == leftovers + list((digits.root / "build/digits").glob(".scratch"))


def test_interrupted_look_ends_in_one_line(digits: Files, start: Callable[..., Build]) -> None:
    """Ctrl+C while a dry run executes a changed spec ends it at once, with code 130 and no traceback."""
    waits = "import keras\nimport time\nopen('here', 'w').close()\ntime.sleep(60)\n"
    digits.edit("models/digits.py", "import keras\n", waits)
    build = start(*MLTK, "build", "--dry-run")
    build.wait_for((digits.root / "here").exists)
    os.killpg(build.process.pid, signal.SIGINT)
    assert (130, "", "\ninterrupted\n") == build.end()
