"""Files that strangers could give: makers of a table that `test_hostile.py` runs through the commands.

Each is written from what the formats allow. None does harm: what would run writes a file `MARK` beside it.
"""

from __future__ import annotations

import base64
import io
import json
import marshal
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import flatbuffers
import h5py
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mltkbuild.tflite import flatbuffer

from .tflite.test_micro import dense_model

ESCAPES = "\x1b]0;owned\x07\x1b[2J\n\rforged: line\u202e"
Make = Callable[[Path, Path], object]
"""Writes a file; the second path is that of a good file of its kind."""

# -- Keras models ----------------------------------------------------------------------------------------------------


def keras_file(change: Callable[[dict[str, Any], Path], Any]) -> Make:
    """A `.keras` file with another config."""

    def make(path: Path, good: Path) -> None:
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w") as target:
            for name in source.namelist():
                content = source.read(name)
                if name == "config.json":
                    config = json.loads(content)
                    content = json.dumps(change(config, path) or config).encode()
                target.writestr(name, content)

    return make


def lambda_node(path: Path) -> dict[str, Any]:
    """Code that Keras would run."""
    text = f"lambda tensor: __import__('pathlib').Path({str(path.parent / 'MARK')!r}).write_text('ran') and tensor"
    code = base64.b64encode(marshal.dumps(eval(text).__code__)).decode()
    return {
        "class_name": "__lambda__",
        "config": {"code": code, "value": [code, None, None], "defaults": None, "closure": None},
    }


def node(module: str | None, name: str, config: Any, registered: str | None = None) -> dict[str, Any]:
    """Something for Keras to make."""
    return {"module": module, "class_name": name, "config": config, "registered_name": registered}


def dense(config: dict[str, Any]) -> dict[str, Any]:
    """The config of the model's dense layer."""
    found: dict[str, Any] = next(layer for layer in config["config"]["layers"] if layer["class_name"] == "Dense")
    return found


def as_layer(what: Callable[[Path], Any]) -> Make:
    """Something else in place of a layer."""
    return keras_file(lambda config, path: config["config"]["layers"].__setitem__(-1, what(path)))


def as_setting(key: str, what: Callable[[Path], Any]) -> Make:
    """Something else in place of a setting of a layer."""
    return keras_file(lambda config, path: dense(config)["config"].__setitem__(key, what(path)))


def as_compiled(key: str, what: Callable[[Path], Any]) -> Make:
    """Something else in what the model is compiled with."""

    def change(config: dict[str, Any], path: Path) -> None:
        config["compile_config"] = {**(config.get("compile_config") or {}), key: what(path)}

    return keras_file(change)


CALLS: Mapping[str, tuple[str, str, Any]] = {
    "builtins.eval": ("builtins", "eval", {"source": "1"}),
    "builtins.exec": ("builtins", "exec", {"source": "1"}),
    "builtins.open": ("builtins", "open", {"file": "MARK", "mode": "w"}),
    "os.system": ("os", "system", {"command": "touch MARK"}),
    "os.mkdir": ("os", "mkdir", {"path": "MARK"}),
    "subprocess.Popen": ("subprocess", "Popen", {"args": ["touch", "MARK"]}),
    "shutil.rmtree": ("shutil", "rmtree", {"path": "canaries"}),
    "importlib.import_module": ("importlib", "import_module", {"name": "antigravity"}),
    "pathlib.Path": ("pathlib", "Path", {}),
    "keras.utils.get_file": ("keras.utils", "get_file", {"fname": "MARK", "origin": "http://127.0.0.1:9/x"}),
    "keras.config": ("keras.config", "enable_unsafe_deserialization", {}),
    "keras.saving.load_model": ("keras.saving", "load_model", {"filepath": "other.keras", "safe_mode": False}),
    "keras.src": ("keras.src.saving.serialization_lib", "enable_unsafe_deserialization", {}),
    "keras.src.python_utils": ("keras.src.utils.python_utils", "func_load", {"code": ""}),
    "numpy.load": ("numpy", "load", {"file": "x.npy", "allow_pickle": True}),
    "tensorflow.py_function": ("tensorflow", "py_function", {}),
    "our own command": ("mltkbuild.cli.main", "main", {}),
    "keras_hub": ("keras_hub.models", "Task", {"preset": "x"}),
}


