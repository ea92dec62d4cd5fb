"""Where data sets are kept."""

from __future__ import annotations

import os
from pathlib import Path

FOLDER = "MLTK_DATASETS"
"""The environment variable that names the folder of all data sets."""


def folder_of(dest_dir: str | os.PathLike[str] | None, name: str) -> Path:
    """The folder that a data set is kept in.

    Args:
        dest_dir: A folder for this data set alone; None for the one of all data sets.
        name: The data set's name.
    """
    if dest_dir is not None:
        return Path(dest_dir).absolute()
    chosen = os.environ.get(FOLDER)
    return (Path(chosen).expanduser().absolute() if chosen else _workspace() / "datasets") / name


def _workspace() -> Path:
    """The nearest folder with a dodo.py, from the working directory up; else the working directory."""
    here = Path.cwd()
    return next((folder for folder in (here, *here.parents) if (folder / "dodo.py").is_file()), here)
