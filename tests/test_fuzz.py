"""Damaged `.tflite` files: an error each, never a crash or a hang of the process that asks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from mltkbuild.errors import MltkError
from mltkbuild.stages.protocol import Job
from mltkbuild.workers.executor import do

from .tflite.test_micro import dense_model

CASES = 10_000
# Reads, profiles (which starts TensorFlow Lite Micro) and summarises damaged files in a child of its own, and begins
# again behind a file that killed it: a child costs nothing, a Python that loads TensorFlow Lite Micro a second.
WORKER = """
import mmap, os, signal, sys, traceback
import numpy as np
from mltkbuild.tflite import graph, lint, micro, params
from mltkbuild.errors import MltkError

def damaged(content, number):
    generator = np.random.default_rng(number)
    data = bytearray(content)
    kind = number % 4
    if kind == 0:
        return bytes(data[: generator.integers(len(data))])
    if kind == 1:
        for _ in range(generator.integers(1, 9)):
            data[generator.integers(len(data))] ^= 1 << int(generator.integers(8))
    elif kind == 2:
        place = int(generator.integers(len(data) - 4)) // 4 * 4
        data[place:place + 4] = int(generator.choice([0, 2**31 - 1, 2**31, 2**32 - 1, 7])).to_bytes(4, "little")
    else:
        data = bytearray(generator.bytes(int(generator.integers(1, 400))))
        data[4:8] = b"TFL3"
    return bytes(data)

def run(content, numbers, told):
    for number in numbers:
        told[0] = number
        signal.alarm(10)
        data = damaged(content, number)
        try:
            params.extract(data)
            lint.find_problems(graph.read(data))
            runner = micro.Micro(data)
            runner.invoke([np.zeros(port.shape, port.dtype) for port in runner.inputs])
        except MltkError as error:
            assert error.what and error.fix
            told[1] += 1

content, start, end = open(sys.argv[1], "rb").read(), 0, int(sys.argv[2])
told = memoryview(mmap.mmap(-1, 16)).cast("q")
while start < end:
    child = os.fork()
    if not child:
        try:
            run(content, range(start, end), told)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if code > 0:
        sys.exit(code)
    if not code:
        break
    print("hung" if code == -signal.SIGALRM else "died", told[0])
    start = told[0] + 1
print("errors", told[1])
"""


def fuzz(path: Path, cases: int) -> tuple[int, list[int], list[int]]:
    """Run cases: how many were errors, and those that killed their process or hung."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(path), str(cases)], capture_output=True, text=True, check=False
    )
    assert 0 == done.returncode, done.stderr[-2000:]
    told: dict[str, list[int]] = {"errors": [], "died": [], "hung": []}
    for line in done.stdout.splitlines():
        word, number = line.split()
        told[word].append(int(number))
    (errors,) = told["errors"]
    return errors, told["died"], told["hung"]


@pytest.mark.real
@pytest.mark.timeout(600)
def test_damaged_files_are_errors(tmp_path: Path) -> None:
    """Of 10,000 truncated, bit-flipped and random files none hangs, none raises anything but our error."""
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_model())
    errors, died, hung = fuzz(path, CASES)
    assert [] == hung
    assert errors > CASES // 4
    # Native code may die of what it trusts; the worker dies then, and nobody else.
    assert len(died) < CASES // 100


@pytest.mark.real
def test_a_damaged_file_is_an_error_of_the_process_that_asks(tmp_path: Path) -> None:
    """What a worker finds wrong reaches the process that asks as an error that names the file."""
    path = tmp_path / "model.tflite"
    path.write_bytes(dense_model())
    job = Job("profile", {"path": str(path)}, str(tmp_path / "log"))
    assert 8 == do(job)["json"]["macs"]
    path.write_bytes(dense_model()[:100])
    with pytest.raises(MltkError, match="damaged") as caught:
        do(job)
    assert str(path) == caught.value.where
