"""A trained Keras model becomes a `.tflite` and its proof: what the quantize stage and `mltk quantize FILE` both do."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mltkbuild import keras_private
from mltkbuild.disk.facts import Facts
from mltkbuild.tflite import flatbuffer, ports, proof, quantize


@dataclass(frozen=True)
class Converted:
    """What a conversion came to.

    Args:
        sizes: Bytes of the files.
        tflm: The document `tflm.json`.
        notes: Lines for people.
        libraries: The packages beside TensorFlow that it used.
    """

    sizes: Facts
    tflm: Mapping[str, Any]
    notes: tuple[str, ...]
    libraries: tuple[str, ...]


def convert(  # noqa: PLR0913  # what a conversion depends on
    keras_model: Any,
    calibration: Iterable[Any] | None,
    converter: Mapping[str, Any],
    *,
    mode: str,
    converted: Path,
    float32: Path,
    align: bool = False,
) -> Converted:
    """Convert a model and try the result.

    Args:
        keras_model: A model whose inputs have fixed shapes, apart from the batch.
        calibration: Samples; None when nothing is to be calibrated.
        converter: The spec's `tflite_converter`.
        mode: What a model is that can't run, as for `proof.prove`.
        converted: The `.tflite` to write.
        float32: The unquantized `.tflite` to write beside it when the converter asks for one.
        align: Whether to lay the file out as `params` does, for one that gets no parameters.

    Raises:
        SpecError: An input isn't of fixed shape, or the calibration samples don't fit it.
        StageError: The model can't be converted, would compute with floats, or can't run and `mode` is 'error'.
        UsageError: The backend is not installed.
    """
    conversion = quantize.run(keras_model, calibration, converter, converted, float32)
    warnings = conversion.pop("warnings", [])
    sizes: Facts = conversion
    content = converted.read_bytes()
    if align:
        content = flatbuffer.pack(flatbuffer.load(content), len(content))
        converted.write_bytes(content)
        sizes["bytes"] = len(content)
    proven = proof.prove(
        content,
        mode=mode,
        quantized=quantize.is_fully_quantized(converter),
        layers=keras_private.layer_names(keras_model),
        ends=ports.end_layers(keras_model),
    )
    return Converted(sizes, proven.facts, (*warnings, *proven.notes), quantize.libraries_of(converter))
