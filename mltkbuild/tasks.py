"""The doit front: one task a stage and target. doit gives order, selection and parallelism; records decide."""

from __future__ import annotations

import sys

from mltkbuild.search_path import search_path

if sys.path != (_path := search_path()):
    # doit looks for modules in the dodo's folder first. From here on no file there stands in for what is installed.
    sys.path[:] = _path

import gc
import inspect
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any, ClassVar, TextIO

from doit.cmd_base import ModuleTaskLoader
from doit.cmdparse import CmdParseError
from doit.doit_cmd import DoitMain
from doit.exceptions import BaseFail, InvalidDodoFile, TaskError, TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter
from doit.task import Task

from mltkbuild.disk import checkpoints, store
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.workspace import TEST
from mltkbuild.engine.freshness import Verdict
from mltkbuild.errors import MltkError
from mltkbuild.front.session import Session, current, fail
from mltkbuild.shown import shown
from mltkbuild.stages.protocol import RESUME, Start
from mltkbuild.stages.table import ARCHIVE, STAGES, Stage, makes, upstream

OBJECTS = 1_000_000
"""So many new objects, less those that are gone, are worth a search for garbage."""
YOUNG = 100
"""So many searches among new objects come before one among those that outlived them."""


def positive(text: str) -> int:
    """A number of epochs of the command line."""
    if not text.isdecimal() or int(text) < 1:
        raise CmdParseError(f"epochs must be a positive integer.\n  found: {text}\n  fix:   such as --epochs 5")
    return int(text)


_OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "epochs": {
        "name": "epochs",
        "long": "epochs",
        "short": "e",
        "type": positive,
        "default": 0,
        "help": "train this many epochs instead of the spec's",
    },
    "weights": {
        "name": "weights",
        "long": "weights",
        "short": "w",
        "type": str,
        "default": "",
        "help": "start from the weights in this file, or from the 'best' checkpoint",
    },
}
"""The options that change a stage's result, as doit takes them."""
_RESUMING: tuple[Mapping[str, Any], ...] = (
    {
        "name": "resume",
        "long": "resume",
        "inverse": "no-resume",
        "type": bool,
        "default": True,
        "help": "go on from the last checkpoint, where there is one",
    },
    {
        "name": "resume_epoch",
        "long": "resume-epoch",
        "type": positive,
        "default": 0,
        "help": "train again from the checkpoint of this epoch",
    },
    {
        "name": "clean",
        "long": "clean",
        "type": bool,
        "default": False,
        "help": "delete all checkpoints and train from the beginning",
    },
)
"""Those of a stage that keeps checkpoints: how it begins."""


class Judge:
    """Tells doit whether a task is up to date; its repr is why not, for `doit info`."""

    # doit asks for the signature of each callable on each run, which would be most of a no-op's time.
    __signature__: ClassVar[inspect.Signature] = inspect.Signature()

    __slots__ = ("_session", "_task")

    def __init__(self, owner: Session, task: StageTask) -> None:
        self._session = owner
        self._task = task

    def __call__(self) -> bool:
        """Whether the stage is up to date."""
        task = self._task
        try:
            chosen = task.chosen()
        except MltkError:
            # The run reports it.
            return False
        verdict = task.verdict = self._session.judge(task.target, task.stage, chosen)
        self._session.builder.go_by(verdict)
        if verdict.reasons or task.start().forces(task.stage):
            self._session.guard()
            return False
        return True

    def __repr__(self) -> str:
        """The reasons in words."""
        task = self._task
        return shown(self._session.why(self._session.judge(task.target, task.stage, task.chosen()), 5))


