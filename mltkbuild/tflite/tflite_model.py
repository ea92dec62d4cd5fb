"""A converted model as a spec's own evaluation gets it: a file that predicts."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.data import parts
from mltkbuild.tflite import graph, micro
from mltkbuild.tflite.predict import dequantized, no_samples, quantized, run_all, unfitting


class TfliteModel(os.PathLike[str]):
    """A .tflite file that predicts in TensorFlow Lite Micro, as a device does; where it isn't installed, in LiteRT.

    Args:
        path: The file.
        names: The names of the outputs, where the Keras model gives a dict, and `predict` does as well.
    """

    def __init__(self, path: str | os.PathLike[str], names: Sequence[str] = ()) -> None:
        self.path = os.fspath(path)
        self._names = tuple(names)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<TfliteModel {os.path.basename(self.path)}>"

    def predict(self, x: Any, y_dtype: Any = None, **_: Any) -> Any:
        """Predict, as `predict` of the Keras model does: the same samples give the same values, but for quantization.

        Args:
            x: Samples of shape `(n, *input_shape)`, or one of shape `input_shape`; what isn't of the input's own number
                type is quantized. For several inputs an array each, in their order or by name.
            y_dtype: The number type of the values, which are dequantized; an integer one for the output's own values.

        Returns:
            float32 values of shape `(n, ...)`, of shape `(...)` for one sample; for several outputs a list of them, or
            a dict for a Keras model that gives one.

        Raises:
            DataError: There are no samples, or not those of the inputs.
            StageError: The interpreter doesn't run the file, or it takes another shape.
        """
        file = Path(self.path)
        model = graph.read(file.read_bytes())
        entries, ends = ([micro.port_of(tensor) for tensor in part] for part in (model.inputs, model.outputs))
        arrays = [np.asarray(array) for array in self._arrays(x, [port.name for port in entries])]
        single = arrays[0].ndim == len(entries[0].shape) - 1
        given = [
            self._fitted(array[np.newaxis] if single else array, port)
            for array, port in zip(arrays, entries, strict=True)
        ]
        found = run_all(file, given)
        if y_dtype is None or np.dtype(y_dtype).kind == "f":
            kind = np.float32 if y_dtype is None else y_dtype
            found = [dequantized(y, asdict(end)).astype(kind) for y, end in zip(found, ends, strict=True)]
        results = [y[0] for y in found] if single else found
        if self._names:
            return dict(zip(self._names, results, strict=True))
        return results if len(results) > 1 else results[0]

    @staticmethod
    def _arrays(x: Any, names: Sequence[str]) -> list[Any]:
        """An array an input, in their order."""
        if len(names) > 1:
            return parts.in_order(x, names, "input")
        return [parts.first_of(x) if isinstance(x, Mapping) else x]

    def _fitted(self, samples: np.ndarray, port: micro.Port) -> np.ndarray:
        """Samples in an input's number type."""
        if len(samples) == 0:
            raise no_samples()
        if samples.shape[1:] != tuple(port.shape[1:]):
            shape, expected = tuple(samples.shape[1:]), tuple(port.shape[1:])
            raise unfitting(Path(self.path), f"samples of shape {shape}", f"{expected}")
        return samples if samples.dtype == port.dtype else quantized(samples, asdict(port))
