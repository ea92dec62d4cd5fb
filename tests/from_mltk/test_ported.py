"""What MLTK's specs call while they load data: listings, tf.data, files, downloads and small helpers, by its names."""

from __future__ import annotations

import hashlib
import io
import os
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from mltkbuild.data import frontend, user_functions
from mltkbuild.datasets import download
from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.from_mltk import downloads, helpers, listing, media, tf_data
from mltkbuild.from_mltk.evaluation import ClassifierEvaluationResults
from mltkbuild.spec.audio_settings import AudioFeatureGeneratorSettings

from ..data.recordings import write_stripes, write_tone, write_tones
from ..datasets.http_server import Site, serving

law = settings(deadline=None, max_examples=50, database=None)


# -- listings --------------------------------------------------------------------------------------------------------


@pytest.fixture
def words(tmp_path: Path) -> str:
    """Eight recordings of each of five words, and background noise."""
    write_tones(tmp_path / "words", ["yes", "no", "cat", "dog", "tree"], 8)
    write_tones(tmp_path / "words", ["_background_noise_"], 1)
    return str(tmp_path / "words")


def listed(words: str, **more: Any) -> list[tuple[str | None, int]]:
    """Paths with class ids."""
    return list(zip(*listing.list_dataset_directory(words, ["yes", "no", "_u_", "_e_"], **more), strict=True))


SPECIAL: dict[str, Any] = {"unknown_class_label": "_u_", "empty_class_label": "_e_", "white_list_formats": [".wav"]}


def test_listing_has_classes_strangers_and_nothing(words: str) -> None:
    """Unknown samples come evenly from the folders of no class, empty ones have no path; both by the others' mean."""
    counts: dict[str, int] = {}
    found = listed(words, **SPECIAL, unknown_class_percentage=0.75, empty_class_percentage=0.25, class_counts=counts)
    assert {"yes": 8, "no": 8, "_u_": 6, "_e_": 2} == counts
    strangers = [path.split("/")[0] for path, label in found if label == 2 and path]
    assert {"cat": 2, "dog": 2, "tree": 2} == {name: strangers.count(name) for name in set(strangers)}
    assert [None, None] == [path for path, label in found if label == 3]
    assert all(path and path.startswith("yes/") for path, label in found if label == 0)


def test_listing_limits_shuffles_and_completes_paths(words: str) -> None:
    """A limit holds for each class; an order depends on the seed alone; paths are absolute if that is wanted."""
    few = listed(words, **SPECIAL, max_samples_per_class=3)
    assert [3, 3, 3, 3] == [sum(label == number for _, label in few) for number in range(4)]
    one, again, other = (listed(words, **SPECIAL, shuffle=True, seed=seed) for seed in (1, 1, 2))
    assert one == again != other
    assert {pair for pair in one if pair[1] < 2} == {pair for pair in other if pair[1] < 2}
    paths = [path for path, _ in listed(words, **SPECIAL, return_absolute_paths=True) if path]
    assert all(os.path.isfile(path) for path in paths)


def test_parts_of_a_listing_hold_each_sample_once(words: str) -> None:
    """Two parts that touch share no sample, and together they are the whole."""
    first, second = (listed(words, **SPECIAL, split=split) for split in ((0, 0.3), (0.3, 1)))
    of_files = [{path for path, label in part if label < 2} for part in (first, second)]
    assert not of_files[0] & of_files[1]
    assert 16 == len(of_files[0] | of_files[1])


def test_listing_lets_a_function_change_the_samples(words: str) -> None:
    """`process_samples_function` gets the paths by class, and what it leaves there counts."""

    def shorten(directory: str, sample_paths: dict[str, list[str]], **_: Any) -> None:
        sample_paths["yes"][:] = sample_paths["yes"][:1]

    found = listed(words, **SPECIAL, process_samples_function=shorten)
    assert 1 == sum(label == 0 for _, label in found)


