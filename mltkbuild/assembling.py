"""Assembles each stage: what its body needs is taken from the spec, the data and the artifacts, as plain values."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mltkbuild.bodies import (
    archive,
    course,
    dictionary,
    evaluate,
    history,
    keras_file,
    params,
    predict,
    quantize,
    spec,
    train,
    weights,
)
from mltkbuild.checkpoints import Shelf
from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.files import bytes_digest, digest_of
from mltkbuild.protocol import Event
from mltkbuild.stage_runs import Reading, StageRun
from mltkbuild.stages import SLICES
from mltkbuild.toolchain import reduced_version, version

# -- spec ------------------------------------------------------------------------------------------------------------


def _spec(run: StageRun) -> None:
    model, outcome = run.model, run.outcome
    _refuse_early(run)
    slices = {stage: spec.slice_of(model, stage, run.snapshot, run.whole) for stage in SLICES}
    digests = spec.property_digests(model)
    _take_classes_from_loader(run, slices)
    keras_model = _build_first(run)
    description = spec.describe_keras_model(keras_model, run.snapshot, run.whole)
    _check_loadable(run, keras_model)
    for reached in (*(item["code"] for item in slices.values()), description["code"]):
        _take_libraries(run, reached)
    spec.write(run.scratch, slices, description, spec.summarize(keras_model))
    outcome.facts |= {
        "properties": digests,
        "deterministic": model.peek("deterministic"),
        "distribute": model.peek("distribute"),
    }
    labels = {label for item in slices.values() for label in item["code"] if label.startswith(spec.INEXACT)}
    outcome.notes = tuple(f"{label.removeprefix(spec.INEXACT)} counts by the whole spec" for label in sorted(labels))
    outcome.reads = ()


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
    if model.peek("tensorboard") is not None and importlib.util.find_spec("tensorboard") is None:
        raise SpecError(
            "my_model.tensorboard needs TensorBoard, which is not installed",
            where=run.place("tensorboard"),
            fix="run `pip install 'mltkbuild[tensorboard]'`, or remove this line",
        )
    if model.peek("epochs") == -1 and model.peek("early_stopping") is None:
        raise SpecError(
            "epochs = -1 needs early_stopping to end the training",
            where=run.place("epochs"),
            found="early_stopping is None",
            fix="set my_model.early_stopping = {'monitor': 'val_loss', 'patience': 10}, or a number of epochs",
        )
    if model.model_parameters:
        with run.at():
            dictionary.encode(model.model_parameters)


def _take_classes_from_loader(run: StageRun, slices: Mapping[str, dict[str, Any]]) -> None:
    """Let labels that only the data loader knows count where the spec's own would."""
    model = run.model
    if model.is_set("classes") or not run.is_classifier:
        return
    run.load("training")
    if not model.is_set("classes"):
        raise SpecError(
            "the classes of the model are not set",
            where=run.request.spec_path,
            fix="set my_model.classes to a list of labels, in the spec or in its data loader",
        )
    for stage in type(model).classes.reads:
        slices[stage]["properties"]["classes"] = list(model.peek("classes"))


def _build_first(run: StageRun) -> Any:
    """Build the model; what the data loader gives is loaded only if the builder asks for it."""
    asked: list[str] = []

    def load(name: str) -> None:
        run.model.ask_when_unset(None)
        asked.append(name)
        run.load("training")

    if hasattr(type(run.model), "load_dataset") and not run.model.loaded_values():
        run.model.ask_when_unset(load)
    keras_model = run.build(count=True)
    run.model.ask_when_unset(None)
    # Loading has drawn random numbers; in later stages the data is there before the builder begins.
    return run.build(count=True) if asked else keras_model


def _check_loadable(run: StageRun, keras_model: Any) -> None:
    """Raise a SpecError for a model that couldn't be loaded after it was trained and saved."""
    if run.model.peek("on_save_keras_model") is not None:
        return
    try:
        config = keras.saving.serialize_keras_object(keras_model)
        config.pop("compile_config", None)
        keras.saving.deserialize_keras_object(config, custom_objects=run.custom_objects(), safe_mode=False)
    except Exception as error:  # Keras and the spec's own classes may raise anything
        cause: BaseException = error
        while cause.__context__ is not None:
            cause = cause.__context__
        lines = str(cause).strip().splitlines()
        raise SpecError(
            "the model could not be loaded again once it is saved",
            where=run.place("build_model_function"),
            found=(lines[0] if lines else type(cause).__name__)[:300],
            fix="define custom classes and functions at the top level of the spec, and give a layer that takes "
            "arguments a get_config",
        ) from error


