"""Samples: what is accepted, what is refused, and what splitting, cutting down and calibrating keep."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mltkbuild.data import samples as data
from mltkbuild.data.samples import Samples
from mltkbuild.errors import DataError

WORDS = ("yes", "no", "_unknown_")

law = settings(deadline=None, max_examples=60, database=None)
ids = arrays(np.int64, st.integers(1, 120), elements=st.integers(0, 2))


class Batches:
    """Batches as a `keras.utils.PyDataset` gives them, without Keras."""

    num_batches: int | None = 0

    def __init__(self, *given: Any, endless: bool = False) -> None:
        self.given = given
        self.num_batches = None if endless else len(given)
        self.read = 0

    def __getitem__(self, place: int) -> Any:
        self.read += 1
        return self.given[place % len(self.given)]

    def __iter__(self) -> Iterator[Any]:
        for place in count() if self.num_batches is None else range(self.num_batches):
            yield self[place]


def numbered(n: int) -> Samples:
    """Samples that hold their own place."""
    places = np.arange(n)
    return Samples(places.astype(np.float32)[:, None], places, places.astype(np.float64))


def refused(samples: Samples, classes: tuple[str, ...] | None = None) -> DataError:
    with pytest.raises(DataError) as caught:
        data.check(samples, "training", classes)
    return caught.value


# What a loader gives.


def test_lists_become_arrays() -> None:
    """Lists and tuples of samples, labels and weights become arrays."""
    samples = data.as_samples([[1, 2], (3, 4)], (0, 1), [0.5, 1.0])

    assert ((2, 2), (2,), (2,)) == (samples.x.shape, samples.y.shape, samples.weight.shape)
    assert not samples.is_stream


def test_tables_become_arrays() -> None:
    """What turns itself into an array, as a tensor or a table does, becomes one."""

    class Table:
        shape = (2, 1)

        def __array__(self, dtype: Any = None, copy: Any = None) -> np.ndarray:
            return np.array([[1.0], [2.0]])

    assert [[1.0], [2.0]] == data.as_samples(Table()).x.tolist()


def test_samples_of_different_shapes_are_refused() -> None:
    """Samples of different lengths are an error that says to pad or crop."""
    with pytest.raises(DataError, match="one shape") as caught:
        data.as_samples([[1.0], [1.0, 2.0]])

    assert "pad or crop them to one shape" == caught.value.fix


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (np.zeros((3, 4, 4, 1), np.uint8), np.array([0, 1, 2])),
        (np.zeros((3, 2), np.float16), np.array([[0], [1], [2]], np.uint8)),
        (np.zeros((3, 2), bool), np.eye(3, dtype=bool)),
        (np.zeros(3), np.eye(3, dtype=np.float32)),
        (np.zeros((3, 2)), np.array([0.0, 2.0, 1.0])),
        (np.zeros((3, 2)), np.array([True, False, True])),
        (np.zeros((3, 2)), np.full((3, 3), 1 / 3)),
    ],
    ids=["uint8 images", "column of ids", "bool one-hot", "numbers", "float ids", "bool ids", "soft"],
)
def test_sound_samples_are_accepted(x: np.ndarray, y: np.ndarray) -> None:
    """Every number type, and ids as well as one-hot rows, pass; not so with a sample less."""
    data.check(Samples(x, y), "training", WORDS)

    assert "x and y of the training data differ in length" == refused(Samples(x[1:], y), WORDS).what


@pytest.mark.parametrize("y", [None, np.full((3, 4, 2), 0.25), np.array([-1.5, 9.0, 0.0]), np.zeros((3, 7))])
def test_a_model_without_classes_takes_any_targets(y: Any) -> None:
    """Targets of a regression may be missing, negative, fractional and of any shape; a classifier's may not."""
    data.check(Samples(np.zeros((3, 2)), y), "training", None)

    assert "training data" in refused(Samples(np.zeros((3, 2)), y), WORDS).what


