"""What an output is, its targets say; what its answers are worth is counted batch by batch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.errors import DataError, StageError
from mltkbuild.evaluation import evaluate
from mltkbuild.evaluation.evaluation_files import folder_names
from mltkbuild.evaluation.judging import KERAS, TFLITE, Errors, Judge

law = settings(deadline=None, max_examples=40, database=None)
N = 12
IDS = np.arange(N) % 3
SCORES = np.eye(3, dtype=np.float32)[np.where(np.arange(N) < 3, (IDS + 1) % 3, IDS)]
PLACES = np.arange(N * 2.0, dtype=np.float32).reshape(N, 2)
WORDS = ("a", "b", "c")


def judged(judge: Judge, targets: list[Any] | None, answers: list[np.ndarray], size: int = N) -> Judge:
    """Give a judge what both models answer, some samples at a time."""
    for start in range(0, N, size):
        rows = slice(start, start + size)
        part = [found[rows] for found in answers]
        given_ = None if targets is None else [None if y is None else y[rows] for y in targets]
        judge.add(given_, {KERAS: part, TFLITE: [found + np.float32(0.25) for found in part]})
    return judge


def two(classes: tuple[str, ...] | None = None) -> Judge:
    """The judge of a model with two outputs."""
    return Judge(["kind", "place"], [0.5, 0.0], classes, is_classifier=classes is not None)


@law
@given(st.integers(1, N))
def test_batches_come_to_what_all_at_once_do(size: int) -> None:
    """However the samples come, the documents are the same."""
    expected = judged(two(WORDS), [IDS, PLACES * 2], [SCORES, PLACES])
    found = judged(two(WORDS), [IDS, PLACES * 2], [SCORES, PLACES], size)

    for kind in (KERAS, TFLITE):
        assert expected.results(kind) == found.results(kind)
    assert [one.largest for one in expected.parities().values()] == [one.largest for one in found.parities().values()]


def test_each_output_has_results_by_its_name() -> None:
    """A classifier's where targets are classes, errors elsewhere, and one table of both."""
    results = judged(two(WORDS), [IDS, PLACES * 2], [SCORES, PLACES]).results(KERAS, {"loss": 1.5})

    assert "outputs" in results
    kind, place = results["outputs"]["kind"], results["outputs"]["place"]
    assert "confusion_matrix" in kind
    assert (["a", "b", "c"], 0.75) == (kind["classes"], kind["overall_accuracy"])
    assert evaluate.classifier_results(IDS, SCORES.astype(float), WORDS) == kind
    error = float((PLACES**2).mean())
    assert "metrics" in place
    assert pytest.approx(error, rel=1e-5) == place["metrics"]["mean_squared_error"]
    expected = {"kind_accuracy", "place_mean_squared_error", "place_mean_absolute_error", "loss"}
    assert (expected, N) == (set(results["metrics"]), results["n_samples"])


def test_classes_without_names_are_numbers() -> None:
    """So they are where two outputs could have the spec's labels, which the stage tells."""
    judge = Judge(["one", "other"], [0.0, 0.0], WORDS, is_classifier=True)
    results = judged(judge, [IDS, np.eye(3)[IDS]], [SCORES, SCORES]).results(KERAS)

    assert "outputs" in results
    assert [["0", "1", "2"]] * 2 == [one["classes"] for one in results["outputs"].values() if "classes" in one]
    assert not judge.knows_classes
    assert judged(two(WORDS), [IDS, PLACES], [SCORES, PLACES]).knows_classes


def test_an_output_without_targets_is_compared_all_the_same() -> None:
    """It has no figures, and a parity."""
    judge = judged(two(), [None, PLACES], [SCORES, PLACES])
    results = judge.results(KERAS)

    assert "outputs" in results
    assert {"n_samples": N, "metrics": {}} == results["outputs"]["kind"]
    assert [0.25, 0.25] == [parity.largest for parity in judge.parities().values()]


