"""The export stage: C++ sources, a test vector and an Arduino library, all that firmware needs of a model."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from mltkbuild.archives.writing import write_zip
from mltkbuild.disk.facts import Facts
from mltkbuild.errors import StageError
from mltkbuild.firmware import arduino, cpp, firmware, resolver, vector_files
from mltkbuild.firmware.firmware import Firmware
from mltkbuild.tflite import graph, micro, params
from mltkbuild.tflite.dictionary import Typed

SEED = 20_261_124
RANDOM_VECTORS = 4
_ALIGNMENT = 16
_SCALARS = {
    **{f"{sign}int{bits}": f"std::{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "bool": "bool",
    "float": "float",
    "double": "double",
    "str": "const char*",
}
_ELEMENTS = {"str_list": "str", "int32_list": "int32", "float_list": "float", "bin": "uint8"}


def run(  # noqa: PLR0913  # a stage body's signature is its dependency list
    tflite: Path,
    folder: Path,
    *,
    name: str,
    classes: Sequence[str] | None,
    vectors: Sequence[Sequence[np.ndarray]] | None,
    arena_margin: int = 0,
) -> Facts:
    """Write what a firmware project needs.

    Args:
        tflite: The model, parameters embedded.
        folder: Where to write; it exists.
        name: The model's name; files are named after it, in letters, digits and underscores.
        classes: The labels of its outputs, if it has any.
        vectors: Inputs of the test, each one array an input with the batch of 1, in the input's number type; seeded
            random ones when None or empty. Their outputs are those of TensorFlow Lite Micro.
        arena_margin: Bytes to add to the measured arena.

    Returns:
        How many files, bytes in them, operators and test vectors there are; for a model that can't run, also
        `problem`.

    Raises:
        StageError: The file is no model, has an input or output that C++ has no type for, or a vector doesn't fit.
    """
    given = _firmware(tflite.read_bytes(), vectors, name=name, classes=classes, arena_margin=arena_margin)
    texts = {
        f"{given.name}_model.h": _header(given),
        f"{given.name}_model.cc": _data(given),
        f"{given.name}_ops.h": resolver.source(given),
        **vector_files.sources(given),
    }
    files = {file_name: text.encode() for file_name, text in texts.items()}
    for file_name, content in files.items():
        (folder / file_name).write_bytes(content)
    library = folder / f"{given.name}_arduino.zip"
    write_zip(library, arduino.members(given, texts))
    facts: Facts = {
        "files": len(files) + 1,
        "bytes": sum(map(len, files.values())) + library.stat().st_size,
        "operators": len(given.graph.operator_names),
        "vectors": len(given.vectors),
    }
    if given.problem:
        facts["problem"] = given.problem
    return facts


def _firmware(
    tflite: bytes,
    vectors: Sequence[Sequence[np.ndarray]] | None,
    *,
    name: str,
    classes: Sequence[str] | None,
    arena_margin: int,
) -> Firmware:
    model = graph.read(tflite)
    for row in vectors or ():
        _check_vector(row, model.inputs)
    arena, problem, rows = None, "", []
    try:
        # First, as what this process loads may end it.
        needed = micro.measured(tflite).total
        runner = micro.Micro(tflite)
        rows = [(row, runner.invoke(row)) for row in vectors or _random_vectors(runner)]
        arena = -(-(needed + arena_margin) // _ALIGNMENT) * _ALIGNMENT
    except micro.CantRun as error:
        rows, problem = [], f"{error.what}: {error.found}"
    return Firmware(
        name=firmware.file_name(name),
        tflite=tflite,
        graph=model,
        classes=list(classes or ()),
        parameters=params.extract_typed(tflite),
        arena=arena,
        arena_margin=arena_margin,
        problem=problem,
        vectors=rows,
    )


def _check_vector(row: Sequence[np.ndarray], inputs: Sequence[graph.Tensor]) -> None:
    found = [(value.dtype.name, value.shape) for value in row]
    wanted = [(tensor.dtype, tensor.shape) for tensor in inputs]
    if found != wanted:
        raise StageError(
            "a test vector doesn't fit the model's inputs",
            found=f"{found} for {wanted}",
            fix="give one array for each input, of its number type and shape, the batch of 1 first",
        )


def _random_vectors(runner: micro.Micro) -> list[list[np.ndarray]]:
    generator = np.random.default_rng(SEED)
    return [[_random(port, generator) for port in runner.inputs] for _ in range(RANDOM_VECTORS)]


def _random(port: micro.Port, generator: np.random.Generator) -> np.ndarray:
    dtype = np.dtype(port.dtype)
    if dtype.kind == "b":
        return generator.integers(0, 2, port.shape).astype(dtype)
    if dtype.kind not in "iu":
        return generator.uniform(-1.0, 1.0, port.shape).astype(dtype)
    if not port.scale and dtype.itemsize > 2:
        # Wide integers without a scale are places in a table, whose length isn't known here; 0 is in each.
        return np.zeros(port.shape, dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, port.shape, dtype=dtype, endpoint=True)


# -- the model -------------------------------------------------------------------------------------------------------


def _header(given: Firmware) -> str:
    lines = [
        "// The .tflite file.",
        f"constexpr std::size_t data_size = {len(given.tflite)};",
        f"constexpr std::uint32_t data_crc32 = {zlib.crc32(given.tflite)}U;",
        f"alignas({_ALIGNMENT}) extern const unsigned char data[data_size];",
        "",
        *_arena_lines(given),
        f"constexpr int operator_count = {len(given.graph.operator_names)};",
        "",
        *_port_lines("input", given.graph.inputs),
        *_port_lines("output", given.graph.outputs),
        f"constexpr int label_count = {len(given.classes)};",
        *_array("labels", "const char*", [cpp.string(label) for label in given.classes]),
        "",
        *_parameter_lines(given.parameters),
    ]
    return _HEAD.format(name=given.name) + given.in_space("\n".join(lines))


_HEAD = """// The model {name}: its data, what it takes and gives, its labels and parameters.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

