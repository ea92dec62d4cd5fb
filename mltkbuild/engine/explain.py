"""What changed, as differences of old and new values that people can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mltkbuild.disk import checkpoints
from mltkbuild.disk.folder import VALUES
from mltkbuild.disk.open_folder import read_file
from mltkbuild.engine.builder import Builder
from mltkbuild.engine.freshness import Reason
from mltkbuild.engine.provenance import course_of, parse
from mltkbuild.errors import MltkError
from mltkbuild.stages.table import STAGES, slice_name

_CODE = re.compile(r"(code|value|module|missing|effect) (\S+?):(.+)")
_ORDER = " (order)"
_ROOT, _OUTSIDE = "root ", "outside "
_NONE = object()
VALUE = 100
"""A longer value is cut."""


def changes(
    builder: Builder, target: str, stage: str, reasons: Sequence[Reason], inspected: Mapping[str, str] | None = None
) -> list[str]:
    """The causes that reasons only name by a digest: changed properties, layers and functions.

    Args:
        builder: The engine.
        target: The target.
        stage: The stage that runs.
        reasons: Why it runs.
        inspected: The new text of slices that are not published, from an inspection of the spec.
    """
    reasons = [reason for reason in reasons if reason.subject.startswith("spec/")]
    if not reasons:
        return []
    folder = builder.state(target).folder
    before = _old_values(folder.record_path(stage, VALUES))
    found: list[str] = []
    for reason in reasons:
        if reason.subject in before:
            text = (inspected or {}).get(reason.subject) or _text(folder.artifact(reason.subject))
            found.extend(difference(reason.subject, before[reason.subject], parse(text, reason.subject) or {}))
    return found


def unused_checkpoints(
    builder: Builder, target: str, stage: str, inspected: Mapping[str, str] | None = None
) -> list[str]:
    """What keeps the checkpoints of another training from being used, a line each: it lasts until the new one is done.

    Args:
        builder: The engine.
        target: The target.
        stage: The stage that keeps them.
        inspected: The new text of slices that are not published.
    """
    state = builder.state(target)
    try:
        text = (inspected or {}).get(slice_name(STAGES[stage].slice)) or state.slice_text(stage)
        course = course_of(state.inputs(stage, None), text)
    except (OSError, MltkError):
        return []
    found = []
    for folder, other in checkpoints.others(state.folder.checkpoints, course).items():
        epochs = max(place.epoch for place in checkpoints.positions_in(folder))
        found.append(f"checkpoints up to epoch {epochs} are not used: {_course_difference(other, course)}")
    return found


def _course_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """What differs between two trainings, in a few words."""
    told = list(difference("spec/train.yaml", old.get("settings"), new.get("settings")))
    before, after = (course["inputs"] if isinstance(course.get("inputs"), dict) else {} for course in (old, new))
    told += [f"{name} differs" for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name)]
    return "; ".join(told[:2]) or "they were set aside"


def _old_values(path: str) -> dict[str, Any]:
    """What the last run of a stage read, in readable form."""
    try:
        values = json.loads(read_file(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _text(path: str) -> str:
    try:
        return read_file(path).decode()
    except (OSError, ValueError):
        return "{}"


def difference(name: str, old: Any, new: Any) -> Iterator[str]:
    """The differences of two versions of a slice or of `spec/model.json`, one line each."""
    old, new = (value if isinstance(value, dict) else {} for value in (old, new))
    if name.endswith("model.json"):
        yield from _model_difference(old, new)
        return
    stage = name.removeprefix("spec/").removesuffix(".yaml")
    for path, before, after in _walk(old.get("properties"), new.get("properties")):
        if path and path[0].endswith(_ORDER):
            yield f"the order in {stage}.{path[0].removesuffix(_ORDER)}"
            continue
        yield f"{'.'.join((stage, *path))}: {_show(before)} -> {_show(after)}"
    yield from _code_difference(old.get("code") or {}, new.get("code") or {})


def _code_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    for label in sorted(old.keys() | new.keys()):
        before, after = old.get(label, _NONE), new.get(label, _NONE)
        if before == after:
            continue
        if label.endswith(_ORDER):
            yield f"the order in {_where(label.removesuffix(_ORDER))}"
            continue
        match = _CODE.fullmatch(label)
        if match is None:
            told = label.removeprefix(_ROOT)
            if label.startswith(_OUTSIDE):
                told = f"what the spec sets: {label.removeprefix(_OUTSIDE)}"
            yield f"{told}: {_show(before)} -> {_show(after)}"
            continue
        kind, path, name = match.groups()
        verb = " is new" if before is _NONE else " is gone" if after is _NONE else ""
        if kind == "code":
            yield f"code of {name}() in {path}{verb}"
        elif kind == "effect":
            yield f"what {path} does to {name}{verb or ' changed'}"
        else:
            yield f"{name} in {path}: {_show(before)} -> {_show(after)}"


def _where(label: str) -> str:
    """A row's place in words."""
    match = _CODE.fullmatch(label)
    return f"{match[3]} of {match[2]}" if match else label.removeprefix(_ROOT)


