"""MLTK and mltkbuild read each other's model parameters; run by hand.

    python -m venv peer && peer/bin/pip install silabs-mltk "tensorflow<2.17" "click<8.2" "typer<0.12"
    python tests/peers/mltk_parameters.py peer

It embeds parameters of every type in a `.tflite`, has MLTK's `TfliteModelParameters.load_from_tflite_file` read them,
has MLTK embed some of its own, and reads those here.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from mltkbuild.tflite import params
from tests.tflite.test_micro import dense_model

GIVEN: dict[str, Any] = {
    "name": "peer",
    "version": 3,
    "classes": ["yes", "no", "größer"],
    "flag": True,
    "zero": 0.0,
    "negative": -1.5,
    "small": 7,
    "below": -3000000000,
    "large": 2**63,
    "threshold": 0.25,
    "text": "a b",
    "numbers": [1, -2, 3],
    "floats": [0.5, -0.5],
    "bytes": b"\x00\x01",
}
READ = """
import json, sys
from mltk.core.tflite_model_parameters import TfliteModelParameters
found = TfliteModelParameters.load_from_tflite_file(sys.argv[1])
told = {}
for key, value in dict(found).items():
    value = list(value) if isinstance(value, (bytes, bytearray)) else value
    told[key] = [type(value).__name__, value]
print("FOUND" + json.dumps(told, default=list))
"""
WRITE = """
import sys
from mltk.core.tflite_model_parameters import TfliteModelParameters
given = TfliteModelParameters()
given.put("word", "hello")
given.put("count", 300)
given.put("rate", 0.75)
given.put("on", True)
given.put("labels", ["a", "b"])
given.put("offsets", [1, 2, 3], dtype="int32_list")
given.put("raw", b"\\x05\\x06")
given.add_to_tflite_file(sys.argv[1], sys.argv[2])
"""
WRITTEN = {
    "word": "hello",
    "count": 300,
    "rate": 0.75,
    "on": True,
    "labels": ["a", "b"],
    "offsets": [1, 2, 3],
    "raw": b"\x05\x06",
}


def plain(value: object) -> object:
    """A value as the peer's answer has it."""
    return list(value) if isinstance(value, bytes) else value


def peer(python: Path, text: str, *arguments: object) -> str:
    """What MLTK's Python prints."""
    command = [str(python), "-c", text, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def main() -> int:
    """Compare; 1 when a value or its type differs."""
    python = Path(sys.argv[1], "bin", "python")
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = Path(folder, "ours.tflite"), Path(folder, "theirs.tflite")
        ours.write_bytes(params.embed(dense_model(), GIVEN, "made here"))
        found = json.loads(peer(python, READ, ours).rpartition("FOUND")[2])
        for key, value in GIVEN.items():
            kind = "list" if isinstance(value, bytes) else type(value).__name__
            if found.get(key) != [kind, plain(value)]:
                wrong.append(f"MLTK reads {key}: {found.get(key)} instead of {value!r}")
        peer(python, WRITE, ours, theirs)
        back = params.extract(theirs.read_bytes())
        wrong += [
            f"{key}: {back.get(key)!r} instead of {value!r}" for key, value in WRITTEN.items() if back.get(key) != value
        ]
    told = f"{len(GIVEN)} entries read by MLTK, {len(WRITTEN)} of its own read here"
    sys.stdout.write("\n".join(wrong or [told]) + "\n")
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
