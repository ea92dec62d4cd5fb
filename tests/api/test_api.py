"""The Python API: MLTK's functions on the engine of `mltk` and `doit`."""

from __future__ import annotations

import inspect
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import mltkbuild
from mltkbuild import (
    EvaluationResults,
    evaluate_model,
    list_mltk_models,
    load_mltk_model,
    quantize_model,
    summarize_model,
    train_model,
)
from mltkbuild.api.workers import workers
from mltkbuild.errors import MltkError, SpecError, StageError, UsageError, WorkspaceError
from mltkbuild.from_mltk import aliases
from mltkbuild.spec.model import MltkModel
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import upstream
from mltkbuild.user_code.loader import Snapshot

from ..conftest import ENVIRONMENT, REPOSITORY, SLEEP, Fakes, Files, Front, pid_of
from ..tflite.test_micro import dense_model

HISTORY: dict[str, Any] = {
    "epochs": [0, 1, 2],
    "params": {"epochs": 3},
    "history": {"loss": [0.9, 0.5, 0.6], "val_accuracy": [0.5, 0.75, 0.7]},
}
CLASSIFIED = {
    "classes": ["a", "b"],
    "n_samples": 4,
    "overall_accuracy": 0.75,
    "confusion_matrix": [[2, 0], [1, 1]],
    "roc": {"a": {"fpr": [0.0, 1.0], "tpr": [0.5, 1.0], "thresholds": [1.9, 0.1]}, "b": None},
}
MEASURED = {"n_samples": 4, "metrics": {"mse": 0.25}}


class Bodies(Fakes):
    """Fake stage bodies whose history and results are real documents."""

    def __init__(self) -> None:
        super().__init__()
        self.history = HISTORY
        self.results: Mapping[str, Any] = CLASSIFIED

    def _content(self, request: Request, snapshot: Snapshot, model: MltkModel, outcome: Outcome) -> dict[str, str]:
        content = super()._content(request, snapshot, model, outcome)
        if request.stage == "train":
            content["train/history.json"] = json.dumps(self.history)
        for kind in ("keras", "tflite") if request.stage == "evaluate" else ():
            content[f"eval/{kind}/results.json"] = json.dumps({**self.results, "n_samples": len(kind)})
            content[f"eval/{kind}/summary.txt"] = f"summary of {kind}\n"
        return content


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> Bodies:
    """Fake stage bodies for every call and for the command lines."""
    bodies = Bodies()
    monkeypatch.setattr(workers, "run", bodies)
    return bodies


@pytest.fixture
def here(workspace: Files, fakes: Bodies, monkeypatch: pytest.MonkeyPatch) -> Files:
    """A workspace with one model, around the working directory."""
    monkeypatch.chdir(workspace.root)
    return workspace


def ran(fakes: Fakes, call: Callable[[], object]) -> set[str]:
    """The stages that a call runs."""
    fakes.calls.clear()
    call()
    return {label.partition(":")[0] for label in fakes.calls}


# -- the same engine -------------------------------------------------------------------------------------------------

SIGNATURES = {
    train_model: "model, weights=None, epochs=None, resume_epoch=0, verbose=None, clean=False, quantize=True, "
    "create_archive=True, show=False, test=False, post_process=False",
    quantize_model: "model, keras_model=None, output=None, weights=None, build=False, update_archive=None, "
    "tflite_converter_override=None, post_process=False",
    evaluate_model: "model, tflite=False, weights=None, max_samples_per_class=-1, classes=None, dump=False, "
    "show=False, verbose=None, callbacks=None, update_archive=True, test=False, post_process=False",
    summarize_model: "model, tflite=False, build=False, test=False, built_model=None",
    load_mltk_model: "model, test=False, print_not_found_err=False, logger=None, reload=True",
    list_mltk_models: "test=False, for_utests=False, logger=None",
}


@pytest.mark.parametrize("function", SIGNATURES, ids=lambda function: function.__name__)
def test_signatures_are_mltk_s(function: Callable[..., Any]) -> None:
    """Names, order and defaults of the parameters are MLTK's."""
    parameters = inspect.signature(function).parameters.values()
    plain = [item.replace(annotation=item.empty) for item in parameters]
    assert SIGNATURES[function] == str(inspect.Signature(plain))[1:-1]


