"""A process that user code starts can't be watched: its program and the files among its arguments count."""

from __future__ import annotations

import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from mltkbuild.user_code.watch import watch

from .test_watch import as_library, names


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with two texts, a program and a folder below."""
    (tmp_path / "a.txt").write_text("1\n")
    (tmp_path / "b c.txt").write_text("2\n")
    (tmp_path / "tool.py").write_text("#!/bin/sh\necho 3\n")
    (tmp_path / "tool.py").chmod(0o755)
    (tmp_path / "below").mkdir()
    (tmp_path / "below/deep.txt").write_text("deep\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _fork() -> None:
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def _pool(method: str) -> None:
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(method)) as pool:
        assert list(pool.map(len, ["a"])) == [1]


def _process() -> None:
    process = multiprocessing.get_context("fork").Process(target=os.path.exists, args=("a.txt",))
    process.start()
    process.join()


def _spawn() -> None:
    os.waitpid(os.posix_spawn("/bin/cat", ["cat", "a.txt"], os.environ), 0)


STARTS: dict[str, tuple[Callable[[], object], str, set[str]]] = {
    "subprocess.run": (lambda: subprocess.run(["cat", "a.txt"], check=True), "the program cat", {"a.txt"}),
    "in another folder": (
        lambda: subprocess.run(["cat", "deep.txt"], cwd="below", check=True),
        "the program cat",
        {"below/deep.txt"},
    ),
    "check_output": (lambda: subprocess.check_output("cat < a.txt", shell=True), "the program cat", {"a.txt"}),
    "a quoted name": (lambda: subprocess.check_output("cat 'b c.txt'|wc", shell=True), "the program cat", {"b c.txt"}),
    "a pattern": (
        lambda: subprocess.check_output("cat below/*.txt", shell=True),
        "the program cat",
        {"below", "below/deep.txt"},
    ),
    "an option": (lambda: subprocess.run(["echo", "--in=a.txt"], check=True), "the program echo", {"a.txt"}),
    "a script": (lambda: subprocess.run([sys.executable, "-c", ""], check=True), "the program python", set()),
    "its own program": (lambda: subprocess.run(["./tool.py"], check=True), "the program tool.py", {"tool.py"}),
    "a folder": (lambda: subprocess.run(["ls", "below"], check=True), "the program ls", {"below"}),
    "os.system": (lambda: os.system("cat a.txt"), "the program cat", {"a.txt"}),
    "os.popen": (lambda: os.popen("cat a.txt").close(), "the program cat", {"a.txt"}),
    "os.spawn": (lambda: os.spawnlp(os.P_WAIT, "cat", "cat", "a.txt"), "the program cat", {"a.txt"}),
    "os.posix_spawn": (_spawn, "the program cat", {"a.txt"}),
    "os.fork": (_fork, "a forked process", set()),
    "a process": (_process, "a process of multiprocessing", {"a.txt"}),
    "a pool": (lambda: _pool("fork"), "a process of multiprocessing", set()),
    "a pool that is spawned": (lambda: _pool("spawn"), "a process of multiprocessing", set()),
}


@pytest.mark.parametrize("way", STARTS)
def test_files_among_the_arguments_count_and_the_rest_is_said(way: str, folder: Path) -> None:
    """However a process is started: what it is given is an input, and one line says what nobody sees."""
    start, what, expected = STARTS[way]
    with watch(()) as seen:
        start()
        start()
    assert expected == names(seen.files, folder)
    assert any(told.startswith(f"what {what}") for told in seen.unseen), seen.unseen
    assert len(seen.unseen) <= 2
    assert not any(path.startswith(("/bin", "/usr")) for path in seen.files)


def test_file_that_a_process_writes_is_no_input(folder: Path) -> None:
    """What it makes or changes, whether it is named or not, is as it is at the end."""
    with watch(()) as seen:
        subprocess.run("cat a.txt > out.txt; echo 5 >> 'b c.txt'; mkdir new", shell=True, check=True)
        (folder / "out.txt").read_text()
        os.listdir(folder)
    found = dict(seen.files)
    with watch(()) as again:
        os.listdir(folder)
        (folder / "out.txt").read_text()
    assert {"a.txt", "out.txt", "."} == names(found, folder)
    assert {path: digest for path, digest in found.items() if not path.endswith("a.txt")} == again.files
    assert {} == seen.both


def test_processes_that_a_library_starts_for_itself_are_no_matter(folder: Path) -> None:
    """It wants to know something about the machine; with a file of the workspace's it is the workspace's."""
    with watch(()) as seen:
        as_library("import subprocess\ndef look(): subprocess.run(['true'])\nlook()")
        platform._Processor.from_subprocess()  # type: ignore[attr-defined]  # what `platform.processor` runs
    assert {} == seen.unseen
    with watch(()) as seen:
        as_library("import subprocess\ndef play(path): subprocess.run(['true', path])\nback(play)", back=_play)
    assert ["what the program true reads"] == list(seen.unseen)
    assert {"a.txt"} == names(seen.files, folder)


def _play(play: Callable[[str], object]) -> object:
    return play("a.txt")
