"""One stage at work in a worker: loads data, builds the Keras model, loads the trained one, notices what is read."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mltkbuild.data import loading as files
from mltkbuild.data import samples as data
from mltkbuild.data import streams, user_functions
from mltkbuild.data.prepared import FOLDER
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import DataError, MltkError, SpecError, StageError
from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin
from mltkbuild.spec.mixins import (
    EvaluateAutoEncoderMixin,
    EvaluateClassifierMixin,
    call_loader,
    count_classes,
    takes_classes,
)
from mltkbuild.spec.model import MltkModel
from mltkbuild.stages import prepare
from mltkbuild.stages.protocol import Listener, Outcome, Request
from mltkbuild.training import devices, keras_file
from mltkbuild.training.building import check_model, clear_names, takes_argument
from mltkbuild.user_code.loader import Snapshot, loaded_spec, own_objects, user_code
from mltkbuild.user_code.watch import notice, watch

# The loader of a data set draws from random generators seeded with this, so that a random split is the same one
# whenever and for whichever stage it is drawn; the spec's own `seed` does not move samples from test to training.
DATA_SEED = 20_200_527


@dataclass(frozen=True)
class Reading:
    """What user code has read so far.

    Args:
        files: Digests by absolute path.
        properties: Names of the spec's properties.
    """

    files: Mapping[str, str]
    properties: Set[str]


class StageRun:
    """One stage at work: the spec's model, and what has been noticed so far.

    Args:
        request: What to run.
        model: The spec's model.
        snapshot: The workspace code.
        progress: Takes events.
        imported: Digests of the files that the spec read while it was imported.
    """

    def __init__(
        self, request: Request, model: MltkModel, snapshot: Snapshot, progress: Listener, imported: Iterable[str]
    ) -> None:
        self.request = request
        self.model: Any = model
        self.snapshot = snapshot
        self.progress = progress
        self.outcome = Outcome()
        self.scratch = Path(request.scratch)
        self._imported = sorted(imported)
        self.whole = bytes_digest(json.dumps([sorted(request.sources.items()), self._imported]).encode())
        self._given = model.loaded_values()
        self.stopping: Callable[[], bool] = bool

    # -- user code ---------------------------------------------------------------------------------------------------

    @contextmanager
    def user_code(
        self, what: str, kind: type[MltkError] = StageError, *, count: bool = True, count_properties: bool = True
    ) -> Iterator[Reading]:
        """Run user code: its errors get a place, and what it reads becomes an input unless an earlier stage has it.

        Yields:
            What it has read so far.
        """
        watched = watch(self.request.ignored, self.request.root)
        with (
            user_code(self.snapshot, what, kind),
            user_functions.as_raised(),
            watched as seen,
            self.model.watch_reads() as properties,
        ):
            yield Reading(seen.files, properties)
        if count:
            known = self.request.known_digests
            fresh = {path: digest for path, digest in seen.files.items() if known.get(path) != digest}
            self.outcome.files.update(fresh)
        if count and count_properties:
            beyond = self.model.beyond_slice(self.request.stage, properties)
            self.outcome.reads = tuple(sorted({*self.outcome.reads, *beyond}))

    @contextmanager
    def at(self, *names: str) -> Iterator[None]:
        """Give an error without a place that of the property that it is about."""
        try:
            yield
        except MltkError as error:
            error.where = error.where or self.place(*names)
            raise

    def place(self, *names: str) -> str:
        """Where the spec sets the first of these properties that it sets; else the spec."""
        places = (self.model.place_of(name) for name in names)
        return next((place for place in places if place), self.request.spec_path)

    # -- artifacts ---------------------------------------------------------------------------------------------------

    def artifact(self, name: str) -> Path:
        """The path of an artifact that an earlier stage made."""
        return Path(self.request.artifacts[name.replace("{name}", self.request.target)])

    def own(self, name: str) -> Path:
        """The path in the scratch folder of an artifact of this stage."""
        path = self.scratch / name.replace("{name}", self.request.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    # -- data --------------------------------------------------------------------------------------------------------

    @property
    def is_classifier(self) -> bool:
        """True for a model whose outputs are classes."""
        return isinstance(self.model, EvaluateClassifierMixin) and not self.is_autoencoder

    @property
    def is_autoencoder(self) -> bool:
        """True for a model that rebuilds its input."""
        return isinstance(self.model, EvaluateAutoEncoderMixin)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class labels of a classifier; None for other models."""
        if not self.is_classifier or not (self.model.is_set("classes") or self._classes_from_data()):
            return None
        return tuple(self.model.peek("classes"))

    def _classes_from_data(self) -> bool:
        path = self.request.artifacts.get("data/manifest.json")
        labels = json.loads(Path(path).read_text(encoding="utf-8")).get("classes") if path is not None else None
        if labels:
            self.model.classes = labels
        return bool(labels)

    @property
    def is_prepared(self) -> bool:
        """True for a model whose samples are prepared once and kept."""
        return isinstance(self.model, DataGeneratorDatasetMixin)

    def find_samples(self) -> prepare.Source:
        """Run the data set of a model whose samples are prepared, and list them."""
        keras.utils.set_random_seed(DATA_SEED)
        source = prepare.find(self.model, self.request.root, test=self.request.test)
        if self.classes is not None:
            self._let_know(prepare.counts(source, self.classes))
        return source

    def prepared(self, subset: str) -> data.Samples | None:
        """The prepared samples of a subset, from the stage's own scratch folder or as they are kept."""
        if not self.kept(f"{FOLDER}/{subset}.json").exists():
            return None
        part = prepare.load(self.model, self.kept, subset, len(self.classes or ()))
        self.model.x, self.model.y, self.model.loaded_subset = part.x, part.y, subset
        return part

    def finished(self, subset: str, part: data.Samples) -> data.Samples:
        """The samples of a subset with what is done to them on the fly done, as the spec wants them augmented."""
        random = self.is_prepared and self.model.augments(subset)
        with self.user_code("the data set", DataError, count=False):
            return data.finished(part, self.model.peek("seed") if random else None)

    def kept(self, name: str) -> Path:
        """The path of an artifact of this stage or of an earlier one; of none where there is none."""
        path = self.request.artifacts.get(name)
        return self.scratch / name if path is None else Path(path)

    def load(self, subset: str, **wanted: Any) -> tuple[data.Samples, data.Samples | None]:
        """Load a subset: the samples, and the validation samples that come with it.

        Args:
            subset: 'training', 'validation' or 'evaluation'.
            wanted: Further arguments of the spec's loader.
        """
        if self.is_prepared:
            return self._load_prepared(subset)
        self._call_loader(subset, wanted)
        model = self.model
        with self.at("dataset", "x"):
            whole = data.as_samples(model.x, model.y, model.sample_weight)
            data.check(whole, subset, self.classes)
            given = model.validation_data
            is_folder = isinstance(model.dataset, str | os.PathLike)
            split = model.validation_split if subset == "training" and given is None and not is_folder else 0.0
            part, held_out = data.split_validation(whole, split)
            if given is not None:
                held_out = data.as_samples(*given) if isinstance(given, tuple | list) else data.as_samples(given)
            if held_out is not None:
                data.check(held_out, "validation", self.classes)
        self._count_classes(subset, part, held_out)
        if self.request.test:
            part = data.small(part, self.classes)
            held_out = None if held_out is None else data.small(held_out, self.classes)
        return part, held_out

    def _load_prepared(self, subset: str) -> tuple[data.Samples, data.Samples | None]:
        self.model.restore_loaded(self._given)
        part = self.prepared(subset)
        if part is None:
            # The builder asks before anything is prepared: the numbers are known, the samples aren't.
            with self.at("dataset", "datagen"), self.user_code("the data set", DataError, count=False):
                self.find_samples()
            return data.Samples(np.empty((0,))), None
        return part, self.prepared("validation") if subset == "training" else None

    def _call_loader(self, subset: str, wanted: Mapping[str, Any]) -> None:
        """Run the spec's loader; what an earlier call left is forgotten."""
        model = self.model
        for name in ("dataset", "load_dataset", "x"):
            if not hasattr(type(model), name):
                raise SpecError(
                    "the model has no data set",
                    where=self.request.spec_path,
                    fix="add DatasetMixin to the base classes of your model",
                )
        model.restore_loaded(self._given)
        # Later stages read the same files again: only one that has changed meanwhile is an input of theirs. What the
        # loader makes of the properties that it reads shows in the samples.
        loads_first = self.request.stage in ("spec", "data")
        with self.user_code("the data loader", DataError, count_properties=loads_first):
            keras.utils.set_random_seed(DATA_SEED)
            if isinstance(model.dataset, str | os.PathLike):
                self._load_folder(subset)
            else:
                call_loader(model.load_dataset, subset, {"test": self.request.test, **wanted})
            self._notice_files()
        if model.x is None:
            unset = model.dataset is None
            raise SpecError(
                "the model has no data",
                where=self.place("dataset"),
                found="my_model.dataset and my_model.x are not set" if unset else "the loader gave none",
                fix="set my_model.dataset to a function of (subset, test) that returns (x, y), or set my_model.x and y",
            )
        if isinstance(model.validation_data, tuple | list) and len(model.validation_data) not in (1, 2, 3):
            raise DataError(
                "validation_data must be x, (x, y) or (x, y, sample_weight)",
                where=self.place("dataset", "validation_data"),
                found=f"{len(model.validation_data)} parts",
                fix="give one of these",
            )

    def _notice_files(self) -> None:
        """Let the files count that TensorFlow opens by itself; say it where it can't be known which these are."""
        given = self.model.validation_data
        for stream in (self.model.x, given[0] if isinstance(given, tuple | list) and given else given):
            paths = streams.files_of(stream)
            notice(paths)
            if not paths and self.request.stage == "data" and streams.opens_files(stream):
                told = "TensorFlow opens files in this stream that can't be watched: after a change, doit forget data:"
                self.outcome.notes = tuple(dict.fromkeys((*self.outcome.notes, told + self.request.target)))

    def _load_folder(self, subset: str) -> None:
        """Load a data set that is just a folder of arrays or images by class."""
        model = self.model
        folder = os.path.join(self.request.root, os.path.expanduser(os.fspath(model.dataset)))
        parts = files.load_classes(folder, model.classes, model.input_shape, model.validation_split)
        part = parts.get("training" if subset == "training" else "validation", parts["training"])
        model.validation_data = parts.get("validation") if subset == "training" else None
        (model.x, model.y), model.loaded_subset = part, subset

    def _count_classes(self, subset: str, part: data.Samples, held_out: data.Samples | None) -> None:
        """Fill `class_counts`, unless the loader has."""
        counts, names = self.model.peek("class_counts"), self.classes
        for name, samples in ((subset, part), ("validation", held_out)):
            ids = data.labels(samples) if names is not None and samples is not None else None
            if names is not None and ids is not None and not counts.get(name):
                counts = {**counts, name: count_classes(names[label] for label in ids)}
        self._let_know(counts)

    def _let_know(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self.model.restore_loaded({**self.model.loaded_values(), "class_counts": counts})

    def load_evaluation(self) -> data.Samples:
        """The evaluation samples: what the loader gives for 'evaluation', which may be its validation data."""
        if self.is_autoencoder and not self.is_prepared and takes_classes(self.model):
            return self._load_by_class()
        part, held_out = self.load("evaluation")
        return part if held_out is None else held_out

    def _load_by_class(self) -> data.Samples:
        """The evaluation samples of an auto-encoder whose loader gives those of one class at a time, as MLTK asks."""
        xs, ys = [], []
        for number, label in enumerate(self.model.peek("eval_classes")):
            part, _ = self.load("evaluation", classes=[label])
            with self.at("dataset", "x"):
                part = data.in_memory(part, self.model.peek("eval_steps_per_epoch"))
            xs.append(part.x)
            ys.append(np.full(len(part), number, np.int64))
        return data.Samples(np.concatenate(xs), np.concatenate(ys))

    @contextmanager
    def afresh(self) -> Iterator[StageRun]:
        """The same stage with the spec run anew, so that a loader is in the state in which later stages call it."""
        request = self.request
        with loaded_spec(self.snapshot, request.name, request.folder, request.test) as model:
            again = StageRun(request, model, self.snapshot, self.progress, self._imported)
            again.outcome = self.outcome
            if self.model.is_set("classes") and not model.is_set("classes"):
                again.model.classes = self.model.peek("classes")
            yield again

    def same_data(self, subset: str, part: data.Samples | None) -> None:
        """Raise a StageError when the loader gives other samples than the data stage saw."""
        if part is not None and part.is_stream:
            return
        expected = self.artifact(f"data/{subset}.json").read_text(encoding="utf-8")
        if json.loads(expected) != data.describe(part, self.classes, ""):
            raise StageError(
                f"the data loader gave other {subset} samples than before",
                where=self.place("dataset", "x"),
                fix="if data files have just changed, run the same command again; "
                "else seed the loader's own random generator, so that it gives the same samples each time",
            )

    # -- models ------------------------------------------------------------------------------------------------------

    def build(self, *, count: bool = False, plain: bool = False) -> Any:
        """Build the Keras model from the seed and check what the spec's builder returned.

        Args:
            count: Whether what the builder reads is an input.
            plain: Build it for one device and, where `mixed_precision` is set, in float32.
        """
        builder = getattr(self.model, "build_model_function", None)
        if builder is None:
            raise SpecError(
                "the spec sets no build_model_function",
                where=self.request.spec_path,
                fix="set my_model.build_model_function to a function that returns a compiled Keras model",
            )
        clear_names()
        keras.utils.set_random_seed(self.model.peek("seed"))
        with (
            self._devices(plain),
            self._precision(plain),
            self.user_code("build_model_function", SpecError, count=count),
        ):
            keras_model = builder(*([self.model] if takes_argument(builder) else []))
        with self.at("build_model_function"):
            check_model(keras_model)
        return keras_model

    def _devices(self, plain: bool) -> AbstractContextManager[Any]:
        """The devices to build on: only training is distributed."""
        distribute = self.model.peek("distribute") if self.request.stage == "train" else None
        if plain or distribute is None:
            return nullcontext()
        with self.at("distribute"):
            scope: AbstractContextManager[Any] = devices.strategy(distribute).scope()
            return scope

    @contextmanager
    def _precision(self, plain: bool) -> Iterator[None]:
        """The number type to build with; the spec may also have set one for the whole process."""
        chosen = self.model.peek("mixed_precision")
        before = keras.config.dtype_policy()
        if chosen is not None:
            keras.config.set_dtype_policy("float32" if plain else chosen)
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def custom_objects(self) -> dict[str, Any]:
        """The spec's own classes and functions by name, for loading a saved model."""
        return {**own_objects(self.snapshot), **self.model.keras_custom_objects}

    def load_keras(self, *, compiled: bool = False) -> Any:
        """The trained model, with the spec's own classes and functions known by name."""
        clear_names()
        with self.user_code("loading the saved model", count=False):
            return keras_file.load(self.artifact("{name}.keras"), self.custom_objects(), compiled=compiled)
