"""The stage `params` and its format: what firmware reads is what the spec said, and the model stays the same."""

from __future__ import annotations

import hashlib
import math
import random
import struct
from collections.abc import Callable
from enum import IntEnum
from pathlib import Path, PurePosixPath
from typing import Any

import flatbuffers
import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import number_types as fb
from flatbuffers.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.disk.facts import Facts
from mltkbuild.errors import SpecError, StageError
from mltkbuild.tflite.params import TAG, Typed, decode, embed, encode, extract, model_hash, run

from .. import warm

_F32_MAX = float(np.finfo(np.float32).max)
_KINDS = ["NONE", "boolean", "i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f32", "f64"]
_KINDS += ["str", "str_list", "int32_list", "float_list", "bin"]
_FLAGS = [fb.BoolFlags, fb.Int8Flags, fb.Uint8Flags, fb.Int16Flags, fb.Uint16Flags, fb.Int32Flags, fb.Uint32Flags]
_FLAGS += [fb.Int64Flags, fb.Uint64Flags, fb.Float32Flags, fb.Float64Flags]
_EXAMPLE: dict[str, object] = {
    "name": "kws",
    "version": 3,
    "classes": ["yes", "no"],
    "average_window_duration_ms": 500,
    "fe.scale": -0.5,
    "fe.shape": [1, -2, 3],
    "fe.gains": [0.5, 2.0],
    "fe.enabled": True,
    "blob": b"\x00\x01",
}

_text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=12)
_f32 = st.floats(width=32, allow_nan=False)
_i32 = st.integers(-(2**31), 2**31 - 1)
_values = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    _f32,
    _text,
    st.binary(max_size=40),
    st.lists(_text, max_size=5),
    st.lists(_i32, max_size=5),
    st.lists(_f32, max_size=5),
)
_parameters = st.dictionaries(_text.filter(bool), _values, max_size=8)


def _schema_read(data: bytes) -> dict[str, tuple[str, object]]:
    """Read a dictionary as MLTK's generated code does: by field numbers, with no checks."""
    root = Table(data, struct.unpack_from("<I", data)[0])
    assert data[root.Pos + root.Offset(4)] == 1
    entries: dict[str, tuple[str, object]] = {}
    for i in range(root.VectorLen(root.Offset(6))):
        entry = Table(data, root.Indirect(root.Vector(root.Offset(6)) + 4 * i))
        tag = entry.Get(fb.Uint8Flags, entry.Pos + entry.Offset(6))
        value = Table(b"", 0)
        entry.Union(value, entry.Offset(8))
        entries[entry.String(entry.Pos + entry.Offset(4)).decode()] = _KINDS[tag], _schema_value(value, tag)
    return entries


def _schema_value(value: Any, tag: int) -> object:
    at = value.Offset(4)
    if tag <= len(_FLAGS):
        return value.Get(_FLAGS[tag - 1], value.Pos + at)
    if _KINDS[tag] == "str":
        return value.String(value.Pos + at).decode()
    if _KINDS[tag] == "str_list":
        return [value.String(value.Vector(at) + 4 * i).decode() for i in range(value.VectorLen(at))]
    if _KINDS[tag] == "bin":
        return bytes(value.GetVectorAsNumpy(fb.Uint8Flags, at))
    return value.GetVectorAsNumpy(fb.Int32Flags if _KINDS[tag] == "int32_list" else fb.Float32Flags, at).tolist()


def _kind(value: object) -> str:
    return _schema_read(encode({"x": value}))["x"][0]


# --- the format


@given(_parameters)
def test_round_trip(parameters: dict[str, object]) -> None:
    """What was encoded is decoded: the same keys, values and Python types."""
    decoded = decode(encode(parameters))
    assert parameters == decoded
    assert {key: type(value) for key, value in parameters.items()} == {k: type(v) for k, v in decoded.items()}


