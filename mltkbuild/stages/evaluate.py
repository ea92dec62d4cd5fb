"""Assembles the evaluation: the trained model and its `.tflite`, on the same samples, some at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mltkbuild.data import parts
from mltkbuild.data import samples as data
from mltkbuild.data.chunks import chunks
from mltkbuild.errors import DataError, SpecError
from mltkbuild.evaluation import autoencoder, evaluate, parity_files
from mltkbuild.evaluation.compiled import CompiledMetrics
from mltkbuild.evaluation.documents import Results
from mltkbuild.evaluation.judging import KERAS, TFLITE, Judge
from mltkbuild.from_mltk.evaluation import ClassifierEvaluationResults, EvaluationResults
from mltkbuild.spec.any_model import if_any, is_autoencoder, is_prepared
from mltkbuild.spec.mixins import EvaluateMixin
from mltkbuild.stages import libraries
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.tflite import calibration, micro, ports, predict
from mltkbuild.tflite.tflite_model import TfliteModel
from mltkbuild.training import targets

Kind = Literal["keras", "tflite"]
KINDS: tuple[Kind, Kind] = ("keras", "tflite")
ACCURACY: Mapping[Kind, Literal["keras_accuracy", "tflite_accuracy"]] = {
    "keras": "keras_accuracy",
    "tflite": "tflite_accuracy",
}
AUC: Mapping[Kind, Literal["keras_auc", "tflite_auc"]] = {"keras": "keras_auc", "tflite": "tflite_auc"}
METRICS: Mapping[Kind, Literal["keras_metrics", "tflite_metrics"]] = {
    "keras": "keras_metrics",
    "tflite": "tflite_metrics",
}


def _folder(run: StageRun, kind: Kind) -> Path:
    """Where the files about one of the two models go."""
    return run.files.own(f"eval/{kind}/results.json").parent


def _title(run: StageRun, kind: Kind) -> str:
    """The target and which of its models, with what ran it in place of TensorFlow Lite Micro."""
    kernels = run.outcome.facts.get("kernels") if kind == "tflite" else None
    return f"{run.request.target} ({kind}, {kernels})" if kernels else f"{run.request.target} ({kind})"


def evaluate_model(run: StageRun) -> None:
    """Evaluate both models and compare their answers."""
    custom = if_any(run.model, EvaluateMixin.eval_custom_function)
    facts = run.files.read_json("tflm.json")
    keras_model = run.models.load(compiled=run.data.classes is None or len(facts["outputs"]) > 1)
    if custom is not None:
        _evaluate_by(run, custom, keras_model)
        return
    part = run.data.load_evaluation()
    run.data.same_data("evaluation", part)
    both, judging = _Both(run, keras_model, facts), _judging(run, keras_model, facts)
    for samples in _samples(run, part):
        with run.code.at("dataset", "x"):
            inputs = both.inputs_of(samples.x)
        with run.code.running("evaluating", count=False, count_variables=True):
            judging.add(inputs, samples, both.answers(inputs))
    both.tell()
    judging.write()


def _samples(run: StageRun, part: data.Samples) -> Iterator[data.Samples]:
    """The evaluation samples, some at a time: of each class no more than the spec says."""
    random = is_prepared(run.model) and run.model.augments("evaluation")
    limit = if_any(run.model, EvaluateMixin.eval_steps_per_epoch)
    found = chunks(part, run.peek.batch_size, limit, run.peek.seed if random else None)
    classes = _evaluated_classes(run)
    balance = None if classes is None else evaluate.Balance(run.model.eval_max_samples_per_class)
    while True:
        with run.code.running("the data loader", DataError, count=False):
            samples = next(found, None)
        if samples is None:
            return
        if balance is not None and classes is not None and balance.chooses and not parts.are_several(samples.y):
            with run.code.at("dataset", "x"):
                samples = samples.part(balance.pick(evaluate.labels_of(samples.y, len(classes))))
        if len(samples):
            yield samples


def _evaluated_classes(run: StageRun) -> tuple[str, ...] | None:
    """The names of the classes that evaluation samples have."""
    return tuple(run.model.eval_classes) if is_autoencoder(run.model) else run.data.classes


class _Both:
    """The Keras model and its `.tflite`, which get the same samples."""

    def __init__(self, run: StageRun, keras_model: Any, facts: Mapping[str, Any]) -> None:
        self._run = run
        self._model = keras_model
        self._tflite = run.files.artifact("{name}.converted.tflite")
        several = len(facts["inputs"]) > 1
        self._ranges = [calibration.Range(port, port["name"] if several else "") for port in facts["inputs"]]
        self._on_reference = not (facts["runs"] and micro.is_here())
        if self._on_reference:
            _tell_of_reference(run)

    def inputs_of(self, x: Any) -> list[np.ndarray]:
        """The arrays of x in the order of the models' inputs."""
        return ports.inputs_of(self._model, x) if ports.are_told(self._model) else [parts.first_of(x)]

    def answers(self, inputs: list[np.ndarray]) -> dict[str, list[np.ndarray]]:
        """What both answer: the `.tflite` on TensorFlow Lite Micro, or on LiteRT's reference kernels if it can't."""
        taken = ports.packed(self._model, inputs) if ports.are_told(self._model) else inputs[0]
        for values, seen in zip(inputs, self._ranges, strict=False):
            seen.add(values)
        return {
            KERAS: predict.predict_keras(self._model, taken, self._run.peek.batch_size),
            TFLITE: predict.predict_tflite(self._tflite, inputs, on_reference=self._on_reference),
        }

    def tell(self) -> None:
        """Note what leaves the calibrated ranges."""
        notes = (seen.note() for seen in self._ranges)
        self._run.outcome.notes = (*self._run.outcome.notes, *(note for note in notes if note is not None))


