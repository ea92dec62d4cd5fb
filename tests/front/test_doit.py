"""The `doit` command on a workspace: what each of its commands shows, runs, deletes and leaves."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from doit.dependency import JSONCodec

from mltkbuild.errors import StageError
from mltkbuild.front.doit_plugins import RecordsBackend
from mltkbuild.stages.table import BUILT, STAGES, makes, upstream

from ..conftest import REPOSITORY, SPEC, Fakes, Files, Front, Result, command

ALL = list(BUILT)


def names(*targets: str) -> set[str]:
    """Every stage of some targets."""
    return {f"{stage}:{target}" for stage in BUILT for target in targets}


@pytest.fixture
def two(front: Front) -> Front:
    """A workspace with two models and nothing built."""
    front.files.spec("vad")
    return front


# -- what there is ---------------------------------------------------------------------------------------------------


def test_list_shows_the_stages_in_order(two: Front) -> None:
    """`doit list` has one line a stage, in the order of building, with its doc."""
    lines = two.doit("list").out.splitlines()
    assert [(stage.name, stage.doc) for stage in STAGES.values()] == [
        (name, doc) for name, doc in (line.split(maxsplit=1) for line in lines)
    ]


def test_list_all_shows_every_target(two: Front) -> None:
    """`doit list --all` has every stage of every model and of its dry run."""
    listed = {line.split()[0] for line in two.doit("list", "--all").out.splitlines()}
    every = {f"{stage}:{name}" for stage in STAGES for name in ("kws", "kws-test", "vad", "vad-test")}
    assert every | set(STAGES) == listed


def test_list_all_has_one_entry_for_a_spec_that_can_t_be_one(two: Front) -> None:
    """A file that can't be a model is listed once, by its archive, with what is wrong."""
    two.files.spec("bad-name")
    lines = [line for line in two.doit("list", "--all").out.splitlines() if "bad-name" in line]
    assert 1 == len(lines)
    assert "archive:bad-name" in lines[0]
    assert "letters, digits and underscores" in lines[0]


def test_list_status_tells_run_from_up_to_date(front: Front) -> None:
    """`doit list -s` marks what is up to date."""
    assert "R" == front.doit("list", "-s", "train:kws").out[0]
    front.doit()
    assert "U" == front.doit("list", "-s", "train:kws").out[0]


# -- running ---------------------------------------------------------------------------------------------------------


def test_plain_doit_builds_every_archive_and_no_dry_run(two: Front) -> None:
    """`doit` alone builds all models, not their `-test` targets; the next one does nothing."""
    result = two.doit()
    assert names("kws", "vad") == set(two.fakes.calls)
    assert (0, True) == (result.code, result.out.startswith(f"done: {2 * len(ALL)} stages ran, 0 up to date, "))
    assert ["kws.mltk.zip", "vad.mltk.zip"] == sorted(path.name for path in two.files.root.glob("models/*.zip"))
    assert (0, f"up to date: {2 * len(ALL)} stages\n", "") == vars_of(two.doit())


def vars_of(result: Result) -> tuple[int, str, str]:
    """A result as a tuple."""
    return result.code, result.out, result.err


def test_one_stage_runs_with_what_it_needs(two: Front) -> None:
    """`doit train:NAME` runs that stage and those before it, of that model alone."""
    assert ["spec:kws", "data:kws", "preflight:kws", "train:kws"] == two.ran("train:kws")


def test_group_runs_the_stage_of_every_model(two: Front) -> None:
    """`doit data` is that stage of all models without the dry runs."""
    assert {"spec:kws", "data:kws", "spec:vad", "data:vad"} == set(two.ran("data"))


def test_wildcard_selects_tasks_by_name(two: Front) -> None:
    """`doit 'train:*'` is every train task there is, dry runs too, as with any doit project."""
    trained = {call for call in two.ran("train:*") if call.startswith("train")}
    assert {"train:kws", "train:kws-test", "train:vad", "train:vad-test"} == trained
    assert {"evaluate:kws-test", "evaluate:vad-test"} == {
        call for call in two.ran("evaluate:*-test") if call.startswith("evaluate")
    }