@given(_parameters)
def test_layout_is_the_schema(parameters: dict[str, object]) -> None:
    """A reader made of the schema's field numbers alone finds every key and value, sorted by key."""
    read = _schema_read(encode(parameters))
    assert parameters == {key: value for key, (_, value) in read.items()}
    assert sorted(parameters) == list(read)


@given(_parameters, st.randoms(use_true_random=False))
def test_order_of_keys_is_no_input(parameters: dict[str, object], rng: random.Random) -> None:
    """The same parameters in another order give the same bytes."""
    keys = list(parameters)
    rng.shuffle(keys)
    assert encode(parameters) == encode({key: parameters[key] for key in keys})


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        ("boolean", [True, False, np.True_]),
        ("u8", [0, 255, np.int64(7), np.array(7)]),
        ("i8", [-1, -128]),
        ("u16", [256, 65535]),
        ("i16", [-129, -32768]),
        ("u32", [65536, 2**32 - 1]),
        ("i32", [-32769, -(2**31)]),
        ("u64", [2**32, 2**64 - 1]),
        ("i64", [-(2**31) - 1, -(2**63)]),
        ("f32", [0.0, -0.0, 1.5, -1.5, 0.1, _F32_MAX, -_F32_MAX, math.inf, -math.inf, math.nan, np.float64(2.0)]),
        ("f64", [1e39, -1e39, 1e-40, -1e-40]),
        ("str", ["", "é", PurePosixPath("a/b"), np.str_("x")]),
        ("str_list", [[], (), ["a"], np.array(["a", "b"])]),
        ("int32_list", [[1], (-1, 2), [True, 2], np.array([1, 2]), (np.int8(3),)]),
        ("float_list", [[1.0], [1, 2.5], [0.0, -1.0], np.array([0.5]), (np.float32(1),)]),
        ("bin", [b"", b"\x00", bytearray(b"x"), memoryview(b"x")]),
    ],
)
def test_chosen_type(kind: str, values: list[object]) -> None:
    """Values get MLTK's type for them, and 0.0 and negative floats get f32 as any other float."""
    assert [kind] * len(values) == [_kind(value) for value in values]


def test_zeros_are_written() -> None:
    """A negative zero keeps its sign, though it equals the default of its field."""
    assert math.copysign(1, -0.0) == math.copysign(1, float(str(decode(encode({"x": -0.0}))["x"])))


def test_nan_is_a_value() -> None:
    """NaN can be stored, alone and in a list."""
    decoded = decode(encode({"one": math.nan, "many": [math.nan, 1.0]}))
    assert str(decoded) == "{'many': [nan, 1.0], 'one': nan}"


def test_plain_values_of_subclasses() -> None:
    """An enum of integers is stored as its integer."""

    class Level(IntEnum):
        HIGH = 300

    assert _schema_read(encode({"x": Level.HIGH})) == {"x": ("u16", 300)}


@pytest.mark.parametrize(
    ("value", "name", "expected"),
    [
        (1, "bool", ("boolean", True)),
        (5, "int8", ("i8", 5)),
        (5.0, "uint8", ("u8", 5)),
        (5, "int16", ("i16", 5)),
        (5, "uint16", ("u16", 5)),
        (np.uint8(5), "int32", ("i32", 5)),
        (5, "uint32", ("u32", 5)),
        (5, "int64", ("i64", 5)),
        (5, "uint64", ("u64", 5)),
        (1, "float", ("f32", 1.0)),
        (0.1, "double", ("f64", 0.1)),
        ("a", "str", ("str", "a")),
        ((), "int32_list", ("int32_list", [])),
        ([1, 2], "float_list", ("float_list", [1.0, 2.0])),
        (["a"], "str_list", ("str_list", ["a"])),
        (b"a", "bin", ("bin", b"a")),
    ],
)
def test_explicit_type(value: object, name: str, expected: tuple[str, object]) -> None:
    """`Typed` stores a value as the named type."""
    assert {"x": expected} == _schema_read(encode({"x": Typed(value, name)}))