REACH: dict[str, tuple[Callable[[], object], str]] = {
    "train": (lambda: train_model("kws"), "archive"),
    "train, no archive": (lambda: train_model("kws", create_archive=False), "params"),
    "train, not quantized": (lambda: train_model("kws", quantize=False), "train"),
    "quantize": (lambda: quantize_model("kws"), "params"),
    "quantize and archive": (lambda: quantize_model("kws", update_archive=True), "archive"),
    "evaluate": (lambda: evaluate_model("kws"), "archive"),
    "evaluate, no archive": (lambda: evaluate_model("kws", update_archive=False), "evaluate"),
    "summarize": (lambda: summarize_model("kws"), "spec"),
}


@pytest.mark.parametrize("name", REACH)
def test_call_runs_what_it_needs_and_a_second_one_nothing(name: str, here: Files, fakes: Bodies) -> None:
    """Each function brings its stages up to date; what is up to date costs nothing."""
    call, last = REACH[name]
    assert set(upstream(last)) == ran(fakes, call)
    assert set() == ran(fakes, call)


def test_results_are_shared_with_the_command_lines(front: Front, here: Files, fakes: Bodies) -> None:
    """What doit has built is up to date for a call, and the other way round."""
    front.doit()
    assert set() == ran(fakes, lambda: train_model("kws"))
    here.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    assert "train" in ran(fakes, lambda: train_model("kws"))
    assert [] == front.ran()
    assert set() == ran(fakes, lambda: front.mltk("build"))


def test_every_call_sees_the_edits_before_it(here: Files, fakes: Bodies) -> None:
    """A long process sees an edited spec, a helper module that is new, and a damaged artifact."""
    train_model("kws")
    here.edit("models/kws.py", "version = 1", "version = 2")
    assert {"spec", "params", "profile", "archive"} == ran(fakes, lambda: train_model("kws"))
    here.write("models/json.py", "")
    here.write("parts.py", "")
    assert set() == ran(fakes, lambda: train_model("kws"))
    here.write("models/click.py", "X = 1\n")
    here.edit("models/kws.py", "import parts\n", "import parts\nimport click\n")
    assert "spec" in ran(fakes, lambda: train_model("kws"))
    (here.root / "build/kws/kws.tflite").unlink()
    assert {"params"} == ran(fakes, lambda: train_model("kws"))


def test_epochs_of_a_call_hold_for_all_its_stages_and_no_longer(here: Files, fakes: Bodies) -> None:
    """What depends on a training with other epochs is made of that training; the next call goes back."""
    train_model("kws", epochs=3)
    assert "3" == json.loads((here.root / "build/kws/.records/train.json").read_text())["inputs"]["option epochs"]
    assert set() == ran(fakes, lambda: train_model("kws", epochs=3))
    here.edit("models/kws.py", "version = 1", "version = 2")
    assert {"spec", "params", "profile", "archive"} == ran(fakes, lambda: train_model("kws", epochs=3))
    assert "train" in ran(fakes, lambda: train_model("kws"))
    assert set() == ran(fakes, lambda: train_model("kws", epochs=10))


def test_clean_trains_again(here: Files, fakes: Bodies) -> None:
    """`clean` runs the training although it is up to date; with the same result nothing else runs."""
    train_model("kws")
    assert {"train"} == ran(fakes, lambda: train_model("kws", clean=True))


def test_failed_stage_raises_its_error(here: Files, fakes: Bodies) -> None:
    """A stage's error is what the call raises; the next call goes on from what is finished."""
    fakes.fail = {"train": StageError("no")}
    with pytest.raises(StageError, match="no"):
        train_model("kws")
    fakes.fail = {}
    assert {"train", "quantize", "params"} == ran(fakes, lambda: quantize_model("kws"))


def test_call_shows_what_it_runs(here: Files, capsys: pytest.CaptureFixture[str]) -> None:
    """The lines of a build go to standard error, nothing to standard output; `verbose=False` shows nothing."""
    train_model("kws", verbose=False)
    assert ("", "") == capsys.readouterr()
    quantize_model("kws")
    assert ("", f"up to date: {len(upstream('params'))} stages\n") == capsys.readouterr()
    train_model("kws", clean=True, show=True)
    out, err = capsys.readouterr()
    assert ("", True, True) == (out, "train:kws " in err, f"see {here.root}/build/kws/train/history.png" in err)


