"""What the exported sources of a model are written from."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from mltkbuild.errors import StageError
from mltkbuild.firmware import cpp
from mltkbuild.tflite.dictionary import Typed
from mltkbuild.tflite.graph import Graph, Tensor

_FILE_NAME = re.compile(r"[0-9A-Za-z_]+")
_TYPES = {
    **{f"{sign}int{bits}": f"std::{sign}int{bits}_t" for sign in ("", "u") for bits in (8, 16, 32, 64)},
    "float32": "float",
    "float64": "double",
    "bool": "bool",
}


@dataclass(frozen=True)
class Firmware:
    """A model as firmware needs it.

    Args:
        name: What its files begin with: letters, digits and underscores.
        tflite: The model.
        graph: The same, read.
        classes: Labels.
        parameters: The embedded ones.
        arena: Bytes of working memory, margin included; None for a model that can't run.
        arena_margin: How many of them were added to what was measured.
        problem: Why the model can't run; empty for one that does.
        vectors: Inputs, each with the outputs that they give.
    """

    name: str
    tflite: bytes
    graph: Graph
    classes: Sequence[str]
    parameters: Mapping[str, Typed]
    arena: int | None
    arena_margin: int
    problem: str
    vectors: Sequence[tuple[Sequence[np.ndarray], Sequence[np.ndarray]]]

    @property
    def space(self) -> str:
        """The namespace of all that is exported."""
        return cpp.identifier(f"{self.name}_model")

    def in_space(self, body: str) -> str:
        """Source text inside the namespace."""
        return f"namespace {self.space} {{\n\n{body}\n}}  // namespace {self.space}\n"


def file_name(name: str) -> str:
    """What the files of a model begin with: its name, or an identifier like it where that is no plain word."""
    return name if _FILE_NAME.fullmatch(name) else cpp.identifier(name)


def type_of(tensor: Tensor) -> str:
    """The C++ type of an input's or output's values.

    Raises:
        StageError: C++ has none.
    """
    if tensor.dtype not in _TYPES:
        raise StageError(
            "an input or output has a number type that firmware can't hold",
            found=f"{tensor.name}: {tensor.dtype}",
            fix=f"begin and end the model in one of {', '.join(_TYPES)}",
        )
    return _TYPES[tensor.dtype]