@pytest.mark.parametrize(
    "value",
    [
        *(None, {}, {1}, 1j, [None], [[1]], ["a", 1], np.zeros((2, 2)), [b"a"], len),
        *(2**64, -(2**63) - 1, [2**31], [1.0, 1e39], [1.0, 10**400], "a\0b", "\ud800", ["a\0"]),
        *(Typed(1, "int7"), Typed(300, "uint8"), Typed(-1, "uint8"), Typed(0.5, "int8"), Typed(math.nan, "int8")),
        *(Typed(2, "bool"), Typed(1e39, "float"), Typed(10**400, "double"), Typed("1", "int8"), Typed(1, "str")),
        *(Typed(1, "int32_list"), Typed([1.5], "int32_list"), Typed(["a"], "float_list"), Typed(5, "bin")),
        *(Typed(None, "bool"), Typed(Typed(1, "int8"), "int8"), pytest.param(object(), id="object")),
    ],
    ids=lambda value: repr(value)[:40].replace("\0", "NUL").encode("ascii", "replace").decode(),
)
def test_refused_value(value: object) -> None:
    """A value that can't be stored is an error of the spec that names the key, the value found and a fix."""
    with pytest.raises(SpecError) as caught:
        encode({"good": 1, "fe.x": value})
    assert "'fe.x'" in str(caught.value)
    assert caught.value.found
    assert caught.value.fix


@pytest.mark.parametrize("key", [1, None, "", b"a", "a\0", "\ud800"], ids=repr)
def test_refused_key(key: Any) -> None:
    """A key that firmware can't look up is an error of the spec."""
    with pytest.raises(SpecError):
        encode({"good": 1, key: 1})


def test_error_text() -> None:
    """The text of an error says which element of which parameter, what it is, and what to do."""
    with pytest.raises(SpecError) as caught:
        encode({"fe.gains": [1, 2**40]})
    assert str(caught.value) == (
        "parameter 'fe.gains', element 1, must be a whole number from -2147483648 to 2147483647 to be stored as"
        " int32.\n"
        "  found: 1099511627776 (int)\n"
        "  fix:   give a number in that range, or another type: a float or a str."
    )


# --- damaged bytes


def _decoded_or_refused(data: bytes) -> None:
    try:
        decode(data)
    except StageError as error:
        assert error.fix  # noqa: PT017  # either outcome is right; no other exception is


@given(_parameters, st.data())
def test_truncated_bytes(parameters: dict[str, object], data: st.DataObject) -> None:
    """A cut dictionary is read or refused, nothing else."""
    encoded = encode(parameters)
    _decoded_or_refused(encoded[: data.draw(st.integers(0, len(encoded) - 1))])


