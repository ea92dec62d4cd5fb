"""Evaluates and compares models that no workspace made; runs in a worker, which a damaged file may crash."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from mltkbuild.data import loading
from mltkbuild.data.chunks import chunks
from mltkbuild.data.loading import Loaded
from mltkbuild.data.samples import Samples
from mltkbuild.errors import UsageError
from mltkbuild.evaluation import evaluate as evaluating
from mltkbuild.evaluation import parity_files
from mltkbuild.evaluation.judging import KERAS, TFLITE, Judge
from mltkbuild.shown import shown
from mltkbuild.tflite import calibration, graph, micro, params, ports, predict, quantize
from mltkbuild.workers import file_jobs
from mltkbuild.workers.file_jobs import about, content_of, keras_model_of, missing, samples_of, write

BATCH = 32
T = TypeVar("T")


def evaluate(paths: Sequence[str], data: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Evaluate a Keras model, a `.tflite` in TensorFlow Lite Micro, or one of each and compare their answers.

    Args:
        paths: One or two files.
        data: The samples with their targets.
        options: `rescale`, `trust`, `output` (a folder, or None), `classes` (labels, or None).

    Returns:
        `text`, `results` by kind, and what `missing` tells of answers that TensorFlow Lite Micro didn't give.
    """
    models: dict[str, _KerasModel | _TfliteModel] = {}
    for path in paths:
        with about(path):
            model = _opened(path, bool(options["trust"]))
            models[model.kind] = model
    first = next(iter(models.values()))
    with about(paths[0]):
        known = options["classes"] or _embedded(paths)
        loaded, left = _by_name(samples_of(first.inputs, data, options["rescale"]), known)
        targets = _targets(loaded, first)
        # Labels that a file bears may be of what its answers are made into, such as normal and abnormal.
        widths = targets.of(first.widths)
        fits = known is not None and widths in ([len(known)], [1] if len(known) == 2 else None)
        sure = bool(options["classes"] or loaded.classes or fits)
        names, scales = targets.of(first.names), targets.of(list(models.values())[-1].scales)
        judge = Judge(names, scales, known or loaded.classes, is_classifier=sure, by_targets=True)
        _answer(models, loaded, targets, judge)
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as scratch:
        texts, results = _written(models, judge, [*loaded.told, *left, *targets.told], Path(scratch))
        if options["output"] is not None:
            for file in sorted(Path(scratch).rglob("*")):
                if file.is_file():
                    write(os.path.join(options["output"], str(file.relative_to(scratch))), file.read_bytes())
    refusal = next((model.refusal for model in models.values() if model.refusal is not None), None)
    lacking = missing(None, None) if refusal is None else missing(str(refusal.found), refusal.fix)
    return {"text": "\n".join(texts), "results": results, **lacking}


def _answer(
    models: Mapping[str, _KerasModel | _TfliteModel],
    loaded: Loaded,
    targets: Targets,
    judge: Judge,
) -> None:
    """Let all models answer, some samples at a time."""
    for part in chunks(Samples(loaded.inputs, tuple(targets.arrays)), BATCH):
        answers = {}
        for kind, model in models.items():
            with about(model.path):
                answers[kind] = targets.of(model.predict(part.x))
        judge.add(part.y, answers)


def _written(
    models: Mapping[str, _KerasModel | _TfliteModel], judge: Judge, told: Sequence[str], scratch: Path
) -> tuple[list[str], dict[str, Any]]:
    """Write the files; give their texts, and the documents by kind."""
    texts: list[str] = []
    results: dict[str, Any] = {}
    for kind, model in models.items():
        with about(model.path):
            results[kind] = judge.results(kind)
            evaluating.write_results(scratch / kind, Path(model.path).name, results[kind])
        texts.append((scratch / kind / "summary.txt").read_text(encoding="utf-8"))
        if notes := [*told, *model.notes()]:
            texts += [f"note: {note}\n" for note in notes]
            results["notes"] = notes
    if len(models) == 2:
        results["parity"] = parity_files.write(scratch, "float and .tflite", judge.parities())
        texts.append((scratch / "parity.txt").read_text(encoding="utf-8"))
    return texts, results


