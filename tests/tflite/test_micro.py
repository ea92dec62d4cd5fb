"""TensorFlow Lite Micro itself: what converted models compute in it, how much memory they take, what it refuses."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.errors import DataError, SpecError, StageError
from mltkbuild.tflite import calibration, flatbuffer, graph, lint, micro, predict, proof
from mltkbuild.tflite.tflite_model import TfliteModel

from .. import warm

MAKE = """
import sys, numpy as np, keras
from pathlib import Path
from mltkbuild.tflite import quantize, params
from mltkbuild.spec.mixins import TrainMixin
from mltkbuild.training.building import clear_names
L = keras.layers

def ds_cnn():
    layers = [keras.Input((49, 10, 1)), L.Conv2D(16, (10, 4), strides=2, padding="same"), L.BatchNormalization()]
    layers.append(L.ReLU())
    for _ in range(2):
        layers += [L.DepthwiseConv2D(3, padding="same"), L.BatchNormalization(), L.ReLU(), L.Conv2D(16, 1), L.ReLU()]
    return keras.Sequential([*layers, L.GlobalAveragePooling2D(), L.Dense(12, activation="softmax")])

def resnet8():
    start = keras.Input((32, 32, 3))
    x = L.ReLU()(L.BatchNormalization()(L.Conv2D(8, 3, padding="same")(start)))
    for filters, strides in ((8, 1), (16, 2), (32, 2)):
        y = L.ReLU()(L.BatchNormalization()(L.Conv2D(filters, 3, strides=strides, padding="same")(x)))
        y = L.BatchNormalization()(L.Conv2D(filters, 3, padding="same")(y))
        if strides > 1:
            x = L.Conv2D(filters, 1, strides=strides, padding="same")(x)
        x = L.ReLU()(L.Add()([x, y]))
    x = L.Flatten()(L.AveragePooling2D(8)(x))
    return keras.Model(start, L.Dense(10, activation="softmax")(x))

def autoencoder():
    sizes = (64, 64, 8, 64, 64)
    return keras.Sequential([keras.Input((128,)), *(L.Dense(n, activation="relu") for n in sizes), L.Dense(128)])

def dilated():
    layers = [L.Conv1D(8, 3, padding="causal", dilation_rate=2**n, activation="relu") for n in range(4)]
    return keras.Sequential([keras.Input((40, 6)), *layers, L.GlobalAveragePooling1D(), L.Dense(4)])

def lstm():
    return keras.Sequential([keras.Input((12, 5)), L.LSTM(8, unroll=True), L.Dense(3, activation="softmax")])

def looping():
    return keras.Sequential([keras.Input((12, 5)), L.LSTM(8), L.Dense(3)])

def gelu():
    return keras.Sequential([keras.Input((6,)), L.Dense(4, activation="gelu"), L.Dense(3)])

def two():
    one, other = keras.Input((4,), name="zed"), keras.Input((6,), name="alpha")
    left, right = L.Dense(3)(one), L.Dense(2)(other)
    return keras.Model([one, other], [left, right])

def make(name, folder, **settings):
    clear_names()
    keras.utils.set_random_seed(7)
    model = globals()[name]()
    for layer in model.layers:
        if isinstance(layer, L.BatchNormalization):
            shape = layer.gamma.shape
            generator = np.random.default_rng(1)
            layer.set_weights([generator.uniform(a, b, shape) for a, b in ((0.5, 1.5), (-1, 1), (-1, 1), (0.5, 2))])
    generator = np.random.default_rng(3)
    shapes = [entry.shape[1:] for entry in model.inputs]
    rows = [[scale * generator.normal(size=shape).astype("float32") for scale, shape in zip((1, 10), shapes)]
            for _ in range(60)]
    converter = {**TrainMixin.tflite_converter.default, "inference_input_type": "int8", "inference_output_type": "int8",
                 "generate_unquantized": False, **settings}
    path = Path(folder, name + ".tflite")
    wanted = quantize.wants_calibration(converter)
    samples = (rows if len(shapes) > 1 else [row[0] for row in rows]) if wanted else None
    quantize.run(model, samples, converter, path, path.with_suffix(".float32"))
    params.run(path, Path(folder, name + ".final.tflite"), name=name, version=1, classes=["a"], description="d",
               parameters={"threshold": 0.5, "latency_ms": -3}, arena=1234)
    return path
