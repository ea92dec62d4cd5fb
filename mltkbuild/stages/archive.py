"""Assembles the archive: all artifacts so far, the sources, and what the spec adds."""

from __future__ import annotations

from pathlib import Path

from mltkbuild.archives import packing
from mltkbuild.data import prepared
from mltkbuild.disk.folder import ARCHIVE_SUFFIX
from mltkbuild.errors import SpecError
from mltkbuild.stages.stage_run import StageRun


def archive(run: StageRun) -> None:
    """Pack everything that belongs to a model."""
    request = run.request
    added = {}
    for name in run.model.archive_files:
        path = Path(request.root, name).resolve()
        if not path.is_file() or not path.is_relative_to(Path(request.root).resolve()):
            raise SpecError(
                "add_archive_file names no file of the workspace",
                where=request.spec_path,
                found=str(name),
                fix="give a path relative to the workspace",
            )
        with run.code.running("add_archive_file"):
            added[path.relative_to(Path(request.root).resolve()).as_posix()] = path
            path.open("rb").close()
    with run.code.at():
        run.outcome.facts |= packing.run(
            run.files.own("{name}" + ARCHIVE_SUFFIX),
            request.target,
            {name: Path(path) for name, path in request.artifacts.items() if not name.startswith(prepared.FOLDER)},
            request.sources,
            request.spec_path,
            request.provenance,
            added,
        )
