"""What a `.tflite` costs: multiplications, weights, flash and working memory, layer by layer.

MACs are counted as Arm's compiler Vela counts them (its release 5, Ethos-U55), kind by kind:

- Equal for every model tried: CONV_2D with stride, dilation and groups, DEPTHWISE_CONV_2D with any multiplier,
  TRANSPOSE_CONV, FULLY_CONNECTED of any rank, BATCH_MATMUL, the pools, MEAN, SUM, REDUCE_MAX, REDUCE_MIN, SOFTMAX, and
  activations that are operators of their own. Elementwise operators such as ADD and MUL count none in both.
- Recurrent operators and SVDF are counted by the loops of their kernels.
- Vela may add one for each value that it copies (CONCATENATION, PAD, slices, RESIZE_NEAREST_NEIGHBOR) or clamps behind
  a layer (an activation that the file has fused), because it runs these as pooling over one value; it leaves out an
  activation that it fuses itself. Here such a copy or clamp counts none, and an activation operator always counts.
- RESIZE_BILINEAR counts four a value, as interpolation takes; Vela's detour is the same for a doubled size without
  half-pixel centers and larger otherwise. ARG_MAX, which Vela runs as pooling, counts none.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from math import prod
from pathlib import Path
from typing import Any

from mltkbuild.errors import StageError
from mltkbuild.shown import csv_cell, shown
from mltkbuild.tflite import graph, lint, micro
from mltkbuild.tflite.graph import Graph, Operator, Subgraph, Tensor, bytes_of

VERSION = 1
_BIAS = {"CONV_2D": 2, "DEPTHWISE_CONV_2D": 2, "FULLY_CONNECTED": 2, "TRANSPOSE_CONV": 3}
_CALLERS = ("WHILE", "IF", "CALL_ONCE")


@dataclass(frozen=True)
class Layer:
    """One operator.

    Args:
        number: Its place in the order of execution of its subgraph.
        subgraph: 0 for the model itself, others for bodies of WHILE and IF.
        operator: The schema's name.
        layer: The layer that it comes from.
        inputs: Shapes of what it reads, without constants.
        weights: Shapes of its constants, without settings such as a shape or an axis.
        outputs: Shapes of what it gives.
        dtypes: The number types of what it reads and gives, each once.
        macs: Multiplications with an addition, in one run of its subgraph.
        parameters: How many numbers its weights hold; weights that an earlier layer has too count there alone.
        weight_bytes: Their bytes.
    """

    number: int
    subgraph: int
    operator: str
    layer: str
    inputs: tuple[tuple[int, ...], ...]
    weights: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[int, ...], ...]
    dtypes: tuple[str, ...]
    macs: int
    parameters: int
    weight_bytes: int


@dataclass(frozen=True)
class Profile:
    """What a whole model costs.

    Args:
        name: The model's name.
        layers: Its operators, subgraph by subgraph.
        macs: Of all layers, the body of a loop once.
        parameters: Numbers in all weights, shared ones once.
        weight_bytes: Their bytes.
        flash: Bytes of the file, which is what a device keeps.
        arena: Working memory; None for a model that TensorFlow Lite Micro can't run.
        problem: Why it can't.
        fix: What to do about that.
        inputs: What it takes.
        outputs: What it gives.
        problems: Operators that can't run.
        notes: What the figures leave out, in words.
    """

    name: str
    layers: tuple[Layer, ...]
    macs: int
    parameters: int
    weight_bytes: int
    flash: int
    arena: micro.Arena | None
    problem: str | None
    fix: str | None
    inputs: tuple[micro.Port, ...]
    outputs: tuple[micro.Port, ...]
    problems: tuple[lint.Problem, ...]
    notes: tuple[str, ...]


def profile(tflite: bytes, name: str) -> Profile:
    """Count what a `.tflite` costs.

    Args:
        tflite: The file's bytes.
        name: What to call the model.

    Raises:
        StageError: The bytes are no `.tflite` model, or an operator lacks an input or a setting.
    """
    model = graph.read(tflite)
    layers = tuple(layer for place, part in enumerate(model.subgraphs) for layer in _layers(place, part))
    arena, problem, fix = _arena(tflite)
    return Profile(
        name=name,
        layers=layers,
        macs=sum(layer.macs for layer in layers),
        parameters=sum(layer.parameters for layer in layers),
        weight_bytes=sum(layer.weight_bytes for layer in layers),
        flash=len(tflite),
        arena=arena,
        problem=problem,
        fix=fix,
        inputs=tuple(map(micro.port_of, model.inputs)),
        outputs=tuple(map(micro.port_of, model.outputs)),
        problems=lint.find_problems(model),
        notes=tuple(_notes(model)),
    )


def _arena(tflite: bytes) -> tuple[micro.Arena | None, str | None, str | None]:
    try:
        return micro.measured(tflite), None, None
    except StageError as error:
        return None, f"{error.what}: {error.found}", error.fix


def _notes(model: Graph) -> Iterable[str]:
    operators = [operator for part in model.subgraphs for operator in part.operators]
    if called := [name for name in _CALLERS if name in model.operator_names]:
        yield f"what {', '.join(called)} runs is counted once, however often it runs"
    if customs := sorted({operator.name for operator in operators if operator.is_custom}):
        yield f"the MACs of custom operators are not known and count as none: {', '.join(customs)}"
    if opened := [f"{tensor.name} {_shape(tensor.signature)}" for tensor in model.inputs if tensor.is_open]:
        yield f"sizes that the file leaves open count as they stand in it, and so they run: {', '.join(opened)}"


def _layers(place: int, part: Subgraph) -> Iterable[Layer]:
    """The layers of a subgraph; weights go to the first that uses them."""
    seen: set[int] = set()
    for operator in part.operators:
        read = [tensor for tensor in part.of(operator.inputs) if not tensor.data]
        made = part.of(operator.outputs)
        weights = _weights(operator, part)
        new = [tensor for index, tensor in weights.items() if index not in seen]
        seen.update(weights)
        yield Layer(
            number=operator.number,
            subgraph=place,
            operator=operator.name,
            layer=operator.layer,
            inputs=tuple(tensor.shape for tensor in read),
            weights=tuple(tensor.shape for tensor in weights.values()),
            outputs=tuple(tensor.shape for tensor in made),
            dtypes=tuple(dict.fromkeys(tensor.dtype for tensor in (*read, *made))),
            macs=macs_of(operator, part),
            parameters=sum(tensor.elements for tensor in new),
            weight_bytes=sum(map(bytes_of, new)),
        )


def _weights(operator: Operator, part: Subgraph) -> dict[int, Tensor]:
    """The constants that calculate: floats, quantized numbers and a bias; other integers are settings."""
    found: dict[int, Tensor] = {}
    for place, index in enumerate(operator.inputs):
        tensor = part.tensors[index] if index >= 0 else None
        if tensor is None or not tensor.data:
            continue
        if tensor.scales or tensor.dtype.startswith("float") or place == _BIAS.get(operator.name):
            found[index] = tensor
    return found


# -- MACs ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Use:
    """An operator with its tensors; what is missing is an IndexError."""

    options: Mapping[str, Any]
    given: tuple[Tensor | None, ...]
    made: tuple[Tensor, ...]

    def input(self, place: int) -> Tensor:
        found = self.given[place]
        if found is None:
            raise IndexError(f"input {place} is left out")
        return found

    def weights(self, *places: int) -> int:
        """How many numbers these inputs hold, without those left out."""
        return sum(tensor.elements for tensor in (self.given[place] for place in places) if tensor is not None)

    @property
    def out(self) -> int:
        return self.made[0].elements

    @property
    def steps(self) -> int:
        """How many vectors a recurrent layer reads: batch and time."""
        return _count(self.input(0).shape[:-1])


def _count(sizes: Iterable[int]) -> int:
    return prod(max(size, 1) for size in sizes)


def macs_of(operator: Operator, part: Subgraph) -> int:
    """How many multiplications with an addition an operator takes, as this module's text says.

    Formulas: the loops of the operator's reference kernel in TensorFlow Lite Micro; for TRANSPOSE_CONV, pooling, the
    reductions, SOFTMAX and activations what Vela's performance estimate counts.

    Raises:
        StageError: The operator lacks an input or a setting.
    """
    count = _MACS.get(operator.name)
    if count is None or operator.is_custom:
        return 0
    given = tuple(part.tensors[index] if index >= 0 else None for index in operator.inputs)
    try:
        return count(_Use(operator.options, given, part.of(operator.outputs)))
    except (IndexError, KeyError) as error:
        found = f"operator {operator.number}, {operator.name}, lacks an input or a setting: {error}"
        raise graph.damaged(found) from error


def _convolved(use: _Use) -> int:
    """Each output value takes its filter, `(out, height, width, in / groups)`; a transposed one as on a wider input."""
    return use.out * _count(use.input(1).shape[1:])


def _convolved_3d(use: _Use) -> int:
    """The same with filters of `(depth, height, width, in, out)`."""
    return use.out * _count(use.input(1).shape[:4])


def _depthwise(use: _Use) -> int:
    """Each output value sees one channel, with filters of `(1, height, width, in * multiplier)`."""
    return use.out * _count(use.input(1).shape[1:3])


def _dense(use: _Use) -> int:
    """Each output value takes one for each input feature, with weights of `(out, in)`, constant or computed."""
    return use.out * _count(use.input(1).shape[-1:])


def _matmul(use: _Use) -> int:
    """Each output value takes one for each value of a row."""
    shape = use.input(0).shape
    return use.out * _count([shape[-2 if use.options.get("adjX") else -1]])


def _pooled(use: _Use) -> int:
    """Each output value takes its whole window, at the edges too."""
    return use.out * int(use.options["filterHeight"]) * int(use.options["filterWidth"])


def _summed(use: _Use) -> int:
    """Each input value is added once."""
    return use.input(0).elements


def _extreme(use: _Use) -> int:
    """Each value is compared once an axis; the axes are reduced one after another."""
    sizes = [max(size, 1) for size in use.input(0).shape]
    axes = use.input(1)
    chosen = sorted({int(axis) % len(sizes) for axis in axes.values().ravel()}) if axes.data and sizes else []
    total = 0
    for axis in chosen:
        total += prod(sizes)
        sizes[axis] = 1
    return total


def _lstm(use: _Use) -> int:
    """Four gates, of `(cells, in)` and `(cells, out)`, and the projection, at each step."""
    return use.steps * use.weights(*range(1, 9), 16)


def _recurrent(use: _Use) -> int:
    """Weights of `(units, in)` and `(units, units)` at each step; an SVDF's filters likewise."""
    return use.steps * use.weights(1, 2)


