"""MNIST: 70,000 handwritten digits of 28x28 grey values. Y. LeCun, C. Cortes; CC BY-SA 3.0."""

from __future__ import annotations

import os

import numpy as np

from mltkbuild.datasets.arrays import Split
from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of

SOURCE = Source(
    "https://storage.googleapis.com/tensorflow/tf-keras-datasets/mnist.npz",
    "sha256:731c5ac602752760c8e48fbffcf8c3b850d9dc2a2aedcf2cc48468fc17b673d1",
)
CLASSES = [str(digit) for digit in range(10)]


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> Split:
    """Download the images.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        `((x, y), (x_test, y_test))`: uint8 images of shape (n, 28, 28) and digits; 60,000 and 10,000 of them.

    Raises:
        DataError: They can't be downloaded.
    """
    with fetch(SOURCE, folder_of(dest_dir, "mnist")).open("rb") as file, np.load(file, allow_pickle=False) as found:
        return (found["x_train"], found["y_train"]), (found["x_test"], found["y_test"])
