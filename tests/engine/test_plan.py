"""What a build would do, asked before it happens: always what the build then does."""

from __future__ import annotations

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.engine.plan import BLOCKED, FRESH, MAY_RUN, RUNS, inspected_texts, plan, total_seconds
from mltkbuild.stages.table import BUILT

from ..conftest import Fakes, Files, bring
from ..test_rebuild_table import ROWS


@pytest.mark.parametrize("name", ROWS)
def test_plan_names_every_stage_that_the_build_then_runs(name: str, built_workspace: Files, fakes: Fakes) -> None:
    """For each edit of the rebuild table: what the plan says runs, runs; what runs was said to run or maybe run."""
    ROWS[name][0](built_workspace)
    before = built_workspace.tree()
    steps = plan(Builder(built_workspace.workspace, run=fakes), "kws", inspect=True)
    after = {path: data for path, data in built_workspace.tree().items() if path != "build/.memo.json"}
    assert {path: data for path, data in before.items() if path != "build/.memo.json"} == after
    states = {step.stage: step.state for step in steps}
    ran = bring(built_workspace, fakes)
    assert {stage for stage, state in states.items() if state == RUNS} <= set(ran)
    assert set(ran) <= {stage for stage, state in states.items() if state in (RUNS, MAY_RUN)}


def test_plan_of_what_was_never_built(workspace: Files, fakes: Fakes) -> None:
    """Every stage runs, none has a time."""
    steps = plan(Builder(workspace.workspace, run=fakes), "kws")
    assert [(stage, RUNS, None) for stage in BUILT] == [(step.stage, step.state, step.seconds) for step in steps]
    assert (0.0, len(BUILT)) == total_seconds(steps)


def test_plan_without_inspection_runs_nothing(built_workspace: Files, fakes: Fakes) -> None:
    """A changed spec whose effect isn't asked for leaves everything behind it open."""
    built_workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    steps = plan(Builder(built_workspace.workspace, run=fakes), "kws")
    assert [] == fakes.calls
    assert {"spec": RUNS, "data": MAY_RUN, "train": MAY_RUN} == {step.stage: step.state for step in steps[:3]}
    assert ({}, (3.0, 0)) == (inspected_texts(steps), total_seconds(steps))


def test_inspection_tells_exactly_what_an_edit_reaches(built_workspace: Files, fakes: Fakes) -> None:
    """The changed spec is run once, without publishing, and the times are those of the last run."""
    built_workspace.edit("models/kws.py", '"one"', '"two"')
    steps = plan(Builder(built_workspace.workspace, run=fakes), "kws", inspect=True)
    assert ["spec:kws"] == fakes.calls
    assert {"spec": RUNS, "params": RUNS, "profile": MAY_RUN, "archive": RUNS} == {
        step.stage: step.state for step in steps if step.state != FRESH
    }
    assert "spec/params.yaml" in inspected_texts(steps)
    assert (4.5, 0) == total_seconds(steps)
    assert {1.5} == {step.seconds for step in steps}


def test_plan_up_to_a_stage_and_with_options(built_workspace: Files, fakes: Fakes) -> None:
    """Only the stages up to the wanted one are judged, with the options of the command line."""
    builder = Builder(built_workspace.workspace, run=fakes)
    assert ["spec", "data", "train"] == [step.stage for step in plan(builder, "kws", "train")]
    assert {FRESH} == {step.state for step in plan(builder, "kws", "train", options={"epochs": 10})}
    assert RUNS == plan(builder, "kws", "train", options={"epochs": 3})[-1].state


def test_broken_spec_blocks_its_own_plan_alone(built_workspace: Files, fakes: Fakes) -> None:
    """Every step of a target that can't be built has the error; records and times are still known."""
    built_workspace.write("models/kws.py", "# @mltk_model\nx = (\n")
    built_workspace.spec("vad")
    built_workspace.spec("bad-name")
    builder = Builder(built_workspace.workspace, run=fakes)
    for name, seconds in (("kws", 1.5), ("bad-name", None)):
        steps = plan(builder, name, inspect=True)
        assert [(BLOCKED, seconds)] * len(BUILT) == [(step.state, step.seconds) for step in steps]
        assert 1 == len({str(step.error) for step in steps})
    assert {RUNS} == {step.state for step in plan(builder, "vad", inspect=True)}