class StageTask(Task):
    """A stage of one target as doit sees it, made by copying a template that doit has checked once."""

    stage: str
    target: str
    order: tuple[str, ...]
    session: Session
    verdict: Verdict | None

    @classmethod
    def template(cls, stage: Stage) -> StageTask:
        """A task of this stage without a target."""
        params = [_OPTIONS[name] for name in stage.options] + (list(_RESUMING) if stage.resumable else [])
        task = cls(stage.name, [_no_action], doc=stage.doc, params=params, io={"capture": False}, verbosity=2)
        # doit goes through what an archive needs in this order, so that each stage comes as it follows from the others.
        task.order = upstream(stage.name)[:-1] if stage is ARCHIVE else stage.needs
        return task

    def for_target(self, owner: Session, stage: Stage, target: str) -> StageTask:
        """The task of one target."""
        # Not copy.copy: a doit task drops half of itself when it is copied that way, as it does for pickling.
        task = object.__new__(type(self))
        task.__dict__.update(self.__dict__)
        task.name = f"{stage.name}:{target}"
        task.subtask_of = stage.name
        task.stage, task.target, task.session, task.verdict = stage.name, target, owner, None
        task.task_dep = [f"{needed}:{target}" for needed in self.order]
        task.targets = _targets(owner, stage, target)
        task.uptodate = [(Judge(owner, task), [], {})]
        task._actions = [task.build]
        task.meta = {"mltkbuild": (stage.name, target)}
        task.values, task.value_savers = {}, []
        return task

    def chosen(self) -> dict[str, int | str]:
        """The options of the command line that change the result."""
        options = self.options or {}
        found = {name: value for name, value in options.items() if name in STAGES[self.stage].options and value}
        if "weights" in found:
            found["weights"] = self.session.weights_file(self.target, found["weights"])
        return found

    def start(self) -> Start:
        """How the command line wants the stage to begin."""
        options = self.options or {}
        if not (STAGES[self.stage].resumable and options):
            return RESUME
        resume = options.get("resume_epoch") or (None if options.get("resume", True) else 0)
        return Start(resume=resume, clean=bool(options.get("clean")))

    def build(self) -> BaseFail | None:
        """Run the stage."""
        try:
            verdict = self.verdict or self.session.judge(self.target, self.stage, self.chosen())
            # doit runs a task that is up to date only when it is told to run everything.
            start = self.start() if verdict.reasons else replace(self.start(), force=True)
            self.session.run(verdict, start=start)
        except MltkError as error:
            return _failure(error)
        return None

    def clean(self, outstream: TextIO, dryrun: bool) -> None:
        """Delete the stage's artifacts, and nothing else."""
        try:
            self._clean(outstream, dryrun)
        except MltkError as error:
            self.session.exit_with(fail(error))

    def _clean(self, outstream: TextIO, dryrun: bool) -> None:
        folder = self.session.builder.state(self.target).folder
        always = makes(STAGES[self.stage], self.target)
        if foreign := self._foreign():
            outstream.write(f"{self.name} - kept {self._shown(foreign)}, which is not what was built\n")
        elif not folder.door.exists(folder.path):
            return
        elif dryrun:
            for name in store.artifacts_on_disk(folder, self.stage, always):
                outstream.write(f"{self.name} - would remove {self._shown(name)}\n")
        else:
            with store.locked(folder):
                names = store.clean(folder, self.stage, always)
                if STAGES[self.stage].resumable:
                    checkpoints.drop(folder.door, folder.checkpoints)
            for name in names:
                outstream.write(f"{self.name} - removed {self._shown(name)}\n")

    def _foreign(self) -> str | None:
        """An archive that is there but isn't what was built: beside the spec it may be anybody's."""
        state = self.session.builder.state(self.target)
        name = next((name for name in makes(STAGES[self.stage], self.target) if name.endswith(ARCHIVE_SUFFIX)), "")
        if not name or not os.path.lexists(state.folder.artifact(name)):
            return None
        record = state.record(self.stage)
        return None if record is not None and state.artifacts(record) == record.artifacts else name

    def _shown(self, name: str) -> str:
        """An artifact's path as people type it."""
        path = self.session.builder.state(self.target).folder.artifact(name)
        return shown(os.path.relpath(path, self.session.workspace.root))

    def forget(self) -> bool:
        """Drop the stage's record and keep its artifacts; say whether there was one."""
        folder = self.session.builder.state(self.target).folder
        try:
            if not folder.door.exists(folder.path):
                return False
            with store.locked(folder):
                return store.forget(folder, self.stage)
        except MltkError as error:
            self.session.exit_with(fail(error))
            return False


def _failure(error: MltkError) -> BaseFail:
    """An error as doit takes it."""
    kind = TaskFailed if error.exit_code == 1 else TaskError
    failure: BaseFail = kind(str(error))
    failure.mltk_error = error
    return failure


def _no_action() -> None:
    """Stands in a template for what a target's task does."""


def _targets(owner: Session, stage: Stage, target: str) -> list[str]:
    """The files that a stage always makes, relative to the workspace, as people type them."""
    folder = f"{owner.workspace.build_dir}/{target}/"
    return [
        f"{os.path.dirname(owner.builder.listing[target].path)}/{name}"
        if name.endswith(ARCHIVE_SUFFIX)
        else folder + name
        for name in makes(stage, target)
    ]


