"""What code asks about a path without opening it counts by what it wants to know."""

from __future__ import annotations

import filecmp
import glob
import os
import pickle
import shutil
import tempfile
import threading
import zoneinfo
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.disk.answers import ABSENT, answer
from mltkbuild.disk.digests import digest_of
from mltkbuild.disk.inputs import EXISTS, LINK, MODIFIED, SIZE, Input
from mltkbuild.user_code import questions
from mltkbuild.user_code.watch import watch
from mltkbuild.user_code.watched import MANY

from .test_watch import as_library, names

BOTH = (SIZE, MODIFIED)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a file, and with a folder that has one."""
    (tmp_path / "file.txt").write_text("text")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/deep.txt").write_text("deep")
    (tmp_path / "link").symlink_to("below")
    return tmp_path


def tried(function: Callable[..., object], *arguments: object) -> None:
    """Do what code does that goes on without a file."""
    with suppress(OSError):
        function(*arguments)


def _at_handle(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    os.stat("file.txt", dir_fd=handle)
    tried(lambda: os.stat("missing", dir_fd=handle))
    os.close(handle)


def _of_open(folder: Path) -> None:
    with open(folder / "file.txt") as file:
        os.fstat(file.fileno())


def _entries(folder: Path) -> None:
    with os.scandir(folder) as entries:
        for entry in entries:
            assert isinstance(entry, os.DirEntry)
            assert os.fspath(entry) == entry.path
            if entry.is_file():
                entry.stat()


ASKS: dict[str, tuple[Callable[[Path], object], dict[str, tuple[str, ...]]]] = {
    "open": (lambda folder: tried(open, folder / "no.txt"), {"no.txt": (EXISTS,)}),
    "os.open": (lambda folder: tried(os.open, folder / "no.txt", os.O_RDONLY), {"no.txt": (EXISTS,)}),
    "read_text": (lambda folder: tried((folder / "no.txt").read_text), {"no.txt": (EXISTS,)}),
    "np.load": (lambda folder: tried(np.load, folder / "no.npy"), {"no.npy": (EXISTS,)}),
    "exists": (lambda folder: os.path.exists(folder / "no.txt"), {"no.txt": (EXISTS,)}),
    "exists, in bytes": (lambda folder: os.path.exists(os.fsencode(folder / "no.txt")), {"no.txt": (EXISTS,)}),
    "isfile": (lambda folder: os.path.isfile(folder / "file.txt"), {"file.txt": (EXISTS,)}),
    "isdir": (lambda folder: os.path.isdir(folder / "below"), {"below": (EXISTS,)}),
    "lexists": (lambda folder: os.path.lexists(folder / "no.txt"), {"no.txt": (EXISTS,)}),
    "access": (lambda folder: os.access(folder / "no.txt", os.R_OK), {"no.txt": (EXISTS,)}),
    "Path.exists": (lambda folder: (folder / "no.txt").exists(), {"no.txt": (EXISTS,)}),
    "Path.is_file": (lambda folder: (folder / "file.txt").is_file(), {"file.txt": (EXISTS,)}),
    "Path.is_dir": (lambda folder: (folder / "below").is_dir(), {"below": (EXISTS,)}),
    "listdir": (lambda folder: tried(os.listdir, folder / "no"), {"no": (EXISTS,)}),
    "scandir": (lambda folder: tried(os.scandir, folder / "no"), {"no": (EXISTS,)}),
    "iterdir": (lambda folder: tried(lambda: list((folder / "no").iterdir())), {"no": (EXISTS,)}),
    "walk": (lambda folder: list(os.walk(folder / "no")), {"no": (EXISTS,)}),
    "glob": (lambda folder: glob.glob(f"{folder}/no/*.txt"), {"no": (EXISTS,)}),
    "glob without a pattern": (lambda folder: glob.glob(f"{folder}/no.txt"), {"no.txt": (EXISTS,)}),
    "Path.glob": (lambda folder: list((folder / "no").glob("*.txt")), {"no": (EXISTS,)}),
    "getsize": (lambda folder: os.path.getsize(folder / "file.txt"), {"file.txt": (SIZE,)}),
    "getsize of nothing": (lambda folder: tried(os.path.getsize, folder / "no"), {"no": (EXISTS,)}),
    "getmtime": (lambda folder: os.path.getmtime(folder / "file.txt"), {"file.txt": (MODIFIED,)}),
    "os.stat": (lambda folder: os.stat(folder / "file.txt"), {"file.txt": BOTH}),
    "os.stat of nothing": (lambda folder: tried(os.stat, folder / "no"), {"no": (EXISTS,)}),
    "Path.stat": (lambda folder: (folder / "file.txt").stat(), {"file.txt": BOTH}),
    "Path.lstat": (lambda folder: (folder / "file.txt").lstat(), {"file.txt": BOTH}),
    "by an open folder": (_at_handle, {"file.txt": BOTH, "no": ()} | {"missing": (EXISTS,)}),
    "of an open file": (_of_open, {"file.txt": (MODIFIED,)}),
    "entries": (_entries, {"file.txt": BOTH}),
    "filecmp.cmp": (
        lambda folder: filecmp.cmp(folder / "file.txt", folder / "below/deep.txt", shallow=True),
        {"file.txt": (MODIFIED,), "below/deep.txt": (MODIFIED,)},
    ),
    "relative": (lambda folder: os.path.exists("no.txt"), {"no.txt": (EXISTS,)}),
    "resolve, of a link": (lambda folder: (folder / "link").resolve(), {"link": (LINK,)}),
    "realpath, below a link": (lambda folder: os.path.realpath(folder / "link/no.txt"), {"link": (LINK,)}),
    "readlink": (lambda folder: os.readlink(folder / "link"), {"link": (LINK,)}),
    "which": (lambda folder: shutil.which("ls"), {}),
    "a time zone": (lambda folder: zoneinfo.ZoneInfo("Europe/Berlin"), {}),
    "resolve": (lambda folder: (folder / "file.txt").resolve(), {}),
    "makedirs": (lambda folder: os.makedirs(folder / "below", exist_ok=True), {}),
    "mkdir": (lambda folder: (folder / "below").mkdir(exist_ok=True), {}),
    "a reader that is given it": (
        lambda folder: as_library("def read(path): os.path.exists(path + '.gz')\nback(read)", back=_with(folder)),
        {"no.txt.gz": (EXISTS,)},
    ),
    "a library": (lambda folder: as_library("def look(): os.stat(path)\nlook()", path=str(folder / "file.txt")), {}),
}


def _with(folder: Path) -> Callable[[Callable[[str], object]], object]:
    return lambda read: read(str(folder / "no.txt"))


@pytest.mark.parametrize("way", ASKS)
def test_question_counts_by_what_it_wants_to_know(way: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What isn't there, what is, how large and how old it is: each as far as the code has asked."""
    monkeypatch.chdir(folder)
    ask, expected = ASKS[way]
    with watch(()) as seen:
        ask(folder)
    wanted = {Input(kind, str(folder / name)) for name, kinds in expected.items() for kind in kinds}
    assert wanted == {question for question in seen.answers if question.subject.startswith(f"{folder}/")}
    assert {question: answer(question, {}) for question in wanted} == {q: seen.answers[q] for q in wanted}


