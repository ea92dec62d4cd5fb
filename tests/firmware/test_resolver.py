"""The operators that firmware registers: each by its method, and those that TensorFlow Lite Micro doesn't have."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mltkbuild.firmware import resolver
from mltkbuild.firmware.firmware import Firmware
from mltkbuild.tflite import graph, lint

from ..tflite.test_micro import changed
from .compiling import METHODS, STRICT, compiled, compiler, custom, gelu, stubs


def written(folder: Path, change: Callable[[Any], None]) -> Path:
    """The header of a model that is never run, as only a real one may be."""
    tflite = changed(change)
    model = Firmware(
        name="m",
        tflite=tflite,
        graph=graph.read(tflite),
        classes=[],
        parameters={},
        arena=None,
        arena_margin=0,
        problem="",
        vectors=[],
    )
    header = folder / "m_ops.h"
    header.write_text(resolver.source(model), encoding="utf-8")
    return header


@pytest.mark.parametrize("operator", sorted(lint.SUPPORTED))
def test_operators_have_their_method(operator: str) -> None:
    """Each operator that TensorFlow Lite Micro has is added by a method that the resolver has."""
    assert resolver.method_of(operator).removeprefix("Add") in METHODS


def test_methods_of_operators_differ() -> None:
    """No two operators share a method."""
    assert len(lint.SUPPORTED) == len({resolver.method_of(name) for name in lint.SUPPORTED})


def test_a_custom_operator_of_tensorflow_s_own(tmp_path: Path) -> None:
    """A custom operator that the resolver knows is added by its method."""
    text = written(tmp_path, custom("SignalPCAN")).read_text(encoding="utf-8")
    assert ["AddPCAN()"] == re.findall(r"\(resolver\.(\S+)", text)


def test_an_unknown_custom_operator_is_left_to_the_firmware(tmp_path: Path) -> None:
    """The header asks for its kernel, by a name made of the operator's."""
    header = written(tmp_path, custom("my-op\\"))
    main = tmp_path / "main.cc"
    main.write_text(
        """
#include "m_ops.h"
const TFLMRegistration* m_model::Register_my_op() { static TFLMRegistration kernel; return &kernel; }
int main() { m_model::OpResolver resolver; return m_model::RegisterOps(resolver); }
""",
        encoding="utf-8",
    )
    program = compiled(tmp_path, stubs(tmp_path), f"-I{tmp_path}", main)
    assert 0 == subprocess.run([program], check=False).returncode
    assert 'AddCustom("my-op\\134", ' in header.read_text(encoding="utf-8")


def test_an_operator_without_a_kernel_stops_the_compiler(tmp_path: Path) -> None:
    """A builtin operator that TensorFlow Lite Micro doesn't have is an error that names it."""
    header = written(tmp_path, gelu)
    command = [compiler(), *STRICT, "-fsyntax-only", stubs(tmp_path), "-xc++", str(header)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert 1 == done.returncode
    assert "no kernel for GELU" in done.stderr


def test_a_model_without_operators(tmp_path: Path) -> None:
    """One that gives back what it gets needs no method, and its resolver compiles all the same."""

    def empty(model: Any) -> None:
        model.subgraphs[0].operators = []
        model.subgraphs[0].outputs = model.subgraphs[0].inputs

    written(tmp_path, empty)
    main = tmp_path / "main.cc"
    main.write_text('#include "m_ops.h"\nint main() {}\n', encoding="utf-8")
    compiled(tmp_path, stubs(tmp_path), f"-I{tmp_path}", main)
