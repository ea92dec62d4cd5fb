"""What can be done with files that no workspace made; runs in a worker, which a damaged file may crash."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mltkbuild import keras_private
from mltkbuild.disk import durable
from mltkbuild.errors import DataError, MltkError, StageError, UsageError

TFLITE = ".tflite"
INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


def profile(path: str, vela: str | None = None) -> dict[str, Any]:
    """Count what a `.tflite` costs.

    Returns:
        The profile as `json` (a document), `text` and `csv`.
    """
    body = importlib.import_module("mltkbuild.tflite.profile")
    with _about(path):
        found = body.profile(_bytes(path), Path(path).stem)
        document, text = body.as_json(found), body.as_text(found)
        if vela is not None:
            arm = importlib.import_module("mltkbuild.tflite.vela")
            estimate = arm.estimate(Path(path), vela)
            document["vela"] = arm.as_json(estimate)
            text += "\n" + arm.as_text(estimate)
    return {"json": document, "text": text, "csv": body.as_csv(found)}


def export(path: str, folder: str, name: str) -> dict[str, Any]:
    """Write what firmware needs of a `.tflite`, whole or not at all."""
    body = importlib.import_module("mltkbuild.firmware.export")
    params = importlib.import_module("mltkbuild.tflite.params")
    with _about(path):
        embedded = params.extract(_bytes(path)).get("classes")
        classes = embedded if isinstance(embedded, list) else None
        with tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
            facts: dict[str, Any] = body.run(Path(path), Path(scratch), name=name, classes=classes, vectors=None)
            files = {file.name: file.read_bytes() for file in sorted(Path(scratch).iterdir())}
    for file_name, content in files.items():
        _write(os.path.join(folder, file_name), content)
    return {**facts, "names": sorted(files)}


def update_params(
    path: str, output: str, changes: Mapping[str, object], removed: Sequence[str] = (), description: str | None = None
) -> dict[str, object]:
    """Set, change or remove parameters that are embedded in a `.tflite`.

    Returns:
        All parameters as they are now, with types as they are stored.
    """
    params = importlib.import_module("mltkbuild.tflite.params")
    with _about(path):
        content = _bytes(path)
        parameters = params.extract_typed(content)
        unknown = [key for key in removed if key not in parameters]
        if unknown:
            found = f"{unknown[0]}; it has {', '.join(sorted(parameters)) or 'none'}"
            raise UsageError("the model has no such parameter", found=found, fix="remove one that it has")
        kept = {key: value for key, value in parameters.items() if key not in removed}
        changed = {**kept, **changes}
        if "hash" in kept and "hash" not in changes:
            changed["hash"] = params.model_hash(content, changed, description)
        if changes or removed or description is not None:
            _write(output, params.embed(content, changed, description))
            content = Path(output).read_bytes()
        found_now: dict[str, object] = params.extract(content)
    return found_now


def summarize(path: str, trust: bool = False) -> str:
    """Describe a Keras model's layers, or what is in a `.tflite`."""
    if path.endswith(TFLITE):
        params = importlib.import_module("mltkbuild.tflite.params")
        text = str(profile(path)["text"])
        with _about(path):
            embedded = params.extract(_bytes(path))
        lines = [f"  {key}: {value!r}" for key, value in sorted(embedded.items())]
        return text + "\n".join(["", "parameters", *(lines or ["  none"]), ""])
    _quiet()
    keras_model = importlib.import_module("mltkbuild.tflite.foreign").load(Path(path), trust=trust)
    return str(importlib.import_module("mltkbuild.stages.table.slices").summarize(keras_model))


