"""Lets a spec that was written for MLTK run unedited: `mltk.core` and its near modules as names for mltkbuild's."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from mltkbuild import process
from mltkbuild.errors import SpecError, did_you_mean
from mltkbuild.from_mltk.no_effect import SshMixin, WeightsAndBiasesMixin
from mltkbuild.spec import mixins
from mltkbuild.spec.audio_generator import ParallelAudioDataGenerator
from mltkbuild.spec.audio_mixin import AudioDatasetMixin
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings
from mltkbuild.spec.data_mixin import DataGeneratorDatasetMixin
from mltkbuild.spec.image_generator import ParallelImageDataGenerator
from mltkbuild.spec.image_mixin import ImageDatasetMixin
from mltkbuild.spec.model import LOGGER, MltkModel
from mltkbuild.spec.properties import place_of_caller

_CORE = {name: getattr(mixins, name) for name in mixins.__all__}


# The functions of the Python API, once this process has loaded them; a worker never does.
_functions: dict[str, Callable[..., Any]] = {}


# What a spec can do that calls one of these while it is loaded.
_INSTEAD = {
    "load_mltk_model": "copy the other model's `.keras` file beside the spec, and load it with keras.models.load_model",
    "list_mltk_models": "call it behind `if __name__ == '__main__':`, or use `mltk list`",
}


def provide(*functions: Callable[..., Any]) -> None:
    """Let the names of MLTK's API mean these functions in this process."""
    _functions.update({function.__name__: function for function in functions})


def refuse_in_spec(name: str) -> None:
    """Raise a SpecError when a spec is being loaded, or its functions run in a stage: a build can't wait for itself."""
    if MltkModel._home is None and not process.is_worker() and name in _functions:
        return
    command = name.partition("_")[0]
    raise SpecError(
        f"{name} can't be called while a spec is loaded",
        where=place_of_caller(),
        fix=_INSTEAD.get(name) or f"call it behind `if __name__ == '__main__':`, or use `mltk {command} NAME`",
    )


def _function(name: str) -> Callable[..., Any]:
    """A function of MLTK's API that a spec may import for its `__main__` block or for a command of its own."""

    def call(*args: Any, **kwargs: Any) -> Any:
        refuse_in_spec(name)
        return _functions[name](*args, **kwargs)

    call.__name__ = name
    return call


def _logger(*args: object, **kwargs: object) -> logging.Logger:
    """The logger that MLTK's specs ask for."""
    return logging.getLogger(LOGGER)


@dataclass(frozen=True)
class Later:
    """Something that is imported when a spec asks for it.

    Args:
        module: Our module.
        name: What it is called there; empty for the module itself.
    """

    module: str
    name: str = ""

    def load(self) -> Any:
        """Import it."""
        module = importlib.import_module(self.module)
        return getattr(module, self.name) if self.name else module


_AUDIO, _IMAGE = "mltkbuild.datasets.audio", "mltkbuild.datasets.image"
_PARAMS = {"ParallelProcessParams": Later("mltkbuild.data.user_functions", "ParallelProcessParams")}
_SETTINGS = {"AudioFeatureGeneratorSettings": AudioFeatureGeneratorSettings}
_MIXINS = (DataGeneratorDatasetMixin, ImageDatasetMixin, AudioDatasetMixin, SshMixin, WeightsAndBiasesMixin)
_CORE |= {kind.__name__: kind for kind in _MIXINS}
_API = ("train_model", "quantize_model", "evaluate_model", "summarize_model", "load_mltk_model", "list_mltk_models")
_CORE |= {name: _function(name) for name in _API} | {"get_mltk_logger": _logger}


def _default(default: Any = None, *args: object, **kwargs: object) -> Any:
    """What typer's description of an argument comes to when nobody gives it."""
    return default