@pytest.mark.parametrize(
    ("path", "last"),
    [("build/kws/kws.tflite", "params"), ("build/kws/kws.keras", "train"), ("models/kws.mltk.zip", "archive")],
)
def test_artifact_can_be_asked_for_by_its_path(two: Front, path: str, last: str) -> None:
    """`doit build/NAME/NAME.tflite` makes that file, with what it needs."""
    assert f"{last}:kws" == two.ran(path)[-1]
    assert (two.files.root / path).exists()


def test_every_stage_declares_what_it_always_makes(front: Front) -> None:
    """The targets of the doit tasks are the artifacts of the stage table, where they are published."""
    for stage in STAGES.values():
        out = front.doit("info", "--no-status", f"{stage.name}:kws").out
        listed = {line.removeprefix(" - ") for line in out.splitlines() if line.startswith((" - build", " - models"))}
        expected = {name if name.endswith(".mltk.zip") else f"kws/{name}" for name in makes(stage, "kws")}
        assert expected == {path.partition("/")[2] for path in listed}


def test_epochs_option_trains_that_many_and_the_plain_run_goes_back(built_front: Front) -> None:
    """`--epochs` is an input of training: it retrains once, and without it the spec counts again."""
    assert ["train:kws"] == built_front.ran("train:kws", "--epochs", "3")
    assert [] == built_front.ran("train:kws", "--epochs", "3")
    assert ["train:kws"] == built_front.ran("train:kws")
    assert [] == built_front.ran("train:kws", "--epochs", "10")


@pytest.mark.parametrize("text", ["-3", "0", "many", "1.5"])
def test_epochs_that_are_no_count_are_an_error(front: Front, text: str) -> None:
    """`--epochs` with anything but a positive integer runs nothing and says what was found."""
    result = front.doit("train:kws", "--epochs", text)
    assert (3, "", []) == (result.code, result.out, front.fakes.calls)
    assert f"ERROR: epochs must be a positive integer.\n  found: {text}\n  fix:   such as --epochs 5\n" == result.err


def test_two_at_a_time_gives_the_same_files(two: Front, tmp_path: Path) -> None:
    """`doit -n 2` builds the same artifacts as one at a time."""
    assert 0 == two.doit("-n", "2").code
    parallel = {path: data for path, data in two.files.tree().items() if ".records" not in path}
    two.doit("forget")
    assert 2 * len(ALL) == len(two.ran())
    assert parallel == {path: data for path, data in two.files.tree().items() if ".records" not in path}


def test_always_runs_everything_once_more(built_front: Front) -> None:
    """`doit -a` runs stages that are up to date, and says that it was asked to."""
    result = built_front.doit("-a", "train:kws")
    assert ["spec:kws", "data:kws", "preflight:kws", "train:kws"] == built_front.fakes.calls
    assert result.out.startswith("done: 4 stages ran, 0 up to date, ")
    assert ["gave the same result as before  (asked for)"] * 4 == [
        line.split(" s  ")[1] for line in result.err.splitlines()
    ]
    assert [] == built_front.ran()


def test_reason_stands_behind_each_stage_that_runs(built_front: Front) -> None:
    """After an edit each line says why its stage ran, in the spec's values."""
    built_front.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    reasons = [line.split(" s  ", 1)[1] for line in built_front.doit().err.splitlines()]
    assert "code of models/kws.py changed" == reasons[0]
    assert "preflight.batch_size: 32 -> 64" in reasons[1]
    assert "train.batch_size: 32 -> 64" in reasons[2]


# -- failures --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jobs", [(), ("-n", "2"), ("-n", "2", "-P", "process")])
def test_broken_specs_fail_once_each_while_all_others_build(two: Front, jobs: tuple[str, ...]) -> None:
    """A syntax error, a bad file name, a name taken twice and a wrong encoding: four errors, two models built."""
    two.files.spec("syn", "# @mltk_model\nx = (\n")
    two.files.spec("bad-name")
    two.files.spec("twin")
    two.files.write("models/more/twin.py", SPEC)
    two.files.write("models/latin.py", "").write_bytes(b"# @mltk_model\nx = '\xe9'\n")
    result = two.doit(*jobs)
    errors = [line for line in result.err.splitlines() if line.startswith("error: ")]
    assert {
        "error: models/syn.py:2: syntax error: '(' was never closed.",
        "error: models/bad-name.py: a model's name may only have letters, digits and underscores.",
        "error: models/twin.py: two specs have the name twin.",
        "error: models/latin.py: this file can't be read.",
    } == set(errors)
    assert 4 == len(errors)
    assert 2 == result.code
    # Of the two specs that can't be parsed all stages but the first are left out.
    assert f"{2 * len(ALL)} stages ran, 0 up to date, {2 * (len(ALL) - 1)} left out" in result.out
    assert names("kws", "vad") <= set(two.fakes.calls)