def _tell_of_reference(run: StageRun) -> None:
    """Say which kernels answered, and let their version count."""
    libraries.notice(run.outcome, run.request.toolchain, "ai-edge-litert")
    run.outcome.facts["kernels"] = predict.REFERENCE
    if not micro.is_here():
        run.outcome.notes = (*run.outcome.notes, predict.ON_REFERENCE)


# -- what the answers are worth --------------------------------------------------------------------------------------


@dataclass
class _Judging:
    """Counts what both models get right, each output by what it is; writes results and parity."""

    run: StageRun
    keras_model: Any
    judge: Judge
    compiled: CompiledMetrics | None

    def add(self, inputs: list[np.ndarray], samples: data.Samples, answers: Mapping[str, list[np.ndarray]]) -> None:
        """Take the next samples and what both models answered."""
        model, y = self.keras_model, samples.y
        told = ports.are_told(model)
        with self.run.code.at("dataset", "x"):
            wanted = None if y is None else ports.targets_of(model, y) if told else list(parts.by_name(y).values())
            self.judge.add(wanted, answers)
        if self.compiled is not None:
            x = ports.as_taken(model, samples.x) if told else samples.x
            self.compiled.add(len(samples), x, ports.as_compared(model, y) if told and y is not None else y)

    def write(self) -> None:
        """Write the results of both models, and their parity."""
        more: Mapping[Kind, Mapping[str, Any]] = {
            "keras": {} if self.compiled is None else self.compiled.result(),
            "tflite": {},
        }
        for kind in KINDS:
            _write_results(self.run, kind, self.judge.results(kind, more[kind]))
        if self.run.data.classes is not None and not self.judge.knows_classes:
            told = "no output has targets that are my_model.classes, one a sample: there is no accuracy by class"
            self.run.outcome.notes = (*self.run.outcome.notes, told)
        _write_parity(self.run, self.judge)


@dataclass
class _Detecting:
    """Measures an auto-encoder: its reconstructions' scores tell normal samples from others."""

    run: StageRun
    classes: tuple[str, ...]
    judge: Judge
    labels: list[np.ndarray] = field(default_factory=list)
    scores: dict[str, list[np.ndarray]] = field(default_factory=lambda: {kind: [] for kind in KINDS})

    def add(self, inputs: list[np.ndarray], samples: data.Samples, answers: Mapping[str, list[np.ndarray]]) -> None:
        """Take the next samples and what both models made of them."""
        with self.run.code.at("dataset", "x"):
            self.labels.append(evaluate.labels_of(samples.y, len(self.classes)))
        scoring = self.run.model.get_scoring_function()
        with self.run.code.at("scoring_function", "loss"), self.run.code.running("scoring_function"):
            for kind, rebuilt in answers.items():
                self.scores[kind].append(autoencoder.mean_scores(inputs, rebuilt, scoring))
        self.judge.add(None, answers)

    def write(self) -> None:
        """Write the results of both models, and their parity."""
        run = self.run
        for kind in KINDS:
            if not self.labels:
                raise predict.no_samples()
            with run.code.at("dataset", "x"):
                scores, labels = np.concatenate(self.scores[kind]), np.concatenate(self.labels)
                results = autoencoder.detector_results(scores, labels, self.classes)
            autoencoder.write(_folder(run, kind), _title(run, kind), results)
            run.outcome.facts[ACCURACY[kind]] = results["overall_accuracy"]
            run.outcome.facts[AUC[kind]] = results["overall_roc_auc"]
        _write_parity(run, self.judge)


