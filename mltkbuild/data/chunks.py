"""Evaluation samples some at a time, so that however many there are, few are in memory at once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from mltkbuild.data import parts, streams
from mltkbuild.data.samples import Samples, check, finished, joined
from mltkbuild.errors import DataError

BYTES = 8 << 20
"""So much of the samples' values, as float32, is in memory at a time."""


def chunks(samples: Samples, batch_size: int, limit: int | None = None, seed: int | None = None) -> Iterator[Samples]:
    """The samples in their order, a multiple of `batch_size` at a time but for the last ones.

    Args:
        samples: Arrays or a stream; weights get lost.
        batch_size: How many samples a model sees at once.
        limit: How many batches of a stream to read; None for all.
        seed: The seed of random steps that are done on the fly; None to leave these out.

    Raises:
        DataError: A stream has no end, no batch, or gives what are no samples.
    """
    if samples.is_stream:
        yield from _of_stream(samples.x, batch_size, limit)
        return
    size = _rows(samples, batch_size)
    for start in range(0, len(samples), size):
        yield finished(samples.part(slice(start, start + size)), seed)


def _of_stream(stream: Any, batch_size: int, limit: int | None) -> Iterator[Samples]:
    if limit is None and streams.is_endless(stream):
        raise DataError(
            "the evaluation data has no end",
            found=f"a {type(stream).__name__} that repeats",
            fix="set my_model.eval_steps_per_epoch to how many batches are evaluated",
        )
    held: list[Samples] = []
    count = size = 0
    for x, y in streams.batches(stream, limit):
        batch = Samples(x, y)
        check(batch, "evaluation", None)
        size = size or _rows(batch, batch_size)
        held.append(batch)
        count += len(batch)
        while count >= size:
            whole = _joined(held)
            yield whole.part(slice(0, size))
            count -= size
            held = [whole.part(slice(size, None))] if count else []
    if not size:
        raise DataError("the stream of evaluation data gave no batch")
    if held:
        yield _joined(held)


def _joined(held: list[Samples]) -> Samples:
    try:
        return joined(held)
    except ValueError as error:
        raise DataError(
            "the batches of the evaluation data don't fit together", found=str(error), fix="give all samples one shape"
        ) from error


def _rows(samples: Samples, batch_size: int) -> int:
    """How many samples are in memory at a time."""
    values = sum(int(np.prod(array.shape[1:])) for array in parts.by_name(samples.x).values())
    return max(BYTES // (4 * max(values, 1)) // batch_size, 1) * batch_size
