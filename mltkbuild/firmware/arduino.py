"""An Arduino library of a model, in the layout of Arduino's library specification 1.5, with a sketch that runs it."""

from __future__ import annotations

from collections.abc import Mapping

from mltkbuild.firmware.firmware import Firmware

_LONGEST = 63
"""Characters that Arduino allows in the name of a library or a sketch."""


def members(firmware: Firmware, files: Mapping[str, str]) -> dict[str, bytes]:
    """What the library's zip holds, by name.

    Args:
        firmware: The model.
        files: The texts of its exported sources.
    """
    library = f"{firmware.name}_model"[:_LONGEST]
    texts = {"library.properties": _properties(firmware, library)}
    for name, text in files.items():
        # A second main would be linked into every sketch.
        if not name.endswith("_test_main.cc"):
            texts[f"src/{name.removesuffix('.cc')}.cpp" if name.endswith(".cc") else f"src/{name}"] = text
    if firmware.vectors:
        sketch = firmware.name[:_LONGEST]
        texts[f"examples/{sketch}/{sketch}.ino"] = _sketch(firmware)
    return {f"{library}/{name}": text.encode() for name, text in texts.items()}


def _properties(firmware: Firmware, library: str) -> str:
    version = firmware.parameters.get("version")
    number = version.value if version is not None and isinstance(version.value, int) else 1
    values = {
        "name": library,
        "version": f"{max(int(number), 0)}.0.0",
        "author": "mltkbuild",
        "maintainer": "mltkbuild",
        "sentence": f"The model {firmware.name} for TensorFlow Lite Micro.",
        "paragraph": "Its data, operators, labels, parameters and a test vector.",
        "category": "Data Processing",
        "url": "https://github.com/tensorflow/tflite-micro",
        "architectures": "*",
        "includes": f"{firmware.name}_model.h",
    }
    return "".join(f"{key}={value}\n" for key, value in values.items())


def _sketch(firmware: Firmware) -> str:
    copies = "".join(
        f"  memcpy(interpreter.input({number})->data.raw, {firmware.space}::vector_input{number}[0], "
        f"sizeof({firmware.space}::vector_input{number}[0]));\n"
        for number in range(len(firmware.graph.inputs))
    )
    prints = "".join(
        _PRINT.format(space=firmware.space, number=number) for number in range(len(firmware.graph.outputs))
    )
    return _SKETCH.format(name=firmware.name, space=firmware.space, copies=copies, prints=prints)


_PRINT = """  Report({space}::vector_output{number}[0], interpreter.output({number})->data.raw);
"""
_SKETCH = """// Runs the model on the first test vector and prints each output beside the one expected.
// It needs a library with TensorFlow Lite Micro.
#include <Arduino.h>

#include "{name}_model.h"
#include "{name}_ops.h"
#include "{name}_test_vector.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/schema/schema_generated.h"

alignas(16) static uint8_t arena[{space}::arena_size + 1024];

template <typename T, size_t count>
static void Report(const T (&expected)[count], const void* output) {{
  const T* found = static_cast<const T*>(output);
  for (size_t at = 0; at < count; ++at) {{
    Serial.print(static_cast<double>(found[at]));
    Serial.print(" expected ");
    Serial.println(static_cast<double>(expected[at]));
  }}
}}

void setup() {{
  Serial.begin(115200);
  static {space}::OpResolver resolver;
  if ({space}::RegisterOps(resolver) != kTfLiteOk) return;
  static tflite::MicroInterpreter interpreter(tflite::GetModel({space}::data), resolver, arena, sizeof(arena));
  if (interpreter.AllocateTensors() != kTfLiteOk) {{
    Serial.println("the arena is too small");
    return;
  }}
{copies}  if (interpreter.Invoke() != kTfLiteOk) {{
    Serial.println("the model failed");
    return;
  }}
{prints}  Serial.print("arena bytes used: ");
  Serial.println(static_cast<unsigned long>(interpreter.arena_used_bytes()));
}}

void loop() {{}}
"""
