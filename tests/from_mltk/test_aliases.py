"""Specs that were written for MLTK import its names and get mltkbuild's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import mltkbuild
from mltkbuild.errors import SpecError
from mltkbuild.spec.model import MltkModel
from mltkbuild.user_code.loader import Snapshot, loaded_spec

MLTK_SPEC = '''\
"""A spec in the style of MLTK's examples."""
import mltk.core as mltk_core
from mltk.core import *
from mltk.core import MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin, MltkDataset
from mltk.core.model import MltkModel as TheSame
from mltk import cli

assert TheSame is MltkModel is mltk_core.MltkModel

# @mltk_model
class MyModel(
    mltk_core.MltkModel,
    mltk_core.TrainMixin,
    mltk_core.DatasetMixin,
    mltk_core.EvaluateClassifierMixin
):
    pass

my_model = MyModel()
my_model.version = 2
my_model.tflite_converter['optimizations'] = ['DEFAULT']
mltk_core.get_mltk_logger().info('loading')

@my_model.cli.command('visualize')
def visualize_command():
    pass

if __name__ == '__main__':
    cli.get_logger().setLevel('DEBUG')
    results = mltk_core.train_model('kws', clean=True, test=True)
    raise AssertionError('a build runs no __main__ block')
'''


def load(tmp_path: Path, text: str) -> MltkModel:
    """Load a spec and give its model."""
    snapshot = Snapshot(str(tmp_path), "models/kws.py", ("models", ""), {"models/kws.py": text})
    with loaded_spec(snapshot, "kws", str(tmp_path / "build/kws"), False) as model:
        return model


def test_mltk_s_example_style_works_unedited(tmp_path: Path) -> None:
    """Every import form of MLTK's examples gives mltkbuild's classes."""
    model = load(tmp_path, MLTK_SPEC)
    assert isinstance(model, mltkbuild.MltkModel)
    assert (2, "kws", ["visualize"]) == (model.version, model.name, list(model.cli.commands))


MISSING = {
    "import mltk.datasets.accelerometer": "mltkbuild has no mltk.datasets.accelerometer",
    "from mltk.core.preprocess.audio.x import y": "mltkbuild has no mltk.core.preprocess.audio.x",
    "from mltk.core import profile_model": "mltkbuild has no profile_model of mltk.core",
    "from mltk import MLTK_DIR": "mltkbuild has no MLTK_DIR of mltk",
    "import mltk.core as mltk_core\nmltk_core.TfliteSubgraph": "mltkbuild has no TfliteSubgraph of mltk.core",
    "import mltk.core\nmltk.core.train_model('x')": "train_model can't be called while a spec is loaded",
}


@pytest.mark.parametrize("code", MISSING)
def test_what_is_missing_is_a_clear_error_at_its_line(code: str, tmp_path: Path) -> None:
    """A name of MLTK's that isn't provided is an error with the spec's line and what is there instead."""
    with pytest.raises(SpecError) as caught:
        load(tmp_path, f"'''A spec.'''\n{code}\n")
    line = 2 + code.count("\n")
    assert (MISSING[code], f"models/kws.py:{line}") == (caught.value.what, caught.value.where)
    assert caught.value.fix is not None


def test_names_of_mltk_are_gone_after_a_spec(tmp_path: Path) -> None:
    """Outside of a spec there is no mltk."""
    load(tmp_path, MLTK_SPEC)
    with pytest.raises(ModuleNotFoundError):
        __import__("mltk.core")


def test_workspace_module_called_mltk_comes_first(tmp_path: Path) -> None:
    """A workspace that has a module mltk of its own gets that one."""
    files = {
        "models/kws.py": "import mltk\nfrom mltkbuild import MltkModel\nm = MltkModel()\nm.version = mltk.VERSION\n",
        "models/mltk.py": "VERSION = 9\n",
    }
    snapshot = Snapshot(str(tmp_path), "models/kws.py", ("models", ""), files)
    with loaded_spec(snapshot, "kws", "", False) as model:
        assert 9 == model.version


DATA_SPEC = '''\
"""Audio and images in the style of MLTK's examples."""
import numpy as np
import typer
from mltk.core.model import MltkModel, TrainMixin, AudioDatasetMixin, ImageDatasetMixin, EvaluateClassifierMixin
from mltk.core.preprocess.audio.audio_feature_generator import AudioFeatureGeneratorSettings
from mltk.core.preprocess.audio.parallel_generator import ParallelAudioDataGenerator, ParallelProcessParams
from mltk.core.preprocess.image.parallel_generator import ParallelImageDataGenerator
from mltk.datasets.audio.speech_commands import speech_commands_v2
from mltk.datasets.image import mnist, rock_paper_scissors_v1

# @mltk_model
class MyModel(MltkModel, TrainMixin, AudioDatasetMixin, EvaluateClassifierMixin):
    pass

my_model = MyModel()
my_model.tflite_converter['inference_input_type'] = np.int8
my_model.dataset = speech_commands_v2
my_model.classes = ['yes', 'no', '_unknown_', '_silence_']
frontend_settings = AudioFeatureGeneratorSettings()
frontend_settings.sample_rate_hz = 16000
frontend_settings.filterbank_n_channels = 40
frontend_settings.filterbank_upper_band_limit = 7500
my_model.datagen = ParallelAudioDataGenerator(
    dtype=my_model.tflite_converter['inference_input_type'],
    frontend_settings=frontend_settings,
    cores=0.35,
    max_batches_pending=16,
    validation_split=0.15,
    noise_colors=None,
    bg_noise_range=(0.0, 0.3),
    bg_noise_dir='_background_noise_',
)
images = ParallelImageDataGenerator(cores=0.3, width_shift_range=5, noise=['gauss', 's&p'], vertical_flip=True)

@my_model.cli.command('dump')
def dump(count: int = typer.Option(100, '--count', help='Samples')):
    pass
'''


def test_mltk_s_generators_and_data_sets_work_unedited(tmp_path: Path) -> None:
    """The data generators, the front end's settings, the data sets and typer, as MLTK's specs import them."""
    model: Any = load(tmp_path, DATA_SPEC)
    assert (98, 40, 1) == model.input_shape
    assert ("int8", 0.15) == (model.datagen.dtype, model.datagen.validation_split)
    assert "speech_commands_v2" in str(model.dataset)
    assert ["dump"] == list(model.cli.commands)