"""


def _arena_lines(given: Firmware) -> list[str]:
    if given.arena is None:
        return [f"// No arena size and no test vector: {cpp.comment(given.problem)}"]
    margin = f" {given.arena_margin} of them are a margin." if given.arena_margin else ""
    return [
        f"// Bytes of working memory: reference kernels, 64-bit host.{margin}",
        "// Other kernels may need more: MicroInterpreter::arena_used_bytes() tells on the device.",
        f"constexpr std::size_t arena_size = {given.arena};",
    ]


def _port_lines(kind: str, tensors: Sequence[graph.Tensor]) -> list[str]:
    lines = [f"constexpr int {kind}_count = {len(tensors)};"]
    for number, tensor in enumerate(tensors):
        prefix = kind if len(tensors) == 1 else f"{kind}{number}"
        shape = ", ".join(map(str, tensor.shape)) or "1"
        meaning = f"real value = (value - {prefix}_zero_point) * {prefix}_scale" if tensor.scale else "not quantized"
        lines += [
            f"// {cpp.comment(tensor.name)}: {meaning}",
            f"using {prefix}_type = {firmware.type_of(tensor)};",
            f"constexpr int {prefix}_shape[] = {{{shape}}};",
            f"constexpr std::size_t {prefix}_elements = {tensor.elements};",
            f"constexpr float {prefix}_scale = {cpp.float32(tensor.scale)};",
            f"constexpr int {prefix}_zero_point = {tensor.zero_point};",
        ]
    return [*lines, ""]


def _parameter_lines(parameters: Mapping[str, Typed]) -> list[str]:
    if not parameters:
        return []
    lists = {key: "_count" for key, parameter in parameters.items() if parameter.type in _ELEMENTS}
    lines = ["// The parameters that are embedded in the data.", "namespace parameters {", ""]
    for key, name in cpp.identifiers(sorted(parameters), lists).items():
        lines += [f"// {cpp.comment(key)}", *_parameter(name, parameters[key])]
    return [*lines, "", "}  // namespace parameters", ""]


def _parameter(name: str, parameter: Typed) -> list[str]:
    value = parameter.value
    kind = _ELEMENTS.get(parameter.type)
    if kind is None or not isinstance(value, list | bytes):
        return [f"constexpr {_SCALARS[parameter.type]} {name} = {_literal(value, parameter.type)};"]
    literals = [_literal(item, kind) for item in value]
    return [f"constexpr std::size_t {name}_count = {len(literals)};", *_array(name, _SCALARS[kind], literals)]


def _literal(value: object, kind: str) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return cpp.float32(value) if kind == "float" else cpp.float64(value)
    return cpp.integer(value) if isinstance(value, int) else cpp.string(str(value))


def _array(name: str, kind: str, literals: Sequence[str]) -> list[str]:
    # C++ has no array without elements; a null pointer can be passed where an array can.
    if not literals:
        return [f"constexpr {kind} const* {name} = nullptr;"]
    return [f"constexpr {kind} {name}[] = {{", cpp.lines(literals), "};"]


def _data(given: Firmware) -> str:
    body = (
        f"alignas({_ALIGNMENT}) const unsigned char data[] = {{\n{cpp.bytes_body(given.tflite)}\n}};\n"
        'static_assert(sizeof(data) == data_size, "the data is cut");\n'
    )
    return f'#include "{given.name}_model.h"\n\n' + given.in_space(body)
