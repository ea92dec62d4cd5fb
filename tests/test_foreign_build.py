"""A build folder that a stranger has made: what its files name, and where its links lead, is left alone."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.disk.digests import RACY_NS, bytes_digest
from mltkbuild.disk.store import CHANGED_SUFFIX
from mltkbuild.stages.table import BUILT

from .conftest import Files, Front, Result

pytestmark = pytest.mark.timeout(60)  # what waits for a pipe would wait forever

BYTES = "not mltkbuild's"


def snapshot(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Everything in a folder and below it: kind and content, links unfollowed."""
    found: dict[str, tuple[int, bytes]] = {}
    for path in sorted(folder.rglob("*")):
        mode = path.lstat().st_mode
        content = path.read_bytes() if path.is_file() and not path.is_symlink() else b""
        found[path.relative_to(folder).as_posix()] = (mode, content)
    return found


@dataclass
class Outside:
    """A folder beside the workspace that nobody may touch."""

    root: Path
    files: Files

    def __post_init__(self) -> None:
        for name in ("file", "log.txt", "a.changed", "x.tmp", "y.pending", "sub/file", "sub/deep/file"):
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(BYTES, encoding="utf-8")
        self.before = snapshot(self.root)

    @property
    def untouched(self) -> bool:
        """Whether all is as it was."""
        return self.before == snapshot(self.root)


@pytest.fixture
def outside(built_front: Front, tmp_path: Path) -> Outside:
    """A folder beside the built workspace."""
    return Outside(tmp_path / "outside", built_front.files)


def target(files: Files, name: str = "") -> Path:
    """A path below the model's build folder."""
    return files.root / "build/kws" / name


def edit_record(files: Files, stage: str, change: Callable[[dict[str, Any]], object], suffix: str = ".json") -> None:
    """Change what a stage's record says, or write it under another suffix."""
    document = json.loads(target(files, f".records/{stage}.json").read_bytes())
    change(document)
    target(files, f".records/{stage}{suffix}").write_text(json.dumps(document), encoding="utf-8")


def commands(front: Front) -> None:
    """Call what deletes or writes: each command ends with an answer."""
    for program, *words in (
        ("doit",),
        ("mltk", "clean", "--orphans"),
        ("doit", "forget", "profile:kws"),
        ("doit", "clean"),
    ):
        result: Result = getattr(front, program)(*words)
        assert "Traceback" not in result.out + result.err
        assert result.code in (0, 1, 2)


# -- names in records ------------------------------------------------------------------------------------------------

NAMES = {
    "above": "../../../outside/file",
    "absolute": "{outside}/file",
    "down and up": "a/../../../../outside/file",
    "through a part that is there": "eval/../../../../outside/file",
    "zero byte": "a\0../../../outside/file",
    "backslash": "..\\..\\..\\outside\\file",
    "too long": "a" * 5000,
    "too deep": "/".join("a" * 2000),
    "records": ".records/../../../../outside/file",
    "another stage's record": ".records/train.json",
    "scratch": ".scratch/x",
    "lock": ".lock",
    "empty": "",
    "a dot": ".",
    "a folder's end": "eval/",
    "two slashes": "//outside/file",
    "another model's": "../other/kws.keras",
    "another model's archive": "other.mltk.zip",
    "an archive elsewhere": "../../outside/kws.mltk.zip",
    "direction": "a\u202eb",
    "surrogate": "a\udc80b",
    "Git's": ".git/hooks/post-checkout",
    "drive": "C:/outside/file",
}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_record_with_a_foreign_name_is_a_bad_record(name: str, built_front: Front, outside: Outside) -> None:
    """Neither a build nor a clean touches what such a name means; the stage runs again, and then all is well."""
    other = built_front.files.write("models/other.mltk.zip", "another model's")
    name = name.replace("{outside}", str(outside.root))
    digest = bytes_digest((other if name.endswith(".zip") else outside.root / "file").read_bytes())
    for stage in ("profile", "archive"):
        edit_record(outside.files, stage, lambda found: found["artifacts"].update({name: digest}))
        status = built_front.mltk("status")
        assert (0, "") == (status.code, status.err)
        assert "up to date" not in next(line for line in status.out.splitlines() if "kws " in line)
        assert "record can't be read" in built_front.mltk("explain", "kws").out
        commands(built_front)
    assert outside.untouched
    assert "another model's" == other.read_text(encoding="utf-8")
    assert 0 == built_front.doit().code
    assert [] == built_front.ran()


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("payload", ["outside", "scratch", "build"])
def test_pending_record_with_a_foreign_name_is_dropped(
    name: str, payload: str, built_front: Front, outside: Outside
) -> None:
    """A plain build publishes nothing of it, wherever its bytes lie."""
    files = outside.files
    name = name.replace("{outside}", str(outside.root)).replace("file", "planted")
    text = "#!/bin/sh\n"
    places = {"scratch": ".scratch/train-1/planted", "build": "../outside/planted", "outside": ".scratch/planted"}
    (place := target(files, places[payload])).parent.mkdir(parents=True, exist_ok=True)
    place.write_text(text, encoding="utf-8")
    target(files, ".scratch/train-1").mkdir(parents=True, exist_ok=True)

    def change(found: dict[str, Any]) -> None:
        found["artifacts"][name] = bytes_digest(text.encode())
        found["facts"]["scratch"] = "train-1"

    edit_record(files, "train", change, ".pending")
    result = built_front.doit()
    assert "finished publishing" not in result.out + result.err
    commands(built_front)
    assert outside.untouched
    assert not target(files, ".records/train.pending").exists()


