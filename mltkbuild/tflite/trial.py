"""Convert a model that isn't trained yet and start it in TFLM: `python -m mltkbuild.tflite.trial < model.tflite`.

What can't be converted, or has no kernel on a microcontroller, is so before the training as after it. The interpreter
runs in a process of its own: weights that nobody has trained may be of a kind that it doesn't survive.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from mltkbuild import keras_private
from mltkbuild.errors import StageError
from mltkbuild.tflite import graph, micro, proof, quantize

MADE_UP: Final = "made up"
"""Stands for samples of small whole numbers."""
_REFUSED = 3
_SEPARATOR = "\n\x1f"


@dataclass(frozen=True)
class Trial:
    """What a trial came to.

    Args:
        operators: The names of the operators.
        starts: Whether the model starts and runs once; None where that wasn't tried, or says nothing.
        notes: Lines for people.
    """

    operators: tuple[str, ...]
    starts: bool | None
    notes: tuple[str, ...] = ()


def try_out(
    keras_model: Any, calibration: Iterable[Any] | str | None, converter: Mapping[str, Any], *, mode: str, folder: Path
) -> Trial:
    """Convert a model as the quantize stage will, and start what comes of it.

    Args:
        keras_model: A model whose inputs have fixed shapes, apart from the batch.
        calibration: Samples, `MADE_UP`, or None when nothing is to be calibrated.
        converter: The spec's `tflite_converter`.
        mode: What a model is that can't run, as for `proof.prove`.
        folder: Where the trial's file may lie for a while.

    Raises:
        SpecError, StageError, UsageError: What the quantize stage would raise of the trained model.
    """
    settings = {**converter, "generate_unquantized": False, "generate_quantization_report": False}
    if isinstance(calibration, str):
        calibration = _made_up(keras_model)
    path = folder / "untrained.tflite"
    try:
        quantize.run(keras_model, calibration, settings, path, path, attempts=1)
        content = path.read_bytes()
    finally:
        path.unlink(missing_ok=True)
    model = graph.read(content)
    layers = keras_private.layer_names(keras_model)
    proof.require_kernels(model, layers, mode=mode, quantized=quantize.is_fully_quantized(settings))
    if mode != proof.ERROR or not micro.is_here():
        return Trial(model.operator_names, None)
    starts, notes = _started(content)
    return Trial(model.operator_names, starts, notes)


def _made_up(keras_model: Any) -> list[Any]:
    samples = quantize.made_up(quantize.checked_inputs(keras_model))
    return [parts[0] if len(parts) == 1 else parts for parts in samples]


def _started(tflite: bytes) -> tuple[bool | None, tuple[str, ...]]:
    """Start a model and run it once in a process of its own."""
    # -P: a folder of the workspace that is called mltkbuild must not be taken for this package.
    command = [sys.executable, "-P", "-m", __name__]
    done = subprocess.run(command, input=tflite, capture_output=True, check=False)  # noqa: S603  # our own module
    if done.returncode == _REFUSED:
        what, found, fix = done.stdout.decode("utf-8", "replace").split(_SEPARATOR)
        raise micro.CantRun(what, found=found, fix=fix)
    if done.returncode:
        # The trained weights may do: the quantize stage tries these.
        told = "TensorFlow Lite Micro crashes on the untrained model; the trained one is tried after the training"
        return None, (told,)
    return True, ()


def _start(tflite: bytes) -> int:
    try:
        model = micro.Micro(tflite)
        model.invoke([np.zeros(port.shape, port.dtype) for port in model.inputs])
    except StageError as error:
        sys.stdout.write(_SEPARATOR.join((error.what, error.found or "", error.fix or "")))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(_start(sys.stdin.buffer.read()))
