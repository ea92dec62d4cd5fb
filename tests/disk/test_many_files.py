"""Many data files: digests in parallel, files that are declared, and a stage that reads 300 of them."""

from __future__ import annotations

import io
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from mltkbuild.disk import file_lists
from mltkbuild.disk.digests import RACY_NS, bytes_digest, digest_files, digest_of, stamp_of, unchanged_digests
from mltkbuild.disk.inputs import FILE, FILES, parse
from mltkbuild.disk.records import Record, encode
from mltkbuild.engine import sources
from mltkbuild.engine.builder import Builder
from mltkbuild.errors import StageError
from mltkbuild.front import session
from mltkbuild.front.progress import LiveDisplay
from mltkbuild.front.report import reason_text
from mltkbuild.front.session import Session
from mltkbuild.stages.protocol import Request
from mltkbuild.stages.table import BUILT
from mltkbuild.user_code.watch import watch

from ..conftest import Fakes, Files, Running, bring
from ..test_crash import MOST_STEPS, build_and_die, build_tree
from .faults import Steps, disk_full, killed, watching

FROM_DATA = ["data", "preflight", "train", "quantize", "params", "evaluate", "profile", "archive"]
COUNT = 300


@pytest.fixture(autouse=True)
def _new_process() -> None:
    """Forget which files the folders hold, as a new process does."""
    sources.forget_folders()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with five samples."""
    (tmp_path / "samples").mkdir()
    for number in range(5):
        (tmp_path / f"samples/{number}.wav").write_text(f"sample {number}")
    return tmp_path / "samples"


def fill(files: Files) -> Files:
    """Give the loader of a workspace many samples to read, written a while ago."""
    for number in range(COUNT):
        files.write(f"samples/training/{number:03}.txt", f"sample {number}\n")
    time.sleep(RACY_NS / 1e9 * 2)
    return files


def record_of(files: Files) -> Record:
    """The record of the data stage."""
    record = Builder(files.workspace, Running(Fakes())).state("kws").record("data")
    assert record is not None
    return record


def lists_in(files: Files) -> list[str]:
    """The names of the lists beside the records."""
    return [name for name in os.listdir(files.root / "build/kws/.records") if name.endswith(file_lists.SUFFIX)]


def reasons(files: Files) -> list[str]:
    """Why the data stage would run, in words."""
    builder = Builder(files.workspace, Running(Fakes()))
    return [reason_text(reason) for reason in builder.judge("kws", "data").reasons]


# -- from build to build ---------------------------------------------------------------------------------------------


def test_record_of_many_files_is_short(workspace: Files, fakes: Fakes) -> None:
    """The record of a stage that reads many files holds one input for them, and the list lies beside it."""
    bring(fill(workspace), fakes)
    record = record_of(workspace)
    assert [FILES] == [name for name in record.inputs if name.startswith(FILES[:4])]
    assert (1, {}) == (len(lists_in(workspace)), {name for name in record.stamps if "samples" in name} or {})
    assert len(encode(record)) < 2500


def samples(workspace: Files) -> Path:
    """The folder that the loader lists."""
    return workspace.root / "samples/training"


def touch(workspace: Files) -> None:
    """Give every file a new time."""
    for path in workspace.root.rglob("*"):
        if path.is_file():
            os.utime(path)


def many(workspace: Files) -> None:
    """Change more files than are named."""
    for number in range(100):
        samples(workspace).joinpath(f"{number:03}.txt").write_text("changed")


EDITS: dict[str, tuple[Callable[[Files], object], list[str], list[str]]] = {
    "nothing": (lambda files: None, [], []),
    "touch": (touch, [], []),
    "changed": (
        lambda files: (samples(files) / "007.txt").write_text("x"),
        FROM_DATA,
        ["samples/training/007.txt changed"],
    ),
    "added": (lambda files: (samples(files) / "new.txt").write_text("x"), FROM_DATA, ["samples/training changed"]),
    "removed": (
        lambda files: (samples(files) / "007.txt").unlink(),
        FROM_DATA,
        ["samples/training changed", "samples/training/007.txt is gone"],
    ),
    "renamed": (
        lambda files: (samples(files) / "007.txt").rename(samples(files) / "a.txt"),
        FROM_DATA,
        ["samples/training changed", "samples/training/007.txt is gone"],
    ),
    "many changed": (
        many,
        FROM_DATA,
        [*(f"samples/training/{number:03}.txt changed" for number in range(20)), "80 more files changed"],
    ),
}


@pytest.mark.parametrize("edit", EDITS)
def test_edit_of_the_data_reaches_what_it_reaches(edit: str, workspace: Files, fakes: Fakes) -> None:
    """Each edit of 300 samples: the reasons that people are told, and the stages that run, once."""
    change, stages, told = EDITS[edit]
    assert list(BUILT) == bring(fill(workspace), fakes)
    change(workspace)
    assert told == reasons(workspace)
    assert stages == bring(workspace, fakes)
    assert [] == bring(workspace, fakes)
    assert 1 == len(lists_in(workspace))


def test_front_names_the_first_changed_file_and_the_count(
    workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`doit info` and the line that is printed as a stage runs say a file's name and how many reasons there are."""
    monkeypatch.setattr(Session, "guard", lambda self: None)
    bring(fill(workspace), fakes)
    for number in (7, 8, 9):
        (samples(workspace) / f"{number:03}.txt").unlink()
    owner = Session(workspace.workspace)
    why = owner.why(owner.judge("kws", "data", {}), limit=2)
    assert "samples/training changed; samples/training/007.txt is gone (and 2 more)" == why


