"""What doit's own commands need to tell the truth about mltkbuild's tasks; other projects' tasks stay as they were."""

from __future__ import annotations

import json
import os
from typing import Any

from doit.cmd_clean import Clean as DoitClean
from doit.cmd_forget import Forget as DoitForget

IGNORED = "ignore:"


class RecordsBackend:
    """A doit database that holds only what `doit ignore` says: everything else is in the records."""

    desc = "mltkbuild's records"

    def __init__(self, name: str, codec: object, *, module_name: str | None = None) -> None:
        self.name = name
        self._values: dict[str, dict[str, Any]] = {}
        if os.path.exists(name):
            with open(name, encoding="utf-8") as file:
                self._values = {str(task): {IGNORED: "1"} for task in json.load(file)["ignored"]}
        self._on_disk = self._ignored()

    def _ignored(self) -> list[str]:
        return sorted(task for task, values in self._values.items() if IGNORED in values)

    def set(self, task_id: str, dependency: str, value: Any) -> None:
        """Keep a value for this run."""
        self._values.setdefault(task_id, {})[dependency] = value

    def get(self, task_id: str, dependency: str) -> Any:
        """A value of this run, or None."""
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
        """Write the ignored tasks when they have changed."""
        ignored = self._ignored()
        if ignored == self._on_disk:
            return
        with open(self.name + ".tmp", "w", encoding="utf-8") as file:
            json.dump({"ignored": ignored}, file)
        os.replace(self.name + ".tmp", self.name)
        self._on_disk = ignored


class Clean(DoitClean):  # type: ignore[misc]  # doit has no types
    """`doit clean`, which without a name means every target of a workspace, dry runs too."""

    def _execute(self, dryrun: bool, cleandep: bool, cleanall: bool, cleanforget: bool, pos_args: Any = None) -> Any:
        everything = cleanall or (not pos_args and any(_is_ours(task) for task in self.task_list))
        return super()._execute(dryrun, cleandep, everything, cleanforget, pos_args)

    def clean_tasks(self, tasks: Any, dryrun: bool, cleanforget: bool) -> None:
        """Clean, and drop the records too when asked to forget."""
        tasks = list(tasks)
        super().clean_tasks(tasks, dryrun, cleanforget)
        if cleanforget and not dryrun:
            _forget(tasks)


class Forget(DoitForget):  # type: ignore[misc]  # doit has no types
    """`doit forget`, which drops records: the next build runs these stages again."""

    def _execute(self, forget_sub: bool, forget_disable_default: bool, forget_all: bool) -> Any:
        dropped: set[str] = set()
        remove = self.dep_manager.remove

        def remember(name: str) -> None:
            dropped.add(name)
            remove(name)

        self.dep_manager.remove = remember
        result = super()._execute(forget_sub, forget_disable_default, forget_all)
        _forget([task for task in self.task_list if forget_all or task.name in dropped])
        return result


def _is_ours(task: Any) -> bool:
    return isinstance(task.meta, dict) and "mltkbuild" in task.meta


def _forget(tasks: list[Any]) -> None:
    for task in tasks:
        if _is_ours(task):
            task.forget()
