"""The export stage: C++ sources, a test vector and an Arduino library, all that firmware needs of a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mltkbuild.bodies import cpp, graph, micro, params
from mltkbuild.bodies.keras_file import write_zip
from mltkbuild.bodies.resolver import method_of
from mltkbuild.errors import StageError

SEED = 20_261_124
RANDOM_VECTORS = 4
_CPP_TYPES = {
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int16": "int16_t",
    "uint16": "uint16_t",
    "int32": "int32_t",
    "uint32": "uint32_t",
    "int64": "int64_t",
    "float32": "float",
    "bool": "bool",
}


@dataclass(frozen=True)
class _Source:
    """What the files are written from.

    Args:
        name: The C++ identifier that files and namespace are named after.
        tflite: The model.
        model: The same, read.
        arena: Bytes of working memory; None for a model that can't run.
        problem: Why it can't.
        classes: Labels.
        parameters: The embedded ones.
        vectors: Inputs with the outputs that they give.
    """

    name: str
    tflite: bytes
    model: graph.Graph
    arena: int | None
    problem: str
    classes: Sequence[str]
    parameters: Mapping[str, object]
    vectors: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]

    @property
    def space(self) -> str:
        """The namespace."""
        return f"{self.name}_model"


def run(
    tflite: Path,
    folder: Path,
    *,
    name: str,
    classes: Sequence[str] | None,
    vectors: Sequence[Sequence[np.ndarray]] | None,
) -> dict[str, object]:
    """Write what a firmware project needs.

    Args:
        tflite: The model, parameters embedded.
        folder: Where to write; it exists.
        name: The model's name.
        classes: The labels of its outputs, if it has any.
        vectors: Inputs of the test, each one array an input with the batch of 1, in the input's number type; seeded
            random ones when None.

    Returns:
        How many files and operators there are, and how many test vectors.

    Raises:
        StageError: The file is no model, or an operator has no place in a resolver.
    """
    source = _source(tflite.read_bytes(), cpp.identifier(name), classes, vectors)
    files = {
        f"{source.name}_model.h": _header(source),
        f"{source.name}_model.cc": _data(source),
        f"{source.name}_ops.h": _operators(source),
    }
    if source.vectors:
        files |= {
            f"{source.name}_test_vector.h": _vector_header(source),
            f"{source.name}_test_vector.cc": _vector_data(source),
            f"{source.name}_test_main.cc": _test_main(source),
        }
    for file_name, text in files.items():
        (folder / file_name).write_text(text, encoding="utf-8")
    write_zip(folder / f"{source.name}_arduino.zip", _arduino(source, files))
    names = source.model.operator_names
    return {"files": len(files) + 1, "operators": len(names), "vectors": len(source.vectors)}


def _source(
    tflite: bytes,
    name: str,
    classes: Sequence[str] | None,
    vectors: Sequence[Sequence[np.ndarray]] | None,
) -> _Source:
    model = graph.read(tflite)
    parameters = params.extract(tflite)
    arena, problem, rows = None, "", []
    try:
        runner = micro.Micro(tflite)
        inputs = vectors if vectors is not None else _random_vectors(runner)
        rows = [(row, runner.invoke(row)) for row in inputs]
        arena = runner.arena().total
    except StageError as error:
        problem = f"{error.what}: {error.found}"
    return _Source(name, tflite, model, arena, problem, list(classes or ()), parameters, rows)


def _random_vectors(runner: micro.Micro) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(SEED)
    return [[_random(port, generator) for port in runner.inputs] for _ in range(RANDOM_VECTORS)]


def _random(port: micro.Port, generator: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(port.dtype)
    if dtype.kind in "iu":
        limits = np.iinfo(dtype)
        return generator.integers(limits.min, limits.max, port.shape, dtype=dtype, endpoint=True)
    return generator.uniform(-1.0, 1.0, port.shape).astype(dtype)


# -- the model -------------------------------------------------------------------------------------------------------


def _header(source: _Source) -> str:
    arena = source.arena
    lines = [
        f"// The model {source.name}: its data, what it takes and gives, its labels and parameters.",
        "#pragma once",
        "",
        "#include <cstddef>",
        "#include <cstdint>",
        "",
        f"namespace {source.space} {{",
        "",
        "// The .tflite file.",
        "extern const unsigned char data[];",
        f"constexpr std::size_t data_size = {len(source.tflite)};",
        f"constexpr std::uint32_t data_fletcher32 = {cpp.fletcher32(source.tflite)}U;",
        "",
        *_arena_lines(arena, source.problem),
        f"constexpr int operator_count = {len(source.model.operator_names)};",
        "",
        *_port_lines("input", source.model.inputs),
        *_port_lines("output", source.model.outputs),
        *_label_lines(source.classes),
        *_parameter_lines(source.parameters),
        f"}}  // namespace {source.space}",
        "",
    ]
    return "\n".join(lines)


def _arena_lines(arena: int | None, problem: str) -> list[str]:
    if arena is None:
        return [f"// No arena size and no test vector: {cpp.comment(problem)}"]
    return [
        "// Working memory in bytes, measured with TensorFlow Lite Micro's reference kernels on a 64-bit host.",
        "// Optimised kernels may need more scratch memory: ask MicroInterpreter::arena_used_bytes() on the device.",
        f"constexpr std::size_t arena_size = {arena};",
    ]


def _port_lines(kind: str, tensors: Sequence[graph.Tensor]) -> list[str]:
    lines = [f"constexpr int {kind}_count = {len(tensors)};"]
    for number, tensor in enumerate(tensors):
        prefix = kind if len(tensors) == 1 else f"{kind}{number}"
        shape = ", ".join(map(str, tensor.shape)) or "1"
        lines += [
            f"// {cpp.comment(tensor.name)}",
            f"using {prefix}_type = {_type(tensor.dtype)};",
            f"constexpr int {prefix}_shape[] = {{{shape}}};",
            f"constexpr std::size_t {prefix}_elements = {tensor.elements};",
        ]
        if tensor.scale:
            lines += [
                f"// real value = (quantized value - {prefix}_zero_point) * {prefix}_scale",
                f"constexpr float {prefix}_scale = {cpp.float32(tensor.scale)};",
                f"constexpr int {prefix}_zero_point = {tensor.zero_point};",
            ]
    return [*lines, ""]


def _type(dtype: str) -> str:
    if dtype not in _CPP_TYPES:
        raise StageError(
            "an input or output has a number type that the export doesn't know",
            found=dtype,
            fix=f"end the model in one of {', '.join(_CPP_TYPES)}",
        )
    name = _CPP_TYPES[dtype]
    return f"std::{name}" if name.endswith("_t") else name


def _label_lines(classes: Sequence[str]) -> list[str]:
    if not classes:
        return []
    labels = "".join(f"    {cpp.string(label)},\n" for label in classes).rstrip("\n")
    return [
        f"constexpr int label_count = {len(classes)};",
        "constexpr const char* labels[] = {",
        labels,
        "};",
        "",
    ]


def _parameter_lines(parameters: Mapping[str, object]) -> list[str]:
    if not parameters:
        return []
    lines = ["// The parameters that are embedded in the data.", "namespace parameters {"]
    for key, name in cpp.identifiers(sorted(parameters)).items():
        lines += [f"// {cpp.comment(key)}", *_parameter(name, parameters[key])]
    return [*lines, "}  // namespace parameters", ""]


def _parameter(name: str, value: object) -> list[str]:
    if isinstance(value, bytes):
        return _array(name, "unsigned char", [f"0x{byte:02x}" for byte in value])
    if isinstance(value, list):
        return _array(name, *_items(value))
    kind, text = _scalar(value)
    return [f"constexpr {kind} {name} = {text};"]


def _scalar(value: object) -> tuple[str, str]:
    """The C++ type of a value, and its literal."""
    if isinstance(value, bool):
        return "bool", "true" if value else "false"
    if isinstance(value, int):
        wide = "std::uint64_t" if value > 2**63 - 1 else "std::int64_t"
        return (wide if abs(value) > 2**31 - 1 else "std::int32_t"), cpp.integer(value)
    if isinstance(value, float):
        return "double", cpp.float64(value)
    return "const char*", cpp.string(str(value))


def _items(values: Sequence[object]) -> tuple[str, list[str]]:
    """The C++ type of a list's elements, and their literals."""
    if all(isinstance(item, str) for item in values):
        return "const char*", [cpp.string(str(item)) for item in values]
    if all(isinstance(item, int) for item in values):
        return "std::int32_t", [cpp.integer(item) for item in values if isinstance(item, int)]
    return "float", [cpp.float32(item) for item in values if isinstance(item, int | float)]