def keras_files() -> Iterator[tuple[str, Make]]:
    """`.keras` files with configs that name what they shouldn't."""
    for what, (module, name, config) in CALLS.items():
        yield f"{what} as a layer", as_layer(lambda _, item=(module, name, config): node(*item))  # type: ignore[misc]
        yield (
            f"{what} as an activation",
            as_setting("activation", lambda _, item=(module, name): node(item[0], "function", item[1], item[1])),  # type: ignore[misc]
        )
    for key in ("kernel_initializer", "kernel_regularizer", "kernel_constraint"):
        yield f"os.system as a {key}", as_setting(key, lambda _: node("os", "system", {"command": "touch MARK"}))
        yield f"a lambda as a {key}", as_setting(key, lambda_node)
    for key in ("loss", "optimizer", "metrics"):
        yield f"a lambda as {key}", as_compiled(key, lambda_node)
    yield "a lambda as an activation", as_setting("activation", lambda_node)
    layer = {"name": "code", "trainable": True, "dtype": "float32", "output_shape": [2], "mask": None, "arguments": {}}
    yield (
        "a Lambda layer",
        as_layer(lambda path: node("keras.layers", "Lambda", {**layer, "function": lambda_node(path)})),
    )
    yield (
        "a Lambda in a model in it",
        as_layer(
            lambda path: node(
                "keras", "Sequential",
                {"name": "s", "layers": [node("keras.layers", "Lambda", {**layer, "function": lambda_node(path)})]},
            )
        ),
    )  # fmt: skip
    yield (
        "a Lambda under another name",
        as_layer(
            lambda path: node("keras.layers", "Lambda", {**layer, "function": lambda_node(path)}, "Custom>Lambda")
        ),
    )
    yield (
        "a saved model of another format",
        as_layer(lambda path: node("keras.layers", "TFSMLayer", {"filepath": str(path.parent), "name": "t"})),
    )
    yield (
        "a module of torch",
        as_layer(
            lambda path: node(
                "keras.layers", "TorchModuleWrapper", {"module": base64.b64encode(b"cos\nsystem").decode()}
            )
        ),
    )
    for name in ("StringLookup", "IntegerLookup", "TextVectorization"):
        yield (
            f"{name} of a file elsewhere",
            as_layer(
                lambda path, name=name: node("keras.layers", name, {"name": "v", "vocabulary": "/etc/passwd"})  # type: ignore[misc]
            ),
        )
    yield "a config that is a list", keras_file(lambda config, path: [config])
    yield "a config without layers", keras_file(lambda config, path: config["config"].pop("layers") and None)
    yield "layers that are numbers", keras_file(lambda config, path: config["config"].__setitem__("layers", [1, 2]))
    yield "a layer of a thousand million units", as_setting("units", lambda _: 10**9)
    yield "a layer of minus one unit", as_setting("units", lambda _: -1)
    yield "names of control characters", keras_file(lambda config, path: dense(config)["config"].update(name=ESCAPES))


def zipped(*members: tuple[str, bytes]) -> Make:
    """A `.keras` file with more members."""

    def make(path: Path, good: Path) -> None:
        with zipfile.ZipFile(good) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
            given = {name for name, _ in members}
            for name in source.namelist():
                if name not in given:
                    target.writestr(name, source.read(name))
            for name, content in members:
                target.writestr(name, content)

    return make


def with_weights(change: Callable[[h5py.File, Path], None]) -> Make:
    """A `.keras` file with other weights."""

    def make(path: Path, good: Path) -> None:
        with zipfile.ZipFile(good) as source:
            weights = io.BytesIO(source.read("model.weights.h5"))
        with h5py.File(weights, "r+") as file:
            change(file, path)
        zipped(("model.weights.h5", weights.getvalue()))(path, good)

    return make


def _first(file: h5py.File) -> str:
    """The path of the first array in a file."""
    found: list[str] = []
    file.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return found[0]


def _instead(file: h5py.File, value: Any) -> None:
    name = _first(file)
    del file[name]
    file[name] = value


def _virtual(file: h5py.File, path: Path) -> None:
    layout = h5py.VirtualLayout(shape=(4, 2), dtype="f4")
    layout[:] = h5py.VirtualSource(str(path.parent / "other.h5"), "x", shape=(4, 2))
    name = _first(file)
    del file[name]
    file.create_virtual_dataset(name, layout)


def _external(file: h5py.File, path: Path) -> None:
    name = _first(file)
    del file[name]
    file.create_dataset(name, (4, 2), "f4", external=[("/etc/passwd", 0, 32)])