@pytest.mark.parametrize(
    ("x", "y", "what", "found"),
    [
        (np.zeros((0, 2)), None, "the training data has no samples", "x of shape (0, 2)"),
        (np.array(1.0), None, "the training data has no samples", "x of shape ()"),
        (np.zeros((3, 0)), None, "the training data has no values in x", "x of shape (3, 0)"),
        (np.zeros((3, 2)), np.zeros((3, 0)), "the training data has no values in y", "y of shape (3, 0)"),
        (
            np.array([[1.0], [np.nan]], np.float16),
            None,
            "x of the training data holds a value that is no finite number",
            "1 such values, the first in sample 1",
        ),
        (
            np.zeros((3, 1)),
            np.array([0.0, np.inf, -np.inf]),
            "y of the training data holds a value that is no finite number",
            "2 such values, the first in sample 1",
        ),
        (
            np.array([[1], [None]]),
            None,
            "x of the training data is no array of numbers",
            "an array of type object and shape (2, 1)",
        ),
        (
            np.zeros((2, 1)),
            np.array(["yes", "no"]),
            "y of the training data is no array of numbers",
            "an array of type <U3 and shape (2,)",
        ),
        (np.zeros((2, 1)), iter([0, 1]), "y of the training data is no array", "a list_iterator"),
        (np.zeros((2, 1)), np.array(1), "the training data has no samples", "y of shape ()"),
        (
            np.zeros((2, 1)),
            np.zeros(3),
            "x and y of the training data differ in length",
            "2 samples, y of shape (3,)",
        ),
    ],
)
def test_what_is_no_data_is_refused(x: np.ndarray, y: Any, what: str, found: str) -> None:
    """Empty, ragged, textual, infinite or unequal arrays are errors that say which and where."""
    error = refused(Samples(x, y))

    assert (what, found) == (error.what, error.found)


def test_weights_are_checked_too() -> None:
    """A NaN among the sample weights is an error."""
    error = refused(Samples(np.zeros((2, 1)), None, np.array([1.0, np.nan])))

    assert "sample_weight of the training data holds a value that is no finite number" == error.what


def test_labels_as_text_are_told_how_to_become_ids() -> None:
    """Labels as strings are an error whose fix names the classes."""
    error = refused(Samples(np.zeros((2, 1)), np.array(["yes", "no"])), WORDS)

    assert "give class ids: the position of each label in my_model.classes" == error.fix


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (np.array([0, 3, 1]), "3 in sample 1, with 3 classes"),
        (np.array([0, 1, -1]), "-1 in sample 2, with 3 classes"),
        (np.array([0.5, 1, 1]), "0.5 in sample 0, with 3 classes"),
        (np.array([[[0, 1], [2, 5]]] * 3), "5 in sample 0, with 3 classes"),
        (np.eye(4)[:3], f"y of shape (3, 4), classes {list(WORDS)}"),
        (None, "x without y, for 3 classes"),
    ],
)
def test_labels_must_fit_the_classes(y: Any, found: str) -> None:
    """A label outside the classes, a column too many or no labels at all are an error for a classifier."""
    assert found == refused(Samples(np.zeros((3, 1)), y), WORDS).found


# Streams.


def test_an_iterator_that_is_no_generator_is_refused() -> None:
    """Keras takes generators and no other iterators; the error says what to return in its place."""
    error = refused(data.as_samples(iter([(np.zeros((2, 1)), np.zeros(2))])))

    assert "the training data comes from an iterator, which Keras doesn't take" == error.what
    assert "tf.data.Dataset or a keras.utils.PyDataset" in str(error.fix)


@pytest.mark.parametrize("x", [{}, "folder", object(), {1, 2}, None])
def test_what_is_neither_array_nor_stream_is_refused(x: object) -> None:
    """A dict of nothing, a path or anything else that Keras can't read is an error that names its type."""
    assert f"a {type(x).__name__}" == refused(data.as_samples(x)).found


def test_labels_beside_a_stream_are_refused() -> None:
    """Labels beside a stream would be lost, so they are an error."""
    assert "beside a stream" in refused(Samples(Batches(), np.zeros(2))).what


def test_a_stream_is_read_into_memory() -> None:
    """A stream's batches become one array each of samples and labels; a limit counts batches and reads no further."""
    stream = Batches((np.zeros((2, 3)), np.array([0, 1])), (np.ones((1, 3)), np.array([2]), np.ones(1)))

    whole, part = data.in_memory(Samples(stream)), data.in_memory(Samples(stream), 1)

    assert ((3, 3), [0, 1, 2]) == (whole.x.shape, whole.y.tolist())
    assert (2, [0, 1]) == (len(part), part.y.tolist())
    assert 3 == stream.read


def test_a_stream_may_have_no_labels() -> None:
    """Batches of samples alone give samples without labels."""
    assert data.in_memory(Samples(Batches(np.zeros((2, 3))))).y is None


