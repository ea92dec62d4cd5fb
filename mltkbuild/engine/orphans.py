"""What is left of specs that are gone: their build folders and their archives."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass

from mltkbuild.disk import store
from mltkbuild.disk.digests import artifact_digest
from mltkbuild.disk.door import Door
from mltkbuild.disk.durable import disk_error
from mltkbuild.disk.folder import ARCHIVE_SUFFIX, Folder
from mltkbuild.disk.workspace import TEST, Listing, Workspace
from mltkbuild.errors import ForeignError, RecordError, WorkspaceError
from mltkbuild.stages.table import STAGES


@dataclass(frozen=True)
class Orphan:
    """The remains of one target.

    Args:
        target: Its name.
        paths: The files and folders that belong to it alone, relative to the workspace.
        kept: Files among them that somebody had edited; they stay.
    """

    target: str
    paths: tuple[str, ...]
    kept: tuple[str, ...] = ()


def find_orphans(workspace: Workspace, listing: Listing) -> list[Orphan]:
    """The targets that have records and no spec.

    An archive counts only while it is byte for byte the one that was built: an edited or foreign one is never ours.

    Raises:
        WorkspaceError: The models folder is not there, so that nothing can be said about its specs.
    """
    models = workspace.path(workspace.models_dir)
    if not os.path.isdir(models):
        raise WorkspaceError(
            "there is no models folder, so every model would count as gone",
            where=models,
            fix="make the folder, or set models_dir in pyproject.toml",
        )
    orphans = []
    build = workspace.path(workspace.build_dir)
    for target in sorted(os.listdir(build)) if os.path.isdir(build) else ():
        name = target.removesuffix(TEST)
        folder = Folder(target, os.path.join(build, target), models)
        if name not in listing.specs and name not in listing.problems and _has_records(folder):
            paths = (f"{workspace.build_dir}/{target}", *_archives(workspace, folder))
            orphans.append(Orphan(target, paths, tuple(_edited(workspace, folder))))
    return orphans


def _has_records(folder: Folder) -> bool:
    """Whether it is a folder with records of ours, and no link to one."""
    try:
        found = [folder.door.status(folder.record_path(stage)) for stage in STAGES]
    except (ForeignError, OSError):
        return False
    return any(status is not None and stat.S_ISREG(status.st_mode) for status in found)


def _edited(workspace: Workspace, folder: Folder) -> Iterator[str]:
    """What builds have set aside of somebody's edits."""
    for parent, _, names in os.walk(folder.path):
        for name in sorted(names):
            if name.endswith(store.CHANGED_SUFFIX):
                yield _shown(workspace, os.path.join(parent, name))


def _archives(workspace: Workspace, folder: Folder) -> list[str]:
    """The archives of a target below the models folder that are what its record says."""
    try:
        record = store.load_record(folder, STAGES["archive"].name)
    except RecordError:
        return []
    if record is None:
        return []
    found = []
    name = folder.target + ARCHIVE_SUFFIX
    for parent, _, names in os.walk(workspace.path(workspace.models_dir)):
        archive = os.path.join(parent, name)
        if name in names and name in record.artifacts and artifact_digest(archive, name) == record.artifacts[name]:
            found.append(_shown(workspace, archive))
    return found


def _shown(workspace: Workspace, path: str) -> str:
    return os.path.relpath(path, workspace.root).replace(os.sep, "/")


def remove(workspace: Workspace, orphan: Orphan) -> None:
    """Delete what is left of a target, but for the files that somebody had edited.

    Raises:
        StageError: The system refuses.
    """
    kept = {workspace.path(path) for path in orphan.kept}
    try:
        for relative in orphan.paths:
            path = workspace.path(relative)
            Door(os.path.dirname(path)).remove_tree(path, kept)
    except OSError as error:
        raise disk_error(error, orphan.target) from error
