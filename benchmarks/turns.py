"""Trainings that take turns: each asks before an epoch, and whoever waits is stopped as a whole."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType

# Compiled modules are kept, as they are for everybody; the terminal is one that can show moving lines.
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"} | {
    "TERM": "xterm-256color",
    "COLUMNS": "120",
    "TF_CPP_MIN_LOG_LEVEL": "2",
}
PORT = "TRAINING_BENCHMARK_PORT"

DODO = """\
from mltkbuild.tasks import DOIT_CONFIG, task_mltkbuild
__all__ = ["DOIT_CONFIG", "task_mltkbuild"]
"""

TURNS = f'''\
@functools.cache
def benchmark():
    """The line to the benchmark."""
    return socket.create_connection(("127.0.0.1", int(os.environ["{PORT}"])))


class Turns(keras.callbacks.Callback):
    """Begins an epoch when the benchmark says so."""

    def on_epoch_begin(self, epoch, logs=None):
        """Ask and wait."""
        benchmark().sendall(b".")
        benchmark().recv(1)
'''


class Run:
    """A command on a terminal of its own, whose training asks before each epoch.

    Args:
        command: The command line.
        folder: Where it runs.
        environment: Its environment, to which the port is added.
    """

    def __init__(self, command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        self._command = " ".join(command)
        self._said = b""
        self._line: socket.socket | None = None
        self._waits = False
        self._server = socket.create_server(("127.0.0.1", 0))
        self._terminal, theirs = os.openpty()
        self._process = subprocess.Popen(
            command,
            cwd=folder,
            env={**environment, PORT: str(self._server.getsockname()[1])},
            stdin=subprocess.DEVNULL,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)

    def __enter__(self) -> Run:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._process.poll() is None:
            self.kill()
        self._server.close()
        os.close(self._terminal)

    def asks(self) -> bool:
        """Wait until it stands before an epoch.

        Returns:
            False when the command and all that it started have ended.
        """
        while not self._waits:
            source = (self._line or self._server).fileno()
            ready, _, _ = select.select([source, self._terminal], [], [])
            if self._terminal in ready and not self._hear():
                return False
            if source not in ready:
                continue
            if self._line is None:
                self._line, _ = self._server.accept()
            elif self._line.recv(1):
                self._waits = True
            else:
                self._line.close()
                self._line = None
        return True

    def _hear(self) -> bool:
        """Take what it prints; False when nobody can print any more."""
        try:
            said = os.read(self._terminal, 65536)
        except OSError:
            said = b""
        self._said += said
        return bool(said)

    def go(self) -> None:
        """Let it begin the epoch that it stands before."""
        assert self._line is not None
        self._waits = False
        self._line.sendall(b".")

    def must_ask(self) -> None:
        """Wait until it stands before an epoch; that it ends instead is an error."""
        if not self.asks():
            self._fail("it ended before the last epoch")

    def epoch(self) -> float:
        """Run one epoch with nothing beside it.

        Returns:
            Its seconds, until the next one is to begin.
        """
        os.killpg(self._process.pid, signal.SIGCONT)
        start = time.perf_counter()
        self.go()
        self.must_ask()
        took = time.perf_counter() - start
        self.pause()
        return took

    def pause(self) -> None:
        """Stop it as a whole, moving lines on its terminal included."""
        os.killpg(self._process.pid, signal.SIGSTOP)

    def finish(self) -> int:
        """Let it run to its end.

        Returns:
            How many epochs it began.
        """
        os.killpg(self._process.pid, signal.SIGCONT)
        count = 0
        while self.asks():
            count += 1
            self.go()
        if self._process.wait() != 0:
            self._fail(f"exit code {self._process.returncode}")
        return count

    def kill(self) -> None:
        """Kill it and all that it started."""
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        while self._hear():
            pass

    def _fail(self, what: str) -> None:
        raise SystemExit(f"{self._command}: {what}\n{self._said[-3000:].decode(errors='replace')}")
