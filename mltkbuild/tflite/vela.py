"""What Arm's compiler Vela expects of a quantized `.tflite` on an Ethos-U accelerator: cycles, time and memory."""

from __future__ import annotations

import csv
import io
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mltkbuild import extras
from mltkbuild.errors import StageError, UsageError
from mltkbuild.shown import shown
from mltkbuild.tflite import graph

VERSION = 1
DEFAULT = "ethos-u55-128"
# Run as pooling over one value, so that Vela counts a multiplication a value, though nothing is multiplied.
_COPY = "MemoryCopy"
_CLAMPS = ("Relu", "Relu6", "ReluN1To1", "Relu0To1")


@dataclass(frozen=True)
class Pass:
    """One step of the accelerator or of the processor beside it; an operator may take several.

    Args:
        original: Vela's name of the model's operator, such as `Conv2D`.
        operator: Vela's name of what is run for it, such as `LUT`.
        target: `NPU` or `CPU`.
        cycles: Expected cycles; 0 on the processor, whose time Vela doesn't know.
        macs: Multiplications with an addition.
        name: The tensor that it makes.
    """

    original: str
    operator: str
    target: str
    cycles: int
    macs: int
    name: str

    @property
    def is_extra(self) -> bool:
        """Whether it copies values, or clamps what a layer gives whose activation Vela doesn't fuse."""
        return self.operator == _COPY or (self.operator in _CLAMPS and self.original not in _CLAMPS)


@dataclass(frozen=True)
class Estimate:
    """What Vela expects of one inference.

    Args:
        accelerator: The accelerator, such as `ethos-u55-128`.
        system: The clock and memories that it has, by their name in Vela's configuration.
        memory_mode: Where weights and values lie, likewise.
        cycles: Of the accelerator, waits for memory counted in.
        milliseconds: The time of these cycles; without that of operators on the processor.
        sram_bytes: Working memory on the chip.
        dram_bytes: Memory beside the chip, as larger systems have it.
        flash_bytes: Flash beside the chip that the compiled model takes.
        macs: Of all passes.
        npu_operators: How many passes the accelerator runs.
        cpu_operators: How many operators are left to the processor.
        passes: In the order of execution.
    """

    accelerator: str
    system: str
    memory_mode: str
    cycles: int
    milliseconds: float
    sram_bytes: int
    dram_bytes: int
    flash_bytes: int
    macs: int
    npu_operators: int
    cpu_operators: int
    passes: tuple[Pass, ...]


def accelerators() -> tuple[str, ...]:
    """The accelerators that the installed Vela knows.

    Raises:
        UsageError: The package is not installed.
    """
    features = extras.load("ethosu.vela.architecture_features", "vela", "an estimate for Ethos-U")
    return tuple(features.Accelerator.member_list())


def estimate(
    tflite: Path, accelerator: str = DEFAULT, *, system: str | None = None, memory_mode: str | None = None
) -> Estimate:
    """Compile a model with Vela in a process of its own and read what Vela expects; no file of it stays.

    Args:
        tflite: The model; Vela leaves what is not quantized to the processor.
        accelerator: One of `accelerators()`.
        system: A system of the configuration that comes with Vela; Vela's choice for the accelerator when None.
        memory_mode: A memory mode of it; Vela's choice when None.

    Raises:
        StageError: Vela can't compile the model; quotes its message.
        UsageError: The package is not installed, or it doesn't know the accelerator.
    """
    known = accelerators()
    if accelerator not in known:
        raise UsageError(
            "Vela doesn't know this accelerator", found=repr(accelerator), fix=f"use one of {', '.join(known)}"
        )
    content = tflite.read_bytes()
    # Vela crashes on what this refuses.
    graph.read(content)
    chosen = [] if system is None else [f"--system-config={system}"]
    chosen += [] if memory_mode is None else [f"--memory-mode={memory_mode}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.tflite").write_bytes(content)
        _compile(folder, [f"--accelerator-config={accelerator}", *chosen], tflite)
        try:
            return _read(folder, accelerator)
        except (OSError, KeyError, StopIteration, ValueError) as error:
            raise _failed(tflite, f"figures that can't be read: {type(error).__name__}: {error}") from error


