"""The engine: what it judges is what it runs, and what it publishes is what its record says."""

from __future__ import annotations

import json
import os
import platform
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from mltkbuild.disk import store
from mltkbuild.disk.folder import LOGS, VALUES
from mltkbuild.disk.records import encode
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.freshness import Reason
from mltkbuild.errors import MltkError, StageError, UsageError
from mltkbuild.events import Event, Listener, Note
from mltkbuild.stages.protocol import Outcome, Request, Start
from mltkbuild.stages.table import BUILT, upstream

from ..conftest import Fakes, Files, Running, bring
from ..disk.faults import Steps, disk_full, watching

TRAINS = ["spec", "preflight", "train", "quantize", "params", "evaluate", "profile", "archive"]


def stages_of(fakes: Fakes) -> list[str]:
    """The stages that ran, in their order."""
    return [call.partition(":")[0] for call in fakes.calls]


@pytest.fixture
def built(built_workspace: Files) -> Files:
    """A workspace whose model is built."""
    return built_workspace


# -- edits while a build is under way --------------------------------------------------------------------------------


def seen_by(fakes: Fakes, stage: str) -> list[str]:
    """Collects the spec's text as the runs of a stage get it."""
    seen: list[str] = []
    fakes.before[stage] = lambda request: seen.append(request.sources["models/kws.py"])
    return seen


def test_edit_between_judging_and_running_is_built_whole(built: Files) -> None:
    """An edit after the first judgement and before the first run never mixes old fingerprints with new code."""
    built.write("samples/training/9.txt", "more")
    fakes = Fakes()
    builder = Builder(built.workspace, Running(fakes))
    assert not builder.judge("kws", "spec").reasons
    assert builder.judge("kws", "data").reasons
    built.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    texts = seen_by(fakes, "train")
    builder.build("kws", "archive")
    assert (list(BUILT), True) == (stages_of(fakes), "batch_size = 64" in texts[0])
    assert [] == bring(built, Fakes())


def test_reverted_edit_between_judging_and_running_leaves_nothing_stale(built: Files) -> None:
    """An edit that was there only while stages ran is undone by the next build, though the spec is as it was judged."""
    built.write("samples/training/9.txt", "more")
    fakes = Fakes()
    builder = Builder(built.workspace, Running(fakes))
    assert not builder.judge("kws", "spec").reasons
    built.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    builder.build("kws", "train")
    built.edit("models/kws.py", "batch_size = 64", "batch_size = 32")
    after = Fakes()
    bring(built, after)
    assert TRAINS == stages_of(after)
    assert [] == bring(built, Fakes())


@pytest.mark.parametrize("stage", list(BUILT))
def test_edit_while_a_stage_runs_is_seen_by_none_of_the_build(stage: str, workspace: Files) -> None:
    """Whatever stage is running when the spec is saved, all later ones of the build get the text it began with."""
    fakes = Fakes()
    texts = {name: seen_by(fakes, name) for name in BUILT}

    def edit(request: Request) -> None:
        texts[stage].append(request.sources["models/kws.py"])
        workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")

    fakes.before[stage] = edit
    builder = Builder(workspace.workspace, Running(fakes))
    for name in BUILT:
        builder.go_by(builder.judge("kws", name))
        builder.build("kws", name)
    assert (list(BUILT), 1) == (stages_of(fakes), len({text for found in texts.values() for text in found}))
    assert TRAINS == bring(workspace, Fakes())


def test_model_and_its_dry_run_see_the_same_text(workspace: Files) -> None:
    """Within one build an edit comes before both a model and its dry run, or after both."""
    fakes = Fakes()
    texts = seen_by(fakes, "train")
    builder = Builder(workspace.workspace, Running(fakes))
    builder.build("kws-test", "train")
    workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    builder.build("kws", "train")
    assert (2, 1) == (len(texts), len(set(texts)))


# -- artifacts that change under a build -----------------------------------------------------------------------------


