"""The samples of an image or audio data set: which ones there are, and, once they are prepared, how they are read."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import prepared
from mltkbuild.data import samples as data
from mltkbuild.data.listing import Item, as_items, folders_of, list_classes, take_per_class
from mltkbuild.data.splits import SUBSETS, place_of, split
from mltkbuild.data.told import Told
from mltkbuild.errors import DataError, SpecError, short
from mltkbuild.spec.any_model import AnyModel, peek_at
from mltkbuild.spec.audio_mixin import AudioDatasetMixin
from mltkbuild.spec.image_mixin import ImageDatasetMixin
from mltkbuild.spec.mixins import EvaluateAutoEncoderMixin, call_loader, is_train_and_test, loader_of
from mltkbuild.stages import prepare_audio, prepare_images
from mltkbuild.user_code.watch import read_whole

PLANS = {ImageDatasetMixin: prepare_images, AudioDatasetMixin: prepare_audio}
_FOR = {
    "training": ("training",),
    "validation": ("validation",),
    "evaluation": ("evaluation", "validation", "training"),
}
"""Whose samples a subset has; the later ones where the earlier ones are empty."""


@dataclass(frozen=True)
class Source:
    """What the data set of a spec turned out to be.

    Args:
        items: The samples of each subset.
        arrays: Their content by the first word of an item's name, for a data set in memory.
        folder: The folder that they lie in; empty for a data set in memory.
        told: The files of the folder that were passed over.
    """

    items: Mapping[str, Sequence[Item]]
    arrays: Mapping[str, np.ndarray] = field(default_factory=dict)
    folder: str = ""
    told: Told = field(default_factory=Told)

    def of(self, subset: str) -> Sequence[Item]:
        """The samples of a subset, or those that stand in for them."""
        return next((self.items[name] for name in _FOR[subset] if self.items[name]), ())

    def read(self, item: Item) -> Any:
        """The content of a sample: the bytes of its file, or an array; None for a sample that has neither."""
        if item.path:
            try:
                return read_whole(item.path)
            except OSError as error:
                fix = "make it readable, or take it out of the data set"
                raise DataError(
                    "a sample can't be read", where=item.path, found=error.strerror or str(error), fix=fix
                ) from error
        kind, _, number = item.name.partition(" ")
        return self.arrays[kind][int(number)] if kind in self.arrays else None


def find(model: AnyModel, root: str, *, test: bool) -> Source:
    """Run the spec's data set, and list what it has.

    Args:
        model: The spec's model, with one of the mixins whose samples are prepared.
        root: The workspace, to which a folder may be relative.
        test: True in a dry run, for which a few samples of each class will do.

    Raises:
        DataError: There are no samples, or not what the spec says.
        SpecError: The spec's data set is none.
    """
    found = _resolve(model, test)
    rated = rated_classes(model)
    if isinstance(found, str | os.PathLike):
        folder = os.path.join(root, os.path.expanduser(os.fspath(found)))
        if not model.is_set("classes"):
            model.classes = folders_of(folder)
        _require_classes(model, folder)
        told = Told()
        parts = plan_of(model).list_samples(model, folder, told)
        parts = {**parts, "evaluation": _rated(model, folder, parts, told)} if rated else parts
        source = Source(parts, folder=folder, told=told)
    else:
        source = _of_arrays(model, found)
    limit = data.TEST_SAMPLES_PER_CLASS if test else most_of_class(model)
    few = {name: take_per_class(items, limit, place_of) for name, items in source.items.items()}
    return replace(source, items=few)


def rated_classes(model: AnyModel) -> tuple[str, ...]:
    """The classes that the evaluation samples of an auto-encoder have, which are not those it is trained on."""
    is_rated = peek_at(model).class_mode == "input" and isinstance(model, EvaluateAutoEncoderMixin)
    return tuple(peek_at(model).eval_classes) if is_rated else ()


def _rated(model: AnyModel, folder: str, parts: Mapping[str, Sequence[Item]], told: Told) -> list[Item]:
    """The evaluation samples of an auto-encoder: of classes it is trained on those held out, of others all."""
    held_out = parts["evaluation"] or parts["validation"] or parts["training"]
    found = []
    for number, label in enumerate(peek_at(model).eval_classes):
        if label in model.classes:
            place = list(model.classes).index(label)
            found += [replace(item, label=number) for item in held_out if item.label == place]
        else:
            endings, links = plan_of(model).SUFFIXES, model.follow_links
            listed = list_classes(folder, [label], endings, follow_links=links, told=told)
            found += [replace(item, label=number) for item in as_items(folder, listed, [label])]
    return sorted(found)


def _require_classes(model: AnyModel, folder: str) -> None:
    if len(model.classes) < 2 and peek_at(model).class_mode != "input":
        raise DataError(
            "a classifier needs at least two classes",
            where=folder,
            found=", ".join(model.classes),
            fix="add a folder for another class, or set my_model.class_mode = 'input' for an auto-encoder",
        )


def plan_of(model: AnyModel) -> Any:
    """The module that knows how a model's samples are listed and prepared."""
    return next(plan for kind, plan in PLANS.items() if isinstance(model, kind))


