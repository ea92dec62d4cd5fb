"""Files that native code of libraries opens are noticed at the last function of Python's that leads there."""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sqlite3
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf
from PIL import ImageFont

from mltkbuild.disk.answers import ABSENT
from mltkbuild.fingerprint import kinds
from mltkbuild.user_code import doors, library_doors
from mltkbuild.user_code.sqlite_doors import COMPUTED
from mltkbuild.user_code.tensorflow_doors import STREAM
from mltkbuild.user_code.watch import watch

from .test_watch import names

pytestmark = pytest.mark.filterwarnings("ignore")  # the libraries' own


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a file of each kind."""
    folder = tmp_path_factory.mktemp("doors")
    soundfile.write(folder / "a.wav", np.zeros(16), 16000)
    with h5py.File(folder / "a.h5", "w") as file:
        file["x"] = np.ones(2)
    model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    model.save(folder / "model.keras")
    model.save_weights(folder / "a.weights.h5")
    model.export(folder / "saved", verbose=False)
    (folder / "a.tflite").write_bytes(tf.lite.TFLiteConverter.from_keras_model(model).convert())
    (folder / "a.txt").write_text("one\ntwo\n")
    (folder / "raw").mkdir()
    for number in range(3):
        (folder / f"raw/{number}.bin").write_bytes(bytes([number]) * 4)
    with tf.io.TFRecordWriter(str(folder / "a.tfrecord")) as writer:
        writer.write(b"record")
    tf.data.Dataset.range(3).save(str(folder / "kept"))
    tf.train.Checkpoint(x=tf.Variable(1.0)).write(str(folder / "state"))
    font = next(path for path in Path(sys.prefix).rglob("DejaVuSans.ttf"))
    (folder / "font.ttf").write_bytes(font.read_bytes())
    return folder


@pytest.fixture
def folder(made: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder, as the working folder."""
    monkeypatch.chdir(made)
    return made


def tried(function: Callable[[], object]) -> None:
    """Do what code does that goes on without a file."""
    with contextlib.suppress(OSError, ValueError, soundfile.LibsndfileError, tf.errors.NotFoundError):
        function()


def _h5(path: str, mode: str = "r") -> None:
    with h5py.File(path, mode) as file:
        assert len(file["x"])


def _weights(path: str) -> None:
    keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)]).load_weights(path)


def _gfile(path: str, mode: str = "r") -> None:
    with tf.io.gfile.GFile(path, mode) as file:
        file.read()


def _sound_file(mode: str = "r") -> None:
    with soundfile.SoundFile("a.wav", mode) as file:
        assert len(file)


def _read(name: Any) -> Any:
    return tf.io.read_file(name)


def _in_graph() -> None:
    tf.function(lambda: _read("a.txt"))()