def _compile(folder: Path, options: Sequence[str], tflite: Path) -> None:
    """Run Vela on the folder's `model.tflite`, with its files beside it."""
    options = ("--output-dir=.", "--verbose-performance", *options)
    command = [sys.executable, "-P", "-m", "ethosu.vela", "model.tflite", *options]
    done = subprocess.run(  # noqa: S603  # this Python and a fixed module
        command, cwd=folder, capture_output=True, text=True, errors="replace", stdin=subprocess.DEVNULL, check=False
    )
    if done.returncode:
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        telling = [line for line in lines if not line.startswith("Warning: No ")]
        crash = f"it crashed with signal {-done.returncode}" if done.returncode < 0 else ""
        raise _failed(tflite, "; ".join(filter(None, [*telling[-1:], crash])) or "no message")


def _failed(tflite: Path, found: str) -> StageError:
    return StageError(
        "Vela can't compile the model",
        where=tflite,
        found=found,
        fix="give a whole .tflite of fixed shapes, and a system and a memory mode that Vela has",
    )


def _read(folder: Path, accelerator: str) -> Estimate:
    """What Vela has written about `model.tflite`."""
    passes = _passes((folder / "model_per-layer.csv").read_text(encoding="utf-8"))
    text = next(folder.glob("model_summary_*.csv")).read_text(encoding="utf-8")
    return _estimate(accelerator, next(csv.DictReader(io.StringIO(text))), passes)


def _passes(text: str) -> tuple[Pass, ...]:
    """Vela's table of passes; it doesn't quote, but a name, which may have commas, comes last."""
    header, *lines = text.split("\n")
    columns = header.split(",")
    rows = [dict(zip(columns, line.split(",", len(columns) - 1), strict=True)) for line in lines if line]
    return tuple(
        Pass(
            original=row["Original Operator"],
            operator=row["NNG Operator"],
            target=row["Target"],
            cycles=int(row["Op Cycles"]),
            macs=int(row["MAC Count"]),
            name=row["Name"],
        )
        for row in rows
    )


def _estimate(accelerator: str, summary: Mapping[str, str], passes: tuple[Pass, ...]) -> Estimate:
    def size(memory: str) -> int:
        return round(float(summary[f"{memory}_memory_used"]) * 1024)

    return Estimate(
        accelerator=accelerator,
        system=summary["system_config"],
        memory_mode=summary["memory_mode"],
        cycles=int(summary["cycles_total"]),
        milliseconds=float(summary["inference_time"]) * 1000,
        sram_bytes=size("sram"),
        dram_bytes=size("dram"),
        flash_bytes=size("off_chip_flash"),
        macs=int(summary["nn_macs"]),
        npu_operators=sum(step.target == "NPU" for step in passes),
        cpu_operators=sum(step.target == "CPU" for step in passes),
        passes=passes,
    )


# -- text ------------------------------------------------------------------------------------------------------------


def as_json(found: Estimate) -> dict[str, Any]:
    """An estimate as a document; `version` counts its format."""
    return {"version": VERSION, **asdict(found)}


def as_text(found: Estimate) -> str:
    """The totals as lines of text, the operators left to the processor by name."""
    extra = sum(step.macs for step in found.passes if step.is_extra)
    left = sorted({step.original for step in found.passes if step.target == "CPU"})
    rows = [
        ("Ethos-U", f"{found.accelerator}, {found.system}, {found.memory_mode}; an estimate of Arm's Vela"),
        ("cycles", f"{found.cycles:,}, {found.milliseconds:,.3f} ms an inference"),
        ("SRAM", f"{found.sram_bytes:,} B"),
        ("DRAM", f"{found.dram_bytes:,} B" if found.dram_bytes else ""),
        ("flash", f"{found.flash_bytes:,} B off chip"),
        ("MACs", f"{found.macs:,}" + (f", {extra:,} of them for values copied or clamped" if extra else "")),
        ("passes", f"{found.npu_operators:,} on the NPU, {found.cpu_operators:,} on the CPU"),
        ("on the CPU", ", ".join(left)),
    ]
    return "".join(f"{label:<11} {shown(text)}\n" for label, text in rows if text)
