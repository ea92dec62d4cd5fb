"""Archives as files: what is in one, and the workspace that it came from."""

from __future__ import annotations

import importlib
import importlib.resources
import json
import os
import shlex
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

import click

from mltkbuild.archives.contents import LARGEST_JSON, Contents, build_dir, contents, find, models_dir, places, read_json
from mltkbuild.archives.reading import ArchiveFile, digest, open_archive, read_member
from mltkbuild.archives.unpacking import unpack as restore
from mltkbuild.cli.file_commands import existing
from mltkbuild.cli.init import LAYOUT
from mltkbuild.cli.telling import tell
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.front.report import metrics_text, plural, size, table
from mltkbuild.shown import shown
from mltkbuild.stages.table import EVALUATE, STAGES

_OWN = ("dodo.py", "pyproject.toml", "gitignore")
_LARGEST_YAML = 64 << 10
_LARGEST_FIGURE = 1e15
_MOST_METRICS = 100
_LONGEST_TEXT = 200
_MLTK_NAMES = {"eval/keras/eval-results.json": "eval/h5/eval-results.json"}
# -- unpack ----------------------------------------------------------------------------------------------------------


@click.command()
@click.argument("archive", metavar="NAME.mltk.zip", type=click.Path())
@click.argument("folder", metavar="[FOLDER]", required=False, type=click.Path())
def unpack(archive: str, folder: str | None) -> None:
    """Make a workspace of an archive.

    With the spec, the modules that it imports, and the artifacts; the folder is the model's name by default. Nothing
    of the archive is run, and nothing that exists is touched.

    \b
    mltk unpack kws_v2.mltk.zip
    mltk unpack downloads/kws_v2.mltk.zip kws_from_a_colleague
    """
    existing(archive, ARCHIVE_SUFFIX)
    with open_archive(archive) as opened:
        found = contents(opened)
        folder = folder or found.name
        restored = restore(opened, found, folder, workspace_files(opened, found))
    kept = f"artifacts/{found.target}/"
    told = [path for path in restored if not path.startswith(kept)]
    tell(f"made {shown(folder)} with the model {shown(found.name)}")
    tell("\n".join(f"  {shown(path)}" for path in told))
    tell(f"  {shown(kept)}: {plural(len(restored) - len(told), 'artifact')} as in the archive")
    tell("warning: building it runs the Python code that was in the archive; read it before, if it isn't yours")
    tell(f"next: cd {shlex.quote(folder)} && mltk status")


def workspace_files(archive: ArchiveFile, found: Contents) -> dict[str, str]:
    """Text of the files that make a folder the workspace of an archive's model, by path: as `mltk init` writes them."""
    templates = importlib.resources.files("mltkbuild.templates")
    texts = {LAYOUT[name]: templates.joinpath(name).read_text(encoding="utf-8") for name in _OWN}
    restored = places(archive, found, texts).values()
    for key, value in (("build_dir", build_dir(restored)), ("models_dir", models_dir(found))):
        line = f"{key} = {json.dumps(value, ensure_ascii=False)}"
        texts["pyproject.toml"] = texts["pyproject.toml"].replace(f'{key} = "{key[:-4]}"', line)
    return texts


# -- summarize -------------------------------------------------------------------------------------------------------


def summarize_archive(path: str, *, as_json: bool = False) -> None:
    """Print what an archive holds; nothing of it is run.

    Raises:
        UsageError: There is no such file.
        StageError: It is no model's archive, or may do harm.
    """
    existing(path, ARCHIVE_SUFFIX)
    with open_archive(path) as opened:
        found = summary(opened)
    tell(json.dumps(found, indent=1) if as_json else summary_text(found))


def summary(archive: ArchiveFile) -> dict[str, Any]:
    """What an archive holds, as JSON has it: model, figures, stages, members and digests.

    Every text of the archive is made safe for a terminal, and a figure that is none is None.

    Raises:
        StageError: It is no model's archive, or may do harm.
    """
    found = contents(archive)
    tflite = find(archive, ".tflite")
    stages = _stages(archive, found)
    evaluated: Mapping[str, float] = next((one["figures"] for one in stages if one["stage"] == EVALUATE.name), {})
    return {
        "archive": shown(os.path.basename(archive.path)),
        "bytes": archive.size,
        "sha256": digest(archive),
        "model": shown(found.name),
        "target": shown(found.target),
        "spec": shown(found.spec),
        **_settings(archive),
        "made_by": _tools(found),
        "float_accuracy": evaluated.get("float_accuracy"),
        "int8_accuracy": evaluated.get("int8_accuracy"),
        "tflite": None
        if tflite is None
        else {"name": shown(tflite), "bytes": archive.members[tflite].size, "sha256": digest(archive, tflite)},
        "stages": stages,
        "members": [
            {"name": shown(one.name), "bytes": one.size, "packed": one.packed}
            for one in sorted(archive.members.values(), key=lambda one: one.name)
        ],
    }