def test_artifact_damaged_after_it_was_judged_is_made_again_first(built: Files) -> None:
    """No stage reads an artifact that isn't what its record says, though this build has found it up to date."""
    fakes = Fakes()
    builder = Builder(built.workspace, Running(fakes))
    builder.build("kws", "train")
    built.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    (built.root / "build/kws/kws.keras").write_text("damaged", encoding="utf-8")
    (built.root / "build/kws/kws.converted.tflite").unlink()
    builder.build("kws", "quantize")
    assert ["train", "quantize"] == stages_of(fakes)


def test_artifact_changed_while_a_stage_reads_it_fails_the_stage(built: Files) -> None:
    """A result of what no record describes is never published; the next build makes both anew."""

    def damage(request: Request) -> None:
        built.write("build/kws/kws.keras", "damaged")

    before = built.tree()
    (built.root / "build/kws/kws.converted.tflite").unlink()
    fakes = Fakes()
    fakes.before["quantize"] = damage
    builder = Builder(built.workspace, Running(fakes))
    with pytest.raises(StageError) as caught:
        builder.build("kws", "quantize")
    assert ("quantize:kws", "kws.keras") == (caught.value.where, caught.value.found)
    assert not (built.root / "build/kws/kws.converted.tflite").exists()
    assert ["train", "quantize"] == bring(built, Fakes())
    kept = built.root / "build/kws/kws.keras.changed"
    assert "damaged" == kept.read_text(encoding="utf-8")
    kept.unlink()
    assert {name for name in before if ".records" not in name and "memo" not in name} == {
        name for name in built.tree() if ".records" not in name and "memo" not in name
    }


def test_artifact_touched_while_a_stage_reads_it_harms_nothing(built: Files) -> None:
    """A new time on the same bytes is no change."""
    (built.root / "build/kws/kws.converted.tflite").unlink()
    fakes = Fakes()
    fakes.before["quantize"] = lambda request: os.utime(request.artifacts["kws.keras"])
    Builder(built.workspace, Running(fakes)).build("kws", "quantize")
    assert [] == bring(built, Fakes())


def test_edited_artifact_is_reported_and_kept(built: Files) -> None:
    """The build says which artifact somebody had edited, and keeps it beside the new one."""
    (built.root / "build/kws/kws.tflite").write_text("edited", encoding="utf-8")
    result = Builder(built.workspace, Running(Fakes())).build("kws", "params")
    assert (("kws.tflite",), ("artifact changed",)) == (result.changed, tuple(reason.kind for reason in result.reasons))
    assert "edited" == (built.root / "build/kws/kws.tflite.changed").read_text(encoding="utf-8")


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(BUILT))
def test_failed_stage_leaves_the_old_artifacts_and_records(stage: str, built: Files) -> None:
    """What a failed stage and those behind it made before stands to the byte, and the stage runs again."""
    built.write("samples/training/9.txt", "more")
    built.edit("models/kws.py", '"one"', '"two"')
    built.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    before = built.tree()
    fakes = Fakes(fail={stage: StageError("it can't")})
    with pytest.raises(StageError) as caught:
        Builder(built.workspace, Running(fakes)).build("kws", "archive")
    assert (f"{stage}:kws", stage) == (caught.value.where, stages_of(fakes)[-1])
    made = {name for done in stages_of(fakes)[:-1] for name in _files_of(built, done)}
    after = built.tree()
    assert {name: data for name, data in before.items() if name not in made} == {
        name: data for name, data in after.items() if name not in made
    }
    again = Fakes()
    bring(built, again)
    assert list(BUILT)[list(BUILT).index(stage) :] == stages_of(again)


def _files_of(files: Files, stage: str) -> set[str]:
    """The artifacts and records of a stage."""
    folder = Builder(files.workspace, Running(Fakes())).state("kws").folder
    record = store.load_record(folder, stage)
    assert record is not None
    paths = [
        *map(folder.artifact, record.artifacts),
        folder.record_path(stage),
        folder.record_path(stage, VALUES),
    ]
    return {Path(path).relative_to(files.root).as_posix() for path in paths}