def _resolve(model: AnyModel, test: bool) -> Any:
    """What the spec's `dataset` gives: a folder, or arrays."""
    dataset = model.dataset
    if isinstance(dataset, str | os.PathLike | tuple | list):
        return dataset
    loader = loader_of(dataset)
    if loader is None:
        raise SpecError(
            "dataset gives no samples",
            where=model.place_of("dataset"),
            found=short(dataset),
            fix="set it to a folder, to arrays ((x, y), (x_test, y_test)), to a function that returns one of them, or "
            "to a module or object with load_data or load_dataset",
        )
    offered = {"test": test, "mltk_model": model}
    found = call_loader(loader, "training", offered)
    if isinstance(found, tuple | list) and not is_train_and_test(found):
        # A loader that is asked for one subset at a time.
        return tuple(found), tuple(call_loader(loader, "evaluation", offered))
    return found


def _of_arrays(model: AnyModel, found: Any) -> Source:
    """The samples of `((x, y), (x_test, y_test))` or of the same four in a row."""
    pairs = list(found) if isinstance(found, tuple | list) else []
    if len(pairs) == 4:
        pairs = [pairs[:2], pairs[2:]]
    if len(pairs) != 2 or any(not isinstance(pair, tuple | list) or len(pair) not in (1, 2) for pair in pairs):
        raise SpecError(
            "the data set gives neither a folder nor arrays",
            where=model.place_of("dataset"),
            found=short(found),
            fix="give the path of a folder, or ((x, y), (x_test, y_test))",
        )
    arrays, items = {}, {}
    for kind, pair in zip(("training", "evaluation"), pairs, strict=True):
        samples = data.as_samples(*pair)
        labels = _labels(model, samples, kind)
        arrays[kind] = samples.x
        items[kind] = [Item(f"{kind} {number:08}", "", int(label)) for number, label in enumerate(labels)]
    parts = split(items["training"], model.validation_fraction, subset=peek_at(model).split_subset)
    parts["evaluation"] = [*parts["evaluation"], *items["evaluation"]]
    # As MLTK does: without a part kept for it, validation has the test samples.
    parts["validation"] = parts["validation"] or parts["evaluation"]
    return Source(parts, arrays)


def _labels(model: AnyModel, samples: data.Samples, subset: str) -> np.ndarray:
    rated = rated_classes(model) if subset == "evaluation" and samples.y is not None else ()
    if peek_at(model).class_mode == "input" and not rated:
        return np.zeros(len(samples), np.int64)
    classes = rated or peek_at(model).classes
    data.check(samples, subset, classes)
    labels: np.ndarray | None = data.labels(samples)
    if labels is None:
        found = f"y of shape {samples.y.shape}"
        raise DataError(f"the {subset} data has no class labels", found=found, fix="give class ids or one-hot rows")
    return labels


def load(model: AnyModel, artifact: Callable[[str], Path], subset: str, classes: int) -> data.Samples:
    """The prepared samples of a subset.

    Args:
        model: The spec's model.
        artifact: Gives an artifact's path.
        subset: 'training', 'validation' or 'evaluation'.
        classes: How many classes there are, for one-hot labels.
    """
    random = model.augments(subset)
    settings = artifact("spec/data.yaml").read_text(encoding="utf-8")
    preparation = plan_of(model).preparation(model, subset)
    x = prepared.load(artifact, subset, preparation, random=random, settings=settings)
    ids = x.labels
    match peek_at(model).class_mode:
        case "input" if subset == "evaluation" and rated_classes(model):
            return data.Samples(x, ids)
        case "input":
            return data.Samples(x, x)
        case "categorical":
            return data.Samples(x, np.eye(classes, dtype=np.float32)[ids])
    return data.Samples(x, ids)


def most_of_class(model: AnyModel) -> int:
    """How many samples of each class are used, by the model's setting or its generator's; -1 for all."""
    of_generator = getattr(model.datagen, "max_samples_per_class", -1) if model.datagen is not None else -1
    limits = [limit for limit in (peek_at(model).max_samples_per_class, of_generator) if limit != -1]
    return min(limits, default=-1)


def counts(source: Source, classes: Sequence[str]) -> dict[str, dict[str, int]]:
    """How many samples of each class every subset has."""
    found = {}
    for subset in SUBSETS:
        labels = [item.label for item in source.of(subset)]
        found[subset] = {label: labels.count(number) for number, label in enumerate(classes)}
    return found
