"""What a spec's functions log: lines in the stage's log, and for people while the stage runs."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from mltkbuild.events import Listener, Note
from mltkbuild.shown import shown
from mltkbuild.spec.model import LOGGER


class _Telling(logging.Handler):
    def __init__(self, label: str, progress: Listener) -> None:
        super().__init__()
        self._label = label
        self._progress = progress

    def emit(self, record: logging.LogRecord) -> None:
        text = self.format(record)
        sys.stdout.write(f"{shown(text)}\n")
        level = f"{record.levelname.lower()}: " if record.levelno > logging.INFO else ""
        self._progress(Note(f"{self._label}: {level}{text}"))


@contextmanager
def telling(label: str, progress: Listener) -> Iterator[None]:
    """Tell what loggers of a spec say inside the block, from the level INFO on.

    Args:
        label: The stage and the target, which each line begins with.
        progress: Takes the lines.
    """
    logger, handler = logging.getLogger(LOGGER), _Telling(label, progress)
    before = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
