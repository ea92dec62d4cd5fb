"""Names of inputs: made and taken apart in one place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk import inputs
from mltkbuild.disk.inputs import Input, of_kind, parse

KINDS = ("CODE", "TEXT", "FILE", "PROPERTY", "TOOL", "LIBRARY", "OPTION")
WITH_SUBJECT = [getattr(inputs, kind) for kind in KINDS]


@given(st.sampled_from(WITH_SUBJECT), st.text())
def test_name_comes_back_as_it_was(kind: str, subject: str) -> None:
    """Whatever a path or a name is like, what a record calls an input leads back to it."""
    assert Input(kind, subject) == parse(Input(kind, subject).name)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("file data/a b.csv", (inputs.FILE, "data/a b.csv")),
        ("file ", (inputs.FILE, "")),
        ("tool keras", (inputs.TOOL, "keras")),
        ("files", (inputs.FILES, "")),
        ("imports", (inputs.IMPORTS, "")),
        ("stage revision", (inputs.REVISION, "")),
        ("data/training.json", (inputs.ARTIFACT, "data/training.json")),
        ("1,234 more files", (inputs.ARTIFACT, "1,234 more files")),
        ("file", (inputs.ARTIFACT, "file")),
    ],
)
def test_names_of_yesterday_s_records(name: str, expected: tuple[str, str]) -> None:
    """The names are those that records on people's disks have, and come back to the letter."""
    assert (expected, name) == (tuple(parse(name)), parse(name).name)


def test_inputs_of_a_kind() -> None:
    """A kind's inputs go by their subjects; another kind that begins alike is not among them."""
    record = {"file a": "1", "files": "2", "file ": "3", "code a": "4"}
    assert [("a", "1"), ("", "3")] == list(of_kind(record, inputs.FILE))
