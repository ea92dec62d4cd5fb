"""The doit front: one task a stage and target. doit gives order, selection and parallelism; records decide."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar, TextIO

from doit.exceptions import BaseFail, TaskError, TaskFailed, UnmetDependency
from doit.reporter import ConsoleReporter
from doit.task import Task

from mltkbuild import store
from mltkbuild.errors import MltkError
from mltkbuild.report import reasons_text
from mltkbuild.session import Session, fail
from mltkbuild.stages import STAGES, Stage, makes
from mltkbuild.workspace import TEST

_EPOCHS = {
    "name": "epochs",
    "long": "epochs",
    "short": "e",
    "type": int,
    "default": 0,
    "help": "train this many epochs instead of the spec's",
}
_sessions: dict[str, Session] = {}


def session() -> Session:
    """The session of the workspace around the working directory; one a process."""
    folder = os.getcwd()
    if folder not in _sessions:
        _sessions[folder] = Session()
    return _sessions[folder]


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
        if self._session.reasons(task.target, task.stage, task.chosen()):
            return False
        self._session.fresh += 1
        return True

    def __repr__(self) -> str:
        """The reasons in words."""
        task = self._task
        return reasons_text(self._session.reasons(task.target, task.stage, task.chosen()), 5) or "up to date"


class StageTask(Task):  # type: ignore[misc]  # doit has no types
    """A stage of one target as doit sees it, made by copying a template that doit has checked once."""

    stage: str
    target: str
    session: Session

    @classmethod
    def template(cls, stage: Stage) -> StageTask:
        """A task of this stage without a target."""
        params = [_EPOCHS] if "epochs" in stage.options else []
        return cls(stage.name, [_no_action], doc=stage.doc, params=params, io={"capture": False}, verbosity=2)

    def for_target(self, owner: Session, stage: Stage, target: str) -> StageTask:
        """The task of one target."""
        # Not copy.copy: a doit task drops half of itself when it is copied that way, as it does for pickling.
        task = object.__new__(type(self))
        task.__dict__.update(self.__dict__)
        task.name = f"{stage.name}:{target}"
        task.subtask_of = stage.name
        task.stage, task.target, task.session = stage.name, target, owner
        task.task_dep = [f"{needed}:{target}" for needed in stage.needs]
        task.targets = _targets(owner, stage, target)
        task.uptodate = [(Judge(owner, task), [], {})]
        task._actions = [task.build]
        task.meta = {"mltkbuild": (stage.name, target)}
        task.values, task.value_savers = {}, []
        return task

    def chosen(self) -> dict[str, int]:
        """The options that were given on the command line."""
        options = self.options or {}
        return {name: value for name, value in options.items() if name in STAGES[self.stage].options and value}

    def build(self) -> BaseFail | None:
        """Run the stage."""
        try:
            self.session.run(self.target, self.stage, self.chosen(), force=False)
        except MltkError as error:
            kind = TaskFailed if error.exit_code == 1 else TaskError
            failure: BaseFail = kind(str(error))
            failure.mltk_error = error
            return failure
        return None

    def clean(self, outstream: TextIO, dryrun: bool) -> None:
        """Delete the stage's artifacts, and nothing else."""
        folder = self.session.builder.state(self.target).folder
        always = makes(STAGES[self.stage], self.target)
        if dryrun:
            names = store.artifacts_on_disk(folder, self.stage, always)
        else:
            with store.locked(folder):
                names = store.clean(folder, self.stage, always)
        for name in names:
            path = os.path.relpath(folder.artifact(name), self.session.workspace.root)
            outstream.write(f"{self.name} - {'would remove' if dryrun else 'removed'} {path}\n")

    def forget(self) -> None:
        """Drop the stage's record and keep its artifacts."""
        store.forget(self.session.builder.state(self.target).folder, self.stage)


def _no_action() -> None:
    """Stands in a template for what a target's task does."""


def _targets(owner: Session, stage: Stage, target: str) -> list[str]:
    """The files that a stage always makes, relative to the workspace, as people type them."""
    workspace = owner.workspace
    folder = f"{workspace.build_dir}/{target}/"
    beside_spec = os.path.dirname(owner.builder.listing[target].path)
    return [
        f"{beside_spec}/{name}" if name.endswith(store.ARCHIVE_SUFFIX) else folder + name
        for name in makes(stage, target)
    ]


def task_mltkbuild() -> Iterator[Any]:
    """Every stage of every model and of its dry run; the groups hold the models alone."""
    owner = session()
    listing = owner.builder.listing
    for stage in STAGES.values():
        template = StageTask.template(stage)
        group = Task(stage.name, None, doc=stage.doc, has_subtask=True)
        for name in listing.specs:
            task = template.for_target(owner, stage, name)
            group.task_dep.append(task.name)
            yield task
            yield template.for_target(owner, stage, name + TEST)
        if stage.name == "archive":
            for name, problem in listing.problems.items():
                group.task_dep.append(f"archive:{name}")
                yield _problem_task(name, problem)
        yield group


def _problem_task(name: str, problem: MltkError) -> Task:
    """A task that reports a spec which can't be one, so that it hinders no other."""

    def report() -> BaseFail:
        failure: BaseFail = TaskError(str(problem))
        failure.mltk_error = problem
        return failure

    task = Task(f"archive:{name}", [report], doc=problem.what, io={"capture": False}, verbosity=2)
    task.subtask_of = "archive"
    return task


class MltkReporter(ConsoleReporter):  # type: ignore[misc]  # doit has no types
    """Errors in the house's form and one closing line; what runs is shown by the session."""

    desc = "mltkbuild: errors and one closing line"

    def execute_task(self, task: Task) -> None:
        """The session shows it."""

    def skip_uptodate(self, task: Task) -> None:
        """Counted by the judge."""

    def add_failure(self, task: Task, fail: BaseFail) -> None:
        """Print an error once, where it arose; stages that depend on a failed one are not errors of their own."""
        if isinstance(fail, UnmetDependency):
            return
        error = getattr(fail, "mltk_error", None)
        if error is not None:
            report_failure(error)
        else:
            super().add_failure(task, fail)

    def complete_run(self) -> None:
        """The closing line."""
        self.failures.clear()
        super().complete_run()
        owner = session()
        owner.close()
        self.write(owner.summary() + "\n")


def report_failure(error: MltkError) -> None:
    """Print an error on standard error."""
    fail(error)


DOIT_CONFIG: Mapping[str, Any] = {
    "default_tasks": ["archive"],
    "backend": "mltkbuild",
    "dep_file": ".doit.json",
    "par_type": "thread",
    "reporter": MltkReporter,
    "continue": True,
    "verbosity": 2,
}