@pytest.mark.parametrize("jobs", [(), ("-n", "2")])
def test_failed_stage_gives_code_1_and_leaves_its_dependents_out(
    two: Front, fakes: Fakes, jobs: tuple[str, ...]
) -> None:
    """A stage that fails is one error; what waits for it is counted, not reported, and the other model is built."""
    fakes.fail = {"train": StageError("the loss is not a number", where="train:kws", fix="lower the learning rate")}
    result = two.doit(*jobs, "archive:kws", "data:vad")
    assert 1 == result.code
    assert 1 == result.err.count("error: train:kws: the loss is not a number.\n  fix:   lower the learning rate\n")
    assert "failed: train:kws; 5 stages ran, 0 up to date, 5 left out\n" == result.out


def test_failure_inside_mltkbuild_shows_where_it_happened(front: Front, fakes: Fakes) -> None:
    """An error that nobody foresaw keeps its traceback, and doit's code for it."""

    def fault(request: object) -> None:
        raise ZeroDivisionError("no")

    fakes.before["data"] = fault
    result = front.doit("data:kws")
    assert 2 == result.code
    assert "ZeroDivisionError: no" in result.out
    assert "failed  (never built)" in result.err


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("kws", "name its stage too: archive:kws"),
        ("train:kwz", "did you mean kws?"),
        ("trian:kws", "did you mean train?"),
        ("other", f"the stages are {', '.join(sorted(STAGES))}"),
    ],
)
def test_unknown_word_gets_a_hint(front: Front, word: str, hint: str) -> None:
    """A task that isn't there runs nothing and names what was probably meant."""
    result = front.doit(word)
    assert (3, "", []) == (result.code, result.out, front.fakes.calls)
    assert f"ERROR: there is no stage, model or artifact {word}.\n  fix:   {hint}\n" == result.err


def test_wrong_configuration_is_one_error(workspace: Files, run: Callable[..., Result]) -> None:
    """A key that `[tool.mltkbuild]` doesn't know ends doit with one error instead of a traceback."""
    workspace.write("pyproject.toml", '[tool.mltkbuild]\nbuild_dri = "b"\n')
    result = run("doit")
    assert 3 == result.code
    assert result.err.startswith("ERROR: ")
    assert "did you mean build_dir?" in result.err
    assert "Traceback" not in result.err


def test_no_models_is_nothing_to_do(front: Front) -> None:
    """A workspace without a spec builds without complaint."""
    (front.files.root / "models/kws.py").unlink()
    assert (0, "up to date: 0 stages\n", "") == vars_of(front.doit())


# -- other reporters -------------------------------------------------------------------------------------------------


def test_json_reporter_prints_json_alone(front: Front, fakes: Fakes) -> None:
    """`doit -r json` writes one JSON document, of a success, a no-op and a failure."""
    for expected in ("success", "up-to-date"):
        tasks = {task["name"]: task["result"] for task in json.loads(front.doit("-r", "json").out)["tasks"]}
        assert {expected} == {result for name, result in tasks.items() if ":" in name}
    front.doit("forget", "train:kws")
    fakes.fail = {"train": StageError("no", where="train:kws")}
    result = front.doit("-r", "json")
    tasks = {task["name"]: task for task in json.loads(result.out)["tasks"]}
    assert ("fail", 1) == (tasks["train:kws"]["result"], result.code)
    assert "train:kws: no." in tasks["train:kws"]["error"]


def test_console_reporter_prints_its_own_lines(front: Front) -> None:
    """`doit -r console` shows each task as doit does."""
    assert [f".  {stage}:kws" for stage in ALL] == front.doit("-r", "console").out.splitlines()
    assert [f"-- {stage}:kws" for stage in ALL] == front.doit("-r", "console").out.splitlines()


