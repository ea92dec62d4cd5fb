"""The stage table: what must hold between its rows."""

from __future__ import annotations

import pytest

from mltkbuild.stages.table import STAGES, Stage, owner, reads, upstream


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_stage_needs_those_whose_artifacts_it_reads(stage: Stage) -> None:
    """What a stage reads an earlier one makes, which it needs; what it only waits for it reads nothing of."""
    before = list(STAGES)[: list(STAGES).index(stage.name)]
    owners = {owner(name, "kws") for name in reads(stage, "kws")}
    assert owners <= set(stage.needs) <= set(before)
    assert not owners & set(stage.waits_for)
    assert {*stage.needs, *stage.waits_for, stage.name} <= set(upstream(stage.name))


@pytest.mark.parametrize("stage", STAGES.values(), ids=STAGES)
def test_nothing_trains_before_the_preflight(stage: Stage) -> None:
    """Whatever needs a training needs the preflight before it."""
    order = upstream(stage.name)
    assert "train" not in order or order.index("preflight") < order.index("train")
