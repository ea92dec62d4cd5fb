"""What it costs to find that a data set of many files is unchanged, beside `git status` on the same tree.

    python benchmarks/dataset_scan.py [--files 100000] [--rounds 15] [--limit 1.5]

A workspace with one model gets the files in class folders; its data stage has read them all, as a fake body says that
knows their digests, and has a record and a list as after any build. The tree is committed to git, whose index is then
as new as git makes it, with git's own defaults: no untracked cache, no file system monitor. In each round `git status`
and a Python process that loads the engine and judges the data stage run one after the other, both anew. The first scan,
which reads every byte, is compared with `sha256sum` on as many processors. The exit code is 1 when the judgement,
which an engine that is loaded makes, takes more than `--limit` times as long as the whole of `git status`.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from gestures import Fake, fake, write_workspace
from mltkbuild.disk.digests import digest_files, processors
from mltkbuild.disk.workspace import find_workspace
from mltkbuild.engine.builder import Builder
from mltkbuild.events import Listener
from mltkbuild.front.report import size, table
from mltkbuild.stages.protocol import Outcome, Request

FILE_SIZE, CLASSES = 32_000, 35
MODEL, DATA = "model_0000", "dataset"
JUDGE = f"""
import sys, time
start = time.perf_counter()
from mltkbuild.engine.builder import Builder
from mltkbuild.disk.workspace import find_workspace
builder = Builder(find_workspace("."))
loaded = time.perf_counter()
reasons = builder.reasons({MODEL!r}, "data")
print(f"{{len(reasons)}} {{loaded - start:.6f}} {{time.perf_counter() - loaded:.6f}}")
"""
GIT = ("git", "-c", "user.name=benchmark", "-c", "user.email=benchmark@localhost", "-c", "gc.auto=0")
# Files go into one pack instead of an object each: a matter of `git add` alone.
ADD = ("-c", "core.bigFileThreshold=1k", "-c", "core.compression=1", "add", "--all")


def write_files(folder: Path, count: int) -> list[str]:
    """Write the data set: each file has its own bytes, 32 of them again and again, and give the paths."""
    paths = []
    for label in range(CLASSES):
        (folder / f"class_{label:02}").mkdir(parents=True)
    for number in range(count):
        digest = hashlib.sha256(str(number).encode()).digest()
        path = folder / f"class_{number % CLASSES:02}" / f"{digest[:4].hex()}_nohash_{number}.wav"
        path.write_bytes(digest * (FILE_SIZE // len(digest)))
        paths.append(str(path))
    return paths


def build(workspace: Path, paths: Sequence[str]) -> float:
    """Build the data stage with a body that has read the files, and give the seconds of taking their digests."""
    took = 0.0

    def run(request: Request, listener: Listener) -> Outcome:
        nonlocal took
        outcome = fake(request, listener)
        if request.stage == "data":
            start = time.perf_counter()
            outcome.files |= digest_files([*paths, *{os.path.dirname(path) for path in paths}])
            took = time.perf_counter() - start
        return outcome

    builder = Builder(find_workspace(str(workspace)), Fake(run))
    builder.build(MODEL, "data")
    builder.close()
    return took


def commit(workspace: Path) -> None:
    """Put the workspace under git, and let `git status` write its index as it wants it."""
    (workspace / ".gitignore").write_text("build/\n__pycache__/\n", encoding="utf-8")
    for arguments in (("init", "--quiet"), ADD, ("commit", "--quiet", "--message", "data"), ("status",), ("status",)):
        subprocess.run((*GIT, *arguments), cwd=workspace, check=True, stdout=subprocess.DEVNULL)


def git_status(workspace: Path) -> float:
    """Seconds of `git status`, which must find nothing."""
    start = time.perf_counter()
    done = subprocess.run(("git", "status", "--porcelain"), cwd=workspace, check=True, capture_output=True)
    took = time.perf_counter() - start
    if done.stdout:
        raise SystemExit(f"git status was to find nothing, but it says: {done.stdout[:500]!r}")
    return took


def judge(workspace: Path) -> tuple[float, float, float]:
    """Seconds of a process that judges the data stage, which must be up to date; its own figures: imports, judging."""
    start = time.perf_counter()
    done = subprocess.run((sys.executable, "-c", JUDGE), cwd=workspace, check=True, capture_output=True, text=True)
    took = time.perf_counter() - start
    reasons, loading, judging = done.stdout.split()
    if reasons != "0":
        raise SystemExit(f"the data stage was to be up to date, but it has {reasons} reasons to run")
    return took, float(loading), float(judging)


def sha256sum(paths: Sequence[str]) -> float:
    """Seconds of `sha256sum` on all files, a process for each processor at a time."""
    start = time.perf_counter()
    subprocess.run(
        ("xargs", "-0", "-P", str(processors()), "-n", "500", "sha256sum"),
        input="\0".join(paths).encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return time.perf_counter() - start


def first_scans(paths: Sequence[str], rounds: int) -> list[tuple[str, ...]]:
    """Rows for reading every byte, by `sha256sum` and by `digest_files` in turn."""
    seconds: dict[str, list[float]] = {"sha256sum": [], "mltkbuild": []}
    for _ in range(rounds):
        seconds["sha256sum"].append(sha256sum(paths))
        start = time.perf_counter()
        digest_files(paths)
        seconds["mltkbuild"].append(time.perf_counter() - start)
    base = statistics.median(seconds["sha256sum"])
    return [_row(name, runs, base) for name, runs in seconds.items()]


def checks(workspace: Path, rounds: int) -> tuple[list[tuple[str, ...]], float]:
    """Rows for an unchanged data set, and the ratio of the judgement; a first round isn't counted."""
    names = ("git status", "mltkbuild, a new process", "  without Python's start", "  the judgement")
    seconds: dict[str, list[float]] = {name: [] for name in names}
    for number in range(rounds + 1):
        git = git_status(workspace)
        whole, loading, judging = judge(workspace)
        if number:
            for name, took in zip(names, (git, whole, loading + judging, judging), strict=True):
                seconds[name].append(took)
    base = statistics.median(seconds[names[0]])
    rows = [_row(name, runs, base) for name, runs in seconds.items()]
    return rows, statistics.median(seconds[names[3]]) / base


