"""The declaration of properties: rules, plain forms, guarded dicts, hints and places."""

from __future__ import annotations

import copy
import operator
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.errors import SpecError, did_you_mean, short
from mltkbuild.spec import properties
from mltkbuild.spec.model import MltkModel
from mltkbuild.spec.properties import (
    BOOL,
    COUNT_OR_ALL,
    FRACTION,
    LABELS,
    NOT_NEGATIVE,
    POSITIVE,
    SHAPE,
    STR,
    Property,
    Rule,
    Settings,
    one_of,
    properties_of,
)

RULES: list[tuple[Rule, list[object], list[object]]] = [
    (POSITIVE, [1, np.int64(3), 10**12], [0, -1, True, 1.0, "1", None, np.ones(1, int)]),
    (NOT_NEGATIVE, [0, np.uint8(3)], [-1, False, 0.0, None]),
    (COUNT_OR_ALL, [-1, 1], [0, -2, True]),
    (FRACTION, [0, 0.0, 0.99], [1, 1.0, -0.1, float("nan"), True, "0.1", None]),
    (BOOL, [True, False], [1, 0, None, "True"]),
    (STR, ["", "a"], [b"a", 1, None]),
    (LABELS, [["a"], ("a", "b")], [[], "ab", ["a", "a"], ["a", 1], [""], None, {"a": 1}]),
    (SHAPE, [(8, 8, 1), [3], (np.int64(3),)], [(), 8, (0,), (8, None), (8, -1), (1.0,), "8"]),
    (one_of(False, True), [False], [0, 1, None]),
    (POSITIVE.or_none(), [None, 2], [0, "x"]),
]


@pytest.mark.parametrize(("rule", "good", "bad"), RULES, ids=[rule.text for rule, _, _ in RULES])
def test_rule_accepts_and_refuses(rule: Rule, good: list[object], bad: list[object]) -> None:
    """Each rule takes what its text says, and neither bool for int nor its near relatives."""
    assert [True] * len(good) == [bool(rule.accepts(value)) for value in good]
    assert [False] * len(bad) == [bool(rule.accepts(value)) for value in bad]


@given(st.integers(1, 2**40))
def test_number_of_numpy_is_kept_as_python_s_own(value: int) -> None:
    """A NumPy integer becomes an int, so that digests and YAML see one type."""
    for rule in (POSITIVE, NOT_NEGATIVE, COUNT_OR_ALL, POSITIVE.or_none()):
        assert (int, value) == (type(rule.plain(np.int64(value))), rule.plain(np.int64(value)))


def test_labels_and_shapes_of_numpy_are_kept_as_python_s_own() -> None:
    """`list(np.unique(...))` and `array.shape` give plain strings and ints."""
    model = MltkModel()
    model.classes = list(np.unique(["b", "a"]))
    model.input_shape = [np.int64(8), 8]
    assert (["a", "b"], (8, 8)) == (model.classes, model.input_shape)
    assert {str} == {type(label) for label in model.classes}
    assert {int} == {type(size) for size in model.input_shape}


RULE = {"size": POSITIVE, "name": STR}
GUARDED: dict[str, Callable[[Any], object]] = {
    "item": lambda settings: operator.setitem(settings, "size", 0),
    "update": lambda settings: settings.update({"size": 0}),
    "update by keyword": lambda settings: settings.update(size=0),
    "update by pairs": lambda settings: settings.update([("size", 0)]),
    "in-place or": lambda settings: settings.__ior__({"size": 0}),
    "setdefault": lambda settings: settings.setdefault("sise", 3),
    "unknown item": lambda settings: operator.setitem(settings, "sise", 3),
    "unknown key": lambda settings: settings.update({3: 3}),
    "deletion": lambda settings: operator.delitem(settings, "size"),
    "pop": lambda settings: settings.pop("size"),
    "popitem": lambda settings: settings.popitem(),
    "clear": lambda settings: settings.clear(),
}


