"""The samples of a stage: what the spec's loader gives, or what was prepared of them, checked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from mltkbuild.data import loading, streams
from mltkbuild.data import samples as data
from mltkbuild.data.prepared import FOLDER
from mltkbuild.data.told import Told
from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.spec.any_model import AnyModel, is_autoencoder, is_classifier, is_prepared, peek_at
from mltkbuild.spec.mixins import call_loader, count_classes, takes_classes
from mltkbuild.stages import prepare
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.running_code import RunningCode
from mltkbuild.stages.stage_files import StageFiles
from mltkbuild.stages.table import DATA, SPEC
from mltkbuild.user_code.tensorflow_doors import STREAM
from mltkbuild.user_code.watch import notice, unseen

# The loader of a data set draws from random generators seeded with this, so that a random split is the same one
# whenever and for whichever stage it is drawn; the spec's own `seed` does not move samples from test to training.
DATA_SEED = 20_200_527


class StageData:
    """Loads the samples of one stage.

    Args:
        request: What runs.
        model: The spec's model, in which a loader puts the samples.
        code: Runs the spec's code.
        files: The stage's files.
        outcome: Takes notes.

    Attributes:
        told: What the folder of the data set was found to hold beside samples, and what was done to some of them.
    """

    def __init__(
        self, request: Request, model: AnyModel, code: RunningCode, files: StageFiles, outcome: Outcome
    ) -> None:
        self._request = request
        self._model = model
        self._peek = peek_at(model)
        self._code = code
        self._files = files
        self._outcome = outcome
        self._given = model.loaded_values()
        self.told = Told()

    @property
    def classes(self) -> tuple[str, ...] | None:
        """The class labels of a classifier; None for other models."""
        if not is_classifier(self._model) or not (self._model.is_set("classes") or self._classes_from_data()):
            return None
        return tuple(self._peek.classes)

    def _classes_from_data(self) -> bool:
        path = self._request.artifacts.get("data/manifest.json")
        labels = json.loads(Path(path).read_text(encoding="utf-8")).get("classes") if path is not None else None
        if labels:
            self._model.classes = labels
        return bool(labels)

    def find_samples(self) -> prepare.Source:
        """Run the data set of a model whose samples are prepared, and list them."""
        keras.utils.set_random_seed(DATA_SEED)
        source = prepare.find(self._model, self._request.root, test=self._request.test)
        self.told.join(source.told)
        if self.classes is not None:
            self._let_know(prepare.counts(source, self.classes))
        return source

    def prepared(self, subset: str) -> data.Samples | None:
        """The prepared samples of a subset, from the stage's own scratch folder or as they are kept."""
        if not self._files.kept(f"{FOLDER}/{subset}.json").exists():
            return None
        part = prepare.load(self._model, self._files.kept, subset, len(self.classes or ()))
        self._model.x, self._model.y, self._model.loaded_subset = part.x, part.y, subset
        return part

    def finished(self, subset: str, part: data.Samples) -> data.Samples:
        """The samples of a subset with what is done to them on the fly done, as the spec wants them augmented."""
        random = is_prepared(self._model) and self._model.augments(subset)
        with self._code.running("the data set", DataError, count=False):
            return data.finished(part, self._peek.seed if random else None)

    def load(self, subset: str, **wanted: Any) -> tuple[data.Samples, data.Samples | None]:
        """Load a subset: the samples, and the validation samples that come with it.

        Args:
            subset: 'training', 'validation' or 'evaluation'.
            wanted: Further arguments of the spec's loader.
        """
        if is_prepared(self._model):
            return self._load_prepared(subset)
        self._call_loader(subset, wanted)
        model = self._model
        with self._code.at("dataset", "x"):
            whole = data.as_samples(model.x, model.y, model.sample_weight)
            data.check(whole, subset, self.classes)
            given = model.validation_data
            is_folder = isinstance(model.dataset, str | os.PathLike)
            split = model.validation_split if subset == "training" and given is None and not is_folder else 0.0
            part, held_out = data.split_validation(
                whole, split, stratify=self._peek.validation_stratify, seed=self._peek.validation_split_seed
            )
            if given is not None:
                held_out = data.as_samples(*given) if isinstance(given, tuple | list) else data.as_samples(given)
            if held_out is not None:
                data.check(held_out, "validation", self.classes)
        self._count_classes(subset, part, held_out)
        if self._request.test:
            part = data.small(part, self.classes)
            held_out = None if held_out is None else data.small(held_out, self.classes)
        return part, held_out

    def _load_prepared(self, subset: str) -> tuple[data.Samples, data.Samples | None]:
        self._model.restore_loaded(self._given)
        part = self.prepared(subset)
        if part is None:
            # The builder asks before anything is prepared: the numbers are known, the samples aren't.
            with self._code.at("dataset", "datagen"), self._code.running("the data set", DataError, count=False):
                self.find_samples()
            return data.Samples(np.empty((0,))), None
        return part, self.prepared("validation") if subset == "training" else None

    def _call_loader(self, subset: str, wanted: Mapping[str, Any]) -> None:
        """Run the spec's loader; what an earlier call left is forgotten."""
        model = self._model
        for name in ("dataset", "load_dataset", "x"):
            if not hasattr(type(model), name):
                raise SpecError(
                    "the model has no data set",
                    where=self._request.spec_path,
                    fix="add DatasetMixin to the base classes of your model",
                )
        model.restore_loaded(self._given)
        # Later stages call it again, and it gives the samples that the data stage saw, or the stage fails. So what it
        # makes of properties and of the names in a folder shows in the samples. The files count: it may have kept
        # something of their content for what runs after it.
        loads_first = self._request.stage in (SPEC.name, DATA.name)
        with self._code.running("the data loader", DataError, count_properties=loads_first, count_folders=loads_first):
            keras.utils.set_random_seed(DATA_SEED)
            if isinstance(model.dataset, str | os.PathLike):
                self._load_folder(subset)
            else:
                call_loader(model.load_dataset, subset, {"test": self._request.test, **wanted})
            self._notice_files()
        if model.x is None:
            unset = model.dataset is None
            raise SpecError(
                "the model has no data",
                where=self._code.place("dataset"),
                found="my_model.dataset and my_model.x are not set" if unset else "the loader gave none",
                fix="set my_model.dataset to a function of (subset, test) that returns (x, y), or set my_model.x and y",
            )
        if isinstance(model.validation_data, tuple | list) and len(model.validation_data) not in (1, 2, 3):
            raise DataError(
                "validation_data must be x, (x, y) or (x, y, sample_weight)",
                where=self._code.place("dataset", "validation_data"),
                found=f"{len(model.validation_data)} parts",
                fix="give one of these",
            )

    def _notice_files(self) -> None:
        """Let the files count that TensorFlow opens by itself; say it where it can't be known which these are."""
        given = self._model.validation_data
        for stream in (self._model.x, given[0] if isinstance(given, tuple | list) and given else given):
            paths = streams.files_of(stream)
            notice(paths)
            if self._request.stage != DATA.name:
                continue
            if not paths and streams.opens_files(stream):
                unseen(STREAM)
            if streams.has_processes(stream):
                unseen("what the processes of a PyDataset read")

    def _load_folder(self, subset: str) -> None:
        """Load a data set that is just a folder of arrays or images by class."""
        model = self._model
        folder = os.path.join(self._request.root, os.path.expanduser(os.fspath(model.dataset)))
        held_out = model.validation_split
        parts = loading.load_classes(folder, model.classes, model.input_shape, validation=held_out, told=self.told)
        part = parts.get("training" if subset == "training" else "validation", parts["training"])
        model.validation_data = parts.get("validation") if subset == "training" else None
        (model.x, model.y), model.loaded_subset = part, subset

    def _count_classes(self, subset: str, part: data.Samples, held_out: data.Samples | None) -> None:
        """Fill `class_counts`, unless the loader has."""
        counts, names = self._peek.class_counts, self.classes
        for name, samples in ((subset, part), ("validation", held_out)):
            ids = data.labels(samples) if names is not None and samples is not None else None
            if names is not None and ids is not None and not counts.get(name):
                counts = {**counts, name: count_classes(names[label] for label in ids)}
        self._let_know(counts)

    def _let_know(self, counts: Mapping[str, Mapping[str, int]]) -> None:
        self._model.restore_loaded({**self._model.loaded_values(), "class_counts": counts})

    def load_evaluation(self) -> data.Samples:
        """The evaluation samples: what the loader gives for 'evaluation', which may be its validation data."""
        if is_autoencoder(self._model) and not is_prepared(self._model) and takes_classes(self._model):
            return self._load_by_class()
        part, held_out = self.load("evaluation")
        return part if held_out is None else held_out

    def _load_by_class(self) -> data.Samples:
        """The evaluation samples of an auto-encoder whose loader gives those of one class at a time, as MLTK asks."""
        found = []
        for number, label in enumerate(self._peek.eval_classes):
            part, _ = self.load("evaluation", classes=[label])
            with self._code.at("dataset", "x"):
                part = data.in_memory(part, self._peek.eval_steps_per_epoch)
            found.append(data.Samples(part.x, np.full(len(part), number, np.int64)))
        return data.joined(found)

    def same_data(self, subset: str, part: data.Samples | None) -> None:
        """Raise a StageError when the loader gives other samples than the data stage saw."""
        if part is not None and part.is_stream:
            return
        if self._files.read_json(f"data/{subset}.json") != data.describe(part, self.classes, ""):
            raise StageError(
                f"the data loader gave other {subset} samples than before",
                where=self._code.place("dataset", "x"),
                fix="if data files have just changed, run the same command again; "
                "else seed the loader's own random generator, so that it gives the same samples each time",
            )