def _model_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Layers by name, then the compile settings; the weights only where nothing else tells the models apart."""
    before, after = _layers(old), _layers(new)
    count = 0
    for name in [*before, *(name for name in after if name not in before)]:
        if name not in after:
            yield f"layer {name} is gone"
            count += 1
        elif name not in before:
            yield f"layer {name} is new ({after[name].get('class_name', '')})"
            count += 1
        else:
            for line in _layer_difference(name, before[name], after[name]):
                yield line
                count += 1
    rest_before, rest_after = _rest(old), _rest(new)
    for path, was, now in _walk(rest_before, rest_after):
        order = path[0].endswith(_ORDER)
        told = f"the order in the {path[0].removesuffix(_ORDER)}" if order else f"{_show(was)} -> {_show(now)}"
        yield told if order else f"{'.'.join(path)}: {told}"
        count += 1
    for line in _code_difference(old.get("code") or {}, new.get("code") or {}):
        yield line
        count += 1
    if not count and old.get("weights") != new.get("weights"):
        yield "the initial weights: the seed or an initializer changed"


def _layer_difference(name: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    if old.get("class_name") != new.get("class_name"):
        yield f"layer {name}: {old.get('class_name')} -> {new.get('class_name')}"
    for path, before, after in _walk(old.get("config"), new.get("config")):
        yield f"layer {name}: {'.'.join(path)} {_show(before)} -> {_show(after)}"
    if old.get("inbound_nodes") != new.get("inbound_nodes"):
        yield f"layer {name}: its inputs changed"


def _layers(model: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    config = model.get("config")
    layers = config.get("layers", []) if isinstance(config, dict) else []
    return {str((layer.get("config") or {}).get("name", number)): layer for number, layer in enumerate(layers)}


def _rest(model: Mapping[str, Any]) -> dict[str, Any]:
    """What is neither layers nor derived from them."""
    config = model.get("config")
    top = {key: value for key, value in config.items() if key != "layers"} if isinstance(config, dict) else {}
    # These are there only where there is something to tell.
    more = {key: model[key] for key in ("config (order)", "compile (order)", "states") if key in model}
    return {"model": {"class": model.get("class"), **top}, "compile": model.get("compile"), **more}


def _walk(old: Any, new: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any, Any]]:
    """The leaves in which two nested values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys(), key=str):
            yield from _walk(old.get(key, _NONE), new.get(key, _NONE), (*path, str(key)))
    elif old != new or type(old) is not type(new):
        yield path, old, new


def _show(value: Any) -> str:
    if value is _NONE:
        return "unset"
    text = value if isinstance(value, str) else json.dumps(value, default=str)
    return text if len(text) <= VALUE else text[: VALUE - 3] + "..."
