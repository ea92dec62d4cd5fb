"""What the tests of the disk share: one small stage, and disks that fail or processes that die at a chosen step."""

from __future__ import annotations

import builtins
import errno
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from multiprocessing import forkserver
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.disk import store
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.folder import DONE, LOGS, RECORDS, VALUES, Folder
from mltkbuild.disk.records import Record
from mltkbuild.errors import RecordError, StageError

STAGE = "archive"
SHARED_MEMORY = Path("/dev/shm")
CHANGES = ("replace", "rename", "unlink", "mkdir", "rmdir", "fsync", "sendfile")
NEEDS_SPACE = ("mkdir", "fsync", "sendfile", "open", "write")


def folder_in(root: Path) -> Folder:
    """The folder of the one target of these tests."""
    return Folder("kws", str(root / "build/kws"), str(root / "models"))


def run_stage(folder: Folder, files: Mapping[str, str]) -> tuple[Record, tuple[str, ...]]:
    """Make files in scratch and publish them, as a stage does."""
    with store.locked(folder):
        store.recover(folder)
        scratch = store.begin(folder, STAGE)
        try:
            for name, text in files.items():
                path = Path(scratch, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            digests = {name: bytes_digest(text.encode()) for name, text in files.items()}
            return store.publish(folder, Record(STAGE, "kws", {"of": repr(sorted(files.items()))}, digests), scratch)
        finally:
            store.discard(folder, STAGE)


def needs_to_run(folder: Folder, files: Mapping[str, str]) -> bool:
    """Say whether the stage has yet to make these files, after what was begun is finished."""
    with store.locked(folder):
        store.recover(folder)
    record = store.load_record(folder, STAGE)
    return record is None or record.inputs != {"of": repr(sorted(files.items()))}


def tree(root: Path) -> dict[str, object]:
    """Every file but locks and logs: its bytes; of a record all but its stamps."""
    found: dict[str, object] = {}
    for path in sorted(root.rglob("*")):
        name = path.relative_to(root).as_posix()
        if path.is_dir() or path.name == store.LOCK or "__pycache__" in path.parts or LOGS in path.parts:
            continue
        found[name] = path.read_bytes()
        if RECORDS in path.parts and name.endswith(DONE) and not name.endswith(VALUES):
            target = Folder(path.parts[-3], str(path.parent.parent), "")
            try:
                record = store.load_record(target, path.name.removesuffix(DONE))
            except RecordError:
                continue
            assert record is not None
            found[name] = replace(record, stamps={}, finished="")
    return found


@dataclass
class Steps:
    """Counts what a process does to the disk, and strikes from one step on.

    Args:
        first: The step that is struck, from 1; 0 for none.
        strike: Called in its place with its name; when it returns, the step is done after all.
    """

    first: int
    strike: Callable[[str], None]
    count: int = 0

    def step(self, name: str) -> None:
        """Do one step."""
        self.count += 1
        if 0 < self.first <= self.count:
            self.strike(name)


class TornFile:
    """A file opened for writing: half of what is written reaches the disk before the step of writing is struck."""

    def __init__(self, file: Any, steps: Steps) -> None:
        self._file = file
        self._steps = steps

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def __enter__(self) -> TornFile:
        return self

    def __exit__(self, *args: object) -> None:
        self._file.close()

    def write(self, data: Any) -> int:
        """Write in two halves."""
        half = len(data) // 2
        self._file.write(data[:half])
        self._file.flush()
        self._steps.step("write")
        return half + int(self._file.write(data[half:]))


@contextmanager
def watching(steps: Steps) -> Iterator[Steps]:
    """Count every step of the block: each change of a name, each flush, each opening to write and each write."""
    real = {name: getattr(os, name) for name in CHANGES}
    real_open = builtins.open

    def wrapped(name: str) -> Callable[..., Any]:
        def call(*args: Any, **options: Any) -> Any:
            steps.step(name)
            return real[name](*args, **options)

        return call

    def opened(file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        if not set(mode) & set("wax+"):
            return real_open(file, mode, *args, **options)
        steps.step("open")
        return TornFile(real_open(file, mode, *args, **options), steps)

    try:
        for name in CHANGES:
            setattr(os, name, wrapped(name))
        builtins.open = opened
        yield steps
    finally:
        for name, function in real.items():
            setattr(os, name, function)
        builtins.open = real_open


def die(name: str) -> None:
    """End this process as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)


def disk_full(name: str) -> None:
    """Fail as a full disk does: what needs no space still works."""
    if name in NEEDS_SPACE:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def failure(call: Callable[[], object]) -> Exception | None:
    """The error that a call on a bad disk ends with; None when it ends well."""
    try:
        call()
    except (StageError, OSError) as error:
        return error
    return None


def killed(function: Callable[..., None], *args: object) -> bool:
    """Call a function in a process of its own and say whether it was killed; it may end in no other way but well."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.disk", "tests.conftest"])
    with pytest.MonkeyPatch.context() as patch:
        # What it can't find it leaves out in silence, and each of its children loads it then, wherever the test works.
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        forkserver.ensure_running()
    process = context.Process(target=function, args=args)
    process.start()
    process.join(60)
    assert process.exitcode in (0, -signal.SIGKILL), f"exit code {process.exitcode}"
    return process.exitcode != 0


@contextmanager
def mounted(path: Path, options: str) -> Iterator[Callable[[str], None]]:
    """A small file system in memory, mounted for real; gives a function that mounts it again with other options.

    The test is skipped where mounting isn't permitted.
    """
    path.mkdir(parents=True, exist_ok=True)
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("mounting a file system needs root on Linux")
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", path], capture_output=True, check=False)
    if done.returncode:
        pytest.skip(f"mounting is not permitted here: {done.stderr.decode(errors='replace').strip()}")

    def again(other: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{other}", path], check=True)

    try:
        yield again
    finally:
        subprocess.run(["umount", "-l", path], check=True)


def fill(folder: Path, leave: int) -> Path:
    """Fill a file system but for some bytes, and return the file to delete."""
    ballast = folder / "ballast"
    status = os.statvfs(folder)
    with ballast.open("wb") as file:
        file.write(bytes(max(0, status.f_bavail * status.f_bsize - leave)))
    return ballast


@contextmanager
def in_memory(otherwise: Path) -> Iterator[Path]:
    """A folder for many small builds: in memory where that can be had, because each build waits for the disk."""
    if not (SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK)):
        yield otherwise
        return
    with tempfile.TemporaryDirectory(prefix="mltkbuild-test-", dir=SHARED_MEMORY) as folder:
        yield Path(folder)


def another_file_system(than: Path) -> Path | None:
    """A folder on another file system than a path, if this machine has one at hand."""
    if SHARED_MEMORY.is_dir() and os.access(SHARED_MEMORY, os.W_OK):
        return SHARED_MEMORY if SHARED_MEMORY.stat().st_dev != than.stat().st_dev else None
    return None
