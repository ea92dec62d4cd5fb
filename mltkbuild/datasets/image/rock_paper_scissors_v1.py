"""Rock, paper, scissors, version 1: pictures of hands, of Silicon Labs' mltk_assets."""

from __future__ import annotations

import os

from mltkbuild.datasets.download import Source
from mltkbuild.datasets.image.hands import load

SOURCE = Source(
    "https://github.com/SiliconLabs/mltk_assets/raw/master/datasets/rock_paper_scissors.7z",
    "sha1:1ce48f66f7ff999958550147d75aba8da185280c",
)
CLASSES = ["rock", "paper", "scissor"]
INPUT_SHAPE = (96, 96, 1)


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> str:
    """Download the pictures; unpacking them needs the extra `7z`.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        A folder with a folder for each gesture: rock, paper and scissor.

    Raises:
        DataError: They can't be downloaded or unpacked.
        UsageError: The extra is not installed.
    """
    return load(SOURCE, "rock_paper_scissors_v1", dest_dir)
