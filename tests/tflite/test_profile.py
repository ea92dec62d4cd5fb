"""What a `.tflite` costs: the count of each kind of operator, weights, working memory, and the three files."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.errors import StageError, UsageError
from mltkbuild.tflite import flatbuffer, graph, profile, vela

from .. import warm

# -- models without TensorFlow ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class T:
    """A tensor of a handmade model: constant with `data`, quantized with `scale`."""

    shape: tuple[int, ...]
    dtype: str = "FLOAT32"
    data: bool | Sequence[int] = False
    scale: float = 0.0
    name: str = ""
    zero: int = 0


@dataclass(frozen=True)
class Op:
    """An operator of a handmade model by indices of tensors."""

    name: str
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: Any = None


def handmade(tensors: Sequence[T], operators: Sequence[Op], inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
    """The bytes of a model with one subgraph."""
    return with_subgraphs([(tensors, operators, inputs, outputs)])


def with_subgraphs(parts: Sequence[tuple[Sequence[T], Sequence[Op], Sequence[int], Sequence[int]]]) -> bytes:
    """The bytes of a model with these subgraphs."""
    model = schema.ModelT()
    model.version, model.description = 3, "handmade"
    model.buffers, model.operatorCodes, model.subgraphs = [schema.BufferT()], [], []
    for tensors, operators, inputs, outputs in parts:
        part = schema.SubGraphT()
        part.tensors = [_tensor(index, entry, model) for index, entry in enumerate(tensors)]
        part.operators = [_operator(entry, model) for entry in operators]
        part.inputs, part.outputs = list(inputs), list(outputs)
        model.subgraphs.append(part)
    return flatbuffer.pack(model)


def _tensor(index: int, entry: T, model: Any) -> Any:
    made = schema.TensorT()
    made.name, made.type = entry.name or f"model/layer_{index}/out", getattr(schema.TensorType, entry.dtype)
    made.shape, made.shapeSignature = [max(size, 1) for size in entry.shape], list(entry.shape)
    if entry.scale:
        made.quantization = schema.QuantizationParametersT()
        made.quantization.scale, made.quantization.zeroPoint = [entry.scale], [entry.zero]
    if entry.data is not False:
        values = np.ones(entry.shape) if entry.data is True else np.array(entry.data).reshape(entry.shape)
        buffer = schema.BufferT()
        buffer.data = values.astype(entry.dtype.lower()).tobytes()
        made.buffer = len(model.buffers)
        model.buffers.append(buffer)
    return made


def _operator(entry: Op, model: Any) -> Any:
    code = schema.OperatorCodeT()
    builtin = getattr(schema.BuiltinOperator, entry.name, schema.BuiltinOperator.CUSTOM)
    code.builtinCode, code.deprecatedBuiltinCode, code.version = builtin, min(builtin, 127), 1
    if builtin == schema.BuiltinOperator.CUSTOM:
        code.customCode = entry.name
    made = schema.OperatorT()
    made.opcodeIndex = len(model.operatorCodes)
    model.operatorCodes.append(code)
    made.inputs, made.outputs = list(entry.inputs), list(entry.outputs)
    if entry.options is not None:
        kind = type(entry.options).__name__.removesuffix("T")
        made.builtinOptions, made.builtinOptionsType = entry.options, getattr(schema.BuiltinOptions, kind)
    return made


def options(kind: str, **values: object) -> Any:
    """An operator's settings by the schema's names."""
    made = getattr(schema, f"{kind}OptionsT")()
    for name, value in values.items():
        assert hasattr(made, name)
        setattr(made, name, value)
    return made


def dense(features: int = 8, units: int = 4, name: str = "") -> bytes:
    """An int8 model of one fully connected layer."""
    tensors = [
        T((1, features), "INT8", scale=0.5),
        T((units, features), "INT8", data=True, scale=0.25),
        T((units,), "INT32", data=True, scale=0.125),
        T((1, units), "INT8", scale=1.0, name=name),
    ]
    return handmade(tensors, [Op("FULLY_CONNECTED", (0, 1, 2), (3,), options("FullyConnected"))], [0], [3])


def macs(operator: str, given_tensors: Sequence[T | None], out: T, settings_of: Any = None) -> int:
    """The MACs of one operator."""
    tensors = [entry for entry in given_tensors if entry is not None]
    places = iter(range(len(tensors)))
    inputs = tuple(-1 if entry is None else next(places) for entry in given_tensors)
    model = graph.read(handmade([*tensors, out], [Op(operator, inputs, (len(tensors),), settings_of)], [], []))
    return profile.macs_of(model.main.operators[0], model.main)


# -- MACs ------------------------------------------------------------------------------------------------------------

size = st.integers(1, 6)
multiple = st.integers(1, 3)


@settings(deadline=None, max_examples=30)
@given(st.tuples(size, size), st.tuples(size, size), size, size, multiple)
def test_a_convolution_counts_its_loops(
    out: tuple[int, int], window: tuple[int, int], cin: int, cout: int, groups: int
) -> None:
    """Each output value takes its filter, which sees a group's channels."""
    (h, w), (kh, kw) = out, window
    count = 0
    for _ in range(h * w * cout * groups):
        count += kh * kw * cin
    weights = T((cout * groups, kh, kw, cin), data=True)
    assert count == macs("CONV_2D", [T((1, 9, 9, cin * groups)), weights], T((1, h, w, cout * groups)))