def test_rows_that_are_no_classes_after_all_are_none() -> None:
    """What looked like classes in the first batch is told as errors, over all samples."""
    y = np.concatenate([np.eye(2)[[0, 1]], np.full((N - 2, 2), 0.5)])
    judge = judged(Judge(["end"], [0.0], None, is_classifier=False), [y], [y.astype(np.float32)], 2)

    assert {"mean_squared_error": 0.0, "mean_absolute_error": 0.0} == judge.results(KERAS)["metrics"]  # type: ignore[typeddict-item]
    assert N == judge.parities()["end"].samples


def test_an_auto_encoder_s_rows_are_not_hundreds_of_classes() -> None:
    """Targets equal to the samples have errors; nothing of the size of its square is made."""
    x = np.random.default_rng(1).random((N, 640)).astype(np.float32)
    judge = judged(Judge(["end"], [0.0], None, is_classifier=False, by_targets=True), [x], [x])

    assert {"mean_squared_error", "mean_absolute_error"} == set(judge.results(TFLITE)["metrics"])  # type: ignore[typeddict-item]


def test_several_labels_a_sample_have_a_binary_accuracy() -> None:
    """A classifier whose loss allows them is told by the values on their side; else such rows are errors."""
    y = np.array([[1, 1, 0], [0, 0, 0], [0, 1, 0], [1, 0, 1]] * 3)
    answers = np.where(y == 1, 0.75, 0.125).astype(np.float32)
    answers[0] = 0.125
    judge = Judge(["end"], [0.0], WORDS, is_classifier=True, several_labels=lambda: True)

    assert round(34 / 36, 6) == judged(judge, [y], [answers]).results(KERAS)["metrics"]["binary_accuracy"]  # type: ignore[typeddict-item]
    assert not judge.knows_classes
    with pytest.raises(DataError, match="names not exactly one class"):
        judged(Judge(["end"], [0.0], WORDS, is_classifier=True), [y], [answers])


def test_logits_of_several_labels_are_cut_at_zero() -> None:
    """Values beyond 0 to 1 anywhere make logits of all."""
    errors = Errors()
    errors.add(np.array([[0.25, -0.5]]), np.array([[1, 0]]))
    errors.add(np.array([[3.0, -4.0]]), np.array([[1, 0]]))

    assert 1.0 == errors.metrics(labels=True)["binary_accuracy"]


def test_no_samples_and_no_numbers_are_errors() -> None:
    """Nothing to measure is the data's fault, NaN the model's."""
    with pytest.raises(DataError, match="no samples"):
        two().results(KERAS)
    with pytest.raises(StageError, match="aren't numbers"):
        two().add([IDS, PLACES], {KERAS: [SCORES, PLACES * np.float32("nan")]})


def test_each_output_has_a_folder(tmp_path: Path) -> None:
    """With the files that a model of this output alone would have, and the whole above them."""
    results = judged(two(WORDS), [IDS, PLACES], [SCORES, PLACES]).results(KERAS, {"loss": 1.0})
    evaluate.write_results(tmp_path, "kws", results)

    assert results == json.loads((tmp_path / "results.json").read_text())
    assert {"results.json", "summary.txt", "metrics.csv", "kind", "place"} == {path.name for path in tmp_path.iterdir()}
    assert (tmp_path / "kind/confusion_matrix.png").is_file()
    text = (tmp_path / "summary.txt").read_text()
    assert ["kws, output kind", "kws, output place", "kws, all outputs"] == [
        line for line in text.splitlines() if line.startswith("kws")
    ]
    assert text.endswith("loss  1\n")


@given(st.lists(st.text(min_size=1, max_size=80), min_size=1, max_size=5, unique=True))
def test_folders_of_outputs_are_names_anywhere(names: list[str]) -> None:
    """Each its own, on disks that don't know case too, and none leads elsewhere."""
    found = folder_names(names)

    assert len(names) == len({folder.lower() for folder in found.values()})
    assert all(
        set(folder) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-")
        for folder in found.values()
    )
