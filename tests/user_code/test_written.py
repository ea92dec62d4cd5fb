"""A file that is opened so that it can be written is an input if it stays as it was."""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import sqlite3
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.disk.digests import digest_of
from mltkbuild.user_code.watch import watch

from .test_watch import names


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text, arrays, a zip file and a database."""
    (tmp_path / "a.txt").write_text("1")
    (tmp_path / "a.bin").write_bytes(bytes(8))
    np.save(tmp_path / "a.npy", np.arange(3.0))
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("a", "a")
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as database:
        database.execute("create table t (x)")
        database.execute("insert into t values (1)")
        database.commit()
    return tmp_path


def _mapped(folder: Path, value: int | None = None) -> None:
    with open(folder / "a.bin", "r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        assert memory[:1]
        if value is not None:
            memory[0] = value


def _locked(folder: Path) -> None:
    with open(folder / "a.txt", "a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        (folder / "a.txt").read_text()


def _plus(folder: Path, mode: str, text: str = "") -> None:
    with open(folder / "a.txt", mode) as file:
        file.seek(0)
        file.read()
        if text:
            file.write(text)


def _by_number(folder: Path) -> None:
    handle = os.open(folder / "a.txt", os.O_RDWR | os.O_CREAT)
    os.read(handle, 1)
    os.close(handle)


def _memory(folder: Path, value: float | None = None, **options: str) -> None:
    array = np.memmap(folder / "a.bin", "float32", **options)  # type: ignore[call-overload]  # any mode
    if value is not None:
        array[0] = value
        array.flush()


def _database(folder: Path, statement: str = "select * from t") -> None:
    with contextlib.closing(sqlite3.connect(folder / "a.db")) as database:
        database.execute(statement).fetchall()
        database.commit()


def _loaded(folder: Path, value: float | None = None) -> None:
    array = np.load(folder / "a.npy", mmap_mode="r+")
    if value is not None:
        array[0] = value
        array.flush()


def _zipped(folder: Path, name: str | None = None) -> None:
    with zipfile.ZipFile(folder / "a.zip", "a") as archive:
        archive.read("a")
        if name is not None:
            archive.writestr(name, "b")


def _touched(folder: Path) -> None:
    (folder / "a.txt").touch()
    (folder / "a.txt").read_text()


def _made(folder: Path) -> None:
    (folder / "new").write_text("1")
    open(folder / "new", "r+").close()


def _replaced(folder: Path, more: str = "2") -> None:
    text = (folder / "a.txt").read_text()
    (folder / "a.tmp").write_text(text + more)
    (folder / "a.tmp").replace(folder / "a.txt")


def _read_and_removed(folder: Path) -> None:
    (folder / "a.txt").read_text()
    (folder / "a.txt").unlink()


READS: dict[str, tuple[Callable[[Path], object], str]] = {
    "r+": (lambda folder: _plus(folder, "r+"), "a.txt"),
    "a+": (lambda folder: _plus(folder, "a+"), "a.txt"),
    "O_RDWR": (_by_number, "a.txt"),
    "a lock on itself": (_locked, "a.txt"),
    "touched": (_touched, "a.txt"),
    "np.memmap": (_memory, "a.bin"),
    "np.memmap, r+": (lambda folder: _memory(folder, mode="r+"), "a.bin"),
    "np.load": (_loaded, "a.npy"),
    "mmap": (_mapped, "a.bin"),
    "zip": (_zipped, "a.zip"),
    "sqlite3": (_database, "a.db"),
    "replaced by the same": (lambda folder: _replaced(folder, ""), "a.txt"),
    "rewritten as it was": (lambda folder: (folder / "a.txt").write_text((folder / "a.txt").read_text()), "a.txt"),
}
WRITES: dict[str, tuple[Callable[[Path], object], str]] = {
    "r+": (lambda folder: _plus(folder, "r+", "2"), "a.txt"),
    "a+": (lambda folder: _plus(folder, "a+", "2"), "a.txt"),
    "np.memmap": (lambda folder: _memory(folder, 2.0), "a.bin"),
    "np.load": (lambda folder: _loaded(folder, 2.0), "a.npy"),
    "mmap": (lambda folder: _mapped(folder, 2), "a.bin"),
    "zip": (lambda folder: _zipped(folder, "b"), "a.zip"),
    "sqlite3": (lambda folder: _database(folder, "insert into t values (2)"), "a.db"),
    "read, then replaced": (_replaced, "a.txt"),
    "read, then removed": (_read_and_removed, "a.txt"),
    "read, then written": (lambda folder: (folder / "a.txt").write_text((folder / "a.txt").read_text() + "2"), "a.txt"),
}
QUIET: dict[str, Callable[[Path], object]] = {
    "only appended": lambda folder: _append(folder / "a.txt"),
    "only written": lambda folder: (folder / "a.txt").write_text("2"),
    "made with r+": _made,
    "made with a+": lambda folder: _append(folder / "new"),
    "made by sqlite3": lambda folder: sqlite3.connect(folder / "new.db").close(),
}


def _append(path: Path) -> None:
    with open(path, "a+" if path.name == "new" else "a") as file:
        file.write("2")


@pytest.mark.parametrize("way", READS)
def test_what_is_left_as_it_was_is_an_input(way: str, folder: Path) -> None:
    """That it could have been written is no matter."""
    read, name = READS[way]
    before = digest_of(str(folder / name))
    with watch(()) as seen:
        read(folder)
    assert {str(folder / name): before} == seen.files
    assert {} == seen.both


@pytest.mark.parametrize("way", WRITES)
def test_what_is_read_and_changed_is_no_input_and_is_said(way: str, folder: Path) -> None:
    """It could never be the same at the next look."""
    write, name = WRITES[way]
    with watch(()) as seen:
        write(folder)
    assert {} == seen.files
    assert [str(folder / name)] == list(seen.both)


@pytest.mark.parametrize("way", QUIET)
def test_what_is_only_written_is_nothing_to_tell(way: str, folder: Path) -> None:
    """A log that grows, a file of its own."""
    with watch(()) as seen:
        QUIET[way](folder)
    assert ({}, {}, {}) == (seen.files, seen.answers, seen.both)


def test_what_fails_changes_nothing(folder: Path) -> None:
    """To move, remove or link what isn't there makes no file that could be one of the code's own."""
    with watch(()) as seen:
        for function, names_of in ((os.rename, ("no", "new")), (os.remove, ("gone",)), (os.link, ("no", "a.txt"))):
            with contextlib.suppress(OSError):
                function(*(str(folder / name) for name in names_of))
        assert not os.path.exists(folder / "new")
        assert not os.path.exists(folder / "gone")
        (folder / "a.txt").read_text()
    assert {"a.txt"} == names(seen.files, folder)
    assert {"new", "gone"} == {os.path.basename(question.subject) for question in seen.answers}


def test_database_opened_to_be_read_counts(folder: Path) -> None:
    """By its address, as SQLite takes it, with a journal beside it."""
    (folder / "a.db-wal").write_bytes(b"")
    with watch(()) as seen:
        with contextlib.closing(sqlite3.connect(f"file:{folder}/a.db?mode=ro", uri=True)) as database:
            database.execute("select 1").fetchall()
        sqlite3.connect(":memory:").close()
        sqlite3.connect("file:x?mode=memory", uri=True).close()
    assert {"a.db", "a.db-wal"} == names(seen.files, folder)
