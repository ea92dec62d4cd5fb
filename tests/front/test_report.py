"""Values to text."""

from __future__ import annotations

import pytest

from mltkbuild.engine.freshness import Reason
from mltkbuild.front.report import (
    cut,
    duration,
    either,
    figure_text,
    first_of,
    metrics_text,
    plural,
    reason_text,
    reasons_text,
    size,
    table,
)
from mltkbuild.stages.table import Figure


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0.0 s"),
        (3.14, "3.1 s"),
        (59.94, "59.9 s"),
        (59.96, "1 min 0 s"),
        (60, "1 min 0 s"),
        (125, "2 min 5 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 0 min"),
        (7800, "2 h 10 min"),
        (100_000, "27 h 46 min"),
    ],
)
def test_duration(seconds: float, expected: str) -> None:
    """A time is told in the two units that matter."""
    assert expected == duration(seconds)


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (13_824, "13.5 KiB"),
        (5 * 1024**2, "5.0 MiB"),
        (3 * 1024**3, "3.0 GiB"),
    ],
)
def test_size(count: int, expected: str) -> None:
    """A size is told in powers of 1024."""
    assert expected == size(count)


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        (Reason("never built"), "never built"),
        (Reason("forced"), "asked for"),
        (Reason("unfinished"), "its publication was interrupted"),
        (Reason("bad record", "build/kws/.records/train.json", "no JSON"), "its record can't be read (no JSON)"),
        (Reason("unreadable", "models/kws.py", "this file can't be read"), "models/kws.py: this file can't be read"),
        (Reason("unreadable", "", "two specs have the name kws"), "two specs have the name kws"),
        (Reason("artifact missing", "kws.keras", "d"), "kws.keras is missing"),
        (Reason("artifact changed", "kws.keras", "d", "e"), "kws.keras is not what was built"),
        (Reason("input changed", "code models/kws.py", "d", "e"), "code of models/kws.py changed"),
        (Reason("input new", "text models/parts.py", None, "e"), "text of models/parts.py is new"),
        (Reason("input gone", "file samples/1.wav", "d"), "samples/1.wav is gone"),
        (Reason("input changed", "variable SCALE", "d", "e"), "variable SCALE changed"),
        (Reason("input changed", "variable *", "d", "e"), "the environment changed"),
        (Reason("input changed", "property epochs", "d", "e"), "epochs changed"),
        (Reason("input changed", "spec/train.yaml", "d", "e"), "spec/train.yaml changed"),
        (Reason("input changed", "tool tensorflow", "2.21", "2.22"), "tensorflow: 2.21 -> 2.22"),
        (Reason("input new", "option epochs", None, "3"), "epochs: the spec's value -> 3"),
        (Reason("input gone", "option epochs", "3", None), "epochs: 3 -> the spec's value"),
        (Reason("input gone", "library scipy", "1.0", None), "scipy: 1.0 -> none"),
        (Reason("input changed", "exists data/more.txt", "absent", "file"), "data/more.txt is there now"),
        (Reason("input changed", "exists data/more.txt", "file", "absent"), "data/more.txt is gone"),
        (Reason("input changed", "exists data/more", "file", "folder"), "data/more is a folder now"),
        (Reason("input changed", "size data/a.txt", "1", "2"), "the size of data/a.txt changed"),
        (Reason("input changed", "modified data/a.txt", "1", "2"), "the time of data/a.txt changed"),
        (Reason("input changed", "stage revision", "1", "2"), "mltkbuild makes this stage differently now"),
        (
            Reason("input changed", "imports", "", "parts"),
            "the workspace now has modules that the spec imports: parts",
        ),
    ],
)
def test_reason(reason: Reason, expected: str) -> None:
    """Each kind of reason has its words."""
    assert expected == reason_text(reason)


def test_first_reasons() -> None:
    """Of many reasons the first are told, and how many more there are."""
    reasons = [Reason("artifact missing", name) for name in "abc"]
    assert "a is missing (and 2 more)" == reasons_text(reasons)
    assert "a is missing; b is missing (and 1 more)" == reasons_text(reasons, 2)
    assert "a is missing; b is missing; c is missing" == reasons_text(reasons, 3)
    assert "a, b (and 1 more)" == first_of("abc", 2, ", ")
    assert "" == first_of([])


def test_words() -> None:
    """Plurals, choices and cut lines."""
    assert ["0 stages", "1 stage", "2 stages"] == [plural(count, "stage") for count in range(3)]
    assert ["", "a", "a or b", "a, b or c"] == [either(list("abc")[:count]) for count in range(4)]
    assert "a b" == cut("a\nb")
    assert ("x" * 20, "x" * 17 + "...") == (cut("x" * 20, 20), cut("x" * 21, 20))
    assert "one two..." == cut("one two three", 11) == cut("one two, three", 12)
    assert "one two..." == cut("one two three", 10)


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ({"loss": 0.5, "mean_absolute_error": 0.25, "mean_squared_error": 0.0123456}, "mean_squared_error 0.01235"),
        ({"accuracy": 0.5, "mean_squared_error": 1.0, "loss": 2.0}, "accuracy 0.5000"),
        ({"binary_accuracy": 0.75, "mean_squared_error": 1.0}, "binary_accuracy 0.7500"),
        (
            {"kind_accuracy": 1.0, "loss": 2.0, "place_mean_squared_error": 3.0},
            "kind_accuracy 1.0000, place_mean_squared_error 3",
        ),
        ({"a": 1, "b": 2.5, "c": 3, "d": 4}, "a 1, b 2.5, c 3 (and 1 more)"),
        ({"loss": None}, ""),
        ({}, ""),
    ],
)
def test_metrics_that_tell_most(metrics: dict[str, float | None], expected: str) -> None:
    """Of each output the accuracy or the squared error; of an evaluation of one's own the first figures."""
    assert expected == metrics_text(metrics)
    assert expected == figure_text(Figure("figures", unit="metrics"), metrics)


def test_table() -> None:
    """Columns are as wide as their widest cell; nothing trails."""
    assert "a     bb\nlong  x\n      y" == table(("a", "bb"), [("long", "x"), ("", "y")])
