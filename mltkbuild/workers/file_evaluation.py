"""Evaluates and compares models that no workspace made; runs in a worker, which a damaged file may crash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data.loading import Loaded
from mltkbuild.errors import DataError, UsageError
from mltkbuild.evaluation import evaluate as evaluating
from mltkbuild.evaluation import parity
from mltkbuild.shown import shown
from mltkbuild.tflite import calibration, graph, micro, params, predict, quantize
from mltkbuild.workers.file_jobs import TFLITE, about, content_of, keras_model_of, missing, samples_of, write


def evaluate(paths: Sequence[str], data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate a Keras model, a `.tflite` in TensorFlow Lite Micro, or one of each and compare their answers.

    Args:
        paths: One or two files.
        data: The samples with their targets.
        options: `rescale`, `trust`, `output` (a folder, or None), `classes` (labels, or None).

    Returns:
        `text`, `results` by kind, and what `missing` tells of answers that TensorFlow Lite Micro didn't give.
    """
    keras_files = [path for path in paths if not path.endswith(TFLITE)]
    results: dict[str, Any] = {}
    texts: list[str] = []
    answers: dict[str, Any] = {}
    problem = fix = None
    options = {**options, "classes": options["classes"] or _embedded(paths)}
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
        for path in paths:
            kind = "keras" if path in keras_files else "tflite"
            with about(path):
                model = _opened(path, bool(options["trust"]))
                loaded, left = _by_name(samples_of(model.inputs, data, options["rescale"]), options["classes"])
                answers[kind] = model.predict(loaded)
                if model.refusal is not None:
                    problem, fix = str(model.refusal.found), model.refusal.fix
                results[kind] = _evaluated(answers[kind], loaded, options, Path(scratch, kind), Path(path).name)
            texts.append(Path(scratch, kind, "summary.txt").read_text(encoding="utf-8"))
            if notes := [*left, *model.notes(loaded)]:
                texts += [f"note: {note}\n" for note in notes]
                results["notes"] = notes
        if len(answers) == 2:
            classes, labels = _classes(answers["keras"], loaded, options)
            pair = answers["keras"], answers["tflite"]
            results["parity"] = parity.report(
                Path(scratch), "float and .tflite", *pair, scale=model.scale, classes=classes, labels=labels
            )
            texts.append(Path(scratch, "parity.txt").read_text(encoding="utf-8"))
        if options["output"] is not None:
            for file in sorted(Path(scratch).rglob("*")):
                if file.is_file():
                    write(os.path.join(options["output"], str(file.relative_to(scratch))), file.read_bytes())
    return {"text": "\n".join(texts), "results": results, **missing(problem, fix)}


class _KerasModel:
    """A Keras model as evaluation sees it."""

    scale = 0.0
    refusal: micro.CantRun | None = None

    def __init__(self, path: str, trust: bool) -> None:
        self._model = keras_model_of(path, trust)
        self.inputs = quantize.checked_inputs(self._model)

    def predict(self, loaded: Loaded) -> np.ndarray:
        """What it answers, one row a sample."""
        inputs: Any = loaded.inputs[0] if len(loaded.inputs) == 1 else list(loaded.inputs)
        return predict.predict_keras(self._model, inputs, 32)

    def notes(self, loaded: Loaded) -> list[str]:
        """Nothing: a float model has no calibrated range, and Keras runs everywhere."""
        return []


