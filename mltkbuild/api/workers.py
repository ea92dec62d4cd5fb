"""The worker processes that the calls of the Python API share."""

from __future__ import annotations

import atexit
import os
import threading
from collections.abc import Callable

from mltkbuild.events import Listener
from mltkbuild.stages.protocol import Outcome, Request
from mltkbuild.workers.executor import Processes


class Workers:
    """The worker processes of all calls: the first call that needs one starts it, the next one finds it warm."""

    def __init__(self) -> None:
        self._executor: Processes | None = None
        self._lock = threading.Lock()

    def run(self, request: Request, listener: Listener) -> Outcome:
        """Run a stage in one of them."""
        with self._lock:
            executor = self._executor = self._executor or Processes()
        return executor.run(request, listener)

    def interrupt(self, hurry: Callable[[], bool]) -> list[str]:
        """End them, a training when it has kept where it is; for a signal handler. Only `stop` lets new ones start.

        Args:
            hurry: Says whether not to wait for that any longer.

        Returns:
            What the trainings have kept, a line each.
        """
        return [] if self._executor is None else self._executor.interrupt(hurry)

    def kill(self) -> None:
        """End them at once, from a signal handler."""
        if self._executor is not None:
            self._executor.kill()

    def stop(self) -> None:
        """End them at once; the next call starts new ones."""
        executor, self._executor = self._executor, None
        if executor is not None:
            executor.stop()

    def forget(self) -> None:
        """Leave them to the process that this one was forked from."""
        self._executor, self._lock = None, threading.Lock()


workers = Workers()
atexit.register(workers.stop)
os.register_at_fork(after_in_child=workers.forget)
