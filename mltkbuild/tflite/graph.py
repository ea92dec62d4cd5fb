"""What is in a `.tflite` file, as plain values: tensors, operators, inputs and outputs, every index checked."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mltkbuild.errors import StageError
from mltkbuild.tflite import flatbuffer


def _numbered(kind: type) -> dict[int, str]:
    """The names of an enumeration of the schema; since Python 3.13 a class has numbers of Python's own, too."""
    return {number: name for name, number in vars(kind).items() if not name.startswith("_")}


# The schema's number types by their NumPy names; those that NumPy lacks keep the schema's.
_TYPES = {number: name.lower() for number, name in _numbered(schema.TensorType).items()}
_BUILTINS = _numbered(schema.BuiltinOperator)
# Types that NumPy lacks, by one of their size.
_STORED_AS = {"string": "uint8", "bfloat16": "int16", "resource": "int32", "variant": "int32"}
_WIDTHS = {"int4": 0.5, "uint4": 0.5, "int2": 0.25}
_MADE_UP = re.compile(r"^(StatefulPartitionedCall|PartitionedCall|tfl\.|arith\.|jax|serving_default)")
_END = re.compile(r"^(StatefulPartitionedCall|PartitionedCall|Identity)(_\d+)?(:\d+)?(_u?int\d+)?$")


@dataclass(frozen=True)
class Tensor:
    """One tensor of a subgraph.

    Args:
        index: Its number in the subgraph.
        name: Its name.
        shape: Its sizes as they stand in the file, which are those that TensorFlow Lite Micro runs.
        dtype: `int8`, `float32` and so on.
        scales: The quantization steps: none, one, or one a channel.
        zero_points: As many as `scales`.
        axis: The axis of the channels.
        data: The bytes of a constant; empty for a tensor that is computed.
        is_variable: Whether it keeps its value from one inference to the next.
        signature: Its sizes with -1 where the file leaves one open, such as the batch; empty where none is.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    dtype: str
    scales: tuple[float, ...] = ()
    zero_points: tuple[int, ...] = ()
    axis: int = 0
    data: bytes = field(default=b"", repr=False)
    is_variable: bool = False
    signature: tuple[int, ...] = ()

    @property
    def elements(self) -> int:
        """How many numbers it holds; a size that the file doesn't say counts as 1."""
        return int(np.prod([max(size, 1) for size in self.shape], dtype=np.int64))

    @property
    def scale(self) -> float:
        """The quantization step of a tensor with one; 0.0 without."""
        return self.scales[0] if len(self.scales) == 1 else 0.0

    @property
    def zero_point(self) -> int:
        """The quantized value that stands for 0."""
        return self.zero_points[0] if len(self.zero_points) == 1 else 0

    @property
    def is_open(self) -> bool:
        """Whether the file leaves a size open; one that runs models of any size may then ask for another."""
        return any(size < 0 for size in (*self.shape, *self.signature))

    def values(self) -> np.ndarray:
        """A constant's values in its shape.

        Raises:
            StageError: Its bytes don't fit its shape and type.
        """
        try:
            return np.frombuffer(self.data, dtype=self.dtype).reshape(self.shape)
        except (TypeError, ValueError) as error:
            raise damaged(f"the constant {self.name}: {error}") from error


@dataclass(frozen=True)
class Operator:
    """One operator of a subgraph.

    Args:
        number: Its place in the order of execution.
        name: The schema's name, such as `CONV_2D`; a custom operator's own name.
        version: Its version.
        inputs: Indices of tensors; -1 for one that is left out.
        outputs: Indices of tensors.
        options: Its settings by the schema's names.
        layer: The Keras layer that it comes from, as far as tensor names tell.
        is_custom: Whether it is no builtin operator.
    """

    number: int
    name: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Mapping[str, Any]
    layer: str
    is_custom: bool = False


@dataclass(frozen=True)
class Subgraph:
    """A subgraph: the first is the model, others are bodies of WHILE and IF.

    Args:
        tensors: By index.
        operators: In the order of execution.
        inputs: Indices of tensors.
        outputs: Indices of tensors.
    """

    tensors: tuple[Tensor, ...]
    operators: tuple[Operator, ...]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def of(self, indices: Sequence[int]) -> tuple[Tensor, ...]:
        """The tensors of these indices, without those left out."""
        return tuple(self.tensors[index] for index in indices if index >= 0)


@dataclass(frozen=True)
class Graph:
    """A whole `.tflite` file.

    Args:
        subgraphs: At least one.
        description: The model's own description.
        size: Bytes of the file.
        input_keys: What Keras calls each input, in their order; empty names where the file doesn't tell.
        output_keys: What Keras calls each output, such as `output_0`; the converter may put them in another order.
    """

    subgraphs: tuple[Subgraph, ...]
    description: str
    size: int
    input_keys: tuple[str, ...] = ()
    output_keys: tuple[str, ...] = ()

    @property
    def main(self) -> Subgraph:
        """The subgraph that is the model."""
        return self.subgraphs[0]

    @property
    def inputs(self) -> tuple[Tensor, ...]:
        """What the model takes."""
        return self.main.of(self.main.inputs)

    @property
    def outputs(self) -> tuple[Tensor, ...]:
        """What the model gives."""
        return self.main.of(self.main.outputs)

    @property
    def operator_names(self) -> tuple[str, ...]:
        """The operators used, each once, sorted."""
        return tuple(sorted({operator.name for part in self.subgraphs for operator in part.operators}))


def damaged(found: str) -> StageError:
    """The error for a file that contradicts itself."""
    fix = "convert the model again; the file must be a whole .tflite flatbuffer"
    return StageError("this .tflite model is damaged", found=found, fix=fix)


