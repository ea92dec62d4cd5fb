"""`NAME_ops.h`: registers in TensorFlow Lite Micro's `MicroMutableOpResolver` just the operators that a model has."""

from __future__ import annotations

from mltkbuild.firmware import cpp
from mltkbuild.firmware.firmware import Firmware
from mltkbuild.tflite.lint import SUPPORTED

# Where the method's name doesn't follow from the operator's (micro_mutable_op_resolver.h of tflite-micro).
_IRREGULAR = {
    "BATCH_MATMUL": "AddBatchMatMul",
    "CUMSUM": "AddCumSum",
    "PADV2": "AddPadV2",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": "AddUnidirectionalSequenceLSTM",
}
_CUSTOM = {
    "CIRCULAR_BUFFER": "AddCircularBuffer",
    "TFLM_DECODE": "AddDecode",
    "TFLite_Detection_PostProcess": "AddDetectionPostprocess",
    "ethos-u": "AddEthosU",
    "SignalDelay": "AddDelay",
    "SignalEnergy": "AddEnergy",
    "SignalFftAutoScale": "AddFftAutoScale",
    "SignalFilterBank": "AddFilterBank",
    "SignalFilterBankLog": "AddFilterBankLog",
    "SignalFilterBankSpectralSubtraction": "AddFilterBankSpectralSubtraction",
    "SignalFilterBankSquareRoot": "AddFilterBankSquareRoot",
    "SignalFramer": "AddFramer",
    "SignalIrfft": "AddIrfft",
    "SignalOverlapAdd": "AddOverlapAdd",
    "SignalPCAN": "AddPCAN",
    "SignalRfft": "AddRfft",
    "SignalStacker": "AddStacker",
    "SignalWindow": "AddWindow",
}


def method_of(operator: str) -> str:
    """The resolver's method that adds a builtin operator, such as `AddConv2D` for `CONV_2D`."""
    words = [word if word[0].isdigit() else word.capitalize() for word in operator.split("_")]
    return _IRREGULAR.get(operator, "Add" + "".join(words))


def source(firmware: Firmware) -> str:
    """`NAME_ops.h`.

    A builtin operator that TensorFlow Lite Micro doesn't have is an `#error`. A custom one that it doesn't have is
    added with a kernel that the firmware is to define.
    """
    parts = firmware.graph.subgraphs
    builtin = sorted({one.name for part in parts for one in part.operators if not one.is_custom})
    custom = sorted({one.name for part in parts for one in part.operators if one.is_custom})
    own = cpp.identifiers(name for name in custom if name not in _CUSTOM)
    missing = [f"#error TensorFlow Lite Micro has no kernel for {name}" for name in builtin if name not in SUPPORTED]
    kernels = [
        f"// The kernel of the model's custom operator {cpp.comment(name)}, for you to define.\n"
        f"const TFLMRegistration* Register_{kernel}();\n"
        for name, kernel in own.items()
    ]
    calls = [f"{method_of(name)}()" for name in builtin if name in SUPPORTED]
    calls += [f"{_CUSTOM[name]}()" for name in custom if name in _CUSTOM]
    calls += [f"AddCustom({cpp.string(name)}, Register_{kernel}())" for name, kernel in own.items()]
    body = _BODY.format(
        kernels="\n".join([*missing, *kernels, ""]) if missing or kernels else "",
        # An array without elements isn't allowed in C++.
        count=max(len(calls), 1),
        argument="resolver" if calls else "",
        calls="".join(f"  if (resolver.{call} != kTfLiteOk) return kTfLiteError;\n" for call in sorted(calls)),
    )
    return _HEAD + firmware.in_space(body)


_HEAD = """// The operators that the model uses, and no other.
#pragma once

#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"

"""
_BODY = """{kernels}using OpResolver = tflite::MicroMutableOpResolver<{count}>;

inline TfLiteStatus RegisterOps(OpResolver& {argument}) {{
{calls}  return kTfLiteOk;
}}
"""