def test_call_leaves_the_signal_handlers_of_the_process(here: Files, fakes: Bodies) -> None:
    """After a call, or a failed one, Ctrl+C does what it did before."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    fakes.before = {"spec": lambda request: None}
    train_model("kws")
    with pytest.raises(UsageError):
        train_model("other")
    assert before == [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]


@pytest.mark.parametrize("own", [False, True])
def test_interrupt_raises_keyboard_interrupt(own: bool, here: Files, fakes: Bodies) -> None:
    """Ctrl+C drops the stage that runs and raises KeyboardInterrupt; a handler of the caller's is called, too."""
    seen: list[int] = []
    before = signal.signal(signal.SIGINT, (lambda number, frame: seen.append(number)) if own else signal.SIG_DFL)
    if not own:
        signal.signal(signal.SIGINT, before)
    fakes.before = {"train": lambda request: signal.raise_signal(signal.SIGINT)}
    try:
        with pytest.raises(KeyboardInterrupt):
            train_model("kws")
    finally:
        signal.signal(signal.SIGINT, before)
    assert [signal.SIGINT] * own == seen
    assert not (here.root / "build/kws/kws.keras").exists()
    fakes.before = {}
    assert {"train", "quantize", "params", "evaluate", "profile", "archive"} == ran(fakes, lambda: train_model("kws"))


def test_call_works_in_any_thread(here: Files, fakes: Bodies) -> None:
    """A thread that can't set signal handlers can call."""
    found: list[str] = []
    thread = threading.Thread(target=lambda: found.append(quantize_model("kws")))
    thread.start()
    thread.join()
    assert [str(here.root / "build/kws/kws.tflite")] == found


# -- which model -----------------------------------------------------------------------------------------------------


