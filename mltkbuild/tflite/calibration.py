"""Calibration samples: what sets the ranges of a quantized model, checked before hours of trust are put in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from mltkbuild.errors import SpecError

# A share of evaluation values beyond the calibrated range that rounding and outliers don't explain.
_CLIPPED = 0.01
# Evaluation values that fill less of the calibrated range than this leave most int8 values unused.
_UNUSED = 0.25


def checked(samples: Iterable[Any], inputs: Sequence[Any]) -> list[list[np.ndarray]]:
    """Read calibration samples and check them against the model's inputs.

    Args:
        samples: Each an array of shape `(*input_shape)`; for a model of several inputs a list of arrays in the order of
            its inputs, or a dict by their names. Read once.
        inputs: The model's inputs: their `name`, `shape` with the batch first, and `dtype`.

    Returns:
        One list of arrays a sample, in the order and the number type of the inputs.

    Raises:
        SpecError: There is no sample, or one has another shape or holds a value that is no finite number.
    """
    ready = [_ordered(number, sample, inputs) for number, sample in enumerate(samples)]
    if not ready:
        raise SpecError(
            "there are no calibration samples",
            found="representative_dataset yields nothing",
            fix="let it yield lists of one sample an input, [x] with x of shape (1, *input_shape)",
        )
    for number, parts in enumerate(ready):
        for part, entry in zip(parts, inputs, strict=True):
            _check(number, part, entry, len(inputs))
    return [[part.astype(entry.dtype) for part, entry in zip(parts, inputs, strict=True)] for parts in ready]


def _ordered(number: int, sample: Any, inputs: Sequence[Any]) -> list[np.ndarray]:
    names = [entry.name for entry in inputs]
    if isinstance(sample, Mapping):
        if set(sample) != set(names):
            raise SpecError(
                "a calibration sample doesn't name the model's inputs",
                found=f"sample {number} has {', '.join(map(str, sample))}; the model takes {', '.join(names)}",
                fix="yield a dict with one array for each input",
            )
        return [np.asarray(sample[name]) for name in names]
    if len(inputs) == 1:
        return [np.asarray(sample)]
    parts = list(sample)
    if len(parts) != len(inputs):
        raise SpecError(
            "a calibration sample doesn't fit the model's inputs",
            found=f"sample {number} has {len(parts)} arrays; the model takes {len(inputs)}: {', '.join(names)}",
            fix="yield one array for each input",
        )
    return [np.asarray(part) for part in parts]


def _check(number: int, part: np.ndarray, entry: Any, count: int) -> None:
    shape = tuple(entry.shape[1:])
    whose = f"sample {number}" if count == 1 else f"sample {number}, input {entry.name},"
    if part.shape != shape:
        raise SpecError(
            "a calibration sample doesn't fit the model's input",
            found=f"{whose} has shape {part.shape}; the model takes {shape}",
            fix="calibrate with samples of the shape that the model was trained on",
        )
    if part.dtype.kind not in "biuf" or not np.isfinite(part).all():
        raise SpecError(
            "a calibration sample holds a value that is no finite number",
            found=f"{whose} of type {part.dtype}",
            fix="remove or replace NaN and infinity in representative_dataset",
        )


def warnings_about(samples: Sequence[Sequence[np.ndarray]], inputs: Sequence[Any]) -> Iterator[str]:
    """Anomalies of calibration samples that are no errors, a line each."""
    for place, entry in enumerate(inputs):
        parts = [sample[place] for sample in samples]
        low, high = min(float(part.min()) for part in parts), max(float(part.max()) for part in parts)
        if low == high:
            yield f"all calibration values of {entry.name} are {low:g}, so its range is a guess"
        elif len(samples) > 1 and all(np.array_equal(parts[0], part) for part in parts[1:]):
            yield f"all {len(samples)} calibration samples of {entry.name} are equal"


def range_note(values: np.ndarray, scale: float, zero_point: int, dtype: str) -> str | None:
    """Say how far the values that a quantized input gets leave its calibrated range, or leave it empty.

    Args:
        values: What is fed to the input, before it is quantized.
        scale: The input's quantization step; 0.0 for a float input, of which nothing can be said.
        zero_point: The quantized value that stands for 0.
        dtype: The input's number type.

    Returns:
        One line when at least 1 % of the values are clipped, or when they fill less than a quarter of the range.
    """
    if scale == 0.0 or np.dtype(dtype).kind == "f" or values.size == 0:
        return None
    limits = np.iinfo(dtype)
    low, high = scale * (limits.min - zero_point), scale * (limits.max - zero_point)
    smallest, largest = float(values.min()), float(values.max())
    clipped = float(np.mean((values < low - scale) | (values > high + scale)))
    told = f"calibrated for {low:.4g} to {high:.4g}, evaluated with {smallest:.4g} to {largest:.4g}"
    if clipped >= _CLIPPED:
        return f"{clipped:.0%} of the evaluation's values are beyond the calibrated range: {told}"
    if largest - smallest < _UNUSED * (high - low):
        return f"the evaluation's values fill little of the calibrated range: {told}"
    return None
