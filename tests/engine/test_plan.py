"""What a build would do, asked before it happens: always what the build then does."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.engine.builder import Builder
from mltkbuild.engine.plan import BLOCKED, FRESH, MAY_RUN, RUNS, inspected_texts, plan, total_seconds
from mltkbuild.stages.table import BUILT

from ..conftest import Fakes, Files, Running, bring
from ..test_rebuild_table import ROWS, touch


@pytest.mark.parametrize("name", ROWS)
def test_plan_names_every_stage_that_the_build_then_runs(name: str, built_workspace: Files, fakes: Fakes) -> None:
    """For each edit of the rebuild table: what the plan says runs, runs; what runs was said to run or maybe run."""
    ROWS[name][0](built_workspace)
    before = built_workspace.tree()
    steps = plan(Builder(built_workspace.workspace, Running(fakes)), "kws", inspect=True)
    after = {path: data for path, data in built_workspace.tree().items() if path != "build/.memo.json"}
    assert {path: data for path, data in before.items() if path != "build/.memo.json"} == after
    states = {step.stage: step.state for step in steps}
    ran = bring(built_workspace, fakes)
    assert {stage for stage, state in states.items() if state == RUNS} <= set(ran)
    assert set(ran) <= {stage for stage, state in states.items() if state in (RUNS, MAY_RUN)}


def test_plan_of_what_was_never_built(workspace: Files, fakes: Fakes) -> None:
    """Every stage runs, none has a time."""
    steps = plan(Builder(workspace.workspace, Running(fakes)), "kws")
    assert [(stage, RUNS, None) for stage in BUILT] == [(step.stage, step.state, step.seconds) for step in steps]
    assert (0.0, len(BUILT)) == total_seconds(steps)


def test_plan_without_inspection_runs_nothing(built_workspace: Files, fakes: Fakes) -> None:
    """A changed spec whose effect isn't asked for leaves everything behind it open."""
    built_workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    steps = plan(Builder(built_workspace.workspace, Running(fakes)), "kws")
    assert [] == fakes.calls
    assert {"spec": RUNS, "data": MAY_RUN, "preflight": MAY_RUN, "train": MAY_RUN} == {
        step.stage: step.state for step in steps[:4]
    }
    assert ({}, (3.0, 0)) == (inspected_texts(steps), total_seconds(steps))


def test_inspection_tells_exactly_what_an_edit_reaches(built_workspace: Files, fakes: Fakes) -> None:
    """The changed spec is run once, without publishing, and the times are those of the last run."""
    built_workspace.edit("models/kws.py", '"one"', '"two"')
    steps = plan(Builder(built_workspace.workspace, Running(fakes)), "kws", inspect=True)
    assert ["spec:kws"] == fakes.calls
    assert {"spec": RUNS, "params": RUNS, "profile": MAY_RUN, "archive": RUNS} == {
        step.stage: step.state for step in steps if step.state != FRESH
    }
    assert "spec/params.yaml" in inspected_texts(steps)
    assert (4.5, 0) == total_seconds(steps)
    assert {1.5} == {step.seconds for step in steps}


def test_stage_that_looks_ahead_runs_before_a_training_alone(built_workspace: Files, fakes: Fakes) -> None:
    """A setting of the converter is no reason to look ahead of what is trained; a damaged artifact is made again."""

    def steps(last: str = "archive") -> dict[str, str]:
        builder = Builder(built_workspace.workspace, Running(fakes))
        return {step.stage: step.state for step in plan(builder, "kws", last, inspect=True)}

    built_workspace.edit("models/kws.py", "my_model.epochs", 'my_model.tflm = "warn"\nmy_model.epochs')
    found = steps()
    assert (FRESH, FRESH, RUNS) == tuple(found[stage] for stage in ("preflight", "train", "quantize"))
    assert RUNS == steps("preflight")["preflight"]
    built_workspace.edit("models/kws.py", 'my_model.tflm = "warn"\n', "")
    (built_workspace.root / "build/kws/preflight.json").unlink()
    assert {"preflight"} == {stage for stage, state in steps().items() if state != FRESH}
    assert ["preflight"] == bring(built_workspace, fakes)
    built_workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    found = steps()
    assert (RUNS, RUNS) == tuple(found[stage] for stage in ("preflight", "train"))


def test_plan_up_to_a_stage_and_with_options(built_workspace: Files, fakes: Fakes) -> None:
    """Only the stages up to the wanted one are judged, with the options of the command line."""
    builder = Builder(built_workspace.workspace, Running(fakes))
    assert ["spec", "data", "preflight", "train"] == [step.stage for step in plan(builder, "kws", "train")]
    assert {FRESH} == {step.state for step in plan(builder, "kws", "train", options={"epochs": 10})}
    assert RUNS == plan(builder, "kws", "train", options={"epochs": 3})[-1].state


def test_broken_spec_blocks_its_own_plan_alone(built_workspace: Files, fakes: Fakes) -> None:
    """Every step of a target that can't be built has the error; records and times are still known."""
    built_workspace.write("models/kws.py", "# @mltk_model\nx = (\n")
    built_workspace.spec("vad")
    built_workspace.spec("bad-name")
    builder = Builder(built_workspace.workspace, Running(fakes))
    for name, seconds in (("kws", 1.5), ("bad-name", None)):
        steps = plan(builder, name, inspect=True)
        assert [(BLOCKED, seconds)] * len(BUILT) == [(step.state, step.seconds) for step in steps]
        assert 1 == len({str(step.error) for step in steps})
    assert {RUNS} == {step.state for step in plan(builder, "vad", inspect=True)}