@settings(deadline=None, max_examples=30)
@given(st.tuples(size, size), st.tuples(size, size), size, multiple)
def test_a_depthwise_convolution_sees_one_channel(
    image: tuple[int, int], window: tuple[int, int], c: int, multiplier: int
) -> None:
    """Each output value takes one window, whatever the multiplier."""
    (h, w), (kh, kw) = image, window
    out = T((1, h, w, c * multiplier))
    given_tensors = [T((1, 9, 9, c)), T((1, kh, kw, c * multiplier), data=True)]
    assert h * w * c * multiplier * kh * kw == macs("DEPTHWISE_CONV_2D", given_tensors, out)


@settings(deadline=None, max_examples=30)
@given(st.lists(size, min_size=0, max_size=3), size, size, st.booleans())
def test_a_dense_layer_of_any_rank(lead: list[int], features: int, units: int, constant: bool) -> None:
    """All leading sizes count, whether the weights are constant or computed."""
    found = macs("FULLY_CONNECTED", [T((*lead, features)), T((units, features), data=constant)], T((*lead, units)))
    assert prod(lead) * features * units == found


@settings(deadline=None, max_examples=30)
@given(size, size, size, size, st.booleans())
def test_a_matrix_product_counts_rows_times_columns(batch: int, m: int, k: int, n: int, turned: bool) -> None:
    """A transposed left side gives the same count."""
    left = T((batch, k, m) if turned else (batch, m, k))
    setting = options("BatchMatMul", adjX=turned)
    assert batch * m * k * n == macs("BATCH_MATMUL", [left, T((batch, k, n))], T((batch, m, n)), setting)


POOL = options("Pool2D", filterHeight=3, filterWidth=2)
IMAGE = T((1, 4, 5, 6))
GATES = [T((7, 3), data=True)] * 4 + [T((7, 7), data=True)] * 4


