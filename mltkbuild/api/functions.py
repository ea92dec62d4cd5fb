"""MLTK's Python functions on the same engine as `mltk` and `doit`: same records, same locks, same artifacts."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mltkbuild.api import calls, which_model
from mltkbuild.api.calls import Call
from mltkbuild.api.results import EvaluationResults, TrainingResults
from mltkbuild.api.which_model import Model
from mltkbuild.disk import durable
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.workspace import TEST, find_workspace, list_specs
from mltkbuild.errors import UsageError, short
from mltkbuild.from_mltk import aliases
from mltkbuild.spec.model import MltkModel
from mltkbuild.stages.protocol import Options, Start
from mltkbuild.workers import files

BEST = "best"

# -- the functions ---------------------------------------------------------------------------------------------------


def train_model(  # noqa: PLR0913, PLR0917  # MLTK's parameters
    model: Model,
    weights: str | None = None,
    epochs: int | None = None,
    resume_epoch: int = 0,
    verbose: bool | None = None,
    clean: bool = False,
    quantize: bool = True,
    create_archive: bool = True,
    show: bool = False,
    test: bool = False,
    post_process: bool = False,
) -> TrainingResults:
    """Train a model, unless nothing that training reads has changed.

    Args:
        model: The model's name, `NAME-test`, the path of its spec, or what `load_mltk_model` gave.
        weights: Begin with the weights in this file, or with those of the 'best' checkpoint.
        epochs: Train this many epochs instead of the spec's; the next build without it goes back to the spec's.
        resume_epoch: Go on from the checkpoint of this epoch, even if the training is up to date. A training that was
            stopped goes on from its newest checkpoint anyway.
        verbose: True shows each epoch, False nothing while stages run.
        clean: Delete the checkpoints and train from the beginning, even if the training is up to date.
        quantize: Bring the `.tflite` up to date too. Without it there is no archive either, which would hold it.
        create_archive: Bring the archive up to date too, and for that the evaluation.
        show: Show the picture of the history in a notebook; elsewhere say where it is.
        test: Build the dry run, `NAME-test`.
        post_process: Ignored; there is nothing to post-process.

    Raises:
        MltkError: A stage failed, or the call or the spec is wrong.
    """
    with calls.begin("train_model", model, test, verbose) as call:
        options = _train_options(call, epochs, weights)
        calls.bring(call, "train", options, _start(resume_epoch, clean))
        if quantize:
            calls.bring(call, "archive" if create_archive else "params", options)
        archive = call.state.folder.artifact(call.target + ARCHIVE_SUFFIX) if quantize and create_archive else None
        results = TrainingResults(call.state, archive, model if isinstance(model, MltkModel) else None)
        if show:
            _show(call, results.pictures)
        return results


def quantize_model(  # noqa: PLR0913, PLR0917  # MLTK's parameters
    model: Model,
    keras_model: object = None,
    output: str | os.PathLike[str] | None = None,
    weights: str | None = None,
    build: bool = False,
    update_archive: bool | None = None,
    tflite_converter_override: Mapping[str, object] | None = None,
    post_process: bool = False,
) -> str:
    """Convert a model to its `.tflite`, with the parameters embedded, after training it if need be.

    Args:
        model: The model's name, `NAME-test`, the path of its spec, or what `load_mltk_model` gave.
        keras_model: Refused: what is quantized is what the spec trains.
        output: Also copy the `.tflite` to this path, or into this folder.
        weights: Refused: `train_model` takes weights.
        build: Convert the dry run, `NAME-test`, which takes no full training.
        update_archive: True brings the archive up to date too.
        tflite_converter_override: Refused: a setting that changes the result belongs into the spec.
        post_process: Ignored; there is nothing to post-process.

    Returns:
        The path of the `.tflite`: the copy's where `output` asks for one.

    Raises:
        MltkError: A stage failed, or the call or the spec is wrong.
    """
    _refuse(
        "quantize_model", "keras_model", keras_model, "let my_model.on_save_keras_model return the model to quantize"
    )
    _refuse("quantize_model", "weights", weights, "quantize what train_model has trained")
    fix = "set my_model.tflite_converter in the spec"
    _refuse("quantize_model", "tflite_converter_override", tflite_converter_override, fix)
    if output == "tflite_model":
        raise UsageError(
            "quantize_model gives a path",
            where="quantize_model",
            found="output='tflite_model'",
            fix="leave output out, and give the path to mltkbuild.tflite.tflite_model.TfliteModel to predict with it",
        )
    with calls.begin("quantize_model", model, build) as call:
        calls.bring(call, "archive" if update_archive else "params")
        path = call.state.folder.artifact(f"{call.target}.tflite")
        return path if output is None else _copied(path, os.fspath(output))


def evaluate_model(  # noqa: PLR0913, PLR0917  # MLTK's parameters
    model: Model,
    tflite: bool = False,
    weights: str | None = None,
    max_samples_per_class: int = -1,
    classes: Sequence[str] | None = None,
    dump: bool = False,
    show: bool = False,
    verbose: bool | None = None,
    callbacks: Sequence[object] | None = None,
    update_archive: bool = True,
    test: bool = False,
    post_process: bool = False,
) -> EvaluationResults:
    """Evaluate a model, unless nothing that the evaluation reads has changed.

    Args:
        model: The model's name, `NAME-test`, the path of its spec, or what `load_mltk_model` gave.
        tflite: Give the results of the `.tflite` instead of the Keras model's; both are always made together.
        weights: Refused: what is evaluated is what was trained.
        max_samples_per_class: Refused: it is a property of the spec.
        classes: Refused: the classes are a property of the spec.
        dump: Refused: there are no pictures of single samples.
        show: Show the pictures in a notebook; elsewhere say where they are.
        verbose: False shows nothing while stages run.
        callbacks: Refused.
        update_archive: Bring the archive up to date too.
        test: Evaluate the dry run, `NAME-test`.
        post_process: Ignored; there is nothing to post-process.

    Raises:
        MltkError: A stage failed, or the call or the spec is wrong.
    """
    most = None if max_samples_per_class == -1 else max_samples_per_class
    _refuse("evaluate_model", "weights", weights, "evaluate what train_model has trained")
    _refuse("evaluate_model", "max_samples_per_class", most, "set my_model.eval_max_samples_per_class in the spec")
    _refuse("evaluate_model", "classes", classes, "read the figures of these classes from the results")
    _refuse("evaluate_model", "dump", dump or None, "predict samples with the keras_model of train_model")
    _refuse("evaluate_model", "callbacks", callbacks, "set my_model.eval_custom_function in the spec")
    with calls.begin("evaluate_model", model, test, verbose) as call:
        calls.bring(call, "archive" if update_archive else "evaluate")
        results = EvaluationResults(call.state, "tflite" if tflite else "keras")
        if show:
            _show(call, results.pictures)
        return results


def summarize_model(
    model: Model, tflite: bool = False, build: bool = False, test: bool = False, built_model: object = None
) -> str:
    """Describe a model as text: the layers of the Keras model, or what is in the `.tflite`.

    Args:
        model: The model's name, `NAME-test`, the path of its spec, what `load_mltk_model` gave, or any `.tflite`.
        tflite: Describe the `.tflite`, after building it if need be.
        build: Describe the dry run, `NAME-test`, whose `.tflite` takes no full training.
        test: The same.
        built_model: A Keras model to describe instead.

    Raises:
        MltkError: A stage failed, or the call or the spec is wrong.
    """
    if built_model is not None:
        return _keras_summary(built_model)
    if isinstance(model, str | os.PathLike) and os.fspath(model).endswith(".tflite"):
        return _tflite_summary(os.path.abspath(model))
    with calls.begin("summarize_model", model, test or build) as call:
        calls.bring(call, "params" if tflite else "spec")
        if tflite:
            return _tflite_summary(call.state.folder.artifact(f"{call.target}.tflite"))
        return Path(call.state.folder.artifact("summary.txt")).read_text(encoding="utf-8")


def load_mltk_model(
    model: Model, test: bool = False, print_not_found_err: bool = False, logger: object = None, reload: bool = True
) -> MltkModel:
    """Run a spec in this process and give its model: its properties and its functions, to look at and to call.

    Args:
        model: The model's name, `NAME-test`, the path of its spec, or what this function gave before.
        test: Load it as the dry run, `NAME-test`, does.
        print_not_found_err: Ignored: the error for an unknown model always names the near ones.
        logger: Ignored.
        reload: False gives the model of the last call if it is still in use, and doesn't run the spec again.

    Raises:
        SpecError: The spec is wrong.
        UsageError: There is no such model.
        WorkspaceError: There is no workspace around the working directory.
    """
    aliases.refuse_in_spec("load_mltk_model")
    return which_model.load(model, test, reload)


def list_mltk_models(test: bool = False, for_utests: bool = False, logger: object = None) -> list[str]:
    """The names of the models in the workspace around the working directory.

    Args:
        test: Give the names of their dry runs, `NAME-test`.
        for_utests: Ignored; all models are listed.
        logger: Ignored.

    Raises:
        WorkspaceError: There is no workspace.
    """
    aliases.refuse_in_spec("list_mltk_models")
    return [name + TEST * test for name in list_specs(find_workspace()).specs]


aliases.provide(train_model, quantize_model, evaluate_model, summarize_model, load_mltk_model, list_mltk_models)


def _train_options(call: Call, epochs: int | None, weights: str | None) -> Options:
    """The options of a training."""
    options: dict[str, int | str] = {}
    if epochs is not None:
        if isinstance(epochs, bool) or not isinstance(epochs, int) or epochs < 1:
            fix = "such as epochs=5; without it the spec's epochs count"
            raise UsageError("epochs must be a positive integer", where="train_model", found=repr(epochs), fix=fix)
        if call.target.endswith(TEST):
            fix = "leave epochs out, or train the model itself"
            raise UsageError("a dry run trains one epoch", where="train_model", found=f"epochs={epochs}", fix=fix)
        options["epochs"] = epochs
    if weights is not None:
        path = weights if weights == BEST else os.path.abspath(weights)
        options["weights"] = call.weights_file(call.target, path)
    return options


def _start(resume_epoch: int, clean: bool) -> Start:
    """Where a training begins."""
    if isinstance(resume_epoch, bool) or not isinstance(resume_epoch, int) or resume_epoch < -1:
        fix = "give the number of an epoch; 0 and -1 go on from the newest checkpoint, as a plain call does"
        raise UsageError("there is no such epoch", where="train_model", found=f"resume_epoch={resume_epoch!r}", fix=fix)
    return Start(resume=resume_epoch if resume_epoch > 0 else None, clean=clean)


def _refuse(function: str, parameter: str, value: object, fix: str) -> None:
    """Refuse a parameter that the engine doesn't have, if it is given."""
    if value is not None:
        found = f"{parameter}={short(value)}"
        raise UsageError(f"{parameter} can't be given to {function}", where=function, found=found, fix=fix)