WORD, LINE = tf.lookup.TextFileIndex.WHOLE_LINE, tf.lookup.TextFileIndex.LINE_NUMBER
RAW = {"raw", "raw/0.bin", "raw/1.bin", "raw/2.bin"}
READS: dict[str, tuple[Callable[[], object], set[str]]] = {
    "soundfile.read": (lambda: soundfile.read("a.wav"), {"a.wav"}),
    "soundfile.info": (lambda: soundfile.info("a.wav"), {"a.wav"}),
    "soundfile.SoundFile": (_sound_file, {"a.wav"}),
    "soundfile, r+": (lambda: _sound_file("r+"), {"a.wav"}),
    "h5py": (lambda: _h5("a.h5"), {"a.h5"}),
    "h5py, r+": (lambda: _h5("a.h5", "r+"), {"a.h5"}),
    "weights in HDF5": (lambda: _weights("a.weights.h5"), {"a.weights.h5"}),
    "a Keras model": (lambda: keras.saving.load_model("model.keras"), {"model.keras"}),
    "a saved model": (
        lambda: tf.saved_model.load("saved"),
        {"saved/saved_model.pb", "saved/variables/variables.index", "saved/variables/variables.data-00000-of-00001"},
    ),
    "a checkpoint": (
        lambda: tf.train.Checkpoint(x=tf.Variable(0.0)).read("state"),
        {"state.index", "state.data-00000-of-00001"},
    ),
    "TensorFlow Lite": (lambda: tf.lite.Interpreter(model_path="a.tflite"), {"a.tflite"}),
    "a font": (lambda: ImageFont.truetype("font.ttf", 9), {"font.ttf"}),
    "tf.io.read_file": (lambda: tf.io.read_file("a.txt"), {"a.txt"}),
    "tf.io.read_file of a tensor": (lambda: tf.io.read_file(tf.constant("a.txt")), {"a.txt"}),
    "tf.io.read_file in a graph": (_in_graph, {"a.txt"}),
    "tf.raw_ops.ReadFile": (lambda: tf.raw_ops.ReadFile(filename="a.txt"), {"a.txt"}),
    "GFile": (lambda: _gfile("a.txt"), {"a.txt"}),
    "gfile.glob": (lambda: tf.io.gfile.glob("raw/*.bin"), {"raw"}),
    "gfile.listdir": (lambda: tf.io.gfile.listdir("raw"), {"raw"}),
    "gfile.walk": (lambda: list(tf.io.gfile.walk("raw")), {"raw"}),
    "matching_files": (lambda: tf.io.matching_files("raw/*.bin"), {"raw"}),
    "list_files": (lambda: list(tf.data.Dataset.list_files("raw/*.bin")), RAW),
    "list_files, read": (lambda: list(tf.data.Dataset.list_files("raw/*.bin").map(tf.io.read_file)), RAW),
    "TextLineDataset": (lambda: list(tf.data.TextLineDataset("a.txt")), {"a.txt", "."}),
    "TFRecordDataset": (lambda: list(tf.data.TFRecordDataset(["a.tfrecord"])), {"a.tfrecord", "."}),
    "FixedLengthRecordDataset": (
        lambda: list(tf.data.FixedLengthRecordDataset("raw/0.bin", 2)),
        {"raw", "raw/0.bin"},
    ),
    "as_numpy_iterator": (lambda: next(tf.data.TextLineDataset("a.txt").as_numpy_iterator()), {"a.txt", "."}),
    "CsvDataset": (lambda: list(tf.data.experimental.CsvDataset("a.txt", [""])), {"a.txt", "."}),
    "a table of words": (
        lambda: tf.lookup.StaticVocabularyTable(
            tf.lookup.TextFileInitializer("a.txt", "string", WORD, "int64", LINE), 1
        ),
        {"a.txt"},
    ),
    "reduce": (lambda: tf.data.TextLineDataset("a.txt").reduce(0, lambda n, _: n + 1), {"a.txt", "."}),
}


@pytest.mark.parametrize("way", READS)
def test_reading_is_noticed(way: str, folder: Path) -> None:
    """Each of the libraries that people use here tells what it opens."""
    read, expected = READS[way]
    with watch(()) as seen:
        read()
    assert expected == names(seen.files, folder)
    assert {} == seen.unseen
    assert {} == seen.both


ABSENCES: dict[str, Callable[[], object]] = {
    "soundfile": lambda: soundfile.read("no"),
    "h5py": lambda: h5py.File("no", "r"),
    "a Keras model": lambda: keras.saving.load_model("no.keras"),
    "gfile.exists": lambda: tf.io.gfile.exists("no"),
    "gfile.isdir": lambda: tf.io.gfile.isdir("no"),
    "gfile.glob": lambda: tf.io.gfile.glob("no"),
    "gfile.stat": lambda: tf.io.gfile.stat("no"),
    "GFile": lambda: _gfile("no"),
    "read_file": lambda: tf.io.read_file("no"),
}


@pytest.mark.parametrize("way", ABSENCES)
def test_what_is_not_there_counts(way: str, folder: Path) -> None:
    """A file that appears later changes what these functions do."""
    with watch(()) as seen:
        tried(ABSENCES[way])
    absent = [told for question, told in seen.answers.items() if os.path.basename(question.subject).startswith("no")]
    assert {ABSENT} == set(absent)


def test_what_libraries_write_is_no_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What native code makes, and then lists, reads or removes, is the code's own."""
    monkeypatch.chdir(tmp_path)
    with watch(()) as seen:
        soundfile.write("a.wav", np.zeros(16), 16000)
        soundfile.read("a.wav")
        with h5py.File("a.h5", "w") as file:
            file["x"] = np.ones(2)
        _h5("a.h5")
        with tf.io.TFRecordWriter("a.tfrecord") as records:
            records.write(b"record")
        list(tf.data.TFRecordDataset("a.tfrecord"))
        tf.train.Checkpoint(x=tf.Variable(1.0)).write("state")
        tf.train.Checkpoint(x=tf.Variable(1.0)).read("state")
        tf.io.gfile.makedirs("deep/er")
        with tf.io.gfile.GFile("deep/er/a.txt", "w") as written:
            written.write("1")
        tf.io.gfile.copy("deep/er/a.txt", "deep/b.txt")
        tf.io.gfile.rename("deep/b.txt", "c.txt")
        _gfile("c.txt")
        tf.io.gfile.listdir("deep")
        tf.io.gfile.rmtree("deep")
    assert ({}, {}) == (seen.files, seen.answers)


