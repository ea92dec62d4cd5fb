"""What the system refuses while user code runs is told as that, whatever library hands it on, and not as a mistake."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import shutil
import sqlite3
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import h5py
import numpy as np
import pytest
import tensorflow as tf

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import DataError, MltkError, SpecError, StageError
from mltkbuild.user_code.loader import Snapshot, user_code
from mltkbuild.workers.executor import Processes

from ..conftest import TINY_SPEC, Files
from ..disk.faults import fill, mounted


def told(run: Callable[[], object], kind: type[MltkError] = DataError) -> MltkError:
    """The error that something becomes as user code."""
    with pytest.raises(MltkError) as caught, user_code(Snapshot("/ws", "models/kws.py", (), {}), "the loader", kind):
        run()
    return caught.value


def raising(error: BaseException) -> Callable[[], object]:
    """Code that raises something."""

    def run() -> object:
        raise error

    return run


# -- a real full disk ------------------------------------------------------------------------------------------------

LARGE = 1 << 20


def wrapped(path: Path) -> None:
    """Write, and raise an error of one's own when that fails."""
    try:
        path.write_bytes(bytes(LARGE))
    except OSError as error:
        raise RuntimeError("the cache can't be made") from error


def plainly(path: Path) -> None:
    """Write as most code does."""
    with path.open("wb") as file:
        file.write(bytes(LARGE))


def by_h5py(path: Path) -> None:
    """Write by the HDF5 library."""
    with h5py.File(path, "w") as file:
        file.create_dataset("a", data=np.random.default_rng(1).random(LARGE // 8))


def by_sqlite(path: Path) -> None:
    """Write into a database."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        database.execute("create table a as select randomblob(1000000)")


def by_zip(path: Path) -> None:
    """Write into an archive, which fails again when it is closed."""
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a", os.urandom(LARGE))


def by_copy(path: Path) -> None:
    """Copy a file."""
    large = path.parent.parent / "large"
    large.write_bytes(bytes(LARGE))
    shutil.copy(large, path)


WRITES: dict[str, Callable[[Path], object]] = {
    "open": plainly,
    "numpy": lambda path: np.save(path, np.zeros(LARGE // 8)),
    "numpy.tofile": lambda path: np.zeros(LARGE // 8).tofile(path),
    "zip": by_zip,
    "h5py": by_h5py,
    "sqlite": by_sqlite,
    "tensorflow": lambda path: tf.io.write_file(str(path), os.urandom(LARGE)),
    "copy": by_copy,
    "behind another error": wrapped,
}


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system without space."""
    folder = tmp_path_factory.mktemp("full")
    with mounted(folder, "size=1m"):
        fill(folder, 8192)
        yield folder


@pytest.mark.parametrize("way", WRITES)
def test_full_disk_is_told_as_one(full: Path, way: str) -> None:
    """Whoever writes, the error says that the disk is full and that nothing is lost."""
    path = full / "file.npy"
    error = told(lambda: WRITES[way](path))
    path.unlink(missing_ok=True)
    assert (StageError, "the disk became full while the loader ran") == (type(error), error.what), str(error)
    assert "free some space" in str(error.fix)


# -- everything else -------------------------------------------------------------------------------------------------


def numbered(number: int) -> OSError:
    """What the system raises about a file."""
    return OSError(number, os.strerror(number), "/data/x.csv")


MEANINGS = {
    errno.ENOSPC: "the disk became full while the loader ran",
    errno.EDQUOT: "the quota of the disk was used up while the loader ran",
    errno.EROFS: "the loader can't write on a read-only file system",
    errno.EIO: "the disk failed while the loader ran",
    errno.EMFILE: "the loader has too many files open",
    errno.EACCES: "the loader has no permission",
    errno.EPERM: "the loader has no permission",
    errno.ENOMEM: "the machine ran out of memory while the loader ran",
}


@pytest.mark.parametrize("number", MEANINGS)
def test_what_the_system_refuses_is_named(number: int) -> None:
    """The words are about the system, the file stands behind what it said, and the exit code is no mistake's."""
    error = told(raising(numbered(number)), SpecError)
    assert (StageError, MEANINGS[number], 1) == (type(error), error.what, error.exit_code)
    assert f"{os.strerror(number)}: /data/x.csv" == error.found


@pytest.mark.parametrize("number", [errno.ENOENT, errno.EISDIR, errno.EEXIST, errno.EINVAL])
def test_a_wrong_path_is_still_a_mistake(number: int) -> None:
    """What the code asks wrongly is its own to mend."""
    error = told(raising(numbered(number)))
    assert isinstance(error, DataError)
    assert "raised" in error.what


def test_permission_that_code_has_dealt_with_is_its_own() -> None:
    """Code that catches a refusal and then fails by something else is told by that."""

    def run() -> None:
        try:
            raise numbered(errno.EACCES)
        except OSError:
            dict[str, int]()["key"]

    error = told(run)
    assert "the loader raised KeyError" == error.what


def test_own_exception_with_such_words_is_its_own() -> None:
    """Words alone don't make an error the system's."""
    assert "the loader raised ValueError" == told(raising(ValueError("No space left on device"))).what


def test_no_memory_is_told_as_one() -> None:
    """An allocation that fails, by NumPy or TensorFlow, names the limit's variable."""
    failed = tf.errors.ResourceExhaustedError(None, None, "OOM when allocating")
    for run in (lambda: np.ones(1 << 50), raising(failed), raising(MemoryError())):
        error = told(run)
        assert "the machine ran out of memory while the loader ran" == error.what
        assert "MLTKBUILD_WORKER_MEMORY" in str(error.fix)


def test_too_many_open_files_are_told(tmp_path: Path) -> None:
    """A loader that never closes its files hits the process' limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = []

    def run() -> None:
        while True:
            files.append((tmp_path / "x").open("w"))

    resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
    try:
        error = told(run)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        for file in files:
            file.close()
    assert "the loader has too many files open" == error.what


REFUSE = "raise OSError(28, os.strerror(28), 'x')"
PLACES = {
    "spec": ("spec", "my_model = Model()\n", f"{REFUSE}\n"),
    "builder": ("spec", "    network = ", f"    {REFUSE}\n    network = "),
    "loader": ("data", "    ACTION\n", f"    {REFUSE}\n"),
    "schedule": (
        "train",
        "my_model.epochs = 2\n",
        f"my_model.epochs = 2\ndef rate(epoch, old):\n    {REFUSE}\nmy_model.lr_schedule = rate\n",
    ),
    "callback": (
        "train",
        "my_model.epochs = 2\n",
        "my_model.epochs = 2\nclass Stop(keras.callbacks.Callback):\n"
        f"    def on_epoch_end(self, *_):\n        {REFUSE}\n"
        "my_model.train_callbacks = [Stop()]\n",
    ),
}


@pytest.mark.parametrize("place", PLACES)
def test_full_disk_is_told_in_every_stage(workspace: Files, executor: Processes, place: str) -> None:
    """Wherever the spec's code runs, its line is named, and the system's refusal is not called its mistake."""
    stage, old, new = PLACES[place]
    assert old in TINY_SPEC
    workspace.spec("kws", TINY_SPEC.replace(old, new).replace("ACTION", "pass"))
    with pytest.raises(StageError) as caught:
        Builder(workspace.workspace, executor).build("kws", stage)
    assert caught.value.what.startswith("the disk became full while ")
    assert str(caught.value.where).startswith("models/kws.py:")
