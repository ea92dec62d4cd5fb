"""ECG5000: 4,998 heartbeats of 140 values, normal ones and others.

From Y. Chen and others, the UCR time series archive; as a table by TensorFlow's auto-encoder tutorial.
"""

from __future__ import annotations

import os

import numpy as np

from mltkbuild.datasets.download import Source, fetch
from mltkbuild.datasets.places import folder_of
from mltkbuild.errors import DataError

# The source publishes no digest: this one is what OpenNN found and checks (github.com/Artelnics/opennn, its example
# ecg5000_anomaly_detection). The size of the table and its values are checked as well.
SOURCE = Source(
    "https://storage.googleapis.com/download.tensorflow.org/data/ecg.csv",
    "sha256:72ce7b040ca0c6ed36c3368e570c6ac4ddf20100476e47373c63b2395e012df1",
    name="ecg5000.csv",
)
CLASSES = ["abnormal", "normal"]
_SHAPE = (4998, 141)


def load_data(*, dest_dir: str | os.PathLike[str] | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Download the heartbeats.

    Args:
        dest_dir: Where they are kept; None for the folder of all data sets.

    Returns:
        `(x, y)`: float32 of shape (4998, 140), in millivolts, and 1 for a normal heartbeat, 0 for another.

    Raises:
        DataError: They can't be downloaded, or the table isn't the one expected.
    """
    path = fetch(SOURCE, folder_of(dest_dir, "ecg5000"))
    try:
        with path.open(encoding="utf-8") as file:
            table = np.loadtxt(file, delimiter=",", dtype=np.float32, ndmin=2)
    except ValueError as error:
        table, told = np.empty((0, 0), np.float32), str(error)[:200]
    else:
        told = f"{table.shape[0]} rows of {table.shape[1]} values"
    if table.shape != _SHAPE or not np.isin(table[:, -1], (0, 1)).all() or not np.isfinite(table).all():
        fix = "delete it, and it is downloaded again"
        raise DataError("the table is not ECG5000", where=str(path), found=told, fix=fix)
    return table[:, :-1], table[:, -1].astype(np.int64)
