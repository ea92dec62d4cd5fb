"""Worker processes: warm, spawned, one stage at a time each, so that a crash fails one stage and no other."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from types import ModuleType
from typing import Any, Protocol

from mltkbuild.disk.open_folder import read_file
from mltkbuild.errors import MltkError, StageError, Stopped, WorkerDied
from mltkbuild.events import Listener
from mltkbuild.process import ENVIRONMENT, out_of_memory
from mltkbuild.search_path import search_path
from mltkbuild.stages.protocol import Job, Outcome, Request
from mltkbuild.stages.table import STAGES
from mltkbuild.workers import entry

GRACE_SECONDS = 20.0
"""So long an interrupted training may take for its step and its checkpoint."""

_OF_LIBRARIES = ("CUDA_", "KERAS_", "KMP_", "LD_", "MKL_", "NVIDIA_", "OMP_", "OPENBLAS_", "PYTHON", "TF_", "XLA_")

_spawning = threading.Lock()


@dataclass(frozen=True)
class _Place:
    """Where something runs, for its errors."""

    name: str
    log: str
    root: str

    @property
    def shown_log(self) -> str:
        """The log's path as people type it."""
        return os.path.relpath(self.log, self.root)


class Worker:
    """One worker process, started with the first request.

    Args:
        deterministic: Whether TensorFlow in it is held to deterministic operations, which can't be undone.
    """

    def __init__(self, deterministic: bool) -> None:
        self.deterministic = deterministic
        self._loaded_with = _of_libraries(os.environ)
        self._ending = threading.RLock()
        context = get_context("spawn")
        self._events, sending = context.Pipe(duplex=False)
        is_safe = "PYTHONSAFEPATH" in os.environ
        # The pool's locks start multiprocessing's resource tracker, a process too.
        with _spawning, _environment(), _without_here():
            self._pool = ProcessPoolExecutor(
                1, mp_context=context, initializer=entry.start, initargs=(sending, is_safe)
            )
        self._sending: Connection[Any, Any] = sending
        self._pid: int | None = None
        self._request: Request | None = None
        self._future: Future[Any] | None = None

    def fits(self, request: Request) -> bool:
        """Whether a stage may run here: libraries read some variables once, when they are loaded."""
        asked = not request.environment or _of_libraries(request.environment) == self._loaded_with
        return asked and self.deterministic == request.deterministic

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage and hand its events on; blocks until it is done.

        Raises:
            WorkerDied: The process ended without an answer.
        """
        where = f"{request.stage}:{request.target}"
        self._start(where)
        self._request = request
        outcome: Outcome = self._answer(entry.run, request, _Place(where, request.log, request.root), listener)
        return outcome

    def call(self, job: Job) -> Any:
        """Do a job with files and give what it returns; blocks until it is done.

        Raises:
            MltkError: What the job raises.
            WorkerDied: The process ended without an answer.
        """
        self._start(job.name)
        return self._answer(entry.call, job, _Place(job.name, job.log, os.getcwd()), lambda event: None)

    def _answer(self, function: Any, argument: Any, place: _Place, listener: Listener) -> Any:
        try:
            future = self._future = self._submit(function, argument)
            self._listen(future, listener)
            return future.result()
        except BrokenProcessPool as error:
            cause, answer = _last_words(place.log)
            raise WorkerDied(
                "the worker process died", where=place.name, found=cause, fix=f"see {place.shown_log}; {answer}"
            ) from error
        except MltkError:
            raise
        except Exception as error:  # whatever a stage's libraries raise is that stage's failure
            raise StageError(
                f"the stage failed with {type(error).__name__}",
                where=place.name,
                found=str(error).strip()[:500] or None,
                fix=f"see {place.shown_log}",
            ) from error

    def _start(self, where: str) -> None:
        if self._pid is not None:
            return
        with _spawning, _environment():
            try:
                with _without_main(), _without_here():
                    started = self._submit(os.getpid)
                self._pid = started.result()
            except BrokenProcessPool as error:
                raise WorkerDied(
                    "the worker process did not start",
                    where=where,
                    found="it ended before its first answer",
                    fix="its own message is above",
                ) from error

    def _submit(self, function: Any, *args: Any) -> Future[Any]:
        try:
            return self._pool.submit(function, *args)
        except BrokenProcessPool as error:
            broken: Future[Any] = Future()
            broken.set_exception(error)
            return broken

    def _listen(self, future: Future[Any], listener: Listener) -> None:
        """Hand on what the process tells until it is done, without looking again and again whether it is."""
        ended, end = os.pipe()
        future.add_done_callback(lambda _: os.write(end, b"."))
        try:
            while ended not in (ready := wait([self._events, ended])):
                if self._events in ready:
                    self._hand_on(listener)
        finally:
            # A signal handler may end this before: then the callback is still to come, and so is this process' end.
            if future.done():
                wait([ended])
                os.close(end)
                os.close(ended)
        while self._events.poll():
            self._hand_on(listener)

    def _hand_on(self, listener: Listener) -> None:
        with contextlib.suppress(EOFError, OSError):
            _, event = self._events.recv()
            listener(event)

    @property
    def is_training(self) -> bool:
        """Whether the process is at a stage that can keep where it is."""
        busy = self._future is not None and not self._future.done()
        return busy and self._request is not None and STAGES[self._request.stage].resumable

    def ask_to_stop(self) -> None:
        """Let the process keep where it is and end its stage; safe in a signal handler."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGTERM)

    def kept(self) -> str | None:
        """What a stage that was asked to stop has kept; None when it isn't done, or wasn't stopped."""
        future, request = self._future, self._request
        if (
            future is None
            or request is None
            or not future.done()
            or future.cancelled()
            or future.exception() is not None
        ):
            return None
        error = future.result().error
        return f"{request.stage}:{request.target}: {error.found}" if isinstance(error, Stopped) else None

    def kill(self) -> None:
        """End the process at once, whatever it does; safe in a signal handler."""
        if self._pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def stop(self) -> None:
        """End the process at once and wait for the pool's thread, which must not outlive it into Python's own exit."""
        self.kill()
        # The thread that waits for the stage ends the worker too, and a pool closes its pipes once for each.
        with self._ending:
            self._pool.shutdown(wait=True, cancel_futures=True)