class _KerasModel:
    """A Keras model as evaluation sees it."""

    kind = KERAS
    refusal: micro.CantRun | None = None

    def __init__(self, path: str, trust: bool) -> None:
        self.path = path
        self._model = keras_model_of(path, trust)
        ends = quantize.checked_inputs(self._model)
        self.inputs = [
            Named(name, tuple(end.shape)) for name, end in zip(ports.input_names(self._model), ends, strict=True)
        ]
        self.names = ports.output_names(self._model)
        self.shapes = [tuple(end.shape[1:]) for end in self._model.outputs]
        self.widths = [int(np.prod([size or 1 for size in shape])) for shape in self.shapes]
        self.scales = [0.0] * len(self.names)

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What it answers: an array an output, one row a sample."""
        return predict.predict_keras(self._model, ports.packed(self._model, inputs), BATCH)

    def notes(self) -> list[str]:
        """Nothing: a float model has no calibrated range, and Keras runs everywhere."""
        return []


class _TfliteModel:
    """A `.tflite` as evaluation sees it."""

    kind = TFLITE

    def __init__(self, path: str) -> None:
        self.path = path
        found = graph.read(content_of(path))
        entries, ends = ([micro.port_of(tensor) for tensor in part] for part in (found.inputs, found.outputs))
        self.inputs = [Named(key or port.name, port.shape) for key, port in zip(found.input_keys, entries, strict=True)]
        self.names = _each_once([key or port.name for key, port in zip(found.output_keys, ends, strict=True)])
        self.shapes = [tuple(port.shape[1:]) for port in ends]
        self.widths = [int(np.prod(shape)) for shape in self.shapes]
        self.scales = [port.scale for port in ends]
        self.refusal = predict.refusal_of(Path(path))
        several = len(entries) > 1
        self._ranges = [
            calibration.Range(asdict(port), entry.name if several else "")
            for port, entry in zip(entries, self.inputs, strict=True)
        ]

    def predict(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What its outputs are on TensorFlow Lite Micro, dequantized: an array each, one row a sample."""
        for values, seen in zip(inputs, self._ranges, strict=True):
            seen.add(values)
        return predict.answers_of(Path(self.path), inputs, self.refusal)

    def notes(self) -> list[str]:
        """How far the samples leave the calibrated range, and what ran the model in place of TensorFlow Lite Micro."""
        left = [seen.note() for seen in self._ranges]
        return [note for note in (*left, self._on_reference()) if note]

    def _on_reference(self) -> str | None:
        if self.refusal is None:
            return None
        told = f"{predict.REFERENCE} answered: {self.refusal.what}: {self.refusal.found}"
        return predict.ON_REFERENCE if isinstance(self.refusal, micro.NotHere) else told


@dataclass(frozen=True)
class Named:
    """An input of a model: what people call it, and its shape with the batch."""

    name: str
    shape: tuple[Any, ...]


def _each_once(names: Sequence[str]) -> list[str]:
    """Names of outputs, one that is given out twice with its number."""
    return [name if names.count(name) == 1 else f"{name}_{place}" for place, name in enumerate(names)]


def _opened(path: str, trust: bool) -> _KerasModel | _TfliteModel:
    return _TfliteModel(path) if path.endswith(file_jobs.TFLITE) else _KerasModel(path, trust)


def _embedded(paths: Sequence[str]) -> list[str] | None:
    """The class labels that a `.tflite` bears, in the order of its output."""
    for path in paths:
        if path.endswith(file_jobs.TFLITE):
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


@dataclass(frozen=True)
class Targets:
    """What the answers of a model's outputs are compared with.

    Args:
        arrays: One row a sample, for each output that is evaluated.
        places: Which outputs these are, from 0 on.
        told: Lines for people.
    """

    arrays: Sequence[np.ndarray]
    places: Sequence[int]
    told: Sequence[str] = ()

    def of(self, values: Sequence[T]) -> list[T]:
        """Those of some values, one an output, whose outputs are evaluated."""
        return [values[place] for place in self.places]


def _targets(loaded: Loaded, model: _KerasModel | _TfliteModel) -> Targets:
    """The targets in the order of a model's outputs, and what to tell of them.

    Raises:
        UsageError: There are none.
    """
    names = model.names
    called = loading.names_in(loaded.others, names, "y") if len(names) > 1 or loaded.y is None else None
    if called is not None:
        return Targets([_checked(name, loaded.others[name], loaded) for name in called], range(len(names)))
    if loaded.y is not None and len(names) == 1:
        return Targets([loaded.y], [0])
    shapes = [tuple(entry.shape[1:]) for entry in model.inputs]
    if loaded.y is None and not loaded.others and model.shapes == shapes:
        told = "there are no targets: the outputs are compared with the inputs, as an auto-encoder's"
        return Targets(list(loaded.inputs), range(len(names)), [told])
    if len(names) > 1 and (some := _of_some(loaded, names)):
        told = f"evaluated is {_listed(names, some)} alone: there are no targets for "
        return Targets(list(some.values()), list(some), [told + _listed(names, set(range(len(names))) - set(some))])
    if len(names) > 1:
        raise UsageError(
            "evaluating needs targets for the outputs",
            found=f"{', '.join(map(shown, loaded.others)) or 'none'}; the outputs are {', '.join(map(shown, names))}",
            fix=f"save an array for each in the .npz, by its name or as y0, y1, ...: {shown(names[0])}=...",
        )
    fix = "save targets as y in the .npz, or put the samples in a subfolder for each class"
    raise UsageError("evaluating needs targets", found="no y", fix=fix)


def _listed(names: Sequence[str], places: Collection[int]) -> str:
    return ", ".join(shown(names[place]) for place in sorted(places))


def _of_some(loaded: Loaded, names: Sequence[str]) -> dict[int, np.ndarray]:
    """The targets of those outputs that have some; a plain `y` is the first output's."""
    found = {} if loaded.y is None else {0: loaded.y}
    for place, name in enumerate(names):
        ways = (name, f"y_{name}", f"y{place}", f"y_{place}")
        own = next((way for way in ways if way in loaded.others), None)
        if own is not None:
            found[place] = _checked(own, loaded.others[own], loaded)
    return dict(sorted(found.items()))


def _checked(name: str, array: np.ndarray, loaded: Loaded) -> np.ndarray:
    """Targets, which are as many as the samples."""
    if array.ndim and len(array) == len(loaded.inputs[0]) and array.dtype.kind in "biuf":
        return array
    raise UsageError(
        "the targets don't fit the samples",
        found=f"{shown(name)} of type {array.dtype} and shape {array.shape} for {len(loaded.inputs[0])} samples",
        fix="save one number or row of numbers a sample",
    )
