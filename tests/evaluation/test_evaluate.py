"""Predictions, labels, results and the files they go to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation import evaluate
from mltkbuild.evaluation.documents import Results

YES_NO = ("yes", "no")
WORDS = ("yes", "no", "_unknown_")

law = settings(deadline=None, max_examples=60, database=None)


@st.composite
def classified(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray, tuple[str, ...]]:
    """Labels, scores with many ties, and class names."""
    n_classes = draw(st.integers(2, 5))
    n_samples = draw(st.integers(1, 40))
    labels = draw(arrays(np.int64, n_samples, elements=st.integers(0, n_classes - 1)))
    eighths = draw(arrays(np.int64, (n_samples, n_classes), elements=st.integers(0, 8)))
    return labels, eighths / 8, tuple(f"class {place}" for place in range(n_classes))


def perfect(labels: list[int], n_classes: int) -> np.ndarray:
    return np.eye(n_classes)[labels]


# Labels and scores.


@pytest.mark.parametrize(
    "y",
    [
        np.array([2, 0, 1]),
        np.array([[2], [0], [1]], dtype=np.uint8),
        np.array([2.0, 0.0, 1.0], dtype=np.float32),
        np.array([[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
        np.array([[0.1, 0.1, 0.8], [0.9, 0.1, 0.0], [0.2, 0.6, 0.2]]),
    ],
    ids=["ids", "column", "float ids", "one-hot", "soft"],
)
def test_labels_of_reads_every_form(y: np.ndarray) -> None:
    """One-hot rows, soft rows, flat ids and a column of ids mean the same classes."""
    labels = evaluate.labels_of(y, 3)

    assert [2, 0, 1] == labels.tolist()
    assert np.int64 == labels.dtype


def test_labels_of_reads_a_binary_column() -> None:
    """A float column of zeros and ones holds the ids of two classes."""
    assert [0, 1, 1] == evaluate.labels_of(np.array([[0.0], [1.0], [1.0]]), 2).tolist()


@pytest.mark.parametrize(
    ("y", "found"),
    [
        (np.array([0, 3]), "3 for 3 classes"),
        (np.array([0, -1]), "-1 for 3 classes"),
        (np.array([0.5]), "0.5 for 3 classes"),
        (np.array([np.nan]), "nan for 3 classes"),
        (np.array([[1, 0, 0], [1, 1, 0]]), "row 1: [1, 1, 0]"),
        (np.array([[0, 0, 0]]), "row 0: [0, 0, 0]"),
        (np.array([[0.9, 0.8, 0.0]]), "row 0: [0.9, 0.8, 0.0]"),
        (np.array([[3.0, -1.0, -1.0]]), "row 0: [3.0, -1.0, -1.0]"),
        (np.zeros((2, 4)), "float64 of shape (2, 4) for 3 classes"),
        (np.array(["yes"]), "<U3 of shape (1,) for 3 classes"),
    ],
)
def test_labels_of_refuses_what_names_no_class(y: np.ndarray, found: str) -> None:
    """A target that isn't exactly one of the classes is an error that shows it."""
    with pytest.raises(DataError) as caught:
        evaluate.labels_of(y, 3)

    assert found == caught.value.found


@pytest.mark.parametrize(
    ("y", "width", "expected"),
    [
        (np.eye(3)[[2, 0]], 3, [2, 0]),
        (np.array([2, 0]), 3, [2, 0]),
        (np.array([[2.0], [0.0]]), 3, [2, 0]),
        (np.array([True, False]), 1, [1, 0]),
        (np.array([[0.0], [1.0]]), 1, [0, 1]),
        (np.array([[0.1, 0.9], [0.2, 0.8]]), 2, None),
        (np.array([[1, 1, 0], [0, 0, 1]]), 3, None),
        (np.random.default_rng(1).random((6, 640)), 640, None),
        (np.array([0.5, 1.0]), 1, None),
        (np.array([0, 3]), 3, None),
        (np.array([0, 2]), 1, None),
        (np.zeros((2, 4)), 3, None),
        (np.zeros((0, 3)), 3, None),
    ],
)
def test_targets_say_whether_they_are_classes(y: np.ndarray, width: int, expected: list[int] | None) -> None:
    """One-hot rows and whole numbers below the output's width do; other rows and numbers don't."""
    found = evaluate.ids_of(y, width)

    assert expected == (None if found is None else found.tolist())