@pytest.mark.parametrize("harm", ["deleted", "damaged"])
def test_lost_list_makes_just_its_stage_run(harm: str, workspace: Files, fakes: Fakes) -> None:
    """A record without its list is none: the stage runs again and gives what it gave."""
    bring(fill(workspace), fakes)
    (name,) = lists_in(workspace)
    path = workspace.root / "build/kws/.records" / name
    path.unlink() if harm == "deleted" else path.write_bytes(path.read_bytes()[:-1])
    (told,) = reasons(workspace)
    assert "its record can't be read" in told
    assert ["data"] == bring(workspace, fakes)
    assert [] == bring(workspace, fakes)


def test_record_that_names_each_file_is_still_read(
    workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record of before there were lists stands until its stage runs again, which then makes one."""
    with monkeypatch.context() as yesterday:
        yesterday.setattr(file_lists.fold, "__defaults__", ((), 10**9))
        bring(fill(workspace), fakes)
    assert COUNT < sum(parse(name).kind == FILE for name in record_of(workspace).inputs)
    assert [] == bring(workspace, fakes)
    (samples(workspace) / "007.txt").write_text("x")
    assert ["samples/training/007.txt changed"] == reasons(workspace)
    assert FROM_DATA == bring(workspace, fakes)
    assert (1, True) == (len(lists_in(workspace)), FILES in record_of(workspace).inputs)


def test_fewer_files_need_no_list_any_more(workspace: Files, fakes: Fakes) -> None:
    """When a stage reads few files again, its list goes with the record that named it."""
    bring(fill(workspace), fakes)
    for number in range(10, COUNT):
        (samples(workspace) / f"{number:03}.txt").unlink()
    assert FROM_DATA == bring(workspace, fakes)
    assert ([], []) == (lists_in(workspace), bring(workspace, fakes))


def test_file_changed_while_the_stage_runs_is_noticed_by_the_next_build(workspace: Files, fakes: Fakes) -> None:
    """A file that changes after it was read, in a list, is read anew by the next build."""

    def change(request: Request) -> None:
        fakes.before.clear()
        (samples(workspace) / "007.txt").write_text("later")

    fakes.before["train"] = change
    assert list(BUILT) == bring(fill(workspace), fakes)
    assert FROM_DATA == bring(workspace, fakes)
    assert [] == bring(workspace, fakes)


def test_later_stages_are_told_of_a_list_and_not_of_each_file(workspace: Files, fakes: Fakes) -> None:
    """The request of a training holds the path of the list, in which its worker finds the digests."""
    requests: list[Request] = []
    fakes.before["train"] = requests.append
    bring(fill(workspace), fakes)
    (request,) = requests
    path = str(samples(workspace) / "007.txt")
    assert ({}, 1) == (request.known_files, len(request.file_lists))
    assert request.is_known(path, str(digest_of(path)))


def test_inspection_writes_no_list(workspace: Files) -> None:
    """To run a changed spec just to know what it reaches leaves nothing behind, however much it reads."""
    fill(workspace).edit("models/kws.py", "width = parts.WIDTH", 'width = len(parts.read_samples("training"))')
    builder = Builder(workspace.workspace, Running(Fakes()))
    record, _ = builder.inspect("kws")
    assert (COUNT + 4, False) == (
        sum(parse(name).kind == FILE for name in record.inputs),
        (workspace.root / "build").exists(),
    )


def test_reading_many_touched_files_is_shown(workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> None:
    """While touched files are read again a bar moves, gone when they are; a few files are not worth one."""
    bring(fill(workspace), fakes)
    out = io.StringIO()
    display = LiveDisplay(Console(file=out, force_terminal=True, width=100, color_system=None))
    monkeypatch.setattr(Session, "display", display)
    monkeypatch.setattr(Session, "guard", lambda self: None)
    for shown in (False, True):
        touch(workspace)
        time.sleep(RACY_NS / 1e9 * 2)
        if shown:
            monkeypatch.setattr(session, "WORTH_SHOWING", COUNT)
        assert () == Session(workspace.workspace).judge("kws", "data", {}).reasons
        assert shown == ("touched files" in out.getvalue())
    display.close()


# -- kills and full disks --------------------------------------------------------------------------------------------


def tree_of(files: Files) -> dict[str, object]:
    """What a build leaves, without the stamps of files and what follows from them."""
    return {name: data for name, data in build_tree(files).items() if not name.endswith((".files", "/data.json"))}


@pytest.mark.real
def test_kill_at_any_step_around_a_list_costs_nothing(tmp_path: Path, workspace: Files) -> None:
    """Killed while the list, the record or the artifacts are written, a build is finished by the next one."""
    bring(fill(workspace), Fakes())
    (samples(workspace) / "007.txt").write_text("changed")
    old = workspace.root.rename(tmp_path / "old")
    bring(Files(shutil.copytree(old, workspace.root)), Fakes())
    expected = tree_of(workspace)
    ran = set()
    for number in range(1, MOST_STEPS, 2):
        shutil.rmtree(workspace.root)
        shutil.copytree(old, workspace.root)
        assert killed(build_and_die, workspace.root, "data", number)
        ran.add(bring(workspace, Fakes())[0])
        assert expected == tree_of(workspace)
        assert ([], 1) == (bring(workspace, Fakes()), len(lists_in(workspace)))
        if "preflight" in ran:
            break
    assert {"data", "preflight"} == ran


@pytest.mark.real
def test_full_disk_while_a_list_is_written_is_one_error(workspace: Files) -> None:
    """Without space for its list a stage fails with the old record and the old list intact."""
    bring(fill(workspace), Fakes())
    before = lists_in(workspace)
    (samples(workspace) / "007.txt").write_text("changed")
    errors = 0
    for number in range(1, MOST_STEPS):
        builder = Builder(workspace.workspace, Running(Fakes()))
        try:
            with watching(Steps(number, disk_full)):
                builder.build("kws", "data")
            break
        except (StageError, OSError):
            errors += 1
        assert before[0] in lists_in(workspace)
    assert errors > 1
    assert ([], 1) == (reasons(workspace), len(lists_in(workspace)))


# -- many digests ----------------------------------------------------------------------------------------------------


def test_digests_of_many_files_are_those_of_each(tmp_path: Path) -> None:
    """Taken in parallel, in whatever order, with folders, links and twice the same; what can't be read is left out."""
    paths = [tmp_path / f"{number}.bin" for number in range(300)]
    for number, path in enumerate(paths):
        path.write_bytes(bytes(number) * (5000 if number % 100 == 99 else 1))
    (tmp_path / "link").symlink_to("7.bin")
    (tmp_path / "loop").symlink_to("loop")
    odd = [str(tmp_path), str(tmp_path / "link"), str(tmp_path / "loop"), str(tmp_path / "missing"), str(paths[0])]
    asked = [*map(str, paths), *odd]
    expected = {path: digest for path in asked if (digest := digest_of(path)) is not None}
    assert expected == digest_files(asked) == digest_files(reversed(asked))
    assert set(asked) - set(expected) == {str(tmp_path / "loop"), str(tmp_path / "missing")}
    assert {} == digest_files([])


@pytest.mark.timeout(60)
def test_digests_of_what_has_not_changed(tmp_path: Path) -> None:
    """Small and large files; what was changed, has gone, or became a pipe or a folder meanwhile is left out."""
    paths = {name: tmp_path / name for name in ("same", "large", "changed", "gone", "pipe", "folder")}
    for name, path in paths.items():
        path.write_bytes(b"x" * (3 << 20 if name == "large" else 5))
    stamps = {str(path): stamp for path in paths.values() if (stamp := stamp_of(str(path)))}
    paths["changed"].write_bytes(b"other")
    os.utime(paths["changed"], ns=(1, 1))
    for name in ("gone", "pipe", "folder"):
        paths[name].unlink()
    os.mkfifo(paths["pipe"])
    paths["folder"].mkdir()
    kept = [str(paths[name]) for name in ("same", "large")]
    assert {path: digest_of(path) for path in kept} == unchanged_digests(stamps)


def test_progress_ends_with_all_files(tmp_path: Path) -> None:
    """Progress tells how many are done, which grows, and how many there are; a missing file is done too."""
    seen: list[tuple[int, int]] = []
    paths = [str(tmp_path / str(number)) for number in range(500)]
    Path(paths[3]).write_text("here")
    assert [paths[3]] == list(digest_files(paths, lambda *told: seen.append(told)))
    assert (sorted(seen), (500, 500)) == (seen, seen[-1])


def test_stopped_from_its_progress_it_ends(tmp_path: Path) -> None:
    """An error in the callback, as Ctrl+C is, comes out at once."""

    def stop(done: int, count: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        digest_files([str(tmp_path / str(number)) for number in range(5000)], stop)


def test_file_that_grows_while_it_is_read_is_read_whole() -> None:
    """A file whose size the system doesn't know is no empty one."""
    if not os.path.exists("/proc/self/stat"):
        pytest.skip("this system has no /proc")
    assert digest_of("/proc/version") == bytes_digest(Path("/proc/version").read_bytes())


# -- digests while code is watched --------------------------------------------------------------------------


def test_digests_taken_while_watched_are_no_reading(folder: Path) -> None:
    """Neither a few nor many digests of files, taken in threads, make these files inputs."""
    paths = [str(path) for path in folder.glob("*.wav")] + [f"{folder}/{number}" for number in range(300)]
    with watch(()) as watched:
        digest_files(paths)
        digest_files(paths[:2])
    assert {} == watched.files
