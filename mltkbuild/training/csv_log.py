"""Keras' `CSVLogger` in a training that goes on: the file goes on, too, with one header and a row an epoch."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras

from mltkbuild.disk import durable


def go_on(callbacks: Iterable[Any], epoch: int) -> None:
    """Let logs keep what they have of the epochs before this one; call it before their `on_train_begin`.

    Args:
        callbacks: The training's.
        epoch: How many epochs are done.
    """
    for callback in _logs(callbacks):
        callback.append = True
        path = Path(callback.filename)
        text = path.read_text(encoding="utf-8") if path.is_file() else ""
        kept = _before(text, str(callback.sep), epoch)
        if kept != text:
            durable.write(str(path), kept.encode())


def needing_header(callbacks: Iterable[Any]) -> list[tuple[Any, bool]]:
    """Each log, and whether its file has no header yet, as it has found out itself."""
    return [(callback, bool(callback.append_header)) for callback in _logs(callbacks)]


def _logs(callbacks: Iterable[Any]) -> Iterable[Any]:
    return (callback for callback in callbacks if isinstance(callback, keras.callbacks.CSVLogger))


def _before(text: str, separator: str, epoch: int) -> str:
    """A log without the rows of this epoch and later ones, which a stopped training had begun or is to do again."""
    lines = text.splitlines(keepends=True)
    rows = csv.reader(io.StringIO(text), delimiter=separator)
    return "".join(line for line, row in zip(lines, rows, strict=False) if not _is_later(row, epoch))


def _is_later(row: list[str], epoch: int) -> bool:
    return bool(row) and row[0].isdecimal() and int(row[0]) >= epoch
