"""What the commands do with the models inside an archive."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltkbuild.archives.contents import contents, find
from mltkbuild.archives.reading import open_archive, read_member
from mltkbuild.archives.unpacking import unpack
from mltkbuild.cli.archives import workspace_files
from mltkbuild.cli.file_commands import TFLITE, evaluate_files, existing
from mltkbuild.cli.telling import tell
from mltkbuild.disk.durable import write
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.disk.workspace import find_workspace, import_folders
from mltkbuild.errors import MltkError, UsageError
from mltkbuild.stages.protocol import Request

LARGEST_MODEL = 2**31
EVALUATED = ("eval/keras/summary.txt", "eval/tflite/summary.txt", "eval/parity.txt")


@contextmanager
def member(path: str, *suffixes: str) -> Iterator[list[str]]:
    """Models of an archive as files of their own, for as long as the block lasts.

    Args:
        path: The archive.
        suffixes: The forms of the model, such as `.tflite`.

    Yields:
        The paths of those that are in it.

    Raises:
        UsageError: None of them is in it.
        StageError: It is no model's archive, or may do harm.
    """
    existing(path, ARCHIVE_SUFFIX)
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as folder:
        found = []
        with open_archive(path) as opened:
            for suffix in suffixes:
                name = find(opened, suffix)
                if name is not None:
                    found.append(os.path.join(folder, os.path.basename(name)))
                    write(found[-1], read_member(opened, name, LARGEST_MODEL))
        if not found:
            raise UsageError(
                "the archive has no such model",
                where=path,
                found=f"no {' or '.join(suffixes)}",
                fix="see `mltk summarize`",
            )
        try:
            yield found
        except MltkError as error:
            # The folder is gone when somebody reads this.
            if error.where is not None and error.where.startswith(folder):
                error.where = f"{path}: {os.path.basename(error.where)}"
            raise


def evaluate_archive(path: str, options: Mapping[str, Any]) -> None:
    """Evaluate an archive's models: with given samples, or with those of its spec, whose code then runs.

    Raises:
        UsageError: There are no samples, and the spec isn't trusted.
    """
    if options["data"] is not None:
        with member(path, ".keras", ".h5", TFLITE) as found:
            evaluate_files(found, options)
        return
    existing(path, ARCHIVE_SUFFIX)
    if not options["trust"]:
        raise UsageError(
            "evaluating an archive with its own samples runs the Python code in it",
            where=path,
            fix="give --trust if you trust its maker, or samples with --data",
        )
    with tempfile.TemporaryDirectory(prefix="mltkbuild-") as folder:
        for text in _evaluated(path, os.path.join(folder, "workspace"), os.path.join(folder, "scratch")):
            tell(text)


def _evaluated(path: str, root: str, scratch: str) -> list[str]:
    """Unpack the archive and run the evaluate stage of its spec on the models that are in it."""
    with open_archive(path) as opened:
        found = contents(opened)
        restored = unpack(opened, found, root, workspace_files(opened, found))
    workspace = find_workspace(root)
    builder = importlib.import_module("mltkbuild.engine.builder").Builder(workspace)
    state = builder.state(found.target)
    kept = f"artifacts/{found.target}/"
    artifacts = {name.removeprefix(kept): workspace.path(name) for name in restored if name.startswith(kept)}
    os.makedirs(scratch)
    request = Request(
        target=found.target,
        stage="evaluate",
        root=workspace.root,
        spec_path=state.spec.path,
        import_folders=import_folders(workspace, state.spec.path),
        sources=state.sources.texts,
        folder=state.folder.path,
        scratch=scratch,
        log=os.path.join(root, "evaluate.log"),
        ignored=(scratch,),
        artifacts=artifacts,
    )
    executor = importlib.import_module("mltkbuild.workers.executor").Processes()
    try:
        outcome = executor.run(request, lambda event: None)
    finally:
        executor.stop()
    if outcome.error is not None:
        raise outcome.error
    return [Path(scratch, name).read_text(encoding="utf-8") for name in EVALUATED if Path(scratch, name).exists()]
