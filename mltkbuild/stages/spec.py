"""Assembles the spec stage: what each later stage reads of a spec, and the Keras model that it builds."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from mltkbuild.errors import SpecError
from mltkbuild.spec.any_model import is_classifier
from mltkbuild.stages import slices, train
from mltkbuild.stages.outside import outside, without_secrets
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.stages.table import SLICES, STAGES
from mltkbuild.tflite import dictionary
from mltkbuild.training import keras_file

# -- spec ------------------------------------------------------------------------------------------------------------


def make_slices(run: StageRun) -> None:
    """Run the spec, build its Keras model, and write down what each stage reads."""
    model, outcome = run.model, run.outcome
    _refuse_early(run)
    beyond = outside(run.code.snapshot, asked=bool(run.imported))
    sliced = {stage: slices.slice_of(model, stage, run.code.snapshot, run.code.whole, beyond) for stage in SLICES}
    digests = slices.property_digests(model)
    _take_classes_from_loader(run, sliced)
    keras_model = _build_first(run)
    description = slices.describe_keras_model(keras_model, run.code.snapshot, run.code.whole)
    _check_loadable(run, keras_model)
    reached = [*(item["code"] for item in sliced.values()), description["code"]]
    for code in reached:
        train.take_libraries(run, code)
    for described in (*sliced.values(), description):
        described["code"] = without_secrets(described["code"])
    slices.write(run.files.scratch, sliced, description, slices.summarize(keras_model))
    outcome.facts |= {
        "properties": digests,
        "deterministic": run.peek.deterministic,
        "distribute": run.peek.distribute,
    }
    if run.code.by_text:
        run.code.take_texts()
    outcome.notes = (*outcome.notes, *_inexact(reached))
    outcome.reads = ()


def _inexact(reached: Iterable[Mapping[str, object]]) -> tuple[str, ...]:
    """A line for each thing that can't be followed exactly, and what of it can't."""
    found = {label: what for code in reached for label, what in code.items() if label.startswith(slices.INEXACT)}
    return tuple(
        f"{label.removeprefix(slices.INEXACT)} counts by the whole spec ({found[label]})" for label in sorted(found)
    )


def _refuse_early(run: StageRun) -> None:
    """Raise now what a later stage would raise after hours of training."""
    model = run.model
    for name in ("build_model_function", "deterministic", "tflite_converter"):
        if not hasattr(type(model), name):
            raise SpecError(
                "the model can't be trained",
                where=run.request.spec_path,
                found=f"{type(model).__name__} has no {name}",
                fix="add TrainMixin to the base classes of your model",
            )
    if run.peek.tensorboard is not None and importlib.util.find_spec("tensorboard") is None:
        raise SpecError(
            "my_model.tensorboard needs TensorBoard, which is not installed",
            where=run.code.place("tensorboard"),
            fix="run `pip install 'mltkbuild[tensorboard]'`, or remove this line",
        )
    if run.peek.epochs == -1 and run.peek.early_stopping is None:
        raise SpecError(
            "epochs = -1 needs early_stopping to end the training",
            where=run.code.place("epochs"),
            found="early_stopping is None",
            fix="set my_model.early_stopping = {'monitor': 'val_loss', 'patience': 10}, or a number of epochs",
        )
    if model.embedded_parameters:
        with run.code.at():
            dictionary.encode(model.embedded_parameters)


def _take_classes_from_loader(run: StageRun, sliced: Mapping[str, dict[str, Any]]) -> None:
    """Let labels that only the data loader knows count where the spec's own would."""
    model = run.model
    if model.is_set("classes") or not is_classifier(run.model):
        return
    run.data.load("training")
    if not model.is_set("classes"):
        raise SpecError(
            "the classes of the model are not set",
            where=run.request.spec_path,
            fix="set my_model.classes to a list of labels, in the spec or in its data loader",
        )
    for stage in sliced:
        if not STAGES[stage].parts.isdisjoint(type(model).classes.reads):
            sliced[stage]["properties"]["classes"] = list(run.peek.classes)


def _build_first(run: StageRun) -> Any:
    """Build the model; what the data loader gives is loaded only if the builder asks for it."""
    asked: list[str] = []

    def load(name: str) -> None:
        run.model.ask_when_unset(None)
        asked.append(name)
        run.data.load("training")

    if hasattr(type(run.model), "load_dataset") and not run.model.loaded_values():
        run.model.ask_when_unset(load)
    keras_model = run.models.build(count=True)
    run.model.ask_when_unset(None)
    # Loading has drawn random numbers; in later stages the data is there before the builder begins.
    return run.models.build(count=True) if asked else keras_model


def _check_loadable(run: StageRun, keras_model: Any) -> None:
    """Raise a SpecError for a model that couldn't be loaded after it was trained and saved."""
    if run.peek.on_save_keras_model is not None:
        return
    try:
        with keras_file.savable(keras_model):
            config = keras.saving.serialize_keras_object(keras_model)
        config.pop("compile_config", None)
        keras.saving.deserialize_keras_object(config, custom_objects=run.code.custom_objects(), safe_mode=False)
    except Exception as error:  # Keras and the spec's own classes may raise anything
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        lines = str(cause).strip().splitlines()
        raise SpecError(
            "the model could not be loaded again once it is saved",
            where=run.code.place("build_model_function"),
            found=(lines[0] if lines else type(cause).__name__)[:300],
            fix="define custom classes and functions at the top level of the spec, and give a layer that takes "
            "arguments a get_config",
        ) from error