@pytest.mark.parametrize(
    ("stream", "what"),
    [
        (Batches(), "gave no batch"),
        (Batches((np.zeros(3), np.array(1))), "doesn't give batches"),
        (Batches(np.array(3.0)), "doesn't give batches"),
        (Batches((np.zeros((3, 1)), np.zeros(2))), "doesn't give batches"),
        (Batches({"a": (np.zeros((3, 1)), np.zeros((3, 1)))}), "nests arrays"),
        (Batches((np.zeros((3, 1)), np.zeros((2, 1)))), "doesn't give batches"),
        (Batches(np.zeros((3, 1)), np.zeros((3, 2))), "don't fit together"),
        (Batches(np.full((3, 1), np.nan)), "no finite number"),
        (Batches(np.array([["a"]])), "no array of numbers"),
        (Batches(np.zeros((3, 1)), endless=True), "has no end"),
    ],
    ids=["empty", "unbatched", "scalar", "lengths", "nested", "parts", "shapes", "nan", "text", "endless"],
)
def test_a_broken_stream_is_refused(stream: Batches, what: str) -> None:
    """What can't be put together to samples is an error that says why."""
    with pytest.raises(DataError, match=what):
        data.in_memory(Samples(stream))


def test_an_endless_stream_is_read_up_to_its_limit() -> None:
    """With eval_steps_per_epoch a stream without an end is read as far as that."""
    assert 6 == len(data.in_memory(Samples(Batches(np.zeros((3, 1)), endless=True)), 2))


def test_samples_in_memory_stay() -> None:
    """Samples in memory stay as they are, whatever the limit of batches."""
    samples = numbered(3)

    assert samples is data.in_memory(samples, 1)


# Splitting.


@law
@given(st.integers(1, 200), st.floats(0.0, 1.0, exclude_max=True))
def test_a_split_loses_and_repeats_nothing(n: int, fraction: float) -> None:
    """Training and validation together are the samples, in their order; neither part is empty."""
    assume(fraction == 0.0 or 0 < int(n * (1.0 - fraction)) < n)

    training, validation = data.split_validation(numbered(n), fraction)

    parts = [training] if validation is None else [training, validation]
    assert list(range(n)) == [place for part in parts for place in part.y.tolist()]
    for part in parts:
        assert part.y.tolist() == part.x[:, 0].tolist() == part.weight.tolist() != []


def test_a_split_takes_the_last_samples() -> None:
    """As with Keras, the last samples validate."""
    training, validation = data.split_validation(numbered(10), 0.25)

    assert validation is not None
    assert ([0, 1, 2, 3, 4, 5, 6], [7, 8, 9]) == (training.y.tolist(), validation.y.tolist())


@pytest.mark.parametrize(
    ("n", "fraction", "subset"), [(1, 0.5, "training"), (9, 0.9, "training"), (3, 1e-17, "validation")]
)
def test_an_empty_part_is_refused(n: int, fraction: float, subset: str) -> None:
    """A split that leaves no sample for a part is an error that names it."""
    with pytest.raises(DataError) as caught:
        data.split_validation(numbered(n), fraction)

    assert f"validation_split leaves no sample for {subset}" == caught.value.what


@law
@given(
    st.lists(st.integers(0, 3), min_size=4, max_size=60),
    st.floats(0.05, 0.6),
    st.booleans(),
    st.none() | st.integers(0, 9),
)
def test_drawn_split_keeps_every_sample_once(y: list[int], fraction: float, stratify: bool, seed: int | None) -> None:
    """Whatever draws the split, each sample is in one of the parts, in order; the same seed draws the same."""
    whole = Samples(np.arange(len(y)), np.array(y))
    try:
        training, validation = data.split_validation(whole, fraction, stratify=stratify, seed=seed)
    except DataError:
        assume(False)
    assert validation is not None
    assert (sorted(training.x), sorted(validation.x)) == (training.x.tolist(), validation.x.tolist())
    assert list(range(len(y))) == sorted([*training.x, *validation.x])
    again = data.split_validation(whole, fraction, stratify=stratify, seed=seed)
    assert training.x.tolist() == again[0].x.tolist()
    if stratify:
        assert set(y) == set(training.y.tolist())
        for label, count in Counter(y).items():
            assert min(round(count * fraction), count - 1) == validation.y.tolist().count(label)


