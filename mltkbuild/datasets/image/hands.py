"""What both versions of rock, paper, scissors share."""

from __future__ import annotations

import os

from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of
from mltkbuild.datasets.unpack import unpack


def load(source: Source, name: str, dest_dir: str | os.PathLike[str] | None) -> str:
    """Download and unpack the pictures, and give their folder."""
    folder = folder_of(dest_dir, name)
    return str(unpack(fetch(source, folder), folder / "pictures", source.digest))