def test_stage_that_makes_less_than_it_promises_is_an_error(workspace: Files) -> None:
    """A body that leaves out an artifact publishes nothing."""

    def lazy(request: Request, listener: Listener) -> Outcome:
        return Outcome(artifacts=())

    with pytest.raises(StageError) as caught:
        Builder(workspace.workspace, Running(lazy)).build("kws", "spec")
    assert ("spec:kws", "no spec/data.yaml") == (caught.value.where, caught.value.found)
    assert not (workspace.root / "build/kws/.records").exists()


def test_stage_that_names_a_file_it_did_not_make_is_an_error(workspace: Files) -> None:
    """An artifact that isn't in scratch is one error, and nothing is published."""
    fakes = Fakes()

    def boasting(request: Request, listener: Listener) -> Outcome:
        outcome = fakes(request, listener)
        outcome.artifacts = (*outcome.artifacts, "boast.txt")
        return outcome

    with pytest.raises(StageError) as caught:
        Builder(workspace.workspace, Running(boasting)).build("kws", "spec")
    assert ("spec:kws", True) == (caught.value.where, "boast.txt" in str(caught.value.found))
    assert not (workspace.root / "build/kws/spec").exists()


def test_interrupted_stage_leaves_no_scratch(workspace: Files) -> None:
    """Ctrl+C in the middle of a stage leaves the target as it was."""

    def interrupt(request: Request) -> None:
        Path(request.scratch, "half").write_text("half", encoding="utf-8")
        raise KeyboardInterrupt

    fakes = Fakes()
    fakes.before["spec"] = interrupt
    with pytest.raises(KeyboardInterrupt):
        Builder(workspace.workspace, Running(fakes)).build("kws", "spec")
    assert [store.LOCK, LOGS] == sorted(os.listdir(workspace.root / "build/kws"))
    assert list(BUILT) == bring(workspace, Fakes())


def test_unknown_model_is_a_usage_error(workspace: Files) -> None:
    """A target without a spec is refused by name."""
    with pytest.raises(UsageError):
        Builder(workspace.workspace, Running(Fakes())).build("kvs", "archive")


# -- records ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(BUILT))
@pytest.mark.parametrize(
    "data", [b"", b"{}", b"\xff\x00", b'{"schema":99}'], ids=["empty", "foreign", "bytes", "future"]
)
def test_corrupt_record_runs_just_its_stage(data: bytes, stage: str, built: Files) -> None:
    """A record that can't be read makes its own stage run again, and, with the same result, no other."""
    (built.root / f"build/kws/.records/{stage}.json").write_bytes(data)
    builder = Builder(built.workspace, Running(Fakes()))
    assert ("bad record",) == tuple(reason.kind for reason in builder.judge("kws", stage).reasons)
    fakes = Fakes()
    bring(built, fakes)
    assert ([stage], []) == (stages_of(fakes), bring(built, Fakes()))


def test_record_of_another_model_is_refused(built: Files) -> None:
    """A build folder that was copied for another model has foreign records, and everything runs."""
    text = (built.root / "models/kws.py").read_text(encoding="utf-8")
    built.write("models/second.py", text)
    (built.root / "build/second/.records").mkdir(parents=True)
    for path in (built.root / "build/kws/.records").iterdir():
        (built.root / "build/second/.records" / path.name).write_bytes(path.read_bytes())
    assert list(BUILT) == bring(built, Fakes(), "second")


def test_unfinished_publication_is_finished_and_reported(built: Files) -> None:
    """A publication that was cut off is told by the judge, and finished by the next build without running the stage."""
    built.edit("models/kws.py", '"one"', '"two"')
    builder = Builder(built.workspace, Running(Fakes()))
    builder.build("kws", "spec")
    _cut_off(built, "params")
    judge = Builder(built.workspace, Running(Fakes()))
    assert (Reason("unfinished"),) == judge.judge("kws", "params").reasons
    fakes, notes = Fakes(), list[Event]()
    result = Builder(built.workspace, Running(fakes)).build("kws", "params", listener=notes.append)
    assert ((), []) == (result.reasons, fakes.calls)
    assert [Note("kws: finished publishing params of an interrupted build")] == notes
    assert ["profile", "archive"] == bring(built, Fakes())


