"""Predict with a trained model: with Keras, or with the .tflite file as a microcontroller would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.data import parts
from mltkbuild.errors import DataError, StageError
from mltkbuild.tflite import graph, micro

REFERENCE = "LiteRT's reference kernels"
"""What runs a `.tflite` that TensorFlow Lite Micro can't run, or where it is not installed."""
ON_REFERENCE = f"TensorFlow Lite Micro is not installed: {REFERENCE} answered for the .tflite"


def predict_keras(keras_model: Any, x: Any, batch_size: int) -> list[np.ndarray]:
    """Predict with a Keras model, printing nothing.

    Args:
        keras_model: The model.
        x: What its inputs take, in its structure: an array of shape `(n, ...)`, or a tuple or dict of them.
        batch_size: How many samples are run at once.

    Returns:
        A float32 array of shape `(n, ...)` an output, in Keras' order.

    Raises:
        DataError: There are no samples.
    """
    if len(parts.first_of(x)) == 0:
        raise no_samples()
    scores = keras_model.predict(x, batch_size=batch_size, verbose=0)
    return [np.asarray(part, dtype=np.float32) for part in _flat(scores)]


def _flat(scores: Any) -> list[Any]:
    """The arrays of an answer in Keras' order, in which a dict is sorted."""
    if isinstance(scores, Mapping):
        return [part for name in sorted(scores) for part in _flat(scores[name])]
    return [part for item in scores for part in _flat(item)] if isinstance(scores, list | tuple) else [scores]


def predict_tflite(tflite: Path, inputs: Sequence[np.ndarray], *, on_reference: bool = False) -> list[np.ndarray]:
    """Predict with a .tflite file in TensorFlow Lite Micro, as a device does.

    Samples run one by one, each from a reset state.

    Args:
        tflite: The model.
        inputs: An array an input, of shape `(n, *input_shape)`, the same that the Keras model reads, whatever their
            dtype: a quantized input gets `round_half_even(x / scale) + zero_point`, clipped to its range.
        on_reference: Whether LiteRT's reference kernels run it, for a model that TensorFlow Lite Micro can't run. They
            do too where TensorFlow Lite Micro is not installed.

    Returns:
        A float32 array of shape `(n, ...)` an output, dequantized.

    Raises:
        DataError: There are no samples.
        StageError: The file isn't a model that the interpreter runs, or takes other inputs.
    """
    if not inputs or len(inputs[0]) == 0:
        raise no_samples()
    model = _sound(tflite)
    entries = [micro.port_of(tensor) for tensor in model.inputs]
    if len(entries) != len(inputs):
        raise unfitting(tflite, f"{len(inputs)} arrays", f"{len(entries)}")
    for given, entry in zip(inputs, entries, strict=True):
        if tuple(given.shape[1:]) != tuple(entry.shape[1:]):
            raise unfitting(tflite, f"samples of shape {tuple(given.shape[1:])}", f"{tuple(entry.shape[1:])}")
    taken = [quantized(part, asdict(entry)) for part, entry in zip(inputs, entries, strict=True)]
    found = run_reference(tflite, taken) if on_reference else run_all(tflite, taken)
    ends = [asdict(micro.port_of(tensor)) for tensor in model.outputs]
    return [dequantized(part, end) for part, end in zip(found, ends, strict=True)]


