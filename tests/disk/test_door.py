"""The one door to what is ours on the disk: what it does, and that no link, pipe or race leads it elsewhere."""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mltkbuild.disk import open_folder
from mltkbuild.disk.door import Door
from mltkbuild.disk.open_folder import DEEPEST, WRITES, read_file
from mltkbuild.errors import ForeignError

pytestmark = pytest.mark.timeout(60)

BYTES = b"not mltkbuild's"
SECONDS = 0.4
"""So long does a folder become a link and a folder again while the door is used."""


@pytest.fixture(params=["by folder", "by path"])
def door(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Door:
    """A door, as on a system that takes names together with an open folder, and as on one that doesn't."""
    if request.param == "by path":
        monkeypatch.setattr(open_folder, "BY_FOLDER", False)
    (tmp_path / "ours").mkdir()
    return Door(str(tmp_path / "ours"))


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A folder that nobody may touch."""
    (tmp_path / "outside/inner").mkdir(parents=True)
    for name in ("a", "inner/a"):
        (tmp_path / "outside" / name).write_bytes(BYTES)
    return tmp_path / "outside"


def untouched(outside: Path) -> bool:
    """Whether the folder is as it was."""
    found = {path.relative_to(outside).as_posix() for path in outside.rglob("*")}
    return found == {"a", "inner", "inner/a"} and {BYTES} == {
        (outside / name).read_bytes() for name in ("a", "inner/a")
    }


def uses(door: Door, top: str) -> dict[str, Callable[[], object]]:
    """Everything that a door does with something in a folder."""
    path, other = f"{top}/a", f"{door.root}/other"

    def created() -> None:
        with door.create(path) as file:
            file.write(b"new")

    def appended() -> None:
        with door.append(path) as file:
            file.write(b"more")

    def moved_in() -> None:
        door.write(other, b"other")
        door.move(other, door, path)

    def locked() -> None:
        with door.locked(f"{top}/a"):
            pass

    return {
        "write": lambda: door.write(path, b"new"),
        "create": created,
        "append": appended,
        "move in": moved_in,
        "move out": lambda: door.rename(path, other),
        "make": lambda: door.make(f"{top}/deep/er"),
        "make new": lambda: door.make_new(f"{top}/inner"),
        "remove": lambda: door.remove(path),
        "remove tree": lambda: door.remove_tree(f"{top}/inner"),
        "remove folder": lambda: door.remove_if_empty(f"{top}/inner"),
        "lock": locked,
        "flush": lambda: door.flush(path),
        "flush folder": lambda: door.flush_folder(top),
        "names": lambda: door.names(top),
        "status": lambda: door.status(path),
        "require": lambda: door.require([top], [path]),
    }


USES = sorted(uses(Door("/"), "/top"))


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("depth", ["", "/middle/deep"])
def test_linked_folder_is_refused(use: str, depth: str, door: Door, outside: Path) -> None:
    """Whatever is asked of it, a link on the way is an error that names the link, and nothing behind it changes."""
    top = f"{door.root}/top"
    os.symlink(outside.parent if depth else outside, top, target_is_directory=True)
    (outside.parent / "middle").symlink_to(outside.parent, target_is_directory=True)
    (outside.parent / "deep").symlink_to(outside, target_is_directory=True)
    with pytest.raises(ForeignError) as caught:
        uses(door, top + depth)[use]()
    assert top == caught.value.where
    assert "a link to " in str(caught.value.found)
    assert caught.value.fix
    assert untouched(outside)


@pytest.mark.parametrize("kind", ["link", "dangling link", "hard link", "pipe", "device"])
@pytest.mark.parametrize("use", ["write", "create", "append", "move in", "remove", "lock", "flush"])
def test_what_lies_at_a_name_is_replaced(kind: str, use: str, door: Door, outside: Path) -> None:
    """It is not written into, and nobody waits for it."""
    top = Path(door.root, "top")
    top.mkdir()
    plant: dict[str, Callable[[], object]] = {
        "link": lambda: (top / "a").symlink_to(outside / "a"),
        "dangling link": lambda: (top / "a").symlink_to(outside / "new"),
        "hard link": lambda: (top / "a").hardlink_to(outside / "a"),
        "pipe": lambda: os.mkfifo(top / "a"),
        "device": lambda: (top / "a").symlink_to("/dev/full"),
    }
    plant[kind]()
    if use == "flush" and kind != "hard link":
        with pytest.raises(ForeignError):
            uses(door, str(top))[use]()
    else:
        uses(door, str(top))[use]()
        assert use in ("remove", "flush") or (top / "a").stat().st_nlink == 1
        assert use == "flush" or not (top / "a").is_symlink()
    assert untouched(outside)


@pytest.mark.parametrize("use", ["write", "create", "move in", "lock", "remove", "require"])
def test_folder_where_a_file_goes_is_refused(use: str, door: Door) -> None:
    """A folder is somebody's work: it stays, and the error names it."""
    top = Path(door.root, "top")
    (top / "a/mine").mkdir(parents=True)
    with pytest.raises(ForeignError) as caught:
        uses(door, str(top))[use]()
    assert (str(top / "a"), "a folder") == (caught.value.where, caught.value.found)
    assert ["a"] == os.listdir(top)
    assert (top / "a/mine").is_dir()


@pytest.mark.parametrize(
    "name", ["", "..", "../outside/a", "top/../../outside/a", "top//a", "top/./a", "top/a\0b", "/x"]
)
def test_path_that_leads_out_is_refused(name: str, door: Door, outside: Path) -> None:
    """A path is taken word for word, and must lie below the root."""
    with pytest.raises(ForeignError, match="leads out"):
        door.write(f"{door.root}/{name}", b"")
    with pytest.raises(ForeignError, match="leads out"):
        door.remove_tree(f"{door.root}/{name}")
    with pytest.raises(ForeignError, match="leads out"):
        door.remove(str(outside / "a"))
    assert untouched(outside)


def test_root_may_be_a_link(door: Door, tmp_path: Path) -> None:
    """Who has made it knows where it leads."""
    (tmp_path / "linked").symlink_to(door.root, target_is_directory=True)
    linked = Door(str(tmp_path / "linked"))
    linked.write(f"{linked.root}/a/b", b"data")
    assert b"data" == read_file(f"{door.root}/a/b")
    linked.remove_tree(f"{linked.root}/a")
    assert [] == os.listdir(door.root)


def test_files_are_written_moved_and_deleted(door: Door) -> None:
    """What is ours is done as asked, folders are made on the way, and no temporary file stays."""
    root = door.root
    door.write(f"{root}/a/b/c", b"1")
    door.write(f"{root}/a/b/c", b"2")
    door.rename(f"{root}/a/b/c", f"{root}/d/c")
    with door.append(f"{root}/d/c") as file:
        file.write(b"3")
    assert (b"23", 2) == (read_file(f"{root}/d/c"), door.size(f"{root}/d/c"))
    door.make(f"{root}/a/b")
    door.make(f"{root}/a/b")
    assert (["b"], [], True, False) == (
        door.names(f"{root}/a"),
        door.names(f"{root}/none"),
        door.remove_if_empty(f"{root}/a/b"),
        door.remove_if_empty(f"{root}/d"),
    )
    assert (True, False) == (door.remove(f"{root}/d/c"), door.remove(f"{root}/d/c"))
    door.make_new(f"{root}/d")
    door.remove_tree(f"{root}/none/at/all")
    assert ["a", "d"] == sorted(os.listdir(root))


def test_tree_is_removed_but_for_what_is_kept(door: Door, outside: Path) -> None:
    """Links in it go, what they lead to stays, and so do the kept files with the folders above them."""
    root = door.root
    for name in ("t/a", "t/b/c", "t/b/kept", "t/d/e/f"):
        door.write(f"{root}/{name}", b"")
    os.symlink(outside, f"{root}/t/b/link", target_is_directory=True)
    os.mkfifo(f"{root}/t/pipe")
    door.remove_tree(f"{root}/t", {f"{root}/t/b/kept"})
    assert ["kept"] == os.listdir(f"{root}/t/b")
    assert ["b"] == os.listdir(f"{root}/t")
    door.remove_tree(f"{root}/t")
    assert [] == os.listdir(root)
    assert untouched(outside)


def test_folders_in_each_other_without_end_are_an_error(door: Door) -> None:
    """They are no reason to run out of memory or of open files."""
    path = door.root
    for _ in range(DEEPEST + 3):
        path += "/d"
        os.mkdir(path)
    with pytest.raises(OSError, match="too many folders") as caught:
        door.remove_tree(f"{door.root}/d")
    assert errno.ELOOP == caught.value.errno


@pytest.mark.parametrize("kind", ["link", "pipe", "folder", "nothing"])
def test_only_files_are_read(kind: str, door: Door, outside: Path) -> None:
    """Anything else is an OSError with its path, at once."""
    path = Path(door.root, "a")
    plant: dict[str, Callable[[], object]] = {
        "link": lambda: path.symlink_to(outside / "a"),
        "pipe": lambda: os.mkfifo(path),
        "folder": path.mkdir,
        "nothing": lambda: None,
    }
    plant[kind]()
    with pytest.raises(OSError, match="not a file" if kind != "nothing" else "No such file") as caught:
        read_file(str(path))
    assert str(path) == caught.value.filename


def test_large_file_is_read_as_a_whole(door: Door) -> None:
    """Whatever the system gives at once."""
    data = os.urandom(3 << 20)
    door.write(f"{door.root}/a", data)
    assert data == read_file(f"{door.root}/a")


def test_lock_is_held_by_one(door: Door) -> None:
    """The second waits, says so once, and has it when the first is done; also when the file was deleted meanwhile."""
    path, told, order = f"{door.root}/top/.lock", list[str](), list[str]()

    def second() -> None:
        with door.locked(path, lambda: told.append("waits")):
            order.append("second")

    with door.locked(path):
        thread = threading.Thread(target=second)
        thread.start()
        while not told:
            time.sleep(0.01)
        os.unlink(path)
        door.write(path, b"")
        order.append("first")
    thread.join()
    assert (["waits"], 1) == (told, order.count("second"))
    assert os.path.exists(path)


def test_temporary_folders_of_the_dead_go(door: Door, outside: Path) -> None:
    """A temporary folder is gone in the end; one in use stays, and a link of such a name isn't followed."""
    prefix = ".temporary-"
    os.mkdir(f"{door.root}/{prefix}dead")
    os.symlink(outside, f"{door.root}/{prefix}link", target_is_directory=True)
    with door.temporary(prefix) as first:
        with door.temporary(prefix) as second:
            assert {first, second, f"{door.root}/{prefix}link"} >= {
                f"{door.root}/{name}" for name in os.listdir(door.root) if name != f"{prefix}dead"
            }
            assert os.path.isdir(first)
        assert [os.path.isdir(first), os.path.isdir(second)] == [True, False]
    assert [f"{prefix}link"] == [name for name in os.listdir(door.root) if name != f"{prefix}dead"]
    assert (not open_folder.BY_FOLDER) == os.path.exists(f"{door.root}/{prefix}dead")
    assert untouched(outside)


def test_full_disk_leaves_no_temporary_file(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    """The old file stands, and the error names the file."""
    path = f"{door.root}/a"
    door.write(path, b"old")

    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        door.write(path, b"new")
    assert (b"old", ["a"]) == (read_file(path), os.listdir(door.root))


def test_watchers_are_told_of_paths(door: Door) -> None:
    """An audit hook hears each file that is about to be written, by its path."""
    told: list[str] = []
    active = [True]
    sys.addaudithook(lambda event, args: told.append(str(args[0])) if active[0] and event == WRITES else None)
    door.write(f"{door.root}/a", b"")
    door.rename(f"{door.root}/a", f"{door.root}/b")
    active[0] = False
    assert [f"{door.root}/a", f"{door.root}/b"] == told


# -- races -----------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def swapping(folder: Path, outside: Path) -> Iterator[list[int]]:
    """Let a folder be a link and a folder again, as fast as it goes, while the block runs."""
    stop, count, link, numbers = threading.Event(), [0], folder.with_name("link"), itertools.count()

    def swap() -> None:
        while not stop.is_set():
            aside = folder.with_name(f"aside{next(numbers)}")
            with contextlib.suppress(OSError):
                link.symlink_to(outside, target_is_directory=True)
            with contextlib.suppress(OSError):
                os.rename(folder, aside)
                os.rename(link, folder)
                count[0] += 1
            with contextlib.suppress(OSError):
                os.unlink(folder)
            with contextlib.suppress(OSError):
                os.rename(aside, folder)
            with contextlib.suppress(OSError):
                (folder / "inner").mkdir(parents=True)

    thread = threading.Thread(target=swap)
    thread.start()
    try:
        yield count
    finally:
        stop.set()
        thread.join()


@pytest.mark.skipif(not open_folder.BY_FOLDER, reason="this system doesn't take names together with an open folder")
@pytest.mark.parametrize("use", USES)
def test_folder_that_becomes_a_link_leads_nowhere(use: str, tmp_path: Path, outside: Path) -> None:
    """However a folder and a link take turns, what the link leads to is never touched."""
    door = Door(str(tmp_path / "ours"))
    top = Path(door.root, "top")
    (top / "inner").mkdir(parents=True)
    call = uses(door, str(top))[use]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    try:
        with swapping(top, outside) as count:
            end = time.monotonic() + SECONDS
            while time.monotonic() < end or not count[0]:
                with contextlib.suppress(OSError, ForeignError):
                    call()
    finally:
        sys.setswitchinterval(interval)
    assert count[0]
    assert untouched(outside)


def test_what_the_system_takes_is_known_when_the_module_is_loaded() -> None:
    """On Linux and macOS every name goes together with an open folder."""
    assert open_folder.BY_FOLDER or sys.platform == "win32"
