"""The `mltk` command: what each command prints, runs and refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from mltkbuild.cli.build import plan_summary
from mltkbuild.engine.plan import BLOCKED, FRESH, MAY_RUN, RUNS, Step
from mltkbuild.errors import StageError
from mltkbuild.stages.table import BUILT, STAGES, makes, upstream

from ..conftest import SPEC, Fakes, Files, Front, Result, command


def tree(files: Files) -> dict[str, bytes]:
    """Every file but the memo of digests, which looking may write."""
    return {path: data for path, data in files.tree().items() if path != "build/.memo.json"}


BUILDING = ("build", "check", "train", "quantize", "evaluate", "profile", "export", "clean")
COMMANDS = (*BUILDING, "list", "status", "explain", "summarize", "update_params", "view", "view_data", "unpack", "init")


@pytest.fixture
def built(built_front: Front) -> Front:
    """A workspace with a model that is up to date and one that was never built."""
    built_front.files.spec("vad")
    return built_front


# -- help and errors -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", COMMANDS)
def test_help_shows_an_example(front: Front, name: str) -> None:
    """`mltk COMMAND --help` has a line that can be typed as it stands."""
    out = front.mltk(name, "--help").out
    assert [line for line in out.splitlines() if line.startswith(f"  mltk {name}")]


@pytest.mark.parametrize("arguments", [(), ("--help",), ("-h",)])
def test_help_lists_the_commands_in_whole_sentences(front: Front, arguments: tuple[str, ...]) -> None:
    """`mltk` alone is `mltk --help`: every command with a sentence that isn't cut."""
    result = front.mltk(*arguments)
    listed = dict(line.split(maxsplit=1) for line in result.out.partition("Commands:\n")[2].splitlines())
    assert set(COMMANDS) == set(listed)
    assert [] == [text for text in listed.values() if not text.endswith(".") or text.endswith("...")]
    assert (0, "") == (result.code, result.err)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (("bild",), "mltk: no such command 'bild'.\n  fix:   did you mean 'build'?"),
        (("train", "kws", "--epoch", "3"), "mltk train: no such option '--epoch'.\n  fix:   did you mean '--epochs'?"),
        (("train",), "mltk train: missing argument 'NAME...'.\n  fix:   see `mltk train --help`"),
        (("build", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("build", "kwz-test"), "there is no model kwz.\n  found: kwz-test\n  fix:   did you mean kws?"),
        (("build", "kws", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("build", "--dry-run", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("build", "trian:kws"), "there is no stage trian.\n  found: trian:kws\n  fix:   did you mean train?"),
        (("train", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("quantize", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("evaluate", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("summarize", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("status", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("clean", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("clean", "trian:kws"), "there is no stage trian.\n  found: trian:kws\n  fix:   did you mean train?"),
        (("explain", "kwz"), "there is no model kwz.\n  found: kwz\n  fix:   did you mean kws?"),
        (("explain", "kws:trian"), "there is no stage trian.\n  found: kws:trian\n  fix:   did you mean train?"),
        (("explain", "trian:kws"), "there is no stage trian.\n  found: trian:kws\n  fix:   did you mean train?"),
        (("clean", "--orphans", "kws"), "--orphans takes no names.\n  found: kws\n  fix:   run `mltk clean --orphans`"),
    ],
)
def test_wrong_words_run_nothing(built: Front, arguments: tuple[str, ...], error: str) -> None:
    """An unknown command, option, model or stage is one error with a hint, code 2, and nothing runs or changes."""
    before = tree(built.files)
    result = built.mltk(*arguments)
    assert (2, "", f"error: {error}\n") == (result.code, result.out, result.err)
    assert ([], before) == (built.fakes.calls, tree(built.files))


@pytest.mark.parametrize("arguments", [("list",), ("build",), ("status",), ("explain", "kws"), ("clean",)])
def test_outside_a_workspace_is_an_error(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """Where there is no `dodo.py` here or above, every command says so and how to begin."""
    result = command("mltk", *arguments, cwd=tmp_path)
    assert (2, "") == (result.code, result.out)
    assert (
        f"error: {tmp_path}: this is no workspace.\n  found: no dodo.py here or above\n  fix:   run `mltk init .`\n"
        == result.err
    )


def test_wrong_configuration_is_an_error(workspace: Files, run: Callable[..., Result]) -> None:
    """A `pyproject.toml` that can't be read stops every command with one error."""
    workspace.write("pyproject.toml", "x")
    result = run("mltk", "list")
    assert (2, "") == (result.code, result.out)
    assert "pyproject.toml is not valid TOML" in result.err
    assert "Traceback" not in result.err


def test_subfolder_of_a_workspace_will_do(built: Front) -> None:
    """Every command works from any folder in the workspace."""
    assert built.mltk("list").out == built.mltk("list", folder="models").out
    assert built.mltk("status").out == built.mltk("status", folder="samples/training").out
    assert 0 == built.mltk("build", "vad", folder="models").code
    assert "vad:" not in built.mltk("clean", "kws", folder="build/vad").out
    assert (built.files.root / "build/vad/vad.tflite").exists()


# -- list ------------------------------------------------------------------------------------------------------------


def test_list_shows_models_and_what_can_t_be_one(front: Front) -> None:
    """`mltk list` has a line a model, and one for each file that should be a model."""
    front.files.spec("bad-name")
    result = front.mltk("list")
    assert [
        "model     spec",
        "kws       models/kws.py",
        "bad-name  error: a model's name may only have letters, digits and underscores",
    ] == result.out.splitlines()
    listed = json.loads(front.mltk("list", "--json").out)
    assert [{"name": "kws", "spec": "models/kws.py"}] == listed["models"]
    assert ["bad-name"] == [problem["name"] for problem in listed["problems"]]


@pytest.mark.parametrize("arguments", [("list",), ("status",), ("build",), ("build", "--dry-run")])
def test_workspace_without_models_says_how_to_begin(front: Front, arguments: tuple[str, ...]) -> None:
    """Without a model there is nothing to do, and a hint."""
    (front.files.root / "models/kws.py").unlink()
    expected = "no models below models; write one there, or try `mltk init DIR` for an example\n"
    assert (0, expected) == (front.mltk(*arguments).code, front.mltk(*arguments).out)


# -- building --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "stages"),
    [
        (("build", "kws"), list(BUILT)),
        (("build", "kws", "kws"), list(BUILT)),
        (("build", "kws", "-n", "2"), list(BUILT)),
        (("build", "train:kws"), ["spec", "data", "preflight", "train"]),
        (("check", "kws"), ["spec", "data", "preflight"]),
        (("train", "kws"), list(BUILT)),
        (("train", "kws", "--no-evaluate"), list(upstream("params"))),
        (("quantize", "kws"), list(upstream("params"))),
        (("evaluate", "kws"), list(upstream("evaluate"))),
        (("summarize", "kws"), ["spec"]),
    ],
)
@pytest.mark.parametrize("suffix", ["", "-test"])
def test_command_runs_the_stages_that_it_needs(
    front: Front, arguments: tuple[str, ...], stages: list[str], suffix: str
) -> None:
    """Each command builds up to its stage, for a model and for its dry run, and a second time nothing."""
    words = [word + suffix if word.endswith("kws") else word for word in arguments]
    assert 0 == front.mltk(*words).code
    assert {f"{stage}:kws{suffix}" for stage in stages} == set(front.fakes.calls)
    front.fakes.calls.clear()
    assert 0 == front.mltk(*words).code
    assert [] == front.fakes.calls


def test_build_alone_builds_every_model(built: Front) -> None:
    """`mltk build` is `doit`."""
    result = built.mltk("build")
    assert {f"{stage}:vad" for stage in BUILT} == set(built.fakes.calls)
    assert f"done: {len(BUILT)} stages ran, {len(BUILT)} up to date, " in result.out
    assert f"up to date: {2 * len(BUILT)} stages\n" == built.mltk("build").out == built.doit().out


def test_train_takes_epochs(built: Front) -> None:
    """`mltk train NAME --epochs N` retrains with N epochs, every named model."""
    built.mltk("train", "kws", "vad", "--epochs", "3", "--no-evaluate")
    assert {"spec:vad", "data:vad", "train:kws", "train:vad"} <= set(built.fakes.calls)
    assert set() == {call for call in built.fakes.calls if call.startswith("evaluate")}
    built.fakes.calls.clear()
    built.mltk("train", "kws", "--epochs", "3")
    assert set() == {call for call in built.fakes.calls if call.startswith("train")}
    record = json.loads((built.files.root / "build/vad/.records/train.json").read_text())
    assert "3" == record["inputs"]["option epochs"]


def test_evaluate_prints_both_summaries(front: Front) -> None:
    """`mltk evaluate NAME` ends with what the evaluation found, float and int8."""
    out = front.mltk("evaluate", "kws").out
    texts = [(front.files.root / f"build/kws/eval/{kind}/summary.txt").read_text() for kind in ("keras", "tflite")]
    assert out.endswith("\n".join(texts) + "\n")


def test_fail_fast_stops_at_the_first_failure(front: Front, fakes: Fakes) -> None:
    """`mltk build --fail-fast` starts nothing after a failure; without it the other models are built."""
    front.files.spec("vad")
    fakes.fail = {"spec": StageError("no", where="spec:kws")}
    assert 1 == front.mltk("build", "--fail-fast").code
    assert ["spec:kws"] == fakes.calls
    fakes.calls.clear()
    assert 1 == front.mltk("build").code
    assert ["spec:kws", "spec:vad"] == fakes.calls


@pytest.mark.parametrize("arguments", [("build",), ("train", "syn"), ("summarize", "syn"), ("evaluate", "syn")])
def test_broken_spec_is_one_error_and_code_2(front: Front, arguments: tuple[str, ...]) -> None:
    """A spec with a syntax error ends any command that needs it with that error, once, and code 2."""
    front.files.spec("syn", "# @mltk_model\nx = (\n")
    result = front.mltk(*arguments)
    assert (2, 1) == (result.code, result.err.count("error: models/syn.py:2: syntax error: '(' was never closed."))


# -- the dry run -----------------------------------------------------------------------------------------------------


def test_dry_run_tells_what_runs_and_builds_nothing(built: Front) -> None:
    """`mltk build --dry-run` has a line a stage, why and how long it took, and one for a model that was never built."""
    built.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    before = tree(built.files)
    result = built.mltk("build", "--dry-run")
    assert (0, before) == (result.code, tree(built.files))
    assert [
        "model  stage               because                                  last time",
        "kws    spec       runs     code of models/kws.py changed            1.5 s",
        "kws    preflight  runs     preflight.batch_size: 32 -> 64           1.5 s",
        "kws    train      runs     train.batch_size: 32 -> 64               1.5 s",
        "kws    quantize   may run  if train changes its result              1.5 s",
        "kws    params     may run  if quantize changes its result           1.5 s",
        "kws    evaluate   may run  if train or quantize changes its result  1.5 s",
        "kws    profile    may run  if params changes its result             1.5 s",
        "kws    archive    runs     spec/model.json changed (and 3 more)     1.5 s",
        "vad    all        runs     never built",
        "2 of 2 models train; 13 stages run, about 6.0 s, up to 12.0 s with those that may, "
        "not counting 9 stages that never ran",
    ] == result.out.splitlines()


def test_dry_run_of_some_targets(built: Front) -> None:
    """The dry run takes names, dry runs and stages as a build does."""
    assert "up to date: 1 model\n" == built.mltk("build", "kws", "--dry-run").out
    assert "1 of 1 model trains; 9 stages run, no times known yet" in built.mltk("build", "kws-test", "--dry-run").out
    assert "0 of 1 model train; 2 stages run, no times known yet" in built.mltk("build", "data:vad", "--dry-run").out


def test_dry_run_shows_the_others_beside_broken_specs(built: Front) -> None:
    """A spec that can't be built is an error after the plan, and code 2; the plan of the others stands."""
    built.files.spec("syn", "# @mltk_model\nx = (\n")
    built.files.spec("bad-name")
    result = built.mltk("build", "--dry-run")
    assert 2 == result.code
    assert "1 of 4 models trains; 9 stages run, no times known yet; 2 can't be built" == result.out.splitlines()[-1]
    assert ["syn.py:2: syntax error", "bad-name.py: a model's"] == [
        line.removeprefix("error: models/")[:22] for line in result.err.splitlines() if line.startswith("error: ")
    ]


def steps(target: str, states: dict[str, tuple[str, float | None]]) -> list[Step]:
    """A plan with these states and times; the other stages are up to date."""
    found = [(stage, *states.get(stage, (FRESH, None))) for stage in BUILT]
    return [Step(target, stage, state, seconds=seconds) for stage, state, seconds in found]


@pytest.mark.parametrize(
    ("plans", "expected"),
    [
        ([{}], "up to date: 1 model"),
        ([{}, {}], "up to date: 2 models"),
        ([{"archive": (RUNS, 0.2)}], "0 of 1 model train; 1 stage runs, about 0.2 s"),
        (
            [{"train": (RUNS, 3600.0)}, {"train": (RUNS, 3000.0)}, {"train": (RUNS, 1200.0)}, *[{}] * 37],
            "3 of 40 models train; 3 stages run, about 2 h 10 min",
        ),
        (
            [{"spec": (RUNS, 3.0), "train": (RUNS, 60.0), "quantize": (MAY_RUN, 5.0)}],
            "1 of 1 model trains; 2 stages run, about 1 min 3 s, up to 1 min 8 s with those that may",
        ),
        (
            [{"data": (RUNS, 2.0), "train": (MAY_RUN, 10.0)}, {"train": (RUNS, 1.0)}],
            "1 of 2 models trains, 1 more may; 2 stages run, about 3.0 s, up to 13.0 s with those that may",
        ),
        ([dict.fromkeys(BUILT, (RUNS, None))], f"1 of 1 model trains; {len(BUILT)} stages run, no times known yet"),
        (
            [dict.fromkeys(BUILT, (RUNS, None)), {"train": (RUNS, 30.0)}],
            f"2 of 2 models train; {len(BUILT) + 1} stages run, about 30.0 s, "
            f"not counting {len(BUILT)} stages that never ran",
        ),
        ([dict.fromkeys(BUILT, (BLOCKED, 5.0))], "1 can't be built"),
        ([dict.fromkeys(BUILT, (BLOCKED, None)), {}], "up to date: 1 model; 1 can't be built"),
    ],
)
def test_last_line_of_the_dry_run_adds_up(plans: list[dict[str, tuple[str, float | None]]], expected: str) -> None:
    """The closing line counts models that train and stages that run, and adds only times that are known."""
    assert expected == plan_summary([steps(f"m{number}", states) for number, states in enumerate(plans)])


# -- status and explain ----------------------------------------------------------------------------------------------


def test_status_has_a_line_a_model(built: Front) -> None:
    """`mltk status` says what is up to date, and else the first stage that isn't and why."""
    built.files.spec("fresh_one_with_a_long_name")
    assert [
        "model                       stage  state        float  int8  size",
        "fresh_one_with_a_long_name  spec   never built  -      -     -",
        "kws                         all    up to date   -      -     -",
        "vad                         spec   never built  -      -     -",
    ] == built.mltk("status").out.splitlines()
    built.files.spec("bad-name")
    assert "bad-name                    spec   error: a model's name may only" in built.mltk("status").out


@pytest.mark.parametrize(("name", "state"), [("kws", "up to date"), ("kws-test", "never built")])
def test_status_all_has_a_line_a_stage(built: Front, name: str, state: str) -> None:
    """`mltk status NAME --all` shows every stage; `NAME-test` is a target of its own."""
    rows = [line.split(None, 2) for line in built.mltk("status", name, "--all").out.splitlines()[1:]]
    assert [[name, stage] for stage in BUILT] == [row[:2] for row in rows]
    assert {state} == {row[2].rstrip(" -") for row in rows}


def test_status_json_has_reasons_times_and_figures(built: Front) -> None:
    """`mltk status --json` gives the same facts as values."""
    built.files.edit("models/kws.py", '"one"', '"two"')
    built.files.spec("bad-name")
    found = {model["model"]: model for model in json.loads(built.mltk("status", "--json").out)}
    assert {"kws", "vad", "bad-name"} == found.keys()
    first = found["kws"]["stages"][0]
    assert ("spec", "runs", 1.5, None) == tuple(first[name] for name in ("stage", "state", "seconds", "error"))
    assert "code of models/kws.py changed" == first["reasons"][0]["text"]
    assert {"blocked"} == {stage["state"] for stage in found["bad-name"]["stages"]}
    assert None is found["kws"]["float_accuracy"]


@pytest.mark.parametrize("word", ["kws", "kws:train", "train:kws", "kws:archive", "archive:kws"])
def test_explain_of_what_is_up_to_date(built: Front, word: str) -> None:
    """`mltk explain` says in one line that nothing would run."""
    assert (0, f"{word} is up to date\n", "") == tuple(vars(built.mltk("explain", word)).values())


def explain(front: Front, word: str = "kws") -> list[str]:
    """The lines of `mltk explain`, which builds nothing."""
    before = tree(front.files)
    lines = front.mltk("explain", word).out.splitlines()
    assert before == tree(front.files)
    return lines


def test_explain_of_a_changed_property(built: Front) -> None:
    """A changed property is told with its old and new value; stages that may follow are named."""
    built.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    assert [
        "spec:kws runs because",
        "  code of models/kws.py changed",
        "preflight:kws runs because",
        "  preflight.batch_size: 32 -> 64",
        "train:kws runs because",
        "  train.batch_size: 32 -> 64",
        "quantize:kws runs if train changes its result",
        "params:kws runs if quantize changes its result",
        "evaluate:kws runs if train or quantize changes its result",
        "profile:kws runs if params changes its result",
        "archive:kws runs because",
        "  spec/model.json changed",
        "  spec/preflight.yaml changed",
        "  spec/train.yaml changed",
        "  text of models/kws.py changed",
    ] == explain(built)
    assert ["train:kws runs because", "  train.batch_size: 32 -> 64"] == explain(built, "kws:train")
    assert explain(built, "kws:train") == explain(built, "train:kws")


def test_explain_of_a_comment(built: Front) -> None:
    """A comment only reaches the archive, which holds the spec's text."""
    built.files.edit("models/kws.py", "my_model.version", "# why\nmy_model.version")
    assert ["archive:kws runs because", "  text of models/kws.py changed"] == explain(built)


def test_explain_of_a_missing_artifact(built: Front) -> None:
    """A missing artifact is named, with the stages that may follow."""
    (built.files.root / "build/kws/kws.keras").unlink()
    assert [
        "train:kws runs because",
        "  kws.keras is missing",
        "quantize:kws runs if train changes its result",
        "params:kws runs if quantize changes its result",
        "evaluate:kws runs if train or quantize changes its result",
        "profile:kws runs if params changes its result",
        "archive:kws runs if train, quantize, params, evaluate or profile changes its result",
    ] == explain(built)


def test_explain_of_a_damaged_artifact_and_record(built: Front) -> None:
    """An edited artifact and a record that can't be read are told apart."""
    built.files.write("build/kws/kws.tflite", "edited")
    built.files.write("build/kws/.records/evaluate.json", "{")
    lines = explain(built)
    assert ["params:kws runs because", "  kws.tflite is not what was built"] == lines[:2]
    assert ("evaluate:kws runs because", True) == (lines[2], lines[3].startswith("  its record can't be read ("))


def test_explain_of_another_toolchain(built: Front, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another TensorFlow is a reason with both versions for each stage that depends on it."""
    monkeypatch.setattr(
        "mltkbuild.engine.target_state.version", lambda name: "2.99.1" if name == "tensorflow" else "3.15.1"
    )
    lines = built.mltk("explain", "kws:train").out.splitlines()
    assert "  tensorflow: 2.21 -> 2.99" in lines


def test_explain_of_changed_code(built: Front) -> None:
    """A changed function in a helper module is named where it is read."""
    built.files.edit("models/parts.py", "sorted(os.listdir(folder))", "sorted(os.listdir(folder), reverse=True)")
    assert ["data:kws runs because", "  code of read_samples() in models/parts.py"] == explain(built, "kws:data")


def test_explain_json(built: Front) -> None:
    """`mltk explain --json` gives reasons and changes as values."""
    built.files.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    found = json.loads(built.mltk("explain", "kws:train", "--json").out)
    assert [("train", ["train.batch_size: 32 -> 64"])] == [(step["stage"], step["changes"]) for step in found]


def test_explain_of_a_broken_spec(built: Front) -> None:
    """A spec that can't run is explained by its error, code 2; its records and artifacts stand."""
    before = tree(built.files)
    built.files.write("models/kws.py", "# @mltk_model\nx = (\n")
    result = built.mltk("explain", "kws")
    assert (2, "", True) == (result.code, result.out, result.err.startswith("error: models/kws.py:2: syntax error"))
    assert before.keys() == tree(built.files).keys()


# -- summarize -------------------------------------------------------------------------------------------------------


def test_summarize_shows_layers_and_what_was_built(built: Front) -> None:
    """`mltk summarize NAME` prints the model's layers, its spec and its state, and nothing of the build."""
    assert "summary\n\nspec: models/kws.py\nup to date\n" == built.mltk("summarize", "kws").out
    assert "summary\n\nspec: models/vad.py\ndata: never built\n" == built.mltk("summarize", "vad").out


# -- clean -----------------------------------------------------------------------------------------------------------


def test_clean_of_a_model_takes_its_dry_run_along(built: Front) -> None:
    """`mltk clean NAME` removes the artifacts of the model and of its dry run, of no other model."""
    built.mltk("build", "vad", "kws-test")
    before = set(tree(built.files))
    named = {line.split(" would remove ")[1] for line in built.mltk("clean", "kws", "-n").out.splitlines()}
    assert before == set(tree(built.files))
    assert 0 == built.mltk("clean", "kws").code
    gone = before - set(tree(built.files))
    assert named == gone
    assert {"build/kws", "build/kws-test", "models/kws.mltk.zip", "models/kws-test.mltk.zip"} == {
        path if path.startswith("models") else "/".join(path.split("/")[:2]) for path in gone
    }


@pytest.mark.parametrize(
    ("word", "target"), [("train:kws", "kws"), ("kws-test", "kws-test"), ("train:kws-test", "kws-test")]
)
def test_clean_of_one_target_or_stage(built: Front, word: str, target: str) -> None:
    """`mltk clean STAGE:NAME` and `mltk clean NAME-test` remove that much."""
    built.mltk("build", "kws-test")
    before = set(tree(built.files))
    built.mltk("clean", word)
    stages = ["train"] if ":" in word else BUILT
    expected = {f"build/{target}/{name}" for stage in stages for name in makes(STAGES[stage], target)}
    assert {path for path in expected if not path.endswith(".zip")} == {
        path for path in before - set(tree(built.files)) if not path.endswith(".zip")
    }


def test_clean_alone_removes_all_artifacts(built: Front) -> None:
    """`mltk clean` is `doit clean`: the next build runs everything."""
    assert (0, "") == (built.mltk("clean").code, built.mltk("clean").out)
    assert [] == list(built.files.root.glob("models/*.zip"))
    built.mltk("build", "kws")
    assert len(BUILT) == len(built.fakes.calls)


def test_mltk_and_doit_share_what_is_ignored(built: Front) -> None:
    """What `doit ignore` says holds for `mltk build` too."""
    built.doit("ignore", "spec:vad")
    assert f"up to date: {len(BUILT)} stages, {len(BUILT)} ignored\n" == built.mltk("build").out


def test_spec_in_a_subfolder_has_its_archive_beside_it(front: Front) -> None:
    """A model below the models folder is a model like others; its archive is published beside its spec."""
    front.files.write("models/sub/deep.py", SPEC)
    assert 0 == front.mltk("build", "deep").code
    assert (front.files.root / "models/sub/deep.mltk.zip").exists()
    assert "archive:deep - removed models/sub/deep.mltk.zip" in front.mltk("clean", "deep").out