def do(job: Job) -> Any:
    """Do a job with files in a worker of its own, so that files that crash a library harm nobody.

    Raises:
        MltkError: What the job raises.
        WorkerDied: The process ended without an answer.
    """
    worker = Worker(deterministic=True)
    try:
        return worker.call(job)
    finally:
        worker.stop()


class Executor(Protocol):
    """Runs stages somewhere: in processes here, or on another machine."""

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run one stage, and hand its events on; blocks until it is done.

        Raises:
            WorkerDied: Where it ran, it ended without an answer.
        """

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """End all stages, a training when it has kept where it is; for a signal handler. Later requests are refused.

        Args:
            hurry: Says whether not to wait for that any longer.

        Returns:
            What the trainings have kept, a line each.
        """

    def kill(self) -> None:
        """End all stages at once and refuse later requests; safe in a signal handler."""

    def stop(self) -> None:
        """End all stages at once and give up what they ran in."""


class Processes:
    """As many worker processes as stages run at the same time; each is reused while it lives."""

    def __init__(self) -> None:
        self._lock = threading.RLock()  # a signal may come while it is held, and ends the workers
        self._idle: list[Worker] = []
        self._busy: set[Worker] = set()
        self._stopped = False

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run one stage in a free worker, a new one if need be."""
        worker = self._take(request)
        try:
            outcome = worker.run(request, listener)
        except MltkError:
            self._give_up(worker)
            raise
        if request.alone or outcome.spent:
            # What a spec has changed in its process must not change the next one.
            self._give_up(worker)
            return outcome
        with self._lock:
            self._busy.discard(worker)
            self._idle.append(worker)
        return outcome

    def _take(self, request: Request) -> Worker:
        with self._lock:
            if self._stopped:
                raise StageError("the build was stopped")
            found = next((worker for worker in self._idle if worker.fits(request)), None)
            if found is not None and not request.alone:
                self._idle.remove(found)
            else:
                found = Worker(request.deterministic)
            self._busy.add(found)
            return found

    def _give_up(self, worker: Worker) -> None:
        with self._lock:
            self._busy.discard(worker)
        worker.stop()

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """Refuse later requests and end all workers, a training when it has kept where it is; for a signal handler.

        Args:
            hurry: Says whether not to wait any longer.

        Returns:
            What the trainings have kept, a line each.
        """
        with self._lock:
            self._stopped = True
            training = [worker for worker in self._busy if worker.is_training]
            for worker in (*self._idle, *self._busy):
                if worker in training:
                    worker.ask_to_stop()
                else:
                    worker.kill()
        end = time.monotonic() + GRACE_SECONDS
        while any(worker.is_training for worker in training) and not hurry() and time.monotonic() < end:
            time.sleep(0.02)
        kept = [worker.kept() for worker in training]
        self.kill()
        return [text for text in kept if text is not None]

    def kill(self) -> None:
        """End all workers at once and refuse later requests; safe in a signal handler."""
        with self._lock:
            self._stopped = True
            for worker in (*self._idle, *self._busy):
                worker.kill()

    def stop(self) -> None:
        """End all workers at once; later requests are refused."""
        self.kill()
        with self._lock:
            workers = [*self._idle, *self._busy]
            self._idle.clear()
            self._busy.clear()
        for worker in workers:
            worker.stop()