def _huge(file: h5py.File, path: Path) -> None:
    name = _first(file)
    del file[name]
    file.create_dataset(name, (1 << 15, 1 << 15), "f4", chunks=(1 << 10, 1 << 10), compression="gzip")


def _circle(file: h5py.File, path: Path) -> None:
    file["circle"] = file["/"]


def archives() -> Iterator[tuple[str, Make]]:
    """`.keras` files that are odd as zip or HDF5 files."""
    yield "a config of 900 MB", zipped(("config.json", b" " * 900_000_000))
    yield "a config that is nested deep", zipped(("config.json", b"[" * 200_000 + b"]" * 200_000))
    yield "a config that is no JSON", zipped(("config.json", b"\xff\xfe"))
    yield "a member that climbs out", zipped(("assets/../../../MARK", b"x"))
    yield "a member with an absolute path", zipped(("/tmp/mltkbuild-MARK", b"x"))
    yield "no zip at all", lambda path, good: path.write_bytes(b"PK\x03\x04" + bytes(100))
    yield "half a file", lambda path, good: path.write_bytes(good.read_bytes()[:-700])
    yield from _elsewhere("weights", with_weights)
    yield "weights in a circle", with_weights(_circle)


def _elsewhere(what: str, changed: Callable[[Callable[[h5py.File, Path], None]], Make]) -> Iterator[tuple[str, Make]]:
    """HDF5 whose arrays lie elsewhere, or claim to be larger than they are."""
    yield (
        f"{what} behind a link to a file",
        changed(lambda file, path: _instead(file, h5py.ExternalLink("/etc/passwd", "/x"))),
    )
    yield f"{what} behind a soft link", changed(lambda file, path: _instead(file, h5py.SoftLink("/elsewhere")))
    yield f"{what} of other files together", changed(_virtual)
    yield f"{what} stored in another file", changed(_external)
    yield f"{what} of four gigabytes", changed(_huge)


def h5_file(change: Callable[[h5py.File, Path], None]) -> Make:
    """An `.h5` file as Keras 2 saved it, changed."""

    def make(path: Path, good: Path) -> None:
        path.write_bytes(good.with_suffix(".h5").read_bytes())
        with h5py.File(path, "r+") as file:
            change(file, path)

    return make


def _old_config(change: Callable[[dict[str, Any], Path], Any]) -> Callable[[h5py.File, Path], None]:
    def changed(file: h5py.File, path: Path) -> None:
        config = json.loads(file.attrs["model_config"])
        change(config, path)
        file.attrs["model_config"] = json.dumps(config)

    return changed


def _old_lambda(config: dict[str, Any], path: Path) -> None:
    code = lambda_node(path)["config"]["code"]
    layer = {"name": "code", "trainable": True, "dtype": "float32", "function": [code, None, None]}
    kinds = {"function_type": "lambda", "module": "builtins", "output_shape": None, "output_shape_type": "raw"}
    config["config"]["layers"][-1] = {"class_name": "Lambda", "config": {**layer, **kinds, "arguments": {}}}


def old_files() -> Iterator[tuple[str, Make]]:
    """`.h5` files of Keras 2."""
    yield "a Lambda in an h5", h5_file(_old_config(_old_lambda))
    yield "os.system in an h5", h5_file(
        _old_config(lambda config, path: config["config"]["layers"].__setitem__(
            -1, {"class_name": "os>system", "module": "os", "config": {"command": "touch MARK"}}))
    )  # fmt: skip
    yield from _elsewhere("an h5", h5_file)
    yield "an h5 without a config", h5_file(lambda file, path: file.attrs.__delitem__("model_config"))
    yield "an h5 with a config that is no JSON", h5_file(lambda file, path: file.attrs.__setitem__("model_config", "{"))
    yield "half an h5", lambda path, good: path.write_bytes(good.with_suffix(".h5").read_bytes()[:3000])


# -- TensorFlow Lite -------------------------------------------------------------------------------------------------


def tflite(change: Callable[[Any], object]) -> Make:
    """A model of one dense layer, with something changed."""

    def make(path: Path, good: Path) -> None:
        model = flatbuffer.load(dense_model())
        change(model)
        path.write_bytes(flatbuffer.pack(model))

    return make


