"""What user code reads is noticed with its digest; what it writes, and what belongs to Python, is not."""

from __future__ import annotations

import glob
import io
import json
import os
import shutil
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from mltkbuild.disk.answers import ABSENT
from mltkbuild.disk.digests import digest_of, settled, stamp_of
from mltkbuild.disk.inputs import EXISTS, Input
from mltkbuild.disk.open_folder import OWN_READING
from mltkbuild.user_code.folders import is_library, never_inputs
from mltkbuild.user_code.opened import CHANGED
from mltkbuild.user_code.watch import read_whole, watch


def somebody(does: Callable[[], object]) -> None:
    """Let somebody else do something with files."""

    def unseen() -> None:
        OWN_READING.now = True
        does()

    other = threading.Thread(target=unseen)
    other.start()
    other.join()


def settle(folder: Path) -> None:
    """Wait until a file that is changed again has another stamp."""
    stamps = [stamp_of(str(path)) for path in folder.rglob("*")]
    while not all(stamp is None or settled(stamp) for stamp in stamps):
        time.sleep(0.005)


def as_library(text: str, **names: object) -> None:
    """Run code that is a library's."""
    filename = os.path.join(os.path.dirname(os.path.dirname(np.__file__)), "library_of_tests.py")
    exec(compile(text, filename, "exec"), {"os": os, "Path": Path, **names})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a text, an array, a zip file and a folder below."""
    (tmp_path / "text.txt").write_text("text")
    np.save(tmp_path / "array.npy", np.arange(3))
    with zipfile.ZipFile(tmp_path / "pack.zip", "w") as archive:
        archive.writestr("a", "a")
    (tmp_path / "below").mkdir()
    (tmp_path / "below/deep.txt").write_text("deep")
    return tmp_path


def names(files: Mapping[str, str], folder: Path) -> set[str]:
    """What was noticed below a folder, relative to it."""
    return {os.path.relpath(path, folder) for path in files if path.startswith(str(folder))}


READS: dict[str, tuple[Callable[[Path], object], set[str]]] = {
    "open": (lambda folder: open(folder / "text.txt").close(), {"text.txt"}),
    "open by bytes": (lambda folder: open(os.fsencode(folder / "text.txt")).close(), {"text.txt"}),
    "os.open": (lambda folder: os.close(os.open(folder / "text.txt", os.O_RDONLY)), {"text.txt"}),
    "io": (lambda folder: io.FileIO(str(folder / "text.txt")).close(), {"text.txt"}),
    "pathlib": (lambda folder: (folder / "below/../text.txt").read_bytes(), {"text.txt"}),
    "np.load": (lambda folder: np.load(folder / "array.npy"), {"array.npy"}),
    "np.load mapped": (lambda folder: np.load(folder / "array.npy", mmap_mode="r"), {"array.npy"}),
    "np.fromfile": (lambda folder: np.fromfile(folder / "array.npy", np.uint8), {"array.npy"}),
    "zip file": (lambda folder: zipfile.ZipFile(folder / "pack.zip").close(), {"pack.zip"}),
    "os.listdir": (os.listdir, {"."}),
    "os.scandir": (lambda folder: os.scandir(folder).close(), {"."}),
    "os.walk": (lambda folder: list(os.walk(folder)), {".", "below"}),
    "glob": (lambda folder: glob.glob(f"{folder}/*/*.txt"), {".", "below"}),
    "pathlib's glob": (lambda folder: list(folder.glob("**/*.txt")), {".", "below"}),
    "relative": (lambda folder: open("text.txt").close(), {"text.txt"}),
    "copy": (lambda folder: shutil.copy(folder / "text.txt", folder / "copy.txt"), {"text.txt"}),
    "missing": (lambda folder: os.path.exists(folder / "missing.txt"), set()),
}


@pytest.mark.parametrize("way", READS)
def test_reading_is_noticed_with_the_digest(way: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever way Python code opens a file or lists a folder, it is noticed."""
    monkeypatch.chdir(folder)
    read, expected = READS[way]
    with watch(()) as seen:
        read(folder)
    assert expected == names(seen.files, folder)
    assert {path: digest_of(path) for path in seen.files} == seen.files


