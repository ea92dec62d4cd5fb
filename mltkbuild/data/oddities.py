"""What is odd about the subsets of a data set, though nothing is wrong: a line each, for the build."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.data.samples import Samples

FEWEST = 5
"""A class with fewer training samples is told."""
_SHARED = 0.05
"""Discrete samples may well be equal by chance; from this part on, those that two subsets share are told."""
_MOST_NAMES = 5


def told(subsets: Mapping[str, Samples | None], described: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Look at the subsets of a data set.

    Args:
        subsets: The samples by subset: 'training', 'validation', 'evaluation'.
        described: What `samples.describe` says of each.

    Yields:
        One line for each oddity.
    """
    training, validation = (described[name].get("classes") or {} for name in ("training", "validation"))
    if missing := [label for label, count in training.items() if not count]:
        yield f"there is no training sample of {_listed(missing)}"
    if few := [f"{label} ({count})" for label, count in training.items() if 0 < count < FEWEST]:
        yield f"there are fewer than {FEWEST} training samples of {_listed(few)}"
    if missing := [label for label, count in validation.items() if not count and training.get(label)]:
        yield f"there is no validation sample of {_listed(missing)}"
    yield from _shared(subsets)


def _listed(names: list[str]) -> str:
    more = len(names) - _MOST_NAMES
    return ", ".join(names[:_MOST_NAMES]) + (f" and {more} more" if more > 0 else "")


def _shared(subsets: Mapping[str, Samples | None]) -> Iterator[str]:
    """Evaluation samples that a training has seen, or that have chosen its best epoch."""
    found = {name: _keys(subsets.get(name)) for name in ("training", "validation", "evaluation")}
    evaluated = found["evaluation"]
    if not evaluated:
        return
    for name, why in (
        ("training", "their figures say little about new ones"),
        ("validation", "they chose the best epoch, too"),
    ):
        known = set(found[name])
        count = sum(key in known for key in evaluated)
        if count >= _SHARED * len(evaluated) and count:
            which = f"all {count}" if count == len(evaluated) else f"{count} of {len(evaluated)}"
            yield f"{which} evaluation samples are {name} samples: {why}"


def _keys(part: Samples | None) -> list[int]:
    """A number for each sample in memory, the same for equal ones."""
    if part is None or part.is_stream:
        return []
    arrays = parts.by_name(part.x).values()
    if not all(isinstance(array, np.ndarray) for array in arrays):
        # Prepared samples belong to a subset by their names.
        return []
    return list(map(hash, zip(*map(_row_keys, arrays), strict=True)))


def _row_keys(array: np.ndarray) -> list[int]:
    return [hash(row.tobytes()) for row in array]
