"""The quantize stage: a trained Keras model becomes a `.tflite`, quantized or not, that TensorFlow Lite Micro runs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild import extras, keras_private
from mltkbuild.disk.facts import Facts
from mltkbuild.errors import SpecError, StageError
from mltkbuild.spec.properties import name_of_constant
from mltkbuild.tflite import calibration as samples_of
from mltkbuild.tflite import graph, lint, ports

ATTEMPTS = 12
"""So often a conversion is tried whose result differs by chance."""
INT16 = "EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8"


class Conversion(Facts, total=False):
    """What a conversion tells: sizes for the record, and lines for people."""

    warnings: list[str]


def run(  # noqa: PLR0913  # what a conversion depends on
    keras_model: Any,
    calibration: Iterable[Any] | None,
    converter: Mapping[str, Any],
    converted: Path,
    float32: Path,
    *,
    attempts: int = ATTEMPTS,
) -> Conversion:
    """Convert a trained model.

    Args:
        keras_model: A model whose inputs have fixed shapes, apart from the batch.
        calibration: Samples as `calibration.checked` takes them; None when nothing is to be calibrated.
        converter: The spec's `tflite_converter`.
        converted: The `.tflite` to write.
        float32: The unquantized `.tflite` to write beside it when the converter asks for one.
        attempts: How often a conversion is tried whose result differs by chance.

    Returns:
        Sizes in bytes and, where the calibration samples have anomalies, `warnings`, for the record.

    Raises:
        SpecError: An input isn't of fixed shape, or the calibration samples don't fit it.
        StageError: TensorFlow can't convert the model; quotes its message.
        UsageError: The backend is not installed.
    """
    inputs = checked_inputs(keras_model)
    ready = None if calibration is None else samples_of.checked(calibration, inputs)
    facts: Conversion = {}
    if ready is not None:
        refuse_loops(keras_model)
        if told := list(samples_of.warnings_about(ready, inputs)):
            facts["warnings"] = told
    if converter["generate_unquantized"]:
        export(keras_model, float32, _unquantized(converter))
        facts["float32_bytes"] = float32.stat().st_size
    if ready is not None and _is_ai_edge(converter):
        _quantize_with_ai_edge(keras_model, ready, converter, converted)
    else:
        options = _options(converter)
        if ready is not None:
            options["representative_dataset"] = _representative(ready, inputs)
        _export_wholly(keras_model, converted, options, attempts if is_fully_quantized(converter) else 1)
    shown = list((ready or made_up(inputs))[: ports.SAMPLES])
    ports.prove(converted.read_bytes(), keras_model, shown, is_float=not converter["optimizations"])
    if converter["generate_unquantized"]:
        ports.prove(float32.read_bytes(), keras_model, shown, is_float=True)
    facts["bytes"] = converted.stat().st_size
    return facts


def made_up(inputs: Sequence[Any]) -> list[list[np.ndarray]]:
    """Samples for a model that isn't calibrated: small whole numbers, which an embedding takes as well."""
    rng = np.random.default_rng(0)
    shapes = [(entry.shape[1:], entry.dtype) for entry in inputs]
    return [[rng.integers(0, 2, shape).astype(dtype) for shape, dtype in shapes] for _ in range(ports.SAMPLES)]


def wants_calibration(converter: Mapping[str, Any]) -> bool:
    """Say whether the settings quantize activations, which needs calibration samples."""
    return bool(converter["optimizations"]) and converter["representative_dataset"] is not None


def is_fully_quantized(converter: Mapping[str, Any]) -> bool:
    """Say whether the settings ask for a model without float operators."""
    ops = {name_of_constant(item) for item in converter["supported_ops"]}
    return wants_calibration(converter) and bool(ops) and ops <= {"TFLITE_BUILTINS_INT8", INT16}


def libraries_of(converter: Mapping[str, Any]) -> tuple[str, ...]:
    """The packages beside TensorFlow that convert and measure with these settings."""
    used = []
    if _is_ai_edge(converter):
        used.append("ai-edge-quantizer")
    if converter["generate_quantization_report"]:
        used.append("ai-edge-litert")
    return tuple(used)


def _is_ai_edge(converter: Mapping[str, Any]) -> bool:
    """Whether Google's other quantizer is to quantize; a float model has no use for it."""
    return converter.get("backend") == "ai-edge-quantizer" and wants_calibration(converter)


def checked_inputs(keras_model: Any) -> list[Any]:
    """The model's inputs, whose sizes are known apart from the batch.

    Raises:
        SpecError: It has none, or one with an open size.
    """
    inputs: list[Any] = list(getattr(keras_model, "inputs", None) or [])
    if not inputs:
        raise SpecError(
            "a model for TensorFlow Lite Micro must have inputs of fixed shape",
            found="no keras.Input",
            fix="begin the model with keras.Input",
        )
    for entry in inputs:
        if None in entry.shape[1:]:
            raise SpecError(
                "the model's input has a size that is not fixed",
                found=f"{entry.name}: {tuple(entry.shape)}",
                fix="give keras.Input a shape without None",
            )
    return inputs