def _judging(run: StageRun, keras_model: Any, facts: Mapping[str, Any]) -> _Judging | _Detecting:
    """What judges a model by what it is: an auto-encoder, a classifier, or what its targets say of each output."""
    outputs = facts["outputs"]
    names = ports.output_names(keras_model) if ports.are_told(keras_model) else [end["name"] for end in outputs]
    classes = run.data.classes
    judge = Judge(
        names,
        [end["scale"] for end in outputs],
        classes,
        is_classifier=classes is not None,
        # A loss is read only where labels ask for it.
        several_labels=lambda: targets.may_have_several_labels(run.models.load(compiled=True)),
    )
    if is_autoencoder(run.model):
        return _Detecting(run, _evaluated_classes(run) or (), judge)
    if classes is not None and len(outputs) == 1:
        return _Judging(run, keras_model, judge, None)
    return _Judging(run, keras_model, judge, CompiledMetrics(keras_model, run.peek.batch_size, names))


def _write_results(run: StageRun, kind: Kind, results: Results) -> None:
    evaluate.write_results(_folder(run, kind), _title(run, kind), results)
    if "overall_accuracy" in results:
        run.outcome.facts[ACCURACY[kind]] = results["overall_accuracy"]
    else:
        run.outcome.facts[METRICS[kind]] = results["metrics"]


def _write_parity(run: StageRun, judge: Judge) -> None:
    """Write how well both models agree."""
    folder, title = run.files.own("eval/parity.json").parent, f"{run.request.target}: Keras and .tflite"
    run.outcome.facts["parity"] = parity_files.write(folder, title, judge.parities())["agreement"]


def _evaluate_by(run: StageRun, custom: Callable[..., Any], keras_model: Any) -> None:
    """Let the spec's own function evaluate, once for each model."""
    logger = run.model.create_logger("evaluate")
    named = isinstance(getattr(keras_model, "output", None), Mapping)
    names = ports.output_names(keras_model) if named else ()
    converted = TfliteModel(run.files.artifact("{name}.converted.tflite"), names)
    if not micro.is_here():
        _tell_of_reference(run)
    both: tuple[tuple[Kind, Any], ...] = (("keras", keras_model), ("tflite", converted))
    for kind, built in both:
        folder = _folder(run, kind)
        with run.code.running("eval_custom_function"):
            results = custom(run.model, built_model=built, eval_dir=str(folder), show=False, logger=logger)
        with run.code.at("eval_custom_function"):
            document = _custom_results(results)
            _write_results(run, kind, document)


def _custom_results(results: object) -> Results:
    """What an eval_custom_function returned, as a document: a classifier's report, or its numbers as metrics."""
    if isinstance(results, ClassifierEvaluationResults):
        return results.document
    fix = "return a dict such as {'accuracy': 0.93}"
    if not isinstance(results, Mapping):
        raise SpecError("eval_custom_function must return a dict", found=type(results).__name__, fix=fix)
    plain = {str(name): value.tolist() if isinstance(value, np.generic) else value for name, value in results.items()}
    if isinstance(results, EvaluationResults):  # these two of its entries are text
        del plain["name"], plain["model_type"]
    wrong = [name for name, value in plain.items() if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong or not np.isfinite(list(plain.values())).all():
        raise SpecError("eval_custom_function must return a dict of finite numbers", found=repr(plain)[:200], fix=fix)
    return {"n_samples": plain.pop("n_samples", None), "metrics": plain}
