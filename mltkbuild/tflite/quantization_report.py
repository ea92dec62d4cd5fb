"""How far each layer of a quantized model is from the float one, as a table and a picture."""

from __future__ import annotations

import csv
import io
import math
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.data.parts import in_order
from mltkbuild.errors import StageError
from mltkbuild.pictures.bars import bars_png
from mltkbuild.shown import csv_cell
from mltkbuild.tflite import graph
from mltkbuild.tflite.predict import dequantized, quantized

MOST_SAMPLES = 100
"""So many calibration samples tell the errors well enough."""
COLUMNS = ("number", "operator", "layer", "tensor", "scale", "zero_point", "mean_error", "rmse", "max_error", "sqnr_db")


@dataclass(frozen=True)
class LayerError:
    """How far the output of one operator is from the float model's, over all samples.

    Args:
        number: The operator's place in the quantized model.
        operator: The schema's name of it.
        layer: The layer that it comes from.
        tensor: The name of its output.
        scale: The output's quantization step.
        zero_point: The quantized value that stands for 0.
        mean_error: The mean of quantized minus float: a bias.
        rmse: The root of the mean squared error.
        max_error: The largest absolute error.
        sqnr_db: Signal to quantization noise, `10 log10(sum(float^2) / sum(error^2))` in dB; infinite without an error.
    """

    number: int
    operator: str
    layer: str
    tensor: str
    scale: float
    zero_point: int
    mean_error: float
    rmse: float
    max_error: float
    sqnr_db: float


@dataclass
class _Sums:
    count: int = 0
    error: float = 0.0
    squared: float = 0.0
    largest: float = 0.0
    signal: float = 0.0
    place: list[Any] = field(default_factory=list)

    def add(self, exact: np.ndarray, found: np.ndarray) -> None:
        difference = found.astype(np.float64) - exact.astype(np.float64)
        self.count += difference.size
        self.error += float(difference.sum())
        self.squared += float((difference**2).sum())
        self.largest = max(self.largest, float(np.abs(difference).max(initial=0.0)))
        self.signal += float((exact.astype(np.float64) ** 2).sum())


def compare(float32: Path, quantized_file: Path, samples: Sequence[Any]) -> list[LayerError]:
    """Run a float model and its quantized form on the same samples and compare what their operators give.

    Args:
        float32: The float `.tflite`.
        quantized_file: The quantized one, of the same converter, so that tensors have the same names.
        samples: An array each; for a model with several inputs a list of arrays in Keras' order, or a dict. At most 100
            of them are run.

    Returns:
        One entry for each quantized operator whose output the float model has too, in the order of execution.

    Raises:
        StageError: The models can't be compared.
    """
    model = graph.read(quantized_file.read_bytes())
    exact, found = _Traced(float32), _Traced(quantized_file)
    ends = _ends(model)
    sums: dict[int, _Sums] = {}
    picked = np.unique(np.linspace(0, len(samples) - 1, min(MOST_SAMPLES, len(samples))).astype(int))
    for number in picked:
        exact.run(samples[number])
        found.run(samples[number])
        for operator in model.main.operators:
            for index in operator.outputs[:1]:
                tensor = model.main.tensors[index]
                name = ends.get(index, tensor.name)
                if tensor.scale and name in exact.places:
                    pair = exact.value(name), found.value(tensor.name)
                    if pair[0].shape == pair[1].shape:
                        sums.setdefault(operator.number, _Sums()).add(*pair)
    if not sums:
        raise StageError(
            "the quantized model has no operator to compare with the float one",
            found=f"operators {', '.join(model.operator_names)}",
            fix="set generate_quantization_report to False; another backend may name its tensors differently",
        )
    return [_layer_error(model, number, total) for number, total in sorted(sums.items())]


def _ends(model: graph.Graph) -> dict[int, str]:
    """The quantized tensors that are dequantized into outputs: in the float model they bear the outputs' names."""
    outputs = set(model.main.outputs)
    return {
        operator.inputs[0]: model.main.tensors[operator.outputs[0]].name
        for operator in model.main.operators
        if operator.name == "DEQUANTIZE" and operator.outputs[0] in outputs
    }


def _layer_error(model: graph.Graph, number: int, sums: _Sums) -> LayerError:
    operator = model.main.operators[number]
    tensor = model.main.tensors[operator.outputs[0]]
    noise = 10 * math.log10(sums.signal / sums.squared) if sums.squared and sums.signal else math.inf
    return LayerError(
        number=number,
        operator=operator.name,
        layer=operator.layer,
        tensor=tensor.name,
        scale=tensor.scale,
        zero_point=tensor.zero_point,
        mean_error=sums.error / sums.count,
        rmse=math.sqrt(sums.squared / sums.count),
        max_error=sums.largest,
        sqnr_db=noise,
    )


class _Traced:
    """A model whose every tensor can be read after a run, with LiteRT's reference kernels."""

    def __init__(self, path: Path) -> None:
        kernels = OpResolverType.BUILTIN_REF
        with warnings.catch_warnings():
            # LiteRT warns that keeping all tensors takes memory, which is what is wanted here.
            warnings.simplefilter("ignore", UserWarning)
            self._interpreter = Interpreter(
                str(path), experimental_op_resolver_type=kernels, experimental_preserve_all_tensors=True, num_threads=1
            )
        self._interpreter.allocate_tensors()
        self.places: Mapping[str, Any] = {item["name"]: item for item in self._interpreter.get_tensor_details()}

    def run(self, sample: Any) -> None:
        """Run one sample from a reset state."""
        details = self._interpreter.get_input_details()
        # The file's inputs have Keras' order and names.
        names = [entry["name"] for entry in details]
        parts = [sample] if len(details) == 1 else in_order(sample, names, "input")
        self._interpreter.reset_all_variables()
        for entry, part in zip(details, parts, strict=True):
            self._interpreter.set_tensor(entry["index"], quantized(np.asarray(part)[None], _port(entry)))
        self._interpreter.invoke()

    def value(self, name: str) -> np.ndarray:
        """A tensor's values, dequantized."""
        details = self.places[name]
        values: np.ndarray = self._interpreter.get_tensor(details["index"])
        return dequantized(values, _port(details))


def _port(details: Mapping[str, Any]) -> dict[str, Any]:
    scale, zero_point = details["quantization"]
    return {"dtype": details["dtype"], "scale": scale, "zero_point": zero_point}


def write(folder: Path, title: str, layers: Iterable[LayerError]) -> None:
    """Write `quantization_report.csv` and `quantization_report.png`; the same values give the same bytes."""
    rows = list(layers)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(getattr(row, name)) for name in COLUMNS])
    (folder / "quantization_report.csv").write_text(text.getvalue(), encoding="utf-8")
    bars_png(
        folder / "quantization_report.png",
        [f"{row.number} {row.layer}" for row in rows],
        [min(row.sqnr_db, 100.0) for row in rows],
        title=f"{title}: signal to quantization noise",
        unit="dB (more is better)",
    )


def _cell(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(csv_cell(value))
