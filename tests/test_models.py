"""The reference models: each one's dry run on a small data set that is made here."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

from mltkbuild.disk.workspace import find_workspace, list_specs
from mltkbuild.engine.builder import Builder
from mltkbuild.workers.executor import Processes

from .conftest import REPOSITORY, Files, Running
from .data.recordings import write_stripes, write_tones

MODELS = REPOSITORY / "models"
WORDS = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go"]
ECG = '''
def load_data():
    """Waves, and noise for the others."""
    import numpy as np
    rng = np.random.default_rng(1)
    is_normal = np.arange(200) % 2
    waves = np.sin(np.linspace(0, 12, 140)) + rng.normal(0, 0.05, (200, 140))
    return np.where(is_normal[:, None] == 1, waves, rng.normal(0, 1, (200, 140))).astype("float32"), is_normal
'''
ARRAYS = '''
def made():
    """Pictures of two kinds, noise with a bright upper half and without."""
    import numpy as np
    rng = np.random.default_rng(1)
    labels = np.arange(400) % 10
    pictures = rng.integers(0, 80, (400, *my_model.input_shape))
    pictures[labels % 2 == 1, :10] += 100
    return (pictures[:300].astype("uint8"), labels[:300]), (pictures[300:].astype("uint8"), labels[300:])

my_model.dataset = made
'''


def prepared(name: str, root: Path) -> Files:
    """A workspace with one of the reference models, whose data set is made here."""
    files = Files(root)
    files.write("dodo.py", "")
    text = (MODELS / f"{name}.py").read_text(encoding="utf-8")
    if "speech_commands_v2" in text or "free_spoken_digits" in text:
        text = text.replace("my_model.dataset = speech_commands_v2", 'my_model.dataset = "data"')
        text = text.replace("my_model.dataset = free_spoken_digits", 'my_model.dataset = "data"')
        words = [str(digit) for digit in range(10)] if "spoken" in name else [*WORDS, "cat", "dog"]
        write_tones(root / "data", words, 12, 0.4)
        for path in (root / "data").rglob("*.wav"):
            path.rename(path.with_name(f"{path.parent.name}_{path.stem}_{int(path.stem)}.wav"))
        write_tones(root / "data", ["_background_noise_"], 1, 2.0)
    elif "rock_paper_scissors" in text:
        text = text.replace("my_model.dataset = rock_paper_scissors_v1", 'my_model.dataset = "data"')
        write_stripes(root / "data", ["rock", "paper", "scissor"], 12, 96)
    elif "ecg5000" in text:
        text = text.replace("from mltkbuild.datasets.timeseries import ecg5000", "import ecg5000")
        files.write("models/ecg5000.py", ECG)
    elif "ImageDatasetMixin" in text:
        text += ARRAYS
    (root / "models").mkdir(exist_ok=True)
    (root / "models" / f"{name}.py").write_text(text, encoding="utf-8")
    return files


NAMES = [path.stem for path in sorted(MODELS.glob("*.py"))]


@pytest.mark.real
@pytest.mark.parametrize("name", NAMES)
def test_dry_run_of_every_reference_model(name: str, tmp_path: Path, executor: Processes) -> None:
    """`NAME-test` goes from the spec to an evaluated int8 `.tflite` that ran on TensorFlow Lite Micro."""
    files = prepared(name, tmp_path / "ws")
    builder = Builder(files.workspace, Running(executor.run))
    builder.build(f"{name}-test", "evaluate")
    builder.build(f"{name}-test", "params")
    builder.close()
    folder = files.root / "build" / f"{name}-test"
    tflm = json.loads((folder / "tflm.json").read_text(encoding="utf-8"))
    assert tflm["arena"]["total"] > 1000
    assert (folder / f"{name}-test.tflite").stat().st_size > 3000
    assert (folder / "eval/tflite/results.json").is_file()


def test_models_that_download_are_not_built_by_default() -> None:
    """`doit` alone works without a network: only what comes with a package is in the build of everything."""
    listing = list_specs(find_workspace(REPOSITORY))
    assert ("digits_v1",) == listing.defaults
    assert set(NAMES) == set(listing.specs)


@pytest.mark.parametrize("name", NAMES)
def test_every_reference_model_says_how_to_run_it(name: str) -> None:
    """A spec's docstring says what it is; one that isn't built by default begins with its commands."""
    text = ast.get_docstring(ast.parse((MODELS / f"{name}.py").read_text(encoding="utf-8")))
    assert text is not None
    if name != "digits_v1":
        assert f"doit train:{name}-test" in text
        assert f"doit archive:{name}" in text
