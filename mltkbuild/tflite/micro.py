"""Run a `.tflite` in TensorFlow Lite Micro itself, with its reference kernels, as a microcontroller would.

The interpreter is the one of the `tflite-micro` package: the same C++ as on a device, compiled for this machine.
"""

from __future__ import annotations

import itertools
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.errors import StageError
from mltkbuild.fingerprint.toolchain import NONE, version
from mltkbuild.process import end_with_parent
from mltkbuild.tflite import arena, culprit, graph, lint, open_sizes

PACKAGE = "tflite-micro"
"""The package of the interpreter, which is built for Linux on x86-64 alone."""
# Starting a process and its interpreter takes about this long, so only what takes longer is worth sharing.
_WORTH_SHARING_SECONDS = 1.5
_TIMED_SAMPLES = 32
_BATCH_OF_ONE = "convert it with a batch of 1 and a fixed input shape: `mltk quantize` does from the Keras model"
CANT_RUN = "TensorFlow Lite Micro can't run the model"


@dataclass(frozen=True)
class Port:
    """An input or output of a model.

    Args:
        name: Its name in the file.
        shape: Its sizes, the batch of 1 first.
        dtype: Its number type.
        scale: The quantization step; 0.0 for a float one.
        zero_point: The quantized value that stands for 0.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float
    zero_point: int


@dataclass(frozen=True)
class Arena:
    """The working memory that a model needs, in bytes, with reference kernels on a 64-bit machine.

    Args:
        total: The smallest arena in which the model starts, a multiple of 16: planning takes memory for a while.
        used: What is used of it from then on.
        head: The part of `used` for activations, the same on a microcontroller.
        tail: The part for what lives as long as the model; smaller where a pointer has 32 bits.
    """

    total: int
    used: int
    head: int
    tail: int

    def as_json(self) -> dict[str, int]:
        """The figures by name."""
        return asdict(self)


class CantRun(StageError):
    """TensorFlow Lite Micro refuses a model, or crashes on it."""


class Crashed(CantRun):
    """TensorFlow Lite Micro aborts on a model."""


class NotHere(CantRun):
    """TensorFlow Lite Micro is not installed, so that nothing is known of a model."""


def not_here() -> NotHere:
    """The error for what needs the interpreter where there is none."""
    # No word about this machine: the text is part of artifacts.
    return NotHere(
        "TensorFlow Lite Micro is not installed",
        found=f"no package {PACKAGE}",
        fix="run the same command on Linux on x86-64, where the package is installed with mltkbuild",
    )


def is_here() -> bool:
    """Say whether the interpreter is installed; its version is what stages have as an input."""
    return version(PACKAGE) != NONE


class Micro:
    """A model in TensorFlow Lite Micro.

    Args:
        tflite: The file's bytes.

    Raises:
        StageError: The bytes are no `.tflite` model.
        CantRun: The interpreter refuses the model; quotes its message.
        NotHere: There is no interpreter.
    """

    def __init__(self, tflite: bytes) -> None:
        self._content = tflite
        self._graph = graph.read(tflite)
        check_runnable(self._graph)
        if not is_here():
            raise not_here()
        _check_open(tflite, self._graph)
        self._interpreter = _allocated(tflite, self._graph)
        self.inputs = tuple(map(port_of, self._graph.inputs))
        self.outputs = tuple(map(port_of, self._graph.outputs))

    @property
    def batch(self) -> int:
        """How many samples one inference takes."""
        sizes = {port.shape[:1] for port in (*self.inputs, *self.outputs)}
        return next(iter(sizes))[0] if len(sizes) == 1 and () not in sizes else 1

    def invoke(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run one inference from a reset state.

        Args:
            inputs: One array an input, of its shape and number type.

        Returns:
            One array an output, of its shape and number type.

        Raises:
            CantRun: An operator fails.
        """
        # An LSTM would go on from the sample before.
        self._interpreter.reset()
        return self.go_on(inputs)

    def go_on(self, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Run one inference from the state that the last one left, as a streaming model does on a device."""
        try:
            for index, value in enumerate(inputs):
                self._interpreter.set_input(value, index)
            self._interpreter.invoke()
            return [self._interpreter.get_output(index) for index in range(len(self.outputs))]
        except (RuntimeError, ValueError) as error:
            raise refused(str(error), self._graph) from error

    def arena(self) -> Arena:
        """How much working memory the model needs."""
        return measured(self._content)


def measured(tflite: bytes, known: Callable[[str], str] = str) -> Arena:
    """Run a model once, on zeros, in a process of its own, and say how much working memory it needs.

    A kernel may abort instead of refusing what it can't run; this process only hears of it.

    Args:
        tflite: The file's bytes.
        known: Gives the name of a layer as people know it.

    Raises:
        StageError: The bytes are no `.tflite` model.
        CantRun: The interpreter refuses the model or aborts on it; names the operator and its layer.
        NotHere: There is no interpreter.
    """
    return Arena(**_tried(tflite, known, measured=True))


def check(tflite: bytes, known: Callable[[str], str] = str) -> None:
    """Run a model that nobody has tried once, before this process loads it; takes and raises what `measured` does."""
    _tried(tflite, known, measured=False)


def _tried(tflite: bytes, known: Callable[[str], str], *, measured: bool) -> Mapping[str, int]:
    model = graph.read(tflite)
    check_runnable(model)
    if not is_here():
        raise not_here()
    _check_open(tflite, model)
    trial = arena.tried(tflite, len(model.inputs), measured=measured)
    if trial.figures:
        return trial.figures
    # What is known of an operator tells more than the interpreter does.
    if problems := lint.find_problems(model, known):
        raise CantRun(CANT_RUN, found=lint.named(problems), fix=lint.fixes(problems))
    if trial.signal:
        raise Crashed(
            "TensorFlow Lite Micro crashes on the model",
            found=culprit.of_crash(tflite, model, known) or "a process that ran it ended without an answer",
            fix="replace the layer: its operator has a kernel, and not for these sizes, settings or ranges",
        )
    raise refused(trial.said, model, known)


def check_sound(model: graph.Graph) -> None:
    """Refuse what would crash any interpreter.

    Raises:
        StageError: A constant has fewer bytes than its shape says, or a tensor that is computed has a size of 0.
    """
    for part in model.subgraphs:
        _check_sizes(part)
        for tensor in part.tensors:
            if tensor.data and tensor.dtype != "string" and len(tensor.data) < graph.bytes_of(tensor):
                found = f"{tensor.name} of shape {tensor.shape} with {len(tensor.data)} bytes"
                raise graph.damaged(f"a constant that is too short: {found}")


def check_runnable(model: graph.Graph) -> None:
    """Refuse what would crash the interpreter instead of being refused by it.

    Raises:
        StageError: As `check_sound` does.
        CantRun: The file has no size where TensorFlow Lite Micro needs one, or a tensor is larger than 1 GiB.
    """
    check_sound(model)
    for part in model.subgraphs:
        for tensor in part.tensors:
            if tensor.dtype != "string" and graph.bytes_of(tensor) > arena.LARGEST:
                found = f"{tensor.name} of shape {tensor.shape}"
                raise CantRun(
                    "a tensor is larger than the memory of any microcontroller",
                    found=found,
                    fix="make the model smaller",
                )
        # What the signature leaves open, such as the batch, has a size in the shape; that one is run.
        for tensor in part.tensors:
            if min(tensor.shape, default=1) >= 0:
                continue
            raise CantRun(
                "the file has no size for a tensor, and TensorFlow Lite Micro takes none at run time",
                found=f"{tensor.name}: {tensor.shape}",
                fix=_BATCH_OF_ONE,
            )


def _check_open(tflite: bytes, model: graph.Graph) -> None:
    """Refuse open sizes that are others for a batch of 1 than in the file: kernels would leave their tensors."""
    if (found := open_sizes.wrong(tflite, model)) is not None:
        raise CantRun(
            "TensorFlow Lite Micro can't run the model: sizes that the file leaves open are wrong in it",
            found=found,
            fix=_BATCH_OF_ONE,
        )


def _check_sizes(part: graph.Subgraph) -> None:
    """Refuse sizes of 0, by which kernels divide; only a list of nothing, such as axes, may be empty."""
    given = {index for operator in part.operators for index in operator.outputs} | {*part.inputs, *part.outputs}
    for tensor in part.tensors:
        if 0 in tensor.shape and (tensor.index in given or len(tensor.shape) > 1):
            raise graph.damaged(f"a tensor without elements: {tensor.name} of shape {tensor.shape}")


def refused(message: str, model: graph.Graph, known: Callable[[str], str] = str) -> CantRun:
    """The error for a model that the interpreter refuses."""
    lines = [" ".join(line.split()) for line in message.splitlines() if line.strip()]
    telling = [line for line in lines if not line.startswith(("TFLM failed", "Interpreter invocation"))] or lines
    layer = lint.told_by(message, model, known)
    said = "; ".join(telling[:3]) or "no message"
    fix = "replace the layer, or publish the file all the same with my_model.tflm = 'warn' (a file: --tflm warn)"
    if any(tensor.is_open for tensor in model.inputs):
        # The file then computes sizes at run time that are constants for a known batch.
        fix = _BATCH_OF_ONE
    return CantRun(CANT_RUN, found=f"{layer}: {said}" if layer else said, fix=fix)


def port_of(tensor: graph.Tensor) -> Port:
    """A tensor as an input or output."""
    return Port(tensor.name, tensor.shape, tensor.dtype, tensor.scale, tensor.zero_point)


def _allocated(tflite: bytes, model: graph.Graph) -> Any:
    """An interpreter whose tensors have memory; the arena grows until it is enough."""
    from tflite_micro import runtime

    for size in arena.sizes(tflite):
        with _standard_error() as said:
            try:
                return runtime.Interpreter.from_bytes(tflite, arena_size=size)
            except (RuntimeError, ValueError) as error:
                message = f"{said()}\n{error}"
        if not arena.TOO_SMALL.search(message):
            break
    raise refused(message, model)


@contextmanager
def _standard_error() -> Iterator[Any]:
    """Collect what native code writes to standard error, where TensorFlow Lite Micro says why.

    Yields:
        A function that gives the text so far.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)

        def said() -> str:
            # Not through the descriptor's own place, which is where native code goes on writing.
            return os.pread(file.fileno(), 1 << 16, 0).decode("utf-8", "replace")

        try:
            yield said
        finally:
            os.dup2(saved, 2)
            os.close(saved)


