"""Where the artifacts, records and logs of one target lie."""

from __future__ import annotations

import os
from dataclasses import dataclass

RECORDS, SCRATCH, LOGS = ".records", ".scratch", ".logs"
ARCHIVE_SUFFIX = ".mltk.zip"
PENDING, DONE, VALUES = ".pending", ".json", ".values.json"


@dataclass(frozen=True)
class Folder:
    """The artifacts and records of one target.

    Args:
        target: `NAME` or `NAME-test`.
        path: Absolute path of `build/TARGET`.
        archive_dir: Absolute path of the folder that the archive is published in, beside the spec.
    """

    target: str
    path: str
    archive_dir: str

    def artifact(self, name: str) -> str:
        """The absolute path of an artifact."""
        if name.endswith(ARCHIVE_SUFFIX):
            return os.path.join(self.archive_dir, name)
        return os.path.join(self.path, name)

    def record_path(self, stage: str, suffix: str = DONE) -> str:
        """The path of a stage's record."""
        return os.path.join(self.path, RECORDS, stage + suffix)

    def log_path(self, stage: str) -> str:
        """The path of a stage's log: everything that it and its libraries print."""
        return os.path.join(self.path, LOGS, f"{stage}.log")

    @property
    def checkpoints(self) -> str:
        """The folder of the checkpoints of its training."""
        return os.path.join(self.path, "train", "checkpoints")

    def scratch_path(self, stage: str) -> str:
        """The scratch folder that a stage of this process works in."""
        return os.path.join(self.path, SCRATCH, f"{stage}-{os.getpid()}")
