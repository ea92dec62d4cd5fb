"""The only writer under `build/`: publish, recover, clean, forget."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from mltkbuild.disk import store
from mltkbuild.disk.digests import bytes_digest, stamp_of
from mltkbuild.disk.durable import UNTOUCHED
from mltkbuild.disk.folder import DONE, PENDING, RECORDS, SCRATCH, VALUES, Folder
from mltkbuild.disk.open_folder import TEMPORARY
from mltkbuild.disk.records import Record, encode
from mltkbuild.errors import RecordError, StageError

from .faults import (
    STAGE,
    Steps,
    another_file_system,
    disk_full,
    failure,
    folder_in,
    in_memory,
    needs_to_run,
    run_stage,
    tree,
    watching,
)

OLD = {"eval/a.json": "old a", "b.txt": "old b", "kws.mltk.zip": "old archive"}
NEW = {"eval/a.json": "new a", "b.txt": "new b", "kws.mltk.zip": "new archive"}


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    """The folder of a target in an empty workspace."""
    (tmp_path / "models").mkdir()
    return folder_in(tmp_path)


def text(folder: Folder, name: str) -> str:
    """The text of an artifact."""
    return Path(folder.artifact(name)).read_text(encoding="utf-8")


def kept(folder: Folder, name: str) -> str:
    """The text of an edited artifact that was set aside."""
    return Path(folder.artifact(name) + store.CHANGED_SUFFIX).read_text(encoding="utf-8")


def texts(folder: Folder, names: dict[str, str]) -> dict[str, str]:
    """The texts of some artifacts."""
    return {name: text(folder, name) for name in names}


def test_published_files_have_their_final_names_and_a_record(folder: Folder, tmp_path: Path) -> None:
    """A publication leaves its files, its record and its values, and nothing else."""
    record, changed = run_stage(folder, OLD)
    assert (OLD, ()) == (texts(folder, OLD), changed)
    assert record == store.load_record(folder, STAGE)
    assert {name: bytes_digest(content.encode()) for name, content in OLD.items()} == record.artifacts
    assert {name: stamp_of(folder.artifact(name)) for name in OLD} == record.stamps
    assert {
        "build/kws/.records/archive.json",
        "build/kws/.records/archive.values.json",
        "build/kws/b.txt",
        "build/kws/eval/a.json",
        "models/kws.mltk.zip",
    } == set(tree(tmp_path))
    assert not os.path.exists(os.path.join(folder.path, SCRATCH))


def test_stamps_are_taken_when_a_later_edit_will_show(folder: Folder) -> None:
    """When a publication returns, a tick of the clock lies between its files' times and any edit that may come."""
    record, _ = run_stage(folder, OLD)
    newest = max(stamp[1] for stamp in record.stamps.values())
    assert time.time_ns() - newest >= store.TICK_NS


def test_new_publication_replaces_the_old(folder: Folder) -> None:
    """The second publication's files and record stand in the place of the first's."""
    run_stage(folder, OLD)
    record, changed = run_stage(folder, NEW)
    assert (NEW, ()) == (texts(folder, NEW), changed)
    assert record == store.load_record(folder, STAGE)


def test_edited_artifact_is_kept_beside_the_new_one(folder: Folder) -> None:
    """A file that is neither what was built nor what is coming is set aside, and reported."""
    run_stage(folder, OLD)
    Path(folder.artifact("b.txt")).write_text("edited", encoding="utf-8")
    _, changed = run_stage(folder, NEW)
    assert (("b.txt",), "new b", "edited") == (changed, text(folder, "b.txt"), kept(folder, "b.txt"))


def test_artifact_edited_to_what_is_coming_is_not_kept(folder: Folder) -> None:
    """A file that already is what the stage makes is nobody's loss."""
    run_stage(folder, OLD)
    Path(folder.artifact("b.txt")).write_text("new b", encoding="utf-8")
    assert () == run_stage(folder, NEW)[1]
    assert not os.path.exists(folder.artifact("b.txt.changed"))