def task_mltkbuild() -> Iterator[Any]:
    """Every stage of every model and of its dry run; the groups hold the models alone."""
    try:
        owner = current()
    except MltkError as error:
        raise InvalidDodoFile(str(error)) from error
    # Tasks and records live as long as the process: to look for garbage among them at Python's own pace is a tenth of a
    # no-op's time.
    gc.set_threshold(OBJECTS, YOUNG, gc.get_threshold()[2])
    listing = owner.builder.listing
    for stage in STAGES.values():
        template = StageTask.template(stage)
        group = Task(stage.name, None, doc=stage.doc, has_subtask=True)
        yield group
        for name, spec in listing.specs.items():
            task = template.for_target(owner, stage, name)
            if spec.default:
                group.task_dep.append(task.name)
            yield task
            yield template.for_target(owner, stage, name + TEST)
        if stage is ARCHIVE:
            for name, problem in ((_task_name(name), problem) for name, problem in listing.problems.items()):
                group.task_dep.append(f"{ARCHIVE.name}:{name}")
                yield _problem_task(owner, name, problem)


class ProblemTask(Task):
    """Reports a spec that can't be one, so that it hinders no other."""


def _task_name(name: str) -> str:
    """The name of any file as a part of a task's: doit takes no `=`, which sets a variable on its command line."""
    return shown(name).replace("=", r"\x3d")


def _problem_task(owner: Session, name: str, problem: MltkError) -> Task:
    """The task of a spec that can't be one."""

    def report() -> BaseFail:
        owner.exit_with(problem.exit_code)
        return _failure(problem)

    task = ProblemTask(f"{ARCHIVE.name}:{name}", [report], doc=problem.what, io={"capture": False}, verbosity=2)
    task.subtask_of = ARCHIVE.name
    return task


class MltkReporter(ConsoleReporter):
    """Errors in the house's form and one closing line; what runs is shown by the session."""

    desc = "mltkbuild: errors and one closing line"

    def initialize(self, tasks: Mapping[str, Task], selected_tasks: Sequence[str]) -> None:
        """Let the session know what was asked for."""
        super().initialize(tasks, selected_tasks)
        current().asked = frozenset(selected_tasks)

    def execute_task(self, task: Task) -> None:
        """The session shows a stage; a task of the project's own is shown as doit does."""
        if not isinstance(task, StageTask | ProblemTask):
            super().execute_task(task)

    def skip_uptodate(self, task: Task) -> None:
        """Count it."""
        if isinstance(task, StageTask):
            task.session.found_fresh()
        else:
            super().skip_uptodate(task)

    def skip_ignore(self, task: Task) -> None:
        """Count it."""
        if isinstance(task, StageTask):
            task.session.found_ignored()
        elif not task.has_subtask:
            super().skip_ignore(task)

    def add_failure(self, task: Task, failure: BaseFail) -> None:
        """Print an error once, where it arose; stages that depend on a failed one are not errors of their own."""
        owner = current()
        if isinstance(failure, UnmetDependency):
            if isinstance(task, StageTask):
                owner.leave_out()
            return
        error = getattr(failure, "mltk_error", None)
        owner.failed(task.name)
        if error is not None:
            fail(error)
        else:
            super().add_failure(task, failure)

    def complete_run(self) -> None:
        """End the workers; the closing line."""
        self.failures.clear()
        owner = current()
        owner.close()
        super().complete_run()
        # What nobody reads any more is no failure of the build.
        with suppress(BrokenPipeError):
            self.write(self.closing(owner))

    def closing(self, owner: Session) -> str:
        """The last line."""
        return owner.summary() + "\n"


class TerseReporter(MltkReporter):
    """Errors alone."""

    def closing(self, owner: Session) -> str:
        """Nothing: a command prints its own result."""
        return ""


DOIT_CONFIG: Mapping[str, Any] = {
    "default_tasks": [ARCHIVE.name],
    "backend": "mltkbuild",
    "dep_file": ".doit.json",
    "par_type": "thread",
    "reporter": MltkReporter,
    "continue": True,
    "verbosity": 2,
    # `doit list` shows the stages in the order of building.
    "sort": "definition",
}
BAD_USAGE = 2


def command(*arguments: str, terse: bool = False) -> int:
    """Give doit a command in this process, with the workspace's stages as its tasks.

    Args:
        arguments: doit's command and its arguments.
        terse: Print errors alone.

    Returns:
        0 done, 1 a stage failed, 2 bad spec or usage.
    """
    config = {**DOIT_CONFIG, "reporter": TerseReporter if terse else MltkReporter}
    loader = ModuleTaskLoader({"DOIT_CONFIG": config, "task_mltkbuild": task_mltkbuild})
    # Commands that can't fail give no code.
    code = DoitMain(loader, config_filenames=()).run(list(arguments)) or 0
    return BAD_USAGE if code not in (0, 1) else int(code)
