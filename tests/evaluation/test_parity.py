"""The float model's answers beside those of its `.tflite`."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation import parity, parity_files

STEP = 1 / 256
WORDS = ("yes", "no", "_unknown_")

law = settings(deadline=None, max_examples=60, database=None)
outputs = arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(0, 1))


@law
@given(outputs, st.sampled_from([0.0, STEP]))
def test_a_model_agrees_with_itself(exact: np.ndarray, scale: float) -> None:
    """Equal outputs have the same answers and no difference."""
    found = parity.compare(exact, exact, scale=scale, classes=WORDS)

    assert 1.0 == found.agreement
    assert ((), 0.0, 0.0, 0.0) == (found.parted, found.largest, found.mean, found.percentile_99)
    assert (exact.size, *[0] * 9) == found.histogram


@law
@given(outputs)
def test_rounding_makes_half_a_step(exact: np.ndarray) -> None:
    """What is rounded to the nearest step of an unbounded range is at most half an LSB away."""
    found = parity.compare(exact, np.rint(exact / STEP) * STEP, scale=STEP)

    assert found.largest_lsb is not None
    assert found.largest_lsb <= 0.5 + 1e-9


@law
@given(arrays(np.float64, (12, 2, 3), elements=st.floats(0, 1)), st.randoms(use_true_random=False))
def test_counts_add_up(both: np.ndarray, random: Any) -> None:
    """The histogram counts every value, those who part and those who agree are all, and order means nothing."""
    exact, other = both[:, 0], both[:, 1]
    order = list(range(12))
    random.shuffle(order)

    found = parity.compare(exact, other, scale=STEP, classes=WORDS)
    moved = parity.compare(exact[order], other[order], scale=STEP, classes=WORDS)

    assert 36 == sum(found.histogram)
    assert pytest.approx(12 - len(found.parted)) == 12 * (found.agreement or 0.0)
    assert found.mean <= found.largest
    assert found.percentile_99 <= found.largest
    assert sorted(found.parted) == sorted(order[place] for place in moved.parted)
    assert (found.largest, found.histogram) == (moved.largest, moved.histogram)


def example() -> parity.Parity:
    exact = np.array([[0.5, 0.25, 0.25], [0.375, 0.5, 0.125], [0.0, 0.0, 1.0]])
    other = np.array([[0.5, 0.25, 0.25], [0.5, 0.375, 0.125], [0.0, 0.0, 255 / 256]])
    return parity.compare(exact, other, scale=STEP, classes=WORDS, labels=np.array([0, 1, 2]))


def test_a_known_example() -> None:
    """Agreement, differences and the samples that part are those worked out by hand."""
    found = example()

    assert (3, (1,), 0.125, 32.0) == (found.samples, found.parted, found.largest, found.largest_lsb)
    assert pytest.approx(2 / 3) == found.agreement
    assert pytest.approx((0.25 + STEP) / 9) == found.mean
    assert parity.Row(1, "no", ("no", "yes"), (0.5, 0.5), 0.125, True) == found.rows[0]
    assert [1, 2, 0] == [row.sample for row in found.rows]
    assert (6, 1, 0, 0, 0, 0, 2, 0, 0, 0) == found.histogram


def test_one_unit_answers_by_a_threshold() -> None:
    """A sigmoid says the second class above 0.5, a logit above 0."""
    for middle in (0.5, 0.0):
        wide = 1.0 if middle else 4.0
        exact = middle + wide * np.array([[-0.3], [0.01], [0.4]])
        other = middle + wide * np.array([[-0.3], [-0.01], [0.4]])

        found = parity.compare(exact, other, scale=STEP, classes=("shut", "open"))

        assert (1,) == found.parted
        assert ("open", "shut") == (found.rows[0].answers or ())


def test_a_model_without_classes_has_differences_alone() -> None:
    """A regression's or auto-encoder's outputs have no answers, and parted samples neither."""
    found = parity.compare(np.zeros((2, 4, 4, 1)), np.full((2, 4, 4, 1), STEP), scale=STEP)

    assert (None, (), 1.0) == (found.agreement, found.parted, found.largest_lsb)
    assert (None, None, None, False) == (
        found.rows[0].label,
        found.rows[0].answers,
        found.rows[0].scores,
        found.rows[0].parts,
    )


def test_the_largest_differences_are_listed() -> None:
    """Of many samples those with the largest differences are told, the largest first."""
    found = parity.compare(np.zeros((50, 1)), np.arange(50.0)[:, None], scale=0.0)

    assert list(range(49, 49 - parity.LARGEST, -1)) == [row.sample for row in found.rows]


def test_a_float_output_has_no_steps() -> None:
    """Without steps differences are told in units alone, and binned by powers of ten."""
    found = parity.compare(np.zeros((1, 3)), np.array([[0.0, 1e-5, 0.5]]), scale=0.0)

    document = parity_files.as_json(found)
    assert (None, None) == (document["largest_difference_lsb"], document["mean_difference_lsb"])
    assert "output" == document["histogram"]["unit"]
    assert {0.0: 1, 1e-5: 1, None: 1} == {
        end: count
        for end, count in zip(document["histogram"]["up_to"], document["histogram"]["counts"], strict=True)
        if count
    }


@pytest.mark.parametrize(
    ("exact", "other", "classes", "text"),
    [
        (np.zeros((2, 3)), np.zeros((2, 2)), None, "different shapes"),
        (np.zeros((2, 3)), np.full((2, 3), np.nan), None, "aren't numbers"),
        (np.full((2, 3), np.inf), np.zeros((2, 3)), None, "aren't numbers"),
        (np.zeros((2, 4)), np.zeros((2, 4)), WORDS, "doesn't fit its classes"),
    ],
)
def test_what_cannot_be_compared_is_refused(exact: Any, other: Any, classes: Any, text: str) -> None:
    """Outputs of different shapes, NaN, and outputs that don't fit the classes are errors."""
    with pytest.raises(StageError, match=text):
        parity.compare(exact, other, scale=STEP, classes=classes)


