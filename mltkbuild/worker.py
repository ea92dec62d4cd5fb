"""Runs one stage in a worker process: loads the spec from its snapshot, hands plain values to the stage's body."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import keras
import tensorflow as tf

from mltkbuild.bodies import archive, evaluate, keras_file, params, predict, quantize, spec, train
from mltkbuild.data import samples as data
from mltkbuild.errors import DataError, MltkError, SpecError, StageError
from mltkbuild.files import bytes_digest
from mltkbuild.loader import Snapshot, loaded_spec, user_code
from mltkbuild.mixins import EvaluateClassifierMixin
from mltkbuild.model import MltkModel
from mltkbuild.protocol import Listener, Outcome, Request
from mltkbuild.stages import SLICES
from mltkbuild.toolchain import reduced_version, version
from mltkbuild.watch import watch

# The loader of a data set draws from random generators seeded with this, so that a random split is the same one
# whenever and for whichever stage it is drawn; the spec's own `seed` does not move samples from test to training.
DATA_SEED = 20_200_527


class StageRun:
    """One stage at work: the spec's model, the request, and what has been noticed so far."""

    def __init__(self, request: Request, model: MltkModel, snapshot: Snapshot, progress: Listener) -> None:
        self.request = request
        self.model: Any = model
        self.snapshot = snapshot
        self.progress = progress
        self.outcome = Outcome()
        self.scratch = Path(request.scratch)
        self.whole = bytes_digest(json.dumps(sorted(request.sources.items())).encode())

    @contextmanager
    def user_code(self, what: str, kind: type[MltkError] = StageError, *, count: bool = True) -> Iterator[None]:
        """Run user code: its errors get a place, and what it reads becomes an input (unless an earlier stage has it)."""
        with user_code(self.snapshot, what, kind), watch(self.request.ignored) as seen:
            with self.model.watch_reads() as reads:
                yield
        if count:
            known = self.request.known_files
            self.outcome.files.update({path: digest for path, digest in seen.files.items() if known.get(path) != digest})
            beyond = self.model.beyond_slice(self.request.stage, reads)
            self.outcome.reads = tuple(sorted({*self.outcome.reads, *beyond}))

    @property
    def _is_classifier(self) -> bool:
        return isinstance(self.model, EvaluateClassifierMixin)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class labels of a classifier; None for other models."""
        if not self._is_classifier or not (self.model.is_set("classes") or self._classes_from_data()):
            return None
        return tuple(self.model.peek("classes"))

    def _classes_from_data(self) -> bool:
        path = self.request.artifacts.get("data/manifest.json")
        if path is None or self.model.is_set("classes"):
            return False
        labels = json.loads(Path(path).read_text(encoding="utf-8")).get("classes")
        if labels:
            self.model.classes = labels
        return bool(labels)

    def artifact(self, name: str) -> Path:
        """The path of an artifact that an earlier stage made."""
        return Path(self.request.artifacts[name.replace("{name}", self.request.target)])

    def own(self, name: str) -> Path:
        """The path in the scratch folder of an artifact of this stage."""
        path = self.scratch / name.replace("{name}", self.request.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def load(self, subset: str) -> tuple[data.Samples, data.Samples | None]:
        """Load a subset: the samples, and the validation samples that come with it."""
        model, where = self.model, self.request.spec_path
        for name in ("dataset", "load_dataset", "x"):
            if not hasattr(type(model), name):
                raise SpecError(
                    "the model has no data set", where=where, fix="add DatasetMixin to the base classes of your model"
                )
        with self.user_code("the data loader", DataError, count=self.request.stage in ("spec", "data")):
            keras.utils.set_random_seed(DATA_SEED)
            model.load_dataset(subset, test=self.request.test, mltk_model=model)
        if model.x is None:
            raise SpecError(
                "the model has no data",
                where=model.place_of("dataset") or where,
                found="my_model.dataset and my_model.x are not set" if model.dataset is None else "the loader gave none",
                fix="set my_model.dataset to a function of (subset, test) that returns (x, y), or set my_model.x and y",
            )
        whole = data.as_samples(model.x, model.y, model.sample_weight)
        given = model.validation_data
        data.check(whole, subset, self.classes)
        part, held_out = data.split_validation(whole, model.validation_split if subset == "training" else 0.0)
        if given is not None:
            held_out = data.as_samples(*given) if isinstance(given, tuple | list) else data.as_samples(given)
        if held_out is not None:
            data.check(held_out, "validation", self.classes)
        if self.request.test:
            part = data.small(part, self.classes)
            held_out = None if held_out is None else data.small(held_out, self.classes)
        return part, held_out

    def load_evaluation(self) -> data.Samples:
        """The evaluation samples: what the loader gives for 'evaluation', which may be its validation data."""
        part, held_out = self.load("evaluation")
        return part if held_out is None else held_out

    def build(self, *, count: bool = False) -> Any:
        """Build the Keras model from the seed and check what the spec's builder returned."""
        builder = getattr(self.model, "build_model_function", None)
        where = self.model.place_of("build_model_function") or self.request.spec_path
        if builder is None:
            raise SpecError(
                "the spec sets no build_model_function",
                where=self.request.spec_path,
                fix="set my_model.build_model_function to a function that returns a compiled Keras model",
            )
        keras.backend.clear_session()
        keras.utils.set_random_seed(self.model.peek("seed"))
        with self.user_code("build_model_function", SpecError, count=count):
            keras_model = builder(self.model)
        if not isinstance(keras_model, keras.Model):
            raise SpecError(
                "build_model_function must return a compiled Keras model",
                where=where,
                found=type(keras_model).__name__,
                fix="return the model at the end of the builder",
            )
        if not keras_model.compiled:
            raise SpecError(
                "the model that build_model_function returns is not compiled",
                where=where,
                found=f"{type(keras_model).__name__} {keras_model.name}",
                fix="call keras_model.compile(loss=..., optimizer=..., metrics=...) before you return it",
            )
        if not keras_model.built:
            raise SpecError(
                "the model that build_model_function returns has no input shape",
                where=where,
                found=f"{type(keras_model).__name__} {keras_model.name}",
                fix="begin it with keras.Input(my_model.input_shape), or call keras_model.build",
            )
        return keras_model

    def load_keras(self, *, compiled: bool = False) -> Any:
        """The trained model, with the spec's own classes and functions known by name."""
        keras.backend.clear_session()
        own = {}
        for module in list(sys.modules.values()):
            if self.snapshot.label(getattr(module, "__file__", None) or "") is not None:
                own.update({name: item for name, item in vars(module).items() if callable(item)})
        with self.user_code("loading the saved model", count=False):
            return keras_file.load(
                self.artifact("{name}.keras"), {**own, **self.model.keras_custom_objects}, compiled=compiled
            )

    def run_spec(self) -> None:
        """The spec stage."""
        model = self.model
        # A spec may leave `classes` and `input_shape` to its data loader; only then is data loaded here.
        if hasattr(type(model), "load_dataset"):
            model.ask_when_unset(lambda name: self._load_for(name))
        slices = {stage: spec.slice_of(model, stage, self.snapshot, self.whole) for stage in SLICES}
        digests = spec.property_digests(model)
        self._take_classes_from_loader(slices)
        keras_model = self.build(count=True)
        description = spec.describe_keras_model(keras_model, self.snapshot, self.whole)
        for reached in (*(item["code"] for item in slices.values()), description["code"]):
            self._take_libraries(reached)
        spec.write(self.scratch, slices, description, spec.summarize(keras_model))
        self.outcome.facts |= {"properties": digests, "deterministic": model.peek("deterministic")}
        inexact = sorted({label for item in slices.values() for label in item["code"] if label.startswith(spec.INEXACT)})
        self.outcome.notes = tuple(f"{label.removeprefix(spec.INEXACT)} counts by the whole spec" for label in inexact)
        self.outcome.reads = ()

    def _take_classes_from_loader(self, slices: Mapping[str, dict[str, Any]]) -> None:
        """Let labels that only the data loader knows count where the spec's own would."""
        model = self.model
        if model.is_set("classes") or not hasattr(type(model), "load_dataset") or not self._is_classifier:
            return
        self._load_for("classes")
        for stage in model.__class__.classes.reads:
            slices[stage]["properties"]["classes"] = list(model.peek("classes") or ())

    def _take_libraries(self, reached: dict[str, object]) -> None:
        for label in [label for label in reached if label.startswith("library ")]:
            name = label.removeprefix("library ")
            reached[label] = reduced_version(name, str(reached[label]), self.request.toolchain)
            self.outcome.libraries[name] = str(reached[label])

    def _load_for(self, name: str) -> None:
        """Load the training data because the builder reads what only the data gives."""
        self.model.ask_when_unset(None)
        self.load("training")

    def run_data(self) -> None:
        """The data stage."""
        slice_digest = bytes_digest(self.artifact("spec/data.yaml").read_bytes())
        training, validation = self.load("training")
        evaluation = self.load_evaluation()
        stream = bytes_digest(json.dumps([slice_digest, sorted(self.outcome.files.items())]).encode())
        parts = {"training": training, "validation": validation, "evaluation": evaluation}
        parts["calibration"] = training if validation is None else validation
        manifest: dict[str, Any] = {"classes": list(self.classes or ())}
        for subset, part in parts.items():
            manifest[subset] = data.describe(part, self.classes, stream)
            self._write_json(f"data/{subset}.json", manifest[subset])
        self._write_json("data/manifest.json", manifest)
        self.outcome.facts["samples"] = {name: part.get("samples") for name, part in manifest.items() if name != "classes"}

    def _write_json(self, name: str, value: object) -> None:
        self.own(name).write_text(json.dumps(value, indent=1, sort_keys=True) + "\n", encoding="utf-8")

    def same_data(self, subset: str, part: data.Samples | None) -> None:
        """Raise a StageError when the loader gives other samples than the data stage saw."""
        if part is not None and part.is_stream:
            return
        expected = self.artifact(f"data/{subset}.json").read_text(encoding="utf-8")
        if json.loads(expected) != data.describe(part, self.classes, ""):
            raise StageError(
                f"the data loader gave other {subset} samples than before",
                where=self.model.place_of("dataset") or self.request.spec_path,
                fix="if data files have just changed, run the same command again; "
                "else seed the loader's own random generator, so that it gives the same samples each time",
            )

    def run_train(self) -> None:
        """The train stage."""
        training, validation = self.load("training")
        self.same_data("training", training)
        self.same_data("validation", validation)
        keras_model = self.build()
        description = spec.describe_keras_model(keras_model, self.snapshot, self.whole)
        self._take_libraries(description["code"])
        if spec.model_text(description) != self.artifact("spec/model.json").read_text(encoding="utf-8"):
            raise StageError(
                "build_model_function gave another model than before",
                where=self.model.place_of("build_model_function"),
                fix="if a file that it reads has just changed, run the same command again; "
                "else make it depend on nothing that changes from call to call, such as the clock",
            )
        settings = self._train_settings()
        with self.user_code("training"):
            history = train.fit(keras_model, training, validation, settings, self.progress)
            keras_model = self._after_training(keras_model, history)
        keras_file.save(keras_model, self.own("{name}.keras"), self.snapshot.label)
        train.write_history(self.scratch, self.request.target, history)
        epochs = len(next(iter(history.values()), ()))
        self.outcome.facts |= {"epochs": epochs, "metrics": train.last_metrics(history)}

    def _after_training(self, keras_model: Any, history: Mapping[str, list[float]]) -> Any:
        save = self.model.peek("on_save_keras_model")
        if save is not None:
            keras_model = save(mltk_model=self.model, keras_model=keras_model, logger=None) or keras_model
        done = self.model.peek("on_training_complete")
        if done is not None:
            done({"history": history, "keras_model": keras_model, "mltk_model": self.model})
        return keras_model

    def _train_settings(self) -> train.TrainSettings:
        peek = self.model.peek
        if peek("tensorboard") is not None:
            raise SpecError(
                "tensorboard is not supported yet", where=self.model.place_of("tensorboard"), fix="remove this line"
            )
        names = [name for name in train.TrainSettings.__dataclass_fields__ if name not in ("epochs", "classes")]
        epochs = 1 if self.request.test else self.request.options.get("epochs", peek("epochs"))
        return train.TrainSettings(epochs=epochs, classes=self.classes, **{name: peek(name) for name in names})

    def run_quantize(self) -> None:
        """The quantize stage."""
        converter = {**self.model.peek("tflite_converter")}
        keras_model = self.load_keras()
        calibration = None
        if quantize.wants_calibration(converter):
            calibration = self._calibration(converter)
        self.outcome.facts |= quantize.run(
            keras_model, calibration, converter, self.own("{name}.converted.tflite"), self.own("{name}.float32.tflite")
        )

    def _calibration(self, converter: dict[str, Any]) -> Any:
        """The samples that set the int8 ranges: the spec's generator, or the validation (else training) data."""
        source = converter["representative_dataset"]
        if callable(source):
            with self.user_code("representative_dataset"):
                return [item[0][0] if isinstance(item, list | tuple) else item[0] for item in source()]
        training, validation = self.load("training")
        part = training if validation is None else validation
        self.same_data("calibration", part)
        return data.calibration_samples(part, converter["representative_dataset_max_samples"], self.classes)

    def run_params(self) -> None:
        """The params stage."""
        model = self.model
        classes = model.peek("classes") if model.is_set("classes") else self.classes
        self.outcome.facts |= params.run(
            self.artifact("{name}.converted.tflite"),
            self.own("{name}.tflite"),
            name=self.request.name,
            version=model.peek("version"),
            classes=classes,
            description=model.peek("description"),
            parameters=model.model_parameters,
        )

    def run_evaluate(self) -> None:
        """The evaluate stage."""
        custom = getattr(self.model, "eval_custom_function", None)
        keras_model = self.load_keras(compiled=self.classes is None)
        if custom is not None:
            self._evaluate_by(custom, keras_model)
            return
        part = data.in_memory(self.load_evaluation(), getattr(self.model, "eval_steps_per_epoch", None))
        if self.classes is not None:
            limit = self.model.eval_max_samples_per_class
            chosen = evaluate.select_balanced(evaluate.labels_of(part.y, len(self.classes)), limit)
            part = data.Samples(part.x[chosen], part.y[chosen])
        tflite = self.artifact("{name}.converted.tflite")
        batch_size = int(getattr(self.model, "batch_size", 32))
        for kind, predictions in (
            ("keras", predict.predict_keras(keras_model, part.x, batch_size)),
            ("tflite", predict.predict_tflite(tflite, part.x)),
        ):
            self._evaluate_kind(kind, keras_model, predictions, part)

    def _evaluate_kind(self, kind: str, keras_model: Any, predictions: Any, part: data.Samples) -> None:
        folder, title = self.own(f"eval/{kind}/results.json").parent, f"{self.request.target} ({kind})"
        if self.classes is not None:
            results = evaluate.evaluate_model(
                predictions=predictions, y=part.y, classes=self.classes, folder=folder, title=title
            )
            self.outcome.facts[f"{kind}_accuracy"] = results["overall_accuracy"]
            return
        if kind == "keras":
            results = evaluate.generic_results(keras_model, part.x, part.y, int(getattr(self.model, "batch_size", 32)))
        else:
            results = evaluate.error_results(predictions, part.y)
        evaluate.write_results(folder, title, results)
        self.outcome.facts[f"{kind}_metrics"] = results["metrics"]

    def _evaluate_by(self, custom: Callable[..., Any], keras_model: Any) -> None:
        """Let the spec's own function evaluate, once for each model."""
        for kind, built in (("keras", keras_model), ("tflite", self.artifact("{name}.converted.tflite"))):
            folder = self.own(f"eval/{kind}/results.json").parent
            with self.user_code("eval_custom_function"):
                results = custom(self.model, built_model=built, eval_dir=str(folder), show=False, logger=None)
            if not isinstance(results, Mapping):
                raise SpecError(
                    "eval_custom_function must return a dict of results",
                    where=self.model.place_of("eval_custom_function"),
                    found=type(results).__name__,
                )
            evaluate.write_results(folder, f"{self.request.target} ({kind})", dict(results))

    def run_archive(self) -> None:
        """The archive stage."""
        files = {name: Path(path) for name, path in self.request.artifacts.items()}
        for name in self.model.archive_files:
            path = Path(self.request.root, name).resolve()
            if not path.is_file() or not path.is_relative_to(Path(self.request.root).resolve()):
                raise SpecError(
                    "add_archive_file names no file of the workspace", where=self.request.spec_path, found=str(name)
                )
            with self.user_code("add_archive_file"):
                files[path.relative_to(Path(self.request.root).resolve()).as_posix()] = path
                path.open("rb").close()
        self.outcome.facts |= archive.run(
            self.own("{name}.mltk.zip"),
            self.request.target,
            files,
            self.request.sources,
            self.request.spec_path,
            self.request.provenance,
        )


