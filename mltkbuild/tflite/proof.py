"""Prove a converted model before it is published: look for operators that can't run, then run it in TFLM."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from mltkbuild.errors import StageError
from mltkbuild.tflite import graph, lint, micro

VERSION = 1
ERROR, OFF = "error", "off"
NOT_PROVEN = "not proven: TensorFlow Lite Micro is not installed"
TO_PROVE = f"{micro.PACKAGE} is built for Linux on x86-64; build there to prove that the model runs"


@dataclass(frozen=True)
class Proof:
    """What is known of a `.tflite` after it was tried.

    Args:
        facts: The document `tflm.json`.
        notes: Lines for people.
    """

    facts: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def prove(
    tflite: bytes,
    *,
    mode: str = ERROR,
    quantized: bool = False,
    layers: Collection[str] = (),
    ends: Sequence[str] = (),
) -> Proof:
    """Try a converted model in TensorFlow Lite Micro.

    Args:
        tflite: The file's bytes.
        mode: What a model is that can't run: 'error', 'warn', or 'off' to try nothing.
        quantized: Whether it must not compute with floats.
        layers: The names of the Keras layers, to tell them as the user knows them.
        ends: Those that make the outputs, in their order, for which the converter makes names up.

    Returns:
        `proven` (whether it ran), `runs` (None when not tried), `problem`, `operators`, `inputs`, `outputs`, and
        `arena` in bytes. Where TensorFlow Lite Micro is not installed the operators alone are looked at, and `problem`
        says so.

    Raises:
        StageError: It computes with floats although it must not; or it can't run and `mode` is 'error'.
    """
    model = graph.read(tflite)
    known = _naming(model, layers, ends)
    if quantized:
        _refuse_floats(model, known)
    facts: dict[str, Any] = {
        "version": VERSION,
        "proven": False,
        "runs": None,
        "problem": None,
        "arena": None,
        "operators": list(model.operator_names),
        "inputs": [_port(tensor) for tensor in model.inputs],
        "outputs": [_port(tensor) for tensor in model.outputs],
    }
    notes = _moved_floats(model, known) if quantized else ()
    if mode == OFF:
        return Proof(facts, notes)
    try:
        facts["arena"] = micro.measured(tflite, known).as_json()
        facts["runs"] = facts["proven"] = True
    except micro.NotHere:
        return Proof({**facts, "problem": NOT_PROVEN}, (*notes, f"{NOT_PROVEN}: {TO_PROVE}"))
    except StageError as error:
        if mode == ERROR:
            raise
        facts["runs"], facts["problem"] = False, f"{error.what}: {error.found}"
        notes = (*notes, f"{error.what}: {error.found}")
    return Proof(facts, notes)


def require_kernels(
    model: graph.Graph, layers: Collection[str], ends: Sequence[str], *, mode: str, quantized: bool
) -> Callable[[str], str]:
    """Look at a model's operators alone, as `prove` does before it runs the model.

    Returns:
        Gives the name of a layer as people know it.

    Raises:
        StageError: It would compute with floats although it must not; or an operator can't run and `mode` is 'error'.
    """
    known = _naming(model, layers, ends)
    if quantized:
        _refuse_floats(model, known)
    problems = lint.find_problems(model, known) if mode == ERROR else []
    if problems:
        raise micro.CantRun(micro.CANT_RUN, found=lint.named(problems), fix=lint.fixes(problems))
    return known


def _naming(model: graph.Graph, layers: Collection[str], ends: Sequence[str]) -> Callable[[str], str]:
    """What gives the name of a layer as the user knows it."""
    own = {tensor.name: end for tensor, end in zip(model.outputs, ends, strict=False) if graph.is_made_up(tensor.name)}
    return lambda name: own.get(name) or known_layer(name, layers)


def _refuse_floats(model: graph.Graph, known: Callable[[str], str]) -> None:
    kept = lint.kept_floats(model, known)
    if kept:
        raise StageError(
            "the quantized model would still compute with floats", found=lint.named(kept), fix=lint.fixes(kept)
        )


def _moved_floats(model: graph.Graph, known: Callable[[str], str]) -> tuple[str, ...]:
    """Say which layers move float values around, which costs memory and no accuracy."""
    moved = {known(operator.layer) for operator in lint.moved_floats(model)}
    return (f"float32 values are moved within {', '.join(sorted(moved))}; nothing is computed with them",) * bool(moved)


def known_layer(name: str, layers: Collection[str]) -> str:
    """A layer's name in the Keras model; the exporter counts names on, `conv2d_1_2` for `conv2d_1`."""
    head, slash, rest = name.partition("/")
    shorter, _, count = head.rpartition("_")
    known = shorter if count.isdecimal() and shorter in layers else head
    return known + slash + rest


def _port(tensor: graph.Tensor) -> dict[str, Any]:
    port = asdict(micro.port_of(tensor))
    return {**port, "shape": list(tensor.shape)}