def test_artifact_that_a_new_record_lacks_is_removed(folder: Folder) -> None:
    """What a stage no longer makes goes; if somebody had edited it, it is set aside."""
    run_stage(folder, {**OLD, "extra.txt": "extra", "other.txt": "other"})
    Path(folder.artifact("other.txt")).write_text("edited", encoding="utf-8")
    assert ("other.txt",) == run_stage(folder, NEW)[1]
    assert [False, False, True] == [
        os.path.exists(folder.artifact(name)) for name in ("extra.txt", "other.txt", "other.txt.changed")
    ]


def test_archive_of_unknown_origin_is_kept(folder: Folder) -> None:
    """An archive beside the spec that no record knows, such as one trained elsewhere, is set aside, not overwritten."""
    Path(folder.artifact("kws.mltk.zip")).write_text("trained for a week", encoding="utf-8")
    assert ("kws.mltk.zip",) == run_stage(folder, NEW)[1]
    assert "trained for a week" == kept(folder, "kws.mltk.zip")


def test_file_without_a_record_below_build_is_replaced(folder: Folder) -> None:
    """What a forgotten build left under its own folder is overwritten without ado."""
    run_stage(folder, OLD)
    store.forget(folder, STAGE)
    Path(folder.artifact("kws.mltk.zip")).write_text(NEW["kws.mltk.zip"], encoding="utf-8")
    assert () == run_stage(folder, NEW)[1]
    assert NEW == texts(folder, NEW)


@pytest.mark.parametrize(("stage", "target"), [("train", "kws"), (STAGE, "other"), ("train", "other")])
def test_foreign_record_is_refused(stage: str, target: str, folder: Folder) -> None:
    """A record that was copied from another model or stage is an error that names the file to delete."""
    record, _ = run_stage(folder, OLD)
    path = Path(folder.record_path(STAGE))
    path.write_bytes(encode(replace(record, stage=stage, target=target, artifacts={})))
    with pytest.raises(RecordError) as caught:
        store.load_record(folder, STAGE)
    assert (str(path), f"{stage}:{target}", True) == (
        caught.value.where,
        caught.value.found,
        f"delete {path}" in str(caught.value.fix),
    )


def test_foreign_pending_record_publishes_nothing(folder: Folder, tmp_path: Path) -> None:
    """A build folder that was copied in the middle of a publication doesn't publish the other model's files."""
    other = Folder("other", str(tmp_path / "build/other"), folder.archive_dir)
    run_stage(folder, OLD)
    with pytest.raises(StageError), watching(Steps(_pending_step(folder), disk_full)):
        run_stage(folder, NEW)
    shutil.copytree(folder.path, other.path)
    before = tree(tmp_path / "models")
    with store.locked(other):
        assert () == store.recover(other)
    assert not store.has_pending(other, STAGE)
    assert before == tree(tmp_path / "models")


def _pending_step(folder: Folder) -> int:
    """The first step after which a publication of NEW waits to be finished."""
    for number in range(1, 200):
        trial = folder_in(Path(tempfile.mkdtemp(dir=os.path.dirname(folder.archive_dir))))
        run_stage(trial, OLD)
        try:
            with watching(Steps(number, disk_full)):
                run_stage(trial, NEW)
        except (StageError, OSError):
            if store.has_pending(trial, STAGE):
                return number
    raise AssertionError("no such step")


def test_unreadable_record_is_an_error_with_its_place(folder: Folder) -> None:
    """A folder in a record's place can't be read, and the error says where it is."""
    os.makedirs(folder.record_path(STAGE))
    with pytest.raises(RecordError) as caught:
        store.load_record(folder, STAGE)
    assert folder.record_path(STAGE) == caught.value.where


