"""Assembles what makes and describes the `.tflite`: quantize, params, profile, export."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, StageError
from mltkbuild.firmware import export as exporting
from mltkbuild.spec.any_model import if_any
from mltkbuild.spec.mixins import EvaluateMixin
from mltkbuild.stages import libraries
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.tflite import params as embedding
from mltkbuild.tflite import ports, predict, quantization_report
from mltkbuild.tflite import profile as profiling
from mltkbuild.tflite import quantize as quantizing
from mltkbuild.tflite.convert import convert

VECTORS = 4
"""So many evaluation samples go into the firmware's test."""


def quantize(run: StageRun) -> None:
    """Convert the trained model, and publish the result only if it runs on TensorFlow Lite Micro."""
    converter = {**run.peek.tflite_converter}
    keras_model = run.models.load()
    calibration = _calibration(run, converter, keras_model) if quantizing.wants_calibration(converter) else None
    converted, float32 = run.files.own("{name}.converted.tflite"), run.files.own("{name}.float32.tflite")
    with run.code.at("tflite_converter"):
        found = convert(keras_model, calibration, converter, mode=run.peek.tflm, converted=converted, float32=float32)
        if converter["generate_quantization_report"]:
            _report_quantization(run, converter, calibration)
    libraries.notice(run.outcome, run.request.toolchain, *found.libraries)
    run.files.write_json("tflm.json", found.tflm)
    run.outcome.facts |= found.sizes
    run.outcome.notes = (*run.outcome.notes, *found.notes)


def _calibration(run: StageRun, converter: Mapping[str, Any], keras_model: Any) -> Any:
    """The samples that set the int8 ranges: the spec's generator, or the validation (else training) data."""
    if callable(converter["representative_dataset"]):
        return spec_calibration(run, converter)
    part = _calibration_part(run)
    with run.code.running("the data loader", DataError, count=False):
        found = data.calibration_samples(part, converter["representative_dataset_max_samples"], run.data.classes)
    with run.code.at("dataset", "x"):
        return samples_for(keras_model, found)


def samples_for(keras_model: Any, found: Any) -> Any:
    """Calibration samples as the conversion takes them: one array, or for each sample one an input of the model.

    Raises:
        DataError: They don't fit the model's inputs.
    """
    arrays = ports.inputs_of(keras_model, found) if ports.are_told(keras_model) else [found]
    return arrays[0] if len(arrays) == 1 else list(zip(*arrays, strict=True))


def spec_calibration(run: StageRun, converter: Mapping[str, Any]) -> list[Any]:
    """The first samples of the spec's own function, as many as the converter takes."""
    source, limit = converter["representative_dataset"], converter["representative_dataset_max_samples"]
    # As in MLTK, the function finds the samples in my_model.x; they are loaded only if it looks there.
    run.model.ask_when_unset(lambda name: _let_read(run))
    with run.code.running("representative_dataset"):
        return [_without_batch(item) for _, item in zip(range(limit), source(), strict=False)]


def _calibration_part(run: StageRun) -> data.Samples:
    """The validation samples, else those for training."""
    training, validation = run.data.load("training")
    part = training if validation is None else validation
    run.data.same_data("calibration", part)
    return part


def _let_read(run: StageRun) -> None:
    """Load the calibration samples for a function of the spec that reads my_model.x or y."""
    run.model.ask_when_unset(None)
    part = data.finished(_calibration_part(run))
    run.model.x, run.model.y = part.x, part.y


def _without_batch(item: Any) -> Any:
    """One item of a representative dataset, `[x]`, `x`, `[x1, x2]` or a dict, each of a batch of 1, as a sample."""
    if isinstance(item, Mapping):
        return {name: np.asarray(part)[0] for name, part in item.items()}
    if isinstance(item, list | tuple):
        parts = [np.asarray(part)[0] for part in item]
        return parts[0] if len(parts) == 1 else parts
    return item[0]


def _report_quantization(run: StageRun, converter: Mapping[str, Any], calibration: Any) -> None:
    """Write how far each layer of the quantized model is from the float one."""
    float32 = run.files.own("{name}.float32.tflite")
    if calibration is None or not converter["generate_unquantized"]:
        raise StageError(
            "a quantization report compares a quantized model with the float one",
            found="no calibration" if calibration is None else "generate_unquantized is False",
            fix="set generate_quantization_report to False, or quantize and keep generate_unquantized = True",
        )
    layers = quantization_report.compare(float32, run.files.own("{name}.converted.tflite"), calibration)
    quantization_report.write(run.files.own("quantization_report.csv").parent, run.request.target, layers)


def params(run: StageRun) -> None:
    """Embed the model parameters."""
    model = run.model
    classes = run.peek.classes if model.is_set("classes") else run.data.classes
    arena = run.files.read_json("tflm.json")["arena"]
    date = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    with run.code.at():
        run.outcome.facts |= embedding.run(
            run.files.artifact("{name}.converted.tflite"),
            run.files.own("{name}.tflite"),
            name=run.request.name,
            version=run.peek.version,
            classes=classes,
            description=run.peek.description,
            parameters=model.embedded_parameters,
            arena=None if arena is None else arena["total"],
            date=date if run.peek.tflite_date else None,
        )


def profile(run: StageRun) -> None:
    """Count what the finished `.tflite` costs."""
    found = profiling.profile(run.files.artifact("{name}.tflite").read_bytes(), run.request.target)
    profiling.write(run.files.scratch, found)
    run.outcome.facts |= {"macs": found.macs, "flash": found.flash}
    if found.arena is not None:
        run.outcome.facts["arena"] = found.arena.total
    else:
        run.outcome.notes = (*run.outcome.notes, f"the arena is unknown: {found.problem}")


def export(run: StageRun) -> None:
    """Write what a firmware project needs."""
    run.outcome.facts |= exporting.run(
        run.files.artifact("{name}.tflite"),
        run.files.own("export/README").parent,
        name=run.request.target.replace("-", "_"),
        classes=run.data.classes,
        vectors=_vectors(run),
    )
    if problem := run.outcome.facts.get("problem"):
        run.outcome.notes = (*run.outcome.notes, f"no arena size and no test vector: {problem}")


def _vectors(run: StageRun) -> Sequence[Sequence[np.ndarray]] | None:
    """The evaluation samples of the firmware's test, as the model's input takes them."""
    entries = run.files.read_json("tflm.json")["inputs"]
    part = run.data.load_evaluation()
    run.data.same_data("evaluation", part)
    with run.code.running("the data loader", DataError, count=False):
        part = data.in_memory(part, if_any(run.model, EvaluateMixin.eval_steps_per_epoch), labels=False)
    with run.code.at("dataset", "x"):
        arrays = _in_order(part.x, [entry["name"] for entry in entries])
    picked = np.linspace(0, len(part) - 1, min(VECTORS, len(part))).astype(int)
    pairs = list(zip(arrays, entries, strict=True))
    return [[predict.quantized(np.asarray(array[place]), entry)[None] for array, entry in pairs] for place in picked]


def _in_order(x: Any, names: Sequence[str]) -> list[Any]:
    """The arrays of x in the order of the file's inputs."""
    if len(names) == 1:
        return [parts.first_of(x)]
    if isinstance(x, Mapping) and not set(names) <= set(x):
        # The keys of a model whose inputs are a dict, in Keras' order; the file has the inputs' own names.
        return parts.in_order(x, sorted(x), "input")
    return parts.in_order(x, names, "input")
