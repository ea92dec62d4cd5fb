"""How long the preflight of two reference models takes with a warm worker, against a limit for each.

    python benchmarks/preflight.py [--rounds 5]

The spec and data stages of `digits_v1` and `spoken_digits_v1` are built first, which is not timed; a worker that has
TensorFlow loaded then runs their preflight in turn. Beside each stands the time of one epoch's worth of what a training
of the model takes, of the spec's own epochs, as `train` records it after `--epochs 1`: what a mistake would cost that
only shows at an epoch's end. Set `MLTK_DATASETS_MIRROR` where there is no network. The exit code is 1 when a median is
above its limit.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gestures import DODO
from mltkbuild.disk.workspace import find_workspace
from mltkbuild.engine.builder import Builder
from mltkbuild.front.report import table
from mltkbuild.stages.protocol import Start

LIMITS = {"digits_v1": 5.0, "spoken_digits_v1": 8.0}
MODELS = Path(__file__).parents[1] / "models"


@contextmanager
def workspace() -> Iterator[Builder]:
    """A builder in a workspace of the two models, with one worker that stays warm."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "models").mkdir()
        (root / "dodo.py").write_text(DODO, encoding="utf-8")
        for name in LIMITS:
            shutil.copy(MODELS / f"{name}.py", root / "models")
        os.chdir(root)
        builder = Builder(find_workspace())
        try:
            yield builder
        finally:
            builder.close()
            os.chdir(MODELS)


def seconds_of(builder: Builder, name: str, stage: str, **options: int) -> float:
    """Run a stage once more, and give the seconds of its body."""
    built = builder.build(name, stage, options, start=Start(force=True))
    assert built.record is not None
    return float(built.record.seconds)


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {rounds} rounds")
    rows, worst = [], 0.0
    with workspace() as builder:
        taken: dict[str, list[float]] = {name: [] for name in LIMITS}
        for number in range(rounds + 1):
            for name, found in taken.items():
                seconds = seconds_of(builder, name, "preflight")
                if number:
                    found.append(seconds)
        for name, found in taken.items():
            median, epoch = statistics.median(found), seconds_of(builder, name, "train", epochs=1)
            worst = max(worst, median / LIMITS[name])
            rows.append([name, *(f"{value:.2f} s" for value in (median, min(found), LIMITS[name])), f"{epoch:.2f} s"])
    print(table(["preflight", "median", "min", "limit", "a training of one epoch"], rows))
    return int(worst > 1)


if __name__ == "__main__":
    raise SystemExit(main())