@pytest.mark.parametrize(
    ("operator", "given_tensors", "out", "setting", "expected"),
    [
        ("TRANSPOSE_CONV", [T((4,), "INT32", True), T((2, 3, 3, 6), data=True), IMAGE], T((1, 8, 9, 2)), None, 7776),
        ("CONV_3D", [T((1, 4, 4, 4, 2)), T((2, 2, 2, 2, 3), data=True)], T((1, 3, 3, 3, 3)), None, 81 * 16),
        ("AVERAGE_POOL_2D", [IMAGE], T((1, 2, 2, 6)), POOL, 24 * 6),
        ("MAX_POOL_2D", [IMAGE], T((1, 2, 2, 6)), POOL, 24 * 6),
        ("MEAN", [IMAGE, T((2,), "INT32", [1, 2])], T((1, 6)), None, 120),
        ("SUM", [IMAGE, T((1,), "INT32", [3])], T((1, 4, 5)), None, 120),
        ("REDUCE_MAX", [IMAGE, T((2,), "INT32", [2, 1])], T((1, 6)), None, 120 + 30),
        ("REDUCE_MIN", [IMAGE, T((1,), "INT32", [-1])], T((1, 4, 5)), None, 120),
        ("REDUCE_MAX", [IMAGE, T((1,), "INT32")], T((1, 6)), None, 0),
        ("SOFTMAX", [T((1, 10))], T((1, 10)), None, 20),
        ("LOGISTIC", [IMAGE], IMAGE, None, 120),
        ("RESIZE_BILINEAR", [IMAGE, T((2,), "INT32", [8, 10])], T((1, 8, 10, 6)), None, 4 * 480),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", [T((2, 5, 3)), *GATES, *[None] * 8], T((2, 5, 7)), None, 10 * 4 * 7 * 10),
        (
            "UNIDIRECTIONAL_SEQUENCE_LSTM",
            [T((1, 5, 3)), *[T((7, 3), data=True)] * 4, *[T((2, 7), data=True)] * 4, *[None] * 7, T((2, 7), data=True)],
            T((1, 5, 2)),
            None,
            5 * (4 * 21 + 4 * 14 + 14),
        ),
        ("UNIDIRECTIONAL_SEQUENCE_RNN", [T((1, 5, 3)), T((4, 3), data=True), T((4, 4), data=True)], IMAGE, None, 140),
        ("SVDF", [T((2, 3)), T((8, 3), data=True), T((8, 9), data=True)], T((2, 4)), None, 2 * 8 * 12),
        ("ADD", [IMAGE, IMAGE], IMAGE, None, 0),
        ("CONCATENATION", [IMAGE, IMAGE], T((1, 4, 5, 12)), None, 0),
        ("FULLY_CONNECTED", [T((-1, 3)), T((2, 3), data=True)], T((-1, 2)), None, 6),
        ("Mine", [IMAGE], IMAGE, None, 0),
    ],
)
def test_macs_of_a_kind(operator: str, given_tensors: Sequence[T | None], out: T, setting: Any, expected: int) -> None:
    """Every kind is counted by its formula."""
    assert expected == macs(operator, given_tensors, out, setting)


@pytest.mark.parametrize(
    ("operator", "given_tensors"),
    [("CONV_2D", [IMAGE]), ("CONV_2D", [IMAGE, None]), ("MAX_POOL_2D", [IMAGE]), ("SVDF", [IMAGE, IMAGE])],
)
def test_what_an_operator_lacks_is_told(operator: str, given_tensors: Sequence[T | None]) -> None:
    """A file whose operator has no weights or no settings is damaged, and the error names the operator."""
    with pytest.raises(StageError, match="damaged") as caught:
        macs(operator, given_tensors, IMAGE)
    assert f"operator 0, {operator}" in str(caught.value.found)


# -- weights, memory, notes ------------------------------------------------------------------------------------------


def test_a_layer_and_the_totals() -> None:
    """A layer says what it reads, holds and gives, and the totals are those of a one-layer model."""
    content = dense()
    found = profile.profile(content, "kws")
    (layer,) = found.layers
    assert ("FULLY_CONNECTED", ((1, 8),), ((4, 8), (4,)), ((1, 4),)) == (
        layer.operator,
        layer.inputs,
        layer.weights,
        layer.outputs,
    )
    assert ("int8",) == layer.dtypes
    assert (32, 36, 32 + 4 * 4) == (layer.macs, layer.parameters, layer.weight_bytes)
    assert ("kws", 32, 36, 48, len(content)) == (
        found.name,
        found.macs,
        found.parameters,
        found.weight_bytes,
        found.flash,
    )
    assert (("int8", 0.5), ("int8", 1.0)) == tuple((port.dtype, port.scale) for port in (*found.inputs, *found.outputs))


def test_working_memory_has_two_parts() -> None:
    """What TensorFlow Lite Micro uses of its arena is its head and its tail; starting takes no less than that."""
    found = profile.profile(dense(), "kws")
    assert found.arena is not None
    assert found.problem is None
    assert found.arena.total + 16 > found.arena.used == found.arena.head + found.arena.tail
    assert min(found.arena.head, found.arena.tail) > 0