"""
MODELS = {"ds_cnn": 1, "resnet8": 1, "autoencoder": 1, "dilated": 1, "lstm": 2}


def run_python(text: str, *arguments: str) -> str:
    """Run a script in a process of its own and give what it prints last."""
    said = warm.python(MAKE + text, *arguments).strip()
    return said.splitlines()[-1] if said else ""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every model as an int8 `.tflite`, from one process."""
    folder = tmp_path_factory.mktemp("models")
    run_python("for name in sys.argv[2:]: make(name, sys.argv[1])", str(folder), *MODELS, "two")
    return folder


def random_inputs(model: graph.Graph, count: int) -> list[list[np.ndarray]]:
    """Seeded int8 inputs over the whole range."""
    generator = np.random.default_rng(11)
    return [
        [generator.integers(-128, 128, tensor.shape, dtype=np.int8) for tensor in model.inputs] for _ in range(count)
    ]


@pytest.mark.real
@pytest.mark.parametrize(("name", "lsb"), MODELS.items())
def test_int8_models_compute_what_the_reference_kernels_do(models: Path, name: str, lsb: int) -> None:
    """On 200 random inputs TensorFlow Lite Micro is within 1 step of LiteRT's reference kernels; 2 for an LSTM."""
    path = models / f"{name}.tflite"
    model = graph.read(path.read_bytes())
    runner = micro.Micro(path.read_bytes())
    reference = Interpreter(str(path), experimental_op_resolver_type=OpResolverType.BUILTIN_REF, num_threads=1)
    reference.allocate_tensors()
    worst, seen = 0, set()
    for inputs in random_inputs(model, 200):
        reference.reset_all_variables()
        reference.set_tensor(reference.get_input_details()[0]["index"], inputs[0])
        reference.invoke()
        expected = reference.get_tensor(reference.get_output_details()[0]["index"])
        found = runner.invoke(inputs)[0]
        seen.add(found.tobytes())
        worst = max(worst, int(np.abs(expected.astype(int) - found.astype(int)).max()))
    assert worst <= lsb
    assert len(seen) > 2, "the model says something"
    assert (1,) == {tensor.shape[:1] for tensor in model.inputs + model.outputs}.pop()


@pytest.mark.real
@pytest.mark.parametrize("name", MODELS)
def test_models_are_proven(models: Path, name: str) -> None:
    """A proof names the operators, the ends and the working memory; nothing that computes is float."""
    proven = proof.prove((models / f"{name}.tflite").read_bytes(), quantized=True)
    facts = proven.facts
    assert (True, None) == (facts["runs"], facts["problem"])
    assert facts["arena"]["used"] == facts["arena"]["head"] + facts["arena"]["tail"]
    assert ("int8", "int8") == (facts["inputs"][0]["dtype"], facts["outputs"][0]["dtype"])
    assert facts["inputs"][0]["scale"] > 0
    assert () == proven.notes


@pytest.mark.real
@pytest.mark.parametrize("name", MODELS)
def test_arena_is_exact(models: Path, name: str) -> None:
    """The model runs in just the arena that is told, and not in 16 bytes less."""
    content = (models / f"{name}.tflite").read_bytes()
    total = micro.Micro(content).arena().total
    probe = (
        "import sys; from tflite_micro import runtime\n"
        "model = open(sys.argv[1], 'rb').read()\n"
        "runtime.Interpreter.from_bytes(model, arena_size=int(sys.argv[2])).invoke()"
    )
    codes = [
        subprocess.run(
            [sys.executable, "-c", probe, str(models / f"{name}.tflite"), str(size)], capture_output=True, check=False
        ).returncode
        for size in (total, total - 16)
    ]
    assert (0, True) == (codes[0], codes[1] != 0)