_KINDS: Mapping[Callable[[_Use], int], str] = {
    _convolved: "CONV_2D TRANSPOSE_CONV",
    _convolved_3d: "CONV_3D",
    _depthwise: "DEPTHWISE_CONV_2D",
    _dense: "FULLY_CONNECTED",
    _matmul: "BATCH_MATMUL",
    _pooled: "AVERAGE_POOL_2D MAX_POOL_2D L2_POOL_2D",
    _summed: "MEAN SUM",
    _extreme: "REDUCE_MAX REDUCE_MIN",
    _lstm: "UNIDIRECTIONAL_SEQUENCE_LSTM",
    _recurrent: "RNN SVDF UNIDIRECTIONAL_SEQUENCE_RNN",
    # Each value is clamped or looked up.
    lambda use: use.out: "EXP HARD_SWISH LEAKY_RELU LOGISTIC RELU RELU6 RSQRT TANH",
    # Each value is seen once for the largest and once for the sum.
    lambda use: 2 * use.out: "SOFTMAX",
    # Each value lies between four.
    lambda use: 4 * use.out: "RESIZE_BILINEAR",
}
_MACS = {name: count for count, names in _KINDS.items() for name in names.split()}


# -- text ------------------------------------------------------------------------------------------------------------


def as_json(found: Profile) -> dict[str, Any]:
    """A profile as a document; `version` counts its format."""
    return {"version": VERSION, **asdict(found)}


