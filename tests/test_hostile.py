"""Strangers' files through the commands: each ends in one sentence, runs nothing, touches nothing, and stays small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mltkbuild import process
from mltkbuild.workers.executor import Processes

from . import hostile, warm
from .conftest import Front, Result, wait_for
from .data.recordings import write_tones
from .data.test_prepared import AUDIO
from .datasets.http_server import serving

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("warm_workers"), pytest.mark.timeout(120)]

MAKE = """
import sys, keras
folder = sys.argv[1]
network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="dense")])
network.save(folder + "/good.keras")
network.save(folder + "/good.h5")
network = keras.Sequential([keras.Input((8, 8, 1)), keras.layers.Flatten(), keras.layers.Dense(2)])
network.compile("adam", "mse")
network.save(folder + "/picture.keras")
"""
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2066-\u2069\ufeff]")
CRASHES = ("enough memory", "killed from outside", "native code", "Traceback", "the stage failed with")


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that are what they seem."""
    folder = tmp_path_factory.mktemp("good")
    warm.python(MAKE, str(folder))
    return folder


DOWNLOADED = """
import keras
from mltkbuild import DatasetMixin, MltkModel, TrainMixin
from mltk.utils.archive_downloader import download_verify_extract

# @mltk_model
class Downloaded(MltkModel, TrainMixin, DatasetMixin):
    def load_dataset(self, subset, **kwargs):
        folder = download_verify_extract(url="URL", dest_subdir="datasets/strange")
        raise SystemError(folder)

def build(model):
    network = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)])
    network.compile("adam", "mse")
    return network

my_model = Downloaded()
my_model.build_model_function = build
"""


class Stranger:
    """A folder with canaries around it, in which commands are given strangers' files."""

    def __init__(self, front: Front, folder: Path) -> None:
        self.front = front
        self.workers: Processes | None = None
        self.place = folder / "place"
        self._canaries = [folder / "canary", folder / "canaries/canary", self.place / "canary"]
        for path in self._canaries:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text("whole")
        self._folder = folder

    def give(self, *arguments: str) -> Result:
        """Run a command, and see that nothing but its answer came of it."""
        before, processes = self._seen(), set(warm.children())
        result = self.front.mltk(*arguments)
        assert ["whole"] * 3 == [path.read_text() for path in self._canaries]
        new = {path for path in self._seen() - before if path.name in ("MARK", "mltkbuild-MARK")}
        assert not new
        for text in (result.out, result.err):
            assert not CONTROL.search(text), repr(text)
        if result.code:
            assert result.code in (1, 2)
            assert 1 == sum(line.startswith("error: ") for line in result.err.splitlines()), result.err
            assert not [word for word in CRASHES if word in result.err], result.err
        if self.workers is not None:
            self.workers.stop()
        wait_for(lambda: set(warm.children()) <= processes)
        return result

    def _seen(self) -> set[Path]:
        places = (self._folder, self.front.files.root, Path("/tmp"))
        return {path for place in places for path in (place.iterdir() if place == Path("/tmp") else place.rglob("*"))}