@pytest.mark.real
def test_conversion_gives_the_same_bytes_in_two_processes_and_a_warm_one(models: Path, tmp_path: Path) -> None:
    """With parameters embedded, a file is the same from another process, and after another model in this one."""
    text = """
import hashlib
make("autoencoder", sys.argv[1])
for name in ("ds_cnn", "lstm"):
    make(name, sys.argv[1])
files = [Path(sys.argv[1], name + ".final.tflite") for name in ("ds_cnn", "lstm")]
print(" ".join(hashlib.sha256(file.read_bytes()).hexdigest() for file in files))
"""
    found = run_python(text, str(tmp_path)).split()
    expected = [
        hashlib.sha256((models / f"{name}.final.tflite").read_bytes()).hexdigest() for name in ("ds_cnn", "lstm")
    ]
    assert expected == found


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "settings", "error"),
    [
        ("looping", "{}", "not unrolled"),
        ("gelu", "{'tflm': 1}", "GELU has no kernel in TensorFlow Lite Micro"),
        ("autoencoder", "{'representative_dataset': None}", "hybrid"),
    ],
)
def test_what_can_t_run_is_named_with_its_layer(tmp_path: Path, name: str, settings: str, error: str) -> None:
    """A looping LSTM, an unknown operator and a hybrid model are errors that name the layer and the way out."""
    text = f"""
from mltkbuild.tflite import proof
from mltkbuild.errors import MltkError
settings = {settings}
settings.pop("tflm", None)
if settings:
    settings |= dict(inference_input_type="float32", inference_output_type="float32", supported_ops=["TFLITE_BUILTINS"])
try:
    path = make({name!r}, sys.argv[1], **settings)
    proof.prove(path.read_bytes(), layers=["dense", "dense_1", "lstm"])
except MltkError as error:
    print(repr(str(error)))
"""
    told = run_python(text, str(tmp_path))
    assert error in told
    assert "lstm" in told or "dense" in told
    assert "fix:" in told


@pytest.mark.real
def test_two_inputs_and_two_outputs_work(models: Path) -> None:
    """Each input has the range of its own calibration samples, whatever order the converter gives them."""
    model = graph.read((models / "two.tflite").read_bytes())
    scales = dict(zip(model.input_keys, (tensor.scale for tensor in model.inputs), strict=True))
    assert {"zed", "alpha"} == set(scales)
    assert 5 < scales["alpha"] / scales["zed"] < 20
    outputs = micro.Micro((models / "two.tflite").read_bytes()).invoke(random_inputs(model, 1)[0])
    assert {(1, 3), (1, 2)} == {output.shape for output in outputs}


@pytest.mark.real
def test_a_file_predicts_for_a_spec_s_own_evaluation(models: Path) -> None:
    """`TfliteModel.predict` quantizes and dequantizes as wanted, takes one sample or many, and several inputs."""
    path = models / "ds_cnn.tflite"
    model = TfliteModel(path)
    x = np.random.default_rng(1).random((3, 49, 10, 1), np.float32)
    floats = model.predict(x, y_dtype=np.float32)
    assert np.array_equal(predict.predict_tflite(path, [x])[0], floats)
    assert np.array_equal(floats, model.predict(x))
    raw = model.predict(x, y_dtype=np.int8)
    assert (np.int8, (3, 12)) == (raw.dtype, raw.shape)
    assert np.array_equal(floats[1], model.predict(x[1], y_dtype=np.float32))
    given = predict.quantized(x, asdict(micro.port_of(graph.read(path.read_bytes()).inputs[0])))
    assert np.array_equal(raw, model.predict(given, y_dtype="int8"))
    assert (str(path), path.read_bytes()) == (os.fspath(model), Path(model).read_bytes())
    two = TfliteModel(models / "two.tflite")
    sizes = [port.shape[1:] for port in map(micro.port_of, graph.read(Path(two).read_bytes()).inputs)]
    found = two.predict([np.zeros((2, *size), np.float32) for size in sizes], y_dtype=np.float32)
    assert [(2, 2), (2, 3)] == sorted(y.shape for y in found)


