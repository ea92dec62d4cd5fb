"""What the deciding process and a worker say to each other: plain values that can be pickled."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

from mltkbuild.disk.door import Door
from mltkbuild.disk.file_lists import listed_files
from mltkbuild.disk.inputs import Input
from mltkbuild.disk.workspace import TEST
from mltkbuild.errors import MltkError
from mltkbuild.stages.table import STAGES

if TYPE_CHECKING:
    from mltkbuild.disk.facts import Facts

Options = Mapping[str, int | str]
"""Options of the command line that change a stage's result: `epochs`, and `weights`, a path."""


@dataclass(frozen=True)
class Start:
    """How a stage is begun; it changes the way and not the result.

    Args:
        force: Whether it runs even when it is up to date.
        resume: From the newest checkpoint (None), from its beginning (0), or from the checkpoint of this epoch.
        clean: Whether all checkpoints are deleted first.
    """

    resume: int | None = None
    clean: bool = False
    force: bool = False

    def forces(self, stage: str) -> bool:
        """Whether a stage runs even when it is up to date: who says where to begin wants it to."""
        return self.force or (STAGES[stage].resumable and (self.resume is not None or self.clean))


RESUME = Start()


# Nothing compares requests, and the code for that would be made at each start.
@dataclass(frozen=True, eq=False)
class Request:
    """Run one stage of one target.

    Args:
        target: `NAME` or `NAME-test`.
        stage: The stage's name.
        root: Absolute path of the workspace.
        spec_path: The spec, relative to the root.
        import_folders: Where the spec imports from, relative to the root.
        sources: Text of the spec and its workspace modules, by path relative to the root.
        folder: Absolute path of the target's build folder.
        scratch: Absolute path of the empty folder to work in.
        log: Absolute path of the file that takes everything that is printed.
        ignored: Absolute folders whose files are never inputs.
        toolchain: How exactly tool versions count.
        artifacts: Absolute path of every artifact made so far, by name.
        options: Options of the command line that change the result.
        known_files: Digests of files that earlier stages of this model have as inputs.
        file_lists: Lists of more such files, by absolute path, each with the digest that stands for its content.
        provenance: For the archive: inputs, artifacts and tools of every stage.
        deterministic: Whether TensorFlow may only use deterministic operations.
        distribute: How the training is distributed; empty for not.
        checkpoints: Absolute path of the folder of the target's checkpoints.
        course: What the course of a training depends on, as JSON values.
        start: From where a training begins.
        environment: The variables of the process that builds, which are those of user code.
    """

    target: str
    stage: str
    root: str
    spec_path: str
    import_folders: tuple[str, ...]
    sources: Mapping[str, str]
    folder: str
    scratch: str
    log: str
    ignored: tuple[str, ...] = ()
    toolchain: str = "minor"
    artifacts: Mapping[str, str] = field(default_factory=dict)
    options: Options = field(default_factory=dict)
    known_files: Mapping[str, str] = field(default_factory=dict)
    file_lists: Mapping[str, str] = field(default_factory=dict)
    provenance: Mapping[str, object] = field(default_factory=dict)
    deterministic: bool = True
    distribute: str = ""
    checkpoints: str = ""
    course: Mapping[str, object] = field(default_factory=dict)
    start: Start = RESUME
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def name(self) -> str:
        """The model's name."""
        return self.target.removesuffix(TEST)

    @property
    def door(self) -> Door:
        """The way to all that is below the build folder."""
        return Door(os.path.dirname(self.folder))

    @property
    def log_door(self) -> Door:
        """The way to its log, which lies elsewhere when nothing is published."""
        return self.door if self.log.startswith(self.folder + os.sep) else Door(os.path.dirname(self.log))

    @cached_property
    def listed_digests(self) -> Mapping[str, str]:
        """Digests by absolute path of the files in the lists; a worker reads them once.

        Raises:
            RecordError: A list can't be read.
        """
        return listed_files(self.file_lists, self.root)

    def is_known(self, path: str, digest: str) -> bool:
        """Whether an earlier stage has a file as an input, with this digest.

        Raises:
            RecordError: A list can't be read.
        """
        return digest in (self.known_files.get(path), self.listed_digests.get(path))

    @property
    def alone(self) -> bool:
        """True for a stage that needs a worker in which TensorFlow hasn't run yet."""
        return STAGES[self.stage].resumable and self.distribute == "multiworker"

    @property
    def test(self) -> bool:
        """True for a dry run."""
        return self.target != self.name


@dataclass(frozen=True, eq=False)
class Job:
    """Do something with files that belong to no workspace.

    Args:
        name: Which of `entry.JOBS`.
        arguments: Its arguments: paths as text, numbers, lists and dicts of them.
        log: Absolute path of the file that takes everything that is printed.
    """

    name: str
    arguments: Mapping[str, object]
    log: str


def _no_facts() -> Facts:
    return {}


@dataclass(eq=False)
class Outcome:
    """What a stage gave.

    Args:
        artifacts: Names of the files in the scratch folder that are to be published.
        files: Digests of files that user code read, by absolute path, taken as they were opened.
        answers: What the system answered when user code asked, by question: `disk/answers` asks it again.
        reads: Names of properties that user code read.
        libraries: Versions of the packages that the spec's code reaches.
        facts: Figures for the record.
        tools: Versions of what ran.
        notes: Lines for people.
        by_text: Whether code may look at the text of code, so that the workspace's modules are files like any other.
        error: Why there is no result.
        spent: What has changed in the process that ran it, in which nothing else may run; empty for nothing.
        seconds: How long the stage ran.
    """

    artifacts: tuple[str, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    answers: dict[Input, str] = field(default_factory=dict)
    reads: tuple[str, ...] = ()
    libraries: dict[str, str] = field(default_factory=dict)
    facts: Facts = field(default_factory=_no_facts)
    tools: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    by_text: bool = False
    error: MltkError | None = None
    spent: str = ""
    seconds: float = 0.0