def test_stratified_split_has_each_class_of_sorted_samples() -> None:
    """Of sorted samples the last ones would be those of one class alone."""
    whole = Samples(np.arange(30), np.arange(30) // 10)
    _, last = data.split_validation(whole, 0.2)
    _, each = data.split_validation(whole, 0.2, stratify=True)
    _, drawn = data.split_validation(whole, 0.2, stratify=True, seed=1)
    assert last is not None
    assert each is not None
    assert drawn is not None
    assert ([24, 25, 26, 27, 28, 29], [8, 9, 18, 19, 28, 29]) == (last.x.tolist(), each.x.tolist())
    assert ([0, 0, 1, 1, 2, 2], True) == (drawn.y.tolist(), drawn.x.tolist() != each.x.tolist())


def test_split_by_class_needs_classes() -> None:
    """Several labels a sample name no class; a class of one sample each leaves nothing to validate by."""
    rows = np.array([[1, 1, 0], [0, 1, 1], [1, 0, 1], [1, 1, 1]])
    with pytest.raises(DataError, match="needs the class of each sample"):
        data.split_validation(Samples(np.arange(4), rows), 0.5, stratify=True)
    with pytest.raises(DataError, match="leaves no sample of any class"):
        data.split_validation(Samples(np.arange(4), np.arange(4)), 0.5, stratify=True)


def test_a_stream_cannot_be_split() -> None:
    """A validation_split of a stream, which Keras refuses too, is an error."""
    with pytest.raises(DataError, match="samples in memory"):
        data.split_validation(Samples(Batches()), 0.1)

    assert data.split_validation(Samples(Batches()), 0.0)[1] is None


# Dry runs.


@law
@given(ids)
def test_small_takes_ten_of_each_class(y: np.ndarray) -> None:
    """A dry run has the first ten samples of each class, in their order; a class may be missing."""
    picked = data.small(Samples(np.arange(len(y)), y), WORDS)

    assert {label: min(n, 10) for label, n in Counter(y.tolist()).items()} == Counter(picked.y.tolist())
    assert sorted(picked.x.tolist()) == picked.x.tolist()
    assert y[picked.x].tolist() == picked.y.tolist()
    for label in range(3):
        assert np.flatnonzero(y == label)[:10].tolist() == picked.x[picked.y == label].tolist()


@pytest.mark.parametrize("classes", [None, ()])
def test_small_takes_the_first_without_classes(classes: tuple[str, ...] | None) -> None:
    """A dry run of a model without classes has the first 64 samples."""
    assert list(range(64)) == data.small(numbered(100), classes).y.tolist()


def test_small_takes_the_first_of_several_labels() -> None:
    """Rows that name several classes have no class; the first samples are taken."""
    many = Samples(np.arange(100), np.ones((100, 3)))

    assert list(range(64)) == data.small(many, WORDS).x.tolist()


def test_small_cuts_a_dataset() -> None:
    """A dry run reads the first three batches of a tf.data.Dataset."""
    taken: list[int] = []
    stream = SimpleNamespace(element_spec=None, cardinality=lambda: -1, take=taken.append)

    assert data.small(Samples(stream), WORDS).x is None
    assert [3] == taken


# Labels.


@pytest.mark.parametrize(
    ("y", "expected"),
    [
        (np.array([2, 0, 1]), [2, 0, 1]),
        (np.array([[2], [0], [1]], np.uint8), [2, 0, 1]),
        (np.array([2.0, 0.0, 1.0], np.float32), [2, 0, 1]),
        (np.array([True, False, True]), [1, 0, 1]),
        (np.eye(3, dtype=np.uint8)[[2, 0, 1]], [2, 0, 1]),
        (np.array([[0.1, 0.9], [0.8, 0.2], [0.4, 0.6]], np.float16), [1, 0, 1]),
    ],
    ids=["ids", "column", "float", "bool", "one-hot", "soft"],
)
def test_labels_reads_every_form(y: np.ndarray, expected: list[int]) -> None:
    """Ids, a column of ids, one-hot and soft rows are class ids."""
    assert expected == data.labels(Samples(np.zeros((3, 1)), y)).tolist()


@pytest.mark.parametrize("y", [None, np.array([0.5, 1.0]), np.array([[1, 1], [0, 1]]), np.zeros((2, 2, 2))])
def test_targets_that_name_no_class_have_no_labels(y: Any) -> None:
    """Fractions, several labels a sample and pictures of labels are no class ids."""
    assert data.labels(Samples(np.zeros((2, 1)), y)) is None


# Descriptions.


def test_a_description_counts_and_digests() -> None:
    """The description has shape, type, the samples of each class and a digest of the content."""
    samples = Samples(np.zeros((3, 2), np.float32), np.array([0, 2, 2], np.uint8))

    assert {
        "kind": "arrays",
        "samples": 3,
        "x": "float32 (3, 2)",
        "y": "uint8 (3,)",
        "classes": {"yes": 1, "no": 0, "_unknown_": 2},
        "digest": data.content_digest(samples),
    } == data.describe(samples, WORDS, "unused")


def test_no_samples_and_streams_are_described() -> None:
    """A missing subset is none; a stream is described by its elements and the digest of what makes it."""
    assert {"kind": "none"} == data.describe(None, WORDS, "abc")
    expected = {"kind": "stream", "type": "Batches", "elements": "None", "digest": "abc"}
    assert expected == data.describe(Samples(Batches()), WORDS, "abc")


@law
@given(
    arrays(np.uint8, (4, 3), elements=st.integers(0, 9)),
    st.tuples(st.integers(0, 3), st.integers(0, 2)),
    st.sampled_from(["x", "y", "weight"]),
)
def test_the_digest_sees_every_element(values: np.ndarray, place: tuple[int, int], name: str) -> None:
    """One changed element of samples, labels or weights is another digest; a copy is not."""
    whole = {"x": values, "y": values + 1, "weight": values / 2}
    changed = whole[name].copy()
    changed[place] += 1

    before = data.content_digest(Samples(**whole))

    assert before == data.content_digest(Samples(**{key: np.asfortranarray(value) for key, value in whole.items()}))
    assert before != data.content_digest(Samples(**{**whole, name: changed}))


@pytest.mark.parametrize(
    "other",
    [
        Samples(np.zeros((2, 6), np.float32)),
        Samples(np.zeros((3, 4), np.int32)),
        Samples(np.zeros((3, 4), ">f4")),
        Samples(np.zeros((3, 4), np.float32), np.zeros(3)),
        Samples(np.zeros((3, 4), np.float32), None, np.zeros(3)),
    ],
    ids=["shape", "type", "byte order", "labels", "weights"],
)
def test_the_digest_sees_types_and_shapes(other: Samples) -> None:
    """The same bytes in another shape, of another type or in another role are another digest."""
    assert data.content_digest(Samples(np.zeros((3, 4), np.float32))) != data.content_digest(other)


# Calibration.


@law
@given(ids, st.integers(1, 60))
def test_calibration_is_balanced(y: np.ndarray, limit: int) -> None:
    """At most `limit` samples in their order; each class has as many as any other, or one less, or all that it has."""
    picked = data.calibration_samples(Samples(np.arange(len(y)), y), limit, WORDS)

    places = picked.astype(int)
    present, chosen = Counter(y.tolist()), Counter(y[places].tolist())
    assert min(limit, len(y)) == len(picked)
    assert sorted(set(places.tolist())) == places.tolist()
    assert np.float32 == picked.dtype
    if len(y) > limit:
        most = max(chosen.values())
        assert all(chosen[label] >= min(n, most - 1) for label, n in present.items())
    for label, n in chosen.items():
        assert np.flatnonzero(y == label)[:n].tolist() == [place for place in places if y[place] == label]


@law
@given(st.integers(1, 300), st.integers(1, 60))
def test_calibration_without_classes_comes_from_everywhere(n: int, limit: int) -> None:
    """Of samples without classes, which may be sorted, every part is seen."""
    places = data.calibration_samples(numbered(n), limit, None)[:, 0]

    assert min(n, limit) == len(places)
    assert 0 == places[0]
    steps = np.diff([*places, n])
    assert steps.min() >= 1
    assert steps.max() - steps.min() <= 1


def test_calibration_brings_images_to_float32() -> None:
    """uint8 images keep their values as float32."""
    picked = data.calibration_samples(Samples(np.full((2, 1), 255, np.uint8)), 10, None)

    assert ([[255.0], [255.0]], np.dtype(np.float32)) == (picked.tolist(), picked.dtype)


def test_calibration_reads_no_more_of_a_stream_than_it_needs() -> None:
    """Of a stream, endless or not, the first samples are taken, and no batch after them is read."""
    stream = Batches((np.arange(4.0)[:, None], np.zeros(4)), endless=True)

    picked = data.calibration_samples(Samples(stream), 6, WORDS)

    assert [0.0, 1.0, 2.0, 3.0, 0.0, 1.0] == picked[:, 0].tolist()
    assert 2 == stream.read


def test_calibration_with_nan_is_refused() -> None:
    """A NaN in a stream would make nonsense of every range, so it is an error."""
    with pytest.raises(DataError, match="x of the calibration data holds a value that is no finite number"):
        data.calibration_samples(Samples(Batches(np.full((2, 1), np.nan))), 10, None)