def test_what_appears_changes_the_answer(folder: Path) -> None:
    """A file that was missing is there, one that was there has become a folder."""
    with watch(()) as seen:
        assert not os.path.exists(folder / "no.txt")
        assert os.path.isfile(folder / "file.txt")
    before = dict(seen.answers)
    (folder / "no.txt").write_text("")
    (folder / "file.txt").unlink()
    (folder / "file.txt").mkdir()
    assert {"no.txt": (ABSENT, "file"), "file.txt": ("file", "folder")} == {
        os.path.basename(question.subject): (told, answer(question, {})) for question, told in before.items()
    }


def test_listed_folder_tells_files_from_folders(folder: Path) -> None:
    """A file that becomes a folder of the same name is another one for who lists them."""
    with watch(()) as seen:
        assert ["file.txt"] == next(os.walk(folder))[2]
    (folder / "file.txt").unlink()
    (folder / "file.txt").mkdir()
    assert seen.files[str(folder)] != digest_of(str(folder))


def test_answers_that_follow_from_others_are_left_out(folder: Path) -> None:
    """A file that is read is there and has its size; a listed folder tells of all names in it."""
    with watch(()) as seen:
        if (folder / "file.txt").is_file() and os.path.getsize(folder / "file.txt"):
            (folder / "file.txt").read_text()
        os.listdir(folder / "below")
        os.path.exists(folder / "below/no.txt")
    assert {"file.txt", "below"} == names(seen.files, folder)
    assert {} == seen.answers


