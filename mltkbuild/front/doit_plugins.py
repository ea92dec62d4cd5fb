"""What doit's own commands need to tell the truth about mltkbuild's tasks; other projects' tasks stay as they were."""

from __future__ import annotations

import contextlib
import fnmatch
import functools
import os
from collections.abc import Sequence
from typing import Any

from doit.cmd_base import check_tasks_exist, subtasks_iter, tasks_and_deps_iter
from doit.cmd_clean import Clean as DoitClean
from doit.cmd_completion import TabCompletion
from doit.cmd_dumpdb import DumpDB
from doit.cmd_forget import Forget as DoitForget
from doit.cmd_ignore import Ignore
from doit.cmd_info import Info
from doit.cmd_list import List
from doit.cmd_resetdep import ResetDep
from doit.cmd_run import Run as DoitRun
from doit.cmd_strace import Strace
from doit.exceptions import InvalidCommand, InvalidDodoFile

from mltkbuild.errors import did_you_mean
from mltkbuild.stages.table import STAGES

# doit's own commands, as they are. That doit takes them from here loads this package before the dodo's folder is where
# modules are looked for first, so that no file there can stand in for it.
__all__ = [
    "Clean",
    "DumpDB",
    "Forget",
    "Ignore",
    "Info",
    "List",
    "RecordsBackend",
    "ResetDep",
    "Run",
    "Strace",
    "TabCompletion",
]

IGNORED = "ignore:"


def _without_waiting(path: str, flags: int) -> int:
    """Open a file for reading; a pipe that somebody put in its place has nothing, and is not waited for."""
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


class RecordsBackend:
    """A doit database that knows nothing about stages but what `doit ignore` says: the rest is in their records.

    Tasks of the project's own, beside the stages, are kept in it as in any doit database. There is no file while there
    is nothing to keep.
    """

    desc = "mltkbuild's records"

    def __init__(self, name: str, codec: Any, *, module_name: str | None = None) -> None:
        self.name = name
        self._codec = codec
        self._values: dict[str, dict[str, Any]] = {}
        with contextlib.suppress(FileNotFoundError), open(name, "rb", opener=_without_waiting) as file:
            self._values = self._decode(file.read())
        self._on_disk = self._kept()

    def _decode(self, data: bytes) -> dict[str, dict[str, Any]]:
        try:
            values = self._codec.decode(data.decode())
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or not all(isinstance(entry, dict) for entry in values.values()):
            raise InvalidDodoFile(
                f"{self.name} can't be read.\n  fix:   delete it; it only holds what `doit ignore` was told, and the "
                "state of tasks that are not mltkbuild's"
            )
        return values

    def _kept(self) -> str:
        """What outlasts this run, as text."""
        kept = {}
        for task, values in self._values.items():
            is_stage = task.partition(":")[0] in STAGES
            if lasting := {key: value for key, value in values.items() if key == IGNORED or not is_stage}:
                kept[task] = lasting
        return str(self._codec.encode(kept)) if kept else ""

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Keep a value."""
        self._values.setdefault(task_id, {})[dependency] = value

    def get(self, task_id: str, dependency: str) -> Any:
        """A value, or None."""
        return self._values.get(task_id, {}).get(dependency)

    def in_(self, task_id: str) -> bool:
        """Say whether there is any value for a task."""
        return task_id in self._values

    def remove(self, task_id: str) -> None:
        """Drop a task's values."""
        self._values.pop(task_id, None)

    def remove_all(self) -> None:
        """Drop everything."""
        self._values = {}

    def dump(self) -> None:
        """Write what has changed; nothing to keep leaves no file."""
        kept = self._kept()
        if kept == self._on_disk:
            return
        if kept:
            temporary = f"{self.name}.{os.getpid()}.tmp"
            # A link of that name is a stranger's: nothing is written through it.
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
            with open(temporary, "x", encoding="utf-8") as file:
                file.write(kept)
            os.replace(temporary, self.name)
        else:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.name)
        self._on_disk = kept


