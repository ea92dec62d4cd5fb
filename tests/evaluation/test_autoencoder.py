"""An auto-encoder as a detector: scores, results and files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import roc_auc_score

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation import autoencoder
from mltkbuild.evaluation.documents import DetectorResults
from mltkbuild.spec.scoring import mean_absolute_error, mean_squared_error

CLASSES = ("normal", "hum", "_knock")

law = settings(deadline=None, max_examples=40, database=None)


@st.composite
def scored(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Scores with ties, and labels of which some are normal and some aren't."""
    count = draw(st.integers(2, 40))
    labels = draw(arrays(np.int64, count, elements=st.integers(0, 2)))
    assume((labels == 0).any() and (labels != 0).any())
    return draw(arrays(np.int64, count, elements=st.integers(0, 12))) / 8, labels


# Scores.


def test_each_sample_has_a_score() -> None:
    """A sample's score is the error of its reconstruction alone."""
    x = np.array([[0.0, 0.0], [1.0, 3.0]], dtype=np.float32)

    assert [0.0, 5.0] == autoencoder.scores_of(x, np.zeros((2, 2)), mean_squared_error).tolist()
    assert [0.0, 2.0] == autoencoder.scores_of(x, np.zeros((2, 2)), mean_absolute_error).tolist()


def test_a_flat_reconstruction_gets_the_shape_of_its_sample() -> None:
    """An auto-encoder that ends in a Dense layer is compared pixel by pixel."""
    x = np.arange(8.0).reshape(2, 2, 2, 1)

    assert [0.0, 0.0] == autoencoder.scores_of(x, x.reshape(2, 4), mean_squared_error).tolist()


@pytest.mark.parametrize("shape", [(2, 3), (1, 4), (4, 2)])
def test_an_output_of_other_size_is_no_reconstruction(shape: tuple[int, ...]) -> None:
    """A model that returns fewer, more or other values than it got is an error that shows both shapes."""
    with pytest.raises(StageError, match="no reconstruction") as caught:
        autoencoder.scores_of(np.zeros((2, 4)), np.zeros(shape), mean_squared_error)

    assert f"samples of shape (2, 4), outputs of shape {shape}" == caught.value.found


@pytest.mark.parametrize(
    ("value", "found"),
    [
        (np.zeros(3), "ndarray of shape (3,)"),
        (None, "NoneType of shape ()"),
        ("0.5", "str of shape ()"),
        (float("nan"), "nan for sample 0"),
        (np.array([[-np.inf]]), "-inf for sample 0"),
    ],
)
def test_a_score_is_one_finite_number(value: object, found: str) -> None:
    """A scoring function that returns something else is an error that shows it."""
    returned: Any = value
    with pytest.raises(StageError) as caught:
        autoencoder.scores_of(np.zeros((2, 4)), np.zeros((2, 4)), lambda original, rebuilt: returned)

    assert found == caught.value.found


def test_a_score_may_be_an_array_of_one() -> None:
    """A scoring function may return what Keras or NumPy reduce to."""
    scores = autoencoder.scores_of(np.zeros((1, 4)), np.ones((1, 4)), lambda one, two: np.array([0.5], np.float32))  # type: ignore[arg-type,return-value]

    assert [0.5] == scores.tolist()


def test_no_samples_is_a_data_error() -> None:
    """An empty evaluation set is an error of the data."""
    with pytest.raises(DataError, match="no samples"):
        autoencoder.scores_of(np.zeros((0, 4)), np.zeros((0, 4)), mean_squared_error)


# Results.


def test_a_known_example() -> None:
    """Areas, thresholds and spreads of a small example are those worked out by hand."""
    scores, labels = np.array([0.1, 0.2, 0.4, 0.3, 0.5]), np.array([0, 0, 0, 1, 1])

    results = autoencoder.detector_results(scores, labels, ("normal", "abnormal"))

    assert (5, 0.8, 0.833333) == (results["n_samples"], results["overall_accuracy"], results["overall_roc_auc"])
    assert {"threshold": 0.3, "accuracy": 0.8, "fpr": 0.333333, "tpr": 1.0} == results["best_youden"]
    assert {"threshold": 0.5, "accuracy": 0.8, "fpr": 0.0, "tpr": 0.5} == results["best_accuracy"]
    assert 0.3 == results["threshold"]
    assert results["overall_roc"] == results["roc"]["abnormal"]
    stats = results["class_stats"]
    assert {"n": 2, "mean": 0.4, "std": 0.1, "min": 0.3, "max": 0.5} == {
        name: stats["abnormal"][name] for name in ("n", "mean", "std", "min", "max")
    }
    assert (0.833333, None) == (stats["abnormal"]["auc"], stats["normal"]["auc"])


def test_classes_are_compared_with_the_normal_one() -> None:
    """Each abnormal class has its own area, and all of them one together; a class without samples has none."""
    scores, labels = np.array([0.2, 0.3, 0.1, 0.9]), np.array([0, 0, 1, 2])

    results = autoencoder.detector_results(scores, labels, (*CLASSES, "squeal"))

    areas = {name: stats["auc"] for name, stats in results["class_stats"].items()}
    assert {"normal": None, "hum": 0.0, "_knock": 1.0, "squeal": None} == areas
    assert 0.5 == results["overall_roc_auc"]
    assert results["roc"]["squeal"] is None
    assert (0, None) == (results["class_stats"]["squeal"]["n"], results["class_stats"]["squeal"]["mean"])


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 0], "2 of class normal, 0 of"), ([1, 2], "0 of class normal, 2 of")]
)
def test_both_kinds_are_needed(labels: list[int], found: str) -> None:
    """Normal samples alone, or abnormal ones alone, are an error of the data that counts them."""
    with pytest.raises(DataError) as caught:
        autoencoder.detector_results(np.array([0.1, 0.2]), np.array(labels), CLASSES)

    assert str(caught.value.found).startswith(found)