def test_executed_only_reporter_is_silent_about_the_rest(built_front: Front) -> None:
    """`doit -r executed-only` prints nothing when nothing runs."""
    assert (0, "", "") == vars_of(built_front.doit("-r", "executed-only"))
    built_front.files.edit("models/kws.py", '"one"', '"two"')
    ran = [f".  {stage}:kws" for stage in ("spec", "params", "profile", "archive")]
    assert ran == built_front.doit("-r", "executed-only").out.splitlines()


# -- info ------------------------------------------------------------------------------------------------------------


def test_info_gives_the_reason(front: Front) -> None:
    """`doit info TASK` says why the task would run, and that it wouldn't."""
    assert "never built" in front.doit("info", "train:kws").out
    front.doit()
    assert "status     : up-to-date" in front.doit("info", "train:kws").out
    (front.files.root / "build/kws/kws.keras").unlink()
    result = front.doit("info", "train:kws")
    assert (1, True) == (result.code, "kws.keras is missing" in result.out)
    front.files.write("models/kws.py", "").write_bytes(b"# @mltk_model\nx = '\xe9'\n")
    assert "models/kws.py: this file can't be read" in front.doit("info", "spec:kws").out


# -- clean -----------------------------------------------------------------------------------------------------------


def artifacts(files: Files, *targets: str) -> set[str]:
    """What the stages of some targets made, as far as it is there."""
    found = {
        f"build/{target}/{name}" for target in targets for stage in STAGES.values() for name in makes(stage, target)
    }
    found |= {f"models/{target}.mltk.zip" for target in targets}
    return {path for path in found if (files.root / path).exists()}


def test_clean_removes_artifacts_of_all_targets_and_nothing_else(two: Front) -> None:
    """`doit clean` leaves specs, data, records and files that were set aside; what it removes it names."""
    two.doit()
    two.doit("archive:kws-test")
    two.files.write("build/kws/kws.keras.changed", "mine")
    two.files.write("build/kws/note.txt", "mine")
    two.files.write("models/kws.mltk.zip.changed", "mine")
    before = two.files.tree()
    made = artifacts(two.files, "kws", "kws-test", "vad")
    assert 3 * sum(len(makes(STAGES[stage], "kws")) for stage in ALL) == len(made)
    result = two.doit("clean")
    assert made == before.keys() - two.files.tree().keys()
    assert {} == {path: data for path, data in two.files.tree().items() if before[path] != data}
    assert made == {line.split(" removed ")[1] for line in result.out.splitlines()}


def test_clean_dry_run_removes_nothing_and_says_what_it_would(built_front: Front) -> None:
    """`doit clean -n` names what `doit clean` would remove, and touches nothing."""
    before = built_front.files.tree()
    named = {line.split(" would remove ")[1] for line in built_front.doit("clean", "-n").out.splitlines()}
    assert artifacts(built_front.files, "kws") == named
    assert before == built_front.files.tree()


@pytest.mark.parametrize("word", ["train:kws", "build/kws/kws.keras", "train:k*s"])
def test_clean_of_one_task_removes_what_it_made(two: Front, word: str) -> None:
    """`doit clean train:NAME`, by its name, a pattern or a file that it makes, removes that stage's artifacts alone."""
    two.doit()
    before = set(two.files.tree())
    two.doit("clean", word)
    gone = before - set(two.files.tree())
    assert {f"build/kws/{name}" for name in makes(STAGES["train"], "kws")} == gone
    assert ["train:kws"] == two.ran()


def test_clean_of_a_fresh_workspace_makes_no_folders(front: Front) -> None:
    """Cleaning and forgetting where nothing was built leaves the workspace as it is."""
    before = sorted(front.files.root.rglob("*"))
    assert (0, "") == vars_of(front.doit("clean"))[:2]
    assert (0, "there is nothing to forget\n") == vars_of(front.doit("forget"))[:2]
    assert before == sorted(front.files.root.rglob("*"))