@pytest.fixture
def stranger(front: Front, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stranger:
    """A folder with canaries around it; a worker that takes more than 2 GiB fails."""
    monkeypatch.setenv(process.MEMORY, "2")
    return Stranger(front, tmp_path / "strangers")


KERAS = {**dict(hostile.keras_files()), **dict(hostile.archives())}
OLD = dict(hostile.old_files())
TFLITE = dict(hostile.tflite_files())
SAMPLES = dict(hostile.sample_files())
PICTURES = dict(hostile.pictures())
RECORDINGS = dict(hostile.recordings())
DATA_SETS = dict(hostile.data_sets())


# What none of our commands reads, or what is only odd.
HARMLESS = {
    "a lambda as loss",
    "a lambda as optimizer",
    "a lambda as metrics",
    "names of control characters",
    "a member that climbs out",
    "a member with an absolute path",
    "weights in a circle",
}


@pytest.mark.parametrize("name", KERAS)
def test_keras_files_run_nothing_and_lead_nowhere(stranger: Stranger, good: Path, name: str) -> None:
    """Whatever a config, a member or a weight names that Keras could run, read or unfold."""
    path = stranger.place / "model.keras"
    KERAS[name](path, good / "good.keras")
    result = stranger.give("summarize", str(path))
    assert (name in HARMLESS) == (result.code == 0), result.err


@pytest.mark.parametrize("name", OLD)
def test_files_of_keras_2_run_nothing_and_lead_nowhere(stranger: Stranger, good: Path, name: str) -> None:
    """The same of the older format, which Keras still reads."""
    path = stranger.place / "model.h5"
    OLD[name](path, good / "good.keras")
    result = stranger.give("summarize", str(path))
    assert result.code, result.out
    assert "model.h5" in result.err


@pytest.mark.parametrize("name", TFLITE)
def test_tflite_files_are_told_or_refused(stranger: Stranger, good: Path, name: str) -> None:
    """Whatever a flatbuffer claims of shapes, indices and sizes."""
    path = stranger.place / "model.tflite"
    TFLITE[name](path, path)
    for arguments in (("summarize",), ("export", "-o", str(stranger.place / "out")), ("update_params", "a=1")):
        result = stranger.give(arguments[0], str(path), *arguments[1:])
        assert result.code or not name[0].isdigit(), arguments
        assert result.code or arguments[0] != "export" or "without elements" not in name


@pytest.mark.parametrize("name", SAMPLES)
def test_arrays_are_what_they_claim(stranger: Stranger, good: Path, name: str) -> None:
    """Whatever a `.npz` claims, holds or unfolds to."""
    path = stranger.place / "data.npz"
    SAMPLES[name](path, path)
    output = stranger.place / "out.tflite"
    result = stranger.give("quantize", str(good / "good.keras"), "--data", str(path), "-o", str(output))
    assert (True, False) == (result.code in (1, 2), output.exists())


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_start_no_program(stranger: Stranger, good: Path, name: str) -> None:
    """Whatever a file with the suffix of a picture is."""
    folder = stranger.place / "pictures"
    folder.mkdir()
    (folder / "picture.png").write_bytes(PICTURES[name])
    output = stranger.place / "out.tflite"
    result = stranger.give("quantize", str(good / "picture.keras"), "--data", str(folder), "-o", str(output))
    assert (True, False) == (result.code in (1, 2), output.exists())
    assert "picture.png" in result.err


@pytest.fixture
def building(stranger: Stranger) -> Stranger:
    """Stages of a workspace's models run for real."""
    stranger.workers = Processes()
    stranger.front.run = stranger.workers.run
    return stranger


@pytest.mark.parametrize("name", RECORDINGS)
def test_recordings_are_what_they_claim(building: Stranger, name: str) -> None:
    """Whatever one recording of a data set claims of its rate, its channels and its length."""
    files = building.front.files
    files.spec(text=AUDIO)
    write_tones(files.root / "data", ["low", "high"], 4)
    (files.root / "data/low/strange.wav").write_bytes(RECORDINGS[name])
    result = building.give("build", "kws")
    assert (1, True) == (result.code, "strange.wav" in result.err), result.err


@pytest.mark.parametrize("name", DATA_SETS)
def test_data_sets_stay_small_and_inside(building: Stranger, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Whatever an archive that a spec downloads unfolds to, or wants to write."""
    file_name, content = DATA_SETS[name]
    files = building.front.files
    monkeypatch.setenv("MLTK_DATASETS", str(building.place / "datasets"))
    with serving({f"/{file_name}": content}) as site:
        files.spec(text=DOWNLOADED.replace("URL", f"{site.url}/{file_name}"))
        result = building.give("build", "kws")
    assert (1, True) == (result.code, file_name in result.err), result.err
    assert sum(path.stat().st_size for path in building.place.rglob("*") if path.is_file()) < 1 << 26
