"""`mltk init`: a new workspace with a working model."""

from __future__ import annotations

import os
from importlib.resources import files
from pathlib import Path

import click

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
    """Make a new workspace with a working example; nothing that exists is touched.

    \b
    mltk init demo
    """
    present = [place for place in LAYOUT.values() if os.path.lexists(folder / place)]
    if "dodo.py" in present or "pyproject.toml" in present:
        raise WorkspaceError(
            "there is something already", where=folder, found=", ".join(present), fix="choose an empty folder"
        )
    for template, place in LAYOUT.items():
        if place in present:
            continue
        target = folder / place
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(files("mltkbuild.templates").joinpath(template).read_text(encoding="utf-8"), "utf-8")
        except OSError as error:
            raise WorkspaceError(
                "the workspace can't be written", where=target, found=str(error), fix="choose another folder"
            ) from error
    click.echo(f"made {folder} with the model digits_v1; next:\n\n    cd {folder} && doit")