def test_no_samples_is_a_data_error() -> None:
    """An empty evaluation set is an error of the data."""
    with pytest.raises(DataError, match="no samples"):
        parity.compare(np.zeros((0, 3)), np.zeros((0, 3)), scale=STEP)


@law
@given(arrays(np.float32, (23, 2, 3), elements=st.floats(0, 1, width=32)), st.integers(1, 23))
def test_batches_come_to_what_all_at_once_do(both: np.ndarray, size: int) -> None:
    """However the samples come, the figures and the listed samples are the same."""
    exact, other = both[:, 0], both[:, 1]
    comparison = parity.Comparison(STEP)
    for start in range(0, 23, size):
        comparison.add(exact[start : start + size], other[start : start + size])
    found, whole = comparison.result(), parity.compare(exact, other, scale=STEP)

    assert pytest.approx(whole.mean) == found.mean
    assert whole == replace(found, mean=whole.mean)


def test_the_percentile_of_millions_is_rounded_up_a_little() -> None:
    """Beyond a million values they are counted in bins, whose upper edge is told."""
    values = np.random.default_rng(1).random((3000, 500)).astype(np.float32)
    found = parity.compare(values, np.zeros_like(values), scale=0.0)

    exact = float(np.percentile(values, 99))
    assert exact <= found.percentile_99 <= exact * 1.0006
    assert 0.0 == parity.compare(values, values, scale=0.0).percentile_99


# Files.

TEXT = """\
kws: Keras and .tflite
======================

samples compared            3
answers that agree          2 (66.67%)
largest difference          0.125 (32.00 LSB)
mean difference             0.0282118 (7.22 LSB)
99th percentile difference  0.125 (32.00 LSB)

difference, LSB  values
0                     6
1                     1
17 to 32              2

samples whose answers part  true  float   score  .tflite   score
1                             no     no  0.5000      yes  0.5000
"""


def test_a_comparison_is_written(tmp_path: Path) -> None:
    """A comparison is a document, a text, a table and a picture."""
    parity_files.write(tmp_path / "eval", "kws: Keras and .tflite", {"kind": example()})

    written = {path.name: path for path in (tmp_path / "eval").iterdir()}
    assert {"parity.json", "parity.txt", "parity.csv", "parity.png"} == set(written)
    assert parity_files.as_json(example()) == json.loads(written["parity.json"].read_text())
    assert TEXT == written["parity.txt"].read_text()
    header, *rows = csv.reader(written["parity.csv"].read_text().splitlines())
    assert list(parity_files.COLUMNS) == header
    assert ["0", "1", "no", "no", "0.5", "yes", "0.5", "0.125", "32.0", "1"] == rows[0]
    assert 3 == len(rows)


def test_several_outputs_are_told_one_by_one(tmp_path: Path) -> None:
    """Each output has its document, its section and its rows."""
    other = parity.compare(np.zeros((2, 4)), np.ones((2, 4)), scale=0.0)

    parity_files.write(tmp_path, "two", {"kind": example(), "place": other})

    document = json.loads((tmp_path / "parity.json").read_text())
    named = [{**parity_files.as_json(one), "output": name} for name, one in (("kind", example()), ("place", other))]
    assert named == document["outputs"]
    assert 0.666667 == document["agreement"]
    assert "two, output place\n=================\n" in (tmp_path / "parity.txt").read_text()
    rows = list(csv.DictReader((tmp_path / "parity.csv").read_text().splitlines()))
    assert ["kind", "kind", "kind", "place", "place"] == [row["output"] for row in rows]
    assert ("", "") == (rows[-1]["label"], rows[-1]["difference_lsb"])


@pytest.mark.parametrize("count", [1, 30])
def test_any_number_of_samples_is_written(count: int, tmp_path: Path) -> None:
    """One parted sample, or more than the text holds, are written."""
    exact = np.tile([[0.9, 0.1]], (count, 1))

    compared = parity.compare(exact, exact[:, ::-1], scale=STEP, classes=("a", "b"))
    parity_files.write(tmp_path, "kws", {"kind": compared})

    assert count == len((tmp_path / "parity.csv").read_text().splitlines()) - 1
    assert (count > parity.LARGEST) == ("and 10 more in parity.csv" in (tmp_path / "parity.txt").read_text())


def test_the_same_comparison_gives_the_same_bytes(tmp_path: Path) -> None:
    """Every file is byte-equal when it is written again."""
    parity_files.write(tmp_path / "first", "kws", {"kind": example()})
    parity_files.write(tmp_path / "second", "kws", {"kind": example()})

    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert "parity.csv" in first
    assert first == second


@pytest.mark.parametrize(("share", "expected"), [(1.0, "100%"), (0.99999, "99.99%"), (0.5, "50.00%")])
def test_all_agree_only_if_all_do(share: float, expected: str) -> None:
    """100 % agreement is told only if no sample parts."""
    assert expected == parity_files._share(share)