def unfolding(subgraphs: int, tensors: int, sizes: int) -> Make:
    """A model whose subgraphs are one, with tensors that are one, of a shape that is one."""

    def make(path: Path, good: Path) -> None:
        builder = flatbuffers.Builder(1024)
        builder.StartVector(4, sizes, 4)
        for _ in range(sizes):
            builder.PrependInt32(1)
        shape = builder.EndVector()
        schema.TensorStart(builder)
        schema.TensorAddShape(builder, shape)
        items = _repeated(builder, schema.TensorEnd(builder), tensors)
        schema.SubGraphStart(builder)
        schema.SubGraphAddTensors(builder, items)
        items = _repeated(builder, schema.SubGraphEnd(builder), subgraphs)
        schema.ModelStart(builder)
        schema.ModelAddSubgraphs(builder, items)
        builder.Finish(schema.ModelEnd(builder), file_identifier=b"TFL3")
        path.write_bytes(bytes(builder.Output()))

    return make


def _repeated(builder: flatbuffers.Builder, item: int, count: int) -> int:
    builder.StartVector(4, count, 4)
    for _ in range(count):
        builder.PrependUOffsetTRelative(item)
    return int(builder.EndVector())


def _shape(place: int, *sizes: int) -> Callable[[Any], object]:
    return lambda model: setattr(model.subgraphs[0].tensors[place], "shape", np.array(sizes, np.int32))


def _one_buffer(model: Any) -> None:
    """Thousands of tensors that name one large buffer."""
    model.buffers[1].data = np.zeros(1 << 20, np.uint8)
    model.subgraphs[0].tensors += [model.subgraphs[0].tensors[1]] * 4_000


def _names(model: Any) -> None:
    model.description = ESCAPES.encode()
    for tensor in model.subgraphs[0].tensors:
        tensor.name = ESCAPES.encode()


def _custom(model: Any) -> None:
    code = model.operatorCodes[0]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.builtinCode, code.deprecatedBuiltinCode, code.customCode = schema.BuiltinOperator.CUSTOM, 32, ESCAPES.encode()


def _calls_itself(model: Any) -> None:
    code = schema.BuiltinOperator.CALL_ONCE
    model.operatorCodes[0].builtinCode, model.operatorCodes[0].deprecatedBuiltinCode = code, min(code, 127)
    operator = model.subgraphs[0].operators[0]
    operator.builtinOptionsType = schema.BuiltinOptions.CallOnceOptions
    operator.builtinOptions = schema.CallOnceOptionsT(initSubgraphIndex=0)


def _outside(model: Any) -> None:
    model.buffers[1].offset, model.buffers[1].size = 1 << 40, 1 << 40


def _scales(*values: float) -> Callable[[Any], object]:
    def change(model: Any) -> None:
        for tensor in model.subgraphs[0].tensors:
            tensor.type = schema.TensorType.INT8
            tensor.quantization = schema.QuantizationParametersT(
                scale=np.array(values, np.float32),
                zeroPoint=np.array([0] * len(values), np.int64),
                quantizedDimension=7,
            )

    return change


def tflite_files() -> Iterator[tuple[str, Make]]:
    """`.tflite` files that lie about what they hold."""
    yield "shared a million times", unfolding(1000, 1000, 1000)
    yield "shared in one long list", unfolding(1, 200_000, 4)
    yield "one buffer for 4,000 tensors", tflite(_one_buffer)
    yield "an input without elements", tflite(_shape(0, 1, 0))
    yield "weights without elements", tflite(_shape(1, 0, 4))
    yield "an output without elements", tflite(_shape(2, 0, 2))
    yield "an input of two thousand million", tflite(_shape(0, 2**31 - 1, 2**31 - 1))
    yield "a size of minus five", tflite(_shape(0, -5, 4))
    yield "weights larger than their bytes", tflite(_shape(1, 2000, 4))
    yield "the input 77", tflite(lambda model: setattr(model.subgraphs[0], "inputs", np.array([77], np.int32)))
    yield (
        "the operator's input 77",
        tflite(lambda model: setattr(model.subgraphs[0].operators[0], "inputs", np.array([0, 77, -1], np.int32))),
    )
    yield "the operator code 77", tflite(lambda model: setattr(model.subgraphs[0].operators[0], "opcodeIndex", 77))
    yield "the buffer 77", tflite(lambda model: setattr(model.subgraphs[0].tensors[1], "buffer", 77))
    yield "the type 77", tflite(lambda model: setattr(model.subgraphs[0].tensors[1], "type", 77))
    yield "an unknown operator", tflite(lambda model: setattr(model.operatorCodes[0], "builtinCode", 9999))
    yield "a subgraph that calls itself", tflite(_calls_itself)
    yield "weights outside of the file", tflite(_outside)
    yield "a step of nothing", tflite(_scales(0.0))
    yield "a step that is no number", tflite(_scales(float("nan")))
    yield "steps along an axis that isn't there", tflite(_scales(1.0, 2.0, 3.0))
    yield "names of control characters", tflite(_names)
    yield "an operator of control characters", tflite(_custom)
    yield "no subgraph", tflite(lambda model: setattr(model, "subgraphs", []))
    for part in (0, 7, 9, 60, 333):
        yield f"{part} bytes", lambda path, good, part=part: path.write_bytes(dense_model()[:part])  # type: ignore[misc]
    yield "ones", lambda path, good: path.write_bytes(b"\xff\xff\xff\x7fTFL3" + b"\xff" * 4000)


