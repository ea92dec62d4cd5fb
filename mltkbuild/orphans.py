"""What is left of specs that are gone: their build folders and their archives."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass

from mltkbuild import store
from mltkbuild.errors import RecordError
from mltkbuild.files import digest_of
from mltkbuild.stages import STAGES
from mltkbuild.store import Folder
from mltkbuild.workspace import TEST, Listing, Workspace


@dataclass(frozen=True)
class Orphan:
    """The remains of one target.

    Args:
        target: Its name.
        paths: The files and folders that belong to it alone, relative to the workspace.
    """

    target: str
    paths: tuple[str, ...]


def find_orphans(workspace: Workspace, listing: Listing) -> list[Orphan]:
    """The targets that have records and no spec.

    An archive counts only while it is byte for byte the one that was built: an edited or foreign one is never ours.
    """
    orphans = []
    build = workspace.path(workspace.build_dir)
    for target in sorted(os.listdir(build)) if os.path.isdir(build) else ():
        name = target.removesuffix(TEST)
        has_records = os.path.isdir(os.path.join(build, target, store.RECORDS))
        if has_records and name not in listing.specs and name not in listing.problems:
            paths = [f"{workspace.build_dir}/{target}", *_archives(workspace, os.path.join(build, target), target)]
            orphans.append(Orphan(target, tuple(paths)))
    return orphans


def _archives(workspace: Workspace, path: str, target: str) -> list[str]:
    """The archives of a target below the models folder that are what its record says."""
    folder = Folder(target, path, workspace.path(workspace.models_dir))
    try:
        record = store.load_record(folder, STAGES["archive"].name)
    except RecordError:
        return []
    if record is None:
        return []
    found = []
    for parent, _, names in os.walk(workspace.path(workspace.models_dir)):
        for name in names:
            archive = os.path.join(parent, name)
            if name in record.artifacts and digest_of(archive) == record.artifacts[name]:
                found.append(os.path.relpath(archive, workspace.root).replace(os.sep, "/"))
    return found


def remove(workspace: Workspace, orphan: Orphan) -> None:
    """Delete what is left of a target."""
    for relative in orphan.paths:
        path = workspace.path(relative)
        if os.path.isdir(path):
            shutil.rmtree(path)
        else:
            os.unlink(path)
