"""Where results come from: the course of a training, and the origin of an archive."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.engine.builder import Builder
from mltkbuild.engine.provenance import NOT_ON_COURSE, course_of, parse, portable, provenance
from mltkbuild.stages.table import upstream

from ..conftest import Fakes, Files, Running

SLICE = "code: {}\nproperties:\n  batch_size: 32\n  epochs: 10\n"


@pytest.mark.parametrize("name", sorted(NOT_ON_COURSE))
def test_how_far_a_training_goes_is_not_its_course(name: str) -> None:
    """A property that leaves every epoch as it is belongs to no course; any other does."""
    course = course_of({}, SLICE)

    assert course == course_of({}, f"{SLICE}  {name}: 7\n")
    assert course != course_of({}, f"{SLICE}  seed: 7\n")


def test_the_inputs_of_a_course() -> None:
    """All inputs count but the slice, which counts by what it says, and the number of epochs."""
    inputs = {"spec/train.yaml": "a", "option epochs": "5", "spec/model.json": "b", "data/training.json": None}

    assert {"spec/model.json": "b", "data/training.json": None} == course_of(inputs, SLICE)["inputs"]


@given(st.dictionaries(st.text("abc/", min_size=1), st.text("0123456789abcdef", min_size=12, max_size=64)))
def test_origins_name_no_folder_of_a_machine(digests: dict[str, str]) -> None:
    """A file outside the workspace goes by its name and digest; every digest is there, whatever lay where."""
    found = portable({f"file {name}": digest for name, digest in digests.items()})

    assert not any(name.startswith("file /") for name in found)
    assert set(digests.values()) == set(found.values())


def test_the_origin_of_an_archive(built_workspace: Files, fakes: Fakes) -> None:
    """Every earlier stage is told by its inputs, artifacts and tools, without a time or a place."""
    state = Builder(built_workspace.workspace, Running(fakes)).state("kws")
    records = [record for stage in upstream("archive")[:-1] if (record := state.record(stage)) is not None]

    found = provenance(state, records)

    assert ("kws", "kws", "models/kws.py") == (found["model"], found["target"], found["spec"])
    stages = found["stages"]
    assert isinstance(stages, dict)
    assert list(upstream("archive")[:-1]) == list(stages)
    assert all({"inputs", "artifacts", "tools"} == stage.keys() for stage in stages.values())
    assert str(built_workspace.root) not in json.dumps(found)


def test_slices_and_models_are_read_by_their_kind() -> None:
    """A slice is YAML, `model.json` is JSON."""
    assert ({"a": "b"}, {"a": [1]}) == (parse("a: b\n", "spec/train.yaml"), parse('{"a": [1]}', "spec/model.json"))
