"""Text of strangers steers no terminal, forges no line and is no formula, on every way to people."""

from __future__ import annotations

import csv
import io
import json
import re
import unicodedata
from pathlib import Path
from typing import Any

import keras
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rich.console import Console

from mltkbuild.engine.freshness import Reason
from mltkbuild.errors import StageError
from mltkbuild.evaluation import tables
from mltkbuild.firmware import cpp
from mltkbuild.front import report
from mltkbuild.front.progress import QuietDisplay
from mltkbuild.pictures import data_page
from mltkbuild.shown import csv_cell, shown, shown_lines
from mltkbuild.tflite import params, profile
from mltkbuild.workers import file_jobs

from .conftest import Files, Front, Result, command
from .tflite.test_micro import changed

STEERING = "\x1b]0;PWN\x07\x1b[2J\r\nerror: forged\u202e\u200b\x9b\x7f\u2028\u0085end"
ANY = st.text(st.characters(), max_size=40)
law = settings(deadline=None, max_examples=300, database=None)


def steers(text: str) -> list[str]:
    """What in a text is no printable character, but for the ends of its own lines."""
    return [char for char in text if char != "\n" and unicodedata.category(char) in ("Cc", "Cf", "Cs", "Zl", "Zp")]


@law
@given(ANY)
@example(STEERING)
def test_what_is_shown_is_one_printable_line(text: str) -> None:
    """Whatever the text, what is shown has no control character, and showing it twice changes nothing."""
    safe = shown(text, 10_000)
    assert ([], 1, safe) == (steers(safe), len(safe.split("\n")), shown(safe, 10_000))
    assert [] == steers(shown_lines(text).replace("\t", ""))
    assert text.count("\n") == shown_lines(text).count("\n")


@law
@given(st.text(st.characters(exclude_characters="\\", exclude_categories=["Zs"]), max_size=20))
def test_what_is_shown_can_be_read_back(text: str) -> None:
    """Two texts without backslashes never look alike: the escapes are Python's."""
    escapes = r"\\(?:x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8}|[tnr])"
    assert text == re.sub(escapes, lambda found: found[0].encode().decode("unicode_escape"), shown(text, 10_000))


@law
@given(ANY)
@example("=cmd|' /C calc'!A0")
@example(" =1+1")
@example("\t=1")
@example("@SUM(A1)")
def test_no_cell_is_a_formula(text: str) -> None:
    """A text that a spreadsheet would compute is none any more; a number stays one."""
    cell = str(csv_cell(text))
    try:
        float(cell)
    except ValueError:
        assert not cell.lstrip().startswith(("=", "+", "-", "@", "\t", "\r"))
    assert (-1.5, None, "-1.5", "+3e4") == tuple(map(csv_cell, (-1.5, None, "-1.5", "+3e4")))


@pytest.mark.parametrize("field", ["what", "where", "found", "fix", "trace"])
def test_an_error_has_its_own_lines_alone(field: str) -> None:
    """Whatever stands in a field, an error's text has one line for each."""
    fields: dict[str, Any] = {"what": "it is bad", "where": "x", "found": "1", "fix": "mend it", "trace": "a"}
    fields[field] = STEERING
    text = str(StageError(fields.pop("what"), **fields))
    assert [] == steers(text)
    assert not [line for line in text.split("\n") if line.startswith("error")]


def test_a_build_and_a_table_show_names_in_lines(tmp_path: Path) -> None:
    """A name in a table, a reason or a line of a build is a part of its one line."""
    text = report.table(("a", "b"), [("x", STEERING)])
    assert ([], 2) == (steers(text), len(text.split("\n")))
    assert [] == steers(report.reason_text(Reason("artifact missing", STEERING)))
    lines = tables.aligned([("class", "n"), (STEERING, "1")])
    assert ([], 2) == (steers("".join(lines)), len("\n".join(lines).split("\n")))
    out = io.StringIO()
    display = QuietDisplay(Console(file=out, width=200))
    display.begin("train:kws", STEERING)
    display.end("train:kws", f"made  ({STEERING})")
    display.note(STEERING)
    assert ([], 2) == (steers(out.getvalue()), out.getvalue().count("\n"))
    tables.write_csv(tmp_path / "x.csv", ("class", "n"), [("=1+1", 2), (STEERING, -1.5)])
    rows = list(csv.reader(io.StringIO((tmp_path / "x.csv").read_text(encoding="utf-8"))))
    assert (["'=1+1", "2"], "-1.5", []) == (rows[1], rows[2][1], steers(rows[2][0]))