@settings(max_examples=500)
@given(_parameters, st.lists(st.tuples(st.integers(0), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits(parameters: dict[str, object], flips: list[tuple[int, int]]) -> None:
    """A dictionary with flipped bits is read or refused, nothing else."""
    encoded = bytearray(encode(parameters))
    for place, bit in flips:
        encoded[place % len(encoded)] ^= 1 << bit
    _decoded_or_refused(bytes(encoded))


@given(st.binary(max_size=200))
def test_random_bytes(data: bytes) -> None:
    """Bytes of another format are read or refused, nothing else."""
    _decoded_or_refused(data)


@pytest.mark.parametrize("data", [b"", b"\0" * 64, b"\xff" * 64, b"PK\3\4" + b"\0" * 60])
def test_foreign_bytes(data: bytes) -> None:
    """Bytes that can't be a dictionary are refused."""
    with pytest.raises(StageError):
        decode(data)


def test_shared_string_bomb() -> None:
    """A small file whose many list elements all point to one long string is refused before it fills the memory."""
    builder = flatbuffers.Builder(1024)
    key, text = builder.CreateString("x"), builder.CreateString("a" * 50_000)
    builder.StartVector(4, 50_000, 4)
    for _ in range(50_000):
        builder.PrependUOffsetTRelative(text)
    data = _finish(builder, key, 13, builder.EndVector())
    with pytest.raises(StageError, match="damaged"):
        decode(data)


def _finish(builder: Any, key: int, tag: int, data: int, version: int = 1) -> bytes:
    builder.StartObject(1)
    builder.PrependUOffsetTRelativeSlot(0, data, 0)
    value = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(0, key, 0)
    builder.PrependUint8Slot(1, tag, 0)
    builder.PrependUOffsetTRelativeSlot(2, value, 0)
    entry = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(entry)
    entries = builder.EndVector()
    builder.StartObject(2)
    builder.PrependUint8Slot(0, version, 0)
    builder.PrependUOffsetTRelativeSlot(1, entries, 0)
    builder.Finish(builder.EndObject())
    return bytes(builder.Output())


@pytest.mark.parametrize(("tag", "version"), [(0, 1), (17, 1), (12, 0), (12, 2)])
def test_unknown_type_or_version(tag: int, version: int) -> None:
    """A value type or a schema version that we don't know is refused, and version 1 with a str is read."""
    builder = flatbuffers.Builder(64)
    key, text = builder.CreateString("x"), builder.CreateString("y")
    with pytest.raises(StageError):
        decode(_finish(builder, key, tag, text, version))
    builder = flatbuffers.Builder(64)
    key, text = builder.CreateString("x"), builder.CreateString("y")
    assert decode(_finish(builder, key, 12, text)) == {"x": "y"}


def test_reads_what_mltk_writes() -> None:
    """A dictionary whose fields are left out where they have their default value is read, as MLTK writes it."""
    builder = flatbuffers.Builder(64)
    key = builder.CreateString("x")
    builder.StartObject(1)
    value = builder.EndObject()
    builder.StartObject(3)
    builder.PrependUOffsetTRelativeSlot(2, value, 0)
    builder.PrependUOffsetTRelativeSlot(0, key, 0)
    builder.PrependUint8Slot(1, 3, 0)
    entry = builder.EndObject()
    builder.StartVector(4, 1, 4)
    builder.PrependUOffsetTRelative(entry)
    entries = builder.EndVector()
    builder.StartObject(2)
    builder.PrependUOffsetTRelativeSlot(1, entries, 0)
    builder.PrependUint8Slot(0, 1, 0)
    builder.Finish(builder.EndObject())
    assert decode(bytes(builder.Output())) == {"x": 0}


# --- the model, made by hand


def _pack(model: Any) -> bytes:
    builder = flatbuffers.Builder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


def _unpack(tflite: bytes) -> Any:
    return schema.ModelT.InitFromObj(schema.Model.GetRootAs(tflite, 0))


def _tiny(change: Callable[[Any], None] = lambda model: None) -> bytes:
    tensors = [schema.TensorT(shape=[3], type=9, buffer=1, name=b"weights")]
    graph = schema.SubGraphT(tensors=tensors, inputs=[], outputs=[0], operators=[schema.OperatorT(inputs=[0])])
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT()],
        subgraphs=[graph],
        description=b"old",
        buffers=[schema.BufferT(), schema.BufferT(data=[7, 8, 9]), schema.BufferT(data=[1] * 5)],
        metadata=[schema.MetadataT(name=b"min_runtime_version", buffer=2)],
    )
    change(model)
    return _pack(model)


def _buffers(tflite: bytes) -> list[bytes | None]:
    return [None if buffer.data is None else bytes(buffer.data) for buffer in _unpack(tflite).buffers]


def _metadata(tflite: bytes) -> list[tuple[bytes, int]]:
    return [(entry.name, entry.buffer) for entry in _unpack(tflite).metadata]


def _misaligned(tflite: bytes) -> list[int]:
    model = schema.Model.GetRootAs(tflite, 0)
    tables = [model.Buffers(i)._tab for i in range(model.BuffersLength())]
    starts = [table.Vector(table.Offset(4)) for table in tables if table.Offset(4)]
    return [start for start in starts if start % 16]


def test_embed_appends() -> None:
    """The first embedding appends one buffer and one metadata entry, and moves no index."""
    embedded = embed(_tiny(), _EXAMPLE)
    assert [None, bytes([7, 8, 9]), b"\1" * 5, encode(_EXAMPLE)] == _buffers(embedded)
    assert [(b"min_runtime_version", 2), (TAG.encode(), 3)] == _metadata(embedded)
    assert embedded[4:8] == b"TFL3"
    assert _misaligned(embedded) == []
    assert extract(embedded) == _EXAMPLE


def test_description() -> None:
    """A description replaces the model's own; None keeps it."""
    assert _unpack(embed(_tiny(), {})).description == b"old"
    assert "größer".encode() == _unpack(embed(_tiny(), {}, "größer")).description
    with pytest.raises(SpecError, match="description"):
        embed(_tiny(), {}, "a\0b")


def test_embed_twice() -> None:
    """Embedding the same once more gives the same bytes; embedding others is as if the first had never been there."""
    once = embed(_tiny(), _EXAMPLE, "text")
    assert once == embed(once, _EXAMPLE, "text")
    assert once == embed(embed(_tiny(), {"big": b"x" * 4096}), _EXAMPLE, "text")


def test_replaced_in_place() -> None:
    """A file with the entry in the middle keeps it there; duplicates of it go, and a shared buffer is left alone."""

    def middle(model: Any) -> None:
        model.metadata.insert(0, schema.MetadataT(name=TAG.encode(), buffer=3))
        model.metadata.append(schema.MetadataT(name=TAG.encode(), buffer=4))
        model.buffers += [schema.BufferT(data=[1]), schema.BufferT(data=[2])]

    embedded = embed(_tiny(middle), {"a": 1})
    assert [(TAG.encode(), 3), (b"min_runtime_version", 2)] == _metadata(embedded)
    assert [None, bytes([7, 8, 9]), b"\1" * 5, encode({"a": 1}), None] == _buffers(embedded)

    def shared(model: Any) -> None:
        model.metadata.insert(0, schema.MetadataT(name=TAG.encode(), buffer=1))

    embedded = embed(_tiny(shared), {"a": 1})
    assert [(TAG.encode(), 3), (b"min_runtime_version", 2)] == _metadata(embedded)
    assert [None, bytes([7, 8, 9]), b"\1" * 5, encode({"a": 1})] == _buffers(embedded)


def test_bare_model() -> None:
    """A model without metadata and buffers gets both, and buffer 0 stays the empty one."""

    def bare(model: Any) -> None:
        model.metadata = model.buffers = None

    embedded = embed(_tiny(bare), {"a": 1})
    assert [None, encode({"a": 1})] == _buffers(embedded)
    assert extract(_tiny(bare)) == {}


@pytest.mark.parametrize("place", ["buffer", "option", "file"])
def test_outside_data_is_refused(place: str) -> None:
    """A model that keeps data outside the flatbuffer is refused, since a repack would lose it."""

    def outside(model: Any) -> None:
        if place == "buffer":
            model.buffers[1].offset, model.buffers[1].size = 4096, 3
        elif place == "option":
            model.subgraphs[0].operators[0].largeCustomOptionsOffset = 4096
        else:
            model.externalBuffers = [schema.ExternalBufferT()]

    with pytest.raises(StageError, match="outside its flatbuffer"):
        embed(_tiny(outside), {})


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"\0\0\0\0TFL3", b"\xff\xff\xff\x7fTFL3" + b"\0" * 40])
def test_no_model(data: bytes) -> None:
    """Bytes that are no model are refused."""
    with pytest.raises(StageError):
        embed(data, {})
    with pytest.raises(StageError):
        extract(data)


