"""Find what TensorFlow Lite Micro won't run, by layer and with a way out, before a device does."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass

from mltkbuild.tflite.graph import Graph, Operator, Subgraph, is_made_up

_SUPPORTED = (
    "ABS ADD ADD_N ARG_MAX ARG_MIN ASSIGN_VARIABLE AVERAGE_POOL_2D BATCH_MATMUL BATCH_TO_SPACE_ND BROADCAST_ARGS "
    "BROADCAST_TO CALL_ONCE CAST CEIL CONCATENATION CONV_2D COS CUMSUM DEPTHWISE_CONV_2D DEPTH_TO_SPACE DEQUANTIZE "
    "DIV DYNAMIC_UPDATE_SLICE ELU EMBEDDING_LOOKUP EQUAL EXP EXPAND_DIMS FILL FLOOR FLOOR_DIV FLOOR_MOD "
    "FULLY_CONNECTED GATHER GATHER_ND GREATER GREATER_EQUAL HARD_SWISH IF L2_NORMALIZATION L2_POOL_2D LEAKY_RELU "
    "LESS LESS_EQUAL LOG LOGICAL_AND LOGICAL_NOT LOGICAL_OR LOGISTIC LOG_SOFTMAX MAXIMUM MAX_POOL_2D MEAN MINIMUM "
    "MIRROR_PAD MUL NEG NOT_EQUAL PACK PAD PADV2 PRELU QUANTIZE READ_VARIABLE REDUCE_ALL REDUCE_MAX REDUCE_MIN RELU "
    "RELU6 RESHAPE RESIZE_BILINEAR RESIZE_NEAREST_NEIGHBOR REVERSE_V2 ROUND RSQRT SELECT_V2 SHAPE SIN SLICE SOFTMAX "
    "SPACE_TO_BATCH_ND SPACE_TO_DEPTH SPLIT SPLIT_V SQRT SQUARE SQUARED_DIFFERENCE SQUEEZE STRIDED_SLICE SUB SUM "
    "SVDF TANH TRANSPOSE TRANSPOSE_CONV UNIDIRECTIONAL_SEQUENCE_LSTM UNPACK VAR_HANDLE WHILE ZEROS_LIKE"
)
SUPPORTED = frozenset(_SUPPORTED.split())
"""The builtin operators of the `tflite-micro` release that this package names; a test asks it for each."""

HINTS = {
    "GELU": "use relu, relu6 or swish (`hard_silu`) instead of gelu",
    "CONV_3D": "use Conv2D with the third axis among the channels",
    "CONV_3D_TRANSPOSE": "use Conv2DTranspose",
    "BIDIRECTIONAL_SEQUENCE_LSTM": "use an LSTM in one direction",
    "UNIDIRECTIONAL_SEQUENCE_RNN": "use SimpleRNN(unroll=True)",
    "TOPK_V2": "leave the choice of the best to the firmware",
    "POW": "multiply the value with itself instead of raising it to a power",
    "TILE": "use Concatenate, or broadcasting in the layer that follows",
    "REDUCE_PROD": "add logarithms instead",
    "ONE_HOT": "encode on the device, before the model",
    "RFFT2D": "compute the spectrum before the model",
    "SELECT": "compute both values and weigh them with multiplications, or choose on the device",
}
# Its message, such as `Node STRIDED_SLICE (number 2) failed to prepare with status 1`.
_NODE = re.compile(r"Node (\w+) \(number (\d+)\)")
# The softmax of 8-bit values counts a step of its input in 2^-26.
_SOFTMAX_STEP = 2.0**-26
_FLOAT_EDGES = ("QUANTIZE", "DEQUANTIZE")
# They move values and compute nothing, so a float one costs memory and no accuracy.
_MOVES = (
    "CONCATENATION EXPAND_DIMS GATHER PACK PAD RESHAPE SHAPE SLICE SPLIT SPLIT_V SQUEEZE STRIDED_SLICE TRANSPOSE UNPACK"
)
MOVES = frozenset(_MOVES.split())
"""The operators that only move values; the converter leaves some of an LSTM's in float32."""


@dataclass(frozen=True)
class Problem:
    """Something that TensorFlow Lite Micro won't run.

    Args:
        operator: The schema's name of the operator.
        layer: The layer that it comes from.
        what: What is wrong with it.
        fix: What to do.
    """

    operator: str
    layer: str
    what: str
    fix: str

    def __str__(self) -> str:
        """One line."""
        return f"{self.layer}: {self.operator} {self.what}"


