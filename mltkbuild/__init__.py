"""Make for TinyML models: specs in; checkpoints, Keras models, int8 `.tflite` files and archives out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mltkbuild.api.functions import (
        evaluate_model,
        list_mltk_models,
        load_mltk_model,
        quantize_model,
        summarize_model,
        train_model,
    )
    from mltkbuild.api.results import EvaluationResults, TrainingResults
    from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator
    from mltkbuild.spec.audio_mixin import AudioDatasetMixin
    from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings
    from mltkbuild.spec.image_generator import ParallelImageDataGenerator
    from mltkbuild.spec.image_mixin import ImageDatasetMixin
    from mltkbuild.spec.mixins import (
        DatasetMixin,
        EvaluateAutoEncoderMixin,
        EvaluateClassifierMixin,
        EvaluateMixin,
        MltkDataset,
        MltkModel,
        TrainMixin,
    )

__version__ = "0.1.0"

__all__ = [
    "AudioDatasetMixin",
    "AudioFeatureGeneratorSettings",
    "DatasetMixin",
    "EvaluateAutoEncoderMixin",
    "EvaluateClassifierMixin",
    "EvaluateMixin",
    "EvaluationResults",
    "ImageDatasetMixin",
    "MltkDataset",
    "MltkModel",
    "ParallelAudioDataGenerator",
    "ParallelImageDataGenerator",
    "TrainMixin",
    "TrainingResults",
    "__version__",
    "evaluate_model",
    "list_mltk_models",
    "load_mltk_model",
    "quantize_model",
    "summarize_model",
    "train_model",
]


_MODULES = {
    "AudioDatasetMixin": "spec.audio_mixin",
    "AudioFeatureGeneratorSettings": "spec.audio_settings",
    "EvaluationResults": "api.results",
    "ImageDatasetMixin": "spec.image_mixin",
    "ParallelAudioDataGenerator": "spec.audio_generator",
    "ParallelImageDataGenerator": "spec.image_generator",
    "TrainingResults": "api.results",
}
"""Where a public name is; else in `api.functions` when it is a function, in `spec.mixins` when it is a class."""


def __getattr__(name: str) -> Any:
    """A public name, loaded with the first use of it: what only decides what to run does without most of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "api.functions" if name.islower() else "spec.mixins")
    found = globals()[name] = getattr(importlib.import_module(f"mltkbuild.{module}"), name)
    return found


def __dir__() -> list[str]:
    """All public names, loaded or not."""
    return [*globals(), *(name for name in __all__ if name not in globals())]