@pytest.mark.parametrize("scratch", ["../../../outside", "{outside}", "..", ".", "", "a/b", "train\0", 7, None, ["x"]])
def test_pending_record_with_a_foreign_scratch_is_dropped(
    scratch: object, built_front: Front, outside: Outside
) -> None:
    """The folder that holds what is to be published is one of the target's own scratch folders."""
    found = scratch.replace("{outside}", str(outside.root)) if isinstance(scratch, str) else scratch

    def change(document: dict[str, Any]) -> None:
        document["artifacts"] = {"file": bytes_digest(BYTES.encode())}
        document["facts"]["scratch"] = found

    edit_record(outside.files, "train", change, ".pending")
    assert "finished publishing" not in built_front.doit().out
    assert outside.untouched
    assert not target(outside.files, "file").exists()


@pytest.mark.parametrize("listed", ["../../../outside/file", "/etc/passwd", "a" * 64 + "/..", 7, None])
def test_record_with_a_foreign_list_is_a_bad_record(listed: object, built_front: Front, outside: Outside) -> None:
    """The list of a record's files is named by its digest and by nothing else."""

    def change(document: dict[str, Any]) -> None:
        document["inputs"]["files"] = "0" * 64
        document["facts"]["file list"] = listed

    edit_record(outside.files, "data", change)
    assert "record can't be read" in built_front.mltk("explain", "kws").out
    commands(built_front)
    assert outside.untouched


@pytest.mark.parametrize("fact", ["outside", "packages", "properties", "deterministic", "distribute"])
@pytest.mark.parametrize("value", [[1, None, []], {"models": 7}, "text", None, 1e308])
def test_facts_of_any_type_are_answered(fact: str, value: object, built_front: Front) -> None:
    """What judging goes by beside digests may be anything in a stranger's record; a build ends well all the same."""
    edit_record(built_front.files, "spec", lambda found: found["facts"].update({fact: value}))
    assert [0, 0] == [built_front.mltk("status").code, built_front.mltk("explain", "kws").code]
    assert 0 == built_front.doit().code


# -- links -----------------------------------------------------------------------------------------------------------

FOLDERS = ("train", "train/checkpoints", "eval", "eval/keras", "spec", "data", ".records", ".logs", ".scratch", "")


@pytest.mark.parametrize("dangling", [False, True], ids=["", "dangling"])
@pytest.mark.parametrize("name", FOLDERS)
def test_linked_folder_below_build_is_not_followed(
    name: str, dangling: bool, built_front: Front, outside: Outside
) -> None:
    """No command writes or deletes through it; a build refuses before its stage runs, or puts a folder in its place."""
    place = target(outside.files, name)
    if place.exists():
        os.replace(place, outside.files.root / "aside")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.symlink_to(outside.root / ("nowhere" if dangling else ""), target_is_directory=True)
    built_front.fakes.calls.clear()
    result = built_front.doit()
    assert outside.untouched
    if result.code:
        assert "a link" in result.out + result.err
        assert str(place) in result.out + result.err
        assert "fix:" in result.out + result.err
    commands(built_front)
    assert outside.untouched
    if place.is_symlink():
        place.unlink()
    assert 0 == built_front.doit().code


@pytest.mark.parametrize("name", FOLDERS[:-1])
def test_file_where_a_folder_is_expected_is_an_error(name: str, built_front: Front, outside: Outside) -> None:
    """It is refused with its place, or replaced where it is mltkbuild's own."""
    place = target(outside.files, name)
    if place.exists():
        os.replace(place, outside.files.root / "aside")
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(BYTES, encoding="utf-8")
    commands(built_front)
    assert outside.untouched


def make_link(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "file")


def make_dangling(place: Path, outside: Path) -> None:
    place.symlink_to(outside / "new")


def make_hard_link(place: Path, outside: Path) -> None:
    place.hardlink_to(outside / "file")


def make_pipe(place: Path, outside: Path) -> None:
    os.mkfifo(place)


def make_device(place: Path, outside: Path) -> None:
    place.symlink_to("/dev/zero")


def make_folder(place: Path, outside: Path) -> None:
    (place / "inner").mkdir(parents=True)


PLANTS = (make_link, make_dangling, make_hard_link, make_pipe, make_device, make_folder)
LEAVES = (
    ".records/train.json",
    ".records/train.json.tmp",
    ".records/train.pending",
    ".records/train.pending.tmp",
    ".records/train.values.json",
    ".records/x.tmp",
    ".logs/train.log",
    ".lock",
    ".scratch/x",
    "kws.keras",
    "kws.keras" + CHANGED_SUFFIX,
    "kws.keras.tmp",
    "train/history.json",
    "train/log.txt",
    "../.memo.json",
    "../../models/kws.mltk.zip",
)