def test_stream_that_was_kept_counts_with_all_its_files(folder: Path) -> None:
    """`Dataset.save` makes folders in a folder, which `Dataset.load` reads."""
    with watch(()) as seen:
        list(tf.data.Dataset.load("kept"))
    kept = {str(path.relative_to(folder)) for path in (folder / "kept").rglob("*") if path.is_file()}
    assert kept <= names(seen.files, folder)


def test_stream_that_computes_its_paths_is_said(folder: Path) -> None:
    """What can't be known of a stream that the code itself reads."""
    with watch(()) as seen:
        numbers = tf.data.Dataset.range(3)
        list(numbers.map(lambda number: tf.io.read_file(tf.strings.format("raw/{}.bin", number))))
    assert [STREAM] == list(seen.unseen)


def test_graph_that_computes_its_path_is_said(folder: Path) -> None:
    """A function of the code's that becomes a graph."""
    with watch(()) as seen:
        tf.function(_read)(tf.constant("a.txt"))
    assert ["TensorFlow opens files in a graph that"] == list(seen.unseen)


ATTACHED: dict[str, tuple[str, Any]] = {
    "a text": ("attach 'it''s.db' as b", ()),
    "a URI": ("attach 'file:it%27s.db?mode=ro' as b", ()),
    "a value that is given": ("ATTACH DATABASE ? AS b", ("it's.db",)),
    "a value by its name": ("attach :name as b", {"name": "it's.db"}),
}


