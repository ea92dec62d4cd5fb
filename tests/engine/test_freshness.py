"""The laws of the one function that decides what is dirty."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.disk.records import Record
from mltkbuild.engine.freshness import Reason, reasons_to_run

NAMES = st.sampled_from(["a", "b", "code models/kws.py", "imports", "spec/train.yaml", "z"])
DIGESTS = st.sampled_from(["0", "1", "2"])
TABLES = st.dictionaries(NAMES, DIGESTS)
FOUND = st.dictionaries(NAMES, DIGESTS | st.none())


def record(inputs: Mapping[str, str], artifacts: Mapping[str, str]) -> Record:
    """A record of a stage that read and made these."""
    return Record("train", "kws", inputs, artifacts)


def differing_inputs(old: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    """The kind of reason that each input gives, by its definition."""
    kinds = {name: "input new" for name in new if name not in old}
    kinds |= {name: "input gone" for name in old if new.get(name) is None}
    return kinds | {name: "input changed" for name in old if new.get(name) not in (None, old[name])}


def differing_artifacts(old: Mapping[str, str], new: Mapping[str, str | None]) -> dict[str, str]:
    """The kind of reason that each artifact gives, by its definition."""
    kinds = {name: "artifact missing" for name in old if new.get(name) is None}
    return kinds | {name: "artifact changed" for name in old if new.get(name) not in (None, old[name])}


@given(TABLES, TABLES)
def test_nothing_differs_and_nothing_runs(inputs: dict[str, str], artifacts: dict[str, str]) -> None:
    """A stage whose inputs and artifacts are those of its record is up to date."""
    assert () == reasons_to_run(record(inputs, artifacts), dict(inputs), dict(artifacts))


@given(TABLES, TABLES, FOUND, FOUND)
def test_each_difference_is_one_reason(
    inputs: dict[str, str],
    artifacts: dict[str, str],
    inputs_now: dict[str, str | None],
    artifacts_now: dict[str, str | None],
) -> None:
    """Every input and artifact that differs gives one reason of its kind, with what was and what is."""
    reasons = reasons_to_run(record(inputs, artifacts), inputs_now, artifacts_now)
    expected = [
        Reason(kind, name, inputs.get(name), inputs_now.get(name))
        for name, kind in sorted(differing_inputs(inputs, inputs_now).items())
    ] + [
        Reason(kind, name, artifacts[name], artifacts_now.get(name))
        for name, kind in sorted(differing_artifacts(artifacts, artifacts_now).items())
    ]
    assert expected == list(reasons)


@given(TABLES, TABLES, FOUND, FOUND)
def test_judging_changes_nothing_and_always_says_the_same(
    inputs: dict[str, str],
    artifacts: dict[str, str],
    inputs_now: dict[str, str | None],
    artifacts_now: dict[str, str | None],
) -> None:
    """Judging is pure: the same facts give the same reasons, and stay as they were."""
    judged = record(inputs, artifacts)
    before = copy.deepcopy((judged, inputs_now, artifacts_now))
    first = reasons_to_run(judged, inputs_now, artifacts_now)
    assert first == reasons_to_run(judged, inputs_now, artifacts_now)
    assert before == (judged, inputs_now, artifacts_now)


@given(TABLES, TABLES)
def test_figures_for_people_decide_nothing(inputs: dict[str, str], artifacts: dict[str, str]) -> None:
    """Facts, stamps, tools and times are no reason to run."""
    other = replace(
        record(inputs, artifacts), facts={"a": 1}, stamps={"a": (1, 2, 3, 4)}, tools={"keras": "9"}, seconds=7
    )
    assert () == reasons_to_run(other, inputs, artifacts)


@given(FOUND, FOUND)
def test_stage_without_a_record_was_never_built(
    inputs: dict[str, str | None], artifacts: dict[str, str | None]
) -> None:
    """Without a record there is one reason, whatever lies on the disk."""
    assert (Reason("never built"),) == reasons_to_run(None, inputs, artifacts)


@given(TABLES, FOUND)
def test_foreign_files_are_no_reason(artifacts: dict[str, str], others: dict[str, str | None]) -> None:
    """A file that the record doesn't name is nobody's artifact."""
    assert () == reasons_to_run(record({}, artifacts), {}, {**others, **artifacts})


def test_missing_input_that_the_last_run_did_not_read_is_new() -> None:
    """An input that the stage has come to read counts even while it is missing."""
    assert (Reason("input new", "data/x.json"),) == reasons_to_run(record({}, {}), {"data/x.json": None}, {})
