"""The test that firmware runs on a device: inputs, the outputs expected, and a `main` that compares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from mltkbuild.firmware import cpp
from mltkbuild.firmware.firmware import Firmware, type_of
from mltkbuild.tflite.graph import Tensor


def sources(firmware: Firmware) -> dict[str, str]:
    """The texts of the test by file name; none for a model without vectors."""
    if not firmware.vectors:
        return {}
    return {
        f"{firmware.name}_test_vector.h": _header(firmware),
        f"{firmware.name}_test_vector.cc": _data(firmware),
        f"{firmware.name}_test_main.cc": _main(firmware),
    }


def _header(firmware: Firmware) -> str:
    declared = "".join(f"extern const {array};\n" for array, _ in _arrays(firmware))
    body = f"constexpr int vector_count = {len(firmware.vectors)};\n{declared}"
    return f'{_HEAD}#include "{firmware.name}_model.h"\n\n{firmware.in_space(body)}'


_HEAD = """// Inputs, and the outputs that TensorFlow Lite Micro's reference kernels give for each from a reset state.
#pragma once

"""


def _data(firmware: Firmware) -> str:
    blocks = []
    for array, values in _arrays(firmware):
        rows = "".join(f"{{\n{cpp.numbers_body(row)}\n}},\n" for row in values)
        blocks.append(f"const {array} = {{\n{rows}}};\n")
    return f'#include "{firmware.name}_test_vector.h"\n\n' + firmware.in_space("\n".join(blocks))


def _arrays(firmware: Firmware) -> Iterator[tuple[str, Sequence[np.ndarray]]]:
    """Each array of vectors: its declaration, and a row of values for each vector."""
    for place, (kind, tensors) in enumerate((("input", firmware.graph.inputs), ("output", firmware.graph.outputs))):
        for number, tensor in enumerate(tensors):
            name = f"vector_{kind}{number}[{len(firmware.vectors)}][{tensor.elements}]"
            yield f"{type_of(tensor)} {name}", [vector[place][number] for vector in firmware.vectors]


def _main(firmware: Firmware) -> str:
    copies = "".join(_copy(number) for number in range(len(firmware.graph.inputs)))
    checks = "".join(_check(number, tensor) for number, tensor in enumerate(firmware.graph.outputs))
    return _MAIN.format(name=firmware.name, space=firmware.space, copies=copies, checks=checks)


def _copy(number: int) -> str:
    given = f"model::vector_input{number}[vector]"
    return f"    std::memcpy(interpreter.input({number})->data.raw, {given}, sizeof({given}));\n"


def _check(number: int, tensor: Tensor) -> str:
    found = f"reinterpret_cast<const {type_of(tensor)}*>(interpreter.output({number})->data.raw)"
    return f"    wrong += Differing(model::vector_output{number}[vector], {found}, {tensor.elements});\n"


_MAIN = """// Checks the model's data, and on TensorFlow Lite Micro its answers. Returns 0 when all is well.
// With {space}_DATA_ONLY defined it needs no TensorFlow header.
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <type_traits>

#include "{name}_model.h"
#include "{name}_test_vector.h"
#ifndef {space}_DATA_ONLY
#include "{name}_ops.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"
#endif

namespace {{

namespace model = ::{space};

// The checksum of zip and PNG files.
std::uint32_t Crc32(const unsigned char* data, std::size_t size) {{
  std::uint32_t crc = 0xffffffffU;
  for (std::size_t at = 0; at < size; ++at) {{
    crc ^= data[at];
    for (int bit = 0; bit < 8; ++bit) crc = crc >> 1 ^ (0xedb88320U & (0U - (crc & 1U)));
  }}
  return ~crc;
}}

int CheckData() {{
  if (reinterpret_cast<std::uintptr_t>(model::data) % 16 != 0) return 1;
  if (std::memcmp(model::data + 4, "TFL3", 4) != 0) return 2;
  return Crc32(model::data, model::data_size) == model::data_crc32 ? 0 : 3;
}}

#ifndef {space}_DATA_ONLY
// A little more than was measured, for another version of TensorFlow Lite Micro.
alignas(16) std::uint8_t arena[model::arena_size + 1024];

// Integers must be equal; floats may differ by rounding.
template <typename T>
bool Equal(T expected, T found) {{
  if constexpr (std::is_floating_point<T>::value) {{
    if (std::isnan(expected)) return std::isnan(found);
    if (std::isinf(expected)) return expected == found;
    return std::fabs(expected - found) <= T(1e-4) * (1 + std::fabs(expected));
  }}
  return expected == found;
}}

template <typename T>
int Differing(const T* expected, const T* found, int count) {{
  int wrong = 0;
  for (int at = 0; at < count; ++at) wrong += !Equal(expected[at], found[at]);
  return wrong;
}}

int CheckAnswers() {{
  model::OpResolver resolver;
  if (model::RegisterOps(resolver) != kTfLiteOk) return 4;
  tflite::MicroInterpreter interpreter(tflite::GetModel(model::data), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) return 5;
  int wrong = 0;
  for (int vector = 0; vector < model::vector_count; ++vector) {{
    if (interpreter.Reset() != kTfLiteOk) return 6;
{copies}    if (interpreter.Invoke() != kTfLiteOk) return 6;
{checks}  }}
  std::printf("%d values differ\\n", wrong);
  return wrong == 0 ? 0 : 7;
}}
#endif

}}  // namespace

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