class _TfliteModel:
    """A `.tflite` as evaluation sees it."""

    def __init__(self, path: str) -> None:
        self._path = Path(path)
        found = graph.read(content_of(path))
        self.inputs = [micro.port_of(tensor) for tensor in found.inputs]
        self.outputs = [micro.port_of(tensor) for tensor in found.outputs]
        self.scale = self.outputs[0].scale
        self.refusal: micro.CantRun | None = None

    def predict(self, loaded: Loaded) -> np.ndarray:
        """What its first output is on TensorFlow Lite Micro, dequantized, one row a sample."""
        pairs = zip(loaded.inputs, self.inputs, strict=True)
        given = [predict.quantized(part, asdict(port)) for part, port in pairs]
        answers, self.refusal = predict.run_judged(self._path, given)
        return predict.dequantized(answers[0], asdict(self.outputs[0]))

    def notes(self, loaded: Loaded) -> list[str]:
        """How far the samples leave the calibrated range, and what ran the model in place of TensorFlow Lite Micro."""
        port = self.inputs[0]
        left = calibration.range_note(loaded.inputs[0], port.scale, port.zero_point, port.dtype)
        return [note for note in (left, self._on_reference()) if note]

    def _on_reference(self) -> str | None:
        if self.refusal is None:
            return None
        told = f"{predict.REFERENCE} answered: {self.refusal.what}: {self.refusal.found}"
        return predict.ON_REFERENCE if isinstance(self.refusal, micro.NotHere) else told


def _opened(path: str, trust: bool) -> _KerasModel | _TfliteModel:
    return _TfliteModel(path) if path.endswith(TFLITE) else _KerasModel(path, trust)


def _embedded(paths: Sequence[str]) -> list[str] | None:
    """The class labels that a `.tflite` bears, in the order of its output."""
    for path in paths:
        if path.endswith(TFLITE):
            with about(path):
                found = params.extract(content_of(path)).get("classes")
            if isinstance(found, list) and found:
                return [str(label) for label in found]
    return None


def _by_name(loaded: Loaded, classes: Sequence[str] | None) -> tuple[Loaded, list[str]]:
    """Let samples that lie in a folder a class have the ids of these classes, and tell which have none.

    Args:
        loaded: The samples; the ids of their folders are in the order of the alphabet.
        classes: The model's own classes, in the order of its output; None where nobody says them.

    Raises:
        UsageError: A folder bears the name of no class.
    """
    if not loaded.classes or loaded.y is None:
        return loaded, []
    if classes is None:
        return loaded, [
            "nothing tells the order of the classes, and that of the folders' names was taken: give --classes"
        ]
    strange = [name for name in loaded.classes if name not in classes]
    numbered = list(loaded.classes) == [str(number) for number in range(len(loaded.classes))]
    if strange and not (numbered and len(loaded.classes) <= len(classes)):
        raise UsageError(
            "a folder of the data bears the name of no class",
            found=f"{', '.join(map(shown, strange))}; the classes are {', '.join(map(shown, classes))}",
            fix="name the folders after the classes, or give --classes in the order of the model's output",
        )
    ids = np.arange(len(loaded.classes)) if strange else np.array([classes.index(name) for name in loaded.classes])
    empty = [label for place, label in enumerate(classes) if place not in ids]
    notes = [f"the data has no folder for {', '.join(map(shown, empty))}"] if empty else []
    return replace(loaded, y=ids[loaded.y], classes=tuple(classes)), notes


def _classes(
    answers: np.ndarray, loaded: Loaded, options: Mapping[str, Any]
) -> tuple[list[str] | None, np.ndarray | None]:
    """The labels of a classifier and the samples' class ids; None for data whose targets are no classes."""
    if loaded.y is None:
        return options["classes"], None
    width = answers.reshape(len(answers), -1).shape[1]
    named = options["classes"] or list(loaded.classes)
    count = len(named) or max(width, 2)
    if not named and loaded.y.dtype.kind == "f" and loaded.y.ndim <= 2 and loaded.y.shape[-1:] != (width,):
        return None, None
    try:
        labels = evaluating.labels_of(loaded.y, count)
    except DataError:
        if named:
            raise
        return None, None
    return named or [str(number) for number in range(count)], labels


def _evaluated(
    answers: np.ndarray, loaded: Loaded, options: Mapping[str, Any], folder: Path, title: str
) -> Mapping[str, Any]:
    if loaded.y is None:
        fix = "save targets as y in the .npz, or put the samples in a subfolder for each class"
        raise UsageError("evaluating needs targets", found="no y", fix=fix)
    classes, _ = _classes(answers, loaded, options)
    return evaluating.evaluate_model(predictions=answers, y=loaded.y, classes=classes, folder=folder, title=title)
