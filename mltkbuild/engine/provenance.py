"""Where results come from, as plain values: what decides the course of a training, and the origin of an archive."""

from __future__ import annotations

import importlib
import json
import os
from collections.abc import Mapping, Sequence

from mltkbuild.disk.inputs import FILE, OPTION, TEXT, Input
from mltkbuild.disk.inputs import parse as parse_input
from mltkbuild.disk.records import Record
from mltkbuild.engine.target_state import TargetState
from mltkbuild.stages.table import TRAIN, slice_name

NOT_ON_COURSE = frozenset(
    {
        "epochs",
        "final_weights",
        "checkpoints_enabled",
        "checkpoints_keep",
        "checkpoint_interval_minutes",
        "on_nan",
        "tensorboard",
    }
)
"""Properties that the train stage reads and that leave every epoch of a training as it is."""


def course_of(inputs: Mapping[str, str | None], slice_text: str) -> dict[str, object]:
    """What the course of a training depends on: all that the stage reads, without how far it goes and what it keeps.

    Args:
        inputs: The train stage's inputs.
        slice_text: The text of `spec/train.yaml`.
    """
    settings = parse(slice_text, "train.yaml")
    if isinstance(settings, dict):
        properties = {name: value for name, value in settings["properties"].items() if name not in NOT_ON_COURSE}
        settings = {**settings, "properties": properties}
    without = (slice_name(TRAIN.slice), Input(OPTION, "epochs").name)
    return {"inputs": {name: digest for name, digest in inputs.items() if name not in without}, "settings": settings}


def provenance(state: TargetState, earlier: Sequence[Record]) -> dict[str, object]:
    """Where every artifact comes from: digests and versions, no times and no hosts.

    Args:
        state: The target.
        earlier: The records of the stages before its archive.
    """
    return {
        "schema": 1,
        "model": state.spec.name,
        "target": state.target,
        "spec": state.spec.path,
        "sources": {parse_input(name).subject: digest for name, digest in state.sources.digests(TEXT).items()},
        "stages": {
            record.stage: {
                "inputs": portable(record.inputs),
                "artifacts": dict(record.artifacts),
                "tools": dict(record.tools),
            }
            for record in earlier
        },
    }


def portable(inputs: Mapping[str, str]) -> dict[str, str]:
    """Inputs without this machine's folders: a file outside the workspace goes by its name and its digest."""
    found: dict[str, str] = {}
    for name, digest in sorted(inputs.items()):
        kind, path = parse_input(name)
        outside = kind == FILE and os.path.isabs(path)
        shown = Input(FILE, f"outside the workspace: {os.path.basename(path)} {digest[:12]}").name if outside else name
        found[shown] = digest
    return found


def parse(text: str, name: str) -> object:
    """The content of a slice or of `model.json`."""
    if name.endswith(".json"):
        return json.loads(text)
    # A build with nothing to do reads no slices and does without YAML.
    return importlib.import_module("yaml").safe_load(text)