@law
@given(scored())
def test_only_ranks_count(case: tuple[np.ndarray, np.ndarray]) -> None:
    """The overall area is scikit-learn's, and a rising function of the scores changes no area and no accuracy."""
    scores, labels = case

    results = autoencoder.detector_results(scores, labels, CLASSES)
    moved = autoencoder.detector_results(np.exp(scores) * 1e-6, labels, CLASSES)

    assert pytest.approx(roc_auc_score(labels != 0, scores), abs=1e-6) == results["overall_roc_auc"]
    for figure in ("overall_roc_auc", "overall_average_precision", "overall_accuracy"):
        assert results[figure] == moved[figure]


@law
@given(scored())
def test_the_threshold_keeps_its_promise(case: tuple[np.ndarray, np.ndarray]) -> None:
    """Scores at or above the threshold are as often right as the accuracy says."""
    scores, labels = case

    results = autoencoder.detector_results(scores, labels, CLASSES)

    for best in (results["best_youden"], results["best_accuracy"]):
        assert round(float(np.mean((scores >= best["threshold"]) == (labels != 0))), 6) == best["accuracy"]


@law
@given(scored(), st.sampled_from([1e-9, 1.0, 1e9]))
def test_the_histogram_counts_every_sample(case: tuple[np.ndarray, np.ndarray], unit: float) -> None:
    """Each class' counts sum to its samples, between rising edges."""
    scores, labels = case

    histogram = autoencoder.detector_results(scores * unit, labels, CLASSES)["histogram"]

    counts = [sum(counts) for counts in histogram["counts"].values()]
    assert np.bincount(labels, minlength=3).tolist() == counts
    assert np.all(np.diff(histogram["edges"]) > 0)


@pytest.mark.parametrize("scores", [[0.0, 0.0], [7.0, 7.0], [1.0, 1.0 + 2e-16], [1e-9, 1e3], [0.0, 1e-300]])
def test_odd_scores_have_a_histogram(scores: list[float], tmp_path: Path) -> None:
    """Equal scores, and scores over many powers of ten, are counted and drawn."""
    results = autoencoder.detector_results(np.array(scores), np.array([0, 1]), CLASSES[:2])
    autoencoder.write(tmp_path, "odd", results)

    assert 2 == sum(map(sum, results["histogram"]["counts"].values()))


# Files.

SUMMARY = """\
pump
====

samples                 4
overall accuracy   0.7500
ROC AUC            0.5000
average precision  0.7500

threshold of abnormal   at  accuracy     FPR     TPR
best accuracy          0.9    0.7500  0.0000  0.5000
best TPR - FPR         0.9    0.7500  0.0000  0.5000

class   n  mean   std  min  max     AUC
normal  2  0.25  0.05  0.2  0.3       -
hum     1   0.1     0  0.1  0.1  0.0000
_knock  1   0.9     0  0.9  0.9  1.0000

Mean to max are of scores. Overall accuracy is that of the best TPR - FPR.
"""


def evaluated(folder: Path) -> DetectorResults:
    scores, labels = np.array([0.2, 0.3, 0.1, 0.9]), np.array([0, 0, 1, 2])
    results = autoencoder.detector_results(scores, labels, CLASSES)
    autoencoder.write(folder, "pump", results)
    return results


def test_an_evaluation_is_written(tmp_path: Path) -> None:
    """Evaluating writes results, a summary, tables and pictures."""
    results = evaluated(tmp_path / "eval")

    written = {path.name: path for path in (tmp_path / "eval").iterdir()}
    assert {
        *("results.json", "summary.txt", "classes.csv", "curves.csv", "histogram.csv"),
        *("overall_roc.png", "overall_precision_vs_recall.png", "class_roc.png", "histogram.png"),
    } == set(written)
    assert results == json.loads(written["results.json"].read_text())
    assert SUMMARY == written["summary.txt"].read_text()


def test_tables_of_an_auto_encoder(tmp_path: Path) -> None:
    """Tables tell each class, the counts and the curves; what is undefined is an empty cell."""
    evaluated(tmp_path)

    lines = {path.stem: path.read_text().splitlines() for path in tmp_path.glob("*.csv")}
    assert "class,n,mean,std,min,max,auc,average_precision,threshold,accuracy" == lines["classes"][0]
    assert "normal,2,0.25,0.05,0.2,0.3,,,," == lines["classes"][1]
    assert "from,to,normal,hum,_knock" == lines["histogram"][0]
    assert 4 == sum(int(cell) for line in lines["histogram"][1:] for cell in line.split(",")[2:])
    assert ["all abnormal", "hum", "_knock"] == list(dict.fromkeys(line.split(",")[0] for line in lines["curves"][1:]))


def test_the_same_scores_give_the_same_bytes(tmp_path: Path) -> None:
    """Every file of an evaluation is byte-equal when it is written again."""
    evaluated(tmp_path / "first")
    evaluated(tmp_path / "second")

    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert "results.json" in first
    assert first == second
