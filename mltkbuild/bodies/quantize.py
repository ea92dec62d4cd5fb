"""The quantize stage: a trained Keras model becomes a float32 and a full-int8 `.tflite`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.errors import SpecError, StageError
from mltkbuild.properties import name_of_constant


def run(
    keras_model: Any, calibration: Iterable[Any] | None, converter: Mapping[str, Any], converted: Path, float32: Path
) -> dict[str, object]:
    """Convert a trained model.

    Args:
        keras_model: A model with one input of fixed shape, apart from the batch.
        calibration: Samples of shape `(*input_shape)`; None when nothing is to be calibrated.
        converter: The spec's `tflite_converter`.
        converted: The `.tflite` to write.
        float32: The unquantized `.tflite` to write beside it when the converter asks for one.

    Returns:
        Sizes in bytes, for the record.

    Raises:
        SpecError: The model's input isn't one of fixed shape, or the calibration samples don't fit it.
        StageError: TensorFlow can't convert the model; quotes its message.
    """
    entry = _the_input(keras_model)
    options = _options(converter)
    if calibration is not None:
        options["representative_dataset"] = _representative(calibration, entry)
    facts: dict[str, object] = {}
    if converter["generate_unquantized"]:
        export(keras_model, float32, _unquantized(converter))
        facts["float32_bytes"] = float32.stat().st_size
    export(keras_model, converted, options)
    facts["bytes"] = converted.stat().st_size
    return facts


def wants_calibration(converter: Mapping[str, Any]) -> bool:
    """Say whether the settings quantize activations, which needs calibration samples."""
    return bool(converter["optimizations"]) and converter["representative_dataset"] is not None


def _the_input(keras_model: Any) -> Any:
    """The model's one input, whose size is known apart from the batch."""
    inputs: Any = getattr(keras_model, "inputs", None) or []
    if len(inputs) != 1:
        raise SpecError(
            "a model for TensorFlow Lite Micro must have one input",
            found=f"{len(inputs)} inputs" if inputs else "no keras.Input",
            fix="begin the model with one keras.Input",
        )
    if None in inputs[0].shape[1:]:
        raise SpecError(
            "the model's input has a size that is not fixed",
            found=f"{inputs[0].name}: {tuple(inputs[0].shape)}",
            fix="give keras.Input a shape without None",
        )
    return inputs[0]


def _options(converter: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as `tf.lite.TFLiteConverter` has them."""
    import tensorflow as tf

    ops = [getattr(tf.lite.OpsSet, name_of_constant(item)) for item in converter["supported_ops"]]
    return {
        "optimizations": [getattr(tf.lite.Optimize, name_of_constant(item)) for item in converter["optimizations"]],
        "target_spec": {"supported_ops": ops},
        "allow_custom_ops": converter["allow_custom_ops"],
        "experimental_new_converter": converter["experimental_new_converter"],
        "experimental_new_quantizer": converter["experimental_new_quantizer"],
        "experimental_enable_resource_variables": converter["experimental_enable_resource_variables"],
        "inference_input_type": tf.as_dtype(name_of_constant(converter["inference_input_type"])),
        "inference_output_type": tf.as_dtype(name_of_constant(converter["inference_output_type"])),
    }


def _unquantized(converter: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of the float32 file: the same operations as microcontrollers have, and nothing quantized."""
    import tensorflow as tf

    return {
        "target_spec": {"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS]},
        "allow_custom_ops": converter["allow_custom_ops"],
        "experimental_enable_resource_variables": converter["experimental_enable_resource_variables"],
    }


def _representative(samples: Iterable[Any], entry: Any) -> Callable[[], Iterator[list[Any]]]:
    """The calibration samples as the converter asks for them, in the type of the model's input.

    Args:
        samples: Read here, once; the converter may read them again.
        entry: The model's input.
    """
    shape = tuple(entry.shape[1:])
    ready = [np.asarray(sample) for sample in samples]
    if not ready:
        raise SpecError(
            "there are no calibration samples",
            found="representative_dataset yields nothing",
            fix="let it yield lists of one sample, [x] with x of shape (1, *input_shape)",
        )
    for number, sample in enumerate(ready):
        if sample.shape != shape:
            raise SpecError(
                "a calibration sample doesn't fit the model's input",
                found=f"sample {number} has shape {sample.shape}; the model takes {shape}",
                fix="calibrate with samples of the shape that the model was trained on",
            )
        if sample.dtype.kind not in "biuf" or not np.isfinite(sample).all():
            raise SpecError(
                "a calibration sample holds a value that is no finite number",
                found=f"sample {number} of type {sample.dtype}",
                fix="remove or replace NaN and infinity in representative_dataset",
            )

    def generate() -> Iterator[list[Any]]:
        for sample in ready:
            yield [sample.astype(entry.dtype)[None]]

    return generate


def export(keras_model: Any, path: Path, options: Mapping[str, Any]) -> None:
    """Convert with a fixed batch of 1, as TFLM needs it, through Keras' own export."""
    import keras

    entry = _the_input(keras_model)
    signature = [keras.InputSpec(shape=(1, *entry.shape[1:]), dtype=entry.dtype, name=entry.name)]
    try:
        keras_model.export(str(path), format="litert", verbose=False, input_signature=signature, **options)
    except Exception as error:  # the converter and the spec's own layers may raise anything
        raise StageError(
            "TensorFlow can't convert the model",
            found=_gist(str(error)) or type(error).__name__,
            fix="the stage's log has the whole message; use layers that TensorFlow Lite supports",
        ) from error


def _gist(message: str) -> str:
    """The line of the converter's message that names the operations, else its first one."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    naming = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    return (naming or lines or [""])[0][:300]