def _take_libraries(run: StageRun, reached: dict[str, object]) -> None:
    for label in [label for label in reached if label.startswith("library ")]:
        name, found = label.removeprefix("library "), str(reached[label])
        if version(name) == "none":
            # Code that is no installed package: the digest of the whole spec has its files.
            reached[spec.WHOLE] = run.whole
        else:
            reached[label] = run.outcome.libraries[name] = reduced_version(name, found, run.request.toolchain)


# -- data ------------------------------------------------------------------------------------------------------------


def _data(run: StageRun) -> None:
    slice_digest = bytes_digest(run.artifact("spec/data.yaml").read_bytes())
    training, validation = run.load("training")
    classes = run.classes
    with run.afresh() as again:
        evaluation = again.load_evaluation()
    stream = bytes_digest(json.dumps([slice_digest, sorted(run.outcome.files.items())]).encode())
    parts = {"training": training, "validation": validation, "evaluation": evaluation}
    parts["calibration"] = training if validation is None else validation
    manifest: dict[str, Any] = {"classes": list(classes or ())}
    for subset, part in parts.items():
        manifest[subset] = data.describe(part, classes, stream)
        _write_json(run, f"data/{subset}.json", manifest[subset])
    _write_json(run, "data/manifest.json", manifest)
    run.outcome.facts["samples"] = {subset: manifest[subset].get("samples") for subset in parts}


