"""Make for TinyML models: specs in; checkpoints, Keras models, int8 `.tflite` files and archives out."""

from mltkbuild.mixins import (
    DatasetMixin,
    EvaluateClassifierMixin,
    EvaluateMixin,
    MltkDataset,
    MltkModel,
    TrainMixin,
)

__version__ = "0.1.0"

__all__ = [
    "DatasetMixin",
    "EvaluateClassifierMixin",
    "EvaluateMixin",
    "MltkDataset",
    "MltkModel",
    "TrainMixin",
    "__version__",
]
