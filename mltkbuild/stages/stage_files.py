"""Where a stage finds the artifacts of earlier stages, and where it puts its own."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from mltkbuild.stages.protocol import Request


class StageFiles:
    """The files of one stage at work; `{name}` in the name of an artifact stands for the target.

    Args:
        request: What runs.
    """

    def __init__(self, request: Request) -> None:
        self.scratch = Path(request.scratch)
        self._request = request

    def artifact(self, name: str) -> Path:
        """The path of an artifact that an earlier stage made."""
        return Path(self._request.artifacts[name.replace("{name}", self._request.target)])

    def own(self, name: str) -> Path:
        """The path in the scratch folder of an artifact of this stage."""
        path = self.scratch / name.replace("{name}", self._request.target)
        path.parent.mkdir(parents=True, exist_ok=True)
        return path

    def kept(self, name: str) -> Path:
        """The path of an artifact of this stage or of an earlier one; of none where there is none."""
        path = self._request.artifacts.get(name)
        return self.scratch / name if path is None else Path(path)

    def read_json(self, name: str) -> Any:
        """The document in an artifact that an earlier stage made."""
        return json.loads(self.artifact(name).read_text(encoding="utf-8"))

    def write_json(self, name: str, document: object) -> None:
        """Write a document as an artifact of this stage."""
        self.own(name).write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
