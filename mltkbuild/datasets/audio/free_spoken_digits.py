"""Free Spoken Digit Dataset: 3,000 recordings of ten digits by six speakers, 8 kHz.

Z. Jackson and others, https://github.com/Jakobovski/free-spoken-digit-dataset; CC BY-SA 4.0. Files are called
DIGIT_SPEAKER_N.wav; those with N from 0 to 4 are the official test set.
"""

from __future__ import annotations

import os

from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of
from mltkbuild.datasets.unpack import unpack

# GitHub packs on demand: what is in the archive has a lasting digest, the archive has none.
SOURCE = Source(
    "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.tar.gz",
    name="free-spoken-digit-dataset.tar.gz",
)
CONTENT = "content:2c129cf547ff08ee70ddd455a2840259ff26aebe7608e48d605f044d91c18dcf"
"""The digest of the recordings, from the tag v1.0.10 of the repository."""
CLASSES = [str(digit) for digit in range(10)]


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> str:
    """Download the recordings.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        A folder with a folder for each digit.

    Raises:
        DataError: They can't be downloaded or unpacked.
    """
    folder = folder_of(dest_dir, "free_spoken_digits")
    archive = fetch(SOURCE, folder.parent if dest_dir is None else folder)
    return str(unpack(archive, folder if dest_dir is None else folder / "data", CONTENT, by_digit))


def by_digit(name: str) -> str | None:
    """Put a recording into a folder of its digit."""
    folder, _, file = name.rpartition("/")
    return f"{file[0]}/{file}" if folder.endswith("recordings") and file.endswith(".wav") else None


def split_subset(name: str) -> str | None:
    """The official split, for `my_model.split_subset`: a speaker's first five recordings of a digit are the test."""
    number = name.rpartition("_")[2].partition(".")[0]
    return "evaluation" if number.isdigit() and int(number) < 5 else None


def group_of(name: str) -> str:
    """The speaker of a recording, for `my_model.split_group`."""
    return name.rpartition("/")[2].split("_")[1]