class Run(DoitRun):
    """`doit run`, which tells a failed stage (1) from a bad spec (2), and names the models near a misspelt one."""

    def execute(self, params: Any, args: Any) -> Any:
        """Run tasks and give the exit code."""
        try:
            code = super().execute(params, args)
        except InvalidCommand as error:
            ours = [task for task in self.task_list if _is_ours(task)]
            if error.not_found is not None and ours:
                raise InvalidCommand(_unknown(error.not_found, ours)) from error
            raise
        worst = _worst(self.task_list)
        # doit counts a stage that waits for a failed one as an error of its own.
        return worst if code == 2 and worst else code

    # doit reads from the signature which options there are.
    @functools.wraps(DoitRun._execute)
    def _execute(self, **options: Any) -> Any:
        """Run side by side in threads alone: stages have worker processes of their own, and one session to tell of."""
        if any(map(_is_ours, self.task_list)):
            options["par_type"] = "thread"
        return super()._execute(**options)


class Clean(DoitClean):
    """`doit clean`, which without a name means every target of a workspace, dry runs too."""

    def _execute(self, dryrun: bool, cleandep: bool, cleanall: bool, cleanforget: bool, pos_args: Any = None) -> Any:
        ours = [task for task in self.task_list if _is_ours(task)]
        everything = cleanall or (not pos_args and bool(ours))
        makers = {target: task.name for task in ours for target in task.targets}
        wanted = [makers.get(os.path.normpath(name), name) for name in pos_args or ()]
        super()._execute(dryrun, cleandep, everything, cleanforget, wanted)
        return _worst(self.task_list)

    def clean_tasks(self, tasks: Any, dryrun: bool, cleanforget: bool) -> None:
        """Clean, and drop the records too when asked to forget."""
        tasks = list(tasks)
        super().clean_tasks(tasks, dryrun, cleanforget)
        if cleanforget and not dryrun:
            for task in filter(_is_ours, tasks):
                task.forget()


class Forget(DoitForget):
    """`doit forget`, which drops records: the next build runs these stages again.

    Without a name it means every stage of a workspace. For a stage that is ignored it only ends that: whoever brings a
    model back into the build does not ask for hours of training.
    """

    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool) -> Any:
        everything = forget_all or (self.sel_default_tasks and not forget_disable_default)
        if not any(map(_is_ours, self.task_list)) or not (everything or not self.sel_default_tasks):
            return super()._execute(forget_sub, forget_disable_default, forget_all)
        chosen = self.task_list if everything else self._chosen(self.sel_tasks, forget_sub)
        lines = [line for task in chosen if (line := self._forget(task))]
        self.outstream.write("\n".join(lines or ["there is nothing to forget"]) + "\n")
        self.dep_manager.close()
        return _worst(self.task_list)

    def _chosen(self, names: Sequence[str], follow: bool) -> list[Any]:
        """The named tasks, with those of a group, or with all that they need."""
        tasks = {task.name: task for task in self.task_list}
        names = [one for name in names for one in (fnmatch.filter(tasks, name) if "*" in name else [name])]
        check_tasks_exist(tasks, names)
        if follow:
            return list({task.name: task for task in tasks_and_deps_iter(tasks, names)}.values())
        return [task for name in names for task in (tasks[name], *subtasks_iter(tasks, tasks[name]))]

    def _forget(self, task: Any) -> str:
        """Drop what is known about one task; what was done, in words."""
        ignored = self.dep_manager.status_is_ignore(task)
        known = self.dep_manager._in(task.name)
        self.dep_manager.remove(task.name)
        if ignored:
            return f"{task.name} is no longer ignored"
        if task.forget() if _is_ours(task) else known:
            return f"forgetting {task.name}"
        return ""


def _worst(tasks: Sequence[Any]) -> int:
    """The exit code of what has gone wrong with stages."""
    return max((task.session.worst for task in tasks if _is_ours(task)), default=0)


def _is_ours(task: Any) -> bool:
    return isinstance(task.meta, dict) and "mltkbuild" in task.meta


def _unknown(name: str, ours: Sequence[Any]) -> str:
    """What to say about a word on the command line that is neither a task nor a file that one makes."""
    targets = {task.target for task in ours}
    stage, _, target = name.rpartition(":")
    if name in targets:
        hint = f"name its stage too: archive:{name}"
    elif stage in STAGES:
        hint = did_you_mean(target, targets, "the models are")
    else:
        hint = did_you_mean(stage or name, STAGES, "the stages are")
    return f"there is no stage, model or artifact {name}.\n  fix:   {hint}"