def test_damaged_entry() -> None:
    """A metadata entry whose buffer is missing or holds something else is refused by `extract`, not read as none."""
    for index in (0, 1, 99):

        def wrong(model: Any, index: int = index) -> None:
            model.metadata.append(schema.MetadataT(name=TAG.encode(), buffer=index))

        with pytest.raises(StageError):
            extract(_tiny(wrong))
        assert extract(embed(_tiny(wrong), {"a": 1})) == {"a": 1}


def test_hash() -> None:
    """The hash is the MD5 of the file with an empty hash, whatever hash is given, and any other change moves it."""
    expected = hashlib.md5(embed(_tiny(), {"a": 1, "hash": ""}, "d")).hexdigest()
    assert expected == model_hash(_tiny(), {"a": 1}, "d")
    assert expected == model_hash(_tiny(), {"hash": "xyz", "a": 1}, "d")
    others = [model_hash(_tiny(), {"a": 2}, "d"), model_hash(_tiny(), {"a": 1}, "e")]
    assert expected not in others


# --- the stage


def _run(tmp_path: Path, **changes: Any) -> tuple[Facts, bytes]:
    converted, scratch = tmp_path / "converted.tflite", tmp_path / "scratch.tflite"
    converted.write_bytes(_tiny())
    values: dict[str, Any] = {
        "name": "kws",
        "version": 2,
        "classes": ["yes"],
        "description": "text",
        "parameters": {"fe.x": 1},
    }
    report = run(converted, scratch, **values | changes)
    return report, scratch.read_bytes()