def _row(name: str, runs: Sequence[float], base: float) -> tuple[str, ...]:
    median = statistics.median(runs)
    return name, f"{median:.3f}", f"{min(runs):.3f}", f"{median / base:.2f}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time the check of an unchanged data set.")
    parser.add_argument("--files", type=int, default=100_000, help="files of 32 kB (100000)")
    parser.add_argument("--rounds", type=int, default=15, help="rounds that count (15)")
    parser.add_argument("--limit", type=float, default=1.5, help="largest ratio of the judgement to git status (1.5)")
    chosen = parser.parse_args(arguments)
    git = subprocess.run(("git", "--version"), check=True, capture_output=True, text=True).stdout.strip()
    print(f"{processors()} cores, {platform.machine()}, Python {platform.python_version()}, {git}")
    with tempfile.TemporaryDirectory(prefix="mltkbuild-scan-") as folder:
        workspace = Path(folder).resolve() / "workspace"
        write_workspace(workspace, 1)
        paths = write_files(workspace / DATA, chosen.files)
        commit(workspace)
        took = build(workspace, paths)
        (listed,) = (workspace / "build" / MODEL / ".records").glob("data.*.files")
        print(f"{chosen.files} files; the list is {size(listed.stat().st_size)}; built with digests in {took:.1f} s")
        rows, ratio = checks(workspace, chosen.rounds)
        print(table(("unchanged", "median s", "min s", "x git status"), rows), flush=True)
        print(table(("every byte", "median s", "min s", "x sha256sum"), first_scans(paths, 3)))
    print(f"the judgement / git status: {ratio:.2f} (limit {chosen.limit})")
    return int(ratio > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