class Lent:
    """An executor that outlives the build that it is lent to, and stays warm for the next one.

    Args:
        owner: The executor; whoever made it stops it.
    """

    def __init__(self, owner: Executor) -> None:
        self.run = owner.run
        self.interrupt = owner.interrupt
        self.kill = owner.kill

    def stop(self) -> None:
        """Nothing: the build is over, and the executor isn't."""


def _of_libraries(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that TensorFlow and what it runs on read once in a process."""
    names = (name for name in environment if name not in ENVIRONMENT and name.startswith(_OF_LIBRARIES))
    return {name: environment[name] for name in names}


@contextlib.contextmanager
def _environment() -> Iterator[None]:
    """What a worker's environment must hold when its Python starts; this process keeps its own."""
    saved = {name: os.environ.get(name) for name in ENVIRONMENT}
    os.environ.update(ENVIRONMENT)
    try:
        yield
    finally:
        for name, value in saved.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextlib.contextmanager
def _without_main() -> Iterator[None]:
    """Let a worker that starts not run this process's script once more: it needs nothing of it.

    A script may have no `if __name__ == "__main__":`, and standard input or a notebook can't be run again.
    """
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


@contextlib.contextmanager
def _without_here() -> Iterator[None]:
    """Let a worker that starts, which takes over where this process looks for modules, not look where this one works.

    In a notebook and under `python -m` that comes first.
    """
    before = sys.path
    sys.path = search_path()
    try:
        yield
    finally:
        sys.path = before


def _last_words(log: str) -> tuple[str, str]:
    """The likely cause of a worker's death, from its log, and what to do."""
    try:
        lines = read_file(log).decode(errors="replace").splitlines()
    except OSError:
        lines = []
    smaller = "free memory, or make the model or batch_size smaller, and run the same command again"
    if any("std::bad_alloc" in line for line in lines):
        return f"it needed more memory than there is; {out_of_memory()}", smaller
    fatal = next((line for line in lines if line.startswith("Fatal Python error")), None)
    if fatal is not None:
        is_micro = any(line.strip().startswith("File ") and "tflite_micro" in line for line in lines)
        library = "TensorFlow Lite Micro" if is_micro else "TensorFlow or its converter"
        answer = "its stack says in what; run the same command again, and leave that out if it stays so"
        return f"{fatal.removeprefix('Fatal Python error: ')} in native code ({library})", answer
    return "it was killed from outside, most likely because the machine ran out of memory", smaller
