"""What a summary of an archive tells, whatever the archive holds."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.archives import packing as archive_body
from mltkbuild.archives.reading import open_archive
from mltkbuild.archives.writing import write_zip
from mltkbuild.cli import archives
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.errors import StageError

from .zips import DEEP, SPEC, packed, told

law = settings(deadline=None, max_examples=60, database=None)


def test_a_summary_tells_what_is_in_it(tmp_path: Path) -> None:
    """A summary has the figures of the artifacts, the tools, the members, and the digests to compare."""
    path = packed(tmp_path)
    with open_archive(path) as opened:
        found = archives.summary(opened)
    assert found == json.loads(json.dumps(found, allow_nan=False))
    assert bytes_digest(Path(path).read_bytes()) == found["sha256"]
    assert {"name": "kws.tflite", "bytes": 10, "sha256": bytes_digest(b"flatbuffer")} == found["tflite"]
    assert {"mltkbuild": "0.1.0", "python": "3.11.7 and 3.12.1"} == found["made_by"]
    assert ("3", "door: opens", 0.75, 0.5) == tuple(
        found[key] for key in ("version", "description", "float_accuracy", "int8_accuracy")
    )
    train = next(one for one in found["stages"] if one["stage"] == "train")
    assert {"epochs": 3, "best_epoch": 1} == train["figures"]
    with zipfile.ZipFile(path) as other:
        assert sorted(other.namelist()) == [member["name"] for member in found["members"]]
    text = archives.summary_text(found)
    assert text.startswith("kws, version 3: door: opens\nmade by mltkbuild 0.1.0, python 3.11.7 and 3.12.1\n")
    assert "evaluate  float accuracy 0.7500, int8 accuracy 0.5000\n" in text


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.just("\x1b[2J\x9b"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


@law
@given(st.dictionaries(st.sampled_from(["overall_accuracy", "epochs", "best_epoch", "macs", "arena"]), json_values))
def test_any_json_can_be_summarized(tmp_path_factory: pytest.TempPathFactory, values: dict[str, object]) -> None:
    """Whatever the artifacts hold, a summary is figures and text that can be shown."""
    folder = tmp_path_factory.mktemp("json")
    text = json.dumps(values)
    names = ("train/history.json", "eval/keras/results.json", "profile.json", "eval/parity.json")
    stages = {"train": {"tools": values}, "evaluate": values, "\x1b[2J": {"tools": {"\x1b": "\x1b[31m"}}}
    members: dict[str, bytes | Path] = {archive_body.member_name(name): text.encode() for name in names}
    write_zip(folder / "x.mltk.zip", {**members, "kws.py": SPEC.encode(), "provenance.json": told(stages=stages)})
    with open_archive(str(folder / "x.mltk.zip")) as opened:
        found = archives.summary(opened)
    assert json.dumps(found, allow_nan=False)
    assert not any(char < " " or "\x7f" <= char < "\xa0" for char in archives.summary_text(found).replace("\n", ""))


@pytest.mark.parametrize(
    ("figure", "expected"),
    [
        ("0.5", 0.5),
        ("1", 1),
        ("-0.25", -0.25),
        ("NaN", None),
        ("-Infinity", None),
        ("1e999", None),
        ("9" * 4000, None),
        ("true", None),
        ("null", None),
        ('"0.5"', None),
        ("{}", None),
        ("[1, 2]", 2),
    ],
)
def test_a_figure_is_a_number(tmp_path: Path, figure: str, expected: float | None) -> None:
    """What is no number that a model can have is no figure; of a list it is the length."""
    path = packed(tmp_path, files={"eval/tflite/results.json": f'{{"overall_accuracy": {figure}}}'})
    with open_archive(path) as opened:
        found = archives.summary(opened)
    assert expected == found["int8_accuracy"]
    assert archives.summary_text(found)


@pytest.mark.parametrize("text", ["{", DEEP.decode(), '{"a": ' + "9" * 5000 + "}"])
def test_json_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    """A results file that can't be read is an error that names it."""
    path = packed(tmp_path, files={"eval/tflite/results.json": text})
    with open_archive(path) as opened, pytest.raises(StageError, match="no JSON") as caught:
        archives.summary(opened)
    assert (caught.value.found or "").startswith("eval/tflite/eval-results.json: ")


LAUGHS = "a: &a [x]\n" + "".join(f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghi", "bcdefghij"))  # fmt: skip  # noqa: B905, E501


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "- 1",
        "",
        "properties: 3",
        "properties: {version: [1], description: {}}",
        "!!python/object/apply:os.abort []",
        "properties: &a {version: *a}",
        "[" * 5000,
        LAUGHS + "properties: {<<: [*j, *j]}",
        "\x00",
        "properties: {version: 2024-99-99999999999999999, description: " + "9" * 5000 + "}",
        "# " + "x" * 70_000,
    ],
)
def test_settings_of_any_kind_are_read(tmp_path: Path, text: str) -> None:
    """The version and the description are texts or unknown, whatever the YAML holds."""
    with open_archive(packed(tmp_path, files={"spec/params.yaml": text})) as opened:
        found = archives.summary(opened)
    assert {type(found[key]) for key in ("version", "description")} <= {str, type(None)}
    assert len(archives.summary_text(found)) < 5000


def test_summarize_prints_text_or_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The same summary is printed for people and for programs."""
    path = packed(tmp_path)
    archives.summarize_archive(path)
    assert capsys.readouterr().out.startswith("kws, version 3")
    archives.summarize_archive(path, as_json=True)
    assert "kws" == json.loads(capsys.readouterr().out)["model"]