def _settings(archive: ArchiveFile) -> dict[str, str | None]:
    """The model's version and description, as texts."""
    document: Any = None
    member = archive.members.get("spec/params.yaml")
    if member is not None and member.size <= _LARGEST_YAML:
        yaml = importlib.import_module("yaml")
        try:
            # The loader that makes nothing but texts, lists and dicts, and merges none.
            document = yaml.load(read_member(archive, member.name, _LARGEST_YAML), Loader=yaml.BaseLoader)
        except (yaml.YAMLError, ValueError, RecursionError):
            document = None
    values = {key: _at(document, ("properties", key)) for key in ("version", "description")}
    return {
        key: shown(value, _LONGEST_TEXT) if isinstance(value, str) and value else None for key, value in values.items()
    }


def _at(document: object, keys: Sequence[str]) -> object:
    """A value deep in dicts; None when there is none."""
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def _tools(found: Contents) -> dict[str, str]:
    """The tools that the model was made with and their versions; several where the stages differ."""
    if found.mltk:
        return {"mltk": shown(found.mltk, _LONGEST_TEXT)}
    versions: dict[str, set[str]] = {}
    for stage in found.stages.values():
        tools = _at(stage, ["tools"])
        for name, version in tools.items() if isinstance(tools, dict) else ():
            if isinstance(version, str):
                versions.setdefault(shown(name, _LONGEST_TEXT), set()).add(shown(version, _LONGEST_TEXT))
    return {name: " and ".join(sorted(several)) for name, several in sorted(versions.items())}


def _stages(archive: ArchiveFile, found: Contents) -> list[dict[str, Any]]:
    """The stages that made the archive's artifacts, in their order, with the figures that their artifacts hold."""
    known = _figures(archive, found)
    result = []
    for stage in STAGES.values():
        names = (figure.name for figure in stage.figures)
        figures = {name: known[stage.name, name] for name in names if (stage.name, name) in known}
        if figures or stage.name in found.stages:
            result.append({"stage": stage.name, "figures": figures})
    return result


def _figures(archive: ArchiveFile, found: Contents) -> dict[tuple[str, str], float | dict[str, float]]:
    """The figures that the artifacts hold, by stage and name."""
    wanted: dict[str, list[tuple[str, str, list[str]]]] = {}
    for stage in STAGES.values():
        for figure in stage.figures:
            artifact, *keys = figure.member or ("",)
            member = _MLTK_NAMES.get(artifact, artifact) if found.mltk else artifact
            wanted.setdefault(member, []).append((stage.name, figure.name, keys))
    known: dict[tuple[str, str], float | dict[str, float]] = {}
    # One document at a time: a small one can take much memory.
    for member, places_in in wanted.items():
        if member in archive.members and archive.members[member].size <= LARGEST_JSON:
            document = read_json(archive, member)
            for stage_name, name, keys in places_in:
                at = _at(document, keys)
                value = _metrics(at) if isinstance(at, Mapping) else _figure(at)
                if value is not None and value != {}:
                    known[stage_name, name] = value
    return known


def _metrics(metrics: Mapping[Any, object]) -> dict[str, float]:
    """The metrics of an evaluation that are numbers; no model has thousands."""
    known = ((shown(name, _LONGEST_TEXT), _figure(value)) for name, value in islice(metrics.items(), _MOST_METRICS))
    return {name: value for name, value in known if value is not None}


def _figure(value: object) -> float | None:
    """A number for people; None for what is none, or none that a model can have."""
    if isinstance(value, list):
        return len(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    # An int of any length compares with a float, and NaN with nothing.
    return value if -_LARGEST_FIGURE <= value <= _LARGEST_FIGURE else None


def summary_text(found: Mapping[str, Any]) -> str:
    """A summary for people."""
    version = "" if found["version"] is None else f", version {found['version']}"
    description = "" if found["description"] is None else f": {found['description']}"
    made_by = ", ".join(f"{name} {number}" for name, number in found["made_by"].items())
    lines = [
        f"{found['target']}{version}{description}",
        f"made by {made_by or 'unknown tools'}",
        f"{found['archive']}: {size(found['bytes'])}, sha256 {found['sha256']}",
    ]
    if found["tflite"] is not None:
        lines.append("{name}: {0}, sha256 {sha256}".format(size(found["tflite"]["bytes"]), **found["tflite"]))
    rows = [(one["stage"], _figures_text(one["figures"])) for one in found["stages"] if one["figures"]]
    if rows:
        lines += ["", table(("stage", "figures"), rows)]
    members = [(one["name"], size(one["bytes"]), size(one["packed"])) for one in found["members"]]
    return "\n".join([*lines, "", table(("member", "size", "packed"), members)])


def _figures_text(figures: Mapping[str, float | Mapping[str, float]]) -> str:
    texts = (
        f"{name.replace('_', ' ')} {metrics_text(value) if isinstance(value, Mapping) else _number_text(value)}"
        for name, value in figures.items()
    )
    return ", ".join(texts)


def _number_text(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"


COMMANDS = (unpack,)
