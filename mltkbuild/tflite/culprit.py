"""Find the operator on which TensorFlow Lite Micro crashes, which says nothing as it ends its process."""

from __future__ import annotations

from collections.abc import Callable

from mltkbuild.errors import StageError
from mltkbuild.tflite import arena, flatbuffer, graph, lint


def of_crash(tflite: bytes, model: graph.Graph, known: Callable[[str], str] = str) -> str | None:
    """The layer and operator of a model that crashes: of the shortest beginning that does, its last.

    Args:
        tflite: The file's bytes.
        model: What is in it.
        known: Gives the name of a layer as people know it.

    Returns:
        None where no beginning of the model crashes.
    """
    operators = model.main.operators
    fine, crashing = 0, len(operators)
    while crashing - fine > 1:
        middle = (fine + crashing) // 2
        fine, crashing = (fine, middle) if _crashes(_beginning(tflite, middle), model) else (middle, crashing)
    if not operators or not _crashes(_beginning(tflite, crashing), model):
        return None
    operator = operators[crashing - 1]
    given = ", ".join(f"{tensor.dtype} {tensor.shape}" for tensor in model.main.of(operator.inputs))
    return f"{lint.place(operator, model.main, known)}: {operator.name} of {given}"


def _beginning(tflite: bytes, count: int) -> bytes:
    """A model's first operators; what the last of them makes is the output."""
    model = flatbuffer.load(tflite)
    main = model.subgraphs[0]
    main.operators = main.operators[:count]
    main.outputs = main.operators[-1].outputs
    model.signatureDefs = None
    return flatbuffer.pack(model, len(tflite))


def _crashes(tflite: bytes, model: graph.Graph) -> bool:
    try:
        return arena.tried(tflite, len(model.inputs), measured=False).signal != 0
    except StageError:
        return False