@pytest.mark.real
@pytest.mark.parametrize("name", LEAVES)
@pytest.mark.parametrize("plant", PLANTS)
def test_planted_file_is_replaced_or_refused(
    plant: Callable[[Path, Path], None], name: str, built_front: Front, outside: Outside
) -> None:
    """Nothing is written, truncated or deleted through it, and nobody waits for it; a folder is refused by its path."""
    place = target(outside.files, name)
    place.parent.mkdir(parents=True, exist_ok=True)
    if place.exists():
        os.replace(place, outside.files.root / "aside")
    plant(place, outside.root)
    outside.files.edit("models/kws.py", "epochs = 10", "epochs = 11")
    built_front.doit()
    assert outside.untouched
    commands(built_front)
    assert outside.untouched


def test_linked_folder_is_no_orphan(built_front: Front, outside: Outside) -> None:
    """A link in the build folder that leads to what looks like a build is not emptied."""
    files = outside.files
    records = outside.root / ".records"
    records.mkdir()
    (records / "spec.json").write_bytes(target(files, ".records/spec.json").read_bytes())
    before = snapshot(outside.root)
    (files.root / "build/gone").symlink_to(outside.root, target_is_directory=True)
    (files.root / "build/old").mkdir()
    (files.root / "build/old/.records").symlink_to(records, target_is_directory=True)
    assert "no orphans\n" == built_front.mltk("clean", "--orphans").out
    assert before == snapshot(outside.root)


def test_links_in_an_orphan_go_and_what_they_lead_to_stays(built_front: Front, outside: Outside) -> None:
    """A target that is gone is deleted with the links in it, and without anything behind them."""
    files = outside.files
    (files.root / "models/kws.py").unlink()
    target(files, "linked").symlink_to(outside.root, target_is_directory=True)
    target(files, "train/linked").symlink_to(outside.root / "file")
    target(files, "kept" + CHANGED_SUFFIX).write_text("mine", encoding="utf-8")
    assert 0 == built_front.mltk("clean", "--orphans").code
    assert outside.untouched
    assert ["kept" + CHANGED_SUFFIX] == os.listdir(target(files))


@pytest.mark.parametrize("name", ["kws.py", "other.mltk.zip", "parts.py"])
def test_orphan_s_record_names_no_file_of_another_model(name: str, built_front: Front, outside: Outside) -> None:
    """Of the models folder only the archive of the orphan's own name is ever deleted."""
    files = outside.files
    other = files.write("models/other.mltk.zip", "another model's")
    os.replace(target(files), files.root / "build/gone")
    path = files.root / "build/gone/.records/archive.json"
    document = json.loads(path.read_bytes())
    digest = bytes_digest((files.root / "models" / name).read_bytes())
    path.write_text(json.dumps({**document, "target": "gone", "artifacts": {name: digest}}), encoding="utf-8")
    assert "would remove models" not in built_front.mltk("clean", "--orphans", "-n").out
    built_front.mltk("clean", "--orphans")
    assert [True, True] == [other.exists(), (files.root / "models" / name).exists()]


def test_build_folder_itself_may_be_a_link(built_front: Front, tmp_path: Path) -> None:
    """Who keeps builds on another disk links the build folder, and all works."""
    files = built_front.files
    os.replace(files.root / "build", tmp_path / "elsewhere")
    (files.root / "build").symlink_to(tmp_path / "elsewhere", target_is_directory=True)
    assert [] == built_front.ran()
    files.edit("models/kws.py", "epochs = 10", "epochs = 11")
    assert "train:kws" in built_front.ran()
    assert 0 == built_front.doit("clean").code
    assert len(BUILT) == len(built_front.ran())
    assert (files.root / "build").is_symlink()


def test_data_set_may_be_a_link(built_front: Front, tmp_path: Path) -> None:
    """Samples are read through links, as ever."""
    files = built_front.files
    os.replace(files.root / "samples", tmp_path / "samples")
    (files.root / "samples").symlink_to(tmp_path / "samples", target_is_directory=True)
    assert [] == built_front.ran()


def test_build_holds_no_absolute_path_and_no_host(built_front: Front) -> None:
    """What lies below build/ tells nothing about the machine: paths count from the workspace."""
    files = built_front.files
    for path in (files.root / "samples/training").iterdir():
        os.utime(path)
    time.sleep(2 * RACY_NS / 1e9)
    built_front.doit()
    assert (files.root / "build/.memo.json").exists()
    host = os.uname().nodename.encode()
    for path in (files.root / "build").rglob("*"):
        if path.is_file():
            assert str(files.root).encode() not in path.read_bytes(), path
            assert b'"host"' not in path.read_bytes(), path
            assert len(host) < 4 or host not in path.read_bytes(), path