def test_missing_record_is_none(folder: Folder) -> None:
    """A stage that never ran has no record."""
    assert store.load_record(folder, STAGE) is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{"schema":1', bytes(range(256))])
def test_torn_pending_record_is_dropped(data: bytes, folder: Folder) -> None:
    """A pending record that is none publishes nothing, and the old artifacts stand."""
    run_stage(folder, OLD)
    Path(folder.record_path(STAGE, PENDING)).write_bytes(data)
    with store.locked(folder):
        assert () == store.recover(folder)
    assert (OLD, False) == (texts(folder, OLD), store.has_pending(folder, STAGE))


def test_pending_record_whose_files_are_gone_is_dropped(folder: Folder) -> None:
    """A publication can't be finished without its files: the old record stands and the stage runs again."""
    record, _ = run_stage(folder, OLD)
    pending = replace(record, artifacts={"b.txt": bytes_digest(b"gone")}, facts={"scratch": "archive-1"})
    Path(folder.record_path(STAGE, PENDING)).write_bytes(encode(pending))
    with store.locked(folder):
        assert () == store.recover(folder)
    assert (record, False) == (store.load_record(folder, STAGE), store.has_pending(folder, STAGE))


def test_recovery_publishes_only_what_the_record_says(folder: Folder) -> None:
    """A file in scratch that isn't what the pending record says never replaces a final one that is."""
    record, _ = run_stage(folder, OLD)
    scratch = Path(folder.path, SCRATCH, "archive-1")
    scratch.mkdir(parents=True)
    (scratch / "b.txt").write_text("half", encoding="utf-8")
    Path(folder.record_path(STAGE, PENDING)).write_bytes(encode(replace(record, facts={"scratch": "archive-1"})))
    with store.locked(folder):
        assert (STAGE,) == store.recover(folder)
    assert OLD == texts(folder, OLD)


def test_pending_record_can_not_name_a_folder_elsewhere(folder: Folder, tmp_path: Path) -> None:
    """The scratch folder that a pending record names is one of the target's own."""
    record, _ = run_stage(folder, OLD)
    (tmp_path / "b.txt").write_text("new b", encoding="utf-8")
    artifacts = {"b.txt": bytes_digest(b"new b")}
    pending = replace(record, artifacts=artifacts, facts={"scratch": str(tmp_path)})
    Path(folder.record_path(STAGE, PENDING)).write_bytes(encode(pending))
    with store.locked(folder):
        assert () == store.recover(folder)
    assert "old b" == text(folder, "b.txt")


def test_recover_sweeps_what_dead_builds_left(folder: Folder) -> None:
    """Scratch folders and half-written records of dead processes go; logs and artifacts stay."""
    run_stage(folder, OLD)
    os.makedirs(os.path.join(folder.path, SCRATCH, "train-1/deep"))
    Path(folder.record_path("train", PENDING) + TEMPORARY).write_text("half", encoding="utf-8")
    Path(folder.log_path("train")).write_text("log", encoding="utf-8")
    with store.locked(folder):
        assert () == store.recover(folder)
    assert not os.path.exists(os.path.join(folder.path, SCRATCH))
    assert [STAGE + DONE, STAGE + VALUES] == sorted(os.listdir(os.path.join(folder.path, RECORDS)))
    assert os.path.exists(folder.log_path("train"))


def test_forget_drops_the_record_and_keeps_the_artifacts(folder: Folder) -> None:
    """A forgotten stage has no record; forgetting twice finds nothing."""
    run_stage(folder, OLD)
    assert [True, False] == [store.forget(folder, STAGE), store.forget(folder, STAGE)]
    assert (None, OLD) == (store.load_record(folder, STAGE), texts(folder, OLD))
    assert [] == os.listdir(os.path.join(folder.path, RECORDS))


def test_clean_deletes_artifacts_and_keeps_the_record(folder: Folder, tmp_path: Path) -> None:
    """What a stage made goes, with the folders that this leaves empty; its record stays."""
    files = {**OLD, "eval/keras/deep/c.txt": "c"}
    record, _ = run_stage(folder, files)
    assert set(files) == set(store.artifacts_on_disk(folder, STAGE, ["kws.mltk.zip"]))
    with store.locked(folder):
        assert set(files) == set(store.clean(folder, STAGE, ["kws.mltk.zip", "never.txt"]))
        assert () == store.clean(folder, STAGE, ["kws.mltk.zip", "never.txt"])
    assert record == store.load_record(folder, STAGE)
    assert [store.LOCK, RECORDS] == sorted(os.listdir(folder.path))
    assert [] == os.listdir(tmp_path / "models")


def test_clean_leaves_what_it_did_not_make(folder: Folder, tmp_path: Path) -> None:
    """A file that somebody put among the artifacts stays, and so does its folder."""
    run_stage(folder, OLD)
    for path in (Path(folder.path, "eval/notes.txt"), tmp_path / "models/kws.py"):
        path.write_text("mine", encoding="utf-8")
    with store.locked(folder):
        store.clean(folder, STAGE, [])
    assert [store.LOCK, RECORDS, "eval"] == sorted(os.listdir(folder.path))
    assert (["notes.txt"], ["kws.py"]) == (os.listdir(Path(folder.path, "eval")), os.listdir(tmp_path / "models"))


def test_clean_without_a_record_deletes_what_the_stage_always_makes(folder: Folder) -> None:
    """After its record is gone, a stage's known artifacts are still found."""
    run_stage(folder, OLD)
    store.forget(folder, STAGE)
    with store.locked(folder):
        assert ("b.txt",) == store.clean(folder, STAGE, ["b.txt"])
    assert os.path.exists(folder.artifact("eval/a.json"))


# -- another file system ---------------------------------------------------------------------------------------------


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Folder]:
    """A target whose archive is published on another file system."""
    other = another_file_system(tmp_path)
    if other is None:
        pytest.skip("this machine has no second file system at hand")
    models = Path(tempfile.mkdtemp(prefix="mltkbuild-test-", dir=other))
    yield replace(folder_in(tmp_path), archive_dir=str(models))
    shutil.rmtree(models)


