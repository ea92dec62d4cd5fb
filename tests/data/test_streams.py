"""Files that TensorFlow opens by itself in a stream: found in the stream, so that the build notices them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import pytest
import tensorflow as tf

from mltkbuild.data import streams
from mltkbuild.workers.executor import Processes

from ..conftest import Files, bring
from .recordings import write_stripes

READ = {
    "pictures of folders": lambda folder: keras.utils.image_dataset_from_directory(
        folder, image_size=(16, 16), verbose=False
    ),
    "files by a pattern": lambda folder: tf.data.Dataset.list_files(f"{folder}/*/*.png").map(tf.io.read_file),
    "records": lambda folder: tf.data.TFRecordDataset([str(path) for path in Path(folder).rglob("*.png")]).batch(2),
    "lines, interleaved": lambda folder: tf.data.Dataset.list_files(f"{folder}/*/*.png").interleave(
        tf.data.TextLineDataset
    ),
    "zipped with labels": lambda folder: tf.data.Dataset.zip(
        (
            tf.data.Dataset.list_files(f"{folder}/*/*.png"),
            tf.data.Dataset.from_tensor_slices(["a label"] * 6),
        )
    ),
}


@pytest.mark.parametrize("name", READ)
def test_files_of_a_stream_are_found(name: str, tmp_path: Path) -> None:
    """Whatever names the files, they are found, and texts that are none aren't."""
    write_stripes(tmp_path / "data", ["down", "across"], 3)
    expected = sorted(str(path) for path in (tmp_path / "data").rglob("*.png"))
    assert expected == sorted(streams.files_of(READ[name](str(tmp_path / "data"))))


def test_streams_without_files() -> None:
    """Numbers, generators and Keras' own data sets name no files; one that computes its paths is known to open some."""
    numbers = tf.data.Dataset.range(3)
    computed = numbers.map(lambda number: tf.io.read_file(tf.strings.format("data/{}.bin", number)))
    assert [] == streams.files_of(numbers) == streams.files_of(iter(())) == streams.files_of(computed)
    assert (False, True) == (streams.opens_files(numbers), streams.opens_files(computed))


SPEC = '''
import keras
import numpy as np
import tensorflow as tf
from mltkbuild import DatasetMixin, EvaluateClassifierMixin, MltkModel, TrainMixin

# @mltk_model
class Model(MltkModel, TrainMixin, DatasetMixin, EvaluateClassifierMixin):
    """Pictures by Keras' own function."""

def load(subset, test):
    return keras.utils.image_dataset_from_directory("data", image_size=(16, 16), color_mode="grayscale", batch_size=4,
                                                    seed=1, verbose=False)

def build(model):
    network = keras.Sequential([keras.Input((16, 16, 1)), keras.layers.Flatten(), keras.layers.Dense(2, "softmax")])
    network.compile("sgd", "sparse_categorical_crossentropy", metrics=["accuracy"])
    return network

my_model = Model()
my_model.classes = ["across", "down"]
my_model.input_shape = (16, 16, 1)
my_model.epochs = 1
my_model.dataset = load
my_model.build_model_function = build
'''


@pytest.mark.real
def test_a_changed_picture_is_noticed_though_tensorflow_reads_it(tmp_path: Path, executor: Processes) -> None:
    """Another content under a name, and a further file, each run the data stage and what follows; a touch none."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    files.spec(text=SPEC)
    write_stripes(files.root / "data", ["down", "across"], 6)
    bring(files, executor.run)
    assert [] == bring(files, executor.run)
    first = files.root / "data/down/000.png"
    first.touch()
    assert [] == bring(files, executor.run)
    first.write_bytes((files.root / "data/across/000.png").read_bytes())
    assert {"data", "train"} <= set(bring(files, executor.run))
    (files.root / "data/down/999.png").write_bytes(first.read_bytes())
    assert {"data", "train"} <= set(bring(files, executor.run))


@pytest.mark.real
def test_what_can_t_be_watched_is_said(tmp_path: Path, executor: Processes) -> None:
    """A stream whose paths nobody knows beforehand is named by the data stage."""
    files = Files(tmp_path / "ws")
    files.write("dodo.py", "")
    loader = """
def load(subset, test):
    numbers = tf.data.Dataset.range(8)
    raw = numbers.map(lambda number: tf.io.read_file(tf.strings.format("raw/{}.bin", number)))
    pictures = raw.map(lambda text: tf.reshape(tf.io.decode_raw(text, "uint8"), (16, 16, 1)))
    return tf.data.Dataset.zip((pictures, numbers.map(lambda number: number % 2))).batch(4)

def build("""
    files.spec(text=SPEC[: SPEC.index("def load")] + loader.lstrip() + SPEC.partition("def build(")[2])
    (files.root / "raw").mkdir()
    for number in range(8):
        (files.root / "raw" / f"{number}.bin").write_bytes(bytes([number]) * 256)
    notes: list[Any] = []

    def run(request: Any, listener: Any) -> Any:
        outcome = executor.run(request, listener)
        notes.extend(outcome.notes)
        return outcome

    bring(files, run)
    assert any("can't be watched" in note and "doit forget data:kws" in note for note in notes)


def test_processes_of_a_sequence_are_known() -> None:
    """Keras reads some in processes of its own, where nobody sees what they open."""

    class Sequence(keras.utils.PyDataset):  # type: ignore[misc]  # Keras tells no types
        """One batch."""

        def __len__(self) -> int:
            return 1

        def __getitem__(self, index: int) -> Any:
            return index

    found = [streams.has_processes(Sequence(workers=2, use_multiprocessing=many)) for many in (True, False)]
    assert ([True, False], False) == (found, streams.has_processes(tf.data.Dataset.range(1)))
