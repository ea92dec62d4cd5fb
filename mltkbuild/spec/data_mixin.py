"""What image and audio data sets share: a folder by class or arrays, split by name, prepared once and augmented."""

from __future__ import annotations

from typing import Any

from mltkbuild.errors import SpecError
from mltkbuild.spec.generators import Generator
from mltkbuild.spec.mixins import DatasetMixin
from mltkbuild.spec.properties import ANY, BOOL, CALLABLE, COUNT_OR_ALL, Property, Rule, one_of

GENERATOR = Rule("a data generator", lambda value: isinstance(value, Generator))


class DataGeneratorDatasetMixin(DatasetMixin):
    """A data set whose samples are prepared once and kept, and augmented while the model is trained."""

    follow_links = Property[bool](True, BOOL, "Whether folders behind symbolic links are searched", reads=("data",))
    shuffle_dataset_enabled = Property[bool](
        False, BOOL, "MLTK's; has no effect, for a sample's subset is decided by its name", reads=()
    )
    class_mode = Property[str](
        "categorical",
        one_of("categorical", "binary", "sparse", "input"),
        "What y is: one-hot rows, class ids (binary and sparse), or the sample itself",
        reads=("data",),
    )
    datagen = Property[Any](
        None, GENERATOR.or_none(), "How samples are prepared and augmented", reads=("data", "train", "evaluate")
    )
    validation_datagen = Property[Any](
        None,
        GENERATOR.or_none(),
        "The same for validation and evaluation; None for `datagen`",
        reads=("data", "train", "evaluate"),
    )
    split_group = Property[Any](
        None,
        CALLABLE.or_none(),
        "A function of a sample's name that says what it belongs to, such as its speaker: groups are never torn apart",
        reads=("data",),
    )
    split_subset = Property[Any](
        None,
        CALLABLE.or_none(),
        "A function of a sample's name that gives 'training', 'validation', 'evaluation', or None for either",
        reads=("data",),
    )
    bad_samples = Property[str](
        "stop", one_of("stop", "skip"), "What to do about a sample that can't be read", reads=("data",)
    )
    max_samples_per_class = Property[int](
        -1, COUNT_OR_ALL, "How many samples of each class are used; -1 for all", reads=("data",)
    )
    datagen_context = Property[Any](None, ANY, "MLTK's; always None")

    @property
    def validation_fraction(self: Any) -> float:
        """Which part of the training samples is kept for validation: the generator's setting, else the model's."""
        of_generator = getattr(self.datagen, "validation_split", 0.0)
        return float(of_generator or self.validation_split)

    def augments(self: Any, subset: str) -> bool:
        """Whether the samples of a subset are augmented."""
        generator = self.generator_of(subset)
        if generator is None or not generator.is_random:
            return False
        if subset == "evaluation":
            return bool(getattr(self, "eval_augment", False))
        return subset == "training" or bool(getattr(generator, "validation_augmentation_enabled", True))

    def generator_of(self: Any, subset: str) -> Generator | None:
        """The generator of a subset."""
        found: Generator | None = self.datagen if subset == "training" else self.validation_datagen or self.datagen
        return found

    def load_dataset(self: Any, subset: str, test: bool = False, **kwargs: Any) -> None:
        """Prepared samples are loaded by the build itself."""
        raise SpecError(
            "load_dataset can't be called for a data set that the build prepares",
            found=f"load_dataset({subset!r})",
            fix="read my_model.x after training, or use DatasetMixin with a loader of your own",
        )
