"""One build in this process: its counts, its closing line, its reasons."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import StageError, UsageError
from mltkbuild.events import Event, Note
from mltkbuild.front import session
from mltkbuild.front.session import Session
from mltkbuild.stages.protocol import RESUME, Request, Start

from ..conftest import Fakes, Files, Running


class Shown:
    """A display that remembers."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str | None]] = []
        self.notes: list[str] = []
        self.now: list[str] = []
        self.most = 0

    def begin(self, label: str, why: str) -> None:
        """A stage starts."""
        self.now.append(label)
        self.most = max(self.most, len(self.now))

    def event(self, label: str, event: Event) -> None:
        """A stage reports progress."""
        self.notes.append(event.text if isinstance(event, Note) else "")

    def end(self, label: str, text: str | None) -> None:
        """A stage is done."""
        self.now.remove(label)
        self.lines.append((label, text))

    def note(self, text: str) -> None:
        """Something worth a line."""
        self.notes.append(text)

    def close(self) -> None:
        """The build is over."""


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> Shown:
    """What every session of the test shows."""
    display = Shown()
    monkeypatch.setattr(Session, "display", display)
    monkeypatch.setattr(Session, "guard", lambda self: None)
    return display


def new(files: Files, fakes: Fakes) -> Session:
    """A session of a new process."""
    return Session(files.workspace, Builder(files.workspace, Running(fakes)))


def run(owner: Session, target: str, stage: str, start: Start = RESUME) -> None:
    """Judge a stage and run it, as a front does."""
    owner.run(owner.judge(target, stage, {}), start=start)


def test_counts_and_closing_line(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """The closing line counts what ran, what was up to date, what failed, was left out or ignored."""
    owner = new(workspace, fakes)
    assert "up to date: 0 stages" == owner.summary()
    run(owner, "kws", "spec")
    assert owner.summary().startswith("done: 1 stage ran, 0 up to date, ")
    run(owner, "kws", "spec")
    assert (1, 1, ("spec:kws", "another build had done it")) == (owner.ran, owner.fresh, shown.lines[-1])
    owner.failures, owner.left_out, owner.ignored = ["train:kws"], 4, 2
    assert "failed: train:kws; 1 stage ran, 1 up to date, 2 ignored, 4 left out" == owner.summary()
    owner.failures = [f"train:m{number}" for number in range(6)]
    assert "failed: train:m0, train:m1, train:m2, train:m3 (and 2 more); 1" in owner.summary()


def test_failed_stage_is_shown_with_why_it_ran(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """The line of a stage that failed says so; the worst code is kept for the end."""
    owner = new(workspace, fakes)
    fakes.fail = {"spec": StageError("no")}
    with pytest.raises(StageError):
        run(owner, "kws", "spec")
    assert (("spec:kws", "failed  (never built)"), 1) == (shown.lines[-1], owner.worst)
    with pytest.raises(UsageError):
        run(owner, "other", "spec")
    assert 2 == owner.worst


def test_same_result_is_said_on_the_stage_s_own_line(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """A stage that gives what it gave before says so beside its reason, not in a line of its own."""
    owner = new(workspace, fakes)
    run(owner, "kws", "spec")
    run(owner, "kws", "spec", Start(force=True))
    assert ("spec:kws", "gave the same result as before  (asked for)") == shown.lines[-1]
    assert [] == shown.notes


def test_edited_artifact_is_told(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """When a build sets somebody's edit aside, it says where that file is now."""
    run(new(workspace, fakes), "kws", "quantize")
    workspace.write("build/kws/kws.keras", "mine")
    run(new(workspace, fakes), "kws", "train")
    assert ["  kws.keras had been changed by somebody; that file is kept as kws.keras.changed"] == shown.notes
    assert "mine" == Path(workspace.root, "build/kws/kws.keras.changed").read_text()


def test_reasons_of_what_can_t_be_judged(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """A spec that can't be read is a reason to run, so that the run reports it."""
    run(new(workspace, fakes), "kws", "spec")
    workspace.write("models/kws.py", "").write_bytes(b"# @mltk_model\nx = '\xe9'\n")
    owner = new(workspace, fakes)
    assert ["unreadable"] == [reason.kind for reason in owner.judge("kws", "spec", {}).reasons]
    assert "models/kws.py: this file can't be read" == owner.why(owner.judge("kws", "spec", {}))


def test_stages_of_one_target_take_turns_in_silence(workspace: Files, fakes: Fakes, shown: Shown) -> None:
    """Two stages of one target that may run at the same time don't, and nobody is told to wait for himself."""
    owner = new(workspace, fakes)
    run(owner, "kws", "quantize")
    inside = threading.Event()

    def linger(request: Request) -> None:
        inside.wait(0.2)

    fakes.before = {"params": linger, "evaluate": linger}
    threads = [threading.Thread(target=run, args=(owner, "kws", stage)) for stage in ("params", "evaluate")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (1, [], 3) == (shown.most, shown.notes, owner.ran)


def test_current_session_is_one_for_a_workspace(
    workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process has one session for each workspace; a front may bring its own."""
    monkeypatch.chdir(workspace.root)
    assert session.current() is session.current()
    owner = new(workspace, fakes)
    session.use(owner)
    assert owner is session.current()


def test_label_column_has_room_for_every_model(workspace: Files, fakes: Fakes) -> None:
    """The longest model name of the workspace sets the width, within reason."""
    assert 24 == new(workspace, fakes)._label_width()
    workspace.spec("a_model_with_a_long_name_v2")
    assert len("preflight:a_model_with_a_long_name_v2") == new(workspace, fakes)._label_width()
    workspace.spec("x" * 80)
    assert 44 == new(workspace, fakes)._label_width()