def test_artifact_is_published_across_file_systems(elsewhere: Folder) -> None:
    """Where a rename can't reach, a complete copy is made beside the final name and renamed there."""
    run_stage(elsewhere, OLD)
    Path(elsewhere.artifact("kws.mltk.zip")).write_text("edited", encoding="utf-8")
    assert ("kws.mltk.zip",) == run_stage(elsewhere, NEW)[1]
    assert (NEW, "edited") == (texts(elsewhere, NEW), kept(elsewhere, "kws.mltk.zip"))
    assert ["kws.mltk.zip", "kws.mltk.zip.changed"] == sorted(os.listdir(elsewhere.archive_dir))


def test_full_disk_while_publishing_across_file_systems_loses_nothing(elsewhere: Folder) -> None:
    """Wherever the space runs out, the archive is complete, no copy lies about, and the next build ends right."""
    for number in range(1, 200, 2):
        run_stage(elsewhere, OLD)
        with watching(Steps(number, disk_full)) as steps:
            error = failure(lambda: run_stage(elsewhere, NEW))
        assert error is None or "No space left" in str(error)
        assert text(elsewhere, "kws.mltk.zip") in (OLD["kws.mltk.zip"], NEW["kws.mltk.zip"])
        assert ["kws.mltk.zip"] == os.listdir(elsewhere.archive_dir)
        if needs_to_run(elsewhere, NEW):
            run_stage(elsewhere, NEW)
        assert NEW == texts(elsewhere, NEW)
        if steps.count < number:
            return
    raise AssertionError("the publication never ended")


# -- disks that fail -------------------------------------------------------------------------------------------------


def published(folder: Folder) -> bool:
    """Say whether the publication of NEW is done, or waits to be finished."""
    record = store.load_record(folder, STAGE)
    return store.has_pending(folder, STAGE) or (record is not None and "new a" in record.inputs["of"])


