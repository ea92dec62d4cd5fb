"""What a build with nothing to do costs, beside plain doit, ninja and GNU make with the same graph over the same files.

    python benchmarks/noop.py [--models 1000] [--rounds 9] [--limit 1.2] [--beside PYTHON]

The workspace is a real one except for what its stages compute: a fake body writes small files under the names that a
classifier's stages give them. Everything runs in turn, one of each a round, so that a busy moment hits all of them.
The exit code is 1 when mltkbuild takes more than `--limit` times as long as plain doit.
"""

from __future__ import annotations

import argparse
import dbm
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import distribution
from pathlib import Path

from gestures import build_workspace, write_workspace
from mltkbuild.front.report import table
from noop_tools import Tool, another_version, tools, write_plain

SMALL = 50


def measure(candidates: Sequence[Tool], rounds: int) -> dict[str, list[float]]:
    """Seconds of each run of each tool, all of them in turn; a first round isn't counted."""
    for tool in candidates:
        tool.check()
    seconds: dict[str, list[float]] = {tool.name: [] for tool in candidates}
    for number in range(rounds + 1):
        for tool in candidates:
            took = tool.time()
            if number:
                seconds[tool.name].append(took)
    for tool in candidates:
        tool.check()
    return seconds


def run(folder: Path, count: int, rounds: int, beside: str | None = None) -> dict[str, list[float]]:
    """Set up one size and measure it."""
    start = time.perf_counter()
    workspace, plain = folder / "workspace", folder / "plain"
    write_workspace(workspace, count)
    write_plain(plain, workspace, build_workspace(workspace))
    candidates = tools(workspace, plain, count)
    if beside is not None:
        candidates.append(another_version(beside, folder / "beside", count))
    for tool in candidates:
        if tool.prepare:
            tool.run(subprocess.DEVNULL)
    database = dbm.whichdb(str(plain / ".doit.db"))
    print(f"{count} models: set up in {time.perf_counter() - start:.0f} s; doit's database is {database}", flush=True)
    return measure(candidates, rounds)


def report(count: int, seconds: Mapping[str, Sequence[float]]) -> str:
    """A table of one size."""
    medians = {name: statistics.median(runs) for name, runs in seconds.items()}
    rows = [
        (name, f"{median:.3f}", f"{min(seconds[name]):.3f}", f"{median / medians['plain doit']:.2f}")
        for name, median in medians.items()
    ]
    return table((f"{count} models", "median s", "min s", "x plain doit"), rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time builds that have nothing to do.")
    parser.add_argument("--models", type=int, default=1000, help="models of the large workspace (1000)")
    parser.add_argument("--rounds", type=int, default=9, help="rounds that count (9)")
    parser.add_argument("--limit", type=float, default=1.2, help="largest ratio mltkbuild / plain doit (1.2)")
    parser.add_argument("--beside", metavar="PYTHON", help="time another checkout too: the Python that has it")
    chosen = parser.parse_args(arguments)
    versions = f"Python {platform.python_version()}, doit {distribution('doit').version}"
    print(f"{os.cpu_count()} cores, {platform.machine()}, {versions}")
    ratios = []
    for count in (chosen.models, SMALL):
        with tempfile.TemporaryDirectory(prefix="mltkbuild-noop-") as folder:
            seconds = run(Path(folder).resolve(), count, chosen.rounds, chosen.beside)
        print(report(count, seconds), flush=True)
        ratios.append(statistics.median(seconds["mltkbuild"]) / statistics.median(seconds["plain doit"]))
    print(f"{chosen.models} models, mltkbuild / plain doit: {ratios[0]:.2f} (limit {chosen.limit})")
    return int(ratios[0] > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
