"""The C++ that a firmware project gets: it compiles, links, says what the model is, and is the same every time."""

from __future__ import annotations

import re
import shutil
import subprocess
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mltkbuild.bodies import cpp, export, lint, params
from mltkbuild.bodies.dictionary import Typed
from mltkbuild.bodies.resolver import method_of
from mltkbuild.errors import StageError

from .test_micro import changed, dense_model, open_batch

STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror")
PARAMETERS = {
    "name": "class",
    "rate": 0.1,
    "zero": -0.0,
    "huge": 2**64 - 1,
    "lowest": -(2**63),
    "on": True,
    "labels": ['a "b"', "back\\slash", "what??/", "größer", "two\nlines"],
    "offsets": [1, -2],
    "floats": [0.5, 1e-30],
    "raw": b"\x00\xff",
    "empty": Typed([], "str_list"),
    "fe.sample_rate": 16000,
    "fe_sample_rate": 8000,
}
# What of TensorFlow Lite Micro the exported code uses, declared so that the compiler can check it.
STUBS = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": """
#pragma once
enum TfLiteStatus { kTfLiteOk, kTfLiteError };
namespace tflite {
template <unsigned int Count> struct MicroMutableOpResolver {
METHODS
};
}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include <cstddef>
#include <cstdint>
#include <vector>
namespace tflite {
struct Data { char* raw; };
struct Tensor { Data data; std::size_t bytes; };
struct Model {};
struct MicroInterpreter {
  std::vector<char> memory = std::vector<char>(4096);
  Tensor tensor{{memory.data()}, 4096};
  template <typename Resolver>
  MicroInterpreter(const Model*, const Resolver&, std::uint8_t*, std::size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Invoke() { return kTfLiteOk; }
  Tensor* input(int) { return &tensor; }
  Tensor* output(int) { return &tensor; }
};
}
""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
namespace tflite { inline const Model* GetModel(const void*) { return nullptr; } }
""",
}


@pytest.fixture(scope="module")
def compiler() -> str:
    """The C++ compiler."""
    found = shutil.which("g++")
    if found is None:
        pytest.skip("there is no g++ to compile with")
    return found


def exported(folder: Path, name: str = "door 2", classes: list[str] | None = None) -> Path:
    """A hand-made model with parameters of every type, exported."""
    tflite = folder / "model.tflite"
    tflite.write_bytes(params.embed(dense_model(), PARAMETERS, "d"))
    output = folder / "export"
    output.mkdir()
    vectors = [[np.array([[1, 0, 0, 1]], np.float32)]]
    export.run(tflite, output, name=name, classes=classes or PARAMETERS["labels"], vectors=vectors)  # type: ignore[arg-type]
    return output


def compiled(compiler: str, folder: Path, *arguments: str | Path) -> Path:
    """Compile and link strictly."""
    program = folder / "program"
    subprocess.run([compiler, *STRICT, *map(str, arguments), "-o", str(program)], check=True, capture_output=True)
    return program


def test_the_data_part_compiles_links_and_runs(tmp_path: Path, compiler: str) -> None:
    """Without TensorFlow's headers the data is checked: aligned, whole, and a .tflite."""
    folder = exported(tmp_path)
    program = compiled(compiler, tmp_path, "-Ddoor_2_model_DATA_ONLY", *sorted(folder.glob("*.cc")))
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (0, "data: ok\n") == (done.returncode, done.stdout)


def test_damaged_data_is_noticed(tmp_path: Path, compiler: str) -> None:
    """One byte that differs is told by the program's exit code."""
    folder = exported(tmp_path)
    data = folder / "door_2_model.cc"
    text = data.read_text(encoding="utf-8")
    place = text.rindex("0x")
    data.write_text(text[:place] + "0x77" + text[place + 4 :], encoding="utf-8")
    program = compiled(compiler, tmp_path, "-Ddoor_2_model_DATA_ONLY", *sorted(folder.glob("*.cc")))
    assert 3 == subprocess.run([program], capture_output=True, check=False).returncode


def test_the_header_says_what_the_model_is(tmp_path: Path, compiler: str) -> None:
    """Sizes, labels and parameters have the values that were given, read back by a program."""
    folder = exported(tmp_path)
    main = tmp_path / "main.cc"
    main.write_text(
        """
#include <cmath>
#include <cstring>
#include "door_2_model.h"
namespace m = door_2_model;
static_assert(m::label_count == 5 && m::operator_count == 1 && m::input_elements == 4 && m::arena_size % 16 == 0);
static_assert(m::parameters::huge == 18446744073709551615ULL && m::parameters::on);
static_assert(m::parameters::lowest + 1 == -9223372036854775807LL);
static_assert(m::parameters::fe_sample_rate == 16000 || m::parameters::fe_sample_rate_2 == 16000);
static_assert(m::parameters::empty_count == 0 && m::parameters::raw[1] == 0xff);
static_assert(m::parameters::offsets[1] == -2 && m::parameters::floats[0] == 0.5f);
int main() {
  if (std::strcmp(m::labels[0], "a \\"b\\"") || std::strcmp(m::labels[1], "back\\\\slash")) return 1;
  if (std::strcmp(m::labels[2], "what\\?\\?/") || std::strcmp(m::labels[4], "two\\nlines")) return 2;
  if (static_cast<float>(m::parameters::rate) != 0.1f || !std::signbit(m::parameters::zero)) return 3;
  return m::data[4] == 'T' && m::data[m::data_size - 1] >= 0 ? 0 : 4;
}
""",
        encoding="utf-8",
    )
    program = compiled(compiler, tmp_path, f"-I{folder}", main, folder / "door_2_model.cc", "-Wno-type-limits")
    assert 0 == subprocess.run([program], check=False).returncode


def test_the_array_is_the_file(tmp_path: Path) -> None:
    """The bytes between the braces are those of the `.tflite`."""
    folder = exported(tmp_path)
    text = (folder / "door_2_model.cc").read_text(encoding="utf-8")
    found = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", text))
    assert (tmp_path / "model.tflite").read_bytes() == found


def test_all_of_it_compiles_against_the_interface(tmp_path: Path, compiler: str) -> None:
    """The resolver, the test and its `main` use what TensorFlow Lite Micro declares, and no other operators."""
    folder = exported(tmp_path)
    methods = "\n".join(f"  TfLiteStatus {method_of(name)}() {{ return kTfLiteOk; }}" for name in lint.SUPPORTED)
    for name, text in STUBS.items():
        path = tmp_path / "stubs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text.replace("METHODS", methods), encoding="utf-8")
    compiled(compiler, tmp_path, f"-I{tmp_path / 'stubs'}", *sorted(folder.glob("*.cc")))
    operators = (folder / "door_2_ops.h").read_text(encoding="utf-8")
    assert "MicroMutableOpResolver<1>" in operators
    assert ["AddFullyConnected"] == re.findall(r"resolver\.(\w+)\(", operators)


def test_vectors_hold_what_the_model_answers(tmp_path: Path) -> None:
    """The expected output is what TensorFlow Lite Micro gave."""
    text = (exported(tmp_path) / "door_2_test_vector.cc").read_text(encoding="utf-8")
    assert "1.0e+00f, 0.0e+00f, 0.0e+00f, 1.0e+00f" in text
    assert "3.0e+00f, 1.1e+01f" in text


def test_arduino_library_has_its_layout(tmp_path: Path) -> None:
    """library.properties, src/ and an example, in a zip without a second main."""
    with zipfile.ZipFile(exported(tmp_path) / "door_2_arduino.zip") as archive:
        names = set(archive.namelist())
        properties = archive.read("door_2_model/library.properties").decode()
    assert {
        "door_2_model/library.properties",
        "door_2_model/src/door_2_model.h",
        "door_2_model/src/door_2_model.cpp",
        "door_2_model/src/door_2_ops.h",
        "door_2_model/examples/door_2/door_2.ino",
    } <= names
    assert not any("test_main" in name for name in names)
    assert "name=door_2_model\n" in properties
    assert "includes=door_2_model.h\n" in properties


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """Exporting twice gives equal files."""
    (tmp_path / "again").mkdir()
    first, second = exported(tmp_path), exported(tmp_path / "again")
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert [(first / name).read_bytes() for name in files] == [(second / name).read_bytes() for name in files]


def test_a_model_that_can_t_run_has_no_vectors(tmp_path: Path) -> None:
    """The data and the operators are exported all the same, and the header says why there is no arena."""
    tflite = tmp_path / "model.tflite"
    tflite.write_bytes(changed(open_batch))
    facts = export.run(tflite, tmp_path, name="m", classes=None, vectors=None)
    assert 0 == facts["vectors"]
    assert "No arena size" in (tmp_path / "m_model.h").read_text(encoding="utf-8")
    assert not list(tmp_path.glob("*test*"))


@pytest.mark.parametrize(
    ("operator", "method"),
    [
        ("CONV_2D", "AddConv2D"),
        ("MAX_POOL_2D", "AddMaxPool2D"),
        ("BATCH_TO_SPACE_ND", "AddBatchToSpaceNd"),
        ("PADV2", "AddPadV2"),
        ("CUMSUM", "AddCumSum"),
        ("L2_NORMALIZATION", "AddL2Normalization"),
        ("RELU6", "AddRelu6"),
        ("REVERSE_V2", "AddReverseV2"),
        ("BATCH_MATMUL", "AddBatchMatMul"),
        ("UNIDIRECTIONAL_SEQUENCE_LSTM", "AddUnidirectionalSequenceLSTM"),
    ],
)
def test_operators_have_their_method(operator: str, method: str) -> None:
    """An operator is added by the method that the resolver has for it."""
    assert method == method_of(operator)


def test_an_unknown_custom_operator_is_refused() -> None:
    """What no resolver can add is an error that names it."""
    with pytest.raises(StageError) as caught:
        method_of("FlexErf", is_custom=True)
    assert "FlexErf" == caught.value.found


@given(st.text(max_size=20))
def test_any_name_becomes_an_identifier(name: str) -> None:
    """Whatever a model is called, its identifier is one of C++'s, and no reserved one."""
    found = cpp.identifier(name)
    assert re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", found)
    assert "__" not in found


@given(st.lists(st.text(max_size=6), max_size=12, unique=True))
def test_identifiers_of_different_names_differ(names: list[str]) -> None:
    """No two parameters share an identifier."""
    assert len(names) == len(set(cpp.identifiers(names).values()))


@given(st.floats(width=32))
def test_floats_come_back(value: float) -> None:
    """A literal holds just the float that it was made of."""
    text = cpp.float32(value)
    if np.isfinite(value):
        assert np.float32(value).tobytes() == np.float32(text.removesuffix("f")).tobytes()
    else:
        assert "__builtin" in text
