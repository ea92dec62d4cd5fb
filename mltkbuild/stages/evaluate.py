"""Assembles the evaluation: the trained model and its `.tflite`, on the same samples."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, SpecError
from mltkbuild.evaluation import autoencoder, evaluate, parity
from mltkbuild.from_mltk.evaluation import ClassifierEvaluationResults, EvaluationResults
from mltkbuild.stages import libraries
from mltkbuild.stages.stage_run import StageRun
from mltkbuild.tflite import calibration, micro, predict
from mltkbuild.tflite.tflite_model import TfliteModel


def evaluate_model(run: StageRun) -> None:
    """Evaluate both models and compare their answers."""
    custom = getattr(run.model, "eval_custom_function", None)
    keras_model = run.load_keras(compiled=run.classes is None)
    if custom is not None:
        _evaluate_by(run, custom, keras_model)
        return
    part = run.load_evaluation()
    run.same_data("evaluation", part)
    part = run.finished("evaluation", part)
    with run.user_code("the data loader", DataError, count=False):
        part = data.in_memory(part, getattr(run.model, "eval_steps_per_epoch", None))
    classes = _evaluated_classes(run)
    if classes is not None:
        limit = run.model.eval_max_samples_per_class
        with run.at("dataset", "x"):
            chosen = evaluate.select_balanced(evaluate.labels_of(part.y, len(classes)), limit)
        part = data.Samples(part.x[chosen], part.y[chosen])
    with run.user_code("evaluating", count=False):
        exact = predict.predict_keras(keras_model, part.x, run.model.peek("batch_size"))
        _write_evaluation(run, "keras", keras_model, exact, part)
        found = _predict_tflite(run, part.x)
        _write_evaluation(run, "tflite", keras_model, found, part)
        _write_parity(run, exact, found, part)


def _evaluated_classes(run: StageRun) -> tuple[str, ...] | None:
    """The names of the classes that evaluation samples have."""
    return tuple(run.model.eval_classes) if run.is_autoencoder else run.classes


def _write_parity(run: StageRun, exact: np.ndarray, found: np.ndarray, part: data.Samples) -> None:
    """Write how well both models agree."""
    facts = json.loads(run.artifact("tflm.json").read_text(encoding="utf-8"))
    labels = evaluate.labels_of(part.y, len(run.classes)) if run.classes is not None else None
    folder, title = run.own("eval/parity.json").parent, f"{run.request.target}: Keras and .tflite"
    scale = facts["outputs"][0]["scale"]
    document = parity.report(folder, title, exact, found, scale=scale, classes=run.classes, labels=labels)
    run.outcome.facts["parity"] = document["agreement"]


def _predict_tflite(run: StageRun, x: np.ndarray) -> np.ndarray:
    """What the `.tflite` answers: on TensorFlow Lite Micro, or on LiteRT's reference kernels if it can't run there."""
    tflite = run.artifact("{name}.converted.tflite")
    facts = json.loads(run.artifact("tflm.json").read_text(encoding="utf-8"))
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


def _write_evaluation(run: StageRun, kind: str, keras_model: Any, predictions: Any, part: data.Samples) -> None:
    folder, title = run.own(f"eval/{kind}/results.json").parent, f"{run.request.target} ({_told(run, kind)})"
    if run.classes is not None:
        results = evaluate.evaluate_model(
            predictions=predictions, y=part.y, classes=run.classes, folder=folder, title=title
        )
        run.outcome.facts[f"{kind}_accuracy"] = results["overall_accuracy"]
        return
    if run.is_autoencoder:
        _write_detector(run, kind, predictions, part)
        return
    if kind == "keras":
        results = evaluate.generic_results(keras_model, part.x, part.y, run.model.peek("batch_size"))
    elif part.y is None:
        results = {"n_samples": len(part.x), "metrics": {}}
    else:
        results = evaluate.error_results(predictions, part.y)
    evaluate.write_results(folder, title, results)
    run.outcome.facts[f"{kind}_metrics"] = results["metrics"]


def _told(run: StageRun, kind: str) -> str:
    """The kind of a model, with what ran it in place of TensorFlow Lite Micro."""
    kernels = run.outcome.facts.get("kernels")
    return f"{kind}, {kernels}" if kind == "tflite" and kernels else kind


def _write_detector(run: StageRun, kind: str, rebuilt: np.ndarray, part: data.Samples) -> None:
    """Evaluate an auto-encoder: its reconstructions' scores tell normal samples from others."""
    model, folder = run.model, run.own(f"eval/{kind}/results.json").parent
    classes = _evaluated_classes(run) or ()
    with run.at("scoring_function", "loss"), run.user_code("scoring_function"):
        scores = autoencoder.scores_of(part.x, rebuilt, model.get_scoring_function())
    with run.at("dataset", "x"):
        results = autoencoder.detector_results(scores, evaluate.labels_of(part.y, len(classes)), classes)
    autoencoder.write(folder, f"{run.request.target} ({_told(run, kind)})", results)
    run.outcome.facts[f"{kind}_accuracy"] = results["overall_accuracy"]
    run.outcome.facts[f"{kind}_auc"] = results["overall_roc_auc"]


def _evaluate_by(run: StageRun, custom: Callable[..., Any], keras_model: Any) -> None:
    """Let the spec's own function evaluate, once for each model."""
    logger = run.model.create_logger("evaluate")
    converted = TfliteModel(run.artifact("{name}.converted.tflite"))
    if not micro.is_here():
        _tell_of_reference(run)
    for kind, built in (("keras", keras_model), ("tflite", converted)):
        folder = run.own(f"eval/{kind}/results.json").parent
        with run.user_code("eval_custom_function"):
            results = custom(run.model, built_model=built, eval_dir=str(folder), show=False, logger=logger)
        with run.at("eval_custom_function"):
            document = _custom_results(results)
            evaluate.write_results(folder, f"{run.request.target} ({_told(run, kind)})", document)
        if isinstance(results, ClassifierEvaluationResults):
            run.outcome.facts[f"{kind}_accuracy"] = document["overall_accuracy"]


def _custom_results(results: object) -> dict[str, Any]:
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
