"""The C++ that a firmware project gets: it compiles, links, says what the model is, and is the same every time."""

from __future__ import annotations

import re
import struct
import subprocess
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ai_edge_litert import schema_py_generated as schema
from hypothesis import given, settings
from hypothesis import strategies as st

from mltkbuild.errors import StageError
from mltkbuild.firmware import cpp, export
from mltkbuild.stages import table
from mltkbuild.tflite import micro, params
from mltkbuild.tflite.dictionary import Typed

from ..tflite.test_micro import changed, dense_model, open_batch, without_size
from .compiling import compiled, custom, gelu, stubs

LABELS = ['a "b"', "back\\slash", "what??/", "größer", "two\nlines", ""]
PARAMETERS = {
    "name": "class",
    "rate": 0.1,
    "zero": -0.0,
    "huge": 2**64 - 1,
    "lowest": -(2**63),
    "small": -(2**31),
    "on": True,
    "PI": 3,
    "std": 4,
    "offsets": [1, -(2**31)],
    "offsets_count": 7,
    "floats": [0.5, 1e-30, float("inf"), float("nan")],
    "wide": Typed(0.1, "double"),
    "raw": b"\x00\xff",
    "empty": Typed([], "str_list"),
    "nothing": b"",
    "fe.sample_rate": 16000,
    "fe_sample_rate": 8000,
    "key ending in \\": 1,
    "key ending in ??/": 2,
}


def exported(folder: Path, model: bytes | None = None, **settings: Any) -> Path:
    """A hand-made model, by default with parameters of every type, exported."""
    tflite = folder / "model.tflite"
    tflite.write_bytes(params.embed(dense_model(), PARAMETERS, "d") if model is None else model)
    output = folder / "export"
    output.mkdir()
    vectors = [[np.array([[1, 0, 0, 1]], np.float32)]]
    export.run(tflite, output, **{"name": "door 2", "classes": LABELS, "vectors": vectors, **settings})
    return output


def run_data_part(folder: Path, space: str) -> tuple[int, str]:
    """Compile what needs no TensorFlow and run it."""
    program = compiled(folder.parent, f"-D{space}_DATA_ONLY", *sorted(folder.glob("*.cc")))
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    return done.returncode, done.stdout


def quantized(model: Any) -> None:
    """Make all of the dense model int8."""
    for tensor in model.subgraphs[0].tensors:
        tensor.type = schema.TensorType.INT8
        tensor.quantization = schema.QuantizationParametersT(scale=[0.5], zeroPoint=[0])
    model.buffers[1].data = np.arange(8, dtype=np.uint8)


def weights_from_outside(model: Any) -> None:
    """Make the weights a second input."""
    model.subgraphs[0].tensors[1].buffer = 0
    model.subgraphs[0].inputs = np.array([0, 1], np.int32)


# -- the data --------------------------------------------------------------------------------------------------------


def test_the_data_part_compiles_links_and_runs(tmp_path: Path) -> None:
    """Without TensorFlow's headers the data is checked: aligned, whole, and a .tflite."""
    assert (0, "data: ok\n") == run_data_part(exported(tmp_path), "door_2_model")


def test_damaged_data_is_noticed(tmp_path: Path) -> None:
    """One byte that differs is told by the program's exit code."""
    folder = exported(tmp_path)
    data = folder / "door_2_model.cc"
    text = data.read_text(encoding="utf-8")
    place = text.rindex("0x")
    data.write_text(text[:place] + "0x77" + text[place + 4 :], encoding="utf-8")
    assert (3, "data: damaged\n") == run_data_part(folder, "door_2_model")


def test_the_array_is_the_file(tmp_path: Path) -> None:
    """The bytes between the braces are those of the `.tflite`."""
    text = (exported(tmp_path) / "door_2_model.cc").read_text(encoding="utf-8")
    found = bytes(int(byte, 16) for byte in re.findall(r"0x([0-9a-f]{2}),", text))
    assert (tmp_path / "model.tflite").read_bytes() == found