def _cut_off(files: Files, stage: str) -> None:
    """Let a stage's publication fail once its pending record is written."""
    for number in range(1, 100):
        builder = Builder(files.workspace, Running(Fakes()))
        steps = Steps(0, disk_full)

        def armed(request: Request, listener: Listener, at: int = number, counted: Steps = steps) -> Outcome:
            outcome = Fakes()(request, listener)
            counted.count, counted.first = 0, at
            return outcome

        builder = Builder(files.workspace, Running(armed))
        try:
            with watching(steps):
                builder.build("kws", stage)
        except StageError:
            if store.has_pending(builder.state("kws").folder, stage):
                return
    raise AssertionError("the publication was never cut off")


def test_recovery_that_the_disk_refuses_is_one_error(built: Files) -> None:
    """While the disk is still full, each build of the target is the same error, and nothing is lost."""
    built.edit("models/kws.py", '"one"', '"two"')
    Builder(built.workspace, Running(Fakes())).build("kws", "spec")
    _cut_off(built, "params")
    fakes = Fakes()
    with pytest.raises(StageError) as caught, watching(Steps(1, disk_full)):
        Builder(built.workspace, Running(fakes)).build("kws", "evaluate")
    assert ("params:kws", True, []) == (caught.value.where, store.KEPT in str(caught.value.fix), fakes.calls)
    assert ["profile", "archive"] == bring(built, fakes)


def test_record_tells_what_ran(built: Files) -> None:
    """A record holds the stage's figures, tools, seconds, host and time."""
    record = Builder(built.workspace, Running(Fakes())).state("kws").record("train")
    assert record is not None
    assert ("train", "kws", 1, {"python": "3"}, 1.5) == (
        record.stage,
        record.target,
        record.facts["members"],
        record.tools,
        record.seconds,
    )
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record.finished)


def test_record_has_no_stamp_of_a_file_that_changed_while_the_stage_ran(workspace: Files) -> None:
    """A file that was written while a stage read it is digested again by the next build."""

    def change(request: Request) -> None:
        workspace.write("samples/training/1.txt", "later")

    fakes = Fakes()
    fakes.before["data"] = change
    bring(workspace, fakes)
    record = Builder(workspace.workspace, Running(Fakes())).state("kws").record("data")
    assert record is not None
    assert "samples/training/1.txt" not in record.stamps
    assert encode(record)


# -- what is asked for -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", list(BUILT))
def test_build_brings_up_all_that_a_stage_needs(stage: str, workspace: Files) -> None:
    """Asked for one stage, the engine runs those before it, in their order, and none behind it."""
    fakes = Fakes()
    result = Builder(workspace.workspace, Running(fakes)).build("kws", stage)
    assert (list(upstream(stage)), (Reason("never built"),)) == (stages_of(fakes), result.reasons)


def test_force_runs_the_asked_stage_alone(built: Files) -> None:
    """Forcing runs one stage although it is up to date; the same result reaches no further."""
    fakes, notes = Fakes(), list[Event]()
    result = Builder(built.workspace, Running(fakes)).build(
        "kws", "train", listener=notes.append, start=Start(force=True)
    )
    assert ((Reason("forced"),), ["train"]) == (result.reasons, stages_of(fakes))
    assert [Note("train:kws gave the same result as before")] == notes
    assert [] == bring(built, Fakes())


def test_build_with_nothing_to_do_runs_nothing(built: Files) -> None:
    """A fresh target gives its record and no reasons."""
    fakes = Fakes()
    result = Builder(built.workspace, Running(fakes)).build("kws", "archive")
    assert ((), [], "archive") == (result.reasons, fakes.calls, result.record.stage if result.record else None)


def test_options_reach_the_stage_that_they_are_for(workspace: Files) -> None:
    """The epochs of the command line are for the training they were given to, and for no stage before it."""
    fakes = Fakes()
    seen: dict[str, object] = {}
    for stage in BUILT:
        fakes.before[stage] = lambda request: seen.update({request.stage: request.options})
    Builder(workspace.workspace, Running(fakes)).build("kws", "train", {"epochs": 3})
    assert {"spec": {}, "data": {}, "preflight": {}, "train": {"epochs": 3}} == seen


