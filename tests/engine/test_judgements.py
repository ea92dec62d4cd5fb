"""How often a stage is judged: once before it runs, once in a no-op; and how long a verdict stands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from mltkbuild.disk.records import Record
from mltkbuild.engine import target_state
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.freshness import Reason, reasons_to_run
from mltkbuild.stages.protocol import Options
from mltkbuild.stages.table import BUILT

from ..conftest import Fakes, Files, Front, Running, bring


@pytest.fixture
def judged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The stages that were judged, in their order."""
    stages: list[str] = []
    asked = target_state.TargetState.reasons
    pure: list[Record | None] = []

    def reasons(self: target_state.TargetState, stage_name: str, options: Options | None = None) -> tuple[Reason, ...]:
        stages.append(stage_name)
        pure.clear()
        found = asked(self, stage_name, options)
        assert 1 == len(pure), "it asks the one judge once"
        return found

    def counted(
        record: Record | None, inputs: Mapping[str, str | None], artifacts: Mapping[str, str | None]
    ) -> tuple[Reason, ...]:
        pure.append(record)
        return reasons_to_run(record, inputs, artifacts)

    monkeypatch.setattr(target_state.TargetState, "reasons", reasons)
    monkeypatch.setattr(target_state, "reasons_to_run", counted)
    return stages


@pytest.mark.parametrize("command", ["doit", "mltk"])
def test_first_build_judges_each_stage_once(command: str, front: Front, judged: list[str]) -> None:
    """What doit is told, what is printed and what is built go by one judgement."""
    assert 0 == (front.doit() if command == "doit" else front.mltk("build")).code
    assert (list(BUILT), [f"{stage}:kws" for stage in BUILT]) == (judged, front.fakes.calls)


@pytest.mark.parametrize("command", ["doit", "mltk"])
def test_no_op_judges_each_stage_once(command: str, front: Front, judged: list[str]) -> None:
    """A build with nothing to do asks once for each stage."""
    front.doit()
    judged.clear()
    assert f"up to date: {len(BUILT)} stages" in (front.doit() if command == "doit" else front.mltk("build")).out
    assert list(BUILT) == judged


def test_forced_stage_is_judged_twice(front: Front, judged: list[str]) -> None:
    """A stage that is up to date and runs all the same is looked at again under the lock, and not more often."""
    front.doit()
    judged.clear()
    front.fakes.calls.clear()
    assert 0 == front.doit("run", "train:kws", "--no-resume").code
    assert ({"train:kws"}, 2) == (set(front.fakes.calls), judged.count("train"))


def test_asking_changes_nothing(workspace: Files, fakes: Fakes) -> None:
    """A question with options is none about the next build: only what a front goes by is."""
    bring(workspace, fakes)
    builder = Builder(workspace.workspace, Running(fakes))
    assert builder.judge("kws", "train", {"epochs": 3}).reasons
    fakes.calls.clear()
    builder.build("kws", "archive")
    assert [] == fakes.calls
    builder = Builder(workspace.workspace, Running(fakes))
    builder.go_by(builder.judge("kws", "train", {"epochs": 3}))
    builder.build("kws", "archive")
    assert "train:kws" in fakes.calls


def test_verdict_falls_with_what_another_build_publishes(workspace: Files, fakes: Fakes) -> None:
    """Who waited for another build looks again, and finds it done."""
    builder = Builder(workspace.workspace, Running(fakes))
    verdict = builder.judge("kws", "spec")
    builder.go_by(verdict)
    bring(workspace, Fakes())
    assert ((Reason("never built"),), ()) == (verdict.reasons, builder.build("kws", "spec").reasons)
    assert [] == fakes.calls


def test_verdict_stands_while_nothing_is_published(workspace: Files, fakes: Fakes) -> None:
    """Records that are read again and say the same are the same."""
    bring(workspace, fakes)
    state = Builder(workspace.workspace, Running(fakes)).state("kws")
    verdict = state.judge("train", {"epochs": 3})
    state.reload()
    assert state.stands(verdict)
    record = Path(state.folder.record_path("data"))
    record.write_text(json.dumps({**json.loads(record.read_text()), "seconds": 9.0}))
    state.reload()
    assert not state.stands(verdict)


def test_verdict_from_before_a_publication_falls(
    workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A verdict whose reasons another thread overtakes while it is being made doesn't run the stage again."""
    builder = Builder(workspace.workspace, Running(fakes))
    state = builder.state("kws")
    reasons = state.reasons

    def overtaken(stage: str, options: Options | None = None) -> tuple[Reason, ...]:
        found = reasons(stage, options)
        monkeypatch.undo()
        builder.build("kws", "spec")
        return found

    monkeypatch.setattr(state, "reasons", overtaken)
    verdict = builder.judge("kws", "spec")
    assert (Reason("never built"),) == verdict.reasons
    assert not state.stands(verdict)
    builder.go_by(verdict)
    builder.build("kws", "data")
    assert ["spec:kws", "data:kws"] == fakes.calls
