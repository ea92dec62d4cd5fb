"""Find the smallest arena in which a model starts: `python -m mltkbuild.tflite.arena USED < model.tflite`.

What TensorFlow Lite Micro records as used is what remains once a model has started; planning the memory takes more for
a while. So arenas are tried, each in a process of its own, as one that is too small may crash instead of failing.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from mltkbuild.errors import StageError

STEP = 16
"""An arena is aligned to so many bytes, and its size is told in multiples of it."""
_FACTOR = 64


def smallest(tflite: bytes, used: int) -> int:
    """Try arenas in a light process.

    Args:
        tflite: A model that runs.
        used: The bytes that the interpreter records.

    Returns:
        The smallest size in which it starts, a multiple of 16.

    Raises:
        StageError: It starts in none.
    """
    # -P: a folder of the workspace that is called mltkbuild must not be taken for this package.
    command = [sys.executable, "-P", "-m", __name__, str(used)]
    done = subprocess.run(command, input=tflite, capture_output=True, check=False)  # noqa: S603  # our own module
    if done.returncode:
        raise StageError(
            "the memory that the model needs can't be measured",
            found=done.stderr.decode("utf-8", "replace").strip()[-200:] or f"exit code {done.returncode}",
            fix="run the same command again; if it stays so, set my_model.tflm = 'off'",
        )
    return int(done.stdout)


def _starts(runtime: Any, tflite: bytes, size: int) -> bool:
    child = os.fork()
    if child == 0:
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
            runtime.Interpreter.from_bytes(tflite, arena_size=size)
            os._exit(0)
        finally:
            os._exit(1)
    return os.waitpid(child, 0)[1] == 0


def _search(tflite: bytes, used: int) -> int:
    """Halve the interval between a size that is too small and one that is enough, in steps of 16 bytes."""
    from tflite_micro import runtime

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
    sys.stdout.write(str(_search(sys.stdin.buffer.read(), int(sys.argv[1]))))