def test_shared_weights_count_once() -> None:
    """Weights of two layers count for the first, so that the columns add up to what the file holds."""
    tensors = [T((1, 4)), T((4, 4), data=True), T((1, 4)), T((1, 4))]
    setting = options("FullyConnected")
    operators = [Op("FULLY_CONNECTED", (0, 1, -1), (2,), setting), Op("FULLY_CONNECTED", (2, 1, -1), (3,), setting)]
    found = profile.profile(handmade(tensors, operators, [0], [3]), "twice")
    assert [16, 0] == [layer.parameters for layer in found.layers]
    assert [((4, 4),)] * 2 == [layer.weights for layer in found.layers]
    assert (32, 16, 64) == (found.macs, found.parameters, found.weight_bytes)


def test_settings_are_no_parameters() -> None:
    """The shape that a RESHAPE reads isn't learned; a bias of integers is, even without a scale."""
    tensors = [T((1, 4)), T((2,), "INT32", [2, 2]), T((2, 2))]
    found = profile.profile(handmade(tensors, [Op("RESHAPE", (0, 1), (2,), options("Reshape"))], [0], [2]), "flat")
    assert (0, ()) == (found.parameters, found.layers[0].weights)
    given_tensors = [T((4,), "INT32", True), T((2, 3, 3, 6), data=True), IMAGE, T((2,), "INT32", True), T((1, 8, 9, 2))]
    setting = options("TransposeConv", strideH=2, strideW=2)
    content = handmade(given_tensors, [Op("TRANSPOSE_CONV", (0, 1, 2, 3), (4,), setting)], [2], [4])
    assert ((2, 3, 3, 6), (2,)) == profile.profile(content, "up").layers[0].weights


def test_an_open_size_counts_as_it_stands_in_the_file() -> None:
    """A model of any batch size has figures and an arena for one, and a note says which sizes are open."""
    tensors = [T((-1, 3)), T((2, 3), data=True), T((-1, 2))]
    operators = [Op("FULLY_CONNECTED", (0, 1, -1), (2,), options("FullyConnected"))]
    found = profile.profile(handmade(tensors, operators, [0], [2]), "batch")
    assert (6, None) == (found.macs, found.problem)
    assert found.arena is not None
    assert found.arena.total > 0
    assert ["count as they stand in it, and so they run: model/layer_0/out ?x3"] == [
        note.partition("open ")[2] for note in found.notes
    ]
    assert ((1, 3), (1, 2)) == (found.inputs[0].shape, found.outputs[0].shape)


def test_a_custom_operator_is_told() -> None:
    """What isn't known is noted, and why the model can't run is said."""
    found = profile.profile(handmade([IMAGE, IMAGE], [Op("FlexErf", (0,), (1,))], [0], [1]), "flex")
    assert ("the MACs of custom operators are not known and count as none: FlexErf",) == found.notes
    assert ["FlexErf"] == [problem.operator for problem in found.problems]
    assert found.arena is None
    assert "problem     layer_1: FlexErf is a TensorFlow operator; use a layer" in profile.as_text(found)


def test_the_body_of_a_loop_counts_once() -> None:
    """A WHILE's subgraphs are listed after the model, counted once, and a note says so."""
    number = T((1,), "INT32")
    loop = Op("WHILE", (0,), (1,), options("While", condSubgraphIndex=1, bodySubgraphIndex=2))
    asked = [number, T((1,), "INT32", [3]), T((1,), "BOOL")]
    added = [number, T((1,), "INT32", [1]), number]
    content = with_subgraphs(
        [
            ([number, number], [loop], [0], [1]),
            (asked, [Op("LESS", (0, 1), (2,), options("Less"))], [0], [2]),
            (added, [Op("ADD", (0, 1), (2,), options("Add"))], [0], [2]),
        ]
    )
    found = profile.profile(content, "loop")
    assert [(0, "WHILE"), (1, "LESS"), (2, "ADD")] == [(layer.subgraph, layer.operator) for layer in found.layers]
    assert ("what WHILE runs is counted once, however often it runs",) == found.notes
    assert "\n2.0  ADD" in profile.as_text(found)


