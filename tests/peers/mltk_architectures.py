"""Compares the networks of `mltkbuild.architectures` with MLTK's: parameters, and the shapes of all weights.

    python tests/peers/mltk_architectures.py FOLDER

FOLDER is a virtual environment with silabs-mltk 0.20. The exit code is 1 when a network differs.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mltkbuild.from_mltk.aliases import MODULES

CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "DepthwiseSeparableConv2D_ARM": ("", {}),
    "FullyConnectedAutoEncoder": ("", {}),
    "ResNet10V1": ("", {}),
    "ResNet10V1, 8": ("", {"num_filters": 16, "num_classes": 3}),
    "MobileNetV1": ("", {}),
    "MobileNetV1, wide": ("", {"num_filters": 32, "input_shape": [64, 48, 1]}),
    "MobileNetV2, 0.15": ("", {"input_shape": [59, 49, 1], "classes": 8, "alpha": 0.15, "last_block_filters": 384}),
    "MobileNetV2, 1.4": ("", {"input_shape": [96, 96, 3], "classes": 5, "alpha": 1.4}),
    "MobileNetV2, avg": ("", {"input_shape": [96, 96, 3], "include_top": False, "pooling": "avg"}),
    "TENet12": ("tenet", {"input_shape": [98, 1, 104], "classes": 4, "channels": 40, "blocks": 6}),
    "TENet12, multi": ("tenet", {"input_shape": [98, 1, 40], "classes": 4, "mtconv": True}),
    "TENet6": ("tenet", {"input_shape": [98, 1, 40], "classes": 4}),
    "TENet12Narrow": ("tenet", {"input_shape": [98, 1, 40], "classes": 4}),
    "TENet6Narrow": ("tenet", {"input_shape": [98, 1, 40], "classes": 4}),
    "HFTENet12": ("tenet", {"input_shape": [98, 1, 40], "classes": 4}),
}
"""By name in `mltk.models.shared`: the module below it, and arguments; what follows a comma tells cases apart."""

THEIRS = """
import importlib, json, sys
found = {}
for case, (module, arguments) in json.loads(sys.argv[1]).items():
    module = importlib.import_module(("mltk.models.shared." + module).rstrip("."))
    model = getattr(module, case.partition(",")[0])(**arguments)
    found[case] = [model.count_params(), [list(weight.shape) for weight in model.weights]]
print("FOUND" + json.dumps(found))
"""


def shapes(found: list[Any]) -> Counter[tuple[int, ...]]:
    """How often a network has weights of each shape."""
    return Counter(map(tuple, found[1]))


def ours() -> dict[str, list[Any]]:
    """The same of ours, by MLTK's names."""
    found = {}
    for case, (module, arguments) in CASES.items():
        names = MODULES[f"mltk.models.shared.{module}".rstrip(".")]
        model = names[case.partition(",")[0]].load()(**arguments)
        found[case] = [model.count_params(), [list(weight.shape) for weight in model.weights]]
    return found


def main(folder: str) -> int:
    """Print both sides, and give the exit code."""
    command = (f"{folder}/bin/python", "-c", THEIRS, json.dumps(CASES))
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    theirs = json.loads(said.partition("FOUND")[2])
    differ = 0
    for case, found in ours().items():
        same = shapes(found) == shapes(theirs[case]) and found[0] == theirs[case][0]
        differ += not same
        verdict = "same" if same else "DIFFERENT"
        sys.stdout.write(f"{case:<32} {found[0]:>9,} {theirs[case][0]:>9,}  {verdict}\n")
    return int(differ > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