@pytest.mark.real
def test_samples_that_a_file_can_t_take_are_errors(models: Path) -> None:
    """None at all, and of another shape."""
    model = TfliteModel(models / "ds_cnn.tflite")
    with pytest.raises(DataError, match="no samples"):
        model.predict(np.zeros((0, 49, 10, 1), np.float32))
    with pytest.raises(StageError, match="doesn't fit the model's input"):
        model.predict(np.zeros((2, 49, 9, 1), np.float32))


@pytest.mark.real
def test_samples_run_on_several_cores_as_on_one(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers don't depend on how many processes give them, nor on what ran before."""
    path = models / "lstm.tflite"
    inputs = [np.concatenate([row[0] for row in random_inputs(graph.read(path.read_bytes()), 150)])]
    monkeypatch.setattr(micro, "_WORTH_SHARING_SECONDS", 0.0)
    alone, shared = micro.run_all(path, inputs, cores=1)[0], micro.run_all(path, inputs, cores=3)[0]
    assert alone.tolist() == shared.tolist()
    assert alone[::-1].tolist() == micro.run_all(path, [inputs[0][::-1]], cores=1)[0].tolist()


# -- what it has, and what is wrong ----------------------------------------------------------------------------------


def dense_model() -> bytes:
    """A model of one dense layer of 4 by 2 floats, made without TensorFlow."""
    weights = np.arange(8, dtype=np.float32).tobytes()
    tensors = [
        schema.TensorT(shape=np.array(shape, np.int32), type=schema.TensorType.FLOAT32, buffer=buffer, name=name)
        for shape, buffer, name in (((1, 4), 0, "x"), ((2, 4), 1, "m/dense/w"), ((1, 2), 0, "m/dense/MatMul"))
    ]
    operator = schema.OperatorT(
        opcodeIndex=0,
        inputs=np.array([0, 1, -1], np.int32),
        outputs=np.array([2], np.int32),
        builtinOptionsType=schema.BuiltinOptions.FullyConnectedOptions,
        builtinOptions=schema.FullyConnectedOptionsT(),
    )
    code = schema.BuiltinOperator.FULLY_CONNECTED
    model = schema.ModelT(
        version=3,
        operatorCodes=[schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, version=1)],
        subgraphs=[
            schema.SubGraphT(
                tensors=tensors, operators=[operator], inputs=np.array([0], np.int32), outputs=np.array([2], np.int32)
            )
        ],
        buffers=[schema.BufferT(), schema.BufferT(data=np.frombuffer(weights, np.uint8))],
        description=b"by hand",
    )
    return flatbuffer.pack(model)


def changed(change: Callable[[Any], None]) -> bytes:
    """The dense model with something in it changed."""
    model = flatbuffer.load(dense_model())
    change(model)
    return flatbuffer.pack(model)


def test_a_model_made_by_hand_runs() -> None:
    """What is read is what was written, and the answer is the product."""
    model = graph.read(dense_model())
    assert ("by hand", ("FULLY_CONNECTED",)) == (model.description, model.operator_names)
    assert "dense" == model.main.operators[0].layer
    assert [[0, 1, 2, 3], [4, 5, 6, 7]] == model.main.tensors[1].values().tolist()
    (answer,) = micro.Micro(dense_model()).invoke([np.array([[1, 0, 0, 1]], np.float32)])
    assert [[3.0, 11.0]] == answer.tolist()