# -- many samples ----------------------------------------------------------------------------------------------------


def run_all(tflite: Path, inputs: Sequence[np.ndarray], cores: int | None = None) -> list[np.ndarray]:
    """Run every sample on its own, from a reset state, on several cores if that is worth it.

    Args:
        tflite: The model.
        inputs: One array an input, of shape `(n, *input_shape without the batch)` and of the input's number type.
        cores: How many processes may run; this machine's cores when None.

    Returns:
        One array an output, of shape `(n, ...)` and of the output's number type, the same for any number of cores.

    Raises:
        StageError: The model can't be read or run.
    """
    content = tflite.read_bytes()
    count = len(inputs[0])
    model = Micro(content)
    begun = time.perf_counter()
    first = min(count, _TIMED_SAMPLES)
    parts = [_run_part(model, inputs, 0, first)]
    left = (time.perf_counter() - begun) / max(first, 1) * (count - first)
    shares = cores if cores is not None else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 1
    if shares < 2 or left < _WORTH_SHARING_SECONDS:
        parts.append(_run_part(model, inputs, first, count))
    else:
        parts += _shared(content, inputs, np.linspace(first, count, shares + 1, dtype=int).tolist())
    return [np.concatenate([part[number] for part in parts if len(part[number])]) for number in range(len(parts[0]))]