@pytest.mark.parametrize("built", [True, False])
def test_clean_keeps_an_archive_that_is_not_what_was_built(front: Front, built: bool) -> None:
    """An archive beside the spec that was edited, or that no build made, stays and is named."""
    if built:
        front.doit()
    else:
        front.doit("evaluate:kws")
    archive = front.files.write("models/kws.mltk.zip", "from elsewhere")
    for arguments in (("clean", "-n"), ("clean",)):
        assert "archive:kws - kept models/kws.mltk.zip, which is not what was built\n" in front.doit(*arguments).out
    assert "from elsewhere" == archive.read_text()
    assert {"models/kws.mltk.zip"} == artifacts(front.files, "kws")


def test_clean_can_forget_too(built_front: Front) -> None:
    """`doit clean --forget` drops the records as well, and with `-n` it does neither."""
    before = built_front.files.tree()
    built_front.doit("clean", "-n", "--forget", "train:kws")
    assert before == built_front.files.tree()
    built_front.doit("clean", "--forget", "train:kws")
    assert not (built_front.files.root / "build/kws/.records/train.json").exists()


# -- forget and ignore -----------------------------------------------------------------------------------------------


def test_forget_drops_records_and_keeps_artifacts(two: Front) -> None:
    """`doit forget train:NAME` makes that stage run again; nothing else changes."""
    two.doit()
    before = two.files.tree()
    assert "forgetting train:kws\n" == two.doit("forget", "train:kws").out
    gone = before.keys() - two.files.tree().keys()
    assert {"build/kws/.records/train.json", "build/kws/.records/train.values.json"} == gone
    assert ["train:kws"] == two.ran()


def test_forget_alone_forgets_every_stage(two: Front) -> None:
    """`doit forget` drops the records of every target, dry runs too, and keeps all artifacts."""
    two.doit()
    two.doit("archive:kws-test")
    made = artifacts(two.files, "kws", "kws-test", "vad")
    assert 3 * len(ALL) == two.doit("forget").out.count("forgetting ")
    assert made == artifacts(two.files, "kws", "kws-test", "vad")
    assert names("kws", "vad") == set(two.ran())


def test_forget_takes_groups_patterns_and_dependencies(two: Front) -> None:
    """`doit forget train`, `doit forget 'train:*'` and `-s` reach what their words say; an unknown name is an error."""
    two.doit()
    assert {"forgetting train:kws", "forgetting train:vad"} == set(two.doit("forget", "train").out.splitlines())
    two.doit()
    assert {"forgetting train:kws", "forgetting train:vad"} == set(two.doit("forget", "train:*").out.splitlines())
    two.doit()
    forgotten = {f"forgetting {stage}:kws" for stage in upstream("train")}
    assert forgotten == set(two.doit("forget", "-s", "train:kws").out.splitlines())
    assert (3, "ERROR: 'train:kwz' is not a task.\n") == (
        two.doit("forget", "train:kwz").code,
        two.doit("forget", "train:kwz").err,
    )


def test_forget_with_disabled_default_does_nothing(built_front: Front) -> None:
    """`doit forget --disable-default` without a name forgets nothing."""
    before = built_front.files.tree()
    assert "no tasks specified" in built_front.doit("forget", "--disable-default").out
    assert before == built_front.files.tree()


def test_ignore_lasts_until_forget_and_costs_no_training(built_front: Front) -> None:
    """An ignored stage and what follows it don't run; `doit forget` ends that and keeps the record."""
    built_front.doit("ignore", "train:kws")
    built_front.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    result = built_front.doit()
    assert (0, True) == (result.code, "6 ignored" in result.out)
    assert [] == built_front.ran()
    built_front.files.edit("models/kws.py", "batch_size = 64", "batch_size = 32")
    assert "train:kws is no longer ignored\n" == built_front.doit("forget", "train:kws").out
    assert ["spec:kws"] == built_front.ran()


def test_no_database_is_left(front: Front) -> None:
    """Doit leaves no file of its own in a workspace, but for what was ignored, while it is."""
    before = {path.name for path in front.files.root.iterdir()}
    for arguments in ((), ("-n", "2"), ("-r", "console"), ("forget", "train:kws"), (), ("clean",), ("list", "-s")):
        front.doit(*arguments)
    assert before | {"build"} == {path.name for path in front.files.root.iterdir()}
    front.doit("ignore", "train:kws")
    assert before | {"build", ".doit.json"} == {path.name for path in front.files.root.iterdir()}
    front.doit("forget", "train:kws")
    assert before | {"build"} == {path.name for path in front.files.root.iterdir()}


