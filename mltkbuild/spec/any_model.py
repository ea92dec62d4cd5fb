"""A model as the stages read it: the properties of every mixin by name and type, noticed or not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar, cast

from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin
from mltkbuild.spec.mixins import EvaluateAutoEncoderMixin, EvaluateClassifierMixin
from mltkbuild.spec.model import MltkModel
from mltkbuild.spec.properties import Property

T = TypeVar("T")

if TYPE_CHECKING:
    from mltkbuild.spec.audio_mixin import AudioDatasetMixin
    from mltkbuild.spec.image_mixin import ImageDatasetMixin
    from mltkbuild.spec.mixins import TrainMixin

    class AnyModel(MltkModel, TrainMixin, AudioDatasetMixin, ImageDatasetMixin, EvaluateAutoEncoderMixin):
        """A spec's model, whichever of the mixins it has; for the type checker alone."""

        # Without the answer that MltkModel gives to any name, one that no property has is an error of the type checker.
        __getattr__: None  # type: ignore[assignment,misc]

else:
    AnyModel = MltkModel


class _Peek:
    """The properties of a model, read without being noticed."""

    def __init__(self, model: MltkModel) -> None:
        self._model = model

    def __getattr__(self, name: str) -> Any:
        return self._model.peek(name)


def any_model(model: MltkModel) -> AnyModel:
    """A spec's model, for code that knows by other means which mixins it has."""
    return cast(AnyModel, model)


def peek_at(model: MltkModel) -> AnyModel:
    """A model's properties as `MltkModel.peek` reads them: unnoticed, a default for one that isn't set.

    Returns:
        Stands for the model's properties alone; it has none of a model's methods.
    """
    return cast(AnyModel, _Peek(model))


def if_any(model: MltkModel, item: Property[T]) -> T | None:
    """A property's value, noticed as read; None for a model without the mixin that brings it.

    Args:
        model: The model.
        item: The property, as its mixin declares it: `EvaluateMixin.eval_custom_function`.
    """
    found: T | None = getattr(model, item.name, None)
    return found


def is_classifier(model: MltkModel) -> bool:
    """Whether a model's outputs are classes."""
    return isinstance(model, EvaluateClassifierMixin) and not is_autoencoder(model)


def is_autoencoder(model: MltkModel) -> bool:
    """Whether a model rebuilds its input."""
    return isinstance(model, EvaluateAutoEncoderMixin)


def is_prepared(model: MltkModel) -> bool:
    """Whether a model's samples are prepared once and kept."""
    return isinstance(model, DataGeneratorDatasetMixin)