def test_listing_names_a_class_without_samples(words: str) -> None:
    """A class that has nothing is an error with its name, and so are strangers of whom there are none."""
    with pytest.raises(DataError, match="a class has no samples") as caught:
        listed(words, **{**SPECIAL, "white_list_formats": [".png"], "unknown_class_percentage": 0})
    assert "yes" in str(caught.value.found)
    with pytest.raises(DataError, match="no folder with unknown samples"):
        listing.list_dataset_directory(words, ["yes", "no", "cat", "dog", "tree", "_u_"], unknown_class_label="_u_")


@law
@given(st.lists(st.text("ab/", min_size=1, max_size=6), unique=True, min_size=1, max_size=20), st.integers(0, 9))
def test_groups_stay_together(paths: list[str], seed: int) -> None:
    """A shuffle by group keeps every path, keeps groups in one piece, and doesn't depend on the order given."""
    mixed = listing.shuffle_file_list_by_group(paths, lambda path: path[0], seed)
    assert sorted(paths) == sorted(mixed)
    assert mixed == listing.shuffle_file_list_by_group(paths[::-1], lambda path: path[0], seed)
    turns = [path[0] for place, path in enumerate(mixed) if place == 0 or mixed[place - 1][0] != path[0]]
    assert len(turns) == len(set(turns))


@law
@given(st.lists(st.integers(), max_size=30), st.floats(0, 1))
def test_split_file_list_tears_at_one_place(paths: list[int], cut: float) -> None:
    """The parts before and behind a share are the list."""
    whole: list[Any] = list(paths)
    assert whole == [*listing.split_file_list(whole, (0, cut)), *listing.split_file_list(whole, (cut, 1))]


# -- tf.data ---------------------------------------------------------------------------------------------------------


def test_audio_directory_gives_paths_or_recordings(words: str) -> None:
    """Samples are paths, silence being a file, too; or samples with their rate; labels may be one-hot."""
    classes = ["yes", "no", "_silence_"]
    paths, labels = tf_data.load_audio_directory(words, classes, silence_class_percentage=0.5, onehot_encode=True)
    names = [path.decode() for path in paths.as_numpy_iterator()]
    rows = np.stack(list(labels.as_numpy_iterator()))
    assert (20, 3) == rows.shape
    silent = [name for name, row in zip(names, rows, strict=True) if row[2]]
    assert 4 == len(silent)
    assert not soundfile.read(silent[0])[0].any()
    sounds, _ = tf_data.load_audio_directory(
        words, classes, silence_class_percentage=0.5, return_audio_data=True, return_audio_sample_rate=True
    )
    found = list(sounds.as_numpy_iterator())
    assert [8000] * 16 + [16000] * 4 == [int(rate) for _, rate in found]
    assert (2400,) == found[0][0].shape
    assert not found[-1][0].any()


def test_image_directory_gives_paths_or_pictures(tmp_path: Path) -> None:
    """Pictures are read as the file has them, or named."""
    write_stripes(tmp_path / "data", ["down", "across"], 3)
    paths, labels = tf_data.load_image_directory(str(tmp_path / "data"), ["down", "across"])
    assert [0, 0, 0, 1, 1, 1] == list(labels.as_numpy_iterator())
    first = next(paths.as_numpy_iterator()).decode()
    pictures, _ = tf_data.load_image_directory(str(tmp_path / "data"), ["down", "across"], return_image_data=True)
    assert np.array_equal(np.asarray(Image.open(first))[..., None], next(pictures.as_numpy_iterator()))


def test_parallel_process_keeps_order_shapes_and_random_numbers() -> None:
    """Elements stay in order, the result's shape is known, and looking at the first one draws nothing."""

    def double(batch: np.ndarray) -> np.ndarray:
        return batch * 2 + np.random.randint(0, 1000)

    def run() -> list[np.ndarray]:
        np.random.seed(5)
        numbers = tf.data.Dataset.range(6).batch(2, drop_remainder=True)
        made, pool = tf_data.parallel_process(numbers, double, dtype=np.float32, n_jobs=0.5)
        assert (2,) == made.element_spec.shape
        found = list(made.as_numpy_iterator())
        pool.shutdown()
        return found

    np.random.seed(5)
    expected = [np.arange(place, place + 2) * 2 + np.random.randint(0, 1000) for place in (0, 2, 4)]
    assert np.array_equal(expected, run())
    assert np.array_equal(run(), run())