def test_run(tmp_path: Path) -> None:
    """The stage adds name, version, classes and hash to the user's parameters, and reports what it wrote."""
    report, written = _run(tmp_path)
    assert {"classes": ["yes"], "fe.x": 1, "hash": report["hash"], "name": "kws", "version": 2} == extract(written)
    assert {"parameters": 5, "bytes": len(written), "hash": model_hash(written, extract(written), "text")} == report
    assert _unpack(written).description == b"text"
    assert (report, written) == _run(tmp_path)


def test_run_classes(tmp_path: Path) -> None:
    """Classes are left out when there are none, are a list of strings even when empty, and may be replaced."""
    assert "classes" not in extract(_run(tmp_path, classes=None)[1])
    assert extract(_run(tmp_path, classes=())[1])["classes"] == []
    assert extract(_run(tmp_path, parameters={"classes": ["no"]})[1])["classes"] == ["no"]


@pytest.mark.parametrize("key", ["name", "version", "hash"])
def test_run_reserved(tmp_path: Path, key: str) -> None:
    """A parameter that only the build sets is an error of the spec, and nothing is written."""
    with pytest.raises(SpecError, match=f"'{key}' is set by the build"):
        _run(tmp_path, parameters={key: "x"})
    assert not (tmp_path / "scratch.tflite").exists()


# --- a converted model

_CONVERT = """
import sys
import keras
import numpy as np
import tensorflow as tf

keras.utils.set_random_seed(1)
model = keras.Sequential([
    keras.Input((12, 12, 1)),
    keras.layers.Conv2D(5, 3, activation="relu"),
    keras.layers.DepthwiseConv2D(3, padding="same"),
    keras.layers.GlobalAveragePooling2D(),
    keras.layers.Dense(3, activation="softmax"),
])
rng = np.random.default_rng(1)
model.export(
    sys.argv[1],
    format="litert",
    verbose=False,
    input_signature=[keras.InputSpec(shape=(1, 12, 12, 1), dtype="float32")],
    optimizations=[tf.lite.Optimize.DEFAULT],
    representative_dataset=lambda: ([rng.random((1, 12, 12, 1), dtype=np.float32)] for _ in range(20)),
    target_spec={"supported_ops": [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]},
    inference_input_type=tf.int8,
    inference_output_type=tf.int8,
)
"""