@pytest.mark.parametrize("way", GUARDED)
def test_settings_refuse_a_wrong_value_and_removal_in_every_way(way: str) -> None:
    """However a dict with known keys is written to, a wrong write raises with this line and changes nothing."""
    settings = Settings("thing", RULE, {"size": 3, "name": "a"})
    with pytest.raises(SpecError, match="thing") as caught:
        GUARDED[way](settings)
    assert {"size": 3, "name": "a"} == settings
    assert __file__ in str(caught.value.where)


def test_settings_take_right_values_in_every_way() -> None:
    """Right writes work as in any dict, and copies are plain."""
    settings = Settings("thing", RULE, {"size": 3})
    settings["size"] = 4
    settings |= {"name": "b"}
    settings.update(size=5)
    assert ("b", 5) == (settings.setdefault("name", "c"), settings.setdefault("size", 7))
    assert {"size": 5, "name": "b"} == settings
    assert dict is type(copy.deepcopy(settings))


class Example(MltkModel):
    """A model with properties of each form."""

    counts = Property[list[int]]([1], properties.SEQUENCE, "Some counts")
    table = Property[dict[str, Any]]({"size": 1, "name": "x"}, properties.DICT, "A table", settings=RULE)
    plain = Property[dict[str, Any]]({}, properties.DICT, "Whatever")


def test_default_is_never_shared() -> None:
    """A list or dict that one model got as its default is not another model's, nor the declaration's."""
    one, other = Example(), Example()
    one.counts.append(2)
    one.table["size"] = 9
    one.plain["a"] = 1
    assert ([1], {"size": 1, "name": "x"}, {}) == (other.counts, other.table, other.plain)
    assert [1] == Example.counts.default
    one.peek("plain")["b"] = 2
    assert {} == Example().peek("plain")


def test_whole_dict_is_checked_and_completed() -> None:
    """A dict that is assigned keeps the defaults of what it leaves out, and stays guarded."""
    model = Example()
    model.table = {"size": 7}
    assert {"size": 7, "name": "x"} == model.table
    with pytest.raises(SpecError, match=r"table\['size'\] must be a positive integer"):
        model.table = {"size": 0}
    with pytest.raises(SpecError, match="table has no setting 'sise'"):
        model.table["sise"] = 1
    assert {"size": 7, "name": "x"} == model.table


def test_error_names_place_value_and_what_to_do() -> None:
    """A refused value is an error with this file and line, the value, and the property's meaning."""
    model = Example()
    with pytest.raises(SpecError) as caught:
        model.counts = "three"
    error = caught.value
    assert error.where is not None
    path, _, line = error.where.rpartition(":")
    assert __file__ == path
    assert 'model.counts = "three"' in Path(path).read_text(encoding="utf-8").splitlines()[int(line) - 1]
    expected = ("counts must be a list or tuple", "'three'", "set my_model.counts to a list or tuple (some counts)")
    assert expected == (error.what, error.found, error.fix)


def test_properties_of_lists_base_classes_first() -> None:
    """Own properties come with the inherited ones, each with its name and owner."""
    found = properties_of(Example)
    assert {"version", "counts", "table"} <= set(found)
    assert ("counts", "Example") == (found["counts"].name, found["counts"].owner)


def test_hints() -> None:
    """A near name is suggested; else all are listed, but never a hundred."""
    assert "did you mean epochs?" == did_you_mean("epoch", ["epochs", "seed"])
    assert "the known ones are a, b" == did_you_mean("zzz", ["b", "a"])
    assert "there are none" == did_you_mean("zzz", [])
    assert did_you_mean("zzz", map(str, range(100))).endswith(", ...")


class _Silent:
    def __repr__(self) -> str:
        raise ValueError


def test_short_never_floods_the_screen() -> None:
    """Values are shown by a short text, arrays by their shape, and a broken repr does no harm."""
    assert "an array of shape (2, 3) and type float64" == short(np.zeros((2, 3)))
    assert 120 == len(short("x" * 1000))
    assert "a _Silent whose repr fails with ValueError" == short(_Silent())
