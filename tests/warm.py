"""Workers that begin with TensorFlow loaded, for tests whose subject isn't how a worker begins.

    python warm.py serve PATH          load it once, and fork a worker for each that asks at the socket PATH
    python warm.py run MODULE ...      run `python -m MODULE ...`, whose workers come from the server in the environment

A worker takes about five seconds of processor time to load TensorFlow. One that is forked from a process that has it is
the same otherwise: it gets what the spawned one would get, its environment, working folder and handles. To draw takes a
third of a tiny model's build: workers of the test's own process leave empty pictures, those of commands draw.
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import importlib
import itertools
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from multiprocessing import util
from pathlib import Path
from typing import Any

SERVER = "MLTKBUILD_TEST_WARM"
"""The environment variable with the server's socket."""

_FORKING = "--multiprocessing-fork"
_ENDED = 3
"""Where a program that was asked for by `python` tells how it ended."""
_SIZE = struct.Struct("!I")

_NO_PICTURES = """
from pathlib import Path
from matplotlib.backends.backend_agg import FigureCanvasAgg
FigureCanvasAgg.print_png = lambda canvas, path, **options: Path(path).write_bytes(b"")
"""

_real: Any = util.spawnv_passfds
_wanted = threading.local()
_servers: list[int] = []


@contextlib.contextmanager
def warm() -> Iterator[None]:
    """Let workers that this thread starts meanwhile come from this process's server."""
    _spawn_by(_spawn)
    _wanted.server = _server()
    try:
        yield
    finally:
        _wanted.server = None


def _spawn_by(function: Any) -> None:
    util.spawnv_passfds = function


def environment() -> dict[str, str]:
    """What tells a process that `command` starts where the server is."""
    return {SERVER: _server()}


def _spawn(path: bytes, arguments: Sequence[str | bytes], handles: Sequence[int]) -> int:
    """What `multiprocessing` starts a process with."""
    server = getattr(_wanted, "server", None) or os.environ.get(SERVER)
    words = [os.fsdecode(word) for word in arguments]
    if server is None or _FORKING not in words:
        return int(_real(path, arguments, handles))
    program = words[words.index("-c") + 1]
    if SERVER not in os.environ:
        program = _NO_PICTURES + program
    return _order(server, program, [_FORKING], {place: place for place in (0, 1, 2, *handles)})


def python(program: str, *arguments: str) -> str:
    """Do what `python -c` does, in a process that has TensorFlow loaded, and give what it prints.

    Raises:
        AssertionError: It ended with another code than 0.
    """
    ended, end = os.pipe()
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, open(os.devnull, "rb") as nothing:
        try:
            _order(_server(), program, arguments, {0: nothing.fileno(), 1: out.fileno(), 2: err.fileno(), _ENDED: end})
        finally:
            os.close(end)
        with open(ended, "rb") as file:
            code = file.read()
        err.seek(0)
        assert b"0" == code, err.read()[-3000:].decode()
        out.seek(0)
        return out.read().decode()


def _order(server: str, program: str, arguments: Sequence[str], handles: Mapping[int, int]) -> int:
    """Ask the server for a process with these handles, by their numbers in it, and give its number."""
    text = json.dumps(
        {
            "program": program,
            "arguments": ["-c", *arguments],
            "handles": list(handles),
            "environment": dict(os.environ),
            "folder": os.getcwd(),
        }
    ).encode()
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(server)
        socket.send_fds(connection, [_SIZE.pack(len(text))], list(handles.values()))
        connection.sendall(text)
        return int(_SIZE.unpack(connection.recv(_SIZE.size, socket.MSG_WAITALL))[0])


@functools.cache
def _server() -> str:
    """Start the server, which ends with this process, and give its socket."""
    folder = tempfile.mkdtemp(prefix="mltkbuild-warm-")
    path = os.path.join(folder, "socket")
    executor = importlib.import_module("mltkbuild.workers.executor")
    repository = str(Path(__file__).parent.parent)
    process = subprocess.Popen(
        [sys.executable, __file__, "serve", path],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, **executor.ENVIRONMENT, "PYTHONPATH": repository},
        cwd=folder,
    )
    assert process.stdout is not None
    said = iter(process.stdout.readline, b"")
    greeting = list(itertools.takewhile(lambda line: line != b"ready\n", said))
    assert process.poll() is None, b"".join(greeting).decode()
    _servers.append(process.pid)
    util.Finalize(None, _end, (process, folder), exitpriority=0)
    return path


def _end(process: subprocess.Popen[bytes], folder: str) -> None:
    assert process.stdin is not None
    process.stdin.close()
    process.wait()
    for name in os.listdir(folder):
        os.unlink(os.path.join(folder, name))
    os.rmdir(folder)


def children() -> list[int]:
    """The processes that the server has forked and that still live."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            fields = Path("/proc", name, "stat").read_text().rpartition(")")[2].split()
            if _servers and int(fields[1]) == _servers[0] and fields[0] != "Z":
                found.append(int(name))
    return found


# -- the server ------------------------------------------------------------------------------------------------------


def serve(path: str) -> None:
    """Load what workers load, then fork one for each that asks, until standard input ends."""
    importlib.import_module("mltkbuild.workers.run_stage")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path)
    listener.listen(8)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the workers
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    while 0 not in select.select([0, listener.fileno()], [], [])[0]:
        worker = _fork(listener)
        if worker is not None:
            worker()


def _fork(listener: socket.socket) -> Callable[[], None] | None:
    """Answer one that asks; in the new process, give what it is to do."""
    connection, _ = listener.accept()
    with connection:
        head, handles, _, _ = socket.recv_fds(connection, _SIZE.size, 16)
        order = json.loads(connection.recv(_SIZE.unpack(head)[0], socket.MSG_WAITALL))
        number = os.fork()
        if number:
            connection.sendall(_SIZE.pack(number))
            for handle in handles:
                os.close(handle)
            return None
    listener.close()
    return functools.partial(_work, order, handles)


def _work(order: Mapping[str, Any], handles: Sequence[int]) -> None:
    """Become the worker that was asked for."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    # Out of the way of all their final numbers, of which a process that has many open files has high ones.
    above = max(*order["handles"], *handles) + 1
    aside = [fcntl.fcntl(handle, fcntl.F_DUPFD, above) for handle in handles]
    for handle in handles:
        os.close(handle)
    for handle, place in zip(aside, order["handles"], strict=True):
        os.dup2(handle, place)
        os.close(handle)
    os.environ.clear()
    os.environ.update(order["environment"])
    os.chdir(order["folder"])
    sys.argv = order["arguments"]
    code: object = 1
    try:
        exec(order["program"], {"__name__": "__main__"})  # what `python -c` does with it
        code = 0
    except SystemExit as end:
        code = end.code or 0
    finally:
        if sys.exc_info()[1] is not None:
            traceback.print_exc()
        sys.stdout.flush()
        sys.stderr.flush()
        if _ENDED in order["handles"]:
            os.write(_ENDED, str(code).encode())
        os._exit(code if isinstance(code, int) else 1)


def run(module: str, arguments: Sequence[str]) -> None:
    """Do what `python -m` does, with workers from the server."""
    _spawn_by(_spawn)
    sys.argv = [module, *arguments]
    sys.path[0] = os.getcwd()
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(sys.argv[2])
    else:
        run(sys.argv[2], sys.argv[3:])
