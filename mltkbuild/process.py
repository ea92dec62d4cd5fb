"""What this process is: one that decides, or a worker that was started for one and ends together with it."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from multiprocessing import parent_process
from multiprocessing.connection import Connection, wait
from typing import Any


@dataclass
class Life:
    """What a worker process knows of itself: its signal handler and its progress look here.

    Args:
        pipe: Takes progress; None in a process that is no worker.
        stage: The stage that runs; empty between stages.
        stop: Set when the stage is asked to stop.
    """

    pipe: Connection[Any, Any] | None = None
    stage: str = ""
    stop: threading.Event = field(default_factory=threading.Event)


life = Life()


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
