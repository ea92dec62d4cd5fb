"""The stage table: what must hold between its rows."""

from __future__ import annotations

import pytest

from mltkbuild.stages.table import ARCHIVE, STAGES, Stage, owner, reads, upstream


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_stage_needs_those_whose_artifacts_it_reads(stage: Stage) -> None:
    """What a stage reads an earlier one makes, which it needs; of one that only looks ahead nobody reads anything."""
    before = list(STAGES)[: list(STAGES).index(stage.name)]
    owners = {owner(name, "kws") for name in reads(stage, "kws")}
    assert owners <= set(stage.needs) <= set(before)
    assert not [name for name in owners if name is not None and STAGES[name].before]
    assert not [name for name in ARCHIVE.needs if STAGES[name].before]


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_nothing_trains_before_the_preflight(stage: Stage) -> None:
    """Whatever needs a training needs the preflight before it."""
    order = upstream(stage.name)
    assert "train" not in order or order.index("preflight") < order.index("train")