def test_digest_is_that_of_the_moment_of_opening(folder: Path) -> None:
    """A file that is replaced after it was opened counts as it was."""
    before = digest_of(str(folder / "text.txt"))
    with watch(()) as seen:
        with open(folder / "text.txt") as file:
            somebody(lambda: (folder / "text.txt").write_text("other"))
            file.read()
        assert before == seen.files[str(folder / "text.txt")]


def test_file_that_somebody_changes_before_its_digest_is_taken_counts_as_changed(folder: Path) -> None:
    """Digests of files that have lain there are taken later: what isn't as it was by then has the digest of no file."""
    settle(folder)
    with watch(()) as seen:
        (folder / "text.txt").read_text()
        somebody(lambda: (folder / "text.txt").write_text("other"))
    assert {str(folder / "text.txt"): CHANGED} == seen.files
    assert [str(folder / "text.txt")] == list(seen.opened.changed)


def test_whole_file_counts_as_it_was_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its digest is that of the bytes that were read, whatever somebody makes of it then."""
    monkeypatch.chdir(folder)
    before = digest_of("text.txt")
    with watch(()) as seen:
        assert b"text" in read_whole("text.txt")
        somebody(lambda: (folder / "text.txt").write_text("other"))
        assert read_whole("text.txt") == b"other"
        with pytest.raises(FileNotFoundError):
            read_whole("missing.txt")
        (folder / "made.txt").write_text("made")
        read_whole("made.txt")
    assert {str(folder / "text.txt"): before} == seen.files
    assert {Input(EXISTS, str(folder / "missing.txt")): ABSENT} == seen.answers
    assert read_whole("made.txt") == b"made"


def _atomic(folder: Path) -> None:
    with open(folder / "made.tmp", "w") as file:
        file.write("made")
    os.replace(folder / "made.tmp", folder / "made.txt")
    (folder / "made.txt").read_text()


def _vanishing(folder: Path) -> None:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        Path(scratch, "a").write_text("a")
        os.listdir(scratch)
        Path(scratch, "a").read_text()


def _read_then_gone(folder: Path) -> None:
    (folder / "text.txt").read_text()
    (folder / "text.txt").unlink()


def _updated(folder: Path) -> None:
    values = json.dumps((folder / "text.txt").read_text())
    (folder / "text.txt").write_text(values)


def _appended(folder: Path) -> None:
    with open(folder / "text.txt", "a") as file:
        file.write("more")
    (folder / "text.txt").read_text()


def _saved(folder: Path) -> None:
    np.save(folder / "n.npy", np.ones(1))
    np.load(folder / "n.npy")


def _in_own_folder(folder: Path) -> None:
    (folder / "cache/deep").mkdir(parents=True)
    os.system(f"echo 1 > {folder}/cache/deep/child.txt")
    (folder / "cache/deep/child.txt").read_text()
    os.listdir(folder / "cache/deep")


def _removed(folder: Path) -> None:
    (folder / "below/deep.txt").read_text()
    shutil.rmtree(folder / "below")


def _asked_before(folder: Path) -> None:
    for name in ("new.npy", "folder"):
        assert not os.path.exists(folder / name)
    np.save(folder / "new.npy", np.ones(1))
    (folder / "folder").mkdir()
    assert os.path.getsize(folder / "new.npy")


WRITES: dict[str, Callable[[Path], object]] = {
    "written, then read": lambda folder: [(folder / "new").write_text("a"), (folder / "new").read_text()],
    "appended": _appended,
    "opened to append": lambda folder: open(folder / "text.txt", "a").close(),
    "os.open for writing": lambda folder: os.close(os.open(folder / "text.txt", os.O_WRONLY)),
    "in a folder of its own": _in_own_folder,
    "moved": lambda folder: [(folder / "text.txt").read_text(), (folder / "text.txt").rename(folder / "moved.txt")],
    "a folder removed": _removed,
    "asked for before": _asked_before,
    "published by rename": _atomic,
    "temporary": _vanishing,
    "deleted": _read_then_gone,
    "read, then updated": _updated,
    "saved array": _saved,
}


@pytest.mark.parametrize("way", WRITES)
def test_what_is_written_or_gone_is_no_input(way: str, folder: Path) -> None:
    """A file that the code itself makes, changes or removes could never be the same at the next look."""
    with watch(()) as seen:
        WRITES[way](folder)
    assert set() == names(seen.files, folder)
    assert {} == seen.answers


def test_folder_that_is_listed_and_then_filled_counts_as_filled(folder: Path) -> None:
    """A loader that unpacks beside its data doesn't make its own next run dirty."""
    with watch(()) as seen:
        os.listdir(folder)
        (folder / "unpacked").write_text("a")
        os.listdir(folder)
    assert {str(folder): digest_of(str(folder))} == seen.files