@pytest.mark.parametrize("content", [b"", b"not a model", dense()[:100]])
def test_no_model_is_refused(content: bytes) -> None:
    """Bytes that are no `.tflite` are an error, not a profile of nothing."""
    with pytest.raises(StageError):
        profile.profile(content, "kws")


# -- the files -------------------------------------------------------------------------------------------------------


def test_json_has_a_version() -> None:
    """The document survives JSON and names its format."""
    found = profile.as_json(profile.profile(dense(), "kws"))
    assert (1, "kws", 32) == (found["version"], found["name"], found["macs"])
    read: Mapping[str, Any] = json.loads(json.dumps(found, allow_nan=False))
    assert [[1, 8]] == read["layers"][0]["inputs"]


def test_csv_adds_up() -> None:
    """Each column of figures adds up to the total."""
    found = profile.profile(dense(), "kws")
    rows = list(csv.DictReader(io.StringIO(profile.as_csv(found))))
    assert "4x8 4" == rows[0]["weights"]
    for column in ("macs", "parameters", "weight_bytes"):
        assert getattr(found, column) == sum(int(row[column]) for row in rows)


def test_text_is_aligned() -> None:
    """The table's figures stand under each other, in groups of three digits, above their totals."""
    text = profile.as_text(profile.profile(dense(100, 50), "kws"))
    lines = text.splitlines()
    assert "MACs        5,000" in lines
    header, layer, total = lines[-3:]
    assert header.index("MACs") + 4 == layer.index(" 5,000 ") + 6 == total.index(" 5,000 ") + 6
    assert all(line == line.rstrip() for line in lines)


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """Two profiles of a model are the same files."""
    names = ["profile.csv", "profile.json", "profile.txt"]
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        profile.write(folder, profile.profile(dense(), "kws"))
        assert names == sorted(path.name for path in folder.iterdir())
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


# -- beside Vela -----------------------------------------------------------------------------------------------------