def as_csv(found: Profile) -> str:
    """The layers as a table, shapes as `1x8x8x3`, several of them with a space between; each column adds up."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = [entry.name for entry in fields(Layer)]
    writer.writerow(names)
    for layer in found.layers:
        writer.writerow([csv_cell(_cell(getattr(layer, name))) for name in names])
    return text.getvalue()


def _cell(value: object) -> str:
    if isinstance(value, tuple):
        return " ".join(item if isinstance(item, str) else _shape(item) for item in value)
    return str(value)


def _shape(sizes: Iterable[int]) -> str:
    return "x".join("?" if size < 0 else str(size) for size in sizes) or "scalar"


def as_text(found: Profile) -> str:
    """The totals, the ends and the layers as aligned text."""
    arena = found.arena
    memory = f"unknown: {found.problem}" if arena is None else _bytes(arena.total)
    rows = [
        ("name", found.name),
        ("flash", f"{_bytes(found.flash)}, the file; {_bytes(found.weight_bytes)} of it weights"),
        ("arena", memory),
    ]
    if arena is not None:
        told = "head (activations), {} tail (structures; less where pointers have 32 bits)"
        rows.append(("", f"{_bytes(arena.head)} {told.format(_bytes(arena.tail))}"))
        rows.append(("", "measured in TensorFlow Lite Micro with reference kernels, 64-bit host"))
    rows += [("MACs", f"{found.macs:,}"), ("parameters", f"{found.parameters:,}")]
    rows += [("input", _port(port)) for port in found.inputs]
    rows += [("output", _port(port)) for port in found.outputs]
    rows += [("problem", f"{problem}; {problem.fix}") for problem in found.problems]
    rows += [("note", text) for text in found.notes]
    lines = [f"{label:<11} {shown(text)}".rstrip() for label, text in rows]
    return "\n".join([*lines, "", *_layer_lines(found), ""])


def _port(port: micro.Port) -> str:
    quantized = f", scale {port.scale:.6g}, zero point {port.zero_point}" if port.scale else ""
    return f"{port.name}, {port.dtype} {_shape(port.shape)}{quantized}"


def _bytes(count: int) -> str:
    return f"{count:,} B"


def _layer_lines(found: Profile) -> list[str]:
    header = ("#", "operator", "layer", "input", "weights", "output", "type", "MACs", "parameters", "bytes")
    totals = [f"{count:,}" for count in (found.macs, found.parameters, found.weight_bytes)]
    rows = [header, *(tuple(map(shown, _row(layer))) for layer in found.layers), ("", "total", *[""] * 5, *totals)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    # Figures stand right.
    sides = [">", *"<" * 6, *">" * 3]
    layout = "  ".join(f"{{:{side}{width}}}" for side, width in zip(sides, widths, strict=True))
    return [layout.format(*row).rstrip() for row in rows]


def _row(layer: Layer) -> tuple[str, ...]:
    number = f"{layer.subgraph}.{layer.number}" if layer.subgraph else str(layer.number)
    shapes = map(_cell, (layer.inputs, layer.weights, layer.outputs, layer.dtypes))
    figures = [f"{count:,}" for count in (layer.macs, layer.parameters, layer.weight_bytes)]
    return (number, layer.operator, layer.layer, *shapes, *figures)


def write(folder: Path, found: Profile) -> None:
    """Write `profile.json`, `profile.txt` and `profile.csv`; the same model gives the same bytes."""
    text = json.dumps(as_json(found), indent=1, sort_keys=True)
    (folder / "profile.json").write_text(text + "\n", encoding="utf-8")
    (folder / "profile.txt").write_text(as_text(found), encoding="utf-8")
    (folder / "profile.csv").write_text(as_csv(found), encoding="utf-8")