def test_pages_and_sources_hold_names_as_text() -> None:
    """A name in a page is text, in C++ a comment or a literal that ends in its own line."""
    assert "<" not in data_page._text(f"<script>{STEERING}")
    assert [] == steers(data_page._text(STEERING))
    comment, literal = cpp.comment(STEERING + "\\"), cpp.string(STEERING)
    assert ([], []) == (steers(comment), steers(literal))
    assert not comment.endswith("\\")
    assert re.fullmatch("[A-Za-z]\\w*", cpp.identifier(STEERING))


def hostile(path: Path) -> Path:
    """A `.tflite` whose tensor and parameter names steer a terminal."""

    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.name = ("=" + STEERING + str(tensor.buffer)).encode()

    path.write_bytes(params.embed(changed(change), {STEERING: STEERING, "threshold": 0.5}, STEERING))
    return path


def test_a_profile_shows_names_in_lines(tmp_path: Path) -> None:
    """Tensor names stand in the text, the table and the CSV of a profile."""
    found = profile.profile(hostile(tmp_path / "m.tflite").read_bytes(), "m")
    text, table = profile.as_text(found), profile.as_csv(found)
    assert [] == steers(text + table)
    assert not [line for line in text.split("\n") if line.startswith("error")]
    assert "'=" in table


@pytest.mark.real
@pytest.mark.parametrize(
    "arguments", [("profile",), ("profile", "--csv"), ("summarize",), ("update_params",)], ids=" ".join
)
def test_commands_on_a_hostile_file_steer_no_terminal(front: Front, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    """What the commands print of a stranger's `.tflite` is printable."""
    command, *rest = arguments
    result = front.mltk(command, str(hostile(tmp_path / "m.tflite")), *rest)
    assert (0, "", []) == (result.code, result.err, steers(result.out))
    assert not [line for line in result.out.split("\n") if line.startswith("error")]


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")
@pytest.mark.real
def test_a_summary_of_a_keras_file_steers_no_terminal(tmp_path: Path) -> None:
    """Layer names of a stranger's Keras file are printable in its summary."""
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="x\x1b[2J\u202ey\x07")])
    model.save(tmp_path / "m.keras")
    text = file_jobs.summarize(str(tmp_path / "m.keras"))
    assert ([], True) == (steers(text), r"x\x1b[2J" in text)


@pytest.mark.parametrize("arguments", [("mltk", "list"), ("mltk", "status"), ("doit", "list", "--all"), ("doit",)])
def test_names_of_spec_files_steer_no_terminal(workspace: Files, arguments: tuple[str, ...]) -> None:
    """A spec whose file has a steering name is an error that can be shown, and hinders no command."""
    workspace.spec("kws")
    (workspace.root / "models" / "a\x1b]0;PWN\x07\u202e=b\nerror: forged.py").write_text("# @mltk_model\n")
    if arguments == ("doit",):
        arguments = ("doit", "ignore", "train:kws")
    result: Result = command(*arguments, cwd=workspace.root)
    assert [] == steers(result.out + result.err)
    assert not [line for line in (result.out + result.err).split("\n") if line.startswith("error: forged")]
    assert "Traceback" not in result.err
    assert result.code in (0, 1, 2)


def test_json_of_strangers_is_ascii() -> None:
    """What is printed as JSON needs no escaping of our own."""
    assert json.dumps(STEERING).isascii()
