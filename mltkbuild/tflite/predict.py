"""Predict with a trained model: with Keras, or with the .tflite file as a microcontroller would."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.errors import DataError, StageError
from mltkbuild.tflite import graph, micro

REFERENCE = "LiteRT's reference kernels"
"""What runs a `.tflite` that TensorFlow Lite Micro can't run, or where it is not installed."""
ON_REFERENCE = f"TensorFlow Lite Micro is not installed: {REFERENCE} answered for the .tflite"


def predict_keras(keras_model: Any, x: np.ndarray, batch_size: int) -> np.ndarray:
    """Predict with a Keras model, printing nothing.

    Returns:
        float32 scores of shape `(n, ...)`.

    Raises:
        DataError: There are no samples.
        StageError: The model has several outputs.
    """
    if len(x) == 0:
        raise no_samples()
    scores = keras_model.predict(x, batch_size=batch_size, verbose=0)
    if isinstance(scores, list | tuple | dict):
        raise StageError(
            "evaluation needs a model with one output",
            found=f"{len(scores)} outputs",
            fix="evaluate a model that ends in one output",
        )
    return np.asarray(scores, dtype=np.float32)


def predict_tflite(tflite: Path, x: np.ndarray) -> np.ndarray:
    """Predict with a .tflite file in TensorFlow Lite Micro, as a device does.

    Samples run one by one, each from a reset state.

    Args:
        tflite: A model with one input and one output.
        x: Samples of shape `(n, *input_shape)`, the same that the Keras model reads, whatever their dtype: a
            quantized input gets `round_half_even(x / scale) + zero_point`, clipped to its range.

    Returns:
        float32 scores of shape `(n, ...)`, dequantized.

    Raises:
        DataError: There are no samples.
        StageError: The file isn't a model that TensorFlow Lite Micro runs, has several inputs or outputs, or takes
            another shape.
    """
    if len(x) == 0:
        raise no_samples()
    model = graph.read(tflite.read_bytes())
    _require_one(tflite, len(model.inputs), len(model.outputs))
    entry, end = micro.port_of(model.inputs[0]), micro.port_of(model.outputs[0])
    if tuple(x.shape[1:]) != entry.shape[1:]:
        raise unfitting(tflite, x.shape[1:], entry.shape[1:])
    given = quantized(x, asdict(entry))
    return dequantized(micro.run_all(tflite, [given])[0], asdict(end))


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


def run_judged(tflite: Path, inputs: Sequence[np.ndarray]) -> tuple[list[np.ndarray], micro.CantRun | None]:
    """Run every sample of a model that nobody has tried; takes what `run_all` does.

    Returns:
        What `run_all` gives; and why TensorFlow Lite Micro didn't answer, if LiteRT's reference kernels did.

    Raises:
        StageError: The model can't be read, or neither runs it.
    """
    try:
        micro.check(tflite.read_bytes())
    except micro.CantRun as refusal:
        try:
            return run_reference(tflite, inputs), refusal
        except StageError:
            raise refusal from None
    return micro.run_all(tflite, inputs), None


def run_reference(tflite: Path, inputs: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run every sample on LiteRT's reference kernels; takes and gives what `run_all` does."""
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


def predict_reference(tflite: Path, x: np.ndarray) -> np.ndarray:
    """Predict with a .tflite file and LiteRT's reference kernels: for a model that TensorFlow Lite Micro can't run.

    Takes and gives what `predict_tflite` does.

    Raises:
        DataError: There are no samples.
        StageError: The file isn't a model that LiteRT runs, has several inputs or outputs, or takes another shape.
    """
    if len(x) == 0:
        raise no_samples()
    try:
        micro.check_sound(graph.read(tflite.read_bytes()))
    except StageError as error:
        raise error.at(str(tflite)) from error
    try:
        interpreter = _interpreter(tflite, x.shape[1:])
        scores = [_invoke(interpreter, sample[None]) for sample in x]
    except (RuntimeError, ValueError) as error:
        raise _refused(tflite, error) from error
    if scores[0].shape[:1] != (1,):
        raise _refused(tflite, f"an output of shape {scores[0].shape} for one sample")
    return np.concatenate(scores)


def no_samples() -> DataError:
    """The error of an evaluation that has nothing to measure."""
    return DataError("the evaluation set has no samples", found="0", fix="let the evaluation subset yield samples")


def _require_one(tflite: Path, inputs: int, outputs: int) -> None:
    if (inputs, outputs) != (1, 1):
        raise StageError(
            "evaluation needs a .tflite file with one input and one output",
            where=tflite,
            found=f"{inputs} inputs and {outputs} outputs",
            fix="evaluate a model that has one input and ends in one output",
        )


def unfitting(tflite: Path, given: Sequence[int], expected: Sequence[int]) -> StageError:
    """The error for samples that have another shape than a model's input."""
    return StageError(
        "the evaluation data doesn't fit the model's input",
        where=tflite,
        found=f"samples of shape {tuple(given)}; the model takes {tuple(expected)}",
        fix="load the data in the shape that the model was trained on",
    )


def _reference(tflite: Path) -> Interpreter:
    # XNNPACK, the default, is up to dozens of steps off the kernels of microcontrollers.
    kernels = OpResolverType.BUILTIN_REF
    return Interpreter(str(tflite), experimental_op_resolver_type=kernels, num_threads=1)


def _interpreter(tflite: Path, sample_shape: tuple[int, ...]) -> Interpreter:
    """Load a file for single samples; refuse one that samples of this shape don't fit."""
    interpreter = _reference(tflite)
    inputs, outputs = interpreter.get_input_details(), interpreter.get_output_details()
    _require_one(tflite, len(inputs), len(outputs))
    expected = tuple(int(size) for size in inputs[0]["shape_signature"][1:])
    if len(expected) != len(sample_shape) or any(
        size not in (-1, given) for size, given in zip(expected, sample_shape, strict=True)
    ):
        raise unfitting(tflite, sample_shape, expected)
    interpreter.resize_tensor_input(inputs[0]["index"], [1, *sample_shape])
    interpreter.allocate_tensors()
    return interpreter


def _invoke(interpreter: Interpreter, sample: np.ndarray) -> np.ndarray:
    entry, end = interpreter.get_input_details()[0], interpreter.get_output_details()[0]
    # An LSTM would go on from the sample before.
    interpreter.reset_all_variables()
    interpreter.set_tensor(entry["index"], quantized(sample, _port(entry)))
    interpreter.invoke()
    return dequantized(interpreter.get_tensor(end["index"]), _port(end))


def _port(details: Mapping[str, Any]) -> dict[str, Any]:
    """What LiteRT says of an input or output, in this package's words."""
    scale, zero_point = details["quantization"]
    return {"dtype": details["dtype"], "scale": scale, "zero_point": zero_point}


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