def test_parallel_process_of_nothing_is_an_error() -> None:
    """Without an element nobody knows what the function gives."""
    with pytest.raises(DataError, match="without elements"):
        tf_data.parallel_process(tf.data.Dataset.range(1).batch(2, drop_remainder=True), np.negative)


def test_what_a_function_raises_inside_a_graph_is_kept() -> None:
    """TensorFlow tells of an exception as text; the exception itself can be had, once."""
    calls = []

    def trip(batch: np.ndarray) -> np.ndarray:
        calls.append(batch)
        if len(calls) > 1:
            raise KeyError("tripped")
        return batch

    made, _ = tf_data.parallel_process(tf.data.Dataset.range(3), trip, dtype=np.int64)
    user_functions.raised_in_graph()
    with pytest.raises(tf.errors.OpError):
        list(made.as_numpy_iterator())
    assert isinstance(user_functions.raised_in_graph(), KeyError)
    assert user_functions.raised_in_graph() is None


def test_functions_may_change_what_they_get() -> None:
    """A function gets a copy of its sample, as MLTK gives it."""

    def halve(x: np.ndarray) -> np.ndarray:
        x *= 0.5
        return x

    sample = np.ones(3, np.float32)
    sample.setflags(write=False)
    found = user_functions.call(halve, user_functions.ParallelProcessParams(), sample)
    assert ([0.5] * 3, [1.0] * 3) == (found.tolist(), sample.tolist())


# -- files -----------------------------------------------------------------------------------------------------------


def test_recordings_are_read_by_path_and_by_tensor(tmp_path: Path) -> None:
    """The same samples and rate for text, a tensor, and inside a tf.data function."""
    path = write_tone(tmp_path / "a.wav", 440.0)
    expected = soundfile.read(path, dtype="float32")[0]
    samples, rate = media.read_audio_file(str(path), return_sample_rate=True)
    assert (8000, True) == (rate, np.array_equal(expected, samples))
    tensor, rate = media.read_audio_file(tf.constant(str(path)), return_sample_rate=True, return_numpy=False)
    assert (8000, True) == (int(rate), np.array_equal(expected, tensor.numpy()))
    mapped = tf.data.Dataset.from_tensors(str(path)).map(media.read_audio_file)
    assert np.array_equal(expected, next(mapped.as_numpy_iterator()))
    with pytest.raises(DataError, match="a recording can't be read") as caught:
        media.read_audio_file(str(tmp_path / "none.wav"))
    assert caught.value.where == str(tmp_path / "none.wav")


def test_recordings_are_written_to_be_heard(tmp_path: Path) -> None:
    """A file by its name, or one named by the time in a folder, made if need be; also in a function of tf.data."""
    wave = np.linspace(-1.0, 1.0, 400, dtype=np.float32)
    path = media.write_audio_file(str(tmp_path / "new" / "a.wav"), wave, 8000)
    assert np.allclose(wave, soundfile.read(path)[0], atol=1e-4)
    other = media.write_audio_file(str(tmp_path / "dump"), wave, 8000)
    assert (str(tmp_path / "dump"), ".wav") == (os.path.dirname(other), other[-4:])
    written = tf.data.Dataset.from_tensors(wave).map(lambda x: media.write_audio_file(str(tmp_path / "map"), x, 8000))
    assert os.path.isfile(next(written.as_numpy_iterator()))


