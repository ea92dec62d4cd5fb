"""Speech Commands, version 0.02: 105,829 recordings of 35 words by many speakers, 16 kHz, a second each.

P. Warden, Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition, arXiv:1804.03209; CC BY 4.0.
"""

from __future__ import annotations

import os

from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of
from mltkbuild.datasets.unpack import unpack

SOURCE = Source(
    "https://storage.googleapis.com/download.tensorflow.org/data/speech_commands_v0.02.tar.gz",
    "sha1:4264eb9753e38eef2ec1d15dfac8441f09751ca9",
)


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> str:
    """Download the recordings.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        A folder with a folder for each word, and `_background_noise_`.

    Raises:
        DataError: They can't be downloaded or unpacked.
    """
    folder = folder_of(dest_dir, "speech_commands_v2")
    archive = fetch(SOURCE, folder.parent if dest_dir is None else folder)
    return str(unpack(archive, folder if dest_dir is None else folder / "data", SOURCE.digest, as_it_is))


def as_it_is(name: str) -> str | None:
    """The archive has no folder around its files; its own lists aren't recordings."""
    return name if "/" in name else None


def group_of(name: str) -> str:
    """The speaker of a recording, for `my_model.split_group`: files are called SPEAKER_nohash_N.wav."""
    return name.rpartition("/")[2].partition("_nohash_")[0]
