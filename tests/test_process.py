"""What a worker may take of the machine."""

from __future__ import annotations

import pytest

from mltkbuild import process

from . import warm

TAKE = """
from mltkbuild import process
import numpy as np
process.limit_memory()
try:
    np.ones(3 << 30, np.uint8)
except MemoryError:
    print("refused")
print(process.out_of_memory())
print(int(np.ones(1 << 20, np.uint8).sum()))
"""


@pytest.mark.parametrize(("text", "found"), [("2", 2 << 30), ("0.5", 1 << 29), ("0", None)])
def test_limit_is_what_the_environment_says(monkeypatch: pytest.MonkeyPatch, text: str, found: int | None) -> None:
    """GiB, parts of one too; 0 means none."""
    monkeypatch.setenv(process.MEMORY, text)
    assert found == process.memory_limit()


@pytest.mark.parametrize("text", ["", "much", "1 GB"])
def test_without_a_number_it_is_the_machine_s(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Most of what there is, and at least 4 GiB."""
    monkeypatch.setenv(process.MEMORY, text)
    limit = process.memory_limit()
    assert limit is not None
    assert limit >= 4 << 30


def test_files_of_strangers_get_what_their_size_asks_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """1.5 GiB and 64 times the files, but never more than any worker; what the environment says goes before."""
    monkeypatch.delenv(process.MEMORY, raising=False)
    whole = process.memory_limit()
    assert whole is not None
    assert (3 << 29) + 64_000_000 == process.memory_limit(1_000_000)
    assert whole == process.memory_limit(1 << 40)
    monkeypatch.setenv(process.MEMORY, "3")
    assert 3 << 30 == process.memory_limit(1_000_000)


@pytest.mark.real
def test_allocation_beyond_the_limit_fails_and_the_process_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an error of Python's, which can be told, and not the end of the machine."""
    monkeypatch.setenv(process.MEMORY, "2.5")
    assert ["refused", "a worker may take 2.5 GiB", str(1 << 20)] == warm.python(TAKE).splitlines()
