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
        calibration: float32 samples of shape `(*input_shape)`; None when nothing is to be calibrated.
        converter: The spec's `tflite_converter`.
        converted: The `.tflite` to write.
        float32: The unquantized `.tflite` to write beside it when the converter asks for one.

    Returns:
        Sizes in bytes, for the record.

    Raises:
        StageError: TensorFlow can't convert the model; quotes its message.
    """
    facts: dict[str, object] = {}
    if converter["generate_unquantized"]:
        export(keras_model, float32, {})
        facts["float32_bytes"] = float32.stat().st_size
    export(keras_model, converted, _options(converter, calibration))
    facts["bytes"] = converted.stat().st_size
    return facts


def wants_calibration(converter: Mapping[str, Any]) -> bool:
    """Say whether the settings quantize activations, which needs calibration samples."""
    return bool(converter["optimizations"]) and converter["representative_dataset"] is not None


def _options(converter: Mapping[str, Any], calibration: Iterable[Any] | None) -> dict[str, Any]:
    """The settings as `tf.lite.TFLiteConverter` has them."""
    import tensorflow as tf

    options: dict[str, Any] = {
        "optimizations": [getattr(tf.lite.Optimize, name_of_constant(item)) for item in converter["optimizations"]],
        "target_spec": {"supported_ops": [getattr(tf.lite.OpsSet, name_of_constant(item)) for item in converter["supported_ops"]]},
        "allow_custom_ops": converter["allow_custom_ops"],
        "experimental_new_converter": converter["experimental_new_converter"],
        "experimental_new_quantizer": converter["experimental_new_quantizer"],
        "experimental_enable_resource_variables": converter["experimental_enable_resource_variables"],
        "inference_input_type": tf.as_dtype(name_of_constant(converter["inference_input_type"])),
        "inference_output_type": tf.as_dtype(name_of_constant(converter["inference_output_type"])),
    }
    if calibration is not None:
        options["representative_dataset"] = _representative(calibration)
    return options


def _representative(samples: Iterable[Any]) -> Callable[[], Iterator[list[Any]]]:
    def generate() -> Iterator[list[Any]]:
        for sample in samples:
            yield [np.asarray(sample, np.float32)[None]]

    return generate


def export(keras_model: Any, path: Path, options: Mapping[str, Any]) -> None:
    """Convert with a fixed batch of 1, as TFLM needs it, through Keras' own export."""
    import keras

    signature = [
        keras.InputSpec(shape=(1, *tensor.shape[1:]), dtype=tensor.dtype, name=tensor.name)
        for tensor in keras_model.inputs
    ]
    unknown = [tensor.name for tensor in keras_model.inputs if None in tensor.shape[1:]]
    if unknown:
        raise SpecError(
            "the model's input has a size that is not fixed",
            found=f"{unknown[0]}: {keras_model.inputs[0].shape}",
            fix="give keras.Input a shape without None",
        )
    try:
        keras_model.export(str(path), format="litert", verbose=False, input_signature=signature, **options)
    except (RuntimeError, ValueError, NotImplementedError) as error:
        raise StageError(
            "TensorFlow can't convert the model",
            found=str(error).strip().splitlines()[0][:300] if str(error).strip() else type(error).__name__,
            fix="the stage's log has the whole message; use layers that TensorFlow Lite supports",
        ) from error
