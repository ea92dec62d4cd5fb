"""Calibration samples: what sets the ranges of a quantized model, checked before hours of trust are put in them."""

from __future__ import annotations

import math
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


class Range:
    """Whether the values that a quantized input gets leave its calibrated range, or leave it empty; batch by batch.

    Args:
        port: The input's `scale` (0.0 for a float input, of which nothing can be said), `zero_point` and `dtype`: the
            quantization step, the quantized value that stands for 0, and the number type.
        name: The input's name where the model has several.
    """

    def __init__(self, port: Mapping[str, Any], name: str = "") -> None:
        self._scale = 0.0 if np.dtype(port["dtype"]).kind == "f" else float(port["scale"])
        self._of = f" of the input {name}" if name else ""
        self._count = self._clipped = 0
        self._smallest, self._largest = math.inf, -math.inf
        if self._scale:
            limits = np.iinfo(port["dtype"])
            self._low, self._high = (self._scale * (end - port["zero_point"]) for end in (limits.min, limits.max))

    def add(self, values: np.ndarray) -> None:
        """Take the next values, before they are quantized."""
        if not self._scale or values.size == 0:
            return
        self._count += values.size
        beyond = (values < self._low - self._scale) | (values > self._high + self._scale)
        self._clipped += int(np.count_nonzero(beyond))
        self._smallest = min(self._smallest, float(values.min()))
        self._largest = max(self._largest, float(values.max()))

    def note(self) -> str | None:
        """One line when at least 1 % of the values are clipped, or when they fill less than a quarter of the range."""
        if not self._count:
            return None
        told = (
            f"calibrated for {self._low:.4g} to {self._high:.4g}, "
            f"evaluated with {self._smallest:.4g} to {self._largest:.4g}"
        )
        if self._clipped / self._count >= _CLIPPED:
            share = f"{self._clipped / self._count:.0%}"
            return f"{share} of the evaluation's values{self._of} are beyond the calibrated range: {told}"
        if self._largest - self._smallest < _UNUSED * (self._high - self._low):
            return f"the evaluation's values{self._of} fill little of the calibrated range: {told}"
        return None