_SHARED = "mltkbuild.architectures"
_TENET = {
    "TENet": Later(f"{_SHARED}.tenet", "tenet"),
    "TENet12": Later(f"{_SHARED}.tenet", "tenet12"),
    "TENet6": Later(f"{_SHARED}.tenet", "tenet6"),
    "TENet12Narrow": Later(f"{_SHARED}.tenet", "tenet12_narrow"),
    "TENet6Narrow": Later(f"{_SHARED}.tenet", "tenet6_narrow"),
    "HFTENet12": Later(f"{_SHARED}.tenet", "hf_tenet12"),
    "InvertedBottleneckBlock": Later(f"{_SHARED}.tenet", "inverted_bottleneck"),
    "MultiScaleTemporalConvolution": Later(f"{_SHARED}.tenet", "MultiScaleTemporalConvolution"),
}
_NETWORKS = {
    "DepthwiseSeparableConv2D_ARM": ("dsconv_arm", Later(f"{_SHARED}.small", "depthwise_separable_arm")),
    "FullyConnectedAutoEncoder": (
        "fully_connected_autoencoder",
        Later(f"{_SHARED}.small", "fully_connected_autoencoder"),
    ),
    "MobileNetV1": ("mobilenet_v1", Later(f"{_SHARED}.mobilenet", "mobilenet_v1")),
    "MobileNetV2": ("mobilenet_v2", Later(f"{_SHARED}.mobilenet", "mobilenet_v2")),
    "ResNet10V1": ("resnet_v1", Later(f"{_SHARED}.small", "resnet10_v1")),
}
"""MLTK's networks by name: the module of MLTK's, and ours."""


_PORTED = "mltkbuild.from_mltk"


def _ported(module: str, *names: str) -> dict[str, Later]:
    """Names of MLTK's that one of our modules has, too."""
    return {name: Later(f"{_PORTED}.{module}", name) for name in names}


_MODEL_FILES = {
    "KerasModel": Later("keras", "Model"),
    "TfliteModel": Later("mltkbuild.tflite.tflite_model", "TfliteModel"),
}
_CORE |= {
    **_MODEL_FILES,
    "TrainingResults": Later("mltkbuild.training.history", "Results"),
    **_ported("helpers", "load_tflite_or_keras_model"),
    **_ported("evaluation", "EvaluationResults", "ClassifierEvaluationResults"),
}
_LISTING = _ported(
    "listing",
    *("list_dataset_directory", "list_valid_filenames_in_directory"),
    *("split_file_list", "shuffle_file_list_by_group"),
)
_NORMALIZE = _ported("media", "normalize")
_TF_DATA = _ported(
    "tf_data",
    *("load_audio_directory", "load_image_directory"),
    *("parallel_process", "enable_numpy_behavior"),
)
_RECORDINGS = _ported("media", "read_audio_file", "write_audio_file", "adjust_length", "resample", "apply_frontend")
_PICTURES = _ported("media", "read_image_file", "write_image_file")
_PATHS = _ported("downloads", "create_user_dir", "fullpath", "recursive_listdir")
_DOWNLOADS = _ported("downloads", "download_verify_extract", "download_url")
_PYTHON = _ported("helpers", "DictObject", "install_pip_package", "prepend_exception_msg", "append_exception_msg")
_KERAS = {
    "KerasModel": Later("keras", "Model"),
    "load_keras_model": Later("keras.saving", "load_model"),
    **{name: Later("keras.utils", name) for name in ("array_to_img", "img_to_array")},
    **_ported("media", "load_img"),
}