def quantize(path: str, output: str, data: str | None, settings: Mapping[str, Any], trust: bool) -> dict[str, Any]:
    """Convert a Keras model to a `.tflite` that is proven on TensorFlow Lite Micro.

    Args:
        path: A `.keras` or `.h5` file.
        output: The `.tflite` to write.
        data: Calibration samples, as `data.files.load` reads them; None for a float model.
        settings: `rescale`, `max_samples`, `tflm` and what differs from the defaults of `tflite_converter`.
        trust: Whether code inside the file may run.

    Returns:
        `bytes`, `notes` and what is known of the model on TensorFlow Lite Micro.
    """
    _quiet()
    body = importlib.import_module("mltkbuild.tflite.quantize")
    proof = importlib.import_module("mltkbuild.tflite.proof")
    mixins = importlib.import_module("mltkbuild.spec.mixins")
    changed = dict(settings)
    rescale, most, mode = changed.pop("rescale"), changed.pop("max_samples"), changed.pop("tflm")
    converter = {**mixins.TrainMixin.tflite_converter.default, "generate_unquantized": False, **changed}
    keras_model = importlib.import_module("mltkbuild.tflite.foreign").load(Path(path), trust=trust)
    with _about(path), tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
        samples = _calibration(keras_model, data, rescale, most) if body.wants_calibration(converter) else None
        converted = Path(scratch, "model.tflite")
        facts = body.run(keras_model, samples, converter, converted, Path(scratch, "float32.tflite"))
        layers = keras_private.layer_names(keras_model)
        quantized = body.is_fully_quantized(converter)
        content = _aligned(converted.read_bytes())
        proven = proof.prove(content, mode=mode, quantized=quantized, layers=layers)
    _write(output, content)
    notes = [*facts.get("warnings", ()), *proven.notes]
    return {**proven.facts, "bytes": len(content), "notes": notes}


def _aligned(tflite: bytes) -> bytes:
    flatbuffer = importlib.import_module("mltkbuild.tflite.flatbuffer")
    return bytes(flatbuffer.pack(flatbuffer.load(tflite), len(tflite)))


