"""Assembles the evaluation: the trained model and its `.tflite`, on the same samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, SpecError
from mltkbuild.evaluation import autoencoder, evaluate, parity
from mltkbuild.evaluation.documents import MetricResults, Results
from mltkbuild.from_mltk.evaluation import ClassifierEvaluationResults, EvaluationResults
from mltkbuild.spec.any_model import if_any, is_autoencoder
from mltkbuild.spec.mixins import EvaluateMixin
from mltkbuild.stages import libraries
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.tflite import calibration, micro, predict
from mltkbuild.tflite.tflite_model import TfliteModel

Kind = Literal["keras", "tflite"]
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
    keras_model = run.models.load(compiled=run.data.classes is None)
    if custom is not None:
        _evaluate_by(run, custom, keras_model)
        return
    part = run.data.load_evaluation()
    run.data.same_data("evaluation", part)
    part = run.data.finished("evaluation", part)
    with run.code.running("the data loader", DataError, count=False):
        part = data.in_memory(part, if_any(run.model, EvaluateMixin.eval_steps_per_epoch))
    classes = _evaluated_classes(run)
    if classes is not None:
        limit = run.model.eval_max_samples_per_class
        with run.code.at("dataset", "x"):
            chosen = evaluate.select_balanced(evaluate.labels_of(part.y, len(classes)), limit)
        part = data.Samples(part.x[chosen], part.y[chosen])
    with run.code.running("evaluating", count=False, count_variables=True):
        exact = predict.predict_keras(keras_model, part.x, run.peek.batch_size)
        _write_evaluation(run, "keras", keras_model, exact, part)
        found = _predict_tflite(run, part.x)
        _write_evaluation(run, "tflite", keras_model, found, part)
        _write_parity(run, exact, found, part)


def _evaluated_classes(run: StageRun) -> tuple[str, ...] | None:
    """The names of the classes that evaluation samples have."""
    return tuple(run.model.eval_classes) if is_autoencoder(run.model) else run.data.classes


def _write_parity(run: StageRun, exact: np.ndarray, found: np.ndarray, part: data.Samples) -> None:
    """Write how well both models agree."""
    facts = run.files.read_json("tflm.json")
    classes = run.data.classes
    labels = evaluate.labels_of(part.y, len(classes)) if classes is not None else None
    folder, title = run.files.own("eval/parity.json").parent, f"{run.request.target}: Keras and .tflite"
    scale = facts["outputs"][0]["scale"]
    document = parity.report(folder, title, exact, found, scale=scale, classes=classes, labels=labels)
    run.outcome.facts["parity"] = document["agreement"]


def _predict_tflite(run: StageRun, x: np.ndarray) -> np.ndarray:
    """What the `.tflite` answers: on TensorFlow Lite Micro, or on LiteRT's reference kernels if it can't run there."""
    tflite = run.files.artifact("{name}.converted.tflite")
    facts = run.files.read_json("tflm.json")
    port = facts["inputs"][0]
    note = calibration.range_note(x, port["scale"], port["zero_point"], port["dtype"])
    if note is not None:
        run.outcome.notes = (*run.outcome.notes, note)
    if facts["runs"] and micro.is_here():
        return predict.predict_tflite(tflite, x)
    _tell_of_reference(run)
    return predict.predict_reference(tflite, x)


def _tell_of_reference(run: StageRun) -> None:
    """Say which kernels answered, and let their version count."""
    libraries.notice(run.outcome, run.request.toolchain, "ai-edge-litert")
    run.outcome.facts["kernels"] = predict.REFERENCE
    if not micro.is_here():
        run.outcome.notes = (*run.outcome.notes, predict.ON_REFERENCE)


def _write_evaluation(run: StageRun, kind: Kind, keras_model: Any, predictions: Any, part: data.Samples) -> None:
    if run.data.classes is not None:
        _write_classifier(run, kind, predictions, part, run.data.classes)
        return
    if is_autoencoder(run.model):
        _write_detector(run, kind, predictions, part)
        return
    results: MetricResults
    if kind == "keras":
        results = evaluate.generic_results(keras_model, part.x, part.y, run.peek.batch_size)
    elif part.y is None:
        results = {"n_samples": len(part.x), "metrics": {}}
    else:
        results = evaluate.error_results(predictions, part.y)
    evaluate.write_results(_folder(run, kind), _title(run, kind), results)
    run.outcome.facts[METRICS[kind]] = results["metrics"]


def _write_classifier(run: StageRun, kind: Kind, predictions: Any, part: data.Samples, classes: Sequence[str]) -> None:
    """Count what a classifier got right."""
    labels = evaluate.labels_of(part.y, len(classes))
    results = evaluate.classifier_results(labels, evaluate.scores_of(predictions, len(classes)), classes)
    evaluate.write_results(_folder(run, kind), _title(run, kind), results)
    run.outcome.facts[ACCURACY[kind]] = results["overall_accuracy"]


def _write_detector(run: StageRun, kind: Kind, rebuilt: np.ndarray, part: data.Samples) -> None:
    """Evaluate an auto-encoder: its reconstructions' scores tell normal samples from others."""
    classes = _evaluated_classes(run) or ()
    with run.code.at("scoring_function", "loss"), run.code.running("scoring_function"):
        scores = autoencoder.scores_of(part.x, rebuilt, run.model.get_scoring_function())
    with run.code.at("dataset", "x"):
        results = autoencoder.detector_results(scores, evaluate.labels_of(part.y, len(classes)), classes)
    autoencoder.write(_folder(run, kind), _title(run, kind), results)
    run.outcome.facts[ACCURACY[kind]] = results["overall_accuracy"]
    run.outcome.facts[AUC[kind]] = results["overall_roc_auc"]


def _evaluate_by(run: StageRun, custom: Callable[..., Any], keras_model: Any) -> None:
    """Let the spec's own function evaluate, once for each model."""
    logger = run.model.create_logger("evaluate")
    converted = TfliteModel(run.files.artifact("{name}.converted.tflite"))
    if not micro.is_here():
        _tell_of_reference(run)
    both: tuple[tuple[Kind, Any], ...] = (("keras", keras_model), ("tflite", converted))
    for kind, built in both:
        folder = _folder(run, kind)
        with run.code.running("eval_custom_function"):
            results = custom(run.model, built_model=built, eval_dir=str(folder), show=False, logger=logger)
        with run.code.at("eval_custom_function"):
            document = _custom_results(results)
            evaluate.write_results(folder, _title(run, kind), document)
        if "overall_accuracy" in document:
            run.outcome.facts[ACCURACY[kind]] = document["overall_accuracy"]


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