# -- samples ---------------------------------------------------------------------------------------------------------


def header(shape: str, descr: str = "'<f4'", version: bytes = b"\x01\x00") -> bytes:
    """The beginning of a `.npy` file."""
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}".encode()
    text += b" " * (-(len(text) + 11) % 64) + b"\n"
    return b"\x93NUMPY" + version + struct.pack("<H" if version == b"\x01\x00" else "<I", len(text)) + text


def npz(**members: bytes) -> Make:
    """A `.npz` of these bytes."""

    def make(path: Path, good: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(f"{name}.npy", content)

    return make


def _pickled(path: Path, good: Path) -> None:
    np.savez(path, x=np.array([{"a": 1}], dtype=object))


def _of_zeros(path: Path, good: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(header("(120000000, 4)"))
        for _ in range(1920):
            file.write(bytes(1_000_000))


def sample_files() -> Iterator[tuple[str, Make]]:
    """`.npz` files that aren't what they claim."""
    yield "two gigabytes of zeros", _of_zeros
    yield "a claim of a terabyte", npz(x=header("(250000000000, 4)") + bytes(64))
    yield "a claim beyond all numbers", npz(x=header(f"({10**30}, 4)") + bytes(64))
    yield "a negative shape", npz(x=header("(-4, 4)") + bytes(64))
    yield "a shape that calls", npz(x=header("__import__('os').mkdir('MARK')") + bytes(64))
    yield "a type of objects", npz(x=header("(4, 4)", "'|O'") + bytes(64))
    yield "a header of a megabyte", npz(x=header("(4, 4)" + " " * 1_000_000, version=b"\x02\x00"))
    yield "pickled objects", _pickled
    yield "values that are no numbers", npz(x=header("(4, 4)") + struct.pack("<16f", *[float("nan")] * 16))
    yield "no arrays", npz()
    yield "20,000 arrays", npz(**{f"a{number}": b"" for number in range(20_000)})
    yield "no zip", lambda path, good: path.write_bytes(b"PK\x03\x04nothing")
    yield "no samples", npz(x=header("(0, 4)"))


def png(width: int, height: int, rows: bytes) -> bytes:
    """A grey picture."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    start = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    end = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", start) + end


POSTSCRIPT = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n(MARK) (w) file closefile\nshowpage\n%%EOF\n"


def pictures() -> Iterator[tuple[str, bytes]]:
    """Pictures that want too much, or another program."""
    yield "PostScript", POSTSCRIPT
    yield "a picture of ten thousand million pixels", png(100_000, 100_000, b"\0" * 1000)
    yield "a picture of minus one pixel", png(2**32 - 1, 1, b"\0")
    yield "half a picture", png(8, 8, b"\0" * 72)[:40]
    yield "a drawing", b"<svg xmlns='http://www.w3.org/2000/svg' onload='x()'/>"
    yield "nothing", b""


# -- recordings and data sets ----------------------------------------------------------------------------------------


def wav(rate: int, *, channels: int = 1, bits: int = 16, kind: int = 1, claimed: int | None = None) -> bytes:
    """A recording of 400 values; `claimed` is how many bytes of them its header tells."""
    values = bytes(range(200)) * (2 * bits // 8)
    size = len(values) if claimed is None else claimed
    width = channels * bits // 8
    form = struct.pack("<HHIIHH", kind, channels, rate, min(rate * width, 2**32 - 1), width % 2**16, bits)
    riff = struct.pack("<4sI4s4sI", b"RIFF", min(size + 36, 2**32 - 1), b"WAVE", b"fmt ", len(form))
    return riff + form + struct.pack("<4sI", b"data", size) + values


def recordings() -> Iterator[tuple[str, bytes]]:
    """Recordings that ask for much, or are none."""
    yield "a rate that would be resampled for minutes", wav(10_000_019)
    yield "a rate of which a second is gigabytes", wav(100_000_007)
    yield "the highest rate that can be written", wav(2**32 - 1)
    yield "a rate of nothing", wav(0)
    yield "no channels", wav(8000, channels=0)
    yield "65,535 channels", wav(8000, channels=65_535)
    yield "samples without bits", wav(8000, bits=0)
    yield "an unknown coding", wav(8000, kind=0x4D41)
    yield "values that are no numbers", wav(8000, bits=32, kind=3).replace(bytes(range(8)), b"\xff" * 8)
    yield "four gigabytes that aren't there, in 65,535 channels", wav(48_000, channels=65_535, claimed=2**32 - 40)
    yield "half a header", wav(8000)[:30]
    yield "nothing", b""
    yield "text", b"RIFF of nothing at all, but long enough to be looked at"
    yield "a flac of which only the name is there", b"fLaC" + bytes(60)
    yield "an ogg without pages", b"OggS" + bytes(60)


def _zip_of(*members: tuple[str, int]) -> bytes:
    """A zip of files of zeros, by name and mebibytes."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name, size in members:
            with archive.open(name, "w") as file:
                for _ in range(size):
                    file.write(bytes(1 << 20))
    return packed.getvalue()


def _overlapping() -> bytes:
    """A zip whose names all stand for one member of 16 MiB, as D. Fifield's bombs do."""
    packed = bytearray(_zip_of(("data/0", 16)))
    start = packed.index(b"PK\x01\x02")
    entry = bytes(packed[start : packed.index(b"PK\x05\x06")])
    entries = b"".join(entry.replace(b"data/0", f"data/{number}".encode()) for number in range(1, 10)) * 8
    end = struct.pack("<4sHHHHIIH", b"PK\x05\x06", 0, 0, 72, 72, len(entries), start, 0)
    return bytes(packed[:start]) + entries + end


def _tar_of(packing: str, *members: tuple[str, int]) -> bytes:
    """A tar of files of zeros, by name and mebibytes."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode=f"w:{packing}", compresslevel=1) as archive:  # type: ignore[call-overload]
        for name, size in members:
            info = tarfile.TarInfo(name)
            info.size = size << 20
            archive.addfile(info, io.BytesIO(bytes(info.size)))
    return packed.getvalue()


def _linking(kind: bytes, target: str) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("data/out")
        link.type, link.linkname = kind, target
        archive.addfile(link)
        inside = tarfile.TarInfo("data/out/MARK")
        archive.addfile(inside, io.BytesIO(b""))
    return packed.getvalue()


def data_sets() -> Iterator[tuple[str, tuple[str, bytes]]]:
    """Archives of samples that unfold to very much, or lead elsewhere, with the names of their files."""
    yield "a zip of 1.5 GiB of zeros", ("data.zip", _zip_of(("data/x", 1536)))
    yield "a zip whose names share one member", ("data.zip", _overlapping())
    yield "a tar of 700 MiB of zeros", ("data.tar.gz", _tar_of("gz", *((f"data/{number}", 100) for number in range(7))))
    yield "a zip whose name climbs out", ("data.zip", _zip_of(("data/../../../MARK", 0)))
    yield "a zip with an absolute name", ("data.zip", _zip_of(("/tmp/mltkbuild-MARK", 0)))
    yield "a link to a folder outside", ("data.tar.gz", _linking(tarfile.SYMTYPE, "../../.."))
    yield "a hard link to a file outside", ("data.tar.gz", _linking(tarfile.LNKTYPE, "/etc/passwd"))
    yield "a device", ("data.tar.gz", _linking(tarfile.CHRTYPE, ""))
    yield "a pipe", ("data.tar.gz", _linking(tarfile.FIFOTYPE, ""))
    yield "half a zip", ("data.zip", _zip_of(("data/x", 1))[:-30])
    yield "no archive", ("data.tar.gz", b"<html>Not found</html>")
