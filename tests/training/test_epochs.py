"""What the names of metrics say."""

from __future__ import annotations

import pytest

from mltkbuild.training.epochs import RISING, TELLING, rises


@pytest.mark.parametrize("part", RISING)
def test_a_score_rises_unless_it_is_a_loss(part: str) -> None:
    """A score is better when it is greater, in the validation and however it is written; its loss is not."""
    assert (True, True, False) == (rises(part), rises(f"val_{part.upper()}"), rises(f"{part}_loss"))


@pytest.mark.parametrize("metric", ["loss", "val_mae", "mean_squared_error", "learning_rate", ""])
def test_every_other_metric_is_a_kind_of_loss(metric: str) -> None:
    """A metric that isn't known as a score is better when it is lower."""
    assert not rises(metric)


def test_the_metrics_that_tell_most_know_their_direction() -> None:
    """Accuracies rise, losses fall."""
    assert ["val_accuracy", "accuracy"] == [metric for metric in TELLING if rises(metric)]