def _array(name: str, kind: str, items: Sequence[str]) -> list[str]:
    if not items:
        # C++ has no array without elements.
        return [f"constexpr std::size_t {name}_count = 0;"]
    return [
        f"constexpr std::size_t {name}_count = {len(items)};",
        f"constexpr {kind} {name}[] = {{{', '.join(items)}}};",
    ]


def _data(source: _Source) -> str:
    return (
        f'#include "{source.name}_model.h"\n\n'
        f"namespace {source.space} {{\n\n"
        f"alignas(16) const unsigned char data[] = {{\n{cpp.bytes_body(source.tflite)}\n}};\n\n"
        f"}}  // namespace {source.space}\n"
    )


def _operators(source: _Source) -> str:
    operators = {(operator.name, operator.is_custom) for part in source.model.subgraphs for operator in part.operators}
    methods = sorted(method_of(name, is_custom) for name, is_custom in operators)
    calls = "\n".join(f"  if (resolver.{method}() != kTfLiteOk) return kTfLiteError;" for method in methods)
    return f"""// The operators that the model uses, and no other.
#pragma once

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

namespace {source.space} {{

using OpResolver = tflite::MicroMutableOpResolver<{len(methods)}>;

inline TfLiteStatus RegisterOps(OpResolver& resolver) {{
{calls}
  return kTfLiteOk;
}}

}}  // namespace {source.space}
"""