def test_adjusted_length() -> None:
    """Cut at the offset, padded at the offset, resampled first, silence trimmed; a column stays a column."""
    rng = np.random.default_rng(1)
    wave = rng.normal(0, 0.3, 1000).astype(np.float32)
    assert np.array_equal(wave[100:900], media.adjust_length(wave, out_length=800, offset=0.5, trim_threshold_db=None))
    padded = media.adjust_length(wave, out_length=1200, offset=0.25, trim_threshold_db=None)
    assert (np.zeros(50).tolist(), wave.tolist()) == (padded[:50].tolist(), padded[50:1050].tolist())
    assert 500 == len(media.adjust_length(wave, target_sr=4000, original_sr=8000, trim_threshold_db=None))
    assert (500, 1) == media.adjust_length(wave[:, None], out_length=500).shape
    quiet = np.concatenate([np.zeros(8000, np.float32), np.tile(wave, 8), np.zeros(8000, np.float32)])
    trimmed = media.adjust_length(quiet, out_length=24000, offset=0.0, trim_threshold_db=30)
    assert np.abs(trimmed[:2000]).max() > 0.1
    assert 16000 == len(media.resample(wave, orig_sr=1000, target_sr=16000))


@pytest.mark.parametrize("kind", [np.float32, np.int8, np.uint16])
def test_the_front_end_is_that_of_the_generator(kind: type) -> None:
    """`apply_frontend` gives the pipeline's own values in the type asked for, from integers and from floats."""
    chosen = AudioFeatureGeneratorSettings(sample_rate_hz=8000, filterbank_upper_band_limit=3800.0)
    pulses = np.random.default_rng(1).normal(0, 3000, 8000).astype(np.int16)
    found = media.apply_frontend(pulses, chosen, kind)
    expected = frontend.spectrogram(tf.constant(pulses), chosen, np.dtype(kind).name).numpy()
    assert (np.dtype(kind), True) == (found.dtype, np.array_equal(expected, found.astype(np.float32)))
    again = media.apply_frontend((pulses / 32768.0).astype(np.float32)[:, None], chosen, kind)
    assert np.array_equal(found, again)


def test_pictures_are_read_and_written(tmp_path: Path) -> None:
    """In the channels that are asked for, by tensor too; written from bytes, int8 and floats."""
    pixels = np.random.default_rng(1).integers(0, 255, (5, 7, 3)).astype(np.uint8)
    path = media.write_image_file(str(tmp_path / "a.png"), pixels)
    assert np.array_equal(pixels, media.read_image_file(path, return_numpy=True))
    assert (5, 7, 1) == tuple(media.read_image_file(path, target_channels=1).shape)
    mapped = tf.data.Dataset.from_tensors(path).map(lambda name: media.read_image_file(name, 3))
    assert (None, None, 3) == tuple(mapped.element_spec.shape)
    assert np.array_equal(pixels, next(mapped.as_numpy_iterator()))
    grey = media.write_image_file(str(tmp_path / "b.png"), (pixels[..., :1].astype(np.int16) - 128).astype(np.int8))
    assert np.array_equal(pixels[..., :1], media.read_image_file(grey, return_numpy=True))
    spread = media.write_image_file(str(tmp_path / "c.png"), np.array([[-2.0, 0.0, 2.0]]))
    assert [0, 127, 254] == media.read_image_file(spread, return_numpy=True)[0, :, 0].tolist()
    assert media.write_image_file(str(tmp_path / "folder"), pixels).endswith(".jpg")
    (tmp_path / "bad.png").write_bytes(b"no picture")
    with pytest.raises(DataError, match="an image can't be read"):
        media.read_image_file(str(tmp_path / "bad.png"))


def test_normalized_values() -> None:
    """Scaled, centred, divided by the deviation, spread over a range; the array given stays as it is."""
    given = np.array([1.0, 2.0, 3.0], np.float32)
    assert [2.0, 4.0, 6.0] == media.normalize(given, rescale=2.0).tolist()
    found = media.normalize(given, samplewise_center=True, samplewise_std_normalization=True)
    assert (0.0, 1.0) == pytest.approx((found.mean(), found.std()), abs=1e-4)
    assert [-1, 0, 1] == media.normalize(given, samplewise_normalize_range=(-1, 1), dtype=np.int8).tolist()
    assert [1.0, 2.0, 3.0] == given.tolist()