MODULES: dict[str, dict[str, Any]] = {
    # MLTK's own command line is made with it, and so are the commands of its specs.
    "typer": {"Option": _default, "Argument": _default},
    "mltk": {},
    "mltk.cli": {"get_logger": _logger},
    "mltk.core": _CORE,
    "mltk.core.model": _CORE,
    "mltk.core.keras": _KERAS,
    "mltk.core.keras.callbacks": _ported("keras_parts", "SteppedLearnRateScheduler"),
    "mltk.core.keras.losses": _ported("keras_parts", "ContrastiveLoss"),
    "mltk.core.keras.models": _ported("keras_parts", "KnowledgeDistillationModel"),
    "mltk.core.tflite_model": _MODEL_FILES,
    "mltk.core.tflite_model.tflite_model": _MODEL_FILES,
    "mltk.core.preprocess": {},
    "mltk.core.preprocess.utils": {**_LISTING, **_NORMALIZE},
    "mltk.core.preprocess.utils.audio": _RECORDINGS,
    "mltk.core.preprocess.utils.image": _PICTURES,
    "mltk.core.preprocess.utils.list_directory": _LISTING,
    "mltk.core.preprocess.utils.normalize": _NORMALIZE,
    "mltk.core.preprocess.utils.tf_dataset": _TF_DATA,
    "mltk.core.preprocess.audio": {},
    "mltk.core.preprocess.audio.audio_feature_generator": _SETTINGS,
    "mltk.core.preprocess.audio.audio_feature_generator.audio_feature_generator_settings": _SETTINGS,
    "mltk.core.preprocess.audio.parallel_generator": {
        "ParallelAudioDataGenerator": ParallelAudioDataGenerator,
        **_PARAMS,
    },
    "mltk.core.preprocess.image": {},
    "mltk.core.preprocess.image.parallel_generator": {
        "ParallelImageDataGenerator": ParallelImageDataGenerator,
        **_PARAMS,
    },
    "mltk.datasets": {},
    "mltk.datasets.audio": {"speech_commands_v2": Later(f"{_AUDIO}.speech_commands.speech_commands_v2")},
    "mltk.datasets.audio.speech_commands": {
        "speech_commands_v2": Later(f"{_AUDIO}.speech_commands.speech_commands_v2")
    },
    "mltk.datasets.image": {
        name: Later(f"{_IMAGE}.{name}")
        for name in ("mnist", "fashion_mnist", "cifar10", "rock_paper_scissors_v1", "rock_paper_scissors_v2")
    },
    "mltk.models": {},
    "mltk.models.shared": {name: later for name, (_, later) in _NETWORKS.items()},
    "mltk.models.shared.tenet": _TENET,
    **{f"mltk.models.shared.{module}": {name: later} for name, (module, later) in _NETWORKS.items()},
    "mltk.utils": {},
    "mltk.utils.archive_downloader": _DOWNLOADS,
    "mltk.utils.hasher": _ported("helpers", "generate_hash"),
    "mltk.utils.path": _PATHS,
    "mltk.utils.python": _PYTHON,
}


class MltkAliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes the modules of `MODULES` importable while a spec runs."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        """Answer for `mltk` and what is below it; what isn't provided is an error that says so."""
        if fullname == "typer" and importlib.machinery.PathFinder.find_spec(fullname) is None:
            return importlib.machinery.ModuleSpec(fullname, self, is_package=True)
        if fullname.partition(".")[0] != "mltk":
            return None
        if fullname not in MODULES:
            raise SpecError(
                f"mltkbuild has no {fullname}",
                where=place_of_caller(),
                found=f"import {fullname}",
                fix="docs/from_mltk.md lists what there is, and what a spec can do instead",
            )
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        """Fill a module with mltkbuild's objects."""
        provided = MODULES[module.__name__]
        vars(module).update({name: value for name, value in provided.items() if not isinstance(value, Later)})

        def missing(name: str) -> Any:
            later = provided.get(name)
            if isinstance(later, Later):
                return later.load()
            if name.startswith("__") or f"{module.__name__}.{name}" in MODULES:
                raise AttributeError(name)
            raise SpecError(
                f"mltkbuild has no {name} of {module.__name__}",
                where=place_of_caller(),
                fix=f"{did_you_mean(name, provided, 'it has')} docs/from_mltk.md says what a spec can do instead",
            )

        vars(module)["__getattr__"] = missing
