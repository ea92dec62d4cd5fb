"""Real worker processes: what happens when one dies, and where its output goes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from mltkbuild.engine.builder import Builder
from mltkbuild.errors import StageError, WorkerDied
from mltkbuild.process import ENVIRONMENT as WORKERS
from mltkbuild.workers.executor import Processes

from ..conftest import ENVIRONMENT, SECONDS, SLEEP, Files, Running, pid_of, wait_for

PRINT = 'print("to the log"); sys.stderr.write("error too"); os.system("echo from a child"); os.write(1, b"raw")'

pytestmark = pytest.mark.real


@pytest.fixture
def files(tmp_path: Path) -> Files:
    """An empty workspace."""
    found = Files(tmp_path / "ws")
    found.write("dodo.py", "")
    return found


@pytest.fixture(scope="module")
def own() -> Iterator[Processes]:
    """Worker processes of this file, which its tests may kill."""
    pool = Processes()
    yield pool
    pool.stop()


def is_alive(pid: int) -> bool:
    """Say whether a process runs; one that only waits to be reaped doesn't."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return text.rpartition(")")[2].split()[0] != "Z"


def test_killed_worker_fails_its_stage_alone(files: Files, own: Processes) -> None:
    """A worker that is killed gives one error that names stage and likely cause; the next stage gets a new worker."""
    files.tiny(SLEEP)
    files.tiny("pass", "other")
    killer = threading.Thread(target=lambda: os.kill(pid_of(files), signal.SIGKILL))
    killer.start()
    builder = Builder(files.workspace, Running(own.run))
    with pytest.raises(WorkerDied) as caught:
        builder.build("kws", "data")
    killer.join()
    assert ("data:kws", True, True) == (
        caught.value.where,
        "ran out of memory" in str(caught.value.found),
        "build/kws/.logs/data.log" in str(caught.value.fix),
    )
    assert builder.build("other", "data").reasons
    assert ["spec.json", "spec.values.json"] == sorted(os.listdir(files.root / "build/kws/.records"))
    assert not (files.root / "build/kws/.scratch").exists()


def test_crash_of_native_code_is_told_apart_from_a_kill(files: Files, own: Processes) -> None:
    """A segmentation fault is named as one, and not as a lack of memory."""
    files.tiny("import ctypes; ctypes.string_at(0)")
    with pytest.raises(WorkerDied) as caught:
        Builder(files.workspace, Running(own.run)).build("kws", "data")
    assert ("data:kws", "Segmentation fault in native code (TensorFlow or its converter)") == (
        caught.value.where,
        caught.value.found,
    )
    assert "memory" not in str(caught.value.fix)
    assert "in load" in (files.root / "build/kws/.logs/data.log").read_text(encoding="utf-8", errors="replace")


def test_worker_ends_with_its_parent(files: Files) -> None:
    """When the deciding process is killed, its worker ends too, whatever it is at."""
    files.tiny(SLEEP)
    code = "import sys; from mltkbuild.engine.builder import Builder; from mltkbuild.disk.workspace import configure\n"
    code += "if __name__ == '__main__': Builder(configure(sys.argv[1])).build('kws', 'data')\n"
    script = files.write("main.py", code)
    parent = subprocess.Popen([sys.executable, str(script), str(files.root)], env=ENVIRONMENT)
    try:
        worker = pid_of(files)
        assert is_alive(worker)
    finally:
        parent.kill()
        parent.wait()
    wait_for(lambda: not is_alive(worker))


def test_what_a_stage_prints_goes_to_its_log(
    files: Files, executor: Processes, capfd: pytest.CaptureFixture[str]
) -> None:
    """Everything that a stage, its libraries and its children print is in its log and nowhere else."""
    files.tiny(PRINT)
    Builder(files.workspace, Running(executor.run)).build("kws", "data")
    log = (files.root / "build/kws/.logs/data.log").read_text(encoding="utf-8", errors="replace")
    assert [True] * 4 == [text in log for text in ("to the log", "error too", "from a child", "raw")]
    assert ("", "") == capfd.readouterr()


def test_warm_worker_keeps_the_logs_of_stages_apart(files: Files, executor: Processes) -> None:
    """A log holds one run of one stage, also when one worker runs many."""
    files.tiny('print("first")')
    Builder(files.workspace, Running(executor.run)).build("kws", "data")
    files.tiny('print("second")')
    Builder(files.workspace, Running(executor.run)).build("kws", "data")
    log = (files.root / "build/kws/.logs/data.log").read_text(encoding="utf-8", errors="replace")
    assert (False, True) == ("first" in log, "second" in log)


def test_stopped_executor_refuses_and_ends_its_workers(files: Files) -> None:
    """Stopping ends a running stage at once as a failure, and later requests are refused."""
    own = Processes()
    files.tiny(SLEEP)
    found: list[BaseException] = []

    def build() -> None:
        try:
            Builder(files.workspace, Running(own.run)).build("kws", "data")
        except StageError as error:
            found.append(error)

    thread = threading.Thread(target=build)
    thread.start()
    worker = pid_of(files)
    own.stop()
    thread.join(SECONDS)
    assert [WorkerDied] == [type(error) for error in found]
    wait_for(lambda: not is_alive(worker))
    with pytest.raises(StageError, match="stopped"):
        Builder(files.workspace, Running(own.run)).build("kws", "data")


def test_environment_of_the_deciding_process_stays(files: Files, executor: Processes) -> None:
    """What a worker's environment must hold is not left behind in the process that started it."""
    before = {name: os.environ.get(name) for name in WORKERS}
    inside = {name: text for name, text in WORKERS.items() if name != "PYTHONSAFEPATH"}
    # Python has obeyed it; the programs that a spec starts don't inherit it.
    obeyed = "sys.flags.safe_path and 'PYTHONSAFEPATH' not in os.environ"
    files.tiny(f"assert {inside!r}.items() <= os.environ.items() and {obeyed}")
    Builder(files.workspace, Running(executor.run)).build("kws", "data")
    assert before == {name: os.environ.get(name) for name in WORKERS}
