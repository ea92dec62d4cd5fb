"""From an edit of a converter setting to the new `.tflite`: `mltk quantize` of mltkbuild against MLTK's.

    python benchmarks/quantize.py --mltk-venv FOLDER [--rounds 5] [--limit 0.6]

Both build the model `digits_v1`, trained for a few epochs first, which is not timed. In each round the input type in
the spec is changed, and the `mltk quantize digits_v1` of each side runs once, in turn, in a process of its own: start,
imports, the spec, the data, the conversion. The one of mltkbuild also runs the result on TensorFlow Lite Micro before
it publishes it. MLTK lives in its own virtual environment:
`pip install silabs-mltk "tensorflow<2.17" "click<8.2" "typer<0.12"`.

Exit code 1 when the ratio of the medians is above the limit.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mltk_side import prepare, spec_text

TYPES = ("int8", "uint8")


@dataclass(frozen=True)
class Side:
    """One of the two commands.

    Args:
        name: For the table.
        mltk: Its command.
        folder: Its workspace.
        environment: What its environment has beside this process's.
    """

    name: str
    mltk: str
    folder: Path
    environment: Mapping[str, str]

    def run(self, *arguments: str) -> float:
        """Run a command and give its seconds."""
        start = time.perf_counter()
        environment = {**os.environ, **self.environment}
        done = subprocess.run(
            (self.mltk, *arguments), cwd=self.folder, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(f"{self.name}: {' '.join(arguments)} failed\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return time.perf_counter() - start

    @property
    def spec(self) -> Path:
        """Its spec."""
        return self.folder / "models" / "digits_v1.py"

    def edit(self, number: int) -> None:
        """Change the input type of the `.tflite`."""
        text = self.spec.read_text(encoding="utf-8")
        old, new = (TYPES[(number + step) % 2] for step in (0, 1))
        changed = text.replace(f'["inference_input_type"] = "{old}"', f'["inference_input_type"] = "{new}"')
        assert changed != text
        self.spec.write_text(changed, encoding="utf-8")


def sides(root: Path, venv: Path) -> tuple[Side, Side]:
    """MLTK and mltkbuild, each with a workspace."""
    mltk = venv.resolve() / "bin" / "mltk"
    if not mltk.exists():
        raise SystemExit(f"no MLTK in {venv}; see the text at the top of this file")
    theirs, ours = root / "mltk", root / "mltkbuild"
    environment = prepare(theirs)
    own = str(Path(sys.executable).with_name("mltk"))
    found = Side("MLTK", str(mltk), theirs, environment), Side("mltkbuild", own, ours, {})
    found[1].folder.mkdir()
    subprocess.run((own, "init", str(ours)), check=True, capture_output=True)
    for side, imports in zip(found, ("mltk.core", "mltkbuild"), strict=True):
        side.spec.write_text(spec_text(imports) + "my_model.epochs = 3\n", encoding="utf-8")
    return found


def measure(found: Sequence[Side], rounds: int) -> dict[str, list[float]]:
    """Seconds of each side's runs, in turns; the first round warms the file cache and doesn't count."""
    times: dict[str, list[float]] = {side.name: [] for side in found}
    for side in found:
        side.run("train", "digits_v1", "--no-evaluate")
    for number in range(rounds + 1):
        for side in found if number % 2 else tuple(reversed(found)):
            side.edit(number)
            seconds = side.run("quantize", "digits_v1")
            print(f"{side.name}: {seconds:.2f} s", flush=True)
            if number:
                times[side.name].append(seconds)
    return times


def main() -> int:
    """Measure and print; 1 when the ratio is above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mltk-venv", type=Path, required=True, help="MLTK's virtual environment")
    parser.add_argument("--rounds", type=int, default=5, help="timed rounds (5)")
    parser.add_argument("--limit", type=float, default=0.6, help="largest ratio mltkbuild / MLTK (0.6)")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mltkbuild-quantize-") as folder:
        times = measure(sides(Path(folder).resolve(), chosen.mltk_venv), chosen.rounds)
    for name, seconds in times.items():
        print(f"{name}: median {statistics.median(seconds):.2f} s, min {min(seconds):.2f} s")
    ratio = statistics.median(times["mltkbuild"]) / statistics.median(times["MLTK"])
    print(f"mltkbuild takes {ratio:.2f} of MLTK's time (limit {chosen.limit})")
    return int(ratio > chosen.limit)


if __name__ == "__main__":
    sys.exit(main())