# -- downloads -------------------------------------------------------------------------------------------------------


def zipped(members: dict[str, str]) -> bytes:
    """An archive's bytes."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, text in members.items():
            file.writestr(name, text)
    return buffer.getvalue()


ARCHIVE = zipped({"top/a.txt": "a", "top/sub/b.txt": "b"})
SHA1 = hashlib.sha1(ARCHIVE).hexdigest()


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Site]:
    """A server with an archive; data sets are kept in a folder of the test."""
    monkeypatch.setattr(download, "WAITS", (0.0, 0.0))
    monkeypatch.delenv(download.MIRROR, raising=False)
    monkeypatch.delenv("MLTK_CACHE_DIR", raising=False)
    monkeypatch.setenv("MLTK_DATASETS", str(tmp_path / "all"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    with serving({"/v1/data.zip": ARCHIVE}) as found:
        yield found


def get(site: Site, **more: Any) -> Any:
    return downloads.download_verify_extract(f"{site.url}/v1/data.zip", **more)


def names_in(folder: Path | str) -> list[str]:
    return sorted(
        path.relative_to(folder).as_posix()
        for path in Path(folder).rglob("*")
        if path.is_file() and not path.name.startswith(".")
    )


def test_an_archive_is_downloaded_and_unpacked_once(site: Site, tmp_path: Path) -> None:
    """MLTK's `datasets/NAME` is NAME of the folder of all data sets; the second call asks and unpacks nothing."""
    wanted = {"dest_subdir": "datasets/mine/v1", "file_hash": SHA1.upper(), "remove_root_dir": True}
    folder, done = get(site, **wanted, return_uptodate=True)
    assert (str(tmp_path / "all/mine/v1"), False) == (folder, done)
    assert ["a.txt", "sub/b.txt"] == names_in(folder)
    asked = len(site.asked)
    assert (folder, True) == get(site, **wanted, return_uptodate=True)
    assert asked == len(site.asked)


def test_an_archive_keeps_its_folder_unless_it_is_removed(site: Site, tmp_path: Path) -> None:
    """Without `dest_subdir` it is named like the archive; an absolute `dest_dir` is what it says."""
    assert str(tmp_path / "all/data") == get(site)
    assert ["top/a.txt", "top/sub/b.txt"] == names_in(tmp_path / "all/data")
    assert str(tmp_path / "here") == get(site, dest_dir=str(tmp_path / "here"))
    archive = Path(get(site, extract=False, download_dir=str(tmp_path / "kept"), archive_fname="x.zip"))
    assert (tmp_path / "kept" / "x.zip", ARCHIVE) == (archive, archive.read_bytes())