def read(tflite: bytes) -> Graph:
    """Read a `.tflite` file; nothing of it is run.

    The format is TensorFlow Lite's `schema.fbs`, version 3.

    Raises:
        StageError: These bytes are no whole `.tflite` flatbuffer, or an index in it leads nowhere.
    """
    model = flatbuffer.load(tflite)
    try:
        names = [_operator_name(code) for code in model.operatorCodes or []]
        # Once a buffer, not once a tensor: thousands may name the same one.
        buffers = [bytes(_items(buffer.data)) for buffer in model.buffers or []]
        subgraphs = tuple(_subgraph(part, buffers, names) for part in model.subgraphs)
        description = _text(model.description)
        main = subgraphs[0]
        signature = next((item for item in model.signatureDefs or [] if item.subgraphIndex == 0), None)
        input_keys = _keys(main.inputs, None if signature is None else signature.inputs)
        output_keys = _keys(main.outputs, None if signature is None else signature.outputs)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise damaged(f"{type(error).__name__}: {error}") from error
    return Graph(subgraphs, description, len(tflite), input_keys, output_keys)


def _keys(indices: Sequence[int], named: Any) -> tuple[str, ...]:
    """The signature's name of each tensor; a tensor that is given out twice has one for each place."""
    if [int(item.tensorIndex) for item in _items(named)] == list(indices):
        return tuple(_text(item.name) for item in _items(named))
    names = {int(item.tensorIndex): _text(item.name) for item in _items(named)}
    return tuple(names.get(index, "") for index in indices)


def _text(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")


def _operator_name(code: Any) -> tuple[str, int, bool]:
    builtin = max(code.builtinCode, code.deprecatedBuiltinCode)
    is_custom = builtin == schema.BuiltinOperator.CUSTOM
    return (_text(code.customCode) if is_custom else _BUILTINS[builtin]), code.version, is_custom


def _subgraph(part: Any, buffers: Sequence[bytes], names: Sequence[tuple[str, int, bool]]) -> Subgraph:
    tensors = tuple(_tensor(index, item, buffers) for index, item in enumerate(part.tensors or []))
    operators = tuple(_operator(number, item, names, tensors) for number, item in enumerate(_items(part.operators)))
    inputs, outputs = _indices(part.inputs), _indices(part.outputs)
    for index in (*inputs, *outputs):
        _check_index(index, tensors)
    return Subgraph(tensors, operators, inputs, outputs)


def _items(value: Any) -> Any:
    return [] if value is None else value


def _indices(value: Any) -> tuple[int, ...]:
    return tuple(int(item) for item in _items(value))


def _check_index(index: int, tensors: Sequence[Tensor], lowest: int = 0) -> None:
    if not lowest <= index < len(tensors):
        raise damaged(f"the tensor {index} of {len(tensors)}")


def _tensor(index: int, item: Any, buffers: Sequence[bytes]) -> Tensor:
    quantization = item.quantization
    scales = () if quantization is None else tuple(float(scale) for scale in _items(quantization.scale))
    return Tensor(
        index=index,
        name=_text(item.name),
        shape=_indices(item.shape),
        dtype=_TYPES[item.type],
        scales=scales,
        zero_points=_indices(quantization.zeroPoint) if scales else (),
        axis=int(quantization.quantizedDimension) if scales else 0,
        data=buffers[item.buffer],
        is_variable=bool(item.isVariable),
        signature=_indices(item.shapeSignature),
    )


def _operator(number: int, item: Any, names: Sequence[tuple[str, int, bool]], tensors: Sequence[Tensor]) -> Operator:
    if not 0 <= item.opcodeIndex < len(names):
        raise damaged(f"the operator code {item.opcodeIndex} of {len(names)}")
    name, version, is_custom = names[item.opcodeIndex]
    inputs, outputs = _indices(item.inputs), _indices(item.outputs)
    for index in inputs:
        _check_index(index, tensors, lowest=-1)
    for index in outputs:
        _check_index(index, tensors)
    options = {} if item.builtinOptions is None else dict(vars(item.builtinOptions))
    layer = _layer(inputs, outputs, tensors)
    return Operator(number, name, version, inputs, outputs, options, layer, is_custom)


def _layer(inputs: Sequence[int], outputs: Sequence[int], tensors: Sequence[Tensor]) -> str:
    """The layer of an operator; at a model's end, whose name is made up, that of its weights where it has any."""
    own = layer_of(tensors[outputs[0]].name) if outputs else ""
    if not is_made_up(own):
        return own
    weights = (tensors[index].name for index in inputs if index >= 0 and tensors[index].data)
    return next((layer_of(name) for name in weights if "/" in name and not _MADE_UP.match(name)), own)


def is_made_up(layer: str) -> bool:
    """Whether a name is the converter's own for a model's output, and no layer's."""
    return _END.match(layer) is not None


def layer_of(tensor_name: str) -> str:
    """The Keras layer that a tensor of TensorFlow's converter is named after; the whole name where none shows.

    A name such as `model/conv2d_1/Relu;model/batch_norm/add` lists what was fused; the first part is the operator's.
    """
    first = tensor_name.partition(";")[0]
    parts = [part for part in first.split("/") if part]
    if not parts or _MADE_UP.match(parts[0]) or len(parts) == 1:
        return first
    # A functional or sequential model's own name leads, the operation's comes last.
    return "/".join(parts[1:-1]) if len(parts) > 2 else parts[1] if len(parts) == 2 else first


def bytes_of(tensor: Tensor) -> int:
    """How many bytes a tensor's values take."""
    width = _WIDTHS.get(tensor.dtype) or np.dtype(_STORED_AS.get(tensor.dtype, tensor.dtype)).itemsize
    return int(np.ceil(tensor.elements * width))