def test_python_libraries_system_and_ignored_folders_are_no_inputs(folder: Path) -> None:
    """Libraries count by version; devices, the system's files and the build folder count not at all."""
    places = [np.__file__, os.__file__, "/etc/passwd", watch.__globals__["__file__"]]
    with watch((str(folder / "below"),)) as seen:
        as_library("def read(): return [Path(place).read_text() for place in places]\nread()", places=places)
        Path("/proc/self/stat").read_text()
        Path("/dev/null").read_text()
        (folder / "below/deep.txt").read_text()
        os.path.exists("/proc/self/exe")
        os.path.exists(folder / "below/deep.txt")
    assert ({}, {}) == (seen.files, seen.answers)


def test_what_the_workspace_asks_for_counts_wherever_it_lies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A person's data may lie where programs have their files; what else these read there is theirs."""
    monkeypatch.setenv("HOME", str(folder))
    never_inputs.cache_clear()
    wanted = [folder / name for name in (".cache/mine/a.txt", ".local/b.npy", "cards.egg-info/c.txt", "d.dist-info")]
    for path in wanted:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1")
    np.save(wanted[1], np.ones(1))
    (folder / ".cache/fonts.json").write_text("{}")
    with watch(()) as seen:
        wanted[0].read_text()
        np.load(wanted[1])
        glob.glob(str(folder / "cards.egg-info/*.txt"))
        with ThreadPoolExecutor(1) as pool:
            list(pool.map(Path.read_text, [wanted[2], wanted[3]]))
        os.path.exists(folder / ".cache/missing")
        as_library(
            "def own(): open(fonts).close(), os.path.exists(fonts + '.old'), os.listdir(cache)\nown()",
            fonts=str(folder / ".cache/fonts.json"),
            cache=str(folder / ".cache"),
        )
    never_inputs.cache_clear()
    expected = {os.path.relpath(path, folder) for path in wanted} | {"cards.egg-info"}
    assert expected == names(seen.files, folder)
    assert {Input(EXISTS, str(folder / ".cache/missing")): ABSENT} == seen.answers


def test_workspace_counts_wherever_it_lies(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A workspace in a folder of Python's is still the user's; an environment inside the workspace is not."""
    workspace = folder / "below"
    library = workspace / ".venv/lib/thing.py"
    library.parent.mkdir(parents=True)
    library.write_text("")
    monkeypatch.setattr(sys, "prefix", str(folder))
    monkeypatch.setattr(sys, "exec_prefix", str(workspace / ".venv"))
    with watch((), str(workspace)) as seen:
        (workspace / "deep.txt").read_text()
        as_library("def read(): return path.read_text()\nread()", path=library)
    assert {"deep.txt"} == names(seen.files, workspace)
    assert is_library(str(library), str(workspace))
    assert not is_library(str(workspace / "deep.py"), str(workspace))


def test_import_from_elsewhere_is_noticed_by_its_source(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module counts by its source though Python reads the compiled one; the search for it is no reading."""
    (folder / "elsewhere_module.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(str(folder))
    for _ in range(2):
        with watch(()) as seen:
            __import__("elsewhere_module")
        del sys.modules["elsewhere_module"]
        assert {"elsewhere_module.py"} == names(seen.files, folder)


def test_watching_nests_and_ends(folder: Path) -> None:
    """An inner watch takes what happens inside it; outside of all, nothing is collected."""
    with watch(()) as outer:
        with watch(()) as inner:
            (folder / "text.txt").read_text()
        (folder / "array.npy").read_bytes()
    (folder / "pack.zip").read_bytes()
    assert ({"text.txt"}, {"array.npy"}) == (names(inner.files, folder), names(outer.files, folder))


def test_other_threads_are_watched_too(folder: Path) -> None:
    """A loader may read in threads of its own."""
    with watch(()) as seen:
        threads = [threading.Thread(target=(folder / name).read_bytes) for name in ("text.txt", "array.npy")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert {"text.txt", "array.npy"} == names(seen.files, folder)