SCRIPT = """
import json, sys
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from mltkbuild.tflite import quantize
from mltkbuild.spec.mixins import TrainMixin

layers = keras.layers
folder = Path(sys.argv[1])
rng = np.random.default_rng(0)
int8 = {**TrainMixin.tflite_converter.default, "inference_input_type": "int8", "inference_output_type": "int8"}
counts = {}


class Function(layers.Layer):
    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        return self.function(inputs)


def convert(name, model):
    shapes = [tuple(entry.shape[1:]) for entry in model.inputs]
    draws = [tuple(rng.uniform(-1, 1, shape).astype("float32") for shape in shapes) for _ in range(4)]
    calibration = [draw[0] if len(draw) == 1 else draw for draw in draws]
    quantize.run(model, calibration, int8, folder / f"{name}.tflite", folder / f"{name}.float32.tflite")
    counts[name] = model.count_params()


def chain(name, shape, *parts):
    convert(name, keras.Sequential([keras.Input(shape), *parts]))


keras.utils.set_random_seed(1)
chain(
    "conv",
    (9, 9, 4),
    layers.Conv2D(8, 3, padding="same", activation="relu"),
    layers.Conv2D(4, (3, 2), strides=2),
    layers.Conv2D(6, 2, dilation_rate=2),
)
chain("groups", (6, 6, 4), layers.Conv2D(8, 3, groups=2))
chain("padded", (6, 6, 3), layers.ZeroPadding2D(1), layers.Conv2D(4, 3))
chain("depthwise", (9, 9, 4), layers.DepthwiseConv2D((5, 2), strides=2), layers.DepthwiseConv2D(2, depth_multiplier=2))
chain("transposed", (5, 5, 4), layers.Conv2DTranspose(6, 3, strides=2, padding="same"), layers.Conv2DTranspose(3, 4))
chain(
    "dense",
    (3, 5),
    layers.Dense(7, bias_initializer="ones"),
    layers.Flatten(),
    layers.Dense(3, activation="softmax", bias_initializer="ones"),
)
chain("pools", (9, 9, 3), layers.MaxPooling2D(3, strides=2, padding="same"), layers.AveragePooling2D(2))
chain("mean", (8, 8, 3), layers.GlobalAveragePooling2D())
chain("largest", (8, 8, 3), layers.GlobalMaxPooling2D())
chain("activations", (5, 5, 4), layers.Conv2D(4, 1), layers.Activation("sigmoid"), layers.Activation("tanh"))
chain("interpolated", (6, 6, 4), Function(lambda x: tf.raw_ops.ResizeBilinear(images=x, size=(12, 12))))
pair = [keras.Input((4, 4, 3)), keras.Input((4, 4, 3))]
convert("sums", keras.Model(pair, layers.Multiply()([layers.Add()(pair), pair[0]])))
convert("joined", keras.Model(pair, layers.Concatenate()(pair)))
sequence = keras.Input((6, 8))
convert("attention", keras.Model(sequence, layers.MultiHeadAttention(2, 4)(sequence, sequence)))
(folder / "counts.json").write_text(json.dumps(counts))
"""
AGREED = {
    "conv": {"CONV_2D"},
    "groups": {"CONV_2D"},
    "padded": {"CONV_2D"},
    "depthwise": {"DEPTHWISE_CONV_2D"},
    "transposed": {"TRANSPOSE_CONV"},
    "dense": {"FULLY_CONNECTED", "SOFTMAX"},
    "pools": {"MAX_POOL_2D", "AVERAGE_POOL_2D"},
    "mean": {"MEAN"},
    "largest": {"REDUCE_MAX"},
    "activations": {"CONV_2D", "LOGISTIC", "TANH"},
    "interpolated": {"RESIZE_BILINEAR"},
    "sums": set(),
    "joined": set(),
    "attention": {"FULLY_CONNECTED", "BATCH_MATMUL", "SOFTMAX"},
}
"""The operators of each model that have MACs."""
VELAS = {
    "Conv2D": "CONV_2D",
    "DepthwiseConv2D": "DEPTHWISE_CONV_2D",
    "TransposeConv2D": "TRANSPOSE_CONV",
    "FullyConnected": "FULLY_CONNECTED",
    "BatchMatMul": "BATCH_MATMUL",
    "MaxPool": "MAX_POOL_2D",
    "AvgPool": "AVERAGE_POOL_2D",
    "Mean": "MEAN",
    "ReduceMax": "REDUCE_MAX",
    "Softmax": "SOFTMAX",
    "Sigmoid": "LOGISTIC",
    "Tanh": "TANH",
    "ResizeBilinear": "RESIZE_BILINEAR",
}


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files that a process of its own has converted."""
    folder = tmp_path_factory.mktemp("converted")
    warm.python(SCRIPT, str(folder))
    return folder


@pytest.mark.real
@pytest.mark.parametrize("name", AGREED)
def test_macs_agree_with_vela(converted: Path, name: str) -> None:
    """For every kind of operator, Vela counts the same, apart from copies and clamps of its own."""
    try:
        vela.accelerators()
    except UsageError as error:
        pytest.skip(str(error))
    tflite = converted / f"{name}.tflite"
    ours: Counter[str] = Counter()
    for layer in profile.profile(tflite.read_bytes(), name).layers:
        ours[layer.operator] += layer.macs
    theirs: Counter[str] = Counter()
    for step in vela.estimate(tflite).passes:
        if not step.is_extra:
            theirs[VELAS.get(step.original, step.original)] += step.macs
    assert +theirs == +ours
    assert AGREED[name] == set(+ours)


@pytest.mark.real
@pytest.mark.parametrize("name", AGREED)
def test_the_float_model_counts_the_same(converted: Path, name: str) -> None:
    """Quantization doesn't change how much is computed, and both forms run."""
    found = [
        profile.profile((converted / f"{name}{suffix}").read_bytes(), name) for suffix in (".tflite", ".float32.tflite")
    ]
    assert found[0].macs == found[1].macs
    assert [None, None] == [entry.problem for entry in found]


@pytest.mark.real
@pytest.mark.parametrize("name", ["conv", "groups", "padded", "depthwise", "dense", "mean", "sums"])
def test_parameters_are_those_of_keras(converted: Path, name: str) -> None:
    """The file holds as many learned numbers as the Keras model where the converter neither fuses nor drops any."""
    counts = json.loads((converted / "counts.json").read_text())
    assert counts[name] == profile.profile((converted / f"{name}.tflite").read_bytes(), name).parameters
