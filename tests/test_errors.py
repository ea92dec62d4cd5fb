"""Errors: their text, their exit codes, and their way from a worker process."""

from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.errors import (
    DataError,
    MltkError,
    RecordError,
    SpecError,
    StageError,
    UsageError,
    WorkerDied,
    WorkspaceError,
)
from mltkbuild.spec.model import MissingProperty

texts = st.none() | st.text(max_size=20)


def test_text_has_one_field_a_line() -> None:
    """An error says what and where, shows what was found, ends in what to do, and then the user's own traceback."""
    error = SpecError("it is wrong", where="models/a.py:3", found="7", fix="use 8", trace="a.py:3, in f\n    g()\n")
    expected = "models/a.py:3: it is wrong.\n  found: 7\n  fix:   use 8\n  | a.py:3, in f\n  |     g()"
    assert expected == str(error)
    assert "it is wrong." == str(MltkError("it is wrong"))


@pytest.mark.parametrize(
    ("kind", "code"),
    [
        (MltkError, 1),
        (UsageError, 2),
        (WorkspaceError, 2),
        (SpecError, 2),
        (DataError, 1),
        (StageError, 1),
        (WorkerDied, 1),
        (RecordError, 1),
    ],
)
def test_exit_code(kind: type[MltkError], code: int) -> None:
    """A bad spec or usage is 2, whatever fails later is 1."""
    assert code == kind("x").exit_code


@given(st.text(), texts, texts, texts, texts)
def test_error_crosses_a_process_boundary(
    what: str, where: str | None, found: str | None, fix: str | None, trace: str | None
) -> None:
    """Pickling keeps the kind and every field."""
    error = StageError(what, where=where, found=found, fix=fix, trace=trace)
    again = pickle.loads(pickle.dumps(error))
    assert (type(error), vars(error)) == (type(again), vars(again))


def test_missing_property_crosses_a_process_boundary_as_a_spec_error() -> None:
    """The error that `hasattr` understands arrives as the plain one."""
    again = pickle.loads(pickle.dumps(MissingProperty(SpecError("no x", where="a.py:1", fix="y"))))
    assert (SpecError, "a.py:1: no x.\n  fix:   y") == (type(again), str(again))


def test_an_error_gets_a_place_only_once() -> None:
    """A place is given to a copy, with the cause and the traceback; an error that has one stays itself."""
    cause = ValueError("x")
    try:
        raise DataError("no samples", found="0", fix="add some") from cause
    except DataError as error:
        bare = error
    placed = bare.at("models/kws.py:3")
    assert (None, "models/kws.py:3", DataError) == (bare.where, placed.where, type(placed))
    assert (bare.found, bare.fix, cause, bare.__traceback__) == (
        placed.found,
        placed.fix,
        placed.__cause__,
        placed.__traceback__,
    )
    assert placed is placed.at("elsewhere")
