"""The doit front from within: what tasks are made of, and one way in for the `mltk` command."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import pytest

from mltkbuild import tasks
from mltkbuild.engine.builder import Builder
from mltkbuild.front import session
from mltkbuild.front.session import Session
from mltkbuild.stages.table import STAGES

from ..conftest import Fakes, Files, Front, Running


@pytest.fixture
def owner(workspace: Files, fakes: Fakes, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """The current session of a workspace, which the test's tasks belong to."""
    monkeypatch.chdir(workspace.root)
    found = Session(workspace.workspace, Builder(workspace.workspace, Running(fakes)))
    monkeypatch.setattr(found, "guard", lambda: None)
    session.use(found)
    yield found
    found.close()


def test_task_has_what_doit_needs_to_order_select_and_find_it(owner: Session) -> None:
    """A task depends on the stages before it, has its targets, no file_dep, and one judge."""
    made = {task.name: task for task in tasks.task_mltkbuild()}
    train = made["train:kws"]
    assert ["spec:kws", "data:kws", "preflight:kws"] == train.task_dep
    assert "build/kws/kws.keras" in train.targets
    assert (set(), "train", True) == (set(train.file_dep), train.subtask_of, made["train"].has_subtask)
    assert ["train:kws"] == made["train"].task_dep
    assert {"mltkbuild": ("train", "kws")} == train.meta
    assert len(STAGES) * 3 == len(made)


def test_tasks_share_nothing_that_changes(owner: Session) -> None:
    """What doit writes into one task doesn't show in another of the same stage."""
    first, second = (task for task in tasks.task_mltkbuild() if task.name in ("train:kws", "train:kws-test"))
    for field, value in vars(first).items():
        if isinstance(value, list | dict | set) and value:
            assert value is not vars(second)[field] or field in ("_params", "params", "actions"), field
    first.init_options(["--epochs", "3"])
    assert ({"epochs": 3}, {}) == (first.chosen(), second.chosen())


def test_judge_is_asked_without_a_signature_lookup(owner: Session) -> None:
    """Doit finds the judge's signature at once, and the judge tells why not in words."""
    task = next(task for task in tasks.task_mltkbuild() if task.name == "train:kws")
    judge = task.uptodate[0][0]
    assert type(judge).__signature__ is inspect.signature(judge)
    assert (False, "never built") == (judge(), repr(judge))


def test_command_gives_the_house_s_codes(front: Front, fakes: Fakes) -> None:
    """`tasks.command` runs any command of doit: 0 done, 1 a stage failed, 2 bad usage."""
    codes = []
    for arguments in (("list",), ("run", "spec:kws"), ("clean",), ("run", "nosuch"), ("nosuch",)):
        front.mltk("list")
        result = front._call(lambda arguments=arguments: tasks.command(*arguments))  # type: ignore[misc]  # bound now
        codes.append(result.code)
    assert [0, 0, 0, 2, 2] == codes


def test_terse_command_prints_errors_alone(front: Front) -> None:
    """A command that prints its own result lets doit print what failed, and no closing line."""
    assert "" == front._call(lambda: tasks.command("run", "spec:kws", terse=True)).out
    front.files.spec("syn", "# @mltk_model\nx = (\n")
    result = front._call(lambda: tasks.command("run", "spec:syn", terse=True))
    assert (2, "", True) == (result.code, result.out, "error: models/syn.py:2: syntax error" in result.err)


def test_every_stage_is_a_group_in_the_order_of_building(owner: Session) -> None:
    """The groups come as the stages do, each before its targets."""
    assert list(STAGES) == [task.name for task in tasks.task_mltkbuild() if task.has_subtask]