def test_scores_of_completes_a_sigmoid() -> None:
    """One unit p for two classes means 1 - p for the first and p for the second."""
    assert [[0.75, 0.25], [0.0, 1.0]] == evaluate.scores_of(np.array([[0.25], [1.0]]), 2).tolist()
    assert [[0.75, 0.25]] == evaluate.scores_of(np.array([0.25]), 2).tolist()


def test_scores_of_takes_probabilities_as_they_are() -> None:
    """Scores within [0, 1] stay, even if rounding to int8 took their sum off 1."""
    predictions = np.array([[0.5, 0.25, 0.2421875], [0.0, 0.99609375, 0.0]])

    assert predictions.tolist() == evaluate.scores_of(predictions, 3).tolist()


def test_scores_of_turns_binary_logits_into_probabilities() -> None:
    """A single unit outside [0, 1] is a logit: zero means even odds."""
    scores = evaluate.scores_of(np.array([[0.0], [-3.0], [800.0]]), 2)

    assert [0.5, 0.5] == scores[0].tolist()
    assert 0.047426 == round(scores[1, 1], 6)
    assert [0.0, 1.0] == scores[2].tolist()


def test_scores_of_drops_axes_of_length_one() -> None:
    """A head that ends in a 1 x 1 convolution has scores too."""
    assert (5, 3) == evaluate.scores_of(np.zeros((5, 1, 1, 3)), 3).shape


@pytest.mark.parametrize("shape", [(4, 2), (4,), (4, 1), (4, 3, 1), (4, 2, 3), ()])
def test_scores_of_refuses_another_width(shape: tuple[int, ...]) -> None:
    """Predictions that aren't one value per class are an error."""
    with pytest.raises(StageError, match="doesn't fit its classes"):
        evaluate.scores_of(np.zeros(shape), 3)


@law
@given(arrays(np.float32, (7, 4), elements=st.floats(-100, 100, width=32)))
def test_scores_of_keeps_the_winner(predictions: np.ndarray) -> None:
    """Logits or not, scores lie in [0, 1] and each row's largest prediction has its largest score."""
    scores = evaluate.scores_of(predictions, 4)

    winners = predictions.argmax(axis=1)
    assert scores.max(axis=1).tolist() == scores[np.arange(7), winners].tolist()
    assert scores.min() >= -1e-3
    assert scores.max() <= 1 + 1e-3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_scores_must_be_numbers(bad: float) -> None:
    """A NaN or an infinite prediction is an error, for a classifier and otherwise."""
    predictions = np.array([[0.5, 0.5], [bad, 0.5]])
    expected = "1 of 4 values are NaN or infinite"

    for call in (
        lambda: evaluate.scores_of(predictions, 2),
        lambda: evaluate.classifier_results(np.array([0, 1]), predictions, YES_NO),
    ):
        with pytest.raises(StageError) as caught:
            call()
        assert expected == caught.value.found


# Classifiers.


def test_a_perfect_classifier_scores_one_everywhere() -> None:
    """Every figure of a perfect classifier is 1."""
    labels = [0, 1, 2, 2, 1]

    results = evaluate.classifier_results(np.array(labels), perfect(labels, 3), WORDS)

    ones = dict.fromkeys(WORDS, 1.0)
    assert 5 == results["n_samples"]
    assert 1.0 == results["overall_accuracy"]
    assert [[1, 0, 0], [0, 2, 0], [0, 0, 2]] == results["confusion_matrix"]
    for figure in ("class_accuracies", "precision", "recall", "f1", "roc_auc"):
        assert ones == results[figure], figure
    assert 1.0 == results["roc_auc_avg"]


def test_a_useless_classifier_ranks_like_chance() -> None:
    """Equal scores for all give AUC 0.5, and a class that is never predicted has no precision."""
    results = evaluate.classifier_results(np.array([0, 0, 0, 1]), np.full((4, 2), 0.5), YES_NO)

    assert 0.75 == results["overall_accuracy"]
    assert {"yes": 0.5, "no": 0.5} == results["roc_auc"]
    assert {"yes": 0.75, "no": None} == results["precision"]
    assert {"yes": 1.0, "no": 0.0} == results["recall"]
    assert {"yes": 0.857143, "no": 0.0} == results["f1"]