def run_stage(request: Request, progress: Listener) -> Outcome:
    """Run one stage in this process.

    Args:
        request: What to run.
        progress: Takes events while it runs.

    Returns:
        The outcome; a failure is its `error`, never an exception of the stage's.
    """
    started = time.perf_counter()
    if request.deterministic:
        tf.config.experimental.enable_op_determinism()
    keras.backend.clear_session()
    snapshot = Snapshot(request.root, request.spec_path, request.import_folders, request.sources)
    watched = request.stage == "spec"
    outcome = Outcome()
    try:
        with watch(request.ignored) as seen, loaded_spec(snapshot, request.name, request.folder, request.test) as model:
            run = StageRun(request, model, snapshot, progress)
            outcome = run.outcome
            if watched:
                outcome.files.update(seen.files)
            getattr(run, f"run_{request.stage}")()
            outcome.artifacts = _files_below(request.scratch)
    except MltkError as error:
        outcome.error = error
    except OSError as error:
        outcome.error = StageError(
            "the stage can't read or write a file",
            where=f"{request.stage}:{request.target}",
            found=f"{error.strerror or error}: {error.filename or ''}",
            fix="check the disk and run the same command again; the old artifacts are untouched",
        )
    except MemoryError:
        outcome.error = StageError(
            "the stage ran out of memory", where=f"{request.stage}:{request.target}", fix="use a smaller batch_size"
        )
    outcome.tools = {name: version(name) for name in ("python", "tensorflow", "keras", "numpy", "mltkbuild")}
    outcome.seconds = time.perf_counter() - started
    return outcome


def _files_below(folder: str) -> tuple[str, ...]:
    """The files in a folder and below it, with forward slashes, in alphabetical order."""
    found = []
    for parent, _, names in os.walk(folder):
        found += [os.path.relpath(os.path.join(parent, name), folder).replace(os.sep, "/") for name in names]
    return tuple(sorted(found))