def _write_json(run: StageRun, name: str, value: object) -> None:
    run.own(name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")


# -- train -----------------------------------------------------------------------------------------------------------


def _train(run: StageRun) -> None:
    training, validation = run.load("training")
    run.same_data("training", training)
    run.same_data("validation", validation)
    keras_model = run.build()
    description = spec.describe_keras_model(keras_model, run.snapshot, run.whole)
    _take_libraries(run, description["code"])
    if spec.model_text(description) != run.artifact("spec/model.json").read_text(encoding="utf-8"):
        raise StageError(
            "build_model_function gave another model than before",
            where=run.place("build_model_function"),
            fix="if a file that it reads has just changed, run the same command again; "
            "else make it depend on nothing that changes from call to call, such as the clock",
        )
    for subset, part in (("training", training), ("validation", validation)):
        _require_fitting(run, keras_model, subset, part)
    settings = _train_settings(run)
    start_weights = run.request.options.get("weights")
    if start_weights is not None:
        weights.load_into(keras_model, Path(str(start_weights)))
    with run.at(), run.user_code("training") as reading:
        trained = train.fit(keras_model, training, validation, settings, _keeper(run, reading))
        keras_model = _plain_model(run, keras_model)
        keras_model = _after_training(run, keras_model, trained)
    keras_file.save(keras_model, run.own("{name}.keras"), run.snapshot.label)
    history.write_history(run.scratch, run.request.target, trained)
    run.outcome.seconds = trained.earlier_seconds
    run.outcome.facts |= _training_facts(trained)


def _plain_model(run: StageRun, keras_model: Any) -> Any:
    """The trained model as it is saved: for one device, in float32."""
    if run.model.peek("mixed_precision") is None and run.model.peek("distribute") is None:
        return keras_model
    plain = run.build(plain=True)
    plain.set_weights(keras_model.get_weights())
    return plain


def _training_facts(trained: history.Training) -> dict[str, object]:
    """What the record of a training tells people."""
    facts: dict[str, object] = {
        "epochs": trained.epochs,
        "metrics": history.metrics_at(trained),
        "final_epoch": trained.final_epoch,
    }
    if trained.best_epoch is not None:
        facts |= {"best_epoch": trained.best_epoch, "monitor": trained.monitor}
    if len(trained.segments) > 1:
        facts["segments"] = [dict(part) for part in trained.segments]
    if trained.not_exact is not None:
        facts["not_exact"] = trained.not_exact
    return facts


def _keeper(run: StageRun, reading: Reading) -> course.Keeper:
    """Where the checkpoints of this training go."""
    model, request = run.model, run.request
    digests = spec.property_digests(model)

    def properties(names: Iterable[str]) -> dict[str, str]:
        return {name: digests.get(name, "default") or run.whole for name in sorted(names)}

    def noticed() -> course.Noticed:
        known = request.known_files
        files = {path: digest for path, digest in reading.files.items() if known.get(path) != digest}
        asked = set(reading.properties)
        return course.Noticed(files, properties(asked - {"epochs"}), "epochs" in asked)

    def holds(earlier: course.Noticed) -> str | None:
        changed = [path for path, digest in earlier.files.items() if digest_of(path) != digest]
        now = properties(earlier.properties)
        changed += [name for name, digest in earlier.properties.items() if now[name] != digest]
        return changed[0] if changed else None

    def progress(event: Event) -> None:
        told = event.get("note")
        if told is not None:
            sys.stdout.write(f"{told}\n")  # the stage's log
        run.progress(event if told is None else {"note": f"train:{request.target}: {told}"})

    minutes = model.peek("checkpoint_interval_minutes")
    return course.Keeper(
        progress=progress,
        shelf=Shelf(request.checkpoints, request.course) if model.peek("checkpoints_enabled") else None,
        every=model.peek("checkpoints_keep"),
        interval=60.0 * minutes if minutes is not None else math.inf,
        stopping=run.stopping,
        noticed=noticed,
        holds=holds,
        resume=0 if request.start.clean else request.start.resume,
    )


def _require_fitting(run: StageRun, keras_model: Any, subset: str, part: data.Samples | None) -> None:
    """Raise a SpecError when the samples aren't what the model's one input takes."""
    inputs = getattr(keras_model, "inputs", None) or []
    if part is None or part.is_stream or len(inputs) != 1:
        return
    expected, given = tuple(inputs[0].shape[1:]), tuple(part.x.shape[1:])
    fits = len(expected) == len(given) and all(
        size in (None, found) for size, found in zip(expected, given, strict=True)
    )
    if not fits:
        raise SpecError(
            f"the {subset} samples don't fit the model's input",
            where=run.place("build_model_function"),
            found=f"samples of shape {given}, an input of shape {expected}",
            fix="give keras.Input the shape of one sample, or reshape the samples in the data loader",
        )


def _after_training(run: StageRun, keras_model: Any, trained: history.Training) -> Any:
    save = run.model.peek("on_save_keras_model")
    if save is not None:
        logger = run.model.create_logger("train")
        keras_model = save(mltk_model=run.model, keras_model=keras_model, logger=logger) or keras_model
    done = run.model.peek("on_training_complete")
    if done is not None:
        done(
            history.Results(
                mltk_model=run.model,
                keras_model=keras_model,
                epochs=list(range(trained.epochs)),
                params={"epochs": trained.epochs},
                history=trained.history,
                best_epoch=trained.best_epoch,
            )
        )
    return keras_model


def _train_settings(run: StageRun) -> train.TrainSettings:
    peek = run.model.peek
    given = ("epochs", "classes", "tensorboard_dir")
    names = [name for name in train.TrainSettings.__dataclass_fields__ if name not in given]
    epochs = 1 if run.request.test else run.request.options.get("epochs", peek("epochs"))
    folder = str(Path(run.request.checkpoints).with_name("tensorboard"))
    return train.TrainSettings(
        epochs=epochs, classes=run.classes, tensorboard_dir=folder, **{name: peek(name) for name in names}
    )


# -- quantize, params ------------------------------------------------------------------------------------------------


def _quantize(run: StageRun) -> None:
    converter = {**run.model.peek("tflite_converter")}
    keras_model = run.load_keras()
    calibration = _calibration(run, converter) if quantize.wants_calibration(converter) else None
    with run.at("tflite_converter"):
        run.outcome.facts |= quantize.run(
            keras_model, calibration, converter, run.own("{name}.converted.tflite"), run.own("{name}.float32.tflite")
        )


def _calibration(run: StageRun, converter: dict[str, Any]) -> Any:
    """The samples that set the int8 ranges: the spec's generator, or the validation (else training) data."""
    source = converter["representative_dataset"]
    if callable(source):
        with run.user_code("representative_dataset"):
            return [item[0][0] if isinstance(item, list | tuple) else item[0] for item in source()]
    training, validation = run.load("training")
    part = training if validation is None else validation
    run.same_data("calibration", part)
    with run.user_code("the data loader", DataError, count=False):
        return data.calibration_samples(part, converter["representative_dataset_max_samples"], run.classes)


def _params(run: StageRun) -> None:
    model = run.model
    classes = model.peek("classes") if model.is_set("classes") else run.classes
    with run.at():
        run.outcome.facts |= params.run(
            run.artifact("{name}.converted.tflite"),
            run.own("{name}.tflite"),
            name=run.request.name,
            version=model.peek("version"),
            classes=classes,
            description=model.peek("description"),
            parameters=model.model_parameters,
        )


# -- evaluate --------------------------------------------------------------------------------------------------------


def _evaluate(run: StageRun) -> None:
    custom = getattr(run.model, "eval_custom_function", None)
    keras_model = run.load_keras(compiled=run.classes is None)
    if custom is not None:
        _evaluate_by(run, custom, keras_model)
        return
    part = run.load_evaluation()
    run.same_data("evaluation", part)
    with run.user_code("the data loader", DataError, count=False):
        part = data.in_memory(part, getattr(run.model, "eval_steps_per_epoch", None))
    if run.classes is not None:
        limit = run.model.eval_max_samples_per_class
        with run.at("dataset", "x"):
            chosen = evaluate.select_balanced(evaluate.labels_of(part.y, len(run.classes)), limit)
        part = data.Samples(part.x[chosen], part.y[chosen])
    with run.user_code("evaluating", count=False):
        predictions = predict.predict_keras(keras_model, part.x, run.model.peek("batch_size"))
        _write_evaluation(run, "keras", keras_model, predictions, part)
        predictions = predict.predict_tflite(run.artifact("{name}.converted.tflite"), part.x)
        _write_evaluation(run, "tflite", keras_model, predictions, part)


def _write_evaluation(run: StageRun, kind: str, keras_model: Any, predictions: Any, part: data.Samples) -> None:
    folder, title = run.own(f"eval/{kind}/results.json").parent, f"{run.request.target} ({kind})"
    if run.classes is not None:
        results = evaluate.evaluate_model(
            predictions=predictions, y=part.y, classes=run.classes, folder=folder, title=title
        )
        run.outcome.facts[f"{kind}_accuracy"] = results["overall_accuracy"]
        return
    if kind == "keras":
        results = evaluate.generic_results(keras_model, part.x, part.y, run.model.peek("batch_size"))
    elif part.y is None:
        results = {"n_samples": len(part.x), "metrics": {}}
    else:
        results = evaluate.error_results(predictions, part.y)
    evaluate.write_results(folder, title, results)
    run.outcome.facts[f"{kind}_metrics"] = results["metrics"]


def _evaluate_by(run: StageRun, custom: Callable[..., Any], keras_model: Any) -> None:
    """Let the spec's own function evaluate, once for each model."""
    logger = run.model.create_logger("evaluate")
    for kind, built in (("keras", keras_model), ("tflite", run.artifact("{name}.converted.tflite"))):
        folder = run.own(f"eval/{kind}/results.json").parent
        with run.user_code("eval_custom_function"):
            results = custom(run.model, built_model=built, eval_dir=str(folder), show=False, logger=logger)
        with run.at("eval_custom_function"):
            evaluate.write_results(folder, f"{run.request.target} ({kind})", _custom_results(results))


def _custom_results(results: object) -> dict[str, Any]:
    """What an eval_custom_function returned, as a document: its numbers are the metrics."""
    fix = "return a dict such as {'accuracy': 0.93}"
    if not isinstance(results, Mapping):
        raise SpecError("eval_custom_function must return a dict", found=type(results).__name__, fix=fix)
    plain = {str(name): value.tolist() if isinstance(value, np.generic) else value for name, value in results.items()}
    wrong = [name for name, value in plain.items() if isinstance(value, bool) or not isinstance(value, int | float)]
    if wrong or not np.isfinite(list(plain.values())).all():
        raise SpecError("eval_custom_function must return a dict of finite numbers", found=repr(plain)[:200], fix=fix)
    return {"n_samples": plain.pop("n_samples", None), "metrics": plain}


# -- archive ---------------------------------------------------------------------------------------------------------


def _archive(run: StageRun) -> None:
    request = run.request
    added = {}
    for name in run.model.archive_files:
        path = Path(request.root, name).resolve()
        if not path.is_file() or not path.is_relative_to(Path(request.root).resolve()):
            raise SpecError(
                "add_archive_file names no file of the workspace",
                where=request.spec_path,
                found=str(name),
                fix="give a path relative to the workspace",
            )
        with run.user_code("add_archive_file"):
            added[path.relative_to(Path(request.root).resolve()).as_posix()] = path
            path.open("rb").close()
    with run.at():
        run.outcome.facts |= archive.run(
            run.own("{name}.mltk.zip"),
            request.target,
            {name: Path(path) for name, path in request.artifacts.items()},
            request.sources,
            request.spec_path,
            request.provenance,
            added,
        )


RUNS: Mapping[str, Callable[[StageRun], None]] = {
    "spec": _spec,
    "data": _data,
    "train": _train,
    "quantize": _quantize,
    "params": _params,
    "evaluate": _evaluate,
    "archive": _archive,
}
