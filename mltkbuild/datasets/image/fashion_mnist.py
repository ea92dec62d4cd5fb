"""Fashion-MNIST: 70,000 pictures of clothes, 28x28 grey values. Zalando Research, arXiv:1708.07747; MIT licence."""

from __future__ import annotations

import os
from pathlib import Path

from mltkbuild.datasets.arrays import Split, read_idx
from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of

_BASE = "https://storage.googleapis.com/tensorflow/tf-keras-datasets/"
SOURCES = (
    Source(f"{_BASE}train-images-idx3-ubyte.gz", "sha1:95978b76b6897f6ca69a25145d01716efb615989"),
    Source(f"{_BASE}train-labels-idx1-ubyte.gz", "sha1:09814cfef5a041118ceace42f8dae995319d331a"),
    Source(f"{_BASE}t10k-images-idx3-ubyte.gz", "sha1:5edda96c6d8c36ff915115a0e8136d370a021576"),
    Source(f"{_BASE}t10k-labels-idx1-ubyte.gz", "sha1:9caad14e1aff9adac77d3744963212d36af15bee"),
)
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist puts the files, packed anew."""
CLASSES = ["tshirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "boot"]


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> Split:
    """Read the images that Debian's package has, or download them.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        `((x, y), (x_test, y_test))`: uint8 images of shape (n, 28, 28) and class ids; 60,000 and 10,000 of them.

    Raises:
        DataError: They can't be downloaded.
    """
    here = dest_dir is None and all((DEBIAN / source.file_name).is_file() for source in SOURCES)
    folder = folder_of(dest_dir, "fashion_mnist")
    paths = [DEBIAN / source.file_name if here else fetch(source, folder) for source in SOURCES]
    x, y, x_test, y_test = (read_idx(path) for path in paths)
    return (x, y), (x_test, y_test)