# -- text, pictures, files -------------------------------------------------------------------------------------------


def _show(call: Call, pictures: Sequence[str]) -> None:
    """Show pictures in a notebook; elsewhere say where they are."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    for path in pictures:
        if hasattr(shell, "kernel"):
            display = importlib.import_module("IPython.display")
            display.display(display.Image(filename=path))
        else:
            call.display.note(f"see {path}")


def _copied(path: str, output: str) -> str:
    """Copy a `.tflite` to a path, or into a folder, and give the copy's path."""
    is_file = output.endswith(".tflite") and not os.path.isdir(output)
    copy = os.path.abspath(output if is_file else os.path.join(output, os.path.basename(path)))
    try:
        durable.write(copy, Path(path).read_bytes())
    except OSError as error:
        fix = "give another path, or leave output out"
        raise UsageError("the .tflite can't be written there", where=copy, found=error.strerror, fix=fix) from error
    return copy


def _keras_summary(built_model: Any) -> str:
    """What Keras says of a model."""
    if not callable(getattr(built_model, "summary", None)):
        found = f"a {type(built_model).__name__}"
        raise UsageError("built_model must be a Keras model", where="summarize_model", found=found, fix="leave it out")
    lines: list[str] = []
    built_model.summary(print_fn=lambda line, **_: lines.append(line))
    return "\n".join(lines)


def _tflite_summary(path: str) -> str:
    """What is in a `.tflite`, which a worker reads: a damaged one may end the process that opens it."""
    text: str = files.do("summarize", path=path)
    return text.rstrip("\n")