def _run_part(model: Micro, inputs: Sequence[np.ndarray], start: int, end: int) -> list[np.ndarray]:
    if start == end:
        return [np.empty((0, *port.shape[1:]), port.dtype) for port in model.outputs]
    # The last inference of a model with a larger batch is filled up with the last sample.
    groups = [np.minimum(np.arange(place, place + model.batch), end - 1) for place in range(start, end, model.batch)]
    rows = [model.invoke([part[group] for part in inputs]) for group in groups]
    return [np.concatenate(column)[: end - start] for column in zip(*rows, strict=True)]


def _shared(content: bytes, inputs: Sequence[np.ndarray], bounds: Sequence[int]) -> list[list[np.ndarray]]:
    """Run consecutive parts of the samples in processes of their own."""
    ranges = list(itertools.pairwise(bounds))
    context = get_context("spawn")
    with ProcessPoolExecutor(len(ranges), context, initializer=_begin, initargs=(content,)) as pool:
        try:
            return list(pool.map(_run_share, [[part[start:end] for part in inputs] for start, end in ranges]))
        except BrokenProcessPool as error:
            raise CantRun(
                "TensorFlow Lite Micro crashed on the model",
                found="a process that ran it ended without an answer",
                fix="convert the model again; if it stays so, leave out its rarer layers one by one",
            ) from error


_model: list[Micro] = []


def _begin(content: bytes) -> None:
    end_with_parent()
    _model.append(Micro(content))


def _run_share(inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    return _run_part(_model[0], inputs, 0, len(inputs[0]))