def test_model_by_name_path_or_object(here: Files, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A name belongs to the workspace around the working directory; a path or an object brings its own."""
    paths = {quantize_model(model) for model in ("kws", "models/kws.py", here.root / "models/kws.py")}
    loaded = load_mltk_model("kws")
    monkeypatch.chdir(tmp_path)
    paths |= {quantize_model(loaded), quantize_model(str(here.root / "models/kws.py"))}
    assert {str(here.root / "build/kws/kws.tflite")} == paths
    assert (["a", "b"], "kws") == (loaded.classes, loaded.name)


def test_dry_run_by_name_or_test(here: Files, fakes: Bodies) -> None:
    """`NAME-test`, `test=True` and a model loaded as a dry run mean the dry run."""
    results = train_model("kws-test")
    assert str(here.root / "models/kws-test.mltk.zip") == results.model_archive_path
    for call in (
        lambda: train_model("kws", test=True),
        lambda: train_model("models/kws.py", test=True),
        lambda: train_model(load_mltk_model("kws", test=True)),
        lambda: quantize_model("kws", build=True),
        lambda: evaluate_model("kws-test", test=True),
        lambda: summarize_model("kws", build=True),
    ):
        assert set() == ran(fakes, call)
    assert load_mltk_model("kws-test").test_mode_enabled


def test_models_are_listed(here: Files) -> None:
    """The names are those of `mltk list`; `test` gives those of the dry runs."""
    here.spec("vad")
    assert (["kws", "vad"], ["kws-test", "vad-test"]) == (list_mltk_models(), list_mltk_models(test=True))


def test_outside_of_a_workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a workspace around the working directory, a name says nothing."""
    monkeypatch.chdir(tmp_path)
    for call in (list_mltk_models, lambda: train_model("kws"), lambda: load_mltk_model("kws")):
        with pytest.raises(WorkspaceError, match="this is no workspace"):
            call()


WRONG: dict[str, tuple[Callable[[], object], str]] = {
    "unknown": (lambda: train_model("kwss"), "there is no model kwss"),
    "unknown to load": (lambda: load_mltk_model("kwss"), "there is no model kwss"),
    "no file": (lambda: evaluate_model("models/other.py"), "there is no such spec"),
    "no spec": (lambda: quantize_model("models/parts.py"), "this file is no spec of its workspace"),
    "archive": (lambda: train_model("models/kws.mltk.zip"), "a model is given by its name or its spec"),
    "tflite": (lambda: quantize_model("kws.tflite"), "a model is given by its name or its spec"),
    "number": (lambda: train_model(7), "this is no model"),  # type: ignore[arg-type]
    "made by hand": (lambda: train_model(MltkModel()), "this model wasn't loaded by load_mltk_model"),
    "no epochs": (lambda: train_model("kws", epochs=0), "epochs must be a positive integer"),
    "epochs": (lambda: train_model("kws", epochs="5"), "epochs must be a positive integer"),  # type: ignore[arg-type]
    "epochs of a dry run": (lambda: train_model("kws-test", epochs=5), "a dry run trains one epoch"),
    "resume_epoch": (lambda: train_model("kws", resume_epoch=-2), "there is no such epoch"),
    "weights to begin with": (lambda: train_model("kws", weights="no.keras"), "there is no such weights file"),
    "keras_model": (lambda: quantize_model("kws", object()), "keras_model can't be given to quantize_model"),
    "weights": (lambda: quantize_model("kws", weights="best"), "weights can't be given to quantize_model"),
    "override": (
        lambda: quantize_model("kws", tflite_converter_override={}),
        "tflite_converter_override can't be given to quantize_model",
    ),
    "object": (lambda: quantize_model("kws", output="tflite_model"), "quantize_model gives a path"),
    "samples": (
        lambda: evaluate_model("kws", max_samples_per_class=5),
        "max_samples_per_class can't be given to evaluate_model",
    ),
    "classes": (lambda: evaluate_model("kws", classes=["a"]), "classes can't be given to evaluate_model"),
    "dump": (lambda: evaluate_model("kws", dump=True), "dump can't be given to evaluate_model"),
    "callbacks": (lambda: evaluate_model("kws", callbacks=[]), "callbacks can't be given to evaluate_model"),
    "weights to evaluate": (lambda: evaluate_model("kws", weights="x"), "weights can't be given to evaluate_model"),
    "no tflite": (lambda: summarize_model("other.tflite"), "the file can't be read"),
    "no Keras model": (lambda: summarize_model("kws", built_model=7), "built_model must be a Keras model"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_call_says_what_to_do(name: str, here: Files, fakes: Bodies) -> None:
    """A call that can't be honoured is a UsageError with a fix, and runs nothing."""
    call, what = WRONG[name]
    with pytest.raises(UsageError) as caught:
        call()
    assert (what, True, []) == (caught.value.what, bool(caught.value.fix and caught.value.found), fakes.calls)


def test_file_with_the_name_of_a_spec_elsewhere_is_no_spec(here: Files) -> None:
    """A path means that very file."""
    with pytest.raises(UsageError, match="no spec of its workspace"):
        train_model(here.write("notes/kws.py", "# @mltk_model\n"))


# -- a spec in this process ------------------------------------------------------------------------------------------


def test_loaded_model_is_the_spec_s(here: Files) -> None:
    """Properties can be read and functions called; the process keeps its folder, its modules and its search path."""
    before = (os.getcwd(), list(sys.path), list(sys.meta_path))
    model: Any = load_mltk_model("kws")
    model.load_dataset("training")
    assert (32, {f"{n}.txt": f"sample {n}\n" for n in range(3)}) == (model.batch_size, model.x)
    assert before == (os.getcwd(), list(sys.path), list(sys.meta_path))
    assert not {"kws", "parts"} & set(sys.modules)
    assert quantize_model(model).endswith("kws.tflite")


OWN_MODULE = """
import sys
sys.path.append("models")
import parts
from mltkbuild import load_mltk_model
open("models/parts.py", "a").write("\\nSCALE = 0.25\\n")
model = load_mltk_model("kws")
model.load_dataset("training")
print(model.y, parts.SCALE, sys.modules["parts"] is parts)
"""


def test_module_of_the_caller_hides_none_of_the_spec_s(here: Files) -> None:
    """A process that has imported the helper module itself keeps its own, and the spec gets what is on the disk."""
    done = subprocess.run(
        [sys.executable, "-c", OWN_MODULE], check=False, env=ENVIRONMENT, capture_output=True, text=True
    )
    assert ("0.25 0.5 True\n", "") == (done.stdout, done.stderr)


def test_loading_again_sees_edits(here: Files) -> None:
    """`reload` runs the spec and its modules again; without it the model that is in use is given."""
    first: Any = load_mltk_model("kws")
    here.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    here.edit("models/parts.py", "SCALE = 0.5", "SCALE = 0.25")
    assert load_mltk_model("kws", reload=False) is first
    second: Any = load_mltk_model("kws")
    second.load_dataset("training")
    assert (32, 64, 0.25) == (first.batch_size, second.batch_size, second.y)


def test_changed_property_is_refused(here: Files) -> None:
    """A change of a loaded model would be lost, since workers run the spec; reading it is no change."""
    for change in (
        lambda model: setattr(model, "epochs", 5),
        lambda model: model.tflite_converter.update(inference_input_type="int8"),
        lambda model: model.set_model_parameter("more", 1),
        lambda model: setattr(model, "dataset", lambda subset, test: None),
    ):
        model: Any = load_mltk_model("kws")
        _ = (model.metrics, model.tflite_converter, model.class_counts, model.summary())
        train_model(model)
        change(model)
        with pytest.raises(UsageError, match="can't be changed for a build"):
            train_model(model)


def test_broken_spec_is_its_error(here: Files) -> None:
    """Loading a spec that raises names the place."""
    here.edit("models/kws.py", "my_model = Model()", "my_model = Model()\n1 / 0")
    with pytest.raises(SpecError) as caught:
        load_mltk_model("kws")
    assert ("the spec raised ZeroDivisionError", True) == (
        caught.value.what,
        str(caught.value.where).startswith("models/kws.py:"),
    )


CALLS = ("from mltkbuild import train_model", "from mltk.core import train_model")


@pytest.mark.parametrize("line", CALLS)
def test_spec_may_import_a_call_and_not_make_it(line: str, here: Files) -> None:
    """A spec that builds itself while it is loaded is refused; behind its `__main__` it may."""
    here.edit("models/kws.py", "import parts\n", f"import parts\n{line}\n")
    here.write("models/kws.py", (here.root / "models/kws.py").read_text() + '\nif __name__ == "__main__": 1 / 0\n')
    model = load_mltk_model("kws")
    here.write("models/kws.py", (here.root / "models/kws.py").read_text() + "\ntrain_model('kws')\n")
    with pytest.raises(SpecError, match="train_model can't be called while a spec is loaded"):
        load_mltk_model("kws")
    assert isinstance(model, MltkModel)


def test_names_of_mltk_work_once_a_spec_is_loaded(here: Files, fakes: Bodies) -> None:
    """A function of a spec that calls MLTK's API calls this one; results have their names there."""
    text = "from mltk.core import train_model, TrainingResults, EvaluationResults\n"
    here.edit("models/kws.py", "import parts\n", f"import parts\n{text}")
    here.edit("models/kws.py", "my_model = Model()", "my_model = Model()\nModel.go = staticmethod(train_model)")
    model: Any = load_mltk_model("kws")
    assert isinstance(model.go("kws"), mltkbuild.TrainingResults)
    assert set(aliases._API) <= set(mltkbuild.__all__)


# -- results ---------------------------------------------------------------------------------------------------------


def test_training_results(here: Files) -> None:
    """The history is there as MLTK has it; the archive if it was asked for."""
    results = train_model("kws")
    assert HISTORY == results.asdict()
    assert ([0, 1, 2], 3, str(here.root / "models/kws.mltk.zip")) == (
        results.epochs,
        results.params["epochs"],
        results.model_archive_path,
    )
    assert "<TrainingResults of kws: 3 epochs, best val_accuracy 0.75>" == repr(results)
    assert train_model("kws", create_archive=False).model_archive_path is None
    assert train_model(loaded := load_mltk_model("kws")).mltk_model is loaded
    assert ["a", "b"] == results.mltk_model.classes


def test_keras_model_that_was_replaced_is_an_error(here: Files) -> None:
    """Results of an earlier training don't hand out a later one's model."""
    results = train_model("kws")
    here.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    here.edit("models/parts.py", "WIDTH = 8", "WIDTH = 9")
    train_model("kws")
    with pytest.raises(StageError, match="no longer there"):
        _ = results.keras_model


BEST: dict[str, tuple[dict[str, Any], tuple[str, float]]] = {
    "validation accuracy": ({}, ("val_accuracy", 0.75)),
    "no accuracy": ({"history": {"loss": [3.0, 1.0, 2.0], "mae": [1.0, 1.0, 1.0]}}, ("loss", 1.0)),
    "NaN": ({"history": {"val_loss": [None, 2.0, None], "loss": [1.0, 1.0, 1.0]}}, ("val_loss", 2.0)),
    "all NaN": ({"history": {"val_loss": [None], "loss": [3.0]}}, ("loss", 3.0)),
    "other metric": ({"history": {"top_k_categorical_accuracy": [0.1, 0.4]}}, ("top_k_categorical_accuracy", 0.4)),
    "monitor": ({"monitor": "loss", "best_epoch": 3}, ("loss", 0.6)),
    "monitor, seldom validated": (
        {"monitor": "val_auc", "best_epoch": 2, "history": {"loss": [3.0, 2.0, 1.0], "val_auc": [0.5]}},
        ("val_auc", 0.5),
    ),
    "a score": ({"history": {"val_dice": [0.5, 0.25]}}, ("val_dice", 0.5)),
    "a score's loss": ({"history": {"val_dice_loss": [0.5, 0.25]}}, ("val_dice_loss", 0.25)),
    "unknown monitor": ({"monitor": "val_auc", "best_epoch": 2}, ("val_accuracy", 0.75)),
}


@pytest.mark.parametrize("name", BEST)
def test_best_metric(name: str, here: Files, fakes: Bodies) -> None:
    """The metric that tells most, at the epoch that training calls the best, else at its best."""
    changed, expected = BEST[name]
    fakes.history = {**HISTORY, **changed}
    assert expected == train_model("kws", quantize=False).get_best_metric()


def test_no_best_metric_is_an_error(here: Files, fakes: Bodies) -> None:
    """A history without a number has no best metric."""
    fakes.history = {**HISTORY, "history": {"loss": [None]}}
    with pytest.raises(StageError, match="no finite value"):
        train_model("kws").get_best_metric()


def test_evaluation_of_a_classifier(here: Files) -> None:
    """Figures are keys and attributes; curves are by class; Keras and `.tflite` have their own."""
    float_results, results = evaluate_model("kws"), evaluate_model("kws", tflite=True)
    assert ("kws", "classification", 0.75) == (results.name, results.model_type, results["overall_accuracy"])
    assert (5, 6, "summary of tflite\n") == (float_results.n_samples, results.n_samples, results.generate_summary())
    assert ({"a": [0.0, 1.0]}, {"a": [1.9, 0.1]}) == (results.fpr, results.roc_thresholds)
    with pytest.raises(AttributeError, match="no f2; it has classes, "):
        _ = results.f2


def test_evaluation_of_another_model(here: Files, fakes: Bodies) -> None:
    """A model without classes has its metrics."""
    fakes.results = MEASURED
    results = evaluate_model("kws")
    assert ("generic", 0.25, {"mse": 0.25}) == (results.model_type, results.mse, results.metrics)
    assert isinstance(results, EvaluationResults)
    assert json.loads(json.dumps(results)) == results


def test_evaluation_of_several_outputs(here: Files, fakes: Bodies) -> None:
    """Each output has its figures by its name, and all of them are metrics."""
    fakes.results = {
        "n_samples": 4,
        "metrics": {"kind_accuracy": 0.5},
        "outputs": {"kind": {"classes": ["a"], "overall_accuracy": 0.5}},
    }
    results = evaluate_model("kws")
    assert ("generic", 0.5, 0.5) == (
        results.model_type,
        results.kind_accuracy,
        results.outputs["kind"]["overall_accuracy"],
    )
    assert isinstance(results, EvaluationResults)
    assert [] == results.pictures


def test_evaluation_of_an_auto_encoder(here: Files, fakes: Bodies) -> None:
    """An auto-encoder's figures are there by name, and its type is told."""
    fakes.results = {"classes": ["normal", "abnormal"], "overall_roc_auc": 0.9, "overall_roc": {"fpr": [0.0, 1.0]}}
    results = evaluate_model("kws")
    assert ("auto_encoder", 0.9, ["normal", "abnormal"]) == (
        results.model_type,
        results.overall_roc_auc,
        results.classes,
    )
    assert isinstance(results, EvaluationResults)
    assert json.loads(json.dumps(results)) == results


def test_quantized_model_is_copied(here: Files) -> None:
    """`output` is a file or a folder, which is made; the original stays."""
    original = Path(quantize_model("kws"))
    for output, expected in (("out", "out/kws.tflite"), ("new/a.tflite", "new/a.tflite"), (here.root, "kws.tflite")):
        path = quantize_model("kws", output=output)
        assert (str(here.root / expected), original.read_bytes()) == (path, Path(path).read_bytes())
    here.write("file", "")
    with pytest.raises(UsageError, match="can't be written there"):
        quantize_model("kws", output="file/kws.tflite")


def test_summary(here: Files) -> None:
    """The summary is the spec stage's; a built model's is Keras's own."""

    class Built:
        def summary(self, print_fn: Callable[..., None]) -> None:
            print_fn("one", line_break=True)
            print_fn("two")

    assert "summary\n" == summarize_model("kws")
    assert "one\ntwo" == summarize_model("kws", built_model=Built())


@pytest.mark.parametrize("damage", ["garbage", "cut", "crashing", "empty"])
def test_a_damaged_tflite_is_an_error_that_this_process_survives(damage: str, here: Files) -> None:
    """A file is read in a worker: whatever it does there, the caller gets an error."""
    whole = dense_model()
    contents = {
        "garbage": b"\x1c\x00\x00\x00TFL3" + bytes(range(256)) * 4,
        "cut": whole[: len(whole) // 2],
        "crashing": b"no flatbuffer",
        "empty": b"",
    }
    (here.root / "bad.tflite").write_bytes(contents[damage])
    with pytest.raises(MltkError) as caught:
        summarize_model("bad.tflite")
    assert "bad.tflite" in str(caught.value.where)


def test_package_stays_light() -> None:
    """The API is loaded with its first use, and listed before."""
    code = "import sys, mltkbuild; assert 'train_model' in dir(mltkbuild) and 'mltkbuild.api' not in sys.modules\n"
    code += "mltkbuild.train_model; assert not {'tensorflow', 'keras', 'numpy', 'rich', 'doit'} & set(sys.modules)\n"
    code += "from mltkbuild import *; assert train_model is mltkbuild.api.functions.train_model"
    subprocess.run([sys.executable, "-c", code], check=True, env=ENVIRONMENT)
    with pytest.raises(AttributeError, match="no attribute 'trian_model'"):
        _ = mltkbuild.trian_model
    assert set(aliases._functions) == set(aliases._API)


# -- real workers ----------------------------------------------------------------------------------------------------

START = """
from mltkbuild.workers.executor import Worker
worker = Worker(True)
worker._start("spec:kws")
print("started" if worker._pid else "not started")
worker.stop()
"""


@pytest.mark.real
@pytest.mark.parametrize("way", ["file", "-", "-c"])
def test_worker_starts_without_running_the_script_again(way: str, tmp_path: Path) -> None:
    """A script without a `__main__` guard, standard input and `-c` can start workers."""
    script = tmp_path / "script.py"
    script.write_text(START)
    arguments = {"file": [str(script)], "-": ["-"], "-c": ["-c", START]}[way]
    done = subprocess.run(
        [sys.executable, *arguments],
        input=START,
        capture_output=True,
        text=True,
        timeout=60,
        cwd=REPOSITORY,
        env=ENVIRONMENT,
        check=False,
    )
    assert (0, "started\n", "") == (done.returncode, done.stdout, done.stderr)


SCRIPT = """
import os, signal, sys
from mltkbuild import evaluate_model, quantize_model, summarize_model, train_model

print("the script runs")
try:
    train_model("kws")
except KeyboardInterrupt:
    print("interrupted", signal.getsignal(signal.SIGINT) is signal.default_int_handler)
text = open("models/kws.py").read()
open("models/kws.py", "w").write(text.replace("time.sleep(600)", "pass"))
results = train_model("kws")
print(len(results.epochs), results.get_best_metric()[0], os.path.exists(results.model_archive_path))
print(evaluate_model("kws", tflite=True).classes, os.path.basename(quantize_model("kws", output="out.tflite")))
print(summarize_model("kws", tflite=True))
print("tensorflow" in sys.modules)
"""


@pytest.fixture
def script(tmp_path: Path) -> Iterator[tuple[Files, subprocess.Popen[str]]]:
    """A script without a guard at work on a model, in a process group of its own."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.tiny(SLEEP)
    path = files.write("script.py", SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(path)],
        cwd=files.root,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env=ENVIRONMENT,
    )
    yield files, process
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.real
def test_script_without_a_guard(script: tuple[Files, subprocess.Popen[str]]) -> None:
    """A script runs once, survives Ctrl+C in a call with its worker gone, builds in new workers, and ends by itself."""
    files, process = script
    worker = pid_of(files)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert 0 == process.returncode, err
    lines = out.splitlines()
    expected = ["the script runs", "interrupted True", "2 accuracy True", "['a', 'b'] out.tflite"]
    assert expected == lines[:4]
    assert (True, True, "False") == (["name", "kws"] == lines[4].split(), "FULLY_CONNECTED" in out, lines[-1])
    assert "Traceback" not in err
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)