def find_problems(model: Graph, known: Callable[[str], str] = str) -> tuple[Problem, ...]:
    """What TensorFlow Lite Micro won't run of a model, in the order of execution; `known` gives the names of layers."""
    return tuple(
        problem
        for part in model.subgraphs
        for operator in part.operators
        for problem in _problems_of(operator, part, place(operator, part, known))
    )


def kept_floats(model: Graph, known: Callable[[str], str] = str) -> tuple[Problem, ...]:
    """The operators of a quantized model that still compute with floats, but for those that convert or move values."""
    return tuple(
        Problem(
            operator.name,
            place(operator, part, known),
            "computes with float32 in a model that is to be quantized",
            "use a layer that has a quantized kernel, or ask for a float model with optimizations = []",
        )
        for part in model.subgraphs
        for operator in part.operators
        if operator.name not in (*_FLOAT_EDGES, *MOVES)
        and any(tensor.dtype in ("float32", "float16") for tensor in part.of((*operator.inputs, *operator.outputs)))
    )


def place(operator: Operator, part: Subgraph, known: Callable[[str], str] = str) -> str:
    """Where an operator is, in words: its layer, or the layer behind which it stands."""
    name = known(operator.layer)
    if not is_made_up(name):
        return name
    makers = {index: maker for maker in part.operators for index in maker.outputs}
    before = (known(makers[index].layer) for index in operator.inputs if index in makers)
    return next((f"behind {layer}" for layer in before if not is_made_up(layer)), name)


def told_by(message: str, model: Graph, known: Callable[[str], str] = str) -> str | None:
    """The layer and operator that the interpreter's message is about; None where it names none."""
    for found in _NODE.finditer(message):
        name, number = found[1], int(found[2])
        for part in model.subgraphs:
            if number < len(part.operators) and part.operators[number].name == name:
                return f"{place(part.operators[number], part, known)}: {name}"
    return None


def moved_floats(model: Graph) -> tuple[Operator, ...]:
    """The operators that move float values around inside a quantized model; its float ends don't count."""
    ends = {*model.main.inputs, *model.main.outputs}
    return tuple(
        operator
        for part in model.subgraphs
        for operator in part.operators
        if operator.name in MOVES
        and not ends.intersection((*operator.inputs, *operator.outputs))
        and any(tensor.dtype == "float32" for tensor in part.of(operator.outputs))
    )


def named(problems: Collection[Problem], most: int = 5) -> str:
    """Problems in one line of text."""
    texts = list(dict.fromkeys(map(str, problems)))
    return "; ".join(texts[:most]) + (f"; and {len(texts) - most} more" if len(texts) > most else "")


def fixes(problems: Collection[Problem]) -> str:
    """The ways out, each once."""
    return "; ".join(dict.fromkeys(problem.fix for problem in problems))


def _problems_of(operator: Operator, part: Subgraph, layer: str) -> Iterator[Problem]:
    if operator.is_custom and operator.name.startswith("Flex"):
        fix = "use a layer that TensorFlow Lite has itself; Flex operators need all of TensorFlow"
        yield Problem(operator.name, layer, "is a TensorFlow operator", fix)
    elif not operator.is_custom and operator.name not in SUPPORTED:
        fix = HINTS.get(operator.name, "replace the layer by one of operators that TensorFlow Lite Micro has")
        yield Problem(operator.name, layer, "has no kernel in TensorFlow Lite Micro", fix)
    if _is_hybrid(operator, part):
        yield Problem(
            operator.name,
            layer,
            "has float values and quantized weights (hybrid), which TensorFlow Lite Micro refuses",
            "quantize fully: give a representative_dataset, or set optimizations = [] for a float model",
        )
    if _is_too_narrow(operator, part):
        yield Problem(
            operator.name,
            layer,
            f"reads steps of {part.of(operator.inputs)[0].scale:.2g}, too fine for its kernel, which aborts",
            "train the model first, and calibrate it with real samples: its answers to these hardly differ",
        )


def _is_too_narrow(operator: Operator, part: Subgraph) -> bool:
    """Whether a softmax reads a range of which its kernel can't multiply a step.

    Source: TensorFlow Lite's `PreprocessSoftmaxScaling`, whose multiplier must be greater than 1.
    """
    given = part.of(operator.inputs)
    if operator.name != "SOFTMAX" or not given or given[0].dtype not in ("int8", "uint8") or not given[0].scale:
        return False
    return bool(given[0].scale * float(operator.options.get("beta") or 0.0) <= _SOFTMAX_STEP)


def _is_hybrid(operator: Operator, part: Subgraph) -> bool:
    """Whether weights are quantized and what they meet isn't."""
    given = part.of(operator.inputs)
    if operator.name not in ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "SVDF") or len(given) < 2:
        return False
    return given[0].dtype == "float32" and given[1].dtype in ("int8", "uint8", "int4")
