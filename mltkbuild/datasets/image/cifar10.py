"""CIFAR-10: 60,000 pictures of 32x32 colours, of animals and vehicles. A. Krizhevsky, V. Nair, G. Hinton."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from mltkbuild.datasets.arrays import Split, read_pickled
from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of
from mltkbuild.datasets.unpack import unpack

SOURCE = Source(
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
    "sha256:6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce",
)
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> Split:
    """Download the images.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        `((x, y), (x_test, y_test))`: uint8 images of shape (n, 32, 32, 3) and class ids of shape (n, 1); 50,000 and
        10,000 of them.

    Raises:
        DataError: They can't be downloaded or unpacked.
    """
    folder = folder_of(dest_dir, "cifar10")
    unpacked = unpack(fetch(SOURCE, folder), folder / "batches", SOURCE.digest)
    train = [_batch(unpacked / f"data_batch_{number}") for number in range(1, 6)]
    x, y = (np.concatenate(parts) for parts in zip(*train, strict=True))
    return (x, y), _batch(unpacked / "test_batch")


def _batch(path: Path) -> tuple[np.ndarray, np.ndarray]:
    found = read_pickled(path)
    images = np.asarray(found[b"data"], np.uint8).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    return np.ascontiguousarray(images), np.array(found[b"labels"], np.uint8)[:, None]
