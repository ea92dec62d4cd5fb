"""Evaluation samples some at a time."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.data import chunks as chunking
from mltkbuild.data.chunks import chunks
from mltkbuild.data.samples import Samples, joined
from mltkbuild.errors import DataError

law = settings(deadline=None, max_examples=40, database=None)


def stream(x: np.ndarray, sizes: list[int]) -> Iterator[Any]:
    """Batches of these sizes."""
    start = 0
    for size in sizes:
        yield (x[start : start + size], x[start : start + size] * 2), {"y": x[start : start + size, 0]}
        start += size


@law
@given(st.lists(st.integers(1, 9), min_size=1, max_size=9), st.integers(1, 5), st.integers(1, 200))
def test_a_stream_is_cut_anew(sizes: list[int], batch_size: int, bytes_: int) -> None:
    """Nothing is lost, repeated or moved; all parts but the last are whole batches of a model's."""
    x = np.arange(sum(sizes) * 2.0).reshape(-1, 2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "BYTES", bytes_)
        found = list(chunks(Samples(stream(x, sizes)), batch_size, len(sizes)))

    whole = joined(found)
    assert np.array_equal(x, whole.x[0])
    assert np.array_equal(x[:, 0], whole.y["y"])
    assert all(len(part) % batch_size == 0 for part in found[:-1])
    assert len({len(part) for part in found[:-1]}) <= 1


@law
@given(st.integers(1, 30), st.integers(1, 7))
def test_arrays_are_cut_in_their_order(n: int, batch_size: int) -> None:
    """The parts are views of the samples."""
    x = np.arange(n * 1.0)[:, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunking, "BYTES", 12)
        found = list(chunks(Samples(x, x), batch_size))

    assert np.array_equal(x, np.concatenate([part.x for part in found]))
    assert all(part.x is part.y and np.shares_memory(part.x, x) for part in found)


def test_a_long_stream_needs_little_memory() -> None:
    """However many batches there are, few are in memory."""

    def batches() -> Iterator[Any]:
        for _ in range(64):
            yield np.zeros((32, 16384), np.float32)  # 2 MiB

    tracemalloc.start()
    try:
        assert 2048 == sum(len(part) for part in chunks(Samples(batches()), 32, 64))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 64 << 20  # of 128 MiB


def test_no_batch_and_no_end_are_told() -> None:
    """A stream that gives nothing, or never ends, can't be evaluated."""
    with pytest.raises(DataError, match="gave no batch"):
        list(chunks(Samples(stream(np.zeros((0, 2)), [])), 2, 4))
    with pytest.raises(DataError, match="has no end"):
        list(chunks(Samples(stream(np.zeros((2, 2)), [2])), 2))