@pytest.fixture(scope="module")
def converted(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A small int8 conv model, converted in another process, so that this one imports no TensorFlow."""
    path = tmp_path_factory.mktemp("converted") / "model.tflite"
    warm.python(_CONVERT, str(path))
    return path.read_bytes()


def _samples() -> Any:
    return np.random.default_rng(2).integers(-128, 128, (25, 1, 12, 12, 1), dtype=np.int8)


def _litert_outputs(tflite: bytes) -> list[list[int]]:
    from ai_edge_litert.interpreter import Interpreter  # noqa: PLC0415  # only the real tests need it

    interpreter = Interpreter(model_content=tflite)
    interpreter.allocate_tensors()
    outputs = []
    for sample in _samples():
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], sample)
        interpreter.invoke()
        outputs.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"]).ravel().tolist())
    return outputs


def _micro_outputs(tflite: bytes) -> list[list[int]]:
    runtime = pytest.importorskip("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(tflite)
    outputs = []
    for sample in _samples():
        interpreter.set_input(sample, 0)
        interpreter.invoke()
        outputs.append(interpreter.get_output(0).ravel().tolist())
    return outputs


def _meaning(value: Any) -> object:
    """A model of the object API as plain values that can be compared."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, list):
        return [_meaning(element) for element in value]
    return {key: _meaning(field) for key, field in vars(value).items()} if hasattr(value, "__dict__") else value


@pytest.mark.real
@pytest.mark.parametrize("outputs", [_litert_outputs, _micro_outputs])
def test_real_outputs(converted: bytes, outputs: Callable[[bytes], list[list[int]]]) -> None:
    """The model with parameters computes bit for bit what it computed without."""
    before = outputs(converted)
    assert len({tuple(row) for row in before}) > 1
    assert before == outputs(embed(converted, _EXAMPLE, "a model"))


@pytest.mark.real
def test_real_alignment(converted: bytes) -> None:
    """Every buffer begins at a multiple of 16 bytes, for parameters of any length."""
    assert [start for n in range(20) for start in _misaligned(embed(converted, {"x": b"a" * n}, "d" * n))] == []


@pytest.mark.real
def test_real_meaning(converted: bytes) -> None:
    """Apart from the parameters and the description, all fields are as they were, the other metadata included."""
    embedded = embed(converted, _EXAMPLE, "a model")
    before, after = _unpack(converted), _unpack(embedded)
    assert after.description == b"a model"
    names = [entry.name for entry in before.metadata]
    assert b"min_runtime_version" in names
    assert [*names, TAG.encode()] == [entry.name for entry in after.metadata]
    assert encode(_EXAMPLE) == bytes(after.buffers[after.metadata.pop().buffer].data)
    after.buffers.pop()
    after.description = before.description
    assert _meaning(before) == _meaning(after)


@pytest.mark.real
def test_real_idempotence(converted: bytes) -> None:
    """Embedding is deterministic and idempotent, and other parameters of the same length replace without growth."""
    once = embed(converted, _EXAMPLE, "a model")
    assert once == embed(converted, _EXAMPLE, "a model")
    assert once == embed(once, _EXAMPLE, "a model")
    other = embed(once, {**_EXAMPLE, "name": "abc"}, "a model")
    assert len(once) == len(other)
    assert once == embed(other, _EXAMPLE, "a model")


@pytest.mark.real
def test_real_damage(converted: bytes) -> None:
    """A model cut anywhere or with flipped bits is read or refused, nothing else."""
    embedded = embed(converted, _EXAMPLE)
    rng = random.Random(3)
    for _ in range(300):
        damaged = bytearray(embedded)
        damaged[rng.randrange(len(damaged))] ^= 1 << rng.randrange(8)
        try:
            extract(bytes(damaged[: rng.randrange(8, 2 * len(damaged))]))
        except StageError as error:
            assert error.fix  # noqa: PT017  # either outcome is right; no other exception is
