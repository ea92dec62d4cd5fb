"""The archive stage: everything that belongs to a model in one zip, with MLTK's layout and the proof of its origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mltkbuild.bodies.keras_file import write_zip

# MLTK's names for files that have another one in the build folder.
_MLTK_NAMES = {
    "train/history.json": "train/training-history.json",
    "train/history.png": "train/training-history.png",
    "eval/keras/results.json": "eval/keras/eval-results.json",
    "eval/tflite/results.json": "eval/tflite/eval-results.json",
}


def run(
    archive: Path,
    target: str,
    files: Mapping[str, Path],
    sources: Mapping[str, str],
    spec_path: str,
    provenance: Mapping[str, Any],
) -> dict[str, object]:
    """Write the archive; equal contents give equal bytes.

    Args:
        archive: The file to write.
        target: `NAME` or `NAME-test`.
        files: The artifacts by name.
        sources: Text of the spec and of the workspace modules that it imports, by path in the workspace.
        spec_path: Which of them is the spec.
        provenance: Digests of every input and artifact, and tool versions.

    Returns:
        The number of members, for the record.
    """
    members = {member_name(name): path.read_bytes() for name, path in files.items()}
    for path, text in sources.items():
        name = f"{target.removesuffix('-test')}.py" if path == spec_path else f"workspace/{path}"
        members[name] = text.encode()
    members["provenance.json"] = (json.dumps(provenance, indent=1, sort_keys=True) + "\n").encode()
    write_zip(archive, dict(sorted(members.items())))
    return {"members": len(members)}


def member_name(artifact: str) -> str:
    """The name of an artifact inside the archive."""
    return _MLTK_NAMES.get(artifact, artifact)