@pytest.mark.parametrize("name", ["3d", "a__b", "class", "_x", "KWS"])
def test_files_are_those_that_the_stage_says(tmp_path: Path, name: str) -> None:
    """A target's name begins its files as it is, and the namespace is made a valid one."""
    folder = exported(tmp_path, name=name)
    assert {Path(file).name for file in table.makes(table.EXPORT, name)} <= {file.name for file in folder.iterdir()}
    assert (0, "data: ok\n") == run_data_part(folder, cpp.identifier(f"{name}_model"))


def test_the_same_model_gives_the_same_bytes(tmp_path: Path) -> None:
    """Exporting twice gives equal files, random vectors too."""
    (tmp_path / "again").mkdir()
    first, second = exported(tmp_path, vectors=None), exported(tmp_path / "again", vectors=None)
    files = sorted(path.name for path in first.iterdir())
    assert files == sorted(path.name for path in second.iterdir())
    assert [(first / name).read_bytes() for name in files] == [(second / name).read_bytes() for name in files]


# -- the header ------------------------------------------------------------------------------------------------------


def test_the_header_says_what_the_model_is(tmp_path: Path) -> None:
    """Sizes, labels and parameters have the values and types that were given; no global name is taken."""
    folder = exported(tmp_path)
    main = tmp_path / "main.cc"
    main.write_text(
        """
#include <cmath>
#include <cstring>
#include <type_traits>
extern int data, labels, parameters, arena_size;
#include "door_2_model.h"
namespace m = door_2_model;
namespace p = m::parameters;
static_assert(m::label_count == 6 && m::operator_count == 1 && m::input_elements == 4 && m::arena_size % 16 == 0);
static_assert(m::input_shape[0] == 1 && m::input_shape[1] == 4 && m::output_scale == 0.0f && m::output_zero_point == 0);
static_assert(p::huge == 18446744073709551615ULL && p::on && p::m_PI == 3 && p::m_std == 4);
static_assert(p::lowest + 1 == -9223372036854775807LL && p::small + 1 == -2147483647);
static_assert(p::fe_sample_rate == 16000 && p::fe_sample_rate_2 == 8000);
static_assert(p::empty_count == 0 && p::empty == nullptr && p::nothing_count == 0 && p::nothing == nullptr);
static_assert(p::raw[1] == 0xff && p::offsets[1] == p::small && p::offsets_count == 2 && p::offsets_count_2 == 7);
static_assert(p::floats[0] == 0.5f && p::floats[2] > 3e38f && p::floats[3] != p::floats[3]);
static_assert(std::is_same<decltype(p::rate), const float>::value && p::rate == 0.1f);
static_assert(std::is_same<decltype(p::wide), const double>::value && p::wide == 0.1);
static_assert(std::is_same<decltype(p::offsets_count_2), const std::uint8_t>::value);
static_assert(p::key_ending_in == 2 && p::key_ending_in_2 == 1);
int main() { return std::signbit(p::zero) && std::strcmp(p::name, "class") == 0 ? 0 : 1; }
""",
        encoding="utf-8",
    )
    program = compiled(tmp_path, f"-I{folder}", main, folder / "door_2_model.cc")
    assert 0 == subprocess.run([program], check=False).returncode


def test_quantization_is_told(tmp_path: Path) -> None:
    """The step and the zero point of both ends are constants."""
    text = (exported(tmp_path, changed(quantized), vectors=None) / "door_2_model.h").read_text(encoding="utf-8")
    assert ["0"] * 2 == re.findall(r"put_zero_point = (.+);", text)
    assert ["5.0e-01f"] * 2 == re.findall(r"put_scale = (.+);", text)
    assert ["std::int8_t"] * 2 == re.findall(r"put_type = (.+);", text)


