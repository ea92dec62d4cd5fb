"""What a worker process runs: light to import in the deciding process, which only names these functions."""

from __future__ import annotations

import contextlib
import faulthandler
import importlib
import logging
import os
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from multiprocessing.connection import Connection
from types import FrameType
from typing import Any

from mltkbuild.disk.door import Door
from mltkbuild.errors import StageError
from mltkbuild.events import EpochProgress, Event
from mltkbuild.process import MEMORY, end_with_parent, life, limit_memory, out_of_memory
from mltkbuild.stages.protocol import Job, Outcome, Request
from mltkbuild.stages.table import STAGES

STEP_SECONDS = 0.2
"""Progress within an epoch is reported at most this often."""


JOBS: Mapping[str, str] = {
    "evaluate": "mltkbuild.workers.file_evaluation",
    **dict.fromkeys(("export", "profile", "quantize", "summarize", "update_params"), "mltkbuild.workers.file_jobs"),
}
"""The modules with the functions for files: each is loaded by a worker alone, when it is asked for."""


def start(pipe: Connection[Any, Any], is_safe: bool) -> None:
    """Prepare a new worker: progress goes into the pipe; the worker ends when its parent is gone.

    Args:
        pipe: Takes events.
        is_safe: Whether whoever started the build has set PYTHONSAFEPATH.
    """
    life.pipe = pipe
    if not is_safe:
        # Python has obeyed, and tells those that multiprocessing starts. A script that a spec starts imports as ever.
        del os.environ["PYTHONSAFEPATH"]
    life.environment = dict(os.environ)
    # The deciding process ends the workers; a Ctrl+C that the terminal sends to all of them must not tear a stage.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _asked_to_stop)
    end_with_parent()
    limit_memory()


def _asked_to_stop(number: int, frame: FrameType | None) -> None:
    """Let a training keep where it is; end anything else at once."""
    if not (life.stage and STAGES[life.stage].resumable) or life.stop.is_set():
        os._exit(128 + number)
    life.stop.set()


def run(request: Request) -> Outcome:
    """Run one stage; everything that it prints goes to its log file."""
    life.stage = request.stage
    try:
        with _logging_to(request.log_door, request.log):
            # Before the worker learns what its libraries hold.
            logging.captureWarnings(True)
            # The one place where a worker loads TensorFlow; inside the block, so that its greeting is logged too.
            worker = importlib.import_module("mltkbuild.workers.run_stage")
            outcome: Outcome = worker.run_stage(request, _throttled(request), life.stop.is_set)
            return outcome
    finally:
        life.stage = ""


def call(job: Job) -> object:
    """Do a job with files; everything that it prints goes to its log file."""
    with _logging_to(Door(os.path.dirname(job.log)), job.log):
        function = getattr(importlib.import_module(JOBS[job.name]), job.name)
        size = _size_of(job)
        limit_memory(size)
        try:
            return function(**job.arguments)
        except MemoryError as error:
            fix = f"give a smaller file, or set {MEMORY} to more GiB if its maker can be trusted"
            raise StageError("there isn't enough memory for this", found=out_of_memory(size), fix=fix) from error


def _size_of(job: Job) -> int | None:
    """How large the files are that a job is about; None where a folder of samples is among them."""
    given = [value for value in job.arguments.values() if isinstance(value, str)]
    given += [path for value in job.arguments.values() if isinstance(value, list | tuple) for path in value]
    if os.path.isdir(str(job.arguments.get("data"))):
        return None
    # A model may be a folder, too: a SavedModel.
    inner = [os.path.join(place, name) for path in given for place, _, names in os.walk(path) for name in names]
    return sum(os.path.getsize(path) for path in (*given, *inner) if os.path.isfile(path))


@contextlib.contextmanager
def _logging_to(door: Door, path: str) -> Iterator[None]:
    """Send what is printed, and what a crash leaves, to a new file of its own."""
    with door.create(path) as log:
        faulthandler.enable(log)
        try:
            with _printing_to(log.fileno()):
                yield
        finally:
            faulthandler.disable()


@contextlib.contextmanager
def _printing_to(target: int) -> Iterator[None]:
    """Redirect this process's standard output and error, native code's too."""
    saved = [os.dup(1), os.dup(2)]
    try:
        for stream in (1, 2):
            os.dup2(target, stream)
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, old in zip((1, 2), saved, strict=True):
            os.dup2(old, stream)
            os.close(old)


class _throttled:  # reads as the function that it stands for
    """Sends events to the deciding process, those inside an epoch only now and then."""

    def __init__(self, request: Request) -> None:
        self._key = (request.target, request.stage)
        self._last = 0.0

    def __call__(self, event: Event) -> None:
        now = time.monotonic()
        if isinstance(event, EpochProgress) and event.step is not None and now - self._last < STEP_SECONDS:
            return
        self._last = now
        if life.pipe is not None:
            with contextlib.suppress(OSError):
                life.pipe.send((self._key, event))
