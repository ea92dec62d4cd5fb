"""The commands of mltkbuild beside MLTK's, each building the same spec."""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mltk_side import mltk_command, prepare, spec_text
from mltkbuild.front.report import table
from turns import DODO, ENVIRONMENT, TURNS, Run


@dataclass(frozen=True)
class Contender:
    """One of two command lines that build the same spec.

    Args:
        name: For the table.
        train: The command that trains; also once more, when nothing has changed.
        quantize: The command that converts to int8.
        resume: The command that goes on after a kill.
    """

    name: str
    train: tuple[str, ...]
    quantize: tuple[str, ...]
    resume: tuple[str, ...]


def contenders(mltk: Path) -> tuple[Contender, Contender]:
    """MLTK and mltkbuild."""
    doit = (sys.executable, "-m", "doit")
    train = (str(mltk), "train", "digits", "--no-evaluate")
    return (
        Contender("MLTK", train, (str(mltk), "quantize", "digits"), (*train, "--resume")),
        Contender("mltkbuild", (*doit, "train:digits"), (*doit, "quantize:digits"), (*doit, "train:digits")),
    )


def digits(epochs: int) -> str:
    """The reference model's spec, which asks before each epoch; one text for both contenders.

    Args:
        epochs: How many it trains.
    """
    text = spec_text("mltk.core")
    imports = '"""\n\nimport functools\nimport os\nimport socket\n'
    text = text.replace('"""\n', imports, 1).replace("# @mltk_model\n", f"{TURNS}\n\n# @mltk_model\n")
    return f"{text}my_model.epochs = {epochs}\nmy_model.train_callbacks = [Turns()]\n"


def write_digits(folder: Path, epochs: int) -> dict[str, str]:
    """Write a workspace for both contenders.

    Returns:
        The environment that goes with it.
    """
    environment = ENVIRONMENT | prepare(folder)
    (folder / "dodo.py").write_text(DODO, encoding="utf-8")
    (folder / "models" / "digits.py").write_text(digits(epochs), encoding="utf-8")
    return environment


Times = dict[str, list[tuple[float, int]]]
"""Seconds and epochs of each run of each command."""


def time_contender(contender: Contender, folder: Path, epochs: int) -> dict[str, tuple[float, int]]:
    """Train, train again, convert; in another workspace train, kill in the middle, go on."""

    def run(command: Sequence[str]) -> tuple[float, int]:
        start = time.perf_counter()
        with Run(command, straight, environment) as started:
            count = started.finish()
        return time.perf_counter() - start, count

    straight = folder / "straight"
    environment = write_digits(straight, epochs)
    times = {
        "train": run(contender.train),
        "train, nothing changed": run(contender.train),
        "quantize": run(contender.quantize),
    }
    straight = folder / "killed"
    environment = write_digits(straight, epochs)
    with Run(contender.train, straight, environment) as killed:
        for _ in range(epochs // 2):
            killed.must_ask()
            killed.go()
        killed.must_ask()
        killed.kill()
    return times | {f"go on after a kill at {epochs // 2} of {epochs}": run(contender.resume)}


def time_contenders(folder: Path, mltk: Path, epochs: int, rounds: int) -> dict[str, Times]:
    """The contenders in turn."""
    sides = contenders(mltk)
    times: dict[str, Times] = {side.name: {} for side in sides}
    for number in range(rounds):
        for side in sides:
            for label, run in time_contender(side, folder / f"{side.name}{number}", epochs).items():
                times[side.name].setdefault(label, []).append(run)
    return times


def contender_report(times: Mapping[str, Times]) -> str:
    """A table of all commands."""
    rows = []
    for label in times["MLTK"]:
        medians = {name: statistics.median(took for took, _ in runs[label]) for name, runs in times.items()}
        epochs = {name: str(runs[label][-1][1]) for name, runs in times.items()}
        cells = [cell for name in times for cell in (f"{medians[name]:.2f}", epochs[name])]
        rows.append((label, *cells, f"{medians['MLTK'] / medians['mltkbuild']:.1f}"))
    return table(("", "MLTK s", "epochs", "mltkbuild s", "epochs", "x faster"), rows)


def compare_with_mltk(venv: Path, epochs: int, rounds: int) -> None:
    """Print the second part, or why there is none."""
    try:
        mltk = mltk_command(venv)
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        print(f"MLTK can't be run, so the comparison with it is left out: {error}")
        return
    with tempfile.TemporaryDirectory(prefix="mltkbuild-mltk-") as folder:
        times = time_contenders(Path(folder).resolve(), mltk, epochs, rounds)
    print(contender_report(times), flush=True)
