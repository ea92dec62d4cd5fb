"""Where modules are looked for: what lies where somebody works stays a file, whatever its name.

This imports nothing that isn't part of every Python process from its start.
"""

from __future__ import annotations

import os
import sys


def search_path(*left_out: str) -> list[str]:
    """Where Python looks for modules, without the working directory and the workspace that it is in.

    Args:
        left_out: Further folders to leave out.

    Returns:
        `sys.path` without them, but for those that PYTHONPATH names by an absolute path.
    """
    named = {folder for folder in os.environ.get("PYTHONPATH", "").split(os.pathsep) if os.path.isabs(folder)}
    try:
        here = os.getcwd()
    except FileNotFoundError:
        # It is gone, and so is what was in it.
        return list(sys.path)
    strange = {os.path.realpath(folder) for folder in (here, _workspace(here), *left_out)}
    return [folder for folder in sys.path if folder in named or os.path.realpath(folder) not in strange]


def _workspace(folder: str) -> str:
    """The nearest folder with a dodo.py, from one up; the topmost when there is none."""
    while not os.path.isfile(os.path.join(folder, "dodo.py")) and folder != os.path.dirname(folder):
        folder = os.path.dirname(folder)
    return folder