# -- the test --------------------------------------------------------------------------------------------------------


def _vector_header(source: _Source) -> str:
    lines = [
        "// Inputs, and the outputs that TensorFlow Lite Micro's reference kernels give for them.",
        "#pragma once",
        "",
        f'#include "{source.name}_model.h"',
        "",
        f"namespace {source.space} {{",
        "",
        f"constexpr int vector_count = {len(source.vectors)};",
        *_vector_declarations(source),
        "",
        f"}}  // namespace {source.space}",
        "",
    ]
    return "\n".join(lines)


def _vector_declarations(source: _Source) -> list[str]:
    return [
        f"extern const {_type(tensor.dtype)} vector_{kind}{number}[{len(source.vectors)}][{tensor.elements}];"
        for kind, tensors in (("input", source.model.inputs), ("output", source.model.outputs))
        for number, tensor in enumerate(tensors)
    ]


def _vector_data(source: _Source) -> str:
    blocks = []
    for place, (kind, tensors) in enumerate((("input", source.model.inputs), ("output", source.model.outputs))):
        for number, tensor in enumerate(tensors):
            rows = ",\n".join(
                "{\n" + cpp.numbers_body(vector[place][number], tensor.dtype) + "\n}" for vector in source.vectors
            )
            size = f"[{len(source.vectors)}][{tensor.elements}]"
            blocks.append(f"const {_type(tensor.dtype)} vector_{kind}{number}{size} = {{\n{rows}}};\n")
    body = "\n".join(blocks)
    return (
        f'#include "{source.name}_test_vector.h"\n\n'
        f"namespace {source.space} {{\n\n{body}\n}}  // namespace {source.space}\n"
    )


def _test_main(source: _Source) -> str:
    copies = "\n".join(
        f"    std::memcpy(interpreter.input({number})->data.raw, model::vector_input{number}[vector], "
        f"sizeof(model::vector_input{number}[vector]));"
        for number in range(len(source.model.inputs))
    )
    checks = "\n".join(
        f"    wrong += Differing(model::vector_output{number}[vector], "
        f"reinterpret_cast<const {_type(tensor.dtype)}*>(interpreter.output({number})->data.raw), {tensor.elements});"
        for number, tensor in enumerate(source.model.outputs)
    )
    return _MAIN.format(name=source.name, space=source.space, copies=copies, checks=checks)


