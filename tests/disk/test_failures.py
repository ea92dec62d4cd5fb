"""Why a stage failed is kept beside its log until it succeeds; nothing that a build does depends on it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from mltkbuild.disk import failures, store
from mltkbuild.disk.folder import Folder
from mltkbuild.disk.records import Record
from mltkbuild.errors import StageError, Stopped

from ..conftest import Fakes, Files, Front

ERROR = StageError("the loss is not a number", where="train:kws", found="nan", fix="lower the learning rate")


@pytest.fixture
def folder(workspace: Files) -> Folder:
    """The folder of a target that has never been built."""
    return Folder("kws", str(workspace.root / "build/kws"), str(workspace.root / "models"))


def test_a_failure_is_kept_until_it_is_forgotten(folder: Folder) -> None:
    """What, where, what was found, and what to do come back as they were; a long text is cut."""
    assert failures.last(folder, "train", None) is None
    failures.remember(folder, "train", ERROR)
    found = failures.last(folder, "train", None)
    assert found is not None
    assert ("the loss is not a number", "train:kws", "nan") == (found.what, found.where, found.found)
    assert "failed: the loss is not a number: nan" == str(found)
    failures.remember(folder, "train", StageError("x" * 10_000))
    assert 2000 == len(failures.last(folder, "train", None).what)  # type: ignore[union-attr]
    assert failures.last(folder, "data", None) is None
    failures.forget(folder, "train")
    assert failures.last(folder, "train", None) is None


def test_a_later_success_counts(folder: Folder) -> None:
    """A record that is younger than the failure means that the stage has succeeded since."""
    failures.remember(folder, "train", ERROR)
    record = Record("train", "kws", {}, {}, finished="2000-01-01T00:00:00+00:00")
    assert failures.last(folder, "train", record) is not None
    assert failures.last(folder, "train", replace(record, finished="2999-01-01T00:00:00+00:00")) is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"null", b'{"schema": 2}', b"\xff", b"[" * 9000])
def test_damage_is_no_failure(folder: Folder, damage: bytes) -> None:
    """What isn't whole, of another version or another stage's, tells nothing and hinders nothing."""
    failures.remember(folder, "train", ERROR)
    (path,) = Path(folder.path).rglob("*.failed")
    path.write_bytes(damage)
    assert failures.last(folder, "train", None) is None


@pytest.mark.parametrize(
    ("key", "value"), [("stage", "data"), ("target", "vad"), ("what", 3), ("more", "x"), ("at", None)]
)
def test_fields_of_something_else_are_no_failure(folder: Folder, key: str, value: object) -> None:
    """Each field is looked at."""
    failures.remember(folder, "train", ERROR)
    (path,) = Path(folder.path).rglob("*.failed")
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    assert failures.last(folder, "train", None) is None


def test_status_and_explain_tell_it_until_it_succeeds(front: Front, fakes: Fakes) -> None:
    """`mltk status` remembers in another process that a stage failed and why; nothing of it is left afterwards."""
    fakes.fail = {"train": ERROR}
    assert 1 == front.mltk("build", "kws").code
    (row,) = (line for line in front.mltk("status").out.splitlines() if line.startswith("kws "))
    assert "train  failed: the loss is not a number: nan (never built)" in row
    assert "train:kws failed: the loss is not a number: nan" in front.mltk("explain", "kws").out.splitlines()
    stages = json.loads(front.mltk("status", "kws", "--json").out)[0]["stages"]
    told = {stage["stage"]: stage["failure"] for stage in stages if stage["failure"]}
    assert [("train", "lower the learning rate")] == [(stage, failure["fix"]) for stage, failure in told.items()]
    fakes.fail = {}
    assert 0 == front.mltk("build", "kws").code
    assert "failed" not in front.mltk("status").out
    assert not list(front.files.root.rglob("*.failed"))


def test_a_failure_is_no_reason_to_run(front: Front, fakes: Fakes) -> None:
    """A stage that failed for an edit which was taken back is up to date, and the failure is told no more."""
    assert 0 == front.mltk("build", "kws").code
    front.files.edit("models/kws.py", "epochs = 10", "epochs = 12")
    fakes.fail = {"train": ERROR}
    assert 1 == front.mltk("build", "kws").code
    assert "failed: the loss" in front.mltk("status").out
    front.files.edit("models/kws.py", "epochs = 12", "epochs = 10")
    fakes.fail = {}
    fakes.calls.clear()
    assert 0 == front.mltk("build", "kws").code
    assert "train:kws" not in fakes.calls
    assert "failed" not in front.mltk("status").out


def test_what_was_stopped_has_not_failed(front: Front, fakes: Fakes) -> None:
    """Whoever stops a stage knows that it isn't done."""
    fakes.fail = {"train": Stopped("stopped", found="epoch 3")}
    front.mltk("build", "kws")
    assert "failed" not in front.mltk("status").out


@pytest.mark.parametrize("command", ["clean", "forget"])
def test_it_goes_with_the_log_and_the_record(folder: Folder, command: str) -> None:
    """Clean and forget leave no trace of it."""
    failures.remember(folder, "train", ERROR)
    if command == "clean":
        store.clean(folder, "train", ())
    else:
        store.forget(folder, "train")
    assert failures.last(folder, "train", None) is None
