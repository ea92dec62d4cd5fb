"""Rates over thresholds, and the tables that they go to."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mltkbuild.errors import StageError
from mltkbuild.evaluation import rates, tables
from mltkbuild.evaluation.documents import Curve

law = settings(deadline=None, max_examples=60, database=None)


@law
@given(arrays(np.bool_, 25), arrays(np.int64, 25, elements=st.integers(-9, 9)))
def test_rates_are_counts(positive: np.ndarray, scores: np.ndarray) -> None:
    """Rates, precision and accuracy are those that counting samples at or above each threshold gives."""
    assume(positive.any() and not positive.all())

    found = rates.rates_of(positive, scores.astype(float))

    assert found is not None
    assert np.isnan(found.precision[0])
    for place, threshold in enumerate(found.thresholds):
        said = scores >= threshold
        assert pytest.approx(np.mean(said[positive])) == found.tpr[place]
        assert pytest.approx(np.mean(said[~positive])) == found.fpr[place]
        assert pytest.approx(np.mean(said == positive)) == found.accuracy[place]
        if place:
            assert pytest.approx(np.mean(positive[said])) == found.precision[place]


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_kind_of_sample_has_no_rates(positive: list[bool]) -> None:
    """Without positive or without negative samples there is nothing to tell apart."""
    assert rates.rates_of(np.array(positive), np.array([0.0, 1.0])) is None


def test_the_first_threshold_is_above_any_score() -> None:
    """Large or negative scores, too, are all below the first threshold."""
    for scores in ([1e20, 2e20], [-2e20, -1e20], [0.0, 0.0]):
        found = rates.rates_of(np.array([False, True]), np.array(scores))
        assert found is not None
        assert max(scores) < found.thresholds[0]


def test_equally_good_thresholds_give_the_highest() -> None:
    """Of thresholds that are equally good the highest is chosen."""
    found = rates.rates_of(np.array([True, False, True, False]), np.array([4.0, 3.0, 2.0, 1.0]))

    assert found is not None
    assert 4.0 == found.most_accurate()["threshold"]
    assert 4.0 == found.most_telling()["threshold"]


def test_what_is_no_number_is_counted() -> None:
    """Values that aren't finite are counted in the error."""
    with pytest.raises(StageError) as caught:
        rates.require_finite(np.array([[1.0, np.nan], [np.inf, -np.inf]]))

    assert "3 of 4 values are NaN or infinite" == caught.value.found


def test_figures_are_rounded() -> None:
    """Figures keep 6 decimals or 6 significant digits, and what isn't finite is None."""
    assert (0.123457, None) == (rates.rounded(0.12345678), rates.rounded(float("nan")))
    assert (1.23457e-9, None) == (rates.significant(1.2345678e-9), rates.significant(float("inf")))


def test_a_curve_that_is_not_there_has_no_rows() -> None:
    """A curve gives a row a threshold, its absence none."""
    curve: Curve = {"fpr": [0.0], "tpr": [0.5], "precision": [None], "thresholds": [0.9]}

    assert [("yes", 0.9, 0.0, 0.5, None)] == list(rates.curve_rows("yes", curve))
    assert [] == list(rates.curve_rows("yes", None))


def test_a_table_survives_odd_names(tmp_path: Path) -> None:
    """Names with commas, quotes or foreign scripts are read back as they were, a break is shown; None is empty."""
    rows = [["a,b", 'say "yes"', "two\nlines", "日本"], ["", "1.5", "", "x"]]

    tables.write_csv(tmp_path / "a.csv", list("abcd"), [rows[0], [None, 1.5, None, "x"]])

    with (tmp_path / "a.csv").open(encoding="utf-8", newline="") as file:
        assert [list("abcd"), ["a,b", 'say "yes"', r"two\nlines", "日本"], rows[1]] == list(csv.reader(file))
    assert b"\r" not in (tmp_path / "a.csv").read_bytes()


def test_json_refuses_what_it_lacks(tmp_path: Path) -> None:
    """NaN in a document is an error, and no file is written."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        tables.write_json(tmp_path / "a.json", {"a": float("nan")})

    assert not (tmp_path / "a.json").exists()


def test_tables_are_aligned() -> None:
    """The first column is to the left, others are to the right, and no line ends in a space."""
    assert ["a     bb", "long   1", "x"] == tables.aligned([["a", "bb"], ["long", "1"], ["x", ""]])
    assert ("-", "0.5000") == (tables.figure_text(None), tables.figure_text(0.5))
