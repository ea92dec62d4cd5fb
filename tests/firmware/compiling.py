"""A C++ compiler for tests, and stand-ins for the headers of TensorFlow Lite Micro and Arduino."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from ai_edge_litert import schema_py_generated as schema

STRICT = ("-std=c++17", "-Wall", "-Wextra", "-Werror")
# Those of micro_mutable_op_resolver.h in tensorflow/tflite-micro.
_METHODS = """
Abs Add AddN ArgMax ArgMin AssignVariable AveragePool2D BatchMatMul BatchToSpaceNd BroadcastArgs BroadcastTo CallOnce
Cast Ceil CircularBuffer Concatenation Conv2D Cos CumSum Decode Delay DepthToSpace DepthwiseConv2D Dequantize
DetectionPostprocess Div DynamicUpdateSlice Elu EmbeddingLookup Energy Equal EthosU Exp ExpandDims FftAutoScale Fill
FilterBank FilterBankLog FilterBankSpectralSubtraction FilterBankSquareRoot Floor FloorDiv FloorMod Framer
FullyConnected Gather GatherNd Greater GreaterEqual HardSwish If Irfft L2Normalization L2Pool2D LeakyRelu Less LessEqual
Log LogSoftmax LogicalAnd LogicalNot LogicalOr Logistic MaxPool2D Maximum Mean Minimum MirrorPad Mul Neg NotEqual
OverlapAdd PCAN Pack Pad PadV2 Prelu Quantize ReadVariable ReduceAll ReduceMax ReduceMin Relu Relu6 Reshape
ResizeBilinear ResizeNearestNeighbor ReverseV2 Rfft Round Rsqrt SelectV2 Shape Sin Slice Softmax SpaceToBatchNd
SpaceToDepth Split SplitV Sqrt Square SquaredDifference Squeeze Stacker StridedSlice Sub Sum Svdf Tanh Transpose
TransposeConv UnidirectionalSequenceLSTM Unpack VarHandle While Window ZerosLike
"""
METHODS = frozenset(_METHODS.split())
# What of TensorFlow Lite Micro and Arduino the exported code uses, declared so that the compiler can check it. The
# interpreter answers whatever it is asked with ANSWER; it refuses to go on from a state that wasn't reset.
STUBS = {
    "tensorflow/lite/micro/micro_mutable_op_resolver.h": f"""
#pragma once
#include <string>
enum TfLiteStatus {{ kTfLiteOk, kTfLiteError }};
struct TFLMRegistration {{}};
namespace tflite {{
template <unsigned int Count> struct MicroMutableOpResolver {{
  unsigned int used = 0;
  TfLiteStatus Use() {{ return ++used <= Count ? kTfLiteOk : kTfLiteError; }}
  TfLiteStatus AddCustom(const char*, const TFLMRegistration*) {{ return Use(); }}
{"".join(f"  TfLiteStatus Add{name}() {{ return Use(); }}" for name in sorted(METHODS))}
}};
}}
""",
    "tensorflow/lite/micro/micro_interpreter.h": """
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstring>
#ifndef ANSWER
#define ANSWER 0
#endif
namespace tflite {
struct Model {};
struct Tensor { union { char* raw; } data; std::size_t bytes; };
struct MicroInterpreter {
  alignas(16) char memory[2][4096];
  Tensor tensors[2] = {{{memory[0]}, 4096}, {{memory[1]}, 4096}};
  bool fresh = false;
  template <typename Resolver>
  MicroInterpreter(const Model*, const Resolver&, std::uint8_t*, std::size_t) {}
  TfLiteStatus AllocateTensors() { return kTfLiteOk; }
  TfLiteStatus Reset() { fresh = true; return kTfLiteOk; }
  TfLiteStatus Invoke() {
    if (!fresh) return kTfLiteError;
    fresh = false;
    const float answers[] = {ANSWER};
    std::memcpy(memory[1], answers, sizeof(answers));
    return kTfLiteOk;
  }
  Tensor* input(std::size_t) { return &tensors[0]; }
  Tensor* output(std::size_t) { return &tensors[1]; }
  std::size_t arena_used_bytes() const { return 0; }
};
}
""",
    "tensorflow/lite/schema/schema_generated.h": """
#pragma once
namespace tflite { inline const Model* GetModel(const void*) { return nullptr; } }
""",
    "Arduino.h": """
#pragma once
#include <stdint.h>
#include <string.h>
#define PI 3.14
#define HIGH 1
struct Console { void begin(long) {} template <typename T> void print(T) {} template <typename T> void println(T) {} };
static Console Serial;
""",
}


def compiler() -> str:
    """The C++ compiler; without one the test is skipped."""
    found = shutil.which("g++")
    if found is None:
        pytest.skip("there is no g++ to compile with")
    return found


def compiled(folder: Path, *arguments: str | Path) -> Path:
    """Compile and link strictly."""
    program = folder / "program"
    done = subprocess.run(
        [compiler(), *STRICT, *map(str, arguments), "-o", str(program)], check=False, capture_output=True, text=True
    )
    assert (0, "") == (done.returncode, done.stderr)
    return program


def stubs(folder: Path) -> str:
    """The option that lets the stubs be found."""
    for name, text in STUBS.items():
        path = folder / "stubs" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return f"-I{folder / 'stubs'}"


def custom(name: str) -> Any:
    """Make the operator a custom one."""

    def change(model: Any) -> None:
        code = schema.BuiltinOperator.CUSTOM
        model.operatorCodes = [
            schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=code, customCode=name.encode(), version=1)
        ]
        model.subgraphs[0].operators[0].builtinOptionsType = schema.BuiltinOptions.NONE
        model.subgraphs[0].operators[0].builtinOptions = None

    return change


def gelu(model: Any) -> None:
    """Make the operator one that TensorFlow Lite Micro doesn't have."""
    code = schema.BuiltinOperator.GELU
    model.operatorCodes = [schema.OperatorCodeT(builtinCode=code, deprecatedBuiltinCode=127, version=1)]
    model.subgraphs[0].operators[0].builtinOptionsType = schema.BuiltinOptions.NONE
    model.subgraphs[0].operators[0].builtinOptions = None