_MAIN = """// Checks the model's data, and on TensorFlow Lite Micro its answers. Returns 0 when all is well.
// With {space}_DATA_ONLY defined it needs no TensorFlow header.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>

#include "{name}_model.h"
#include "{name}_test_vector.h"
#ifndef {space}_DATA_ONLY
#include "{name}_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#endif

namespace model = {space};

static int CheckData() {{
  if (reinterpret_cast<std::uintptr_t>(model::data) % 16 != 0) return 1;
  if (std::memcmp(model::data + 4, "TFL3", 4) != 0) return 2;
  std::uint32_t low = 0, high = 0;
  for (std::size_t at = 0; at < model::data_size; at += 2) {{
    const std::uint32_t next = at + 1 < model::data_size ? model::data[at + 1] : 0U;
    low = (low + (model::data[at] | next << 8)) % 65535U;
    high = (high + low) % 65535U;
  }}
  return (high << 16 | low) == model::data_fletcher32 ? 0 : 3;
}}

#ifndef {space}_DATA_ONLY
alignas(16) static std::uint8_t arena[model::arena_size + 1024];

template <typename T>
static int Differing(const T* expected, const T* found, int count) {{
  int wrong = 0;
  for (int at = 0; at < count; ++at) wrong += expected[at] != found[at];
  return wrong;
}}

// Floats may differ by rounding.
static inline int Differing(const float* expected, const float* found, int count) {{
  int wrong = 0;
  for (int at = 0; at < count; ++at) {{
    wrong += !(std::fabs(expected[at] - found[at]) <= 1e-4f * (1.0f + std::fabs(expected[at])));
  }}
  return wrong;
}}

static int CheckAnswers() {{
  model::OpResolver resolver;
  if (model::RegisterOps(resolver) != kTfLiteOk) return 4;
  tflite::MicroInterpreter interpreter(tflite::GetModel(model::data), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 5;
  int wrong = 0;
  for (int vector = 0; vector < model::vector_count; ++vector) {{
{copies}
    if (interpreter.Invoke() != kTfLiteOk) return 6;
{checks}
  }}
  std::printf("%d values differ\\n", wrong);
  return wrong == 0 ? 0 : 7;
}}
#endif

int main() {{
  const int data = CheckData();
  std::printf("data: %s\\n", data == 0 ? "ok" : "damaged");
#ifdef {space}_DATA_ONLY
  return data;
#else
  return data != 0 ? data : CheckAnswers();
#endif
}}
"""


# -- Arduino ---------------------------------------------------------------------------------------------------------


def _arduino(source: _Source, files: Mapping[str, str]) -> dict[str, bytes | Path]:
    """The members of an Arduino library of format 1.5, with a sketch that runs the model once."""
    library = f"{source.name}_model"
    properties = {
        "name": library,
        "version": f"{_version(source.parameters)}.0.0",
        "author": "mltkbuild",
        "maintainer": "mltkbuild",
        "sentence": f"The model {source.name} for TensorFlow Lite Micro.",
        "paragraph": "Its data, operators, labels, parameters and a test vector.",
        "category": "Data Processing",
        "url": "https://docs.arduino.cc/arduino-cli/library-specification/",
        "architectures": "*",
        "includes": f"{source.name}_model.h",
    }
    members = {f"{library}/library.properties": "".join(f"{key}={value}\n" for key, value in properties.items())}
    for file_name, text in files.items():
        # A second main would be linked into every sketch.
        if not file_name.endswith("_test_main.cc"):
            members[f"{library}/src/{file_name.replace('.cc', '.cpp')}"] = text
    if source.arena is not None:
        members[f"{library}/examples/{source.name}/{source.name}.ino"] = _SKETCH.format(
            name=source.name, space=source.space
        )
    return {name: text.encode() for name, text in members.items()}


def _version(parameters: Mapping[str, object]) -> int:
    version = parameters.get("version", 1)
    return version if isinstance(version, int) else 1


_SKETCH = """// Runs the model on a zero input and prints its first output.
#include <Arduino.h>

#include "{name}_model.h"
#include "{name}_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

alignas(16) static uint8_t arena[{space}::arena_size + 1024];

void setup() {{
  Serial.begin(115200);
  static {space}::OpResolver resolver;
  if ({space}::RegisterOps(resolver) != kTfLiteOk) return;
  static tflite::MicroInterpreter interpreter(tflite::GetModel({space}::data), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {{
    Serial.println("the arena is too small");
    return;
  }}
  memset(interpreter.input(0)->data.raw, 0, interpreter.input(0)->bytes);
  if (interpreter.Invoke() == kTfLiteOk) {{
    Serial.print("arena bytes used: ");
    Serial.println(interpreter.arena_used_bytes());
  }}
}}

void loop() {{}}
"""
