"""Two builds at once: real processes, and threads of one process."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from mltkbuild.disk import store
from mltkbuild.engine.builder import Builder
from mltkbuild.events import Event, Listener, Note
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.stages.table import BUILT

from ..conftest import Fakes, Files, Running, bring, wait_for

ONCE = [f"{stage}:kws" for stage in BUILT]
SECONDS = 30


class CountedFakes(Fakes):
    """Fakes that count their calls in a file, where every process sees them, and take their time."""

    def __init__(self, log: Path) -> None:
        super().__init__()
        self.log = log

    def __call__(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage slowly enough for another build to come in between."""
        with self.log.open("a", encoding="utf-8") as file:
            file.write(f"{request.stage}:{request.target}\n")
        time.sleep(0.03)
        return super().__call__(request, listener)


def lines(path: Path) -> list[str]:
    """The lines of a file; none while there is no file."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


def build_at_once(root: Path, name: str, others: tuple[str, ...]) -> None:
    """In a process of its own: wait until the others are ready too, then build, and write down what it says."""
    files = Files(root)
    builder = Builder(files.workspace, Running(CountedFakes(root / "calls")))

    def note(event: Event) -> None:
        with (root / f"notes-{name}").open("a", encoding="utf-8") as file:
            file.write(f"{event.text if isinstance(event, Note) else None}\n")

    (root / f"ready-{name}").touch()
    wait_for(lambda: all((root / f"ready-{other}").exists() for other in others))
    builder.build("kws", "archive", listener=note)
    builder.close()


def hold_lock(root: Path, target: str) -> None:
    """In a process of its own: take a target's lock and keep it."""
    builder = Builder(Files(root).workspace, Running(Fakes()))
    with store.locked(builder.state(target).folder):
        (root / "held").touch()
        time.sleep(SECONDS)


@pytest.fixture
def start() -> Iterator[Callable[..., ForkServerProcess]]:
    """Starts functions in processes of their own; what still runs at the end is killed."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.disk", "tests.conftest"])
    started: list[ForkServerProcess] = []

    def call(function: Callable[..., None], *args: object) -> ForkServerProcess:
        process = context.Process(target=function, args=args)
        process.start()
        started.append(process)
        return process

    yield call
    for process in started:
        process.kill()
        process.join()


def test_two_processes_share_the_work(workspace: Files, start: Callable[..., ForkServerProcess]) -> None:
    """Of two builds of one model at once each stage runs in one; the other waits, says so, and finds all done."""
    names = ("one", "two")
    processes = [start(build_at_once, workspace.root, name, names) for name in names]
    for process in processes:
        process.join(SECONDS)
    assert [0, 0] == [process.exitcode for process in processes]
    assert ONCE == lines(workspace.root / "calls")
    notes = [line for name in names for line in lines(workspace.root / f"notes-{name}") if "waiting" in line]
    assert ["waiting for another build of kws"] == notes
    assert [] == bring(workspace, Fakes())


def test_three_builds_stage_by_stage_share_the_work(workspace: Files, start: Callable[..., ForkServerProcess]) -> None:
    """Builds that ask for one stage after the other interleave, and still no stage runs twice."""
    processes = [start(build_stage_by_stage, workspace.root) for _ in range(3)]
    for process in processes:
        process.join(SECONDS)
    assert [0, 0, 0] == [process.exitcode for process in processes]
    assert ONCE == lines(workspace.root / "calls")
    assert [] == bring(workspace, Fakes())


def build_stage_by_stage(root: Path) -> None:
    """In a process of its own: build as doit does."""
    bring(Files(root), CountedFakes(root / "calls"))


def test_killed_holder_frees_the_lock(workspace: Files, start: Callable[..., ForkServerProcess]) -> None:
    """The system frees the lock of a build that was killed; the next one builds at once."""
    holder = start(hold_lock, workspace.root, "kws")
    wait_for((workspace.root / "held").exists)
    assert holder.pid is not None
    os.kill(holder.pid, signal.SIGKILL)
    holder.join(SECONDS)
    notes: list[Event] = []
    builder = Builder(workspace.workspace, Running(Fakes()))
    assert builder.build("kws", "archive", listener=notes.append).reasons
    assert not [note for note in notes if "waiting" in str(note)]


def test_two_targets_do_not_block_each_other(workspace: Files, start: Callable[..., ForkServerProcess]) -> None:
    """While one model is being built, its dry run, which shares nothing with it, builds at once."""
    start(hold_lock, workspace.root, "kws")
    wait_for((workspace.root / "held").exists)
    notes: list[Event] = []
    Builder(workspace.workspace, Running(Fakes())).build("kws-test", "archive", listener=notes.append)
    assert not [note for note in notes if "waiting" in str(note)]


def test_asking_does_not_wait_for_a_build(workspace: Files, start: Callable[..., ForkServerProcess]) -> None:
    """Judging, and running a spec for a plan, need no lock: they answer while a long training runs."""
    bring(workspace, Fakes())
    workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    start(hold_lock, workspace.root, "kws")
    wait_for((workspace.root / "held").exists)
    builder = Builder(workspace.workspace, Running(Fakes()))
    assert builder.judge("kws", "spec").reasons
    assert "spec" == builder.inspect("kws")[0].stage


def test_two_threads_share_the_work(workspace: Files) -> None:
    """Two threads of one build, as `doit -n 2` has them, run each stage once, and neither says that it waits."""
    fakes = CountedFakes(workspace.root / "calls")
    builder = Builder(workspace.workspace, Running(fakes))
    notes: list[Event] = []
    errors: list[BaseException] = []

    def build(stage: str) -> None:
        try:
            builder.build("kws", stage, listener=notes.append)
        except BaseException as error:  # noqa: BLE001  # whatever it is, the test fails by it
            errors.append(error)

    threads = [threading.Thread(target=build, args=(stage,)) for stage in ("evaluate", "params", "archive")]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        for stage in BUILT:
            builder.go_by(builder.judge("kws", stage))
    for thread in threads:
        thread.join(SECONDS)
    assert ([], []) == (errors, notes)
    assert sorted(ONCE) == sorted(lines(workspace.root / "calls"))
    assert [] == bring(workspace, Fakes())


def test_clean_waits_for_a_running_build(workspace: Files) -> None:
    """A cleaning in the middle of a build comes after it, and what it deletes is made again by the next."""
    folder = Builder(workspace.workspace, Running(Fakes())).state("kws").folder
    cleaned: list[tuple[str, ...]] = []

    def clean() -> None:
        with store.locked(folder):
            cleaned.append(store.clean(folder, "train", ["kws.keras"]))

    thread = threading.Thread(target=clean)
    fakes = Fakes()
    fakes.before["train"] = lambda request: thread.start()
    builder = Builder(workspace.workspace, Running(fakes))
    builder.build("kws", "archive")
    thread.join(SECONDS)
    assert "kws.keras" in cleaned[0]
    assert ["train"] == bring(workspace, Fakes())


def test_forget_in_the_middle_of_a_build_harms_nothing(workspace: Files) -> None:
    """A record that is dropped while its stage runs again is as if dropped before: the new one stands."""
    bring(workspace, Fakes())
    workspace.edit("models/kws.py", "batch_size = 32", "batch_size = 64")
    fakes = Fakes()
    folder = Builder(workspace.workspace, Running(fakes)).state("kws").folder

    def forget(request: Request) -> None:
        store.forget(folder, "train")

    fakes.before["train"] = forget
    bring(workspace, fakes)
    assert [] == bring(workspace, Fakes())