def test_damaged_database_is_one_error(front: Front) -> None:
    """A `.doit.json` that can't be read is named with what to do."""
    path = front.files.root / ".doit.json"
    for data in (b"{", b"[]", b'{"a": 1}', b"\xff\xfe", b"[" * 200_000, None):
        path.unlink(missing_ok=True)
        path.write_bytes(data) if data is not None else os.mkfifo(path)
        result = front.doit()
        assert (3, []) == (result.code, front.fakes.calls)
        assert result.err.startswith("ERROR: .doit.json can't be read.\n  fix:   delete it")


# -- beside other tasks ----------------------------------------------------------------------------------------------

OWN = """
from mltkbuild.tasks import DOIT_CONFIG, task_mltkbuild

def task_flash():
    return {"actions": ["cp models/parts.py flashed"], "file_dep": ["models/parts.py"], "targets": ["flashed"],
            "clean": True}
"""
FOREIGN = """
DOIT_CONFIG = {"default_tasks": ["copy"]}

def task_copy():
    return {"actions": ["cp a b"], "file_dep": ["a"], "targets": ["b"], "clean": True}

def task_other():
    return {"actions": ["cp a c"], "file_dep": ["a"], "targets": ["c"], "clean": True}
"""


def test_project_s_own_tasks_work_beside_the_stages(workspace: Files, run: Callable[..., Result]) -> None:
    """A task of the project's own keeps doit's rules and its state, and is shown as doit shows it."""
    workspace.write("dodo.py", OWN)
    assert ".  flash\n" in run("doit", "flash").out
    assert "-- flash\n" in run("doit", "flash").out
    run("doit", "forget", "flash")
    assert ".  flash\n" in run("doit", "flash").out
    run("doit", "clean", "flash")
    assert not (workspace.root / "flashed").exists()


def test_somebody_else_s_project_is_left_alone(tmp_path: Path) -> None:
    """A doit project without mltkbuild in the same environment runs, cleans and forgets as before."""
    files = Files(tmp_path)
    files.write("dodo.py", FOREIGN)
    files.write("a", "1")

    def doit(*arguments: str) -> tuple[int, str]:
        result = command("doit", *arguments, cwd=tmp_path)
        return result.code, result.out

    assert (0, ".  copy\n") == doit()
    assert (0, "-- copy\n") == doit()
    assert (0, ".  other\n") == doit("other")
    assert (0, "forgetting copy\n") == doit("forget")
    assert (0, ".  copy\n") == doit()
    assert (0, "copy - removing file 'b'\n") == doit("clean")
    assert (True, False) == ((tmp_path / "c").exists(), (tmp_path / "b").exists())
    result = command("doit", "nosuch", cwd=tmp_path)
    assert (3, True) == (result.code, 'Invalid parameter: "nosuch"' in result.err)
    files.write("dodo.py", FOREIGN.replace("cp a c", "exit 1 # on purpose"))
    assert 1 == command("doit", "-a", "other", cwd=tmp_path).code


def test_installed_command_finds_the_plugins(workspace: Files, run: Callable[..., Result]) -> None:
    """`doit` in a process of its own, in the workspace's folder, has the stages, the backend and the commands."""
    assert (REPOSITORY / "dodo.py").read_text() == (workspace.root / "dodo.py").read_text()
    assert len(STAGES) == len(run("doit", "list").out.splitlines())
    assert "there is nothing to forget\n" == run("doit", "forget").out
    assert "did you mean train?" in run("doit", "trian:kws").err


def test_ignore_writes_through_no_link(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a clone has put where doit's database is written goes, and what it leads to stays."""
    monkeypatch.chdir(tmp_path)
    outside = tmp_path / "outside"
    for name in (".doit.json", f".doit.json.{os.getpid()}.tmp"):
        (tmp_path / name).symlink_to(outside)
    outside.write_text("{}", encoding="utf-8")
    backend = RecordsBackend(".doit.json", JSONCodec())
    backend.set("own", "value", 1)
    backend.dump()
    assert "{}" == outside.read_text(encoding="utf-8")
    assert '"own"' in (tmp_path / ".doit.json").read_text(encoding="utf-8")
