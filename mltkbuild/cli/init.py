"""`mltk init`: a new workspace with a working model."""

from __future__ import annotations

import os
import shlex
from importlib.resources import files
from pathlib import Path

import click

from mltkbuild.cli.telling import tell
from mltkbuild.errors import WorkspaceError

# Template file -> place in the workspace.
LAYOUT = {
    "dodo.py": "dodo.py",
    "pyproject.toml": "pyproject.toml",
    "gitignore": ".gitignore",
    "digits_v1.py": "models/digits_v1.py",
}


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(file_okay=False, path_type=Path))
def init(folder: Path) -> None:
    """Make a new workspace with a working example.

    Nothing that exists is touched.

    \b
    mltk init demo
    """
    if os.path.lexists(folder / "dodo.py"):
        raise WorkspaceError(
            "this folder is a doit project already", where=folder, found="dodo.py", fix="choose another folder"
        )
    kept = [place for place in LAYOUT.values() if os.path.lexists(folder / place)]
    for template, place in LAYOUT.items():
        if place not in kept:
            _write(folder / place, files("mltkbuild.templates").joinpath(template).read_text(encoding="utf-8"))
    tell(f"made {folder} with the model digits_v1" + (f"; kept {', '.join(kept)}" if kept else ""))
    tell("next: " + ("doit" if folder.resolve() == Path.cwd() else f"cd {shlex.quote(str(folder))} && doit"))


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    except OSError as error:
        raise WorkspaceError(
            "the workspace can't be written", where=path, found=error.strerror, fix="choose another folder"
        ) from error