def test_a_known_example() -> None:
    """Counts, rates and the curve of a small example are those worked out by hand."""
    scores = np.array([[0.9, 0.1], [0.6, 0.4], [0.65, 0.35], [0.2, 0.8]])

    results = evaluate.classifier_results(np.array([0, 0, 1, 1]), scores, YES_NO)

    assert [[2, 0], [1, 1]] == results["confusion_matrix"]
    assert {"yes": 0.666667, "no": 1.0} == results["precision"]
    assert {"yes": 0.75, "no": 0.75} == results["roc_auc"]
    assert {
        "fpr": [0.0, 0.0, 0.5, 0.5, 1.0],
        "tpr": [0.0, 0.5, 0.5, 1.0, 1.0],
        "precision": [None, 1.0, 0.5, 0.666667, 0.5],
        "thresholds": [1.9, 0.9, 0.65, 0.6, 0.2],
    } == results["roc"]["yes"]


def test_a_missing_class_has_no_figures() -> None:
    """A class without samples gives None, not an exception, even if it was predicted."""
    scores = np.array([[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])

    results = evaluate.classifier_results(np.array([0, 1, 1]), scores, WORDS)

    for figure in ("class_accuracies", "precision", "recall", "f1", "roc", "roc_auc"):
        assert results[figure]["_unknown_"] is None, figure
    assert [[1, 0, 0], [0, 1, 1], [0, 0, 0]] == results["confusion_matrix"]
    assert (results["roc_auc"]["yes"] + results["roc_auc"]["no"]) / 2 == results["roc_auc_avg"]


def test_a_single_class_has_accuracy_but_no_curve() -> None:
    """With samples of one class only there is nothing to rank."""
    results = evaluate.classifier_results(np.array([1, 1]), np.array([[0.4, 0.6], [0.7, 0.3]]), YES_NO)

    assert {"yes": None, "no": 0.5} == results["class_accuracies"]
    assert {"yes": None, "no": None} == results["roc_auc"]
    assert results["roc_auc_avg"] is None


@pytest.mark.parametrize(
    ("labels", "shape", "classes"),
    [([0, 1], (3, 2), YES_NO), ([0, 1], (2, 3), YES_NO), ([0, 2], (2, 2), YES_NO), ([0, 1], (2, 2), ("yes", "yes"))],
    ids=["samples", "columns", "label", "names"],
)
def test_what_does_not_fit_is_refused(labels: list[int], shape: tuple[int, int], classes: tuple[str, ...]) -> None:
    """Labels, scores and class names of different numbers, or a name twice, are an error."""
    with pytest.raises(StageError, match="don't fit together"):
        evaluate.classifier_results(np.array(labels), np.zeros(shape), classes)


def test_no_samples_is_a_data_error() -> None:
    """An empty evaluation set is an error of the data."""
    with pytest.raises(DataError, match="no samples"):
        evaluate.classifier_results(np.zeros(0, int), np.zeros((0, 2)), YES_NO)


@law
@given(classified())
def test_the_confusion_matrix_counts_every_sample(case: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    """The confusion matrix sums to n, its rows to the samples of a class, and its trace over n is the accuracy."""
    labels, scores, classes = case

    results = evaluate.classifier_results(labels, scores, classes)

    matrix = np.array(results["confusion_matrix"])
    assert len(labels) == matrix.sum()
    assert np.bincount(labels, minlength=len(classes)).tolist() == matrix.sum(axis=1).tolist()
    assert round(np.trace(matrix) / len(labels), 6) == results["overall_accuracy"]


@law
@given(classified())
def test_the_roc_rises_and_its_area_is_that_of_scikit_learn(
    case: tuple[np.ndarray, np.ndarray, tuple[str, ...]],
) -> None:
    """Each curve goes monotonously from (0, 0) to (1, 1), and its area is `roc_auc_score` within the rounding."""
    labels, scores, classes = case

    results = evaluate.classifier_results(labels, scores, classes)

    for place, name in enumerate(classes):
        positive = labels == place
        curve = results["roc"][name]
        assert (curve is None) == (len(set(positive.tolist())) == 1)
        if curve is None:
            continue
        assert sorted(curve["fpr"]) == curve["fpr"]
        assert sorted(curve["tpr"]) == curve["tpr"]
        assert sorted(curve["thresholds"], reverse=True) == curve["thresholds"]
        assert (0.0, 0.0, 1.0, 1.0) == (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1])
        assert pytest.approx(roc_auc_score(positive, scores[:, place]), abs=1e-6) == results["roc_auc"][name]


@law
@given(classified(), st.randoms(use_true_random=False))
def test_the_order_of_samples_means_nothing(case: tuple[np.ndarray, np.ndarray, tuple[str, ...]], random: Any) -> None:
    """Permuting the samples changes nothing."""
    labels, scores, classes = case
    order = list(range(len(labels)))
    random.shuffle(order)

    expected = evaluate.classifier_results(labels, scores, classes)
    assert expected == evaluate.classifier_results(labels[order], scores[order], classes)


@law
@given(classified())
def test_results_are_plain_json(case: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    """Results survive JSON without NaN or infinity."""
    results = evaluate.classifier_results(*case)

    assert results == json.loads(json.dumps(results, allow_nan=False))


@law
@given(arrays(np.int64, st.integers(2, 30), elements=st.integers(0, 1)))
def test_a_perfect_sigmoid_has_area_one_for_both_classes(labels: np.ndarray) -> None:
    """Binary p in {0, 1} that is always right has AUC 1 for class 0 as well as for class 1."""
    assume(len(set(labels.tolist())) == 2)

    results = evaluate.classifier_results(labels, evaluate.scores_of(labels[:, None].astype(float), 2), YES_NO)

    assert {"yes": 1.0, "no": 1.0} == results["roc_auc"]


def test_a_long_curve_is_thinned() -> None:
    """A curve of thousands of points keeps at most 101, its ends, its rise and the exact area."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 5000)
    p = 1 / (1 + np.exp(-rng.normal(labels, 1.0)))

    results = evaluate.classifier_results(labels, np.stack([1 - p, p], axis=1), YES_NO)

    curve = results["roc"]["no"]
    assert curve is not None
    assert 90 < len(curve["fpr"]) <= 101
    assert (0.0, 0.0, 1.0, 1.0) == (curve["fpr"][0], curve["tpr"][0], curve["fpr"][-1], curve["tpr"][-1])
    assert sorted(curve["fpr"]) == curve["fpr"]
    assert round(roc_auc_score(labels, p), 6) == results["roc_auc"]["no"]
    assert pytest.approx(results["roc_auc"]["no"], abs=2e-3) == np.trapezoid(curve["tpr"], curve["fpr"])


@law
@given(classified())
def test_averages_are_those_of_scikit_learn(case: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    """Averages over the classes with samples are scikit-learn's, an undefined precision counting 0."""
    labels, scores, classes = case

    averages = evaluate.classifier_results(labels, scores, classes)["averages"]

    present = np.unique(labels).tolist()
    for kind in ("macro", "weighted"):
        expected = precision_recall_fscore_support(
            labels, scores.argmax(axis=1), labels=present, average=kind, zero_division=0.0
        )
        assert pytest.approx(expected[:3], abs=1e-6) == [averages[kind][name] for name in ("precision", "recall", "f1")]


@law
@given(classified())
def test_only_ranks_count_for_areas(case: tuple[np.ndarray, np.ndarray, tuple[str, ...]]) -> None:
    """A rising function of the scores changes no area, no average precision and no rate."""
    labels, scores, classes = case

    results = evaluate.classifier_results(labels, scores, classes)
    moved = evaluate.classifier_results(labels, scores**3 / 2, classes)

    for figure in ("roc_auc", "average_precision", "overall_accuracy"):
        assert results[figure] == moved[figure]
    for name in classes:
        for column in ("fpr", "tpr", "precision"):
            assert (results["roc"][name] or {}).get(column) == (moved["roc"][name] or {}).get(column)


@law
@given(arrays(np.int64, 30, elements=st.integers(0, 1)), arrays(np.int64, 30, elements=st.integers(0, 16)))
def test_the_best_threshold_keeps_its_promise(labels: np.ndarray, sixteenths: np.ndarray) -> None:
    """At each best threshold accuracy and rates are what it says, and no threshold of the table is better."""
    assume(len(set(labels.tolist())) == 2)
    p = sixteenths / 16

    found = evaluate.classifier_results(labels, np.stack([1 - p, p], axis=1), YES_NO)["thresholds"]

    assert found is not None
    for best in (found["best_accuracy"], found["best_youden"]):
        said = p >= best["threshold"]
        assert round(float(np.mean(said == labels)), 6) == best["accuracy"]
        assert round(float(np.mean(said[labels == 0])), 6) == best["fpr"]
        assert round(float(np.mean(said[labels == 1])), 6) == best["tpr"]
    points = found["points"]
    assert max(points["accuracy"]) == found["best_accuracy"]["accuracy"]
    gains = [tpr - fpr for tpr, fpr in zip(points["tpr"], points["fpr"], strict=True)]
    # Four rates, each rounded to six places.
    assert pytest.approx(max(gains), abs=2.1e-6) == found["best_youden"]["tpr"] - found["best_youden"]["fpr"]


def test_thresholds_are_for_two_classes() -> None:
    """Three classes, or two of which one has no samples, have no table of thresholds."""
    for labels, classes in (([0, 1], WORDS), ([1, 1], YES_NO)):
        scores = np.full((2, len(classes)), 0.5)
        assert evaluate.classifier_results(np.array(labels), scores, classes)["thresholds"] is None


# Choosing samples.


@pytest.mark.parametrize("size", [1, 2, 7])
def test_balance_takes_the_first_of_each_class(size: int) -> None:
    """The first samples of each class are chosen, in their order, however they come in batches; -1 chooses all."""
    labels = np.array([1, 1, 0, 1, 2, 0, 0])

    def picked(most: int) -> list[int]:
        balance = evaluate.Balance(most)
        return [
            start + int(place)
            for start in range(0, len(labels), size)
            for place in balance.pick(labels[start : start + size])
        ]

    assert [0, 1, 2, 4, 5] == picked(2)
    assert [] == picked(0)
    assert list(range(7)) == picked(-1)
    assert not evaluate.Balance(-1).chooses


# Files.


SUMMARY = """\
kws
===

samples                4
overall accuracy  0.7500
average ROC AUC   0.7500

class             n  accuracy  precision  recall      F1     AUC      AP
yes               2    1.0000     0.6667  1.0000  0.8000  0.7500  0.8333
no                2    0.5000     1.0000  0.5000  0.6667  0.7500  0.8333
_unknown_         0         -          -       -       -       -       -
macro average                     0.8333  0.7500  0.7333
weighted average                  0.8333  0.7500  0.7333

confusion matrix  [0]  [1]  [2]
[0] yes             2    0    0
[1] no              1    1    0
[2] _unknown_       0    0    0

Rows are true classes, columns are predicted ones.
"""


DOCUMENTS = {"results.json", "summary.txt", "classes.csv", "confusion_matrix.csv", "curves.csv"}
PICTURES = {"confusion_matrix.png", "roc.png", "precision_vs_recall.png", "tpr_fpr.png"}


def evaluate_words(folder: Path) -> Results:
    predictions = np.array([[0.9, 0.1, 0.0], [0.6, 0.4, 0.0], [0.65, 0.35, 0.0], [0.2, 0.8, 0.0]])
    y = np.eye(3)[[0, 0, 1, 1]]
    return written(folder, "kws", predictions, y, WORDS)


def written(folder: Path, title: str, predictions: np.ndarray, y: np.ndarray, classes: Sequence[str]) -> Results:
    labels, scores = evaluate.labels_of(y, len(classes)), evaluate.scores_of(predictions, len(classes))
    results = evaluate.classifier_results(labels, scores, classes)
    evaluate.write_results(folder, title, results)
    return results


def test_a_classifier_writes_a_summary_json_and_pictures(tmp_path: Path) -> None:
    """Evaluating a classifier writes its results, a readable summary, tables and pictures."""
    results = evaluate_words(tmp_path / "eval")

    written = {path.name: path for path in (tmp_path / "eval").iterdir()}
    text = written["results.json"].read_text()
    assert DOCUMENTS | PICTURES == set(written)
    assert results == json.loads(text)
    assert json.dumps(results, sort_keys=True, indent=2) + "\n" == text
    assert SUMMARY == written["summary.txt"].read_text()


def test_the_same_results_give_the_same_bytes(tmp_path: Path) -> None:
    """Every file of an evaluation is byte-equal when it is written again."""
    evaluate_words(tmp_path / "first")
    evaluate_words(tmp_path / "second")

    first, second = (
        {path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("first", "second")
    )
    assert "results.json" in first
    assert first == second


def test_a_regression_writes_no_pictures(tmp_path: Path) -> None:
    """Without classes the errors are written as documents, and no picture."""
    metrics = {"mean_squared_error": 1.0, "mean_absolute_error": 1.0}
    evaluate.write_results(tmp_path, "sine", {"n_samples": 2, "metrics": metrics})

    assert {"results.json", "summary.txt", "metrics.csv"} == {path.name for path in tmp_path.iterdir()}
    expected = "sine\n====\n\nsamples              2\nmean_squared_error   1\nmean_absolute_error  1\n"
    assert expected == (tmp_path / "summary.txt").read_text()
    assert "metric,value\nmean_squared_error,1.0\nmean_absolute_error,1.0\n" == (tmp_path / "metrics.csv").read_text()


def test_metrics_without_a_count_are_written(tmp_path: Path) -> None:
    """The metrics of an evaluation of the spec's own need not count its samples."""
    evaluate.write_results(tmp_path, "own", {"n_samples": None, "metrics": {"score": 0.5}})

    assert "own\n===\n\nsamples    -\nscore    0.5\n" == (tmp_path / "summary.txt").read_text()


def test_tables_of_a_classifier(tmp_path: Path) -> None:
    """Tables tell the figures of each class, the confusions and the curves; what is undefined is an empty cell."""
    evaluate_words(tmp_path)

    tables = {name: (tmp_path / f"{name}.csv").read_text().splitlines() for name in ("classes", "confusion_matrix")}
    assert [
        "class,n,accuracy,precision,recall,f1,roc_auc,average_precision",
        "yes,2,1.0,0.666667,1.0,0.8,0.75,0.833333",
        "no,2,0.5,1.0,0.5,0.666667,0.75,0.833333",
        "_unknown_,0,,,,,,",
    ] == tables["classes"]
    assert ["true class,yes,no,_unknown_", "yes,2,0,0", "no,1,1,0", "_unknown_,0,0,0"] == tables["confusion_matrix"]
    curves = (tmp_path / "curves.csv").read_text().splitlines()
    assert ["class,threshold,fpr,tpr,precision", "yes,1.9,0.0,0.0,", "yes,0.9,0.0,0.5,1.0"] == curves[:3]
    assert 10 == sum(line.startswith(("yes", "no")) for line in curves)


def test_two_classes_have_thresholds(tmp_path: Path) -> None:
    """A sigmoid's thresholds have accuracy and rates each, in results, a table and a picture; the best are named."""
    p, y = np.array([[0.2], [0.3], [0.4], [0.9]]), np.array([0, 0, 1, 1])

    results = written(tmp_path, "door", p, y, YES_NO)

    best = {"threshold": 0.4, "accuracy": 1.0, "fpr": 0.0, "tpr": 1.0}
    assert {
        "positive": "no",
        "points": {
            "thresholds": [1.9, 0.9, 0.4, 0.3, 0.2],
            "accuracy": [0.5, 0.75, 1.0, 0.75, 0.5],
            "fpr": [0.0, 0.0, 0.0, 0.5, 1.0],
            "tpr": [0.0, 0.5, 1.0, 1.0, 1.0],
        },
        "best_accuracy": best,
        "best_youden": best,
    } == dict(results)["thresholds"]
    table = (tmp_path / "thresholds.csv").read_text()
    assert table.startswith("threshold,accuracy,fpr,tpr\n1.9,0.5,0.0,0.0\n")
    assert (tmp_path / "thresholds.png").exists()
    assert "\nbest accuracy    0.4    1.0000  0.0000  1.0000\n" in (tmp_path / "summary.txt").read_text()


def test_a_summary_of_many_classes_leaves_out_the_matrix(tmp_path: Path) -> None:
    """A confusion matrix of more than 20 classes isn't printed as text, a set of one class is drawn all the same."""
    classes = [f"class {place}" for place in range(21)]

    written(tmp_path, "many", np.full((3, 21), 0.1), np.zeros(3), classes)

    assert "confusion" not in (tmp_path / "summary.txt").read_text()
    assert (tmp_path / "roc.png").exists()