def test_supported_operators_are_those_of_the_interpreter(tmp_path: Path) -> None:
    """The interpreter that this package names is asked for every builtin operator, and knows just those listed."""
    numbers = {name: number for name, number in vars(schema.BuiltinOperator).items() if not name.startswith("_")}
    probe = """
import os, sys, tempfile
from tflite_micro import runtime
model, at = bytearray(open(sys.argv[1], "rb").read()), int(sys.argv[2])
for line in sys.argv[3:]:
    name, number = line.split("=")
    model[at:at + 4] = int(number).to_bytes(4, "little")
    if os.fork() == 0:
        with tempfile.TemporaryFile() as said:
            os.dup2(said.fileno(), 2)
            try:
                runtime.Interpreter.from_bytes(bytes(model), arena_size=65536)
            except Exception:
                pass
            said.seek(0)
            os.write(1, b"" if b"Didn't find op" in said.read() else (name + " ").encode())
        os._exit(0)
    # A kernel may crash on a model that isn't made for it; then it is there.
    if os.WIFSIGNALED(os.wait()[1]):
        os.write(1, (name + " ").encode())
"""
    marker = 0x12345678
    content = changed(lambda model: setattr(model.operatorCodes[0], "builtinCode", marker))
    place = content.index(marker.to_bytes(4, "little"))
    given = [f"{name}={number}" for name, number in numbers.items() if name not in ("CUSTOM", "DELEGATE")]
    path = tmp_path / "probed.tflite"
    path.write_bytes(content)
    command = [sys.executable, "-c", probe, str(path), str(place), *given]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert set(lint.SUPPORTED) == set(found) - {"PLACEHOLDER_FOR_GREATER_OP_CODES"}


def open_batch(model: Any) -> None:
    """Leave the batch open."""
    model.subgraphs[0].tensors[0].shapeSignature = np.array([-1, 4], np.int32)


def without_size(model: Any) -> None:
    """Leave the batch open in the shape, too, from which an interpreter takes it."""
    model.subgraphs[0].tensors[0].shape = np.array([-1, 4], np.int32)


def short_weights(model: Any) -> None:
    """Cut the weights."""
    model.buffers[1].data = model.buffers[1].data[:8]


def unknown_tensor(model: Any) -> None:
    """Let an operator read a tensor that isn't there."""
    model.subgraphs[0].operators[0].inputs = np.array([0, 99, -1], np.int32)


def unknown_code(model: Any) -> None:
    """Let an operator have a code that isn't there."""
    model.subgraphs[0].operators[0].opcodeIndex = 7


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (without_size, "no size for a tensor"),
        (short_weights, "a constant that is too short"),
        (unknown_tensor, "the tensor 99 of 3"),
        (unknown_code, "the operator code 7 of 1"),
    ],
)
def test_models_that_contradict_themselves_are_refused(change: Callable[[Any], None], words: str) -> None:
    """What would crash the interpreter is an error before it gets there."""
    with pytest.raises(StageError) as caught:
        micro.Micro(changed(change))
    assert words in str(caught.value)


def test_calibration_of_several_inputs_is_checked() -> None:
    """Too few arrays and unknown names are errors that name the inputs."""
    inputs = [SimpleNamespace(name=name, shape=(None, 2), dtype="float32") for name in ("a", "b")]
    rows = calibration.checked([{"b": [3, 4], "a": [1, 2]}], inputs)
    assert [[1.0, 2.0], [3.0, 4.0]] == [part.tolist() for part in rows[0]]
    for sample, words in (
        ([np.zeros(2)], "1 arrays; the model takes 2: a, b"),
        ({"a": 1}, "has a; the model takes a, b"),
    ):
        with pytest.raises(SpecError, match=words):
            calibration.checked([sample], inputs)
    constant = calibration.checked([[np.ones(2), np.arange(2)]] * 3, inputs)
    assert 2 == len(list(calibration.warnings_about(constant, inputs)))


@pytest.mark.parametrize(
    ("values", "told"),
    [
        (np.linspace(-1, 1, 50), None),
        (np.linspace(-100, 100, 50), "beyond the calibrated range"),
        (np.linspace(0, 0.1, 50), "fill little of the calibrated range"),
    ],
)
def test_a_range_that_differs_is_told(values: np.ndarray, told: str | None) -> None:
    """Evaluation values far beyond, or in a corner of, the calibrated range are worth a note."""
    for name in ("", "left"):
        seen = calibration.Range({"scale": 2 / 255, "zero_point": 0, "dtype": "int8"}, name)
        seen.add(values[:20])
        seen.add(values[20:])
        note = seen.note()
        assert note is None if told is None else note is not None and told in note
        assert note is None or (name != "") == ("of the input left" in note)
    seen = calibration.Range({"scale": 0.0, "zero_point": 0, "dtype": "float32"})
    seen.add(values)
    assert seen.note() is None
