"""Do something with files that may harm the process that reads them: in a worker of its own."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from mltkbuild.stages.protocol import Job
from mltkbuild.workers import executor


def do(job: str, **arguments: object) -> Any:
    """Do a job of `entry.JOBS` in a worker process.

    Raises:
        MltkError: It failed, or the worker died.
    """
    with tempfile.TemporaryDirectory(prefix="mltkbuild-", ignore_cleanup_errors=True) as folder:
        return executor.do(Job(job, arguments, os.path.join(folder, "log")))
