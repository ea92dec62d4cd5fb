"""Parameters as people write them: words stay words, numbers are YAML 1.2's, and a type can be chosen."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.cli.parameters import TYPES, Changes, parameters_of
from mltkbuild.errors import UsageError
from mltkbuild.tflite import dictionary

READ: dict[str, Any] = {
    "[yes, no]": ["yes", "no"],
    **{word: word for word in ("on", "off", "y", "N", "Yes", "12:30", "1:2:3", "2024-01-01", "1_000", "0b1", "<<")},
    **{"http://x/y?z": "http://x/y?z", "NaN": "NaN", "a,b": "a,b", "C#": "C#", "'010'": "010", "!!str 010": "010"},
    **{"010": 10, "08": 8, "+3": 3, "-7": -7, "0x1F": 31, "0o17": 15, "--- 5": 5},
    **{"1e3": 1000.0, "-.5": -0.5, "1.": 1.0, "1E-3": 0.001, ".inf": math.inf, "-.INF": -math.inf},
    **{"true": True, "True": True, "FALSE": False, "!!binary AQI=": b"\1\2", "{a: 1}": {"a": 1}},
    **dict.fromkeys(("", " ", "null", "~")),
}


@pytest.mark.parametrize("text", READ)
def test_a_value_is_what_yaml_1_2_reads(text: str) -> None:
    """The core schema has no other words for true and false, no dates, no sexagesimal and no octal numbers."""
    found = parameters_of([f"k={text}"], None).values["k"]
    assert (READ[text], type(READ[text])) == (found, type(found))


CHOSEN: dict[str, tuple[object, str]] = {
    "k:str=010": ("010", "str"),
    "k:str= a # b": (" a # b", "str"),
    "k:str=": ("", "str"),
    "k:int8=3": (3, "int8"),
    "k:double=0.1": (0.1, "double"),
    "k:str_list=[yes, 010, 1e3]": (["yes", "010", "1e3"], "str_list"),
    "k:float_list=[1, 2]": ([1, 2], "float_list"),
    "k=!int8 3": (3, "int8"),
    "k=!str 010": ("010", "str"),
    "k=!str_list [on, 2]": (["on", "2"], "str_list"),
    "k=!int32_list [0x10, 2]": ([16, 2], "int32_list"),
    "k=!float 3": (3, "float"),
}


@pytest.mark.parametrize("pair", CHOSEN)
def test_a_type_can_be_chosen(pair: str) -> None:
    """Behind the key, or as a tag; a chosen text is taken as it stands."""
    value, kind = CHOSEN[pair]
    assert Changes({"k": value}, {"k": kind}) == parameters_of([pair], None)


def test_the_types_are_those_of_the_dictionary() -> None:
    """What can be chosen is what the dictionary stores."""
    assert set(dictionary.TYPES) == set(TYPES)


def test_a_key_with_a_colon_has_its_type_behind_it() -> None:
    """The last colon is the one of the type."""
    assert Changes({"a:b": 3}, {"a:b": "uint16"}) == parameters_of(["a:b:uint16=3"], None)


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("k", "key=value"),
        ("=3", "key=value"),
        ("k:int9=3", "did you mean"),
        (":int8=3", "unknown type"),
        ("k:int8=", "no value"),
        ("k=hello # there", "'# there' would be left out"),
        ("k=#red", "would be left out"),
        ("k=|", "would be left out"),
        ("k=[1", "key:str=text"),
        ("k='x", "key:str=text"),
        ("k=*x", "undefined alias"),
        ("k=1e400", "no number that a computer has"),
        ("k=!!int yes", "no whole number"),
        ("k={x: 1, x: 2}", "the key x twice"),
        ("k={[1]: 2}", "can't be a key"),
        ("k=!!python/name:os.system x", "could not determine a constructor"),
        ("k=" + "[" * 5000, "can't be read"),
    ],
)
def test_what_can_t_be_read_is_one_error(pair: str, words: str) -> None:
    """Nothing of what was typed is left out without a word."""
    with pytest.raises(UsageError) as caught:
        parameters_of([pair], None)
    assert words in str(caught.value)
    assert caught.value.fix


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")))
def test_a_chosen_text_is_kept(text: str) -> None:
    """Every text can be given, whatever YAML makes of it."""
    assert Changes({"k": text}, {"k": "str"}) == parameters_of([f"k:str={text}"], None)


@given(st.from_regex(r"[A-Za-z][A-Za-z0-9_:/.+-]*[A-Za-z0-9]", fullmatch=True))
def test_words_stay_words(word: str) -> None:
    """Whatever begins with a letter is text, but for YAML's own words."""
    if word.lower() not in ("true", "false", "null"):
        assert {"k": word} == parameters_of([f"k={word}"], None).values
        assert {"k": [word, word]} == parameters_of([f"k=[{word}, {word}]"], None).values


_SCALARS = st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)


@given(_SCALARS | st.lists(_SCALARS) | st.text(st.characters(codec="ascii", categories=["L", "N", "P", "Zs"])))
def test_json_is_read_as_json(value: Any) -> None:
    """A value in JSON is itself, as every JSON text is YAML 1.2."""
    found = parameters_of([f"k={json.dumps(value)}"], None).values["k"]
    assert (value, type(value)) == (found, type(found))


FILES: dict[str, tuple[str, Changes]] = {
    "words.yaml": (
        "mode: off\ntime: 12:30\non: [yes]\n",
        Changes({"mode": "off", "time": "12:30", "on": ["yes"]}),
    ),
    "tags.yaml": ("n: !int16 3\nold:\n", Changes({"n": 3, "old": None}, {"n": "int16"})),
    "a.json": ('{"face": "\\ud83d\\ude00", "n:uint8": 3}', Changes({"face": "\U0001f600", "n": 3}, {"n": "uint8"})),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_read_by_the_same_rules(tmp_path: Path, name: str) -> None:
    """YAML and JSON files hold values, tags and typed keys; pairs override them, types too."""
    text, expected = FILES[name]
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert expected == parameters_of([], str(path))
    key = next(iter(expected.values))
    assert "new" == parameters_of([f"{key}=new"], str(path)).values[key]
    assert key not in parameters_of([f"{key}=new"], str(path)).types


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.yaml", "a: 1\na: 2\n", "the key a twice"),
        ("a.json", '{"a": 1, "a": 2}', "the key a twice"),
        ("a.json", "{", "can't be read"),
        ("a.yaml", "1: x\n", "a key isn't text"),
        ("a.yaml", "- x\n", "holds no parameters"),
        ("a.yaml", "a: [\n", "can't be read"),
        ("a.yaml", "n:int9: 3\n", "unknown type"),
        ("a.yaml", "a: 1\n---\nb: 2\n", "can't be read"),
        ("a.yaml", "\udcff", "can't be read"),
    ],
)
def test_a_file_of_something_else_is_one_error(tmp_path: Path, name: str, text: str, words: str) -> None:
    """The error names the file or the key."""
    path = tmp_path / name
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        parameters_of([], str(path))
    assert words in str(caught.value)
