"""A converted model as a spec's own evaluation gets it: a file that predicts."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from mltkbuild.tflite import graph, micro
from mltkbuild.tflite.predict import dequantized, no_samples, quantized, run_all, unfitting


class TfliteModel(os.PathLike[str]):
    """A .tflite file that predicts in TensorFlow Lite Micro, as a device does; where it isn't installed, in LiteRT.

    Args:
        path: The file.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = os.fspath(path)

    def __fspath__(self) -> str:
        return self.path

    def __repr__(self) -> str:
        return f"<TfliteModel {os.path.basename(self.path)}>"

    def predict(self, x: Any, y_dtype: Any = None, **_: Any) -> Any:
        """Predict.

        Args:
            x: Samples of shape `(n, *input_shape)`, or one of shape `input_shape`; what isn't of the input's own number
                type is quantized. A list with an array for each input where there are several.
            y_dtype: A number type for dequantized values; None for the output's own values.

        Returns:
            An array of shape `(n, ...)`, of shape `(...)` for one sample; a list of them for several outputs.

        Raises:
            DataError: There are no samples.
            StageError: The interpreter doesn't run the file, or it takes another shape.
        """
        file = Path(self.path)
        model = graph.read(file.read_bytes())
        arrays = [np.asarray(array) for array in (x if len(model.inputs) > 1 else [x])]
        ports = [micro.port_of(tensor) for tensor in model.inputs]
        single = arrays[0].ndim == len(ports[0].shape) - 1
        arrays = [array[np.newaxis] if single else array for array in arrays]
        ends = [micro.port_of(tensor) for tensor in model.outputs]
        given = [self._fitted(array, port) for array, port in zip(arrays, ports, strict=True)]
        found = run_all(file, given)
        if y_dtype is not None:
            found = [dequantized(y, asdict(end)).astype(y_dtype) for y, end in zip(found, ends, strict=True)]
        results = [y[0] for y in found] if single else found
        return results if len(results) > 1 else results[0]

    def _fitted(self, samples: np.ndarray, port: micro.Port) -> np.ndarray:
        """Samples in an input's number type."""
        if len(samples) == 0:
            raise no_samples()
        if samples.shape[1:] != tuple(port.shape[1:]):
            raise unfitting(Path(self.path), samples.shape[1:], port.shape[1:])
        return samples if samples.dtype == port.dtype else quantized(samples, asdict(port))
