"""Whether a `.tflite` that leaves sizes open has the right ones for a batch of 1, which is what an interpreter takes.

TensorFlow Lite Micro takes each size as it stands in the file, and the converter writes 1 for each open one. Where a
layer changes the batch, as a dilated convolution does, that is too small: the kernels then read and write beyond their
tensors, and answer something. LiteRT computes sizes as it goes.
"""

from __future__ import annotations

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from mltkbuild.tflite import graph


def wrong(tflite: bytes, model: graph.Graph) -> str | None:
    """The first tensor whose size in the file isn't the one that it has when the model runs on the file's inputs.

    Args:
        tflite: The file's bytes, sound as `micro.check_sound` says.
        model: What is in it.

    Returns:
        The tensor with both sizes; what hinders LiteRT, when it can't run the model; None when all are right.
    """
    if not any(tensor.is_open for tensor in model.main.tensors):
        return None
    try:
        # The kernels of microcontrollers, which keep every tensor where the file has it.
        kernels = OpResolverType.BUILTIN_REF
        interpreter = Interpreter(model_content=tflite, experimental_op_resolver_type=kernels, num_threads=1)
        interpreter.allocate_tensors()
        for entry in interpreter.get_input_details():
            interpreter.set_tensor(entry["index"], np.zeros(entry["shape"], entry["dtype"]))
        # Some sizes are known only then.
        interpreter.invoke()
        sizes = {entry["index"]: tuple(map(int, entry["shape"])) for entry in interpreter.get_tensor_details()}
    except (RuntimeError, ValueError) as error:
        return f"LiteRT, which could tell them, doesn't run the model: {' '.join(str(error).split())}"
    made = {index for operator in model.main.operators for index in operator.outputs}
    for tensor in model.main.tensors:
        real = sizes.get(tensor.index, tensor.shape)
        if tensor.index in made and real != tensor.shape:
            return f"{tensor.name} of shape {tensor.shape}, which comes out as {real}"
    return None
