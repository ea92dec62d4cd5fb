"""Make for TinyML models: specs in; checkpoints, Keras models, int8 `.tflite` files and archives out."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mltkbuild.api import (
        evaluate_model,
        list_mltk_models,
        load_mltk_model,
        quantize_model,
        summarize_model,
        train_model,
    )
    from mltkbuild.audio_generator import ParallelAudioDataGenerator
    from mltkbuild.audio_mixin import AudioDatasetMixin
    from mltkbuild.audio_settings import AudioFeatureGeneratorSettings
    from mltkbuild.image_generator import ParallelImageDataGenerator
    from mltkbuild.image_mixin import ImageDatasetMixin
    from mltkbuild.mixins import (
        DatasetMixin,
        EvaluateAutoEncoderMixin,
        EvaluateClassifierMixin,
        EvaluateMixin,
        MltkDataset,
        MltkModel,
        TrainMixin,
    )
    from mltkbuild.results import EvaluationResults, TrainingResults

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
    "AudioDatasetMixin": "audio_mixin",
    "AudioFeatureGeneratorSettings": "audio_settings",
    "EvaluationResults": "results",
    "ImageDatasetMixin": "image_mixin",
    "ParallelAudioDataGenerator": "audio_generator",
    "ParallelImageDataGenerator": "image_generator",
    "TrainingResults": "results",
}
"""Where a public name is; else in `api` when it is a function, in `mixins` when it is a class."""


def __getattr__(name: str) -> Any:
    """A public name, loaded with the first use of it: what only decides what to run does without most of them."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = _MODULES.get(name, "api" if name.islower() else "mixins")
    found = globals()[name] = getattr(importlib.import_module(f"mltkbuild.{module}"), name)
    return found


def __dir__() -> list[str]:
    """All public names, loaded or not."""
    return [*globals(), *(name for name in __all__ if name not in globals())]
