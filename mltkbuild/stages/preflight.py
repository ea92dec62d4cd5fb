"""Assembles the preflight: whatever a training, or the conversion after it, would fail of is told before it begins."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import GeneratorType
from typing import Any

from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, SpecError
from mltkbuild.stages import train
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.stages.tflite import samples_for, spec_calibration
from mltkbuild.tflite import ports, quantize, trial
from mltkbuild.training import fitting, keras_file, preflight, published, targets

VERSION = 1
_SAMPLES = 8
"""With so many samples the trial conversion is calibrated."""
_MADE_LATER = "on_save_keras_model makes the model that is saved: it is saved and converted after the training alone"


def check(run: StageRun) -> None:
    """Try the training and the conversion: forms, settings, one step, the saved file, a conversion, a start in TFLM."""
    training, validation = run.data.load("training")
    run.data.same_data("training", training)
    run.data.same_data("validation", validation)
    keras_model = run.models.build()
    with run.code.at("dataset", "x"):
        training = fitting.fitted(keras_model, training)
        validation = None if validation is None else fitting.fitted(keras_model, validation)
    for subset, part in (("training", training), ("validation", validation)):
        _require_fitting(run, keras_model, subset, part)
    targets.require_fitting(keras_model, training, run.code.place("loss", "build_model_function"))
    settings = train.settings_of(run)
    with run.code.at(), run.code.running("a setting of the training", SpecError):
        preflight.require_settings(settings, training)
    found: dict[str, Any] = {"version": VERSION}
    # A dry run does all of it in a moment.
    if not run.request.test:
        found |= _tried(run, keras_model, training, validation)
    run.files.write_json("preflight.json", found)


def _tried(run: StageRun, keras_model: Any, training: data.Samples, validation: data.Samples | None) -> dict[str, Any]:
    """One step of the training, and the untrained model all the way to a microcontroller's interpreter."""
    label = run.code.snapshot.label
    shown = None if validation is None else data.head(validation, run.peek.validation_batch_size or run.peek.batch_size)
    shown = None if shown is None else run.data.finished("validation", shown)
    with run.code.at("build_model_function"), run.code.running("the first training step"):
        metrics = preflight.one_step(keras_model, training, shown, train.settings_of(run), label)
    if run.peek.on_save_keras_model is not None:
        # It may write files, or want a trained model: it isn't called before there is one.
        run.outcome.notes = (*run.outcome.notes, _MADE_LATER)
        return {"metrics": sorted(metrics), "operators": None, "starts": None}
    keras_model = run.models.as_saved(keras_model)
    path = run.files.scratch / "untrained.keras"
    with run.code.at("build_model_function"), keras_file.saved_for_a_while(keras_model, path, label):
        loaded = _loaded(run, keras_model, training, path)
    with run.code.at("tflite_converter", "build_model_function"):
        told = _converted(run, loaded, training if validation is None else validation)
    run.outcome.notes = tuple(dict.fromkeys((*run.outcome.notes, *told.notes)))
    return {"metrics": sorted(metrics), "operators": list(told.operators), "starts": told.starts}


def _loaded(run: StageRun, keras_model: Any, training: data.Samples, path: Path) -> Any:
    """The model as its file has it, which answers as it does."""
    loaded = run.models.load(path=path)
    # A generator that is in the midst of its samples is read after the training, which tells what can't be compared.
    if not isinstance(training.x, GeneratorType):
        with run.code.running("the saved model", count=False, count_variables=True):
            place = run.code.place("build_model_function")
            published.require_equal(keras_model, lambda: loaded, training, place)
    return loaded


def _converted(run: StageRun, keras_model: Any, part: data.Samples) -> trial.Trial:
    converter = {**run.peek.tflite_converter}
    calibration = _calibration(run, keras_model, converter, part) if quantize.wants_calibration(converter) else None
    return trial.try_out(keras_model, calibration, converter, mode=run.peek.tflm, folder=run.files.scratch)


def _calibration(run: StageRun, keras_model: Any, converter: Mapping[str, Any], part: data.Samples) -> Any:
    """A few samples: the spec's own, those in memory, or made up for a stream that may begin only once."""
    few = {**converter, "representative_dataset_max_samples": _SAMPLES}
    if callable(few["representative_dataset"]):
        return spec_calibration(run, few)
    if part.is_stream:
        return trial.MADE_UP
    with run.code.running("the data loader", DataError, count=False):
        found = data.calibration_samples(part, _SAMPLES, run.data.classes)
    return samples_for(keras_model, found)


def _require_fitting(run: StageRun, keras_model: Any, subset: str, part: data.Samples | None) -> None:
    """Raise a SpecError when the samples aren't what the model's inputs take."""
    if part is None or part.is_stream or not ports.are_told(keras_model):
        return
    inputs = keras_model.inputs
    for entry, array in zip(inputs, ports.inputs_of(keras_model, part.x), strict=True):
        expected, given = tuple(entry.shape[1:]), tuple(array.shape[1:])
        fits = len(expected) == len(given) and all(
            size in (None, found) for size, found in zip(expected, given, strict=True)
        )
        if not fits:
            which = "input" if len(inputs) == 1 else f"input {entry.name}"
            raise SpecError(
                f"the {subset} samples don't fit the model's {which}",
                where=run.code.place("build_model_function"),
                found=f"samples of shape {given}, an input of shape {expected}",
                fix="give keras.Input the shape of one sample, or reshape the samples in the data loader",
            )