def test_the_arena_has_a_margin(tmp_path: Path) -> None:
    """The margin is added to what was measured, and the sum is a multiple of 16."""
    text = (exported(tmp_path, arena_margin=100) / "door_2_model.h").read_text(encoding="utf-8")
    measured = micro.Micro((tmp_path / "model.tflite").read_bytes()).arena().total
    assert [str((measured + 115) // 16 * 16)] == re.findall(r"arena_size = (\d+);", text)
    assert "reference kernels, 64-bit host. 100 of them are a margin" in text


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_values = st.one_of(
    st.floats(width=32, allow_nan=False), _text, st.integers(-(2**63), 2**64 - 1), st.lists(_text, max_size=3)
)


@settings(max_examples=6, deadline=None)
@given(
    labels=st.lists(_text, max_size=20),
    parameters=st.dictionaries(_text.filter(bool), _values, max_size=30),
    name=st.text(max_size=12),
)
def test_any_text_and_number_arrives(
    tmp_path_factory: pytest.TempPathFactory, labels: list[str], parameters: dict[str, Any], name: str
) -> None:
    """Whatever names, labels and parameters hold, a program that is compiled with the header reads the same."""
    tmp_path = tmp_path_factory.mktemp("any")
    folder = exported(tmp_path, params.embed(dense_model(), parameters), name=name, classes=labels)
    header = next(folder.glob("*_model.h"))
    space = re.search(r"^namespace (\w+) \{", header.read_text(encoding="utf-8"), re.MULTILINE)
    lists = {key: "_count" for key, value in parameters.items() if isinstance(value, list)}
    names = cpp.identifiers(sorted(parameters), lists)
    floats = [
        key for key in sorted(parameters) if isinstance(parameters[key], float) and parameters[key] == parameters[key]
    ]
    assert space
    shown = "".join(f"  Show(static_cast<double>(m::parameters::{names[key]}));\n" for key in floats)
    main = tmp_path / "main.cc"
    main.write_text(
        f"""
#include <cstdio>
#include <cstring>
#include "{header.name}"
namespace m = {space[1]};
static inline void Show(double value) {{
  unsigned char bytes[8];
  std::memcpy(bytes, &value, 8);
  for (unsigned char byte : bytes) std::printf("%02x", byte);
  std::printf("\\n");
}}
int main() {{
  for (int at = 0; at < m::label_count; ++at) {{
    for (const char* place = m::labels[at]; *place; ++place) std::printf("%02x", static_cast<unsigned char>(*place));
    std::printf("\\n");
  }}
{shown}}}
""",
        encoding="utf-8",
    )
    program = compiled(tmp_path, f"-I{folder}", main)
    found = subprocess.run([program], check=True, capture_output=True, text=True).stdout.split("\n")[:-1]
    assert [label.encode().hex() for label in labels] == found[: len(labels)]
    assert [struct.pack("<d", parameters[key]).hex() for key in floats] == found[len(labels) :]


# -- vectors ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("answer", "code", "wrong"), [("3.0f, 11.00001f", 0, 0), ("3.0f, 12.0f", 7, 1)])
def test_main_compares_answers(tmp_path: Path, answer: str, code: int, wrong: int) -> None:
    """On a device that answers right the program returns 0; it counts what is wrong, but for a float's rounding."""
    folder = exported(tmp_path)
    program = compiled(tmp_path, stubs(tmp_path), f"-DANSWER={answer}", *sorted(folder.glob("*.cc")))
    done = subprocess.run([program], capture_output=True, text=True, check=False)
    assert (code, f"data: ok\n{wrong} values differ\n") == (done.returncode, done.stdout)
    operators = (folder / "door_2_ops.h").read_text(encoding="utf-8")
    assert "MicroMutableOpResolver<1>" in operators
    assert ["AddFullyConnected"] == re.findall(r"resolver\.(\w+)\(", operators)


def numbers_of(text: str, array: str) -> list[int]:
    """The integers of one of the arrays in a source."""
    body = text.partition(f"{array}[")[2].partition("= {")[2].partition("};")[0]
    return [int(number) for number in re.findall(r"-?\d+", body)]


def test_vectors_hold_what_the_model_answers(tmp_path: Path) -> None:
    """Inputs are random over the whole range, the same each time; the outputs are TensorFlow Lite Micro's."""
    folder = exported(tmp_path, changed(quantized), vectors=None)
    text = (folder / "door_2_test_vector.cc").read_text(encoding="utf-8")
    inputs = np.array(numbers_of(text, "vector_input0"), np.int8).reshape(-1, 1, 4)
    model = micro.Micro((tmp_path / "model.tflite").read_bytes())
    expected = np.ravel([model.invoke([row])[0] for row in inputs])
    assert export.RANDOM_VECTORS == len(inputs)
    assert expected.tolist() == numbers_of(text, "vector_output0")


def test_several_inputs(tmp_path: Path) -> None:
    """Each input has its number, its constants and its vectors."""
    vectors = [[np.ones((1, 4), np.float32), np.ones((2, 4), np.float32)]]
    folder = exported(tmp_path, changed(weights_from_outside), vectors=vectors)
    header = (folder / "door_2_model.h").read_text(encoding="utf-8")
    assert ["input0_elements = 4", "input1_elements = 8"] == re.findall(r"input\d_elements = \d", header)
    options = stubs(tmp_path), "-DANSWER=4.0f, 4.0f"
    program = compiled(tmp_path, *options, *sorted(folder.glob("*.cc")))
    assert 0 == subprocess.run([program], check=False, capture_output=True).returncode


@pytest.mark.parametrize(
    "vector", [[], [np.zeros((1, 5), np.float32)], [np.zeros((1, 4), np.int8)], [np.zeros((4,), np.float32)]]
)
def test_vectors_that_don_t_fit_are_refused(tmp_path: Path, vector: list[np.ndarray]) -> None:
    """A vector of another number, shape or type of arrays is an error that says what was found."""
    with pytest.raises(StageError, match="doesn't fit") as caught:
        exported(tmp_path, vectors=[vector])
    assert "(1, 4)" in str(caught.value.found)


def test_a_model_with_an_open_batch_is_exported_whole(tmp_path: Path) -> None:
    """Shape, arena and vectors are those of the batch that stands in the file, which is the one that runs."""
    folder = exported(tmp_path, changed(open_batch), vectors=None)
    header = (folder / "door_2_model.h").read_text(encoding="utf-8")
    assert "constexpr int input_shape[] = {1, 4};" in header
    assert "arena_size = " in header
    assert (folder / "door_2_test_vector.h").exists()


@pytest.mark.parametrize("change", [without_size, gelu, custom("mine")])
def test_a_model_that_can_t_run_has_no_vectors(tmp_path: Path, change: Any) -> None:
    """The data and the operators are exported all the same, and header and facts say why there is no arena."""
    tflite = tmp_path / "model.tflite"
    tflite.write_bytes(changed(change))
    facts = export.run(tflite, tmp_path, name="m", classes=None, vectors=None)
    assert (4, 0) == (facts["files"], facts["vectors"])
    header = (tmp_path / "m_model.h").read_text(encoding="utf-8")
    assert f"// No arena size and no test vector: {facts['problem']}\n" in header
    assert not list(tmp_path.glob("*test*"))


def test_an_input_that_c_has_no_type_for_is_refused(tmp_path: Path) -> None:
    """An error names the input and its type, and nothing is written."""

    def complex_input(model: Any) -> None:
        model.subgraphs[0].tensors[0].type = schema.TensorType.COMPLEX64

    with pytest.raises(StageError, match="number type") as caught:
        exported(tmp_path, changed(complex_input), vectors=None)
    assert "x: complex64" == caught.value.found
    assert [] == list((tmp_path / "export").iterdir())


# -- Arduino ---------------------------------------------------------------------------------------------------------


def test_arduino_library_has_its_layout(tmp_path: Path) -> None:
    """library.properties, src/ and an example, in a zip without a second main; the example compiles."""
    with zipfile.ZipFile(exported(tmp_path) / "door_2_arduino.zip") as archive:
        names = set(archive.namelist())
        archive.extractall(tmp_path)
    library = tmp_path / "door_2_model"
    properties = (library / "library.properties").read_text(encoding="utf-8")
    sources = {"model.h", "model.cpp", "ops.h", "test_vector.h", "test_vector.cpp"}
    rest = {"library.properties", "examples/door_2/door_2.ino"}
    assert {f"door_2_model/{name}" for name in rest | {f"src/door_2_{name}" for name in sources}} == names
    assert "name=door_2_model\n" in properties
    assert "includes=door_2_model.h\n" in properties
    options = "-c", stubs(tmp_path), f"-I{library / 'src'}", "-xc++"
    compiled(tmp_path, *options, library / "examples/door_2/door_2.ino")
