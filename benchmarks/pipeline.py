"""How fast a training is fed: samples a second beside MLTK's two generators and beside plain tf.data.

    python benchmarks/pipeline.py [--rounds 3] [--seconds 5] [--mltk-venv FOLDER] [--kinds KIND ...]

Pictures of 96x96 grey pixels are rotated, shifted, flipped, changed in brightness and contrast, and normalized;
recordings of a second at 16 kHz (audio) are placed at random, made louder or softer, mixed with background noise, and
become spectrograms of 40 channels; once more with speed and pitch changed before (voices). All sides have the same
files and settings and all processors, and take turns, each in a process of its own. Plain tf.data does the same
operations on rows in memory: the limit of what can be had.

The exit code is 1 when mltkbuild is slower than 3 times MLTK, than 0.8 of plain tf.data, or takes a second or longer to
the first batch.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from mltk_side import mltk_command
from mltkbuild.front.report import table
from pipeline_sides import CLASSES, KINDS

SIDES = Path(__file__).with_name("pipeline_sides.py")
COUNT = 250
"""Samples of each class."""
LEAST = {"mltk": 3.0, "plain": 0.8}
FIRST = 1.0


def write_data(folder: Path) -> None:
    """Write pictures and recordings: noise around a pattern of the class."""
    for number, label in enumerate(CLASSES):
        for kind in ("images", "audio"):
            (folder / kind / label).mkdir(parents=True)
        for place in range(COUNT):
            rng = np.random.default_rng(zlib.crc32(f"{label} {place}".encode()))
            pixels = rng.integers(0, 120, (96, 96)).astype(np.uint8)
            pixels[number * 24 : number * 24 + 24] += 100
            Image.fromarray(pixels).save(folder / "images" / label / f"{place}.png")
            soundfile.write(folder / "audio" / label / f"{place}.wav", _tone(rng, 300.0 * (number + 1), 0.8), 16000)
    (folder / "audio" / "_background_noise_").mkdir()
    noise = np.random.default_rng(1).normal(0, 0.1, 16000 * 20).astype(np.float32)
    soundfile.write(folder / "audio" / "_background_noise_" / "noise.wav", noise, 16000)


def _tone(rng: np.random.Generator, hertz: float, seconds: float) -> np.ndarray:
    time = np.arange(int(16000 * seconds)) / 16000
    return np.asarray(0.3 * np.sin(2 * np.pi * hertz * time) + rng.normal(0, 0.02, len(time)), np.float32)


def measure(side: str, kind: str, folder: Path, seconds: float, python: str) -> dict[str, float]:
    """Run one side in a process of its own."""
    # Without this setting MLTK's native code ends its process on processors that have AMX.
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "TF_CPP_MIN_LOG_LEVEL": "3"}
    command = [python, str(SIDES), side, kind, str(folder), str(seconds)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"{side} failed with {kind}:\n{done.stderr[-2000:]}")
    figures: dict[str, float] = json.loads(lines[-1])
    return figures


def report(kind: str, found: Mapping[str, Sequence[Mapping[str, float]]]) -> tuple[str, bool]:
    """The table of one kind, and whether all limits hold."""
    middle = {
        side: {name: statistics.median(one[name] for one in runs) for name in ("rate", "first")}
        for side, runs in found.items()
    }
    ours = middle["mltkbuild"]
    rows = [
        (side, f"{one['rate']:,.0f}", f"{one['rate'] / ours['rate']:.2f}", f"{one['first']:.2f}")
        for side, one in middle.items()
    ]
    good = all(ours["rate"] >= least * middle[side]["rate"] for side, least in LEAST.items() if side in middle)
    return table((kind, "samples a second", "of mltkbuild's", "first batch s"), rows), good and ours["first"] < FIRST


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time pipelines beside MLTK's and plain tf.data.")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each side (3)")
    parser.add_argument("--seconds", type=float, default=5.0, help="how long each run is timed (5)")
    parser.add_argument("--mltk-venv", type=Path, help="MLTK's virtual environment; made if it isn't there")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=[*KINDS], help="what is timed (all)")
    chosen = parser.parse_args(arguments)
    print(f"{os.cpu_count()} cores, {platform.machine()}, tensorflow {version('tensorflow')}", flush=True)
    pythons = {"mltkbuild": sys.executable, "plain": sys.executable}
    if chosen.mltk_venv is not None:
        pythons["mltk"] = str(mltk_command(chosen.mltk_venv).with_name("python"))
    good = True
    with tempfile.TemporaryDirectory(prefix="mltkbuild-pipeline-") as name:
        folder = Path(name)
        write_data(folder)
        for kind in chosen.kinds:
            found: dict[str, list[dict[str, float]]] = {side: [] for side in pythons}
            for _ in range(chosen.rounds):
                for side, python in pythons.items():
                    found[side].append(measure(side, kind, folder, chosen.seconds, python))
            text, holds = report(kind, found)
            good = good and holds
            print(text, flush=True)
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
