"""The archive stage: everything that belongs to a model in one zip, with MLTK's layout and the proof of its origin."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mltkbuild.archives.writing import write_zip
from mltkbuild.disk.digests import HISTORY, history_without_segments
from mltkbuild.disk.facts import Facts
from mltkbuild.disk.workspace import TEST
from mltkbuild.errors import SpecError

# MLTK's names for files that have another one in the build folder.
_MLTK_NAMES = {
    HISTORY: "train/training-history.json",
    "train/history.png": "train/training-history.png",
    "eval/keras/results.json": "eval/keras/eval-results.json",
    "eval/tflite/results.json": "eval/tflite/eval-results.json",
}


def run(  # noqa: PLR0913, PLR0917  # a stage body's signature is its dependency list
    archive: Path,
    target: str,
    files: Mapping[str, Path],
    sources: Mapping[str, str],
    spec_path: str,
    provenance: Mapping[str, Any],
    added: Mapping[str, Path] | None = None,
) -> Facts:
    """Write the archive; equal contents give equal bytes.

    Args:
        archive: The file to write.
        target: `NAME` or `NAME-test`.
        files: The artifacts by name.
        sources: Text of the spec and of the workspace modules that it imports, by path in the workspace.
        spec_path: Which of them is the spec.
        provenance: Digests of every input and artifact, and tool versions.
        added: The files that the spec adds, by path in the workspace.

    Returns:
        The number of members, for the record.

    Raises:
        SpecError: An added file has the name of another member.
    """
    members: dict[str, bytes | Path] = {}
    for name, path in files.items():
        # How often the making was interrupted is no property of the model.
        is_history = name == HISTORY
        _add(members, member_name(name), history_without_segments(path.read_bytes()) if is_history else path)
    for path_in_workspace, text in sources.items():
        spec = target.removesuffix(TEST) + ".py"
        _add(members, spec if path_in_workspace == spec_path else f"workspace/{path_in_workspace}", text.encode())
    _add(members, "provenance.json", (json.dumps(provenance, indent=1, sort_keys=True) + "\n").encode())
    for name, path in (added or {}).items():
        _add(members, name, path)
    write_zip(archive, members)
    return {"members": len(members)}


def _add(members: dict[str, bytes | Path], name: str, content: bytes | Path) -> None:
    if name in members:
        raise SpecError(
            "add_archive_file names a file that the archive has already",
            found=name,
            fix="add it under another name or from another folder",
        )
    members[name] = content


def member_name(artifact: str) -> str:
    """The name of an artifact inside the archive."""
    return _MLTK_NAMES.get(artifact, artifact)