# -- whatever is edited ----------------------------------------------------------------------------------------------

Edit = Callable[[Files, int], object]
SPEC, PARTS = "models/kws.py", "models/parts.py"


def append(path: str, line: str) -> Edit:
    """An edit that adds a line with a number in it."""

    def edit(files: Files, number: int) -> None:
        with (files.root / path).open("a", encoding="utf-8") as file:
            file.write(line.format(number) + "\n")

    return edit


def put(pattern: str, path: str = SPEC) -> Edit:
    """An edit that gives a value another number, or the one that it has."""

    def edit(files: Files, number: int) -> None:
        text = (files.root / path).read_text(encoding="utf-8")
        changed, count = re.subn(rf"({pattern})\S+", rf"\g<1>{number + 1}", text)
        assert 1 == count
        (files.root / path).write_text(changed, encoding="utf-8")

    return edit


def chosen(files: Files, number: int, pattern: str) -> Path | None:
    """One of the files that a pattern finds, if there is any."""
    found = sorted(path for path in files.root.glob(pattern) if path.is_file())
    return found[number % len(found)] if found else None


def remove(pattern: str) -> Edit:
    """An edit that deletes a file."""

    def edit(files: Files, number: int) -> None:
        if path := chosen(files, number, pattern):
            path.unlink()

    return edit


def damage(pattern: str) -> Edit:
    """An edit that cuts a file short."""

    def edit(files: Files, number: int) -> None:
        if path := chosen(files, number, pattern):
            path.write_bytes(path.read_bytes()[:-1])

    return edit


def add_sample(files: Files, number: int) -> None:
    """An edit that writes a sample, which may be there already."""
    files.write(f"samples/training/{number}.txt", f"more {number % 2}\n")


EDITS: dict[str, Edit] = {
    "comment": append(SPEC, "# comment {}"),
    "comment in a helper": append(PARTS, "# comment {}"),
    "unused function": append(PARTS, "def unused_{}(): pass"),
    "batch size": put("batch_size = "),
    "epochs": put("epochs = "),
    "version": put(r"version = "),
    "parameter": put(r'\["threshold"\] = '),
    "evaluation setting": append(SPEC, "my_model.eval_max_samples_per_class = {} + 1"),
    "converter setting": append(SPEC, 'my_model.tflite_converter["experimental_new_quantizer"] = bool({} % 2)'),
    "layer": put("WIDTH = ", PARTS),
    "scale of the samples": put("SCALE = ", PARTS),
    "sample": add_sample,
    "sample gone": remove("samples/training/*"),
    "artifact gone": remove("build/kws/[!.]*/*"),
    "artifact gone from the top": remove("build/kws/kws*"),
    "artifact damaged": damage("build/kws/[!.]*/*"),
    "artifact damaged at the top": damage("build/kws/kws*"),
    "archive gone": remove("models/*.zip"),
    "record gone": remove("build/kws/.records/*.json"),
    "record damaged": damage("build/kws/.records/*.json"),
    "touch": lambda files, number: touch(files),
}
EDITING = st.lists(st.tuples(st.sampled_from(sorted(EDITS)), st.integers(0, 30)), min_size=1, max_size=4)


def results(files: Files) -> dict[str, object]:
    """What later stages can see of each stage: its artifacts, and a spec's properties."""
    state = Builder(files.workspace, Running(Fakes())).state("kws")
    found = {stage: state.record(stage) for stage in BUILT}
    return {stage: record and (record.artifacts, record.facts.get("properties")) for stage, record in found.items()}


@settings(deadline=None, max_examples=10, database=None)
@given(st.lists(st.tuples(EDITING, st.booleans()), min_size=1, max_size=3))
def test_whatever_is_edited_the_plan_is_what_the_build_does(
    built_once: Files, rounds: list[tuple[list[tuple[str, int]], bool]]
) -> None:
    """What the plan says runs, runs; what may run does only behind a changed result; nothing else runs."""
    with tempfile.TemporaryDirectory() as folder:
        files = Files(Path(shutil.copytree(built_once.root, os.path.join(folder, "ws"))))
        for edits, inspect in rounds:
            for name, number in edits:
                EDITS[name](files, number)
            steps = {
                step.stage: step for step in plan(Builder(files.workspace, Running(Fakes())), "kws", inspect=inspect)
            }
            before = results(files)
            ran = set(bring(files, Fakes()))
            after = results(files)
            changed = {stage for stage in BUILT if before[stage] != after[stage]}
            assert {stage for stage, step in steps.items() if step.state == RUNS} <= ran
            for stage in ran:
                assert steps[stage].state in (RUNS, MAY_RUN)
                assert steps[stage].state == RUNS or changed & set(steps[stage].after)
            assert {FRESH} == {step.state for step in plan(Builder(files.workspace, Running(Fakes())), "kws")}
            assert [] == bring(files, Fakes())
