"""Rock, paper, scissors, version 2: pictures of hands, of Silicon Labs' mltk_assets."""

from __future__ import annotations

import os

from mltkbuild.datasets.download import Source
from mltkbuild.datasets.image.hands import load

SOURCE = Source(
    "https://github.com/SiliconLabs/mltk_assets/raw/master/datasets/rock_paper_scissors_v2.7z",
    "sha1:77ed1793be7871dcaa79d935b39ba4d23a28e2c3",
)
CLASSES = ["rock", "paper", "scissor", "_unknown_"]
INPUT_SHAPE = (96, 96, 1)


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> str:
    """Download the pictures; unpacking them needs the extra `7z`.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        A folder with a folder for each gesture: rock, paper, scissor and _unknown_.

    Raises:
        DataError: They can't be downloaded or unpacked.
        UsageError: The extra is not installed.
    """
    return load(SOURCE, "rock_paper_scissors_v2", dest_dir)