def test_files_are_added_to_a_folder_that_has_others(site: Site, tmp_path: Path) -> None:
    """With `clean_dest_dir=False` other files stay; without, a folder of somebody else's files is an error."""
    (tmp_path / "all/mine").mkdir(parents=True)
    (tmp_path / "all/mine/own.txt").write_text("own")
    with pytest.raises(DataError, match="an archive's folder has other files"):
        get(site, dest_subdir="mine", remove_root_dir=True)
    assert ["own.txt"] == names_in(tmp_path / "all/mine")
    get(site, dest_subdir="mine", remove_root_dir=True, clean_dest_dir=False)
    assert ["a.txt", "own.txt", "sub/b.txt"] == names_in(tmp_path / "all/mine")


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "digest": ({"file_hash": "0" * 40}, "not the one"),
    "no digest": ({"file_hash": "xyz"}, "a digest isn't known"),
    "nested": ({"extract_nested": True}, "archives in archives"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_can_t_be_had_is_an_error(name: str, site: Site, tmp_path: Path) -> None:
    """A wrong digest, one that is none, and an archive in an archive; nothing is unpacked."""
    arguments, text = WRONG[name]
    with pytest.raises(DataError) as caught:
        get(site, **arguments)
    assert text in f"{caught.value.what} {caught.value.found}"
    assert not (tmp_path / "all/data").exists()


def test_a_file_is_downloaded_unless_it_is_there(site: Site, tmp_path: Path) -> None:
    """`download_url` leaves a file that somebody has changed."""
    path = Path(downloads.download_url(f"{site.url}/v1/data.zip", str(tmp_path / "x" / "a.zip")))
    assert ARCHIVE == path.read_bytes()
    path.write_bytes(b"resampled")
    assert str(path) == downloads.download_url(f"{site.url}/v1/data.zip", str(path))
    assert b"resampled" == path.read_bytes()


def test_folders_of_a_user(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Below the folder of all data sets, or where MLTK's own variable says."""
    assert str(tmp_path / "all/mine") == downloads.create_user_dir("datasets/mine")
    assert str(tmp_path / "all/mine") == downloads.create_user_dir("mine")
    assert str(tmp_path) == downloads.create_user_dir()
    assert str(tmp_path / "b/mine") == downloads.create_user_dir("mine", base_dir=str(tmp_path / "b"))
    monkeypatch.setenv("MLTK_CACHE_DIR", str(tmp_path / "cache"))
    assert str(tmp_path / "cache/datasets/mine") == downloads.create_user_dir("datasets/mine")
    assert (tmp_path / "cache/datasets/mine").is_dir()


def test_files_of_a_folder_are_listed_without_end_of_links(tmp_path: Path) -> None:
    """All files below, sorted; a link back is followed once; a pattern or a function chooses."""
    for name in ("a.txt", "sub/b.wav", "sub/c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("")
    (tmp_path / "sub" / "back").symlink_to(tmp_path)
    found = downloads.recursive_listdir(str(tmp_path), return_relative_paths=True)
    assert ["a.txt", "sub/b.wav", "sub/c.txt"] == found
    wavs = downloads.recursive_listdir(str(tmp_path), regex=r".*\.wav$")
    assert [str(tmp_path / "sub/b.wav")] == wavs
    assert [] == downloads.recursive_listdir(str(tmp_path), regex=lambda path: False)


# -- helpers ---------------------------------------------------------------------------------------------------------


def test_small_helpers() -> None:
    """A dictionary with attributes, texts around an exception's own, and the MD5 of values."""
    item = helpers.DictObject(a=1)
    item.b = 2
    assert ({"a": 1, "b": 2}, 2, False) == (item, item["b"], hasattr(item, "c"))
    assert "before, ten" == str(helpers.prepend_exception_msg(ValueError("ten"), "before"))
    assert "ten, behind" == str(helpers.append_exception_msg(ValueError("ten"), "behind"))
    assert hashlib.md5(b"ab12").hexdigest() == helpers.generate_hash("a", [b"b", 1], {}, 2)


def test_a_missing_package_is_named_not_installed() -> None:
    """What is there is fine; what isn't is an error with the command to run."""
    helpers.install_pip_package("numpy>=1")
    helpers.install_pip_package("Pillow", "PIL.Image")
    with pytest.raises(SpecError) as caught:
        helpers.install_pip_package("nosuchpackage==1.2")
    assert ("no module nosuchpackage", True) == (caught.value.found, "pip install" in str(caught.value.fix))


def test_a_classifier_s_results_are_counted() -> None:
    """`calculate` takes ids and scores, also one score for two classes; a document needs it."""
    results = ClassifierEvaluationResults(name="kws", classes=["a", "b"])
    with pytest.raises(SpecError, match="no figures"):
        _ = results.document
    results.calculate(y=[0, 0, 1, 1], y_pred=[0.1, 0.7, 0.8, 0.9])
    assert (0.75, 0.75, {"a": 0.5, "b": 1.0}) == (
        results.overall_accuracy,
        results["overall_accuracy"],
        results.class_accuracies,
    )
    assert "name" not in results.document
    assert "overall: 75.000%" in results.generate_summary()
    with pytest.raises(StageError, match="doesn't fit its classes"):
        results.calculate(y=[0, 1], y_pred=np.zeros((2, 3)))
