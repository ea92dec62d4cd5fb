"""Where the artifacts, records and logs of one target lie."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from mltkbuild.disk.door import Door

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

    @property
    def door(self) -> Door:
        """The way to all that is below the build folder, which may itself be a link: its user has made it."""
        return Door(os.path.dirname(self.path))

    def door_of(self, name: str) -> Door:
        """The way to an artifact."""
        return Door(self.archive_dir) if name.endswith(ARCHIVE_SUFFIX) else self.door

    def artifact(self, name: str) -> str:
        """The absolute path of an artifact."""
        # No `os.path.join`: all names went through the gate, and a build asks for thousands of paths.
        return f"{self.archive_dir if name.endswith(ARCHIVE_SUFFIX) else self.path}{os.sep}{name}"

    def record_path(self, stage: str, suffix: str = DONE) -> str:
        """The path of a stage's record."""
        return f"{self.path}{os.sep}{RECORDS}{os.sep}{stage}{suffix}"

    def log_path(self, stage: str) -> str:
        """The path of a stage's log: everything that it and its libraries print."""
        return os.path.join(self.path, LOGS, f"{stage}.log")

    @property
    def checkpoints(self) -> str:
        """The folder of the checkpoints of its training."""
        return os.path.join(self.path, "train", "checkpoints")

    def places(self, stage: str, names: Iterable[str]) -> tuple[list[str], list[str]]:
        """Where a stage of these artifacts writes below the build folder: the folders, and the files."""
        files = [self.artifact(name) for name in names if not name.endswith(ARCHIVE_SUFFIX)]
        own = [os.path.join(self.path, name) for name in (RECORDS, LOGS)]
        folders = [*own, self.checkpoints, *dict.fromkeys(map(os.path.dirname, files))]
        return folders, [*files, *(self.record_path(stage, suffix) for suffix in (PENDING, DONE, VALUES))]

    def scratch_path(self, stage: str) -> str:
        """The scratch folder that a stage of this process works in."""
        return os.path.join(self.path, SCRATCH, f"{stage}-{os.getpid()}")