def test_many_questions_about_a_folder_become_one(folder: Path) -> None:
    """A record doesn't name each of thousands of files; what is in the folder then counts."""
    with watch(()) as seen:
        for number in range(MANY):
            os.path.exists(folder / f"{number}.txt")
            os.path.exists(folder / "absent" / f"{number}.txt")
    assert {str(folder): digest_of(str(folder))} == seen.files
    assert {Input(EXISTS, str(folder / "absent")): ABSENT} == seen.answers


def test_cache_settles_after_its_first_run(folder: Path) -> None:
    """Code that fills a cache reads it in the next run; from then on it is what it was."""

    def load() -> None:
        if not os.path.exists(folder / "cache/x.npy"):
            os.makedirs(folder / "cache", exist_ok=True)
            np.save(folder / "cache/x.npy", np.ones(3))
        np.load(folder / "cache/x.npy")

    found = []
    for _ in range(3):
        with watch(()) as seen:
            load()
        found.append((dict(seen.files), dict(seen.answers)))
    assert ({}, {}) == found[0]
    assert found[1] == found[2]
    assert {"cache/x.npy"} == names(found[1][0], folder)


def test_touched_file_is_the_same_unless_its_time_was_asked_for(folder: Path) -> None:
    """A library's own `os.stat` wants to know whether a file is there."""
    with watch(()) as seen:
        as_library("def read(path): os.stat(path)\nback(read)", back=lambda read: read(str(folder / "file.txt")))
        shutil.copy(folder / "below/deep.txt", tempfile.gettempdir())
    os.unlink(os.path.join(tempfile.gettempdir(), "deep.txt"))
    assert {EXISTS} == {question.kind for question in seen.answers}


def test_functions_are_given_back(folder: Path) -> None:
    """After the last watch ends, `os` is as before; a function that was kept meanwhile still works."""
    before = {name: getattr(os, name) for name in ("stat", "lstat", "fstat", "access", "scandir", "open")}
    with watch(()), watch(()):
        during = {name: getattr(os, name) for name in before}
        assert pickle.loads(pickle.dumps(os.stat)) is os.stat
        assert os.stat in os.supports_dir_fd
        assert os.stat in os.supports_follow_symlinks
    assert before == {name: getattr(os, name) for name in before}
    assert all(during[name] is not before[name] for name in before)
    assert during["stat"](folder) == os.stat(folder)
    with os.scandir(folder) as entries, during["scandir"](folder) as others:
        assert sorted(entry.name for entry in entries) == sorted(entry.name for entry in others)


def test_errors_are_those_of_the_system(folder: Path) -> None:
    """What a wrapped function raises, and for what arguments, is as ever."""
    calls: list[Callable[[], object]] = [
        lambda: os.stat(folder / "no"),
        lambda: os.stat("a\0b"),
        lambda: os.stat(1.5),  # type: ignore[arg-type]  # an error to be seen
        lambda: os.lstat(folder / "no"),
        lambda: os.fstat(99999),
        lambda: os.access(folder, "r"),  # type: ignore[arg-type]  # an error to be seen
        lambda: os.scandir(folder / "file.txt"),
        lambda: os.open(folder / "no", os.O_RDONLY, dir_fd=0),
    ]

    def raised(call: Callable[[], object]) -> type[BaseException] | None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whichever it is
            return type(error)
        return None

    expected = [raised(call) for call in calls]
    with watch(()):
        assert expected == [raised(call) for call in calls]
    assert None not in expected


def test_functions_of_windows_are_watched(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There Python asks the system by functions that never come to `os.stat`."""
    test = questions._tester(lambda path: False)
    with watch(()) as seen:
        test(str(folder / "no.txt"))
    assert {Input(EXISTS, str(folder / "no.txt")): ABSENT} == seen.answers


def test_threads_ask_too(folder: Path) -> None:
    """Many threads at once ask and read; each answer is there."""
    paths = [folder / f"no_{number}" for number in range(50)]
    with watch(()) as seen:
        threads = [threading.Thread(target=os.path.exists, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {str(path) for path in paths} == {question.subject for question in seen.answers}
