"""What mltkbuild adds to an epoch of Keras' fit, and how its commands compare with MLTK's.

    python benchmarks/training.py [--rounds 15] [--limit 1.03] [--mltk-venv FOLDER [--mltk-rounds 3]] [--quick]

First part: a train stage as a user runs it, `doit train:NAME` on a terminal, so with all that it does; beside it plain
scripts around `keras.Model.fit`, with and without deterministic operations. All three train the same model on the same
samples in one go, but take turns: each epoch waits for its turn, and whoever waits is stopped as a whole. So the epochs
that are compared ran within seconds of each other. An epoch lasts from its begin to the begin of the next one and holds
validation, checkpoint and progress; the first one, which traces, isn't counted.

Second part, with `--mltk-venv`: one spec, built by MLTK from its own virtual environment, which is made in that folder
unless it is there, and by mltkbuild. MLTK's train command converts and archives, too; mltkbuild's first runs the stages
spec and data.

The exit code is 1 when an epoch takes more than `--limit` times as long as plain fit's.
"""

from __future__ import annotations

import argparse
import os
import platform
import signal
import statistics
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from contenders import compare_with_mltk
from one_epoch import OURS, PLAIN_FIT, epoch_report, ratios, time_epochs


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark and give the exit code."""
    parser = argparse.ArgumentParser(description="Time epochs beside plain Keras, and commands beside MLTK.")
    parser.add_argument("--rounds", type=int, default=15, help="epochs of each side that count (15); 0 for none")
    parser.add_argument("--limit", type=float, default=1.03, help="largest ratio mltkbuild / plain fit (1.03)")
    parser.add_argument("--mltk-venv", type=Path, help="MLTK's virtual environment; made if it isn't there")
    parser.add_argument("--mltk-rounds", type=int, default=3, help="rounds of the comparison with MLTK (3)")
    parser.add_argument("--quick", action="store_true", help="only see that it works: small figures that say nothing")
    chosen = parser.parse_args(arguments)
    # Whoever ends this must not leave stopped processes behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    count, rounds = (1280, min(chosen.rounds, 2)) if chosen.quick else (24576, chosen.rounds)
    packages = ", ".join(f"{name} {version(name)}" for name in ("tensorflow", "keras"))
    print(f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}, {packages}", flush=True)
    ratio = 0.0
    if rounds:
        with tempfile.TemporaryDirectory(prefix="mltkbuild-epochs-") as folder:
            seconds = time_epochs(Path(folder).resolve(), count, rounds)
        ratio = statistics.median(ratios(seconds, OURS, PLAIN_FIT))
        print(epoch_report(seconds), flush=True)
        print(f"an epoch of mltkbuild takes {ratio:.3f} of plain fit's (limit {chosen.limit})", flush=True)
    if chosen.mltk_venv is not None:
        compare_with_mltk(chosen.mltk_venv, *((8, 1) if chosen.quick else (40, chosen.mltk_rounds)))
    return int(ratio > chosen.limit and not chosen.quick)


if __name__ == "__main__":
    sys.exit(main())
