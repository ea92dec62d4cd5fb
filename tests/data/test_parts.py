"""Several arrays as one value: told from lists of samples, and brought into a model's order."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data import parts
from mltkbuild.data import samples as data
from mltkbuild.data.samples import Samples
from mltkbuild.errors import DataError

law = settings(deadline=None, max_examples=50, database=None)
X, WIDE, IDS = np.zeros((9, 4)), np.ones((9, 6)), np.arange(9) % 3
SAME = np.full((9, 4), 2.0)

SEVERAL: dict[str, tuple[Any, Any]] = {
    "a tuple": ((X, WIDE), IDS),
    "a tuple of equal shapes": ((X, SAME), IDS),
    "a list": ([X, WIDE], IDS),
    "a list of equal shapes": ([X, SAME], IDS),
    "a dict": ({"left": X, "right": WIDE}, IDS),
    "lists on both sides": ([X, SAME], [IDS, IDS.astype(float)]),
    "a list beside a dict": ([X, SAME], {"kind": IDS, "place": X}),
    "a tuple without targets": ((X, WIDE), None),
}
ONE: dict[str, tuple[Any, Any]] = {
    "a list of samples": (list(X), IDS),
    "a list of samples without targets": (list(X), None),
    "a list of samples and one-hot rows": (list(X), list(np.eye(9, 4))),
    "numbers": ([[1.0, 2.0], [3.0, 4.0]], [0, 1]),
    "as many values as samples": (list(np.eye(9)), IDS),
    "an array": (X, IDS),
}


@pytest.mark.parametrize("name", SEVERAL)
def test_arrays_an_input_stay_apart(name: str) -> None:
    """Each keeps its rows, and the samples are as many as the rows."""
    samples = data.as_samples(*SEVERAL[name])

    assert (9, True, False) == (len(samples), parts.are_several(samples.x), samples.is_stream)
    data.check(samples, "training", None)
    given_ = SEVERAL[name][0]
    expected = [array.shape for array in (given_.values() if isinstance(given_, dict) else given_)]
    assert expected == [array.shape for array in parts.by_name(samples.x).values()]


@pytest.mark.parametrize("name", ONE)
def test_a_list_of_samples_becomes_one_array(name: str) -> None:
    """What has one entry a sample is stacked."""
    x, y = ONE[name]
    samples = data.as_samples(x, y)

    assert isinstance(samples.x, np.ndarray)
    assert len(x) == len(samples)


def test_both_sides_may_be_several() -> None:
    """Targets are told from a list of labels likewise; weights too."""
    samples = data.as_samples((X, WIDE), {"kind": IDS, "place": WIDE}, {"kind": np.ones(9), "place": np.ones(9)})

    expected = ["x[0]", "x[1]", "y['kind']", "y['place']", "sample_weight['kind']", "sample_weight['place']"]
    assert expected == list(samples.arrays)


@law
@given(st.integers(2, 40), st.floats(0.1, 0.9), st.booleans())
def test_a_split_keeps_the_parts_of_a_sample_together(n: int, fraction: float, named: bool) -> None:
    """Row i of each array is of sample i, before and behind the cut."""
    left, right = np.arange(n), np.arange(n) * 2
    given_ = {"a": left, "b": right} if named else (left, right)
    samples = Samples(given_, (left * 3, right))
    if int(n * (1 - fraction)) in (0, n):
        return
    first, second = data.split_validation(samples, fraction)

    assert second is not None
    for part in (first, second):
        one, other = parts.by_name(part.x).values()
        assert np.array_equal(one * 2, other)
        assert np.array_equal(one * 3, part.y[0])
    assert n == len(first) + len(second)


BROKEN: dict[str, tuple[Any, Any, str]] = {
    "lengths": ((X, WIDE[:5]), None, "differ in length"),
    "a value": ({"left": X, "right": np.full((9, 2), np.nan)}, None, r"x\['right'\] .* no finite number"),
    "text": ((X, np.array(["a"] * 9)), None, r"x\[1\] .* no array of numbers"),
    "targets": (X, {"kind": IDS[:4], "place": IDS}, r"x and y\['kind'\] .* differ in length"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_an_array_that_is_wrong_is_named(name: str) -> None:
    """By its place or its name, as people write it."""
    x, y, told = BROKEN[name]
    with pytest.raises(DataError, match=told):
        data.check(Samples(x, y), "training", None)


def test_a_description_has_each_array_and_a_digest_of_all() -> None:
    """One changed element of any array is seen, and names count."""
    described = data.describe(Samples({"a": X, "b": WIDE}, (IDS, X)), None, "")
    other = data.describe(Samples({"a": X, "c": WIDE}, (IDS, X)), None, "")

    assert ("float64 (9, 4)", "float64 (9, 6)") == (described["x['a']"], described["x['b']"])
    assert ("int64 (9,)", 9) == (described["y[0]"], described["samples"])
    assert described["digest"] != other["digest"]


@law
@given(st.permutations(["a", "b", "c"]))
def test_names_mean_the_same_in_any_order(order: list[str]) -> None:
    """A dict is brought into the model's order, whatever its own."""
    arrays = {name: np.full(2, place) for place, name in enumerate(("a", "b", "c"))}
    found = parts.in_order({name: arrays[name] for name in order}, ["a", "b", "c"], "input", sorted_names=True)

    assert [0, 1, 2] == [int(array[0]) for array in found]


UNFIT: dict[str, tuple[Any, str]] = {
    "one for two": (X, "one array of shape (9, 4); the model's inputs: a, b"),
    "three for two": ((X, X, X), "3 arrays"),
    "another name": ({"a": X, "z": X}, "a, z; the model's inputs: a, b"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_does_not_fit_is_told_with_the_names(name: str) -> None:
    """The fix is a dict by the model's own names."""
    value, found = UNFIT[name]
    with pytest.raises(DataError) as caught:
        parts.in_order(value, ["a", "b"], "input")

    assert found in str(caught.value.found)
    assert "{'a': ..., 'b': ...}" in str(caught.value.fix)


def test_nothing_is_guessed_where_order_is_that_of_the_alphabet() -> None:
    """A model whose inputs are a dict takes no tuple, which Keras would sort in silence."""
    with pytest.raises(DataError, match="nothing tells which array"):
        parts.in_order((X, X), ["a", "b"], "input", sorted_names=True)


def test_an_output_may_have_no_targets() -> None:
    """A dict may leave out an output that has no loss, but not all of them."""
    assert [None, X] == parts.in_order({"b": X}, ["a", "b"], "output", may_lack=True)
    with pytest.raises(DataError, match="nothing for the model's output a"):
        parts.in_order({"z": X}, ["a", "b"], "output", may_lack=True)


def test_calibration_takes_the_same_samples_of_each_input() -> None:
    """Evenly from everywhere, row by row."""
    count = np.arange(100)
    left, right = data.calibration_samples(Samples((count, count * 2)), 10, None)

    assert np.array_equal(left * 2, right)
    assert (np.float32, 10) == (left.dtype, len(left))