def refuse_loops(keras_model: Any) -> None:
    """Refuse recurrent layers that loop: TensorFlow's converter crashes when it quantizes one.

    Raises:
        SpecError: A recurrent layer isn't unrolled; names it.
    """
    loops = [layer for layer in keras_private.layers(keras_model) if getattr(layer, "unroll", True) is False]
    if loops:
        raise SpecError(
            "a recurrent layer that is not unrolled can't be quantized: TensorFlow's converter crashes on its loop",
            found=", ".join(f"{type(layer).__name__} {layer.name}" for layer in loops),
            fix="give it unroll=True, or ask for a float model with my_model.tflite_converter['optimizations'] = []",
        )


def _options(converter: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as `tf.lite.TFLiteConverter` has them."""
    import tensorflow as tf

    ops = [getattr(tf.lite.OpsSet, name_of_constant(item)) for item in converter["supported_ops"]]
    quantized = wants_calibration(converter)
    if not quantized and {name_of_constant(item) for item in converter["supported_ops"]} <= {
        "TFLITE_BUILTINS_INT8",
        INT16,
    }:
        # A float model has no use for int8 kernels, and the converter refuses to make it of them.
        ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
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


def _representative(samples: Sequence[Sequence[np.ndarray]], inputs: Sequence[Any]) -> Callable[[], Iterator[Any]]:
    """The calibration samples as the converter asks for them; it may read them more than once."""

    def generate() -> Iterator[Any]:
        for parts in samples:
            if len(parts) == 1:
                yield [parts[0][None]]
            else:
                # By name: the converter has its own order of several inputs.
                yield {entry.name: part[None] for entry, part in zip(inputs, parts, strict=True)}

    return generate


def export(keras_model: Any, path: Path, options: Mapping[str, Any]) -> None:
    """Convert with a fixed batch of 1, as TFLM needs it, through Keras' own export.

    Raises:
        SpecError: An input isn't of fixed shape.
        StageError: TensorFlow can't convert the model; quotes its message.
    """
    import keras

    def fixed(entry: Any) -> Any:
        return keras.InputSpec(shape=(1, *entry.shape[1:]), dtype=entry.dtype, name=entry.name)

    one = len(checked_inputs(keras_model)) == 1
    signature = [fixed(keras_model.inputs[0])] if one else [keras.tree.map_structure(fixed, keras_model.input)]
    try:
        keras_model.export(str(path), format="litert", verbose=False, input_signature=signature, **options)
    except Exception as error:  # the converter and the spec's own layers may raise anything
        raise StageError(
            "TensorFlow can't convert the model",
            found=_gist(str(error)) or type(error).__name__,
            fix="the stage's log has the whole message; use layers that TensorFlow Lite supports",
        ) from error
    if ports.are_several(keras_model):
        path.write_bytes(ports.in_order(path.read_bytes(), keras_model))


def _export_wholly(keras_model: Any, path: Path, options: Mapping[str, Any], attempts: int) -> None:
    """Convert; again where the converter has left values in float that it need not.

    TensorFlow's quantizer decides about an operator with several outputs, such as the SPLIT in an unrolled LSTM, in the
    order of addresses in memory: by chance it stays in float. The file in which none does is always the same.
    """
    fewest: tuple[int, bytes] | None = None
    for _ in range(attempts):
        export(keras_model, path, options)
        content = path.read_bytes()
        left = len(lint.moved_floats(graph.read(content)))
        if fewest is None or left < fewest[0]:
            fewest = left, content
        if not left:
            return
    assert fewest is not None
    path.write_bytes(fewest[1])


def _gist(message: str) -> str:
    """The line of the converter's message that names the operations, else its first one."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    naming = [line for line in lines if line.startswith(("TF Select ops:", "Custom ops:"))]
    return (naming or lines or [""])[0][:300]


# -- the other backend -----------------------------------------------------------------------------------------------


def _quantize_with_ai_edge(
    keras_model: Any, samples: Sequence[Sequence[np.ndarray]], converter: Mapping[str, Any], converted: Path
) -> None:
    """Quantize the float model with Google's ai-edge-quantizer: int8 weights, int8 or int16 activations."""
    what = "tflite_converter['backend'] = 'ai-edge-quantizer'"
    quantizer, recipe = (
        extras.load(f"ai_edge_quantizer.{name}", "ai-edge-quantizer", what) for name in ("quantizer", "recipe")
    )
    plain = converted.with_suffix(".float.tflite")
    export(keras_model, plain, _unquantized(converter))
    is_int16 = INT16 in map(name_of_constant, converter["supported_ops"])
    try:
        worker = quantizer.Quantizer(str(plain), recipe.static_wi8_ai16() if is_int16 else recipe.static_wi8_ai8())
        names = [entry.name for entry in keras_model.inputs]
        rows = [dict(zip(names, (part[None] for part in parts), strict=True)) for parts in samples]
        measured = worker.calibrate({"serving_default": rows}, num_threads=1)
        converted.write_bytes(worker.quantize(measured, enable_progress_report=False).quantized_model)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise StageError(
            "ai-edge-quantizer can't quantize the model",
            found=_gist(str(error)) or type(error).__name__,
            fix="leave out tflite_converter['backend'] to use TensorFlow's converter",
        ) from error
    finally:
        plain.unlink(missing_ok=True)
