"""What this process is: one that decides, or a worker that was started for one and ends together with it."""

from __future__ import annotations

import importlib
import os
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any

ENVIRONMENT: Mapping[str, str] = {
    # The order of a set of strings must not differ from run to run.
    "PYTHONHASHSEED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "KERAS_BACKEND": "tensorflow",
    "MPLBACKEND": "Agg",
    # A worker, and whatever multiprocessing starts beside it, finds no module in the working directory.
    "PYTHONSAFEPATH": "1",
}
"""The variables that every worker has; all others are those of the process that builds."""


@dataclass
class Life:
    """What a worker process knows of itself: its signal handler and its progress look here.

    Args:
        pipe: Takes progress; None in a process that is no worker.
        stage: The stage that runs; empty between stages.
        stop: Set when the stage is asked to stop.
        environment: The variables of the process that builds, as this one last heard of them.
    """

    pipe: Connection[Any, Any] | None = None
    stage: str = ""
    stop: threading.Event = field(default_factory=threading.Event)
    environment: Mapping[str, str] = field(default_factory=dict)


life = Life()


MEMORY = "MLTKBUILD_WORKER_MEMORY"
"""The environment variable that says how many GiB a worker may take; 0 for as much as it gets."""
_PART = 0.9
_LEAST_GIB = 4.0
_GROUP = "/sys/fs/cgroup/memory.max"


_FILE_GIB = 1.5
_PER_BYTE = 64


def memory_limit(file_bytes: int | None = None) -> int | None:
    """How many bytes a worker may take: nine tenths of the machine's memory, or of its control group's, at least 4 GiB.

    Args:
        file_bytes: The size of the files that are all that it works on, where that is known: then it may take 1.5 GiB
            and 64 times as much, for they may be a stranger's.

    Returns:
        The bytes; None for no limit, where the environment or the system has none.
    """
    whole = _memory_of_worker()
    if whole is None or file_bytes is None or os.environ.get(MEMORY):
        return whole
    return min(whole, int(_FILE_GIB * 2**30) + _PER_BYTE * file_bytes)


def _memory_of_worker() -> int | None:
    given = os.environ.get(MEMORY, "")
    with suppress(ValueError):
        return int(float(given) * 2**30) or None
    try:
        machine = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None
    # The file has the word "max" where there is no limit, and isn't there outside of Linux.
    with suppress(OSError, ValueError), open(_GROUP, encoding="ascii") as file:
        machine = min(machine, int(file.read()))
    return max(int(_PART * machine), int(_LEAST_GIB * 2**30))


def out_of_memory(file_bytes: int | None = None) -> str:
    """What is known when there wasn't enough."""
    limit = memory_limit(file_bytes)
    return "no limit was set" if limit is None else f"a worker may take {limit / 2**30:.1f} GiB"


def limit_memory(file_bytes: int | None = None) -> None:
    """Let this process fail an allocation of its own rather than have the machine run out of memory."""
    limit = memory_limit(file_bytes)
    if limit is None:
        return
    with suppress(ImportError, OSError, ValueError):
        resource = importlib.import_module("resource")
        # What is mapped to be written, and not the addresses that libraries only reserve.
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        kept = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (kept, hard))


def is_worker() -> bool:
    """Say whether this process is a worker."""
    return life.pipe is not None


def end_with_parent() -> None:
    """End this process as soon as the one that started it is gone, however that ended."""
    threading.Thread(target=_watch, daemon=True).start()


def _watch() -> None:
    parent = parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