@pytest.mark.parametrize("way", ATTACHED)
def test_attached_database_is_noticed(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether its name stands in the statement or comes beside it."""
    monkeypatch.chdir(tmp_path)
    for name in ("a.db", "it's.db"):
        with contextlib.closing(sqlite3.connect(name)) as base:
            base.execute("create table t (x)")
    statement, given = ATTACHED[way]
    with watch(()) as seen:
        base = sqlite3.connect("file:a.db", uri=True)
        base.execute(statement, given)
        assert [] == base.execute("select * from b.t").fetchall()
        base.close()
    assert ({"a.db", "it's.db"}, {}) == (names(seen.files, tmp_path), seen.unseen)


def test_attached_database_of_a_computed_name_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What SQL itself makes of texts is not followed."""
    monkeypatch.chdir(tmp_path)
    with watch(()) as seen, contextlib.closing(sqlite3.connect(":memory:")) as base:
        base.execute("attach 'b' || '.db' as b")
    assert [COMPUTED] == list(seen.unseen)


def test_files_behind_an_hdf5_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Links in a circle, and where a variable says that they are looked for; a damaged file is whoever opens it's."""
    for name, other in (("a", "b"), ("b", "a"), ("far/c", "nowhere")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            file["x"] = h5py.ExternalLink(f"{other}.h5", "/x")
            file["y"] = h5py.ExternalLink("c.h5", "/x")
    (tmp_path / "damaged.h5").write_bytes((tmp_path / "a.h5").read_bytes()[:600])
    monkeypatch.setenv("HDF5_EXT_PREFIX", "${ORIGIN}/far")
    monkeypatch.chdir(tmp_path)
    with watch(()) as seen:
        h5py.File("a.h5").close()
        tried(lambda: h5py.File("damaged.h5"))
    assert {"a.h5", "b.h5", "far/c.h5", "damaged.h5"} == names(seen.files, tmp_path)
    absent = {os.path.relpath(question.subject, tmp_path) for question in seen.answers}
    assert {"c.h5", "nowhere.h5", "far/nowhere.h5"} <= absent


def test_samples_that_a_stream_keeps_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once they are there they count; while the code makes them they don't. In memory nothing is kept."""
    monkeypatch.chdir(tmp_path)
    numbers = tf.data.Dataset.range(3)
    for first in (True, False):
        with watch(()) as seen:
            list(numbers.cache())
            list(numbers.cache("kept"))
            list(numbers.snapshot("shots"))
        assert [str(tmp_path / "kept"), str(tmp_path / "shots")] == list(seen.kept)
        found = names(seen.files, tmp_path)
        assert found == set() if first else {"kept.index", "kept.data-00000-of-00001"} < found


def test_library_gets_its_doors_as_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it is there before the code runs, or the code is the first to import it."""
    (tmp_path / "cv2.py").write_text("def imread(path, *more):\n    return path\n")
    (tmp_path / "a.png").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "cv2", raising=False)
    doors._done.discard("cv2")
    before = list(sys.meta_path)
    with watch(()) as seen:
        cv2: Any = importlib.import_module("cv2")
        assert cv2.imread(str(tmp_path / "a.png")) == str(tmp_path / "a.png")
        assert type(cv2.__spec__.loader).__name__ == "SourceFileLoader"
    assert before == sys.meta_path
    assert {"a.png", "cv2.py"} == names(seen.files, tmp_path)
    doors._done.discard("cv2")
    monkeypatch.delitem(sys.modules, "cv2")


def test_native_class_keeps_its_ways(tmp_path: Path) -> None:
    """What makes its objects is told of; `isinstance`, `|`, class methods and classes made of it are as they were."""
    (tmp_path / "a.txt").write_text("")
    library: Any = types.SimpleNamespace(Reader=io.FileIO)
    doors.door(library, "Reader", library_doors.DOORS["cv2"]["VideoCapture"])
    with watch(()) as seen, library.Reader(str(tmp_path / "a.txt")) as file:
        assert type(file) is io.FileIO
    assert {"a.txt"} == names(seen.files, tmp_path)
    assert [True, False] == [isinstance(one, library.Reader) for one in (file, 1)]
    assert isinstance(file, int | library.Reader)
    assert library.Reader.readline is io.FileIO.readline

    own = types.new_class("Own", (library.Reader,))
    assert (own, io.FileIO) == own.__mro__[:2]
    assert issubclass(own, library.Reader)
    assert ("_io", "FileIO") == (library.Reader.__module__, library.Reader.__qualname__)
    assert kinds.original(library.Reader) is io.FileIO


FOLDERS: dict[str, tuple[str, set[str]]] = {
    "a file": ("parts/0.bin", {"parts/0.bin"}),
    "a folder": ("parts", {"parts", "parts/0.bin", "parts/1.bin"}),
    "a pattern": ("parts/*.bin", {"parts", "parts/0.bin", "parts/1.bin"}),
}


@pytest.mark.parametrize("way", FOLDERS)
def test_files_of_a_table_in_parts(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readers of tables take a file, a folder with the parts of one, or a pattern."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "parts").mkdir()
    for number in range(2):
        (tmp_path / f"parts/{number}.bin").write_text("")
    library = types.SimpleNamespace(read_parquet=lambda path: path)
    doors.door(library, "read_parquet", library_doors.DOORS["polars"]["read_parquet"])
    with watch(()) as seen:
        library.read_parquet(FOLDERS[way][0])
    assert FOLDERS[way][1] == names(seen.files, tmp_path)


@pytest.mark.parametrize("mode", [None, "r", 0, "w", 1])
def test_what_is_opened_to_be_written_is_no_input(mode: object, tmp_path: Path) -> None:
    """Films, stores and streams of bytes are opened in a mode, in letters or as a number."""
    library: Any = types.SimpleNamespace(open=lambda path, mode=None: None)
    doors.door(library, "open", library_doors.DOORS["av"]["open"])
    (tmp_path / "a.mp4").write_text("old")
    with watch(()) as seen:
        library.open(str(tmp_path / "a.mp4"), mode)
    assert ({"a.mp4"} if mode in (None, "r", 0) else set()) == names(seen.files, tmp_path)


@pytest.mark.parametrize("flag", ["r", "c", "n"])
def test_file_of_keys_and_values_counts_as_it_is_opened(flag: str, tmp_path: Path) -> None:
    """`dbm` and `shelve` come to a library of the system's, which may add an ending to the name."""
    library = types.SimpleNamespace(open=lambda file, flag, mode: None)
    (tmp_path / "a.db").write_text("1" if flag != "n" else "old")
    doors.door(library, "open", library_doors.DOORS["dbm.gnu"]["open"])
    with watch(()) as seen:
        library.open(str(tmp_path / "a"), flag, 0o666)
    assert ({"a.db"} if flag != "n" else set()) == names(seen.files, tmp_path)


def test_doors_do_nothing_while_nothing_is_watched(folder: Path) -> None:
    """They stay where they are, and are known by the functions' own names."""
    with watch(()):
        pass
    assert len(soundfile.read("a.wav")[0]) == 16
    assert isinstance(soundfile.SoundFile.__init__, types.FunctionType)
    assert soundfile.SoundFile.__init__.__qualname__ == "SoundFile.__init__"
