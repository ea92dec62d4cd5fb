"""What is odd about a data set is told in the build, though nothing is wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from mltkbuild.data import oddities
from mltkbuild.data.samples import Samples, describe

CLASSES = ("a", "b", "c")
RNG = np.random.default_rng(0)


def samples(ids: list[int], x: Any = None) -> Samples:
    """Samples of these classes, unlike any others unless they are given."""
    return Samples(RNG.normal(0, 1, (len(ids), 6)) if x is None else x, np.array(ids))


def told(training: Any, validation: Any = None, evaluation: Any = None) -> list[str]:
    """The lines about three subsets."""
    parts = {"training": training, "validation": validation, "evaluation": evaluation}
    return [*oddities.told(parts, {name: describe(part, CLASSES, "") for name, part in parts.items()})]


EACH = samples([0, 1, 2] * 6)
COUNTS: dict[str, tuple[Samples, Samples | None, list[str]]] = {
    "plain": (EACH, samples([0, 1, 2]), []),
    "no validation": (EACH, None, []),
    "missing": (samples([0, 1] * 6), None, ["there is no training sample of c"]),
    "few": (samples([0] * 9 + [1] * 4 + [2] * 5), None, ["there are fewer than 5 training samples of b (4)"]),
    "sorted": (EACH, samples([2] * 5), ["there is no validation sample of a, b"]),
    "missing in both": (samples([0, 1] * 6), samples([0, 1]), ["there is no training sample of c"]),
}


@pytest.mark.parametrize("name", COUNTS)
def test_classes_without_samples_are_told(name: str) -> None:
    """A class without training or validation samples, or with fewer than five."""
    training, validation, expected = COUNTS[name]
    assert expected == told(training, validation)


def test_evaluation_on_what_was_trained_on_is_told() -> None:
    """Wholly or in part, by the samples themselves and not by where they come from."""
    half = samples([0, 1, 2] * 2, np.concatenate([EACH.x[4:7], RNG.normal(0, 1, (3, 6))]))
    kept = samples([0, 1, 2])
    trained = "samples are training samples: their figures say little about new ones"
    assert [f"all 18 evaluation {trained}"] == told(EACH, None, Samples(EACH.x[::-1].copy(), EACH.y))
    assert [f"3 of 6 evaluation {trained}"] == told(EACH, None, half)
    assert ["all 3 evaluation samples are validation samples: they chose the best epoch, too"] == told(EACH, kept, kept)
    assert [] == told(EACH, kept, samples([0, 1, 2]))


def test_few_equal_samples_may_be_chance() -> None:
    """Of discrete samples some are equal; images that differ in the middle alone are not."""
    many = samples([0, 1, 2] * 10)
    once = samples([0, 1, 2] * 10, np.concatenate([many.x[:1], RNG.normal(0, 1, (29, 6))]))
    assert [] == told(many, None, once)
    wide = np.zeros((30, 9000), np.uint8)
    other = wide.copy()
    other[:, 4501] = 1
    assert [] == told(samples([0, 1, 2] * 10, wide), None, samples([0, 1, 2] * 10, other))


def test_streams_are_not_looked_at() -> None:
    """They may begin only once."""
    stream = Samples(tf.data.Dataset.from_tensor_slices((EACH.x, EACH.y)).batch(2))
    assert [] == told(stream, None, stream)
