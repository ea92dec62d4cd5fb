"""Try a model in processes that may die of it: `python -m mltkbuild.tflite.arena INPUTS < model.tflite`.

A kernel that meets settings that it wasn't made for may abort the process instead of refusing them. So a model starts
and runs once in a child, before any process that has more to do loads it.

What TensorFlow Lite Micro records as used is what remains once a model has started; planning the memory takes more for
a while. So arenas are tried, each in a process of its own, too, as one that is too small may crash instead of failing.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from mltkbuild.errors import StageError

STEP = 16
"""An arena is aligned to so many bytes, and its size is told in multiples of it."""
FIRST, LARGEST = 1 << 20, 1 << 30
"""The smallest and the largest arena for a model whose need isn't known."""
# A model that crashes in so much crashes of something else.
_PLENTY = 1 << 26
TOO_SMALL = re.compile(r"Failed to (resize buffer|allocate)|Failed to get memory|exhausted", re.IGNORECASE)
"""What the interpreter says of an arena that isn't enough."""
_FACTOR = 64
_FIGURE = re.compile(r"Arena allocation (total|head|tail) (\d+) bytes")


@dataclass(frozen=True)
class Trial:
    """What came of trying a model.

    Args:
        figures: `total`, `used`, `head` and `tail` in bytes; none for a model that can't run.
        said: What the interpreter wrote.
        signal: What ended its process, 6 for an abort; 0 when it ended by itself.
    """

    figures: Mapping[str, int]
    said: str
    signal: int


def tried(tflite: bytes, inputs: int, *, measured: bool = True) -> Trial:
    """Start a model and run it once, on zeros, in a light process, and find the smallest arena in which it starts.

    Args:
        tflite: A model that `micro.check_runnable` lets through.
        inputs: How many inputs it has.
        measured: Whether the smallest arena is wanted, too.

    Raises:
        StageError: It runs, and starts in no arena that could be the smallest.
    """
    # -P: a folder of the workspace that is called mltkbuild must not be taken for this package.
    command = [sys.executable, "-P", "-m", __name__, str(inputs), str(int(measured))]
    done = subprocess.run(command, input=tflite, capture_output=True, check=False)  # noqa: S603  # our own module
    if done.returncode:
        raise StageError(
            "the memory that the model needs can't be measured",
            found=done.stderr.decode("utf-8", "replace").strip()[-200:] or f"exit code {done.returncode}",
            fix="run the same command again; if it stays so, set my_model.tflm = 'off'",
        )
    return Trial(**json.loads(done.stdout))


def sizes(tflite: bytes) -> Iterator[int]:
    """Arenas to try, each larger than the one before."""
    size = max(FIRST, 4 * len(tflite))
    yield size
    while size < LARGEST:
        size *= 4
        yield size


def _starts(runtime: Any, tflite: bytes, size: int) -> bool:
    return _in_child(lambda: runtime.Interpreter.from_bytes(tflite, arena_size=size))[0] == 0


def _in_child(work: Callable[[], object]) -> tuple[int, str]:
    """Do something in a child; give the status with which it ended and what native code wrote there."""
    with tempfile.TemporaryFile() as file:
        child = os.fork()
        if child == 0:
            try:
                os.dup2(file.fileno(), 2)
                work()
                os._exit(0)
            except (RuntimeError, ValueError) as error:
                os.write(2, f"\n{error}".encode())
            finally:
                os._exit(1)
        status = os.waitpid(child, 0)[1]
        file.seek(0)
        return status, file.read(1 << 16).decode("utf-8", "replace")


def _run(runtime: Any, tflite: bytes, inputs: int, size: int) -> None:
    import numpy as np

    interpreter = runtime.Interpreter.from_bytes(tflite, arena_size=size)
    for place in range(inputs):
        details = interpreter.get_input_details(place)
        interpreter.set_input(np.zeros(details["shape"], details["dtype"]), place)
    interpreter.invoke()
    interpreter.print_allocations()


def _try(tflite: bytes, inputs: int, measured: bool) -> Trial:
    from tflite_micro import runtime

    for size in sizes(tflite):
        status, said = _in_child(lambda size=size: _run(runtime, tflite, inputs, size))  # type: ignore[misc]
        # A crash, too, may be that of an arena that is too small.
        if not (size < _PLENTY if os.WIFSIGNALED(status) else status and TOO_SMALL.search(said)):
            break
    if status:
        return Trial({}, said, os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)
    found = {name: int(size) for name, size in _FIGURE.findall(said)}
    used = found.pop("total")
    total = _search(runtime, tflite, used) if measured else used
    return Trial({"total": total, "used": used, **found}, "", 0)


def _search(runtime: Any, tflite: bytes, used: int) -> int:
    """Halve the interval between a size that is too small and one that is enough, in steps of 16 bytes."""
    low, high = used // STEP // 2, -(-used // STEP)
    while not _starts(runtime, tflite, high * STEP):
        if high * STEP > _FACTOR * max(used, STEP):
            raise SystemExit("it starts in no arena")
        low, high = high, high * 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _starts(runtime, tflite, middle * STEP) else (middle, high)
    return high * STEP


if __name__ == "__main__":
    found = _try(sys.stdin.buffer.read(), int(sys.argv[1]), sys.argv[2] == "1")
    sys.stdout.write(json.dumps(vars(found)))
