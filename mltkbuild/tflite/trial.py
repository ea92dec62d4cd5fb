"""Convert a model that isn't trained yet and start it in TensorFlow Lite Micro.

What can't be converted, or has no kernel on a microcontroller, is so before the training as after it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from mltkbuild import keras_private
from mltkbuild.tflite import graph, micro, ports, proof, quantize

MADE_UP: Final = "made up"
"""Stands for samples of small whole numbers."""


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
    layers, ends = keras_private.layer_names(keras_model), ports.end_layers(keras_model)
    quantized = quantize.is_fully_quantized(settings)
    known = proof.require_kernels(model, layers, ends, mode=mode, quantized=quantized)
    if mode != proof.ERROR or not micro.is_here():
        return Trial(model.operator_names, None)
    try:
        micro.check(content, known)
    except micro.Crashed as error:
        # The ranges of trained weights are others: the quantize stage tries these.
        told = f"{error.what} while it isn't trained ({error.found}); the trained one is tried after the training"
        return Trial(model.operator_names, None, (told,))
    return Trial(model.operator_names, True)


def _made_up(keras_model: Any) -> list[Any]:
    samples = quantize.made_up(quantize.checked_inputs(keras_model))
    return [parts[0] if len(parts) == 1 else parts for parts in samples]