# -- inspect ---------------------------------------------------------------------------------------------------------


def test_inspect_publishes_nothing(built: Files) -> None:
    """Running a spec for a plan gives its new slices and leaves every file as it was."""
    built.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    before = {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}
    record, texts = Builder(built.workspace, Running(Fakes())).inspect("kws")
    assert (True, set(texts)) == ('"batch": 64' in texts["spec/model.json"], set(record.artifacts))
    assert before == {path: path.stat().st_mtime_ns for path in built.root.rglob("*")}


def test_inspect_makes_no_folder_for_a_model_that_was_never_built(workspace: Files) -> None:
    """A plan of a new model leaves no trace."""
    Builder(workspace.workspace, Running(Fakes())).inspect("kws")
    assert not (workspace.root / "build").exists()


def test_failed_inspect_says_how_to_see_more(workspace: Files) -> None:
    """A spec that fails in a plan has no log to read; running its stage keeps one."""
    fakes = Fakes(fail={"spec": StageError("it can't", fix="see a log that is gone")})
    with pytest.raises(StageError) as caught:
        Builder(workspace.workspace, Running(fakes)).inspect("kws")
    assert ("spec:kws", "run `doit spec:kws`, which keeps its log") == (caught.value.where, caught.value.fix)
    assert not (workspace.root / "build").exists()


# -- provenance ------------------------------------------------------------------------------------------------------


def test_provenance_has_no_clock_no_host_and_no_place(workspace: Files) -> None:
    """What an archive tells of its origin is the same wherever and whenever it is built."""
    seen: list[dict[str, object]] = []

    def collect(fakes: Fakes) -> Fakes:
        fakes.before["archive"] = lambda request: seen.append(dict(request.provenance))
        return fakes

    bring(workspace, collect(Fakes()))
    other = Files(workspace.root.parent / "other")
    workspace.root.rename(other.root)
    for stage in BUILT:
        store.forget(Builder(other.workspace, Running(Fakes())).state("kws").folder, stage)
    bring(other, collect(Fakes()))
    assert seen[0] == seen[1]
    text = json.dumps(seen[0])
    assert not [word for word in (str(workspace.root.parent), platform.node(), "finished", "seconds") if word in text]
    assert set(BUILT) - {"archive", "preflight"} == set(json.loads(text)["stages"])
    assert {"models/kws.py", "models/parts.py"} == set(json.loads(text)["sources"])


def test_only_the_archive_is_told_the_provenance(workspace: Files) -> None:
    """Other stages can't depend on where their inputs come from."""
    fakes = Fakes()
    seen: dict[str, bool] = {}
    for stage in BUILT:
        fakes.before[stage] = lambda request: seen.update({request.stage: bool(request.provenance)})
    bring(workspace, fakes)
    assert {stage: stage == "archive" for stage in BUILT} == seen


# -- life ------------------------------------------------------------------------------------------------------------


def test_closed_builder_keeps_what_it_learned(built: Files) -> None:
    """The digests of touched files outlive the build."""
    os.utime(built.root / "samples/training/1.txt", (1, 1))
    builder = Builder(built.workspace, Running(Fakes()))
    assert not builder.judge("kws", "data").reasons
    wait: Callable[[], None] = builder.close
    wait()
    assert not Builder(built.workspace, Running(Fakes())).judge("kws", "data").reasons


def test_error_of_a_stage_keeps_a_better_place(workspace: Files) -> None:
    """A stage's error is placed at the stage, unless it knows a line."""
    for error, where in ((StageError("no"), "spec:kws"), (MltkError("no", where="models/kws.py:3"), "models/kws.py:3")):
        with pytest.raises(MltkError) as caught:
            Builder(workspace.workspace, Running(Fakes(fail={"spec": error}))).build("kws", "spec")
        assert where == caught.value.where