def io_error(name: str) -> None:
    """Fail as a broken disk does, whatever is asked of it."""
    raise OSError(errno.EIO, os.strerror(errno.EIO))


class Once:
    """A strike that hits one time."""

    def __init__(self) -> None:
        self.done = False

    def __call__(self, name: str) -> None:
        """Fail the first time."""
        if not self.done:
            self.done = True
            io_error(name)


@pytest.mark.parametrize("kind", ["full", "broken", "broken once"])
def test_disk_that_fails_at_any_step_leaves_no_half_state(kind: str, tmp_path: Path) -> None:
    """At whichever step the disk fails, every file is complete, old or new, and the next build ends the same."""
    with in_memory(tmp_path) as place:
        _fail_at_each_step(kind, place)


def _fail_at_each_step(kind: str, place: Path) -> None:
    reference = folder_in(place / "reference")
    run_stage(reference, {**OLD, "gone.txt": "gone"})
    run_stage(reference, NEW)
    expected = tree(place / "reference")
    for number in range(1, 200):
        root = place / str(number)
        folder = folder_in(root)
        run_stage(folder, {**OLD, "gone.txt": "gone"})
        strikes: dict[str, Callable[[str], None]] = {"full": disk_full, "broken": io_error, "broken once": Once()}
        with watching(Steps(number, strikes[kind])) as steps:
            failure(partial(run_stage, folder, NEW))
        begun = published(folder)
        for name, new in NEW.items():
            assert text(folder, name) in ((OLD[name], new) if begun else (OLD[name],))
        assert begun != needs_to_run(folder, NEW)
        if not begun:
            run_stage(folder, NEW)
        assert expected == tree(root)
        if steps.count < number:
            return
    raise AssertionError("the publication never ended")


def test_error_of_a_full_disk_says_what_became_of_the_artifacts(tmp_path: Path) -> None:
    """Before anything has its final name the old artifacts are untouched; afterwards the new ones are kept."""
    found = set()
    with in_memory(tmp_path) as place:
        folder = folder_in(place)
        for number in range(1, 60):
            run_stage(folder, OLD)
            with watching(Steps(number, disk_full)):
                error = failure(partial(run_stage, folder, NEW))
            if isinstance(error, StageError):
                then = store.KEPT if published(folder) else UNTOUCHED
                fix = f"free some space and run the same command again; {then}"
                assert ("archive:kws", "No space left on device", fix) == (error.where, error.found, error.fix)
                found.add(then)
    assert {store.KEPT, UNTOUCHED} == found


def test_values_are_json_beside_the_record(folder: Folder) -> None:
    """What `explain` compares lies beside the record, and is `{}` where a stage gives nothing."""
    run_stage(folder, OLD)
    assert {} == json.loads(Path(folder.record_path(STAGE, VALUES)).read_text(encoding="utf-8"))


def test_record_of_a_stage_has_its_own_name() -> None:
    """Record, pending record, values and log of a stage never share a file."""
    folder = Folder("kws", "/w/build/kws", "/w/models")
    paths = [folder.record_path("train", suffix) for suffix in (DONE, PENDING, VALUES)]
    assert 4 == len({*paths, folder.log_path("train")})
    assert "/w/models/kws.mltk.zip" == folder.artifact("kws.mltk.zip")
    assert "/w/build/kws/train/log.txt" == folder.artifact("train/log.txt")


def test_discard_keeps_what_waits_for_its_final_name(folder: Folder) -> None:
    """Scratch files that a pending record needs outlive the stage that made them."""
    record = Record(STAGE, "kws", {}, {})
    with store.locked(folder):
        scratch = store.begin(folder, STAGE)
        os.makedirs(os.path.join(folder.path, RECORDS))
        Path(folder.record_path(STAGE, PENDING)).write_bytes(encode(record))
        store.discard(folder, STAGE)
        assert os.path.isdir(scratch)
        os.unlink(folder.record_path(STAGE, PENDING))
        store.discard(folder, STAGE)
        assert not os.path.exists(scratch)
