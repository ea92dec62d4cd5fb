"""What became of a stage's last run when it failed: for people who ask later, beside its log. No build believes it."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from mltkbuild.disk.folder import LOGS, Folder
from mltkbuild.disk.open_folder import read_file
from mltkbuild.disk.records import Record
from mltkbuild.errors import MltkError

SCHEMA = 1
SUFFIX = ".failed"
_LONGEST = 2000
_SECONDS = len("2026-01-31T12:00:00")


@dataclass(frozen=True)
class Failure:
    """How a stage failed.

    Args:
        what: What was wrong.
        where: The place; empty for none.
        found: What was found.
        fix: What to do.
        at: UTC time, ISO 8601.
    """

    what: str
    where: str
    found: str
    fix: str
    at: str

    def __str__(self) -> str:
        """One line."""
        return f"failed: {self.what}" + (f": {self.found}" if self.found else "")


def remember(folder: Folder, stage: str, error: MltkError) -> None:
    """Keep why a stage failed; a disk that can't is no second failure."""
    parts = {name: str(getattr(error, name) or "")[:_LONGEST] for name in ("what", "where", "found", "fix")}
    failure = Failure(**parts, at=datetime.now(UTC).isoformat(timespec="seconds"))
    fields = {"schema": SCHEMA, "stage": stage, "target": folder.target, **asdict(failure)}
    with contextlib.suppress(OSError, MltkError):
        folder.door.make(os.path.join(folder.path, LOGS))
        folder.door.write(_path(folder, stage), json.dumps(fields, sort_keys=True).encode() + b"\n")


def forget(folder: Folder, stage: str) -> None:
    """Drop it, for the stage has succeeded or its traces are removed."""
    with contextlib.suppress(OSError, MltkError):
        folder.door.remove(_path(folder, stage))


def last(folder: Folder, stage: str, record: Record | None) -> Failure | None:
    """Why the last run of a stage failed; None when it didn't, or when what tells it is damaged.

    Args:
        folder: The target's folder.
        stage: The stage.
        record: Its last success, which may be later than what is kept.
    """
    try:
        fields = json.loads(read_file(_path(folder, stage)).decode())
        if (fields.pop("schema"), fields.pop("stage"), fields.pop("target")) != (SCHEMA, stage, folder.target):
            return None
        failure = Failure(**fields)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return None
    if not all(isinstance(value, str) for value in fields.values()):
        return None
    is_over = record is not None and failure.at[:_SECONDS] < record.finished[:_SECONDS]
    return None if is_over else failure


def _path(folder: Folder, stage: str) -> str:
    return os.path.join(folder.path, LOGS, stage + SUFFIX)
