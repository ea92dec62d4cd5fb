"""The names of operators in TensorFlow Lite Micro's `MicroMutableOpResolver`."""

from __future__ import annotations

from mltkbuild.errors import StageError

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


def method_of(operator: str, is_custom: bool = False) -> str:
    """The resolver's method that adds an operator, such as `AddConv2D` for `CONV_2D`.

    Args:
        operator: The schema's name, or a custom operator's own.
        is_custom: Whether it is a custom operator.

    Raises:
        StageError: It is a custom operator that TensorFlow Lite Micro doesn't have.
    """
    if not is_custom:
        words = [word if word[0].isdigit() else word.capitalize() for word in operator.split("_")]
        return _IRREGULAR.get(operator, "Add" + "".join(words))
    if operator not in _CUSTOM:
        raise StageError(
            "a custom operator has no place in a firmware's resolver",
            found=operator,
            fix="use layers that TensorFlow Lite has itself",
        )
    return _CUSTOM[operator]