def run_all(tflite: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run every sample in TensorFlow Lite Micro, or on LiteRT's reference kernels where it is not installed.

    Args:
        tflite: The model.
        inputs: One array an input, of shape `(n, *input_shape without the batch)` and of the input's number type.

    Returns:
        One array an output, of shape `(n, ...)` and of the output's number type.

    Raises:
        StageError: The model can't be read or run.
    """
    if micro.is_here():
        return micro.run_all(tflite, inputs)
    micro.check_runnable(graph.read(tflite.read_bytes()))
    return run_reference(tflite, inputs)


def refusal_of(tflite: Path) -> micro.CantRun | None:
    """Why TensorFlow Lite Micro doesn't run a model that nobody has tried; None for one that runs.

    Raises:
        StageError: The model can't be read.
    """
    try:
        micro.check(tflite.read_bytes())
    except micro.CantRun as refusal:
        return refusal
    return None


def answers_of(tflite: Path, inputs: Sequence[np.ndarray], refusal: micro.CantRun | None) -> list[np.ndarray]:
    """Predict with a model that nobody has tried; takes and gives what `predict_tflite` does.

    Args:
        tflite: The model.
        inputs: An array an input.
        refusal: Why TensorFlow Lite Micro doesn't run it, as `refusal_of` tells: LiteRT's reference kernels answer.

    Raises:
        StageError: The refusal, when neither runs it.
    """
    try:
        return predict_tflite(tflite, inputs, on_reference=refusal is not None)
    except StageError:
        if refusal is None:
            raise
        raise refusal from None


def run_reference(tflite: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run every sample on LiteRT's reference kernels; takes and gives what `run_all` does."""
    _sound(tflite)
    try:
        interpreter = _reference(tflite)
        interpreter.allocate_tensors()
        rows = [_run(interpreter, [part[place][None] for part in inputs]) for place in range(len(inputs[0]))]
    except (RuntimeError, ValueError) as error:
        raise _refused(tflite, error) from error
    return [np.concatenate(column) for column in zip(*rows, strict=True)]


def _run(interpreter: Interpreter, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    # An LSTM would go on from the sample before.
    interpreter.reset_all_variables()
    for entry, value in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(entry["index"], value)
    interpreter.invoke()
    return [interpreter.get_tensor(end["index"]).copy() for end in interpreter.get_output_details()]


def _sound(tflite: Path) -> graph.Graph:
    """The model in a file; an error of a damaged one names it."""
    try:
        model = graph.read(tflite.read_bytes())
        micro.check_sound(model)
    except StageError as error:
        raise error.at(str(tflite)) from error
    return model


def no_samples() -> DataError:
    """The error of an evaluation that has nothing to measure."""
    return DataError("the evaluation set has no samples", found="0", fix="let the evaluation subset yield samples")


def unfitting(tflite: Path, given: str, expected: str) -> StageError:
    """The error for samples that aren't what a model's inputs take."""
    return StageError(
        "the evaluation data doesn't fit the model's input",
        where=tflite,
        found=f"{given}; the model takes {expected}",
        fix="load the data in the shape that the model was trained on",
    )


def _reference(tflite: Path) -> Interpreter:
    # XNNPACK, the default, is up to dozens of steps off the kernels of microcontrollers.
    kernels = OpResolverType.BUILTIN_REF
    return Interpreter(str(tflite), experimental_op_resolver_type=kernels, num_threads=1)


def _refused(tflite: Path, cause: object) -> StageError:
    return StageError(
        "LiteRT's reference kernels can't run the .tflite file",
        where=tflite,
        found=" ".join(str(cause).split()),
        fix="convert the model with builtin ops and a batch of 1",
    )


def quantized(x: np.ndarray, port: Mapping[str, Any]) -> np.ndarray:
    """Bring samples to the number type of a model's input: round half to even, then clip; never truncate or wrap.

    Args:
        x: Samples of any shape.
        port: `dtype`, `scale` and `zero_point` of the input.

    Raises:
        StageError: A value is NaN.
    """
    dtype, scale = np.dtype(port["dtype"]), port["scale"]
    if dtype.kind == "f" or scale == 0.0:
        return x.astype(dtype)
    steps: np.ndarray = np.rint(x.astype(np.float64) / scale) + port["zero_point"]
    if np.isnan(steps).any():
        raise StageError("a sample can't be quantized", found="NaN", fix="clean the evaluation data")
    limits = np.iinfo(dtype)
    return np.asarray(np.clip(steps, limits.min, limits.max), dtype=dtype)


def dequantized(output: np.ndarray, port: Mapping[str, Any]) -> np.ndarray:
    """Bring a model's output to float32.

    Args:
        output: Values of any shape.
        port: `scale` and `zero_point` of the output.
    """
    scale = port["scale"]
    values = output.astype(np.float32)
    if output.dtype.kind == "f" or scale == 0.0:
        return values
    return (values - np.float32(port["zero_point"])) * np.float32(scale)