def _calibration(keras_model: Any, data: str | None, rescale: float, most: int) -> list[Any]:
    if data is None:
        fix = "give --data FILE.npz or a folder, or --float for a model that isn't quantized"
        raise UsageError("quantizing needs calibration samples", found="no --data", fix=fix)
    loaded = _samples(keras_model.inputs, data, rescale)
    count = len(loaded.inputs[0])
    picked = [count * place // min(most, count) for place in range(min(most, count))]
    rows = [[part[place] for part in loaded.inputs] for place in picked]
    return [row[0] for row in rows] if len(loaded.inputs) == 1 else rows


def _samples(inputs: Sequence[Any], data: str, rescale: float) -> Any:
    files = importlib.import_module("mltkbuild.data.loading")
    shapes = [tuple(entry.shape[1:]) for entry in inputs]
    return files.load(Path(data), [entry.name for entry in inputs], shapes, rescale)


def evaluate(paths: Sequence[str], data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate a Keras model, a `.tflite` in TensorFlow Lite Micro, or one of each and compare their answers.

    Args:
        paths: One or two files.
        data: The samples with their targets.
        options: `rescale`, `trust`, `output` (a folder, or None), `classes` (labels, or None).

    Returns:
        `text`, and `results` by kind.
    """
    keras_files = [path for path in paths if not path.endswith(TFLITE)]
    results: dict[str, Any] = {}
    texts: list[str] = []
    answers: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
        for path in paths:
            kind = "keras" if path in keras_files else "tflite"
            with _about(path):
                model = _opened(path, bool(options["trust"]))
                loaded = _samples(model.inputs, data, options["rescale"])
                answers[kind] = model.predict(loaded)
                results[kind] = _evaluated(answers[kind], loaded, options, Path(scratch, kind), Path(path).name)
            texts.append(Path(scratch, kind, "summary.txt").read_text(encoding="utf-8"))
            if kind == "tflite" and model.note(loaded):
                texts.append(f"note: {model.note(loaded)}\n")
        if len(answers) == 2:
            parity = importlib.import_module("mltkbuild.evaluation.parity")
            classes, labels = _classes(answers["keras"], loaded, options)
            compared = parity.compare(
                answers["keras"], answers["tflite"], scale=model.scale, classes=classes, labels=labels
            )
            parity.write(Path(scratch), "float and .tflite", compared)
            results["parity"] = parity.as_json(compared)
            texts.append(Path(scratch, "parity.txt").read_text(encoding="utf-8"))
        if options["output"] is not None:
            for file in sorted(Path(scratch).rglob("*")):
                if file.is_file():
                    _write(os.path.join(options["output"], str(file.relative_to(scratch))), file.read_bytes())
    return {"text": "\n".join(texts), "results": results}


class _KerasModel:
    """A Keras model as evaluation sees it."""

    scale = 0.0

    def __init__(self, path: str, trust: bool) -> None:
        _quiet()
        self._model = importlib.import_module("mltkbuild.tflite.foreign").load(Path(path), trust=trust)
        self.inputs = importlib.import_module("mltkbuild.tflite.quantize").checked_inputs(self._model)

    def predict(self, loaded: Any) -> Any:
        """What it answers, one row a sample."""
        predict = importlib.import_module("mltkbuild.tflite.predict")
        inputs = loaded.inputs[0] if len(loaded.inputs) == 1 else list(loaded.inputs)
        return predict.predict_keras(self._model, inputs, 32)

    def note(self, loaded: Any) -> str | None:
        """Nothing: a float model has no calibrated range."""
        return None


class _TfliteModel:
    """A `.tflite` as evaluation sees it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        graph = importlib.import_module("mltkbuild.tflite.graph").read(_bytes(path))
        port_of = importlib.import_module("mltkbuild.tflite.micro").port_of
        self.inputs = [port_of(tensor) for tensor in graph.inputs]
        self.outputs = [port_of(tensor) for tensor in graph.outputs]
        self.scale = self.outputs[0].scale

    def predict(self, loaded: Any) -> Any:
        """What its first output is on TensorFlow Lite Micro, dequantized, one row a sample."""
        predict = importlib.import_module("mltkbuild.tflite.predict")
        micro = importlib.import_module("mltkbuild.tflite.micro")
        pairs = zip(loaded.inputs, self.inputs, strict=True)
        given = [predict.quantized(part, asdict(port)) for part, port in pairs]
        return predict.dequantized(micro.run_all(self._path, given)[0], asdict(self.outputs[0]))

    def note(self, loaded: Any) -> str | None:
        """How far the samples leave the calibrated range."""
        calibration = importlib.import_module("mltkbuild.tflite.calibration")
        port = self.inputs[0]
        note: str | None = calibration.range_note(loaded.inputs[0], port.scale, port.zero_point, port.dtype)
        return note


def _opened(path: str, trust: bool) -> Any:
    return _TfliteModel(path) if path.endswith(TFLITE) else _KerasModel(path, trust)


def _classes(answers: Any, loaded: Any, options: Mapping[str, Any]) -> tuple[list[str] | None, Any]:
    """The labels of a classifier and the samples' class ids; None for data whose targets are no classes."""
    evaluate_body = importlib.import_module("mltkbuild.evaluation.evaluate")
    if loaded.y is None:
        return options["classes"], None
    width = answers.reshape(len(answers), -1).shape[1]
    named = options["classes"] or list(loaded.classes)
    count = len(named) or max(width, 2)
    if not named and loaded.y.dtype.kind == "f" and loaded.y.ndim <= 2 and loaded.y.shape[-1:] != (width,):
        return None, None
    try:
        labels = evaluate_body.labels_of(loaded.y, count)
    except DataError:
        if named:
            raise
        return None, None
    return named or [str(number) for number in range(count)], labels


def _evaluated(answers: Any, loaded: Any, options: Mapping[str, Any], folder: Path, title: str) -> Any:
    body = importlib.import_module("mltkbuild.evaluation.evaluate")
    if loaded.y is None:
        fix = "save targets as y in the .npz, or put the samples in a subfolder for each class"
        raise UsageError("evaluating needs targets", found="no y", fix=fix)
    classes, _ = _classes(answers, loaded, options)
    return body.evaluate_model(predictions=answers, y=loaded.y, classes=classes, folder=folder, title=title)


# -- files -----------------------------------------------------------------------------------------------------------


class _about:  # reads as the statement that it stands for
    """Give an error without a place that of the file that it is about."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        if isinstance(error, MltkError) and error.where is None:
            error.where = self._path


def _bytes(path: str) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise UsageError("the file can't be read", where=path, found=error.strerror, fix="give another path") from error


def _write(path: str, content: bytes) -> None:
    """Write a file whole or not at all."""
    try:
        durable.write(os.path.abspath(path), content)
    except OSError as error:
        fix = "give another path, or make room"
        raise StageError("the file can't be written", where=path, found=error.strerror, fix=fix) from error


def _quiet() -> None:
    """Have TensorFlow choose deterministic operations, so that the same file gives the same bytes."""
    tensorflow = importlib.import_module("tensorflow")
    tensorflow.config.experimental.enable_op_determinism()


JOBS: Mapping[str, Callable[..., Any]] = {
    "evaluate": evaluate,
    "export": export,
    "profile": profile,
    "quantize": quantize,
    "summarize": summarize,
    "update_params": update_params,
}
