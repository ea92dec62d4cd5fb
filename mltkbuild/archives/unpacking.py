"""Restore a workspace from an archive: as a whole under its final name, or not at all.

The files are written to a folder of their own beside the target, which then gets the target's name. A kill leaves that
folder at most, and the next unpacking beside it removes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping

from mltkbuild.archives.contents import LARGEST_SOURCE, Contents, places, without_version
from mltkbuild.archives.reading import DISTRUST, ArchiveFile, chunks, fault, read_member
from mltkbuild.disk.digests import bytes_digest
from mltkbuild.disk.door import Door
from mltkbuild.errors import UsageError, WorkspaceError
from mltkbuild.shown import shown

TEMPORARY = ".mltk-unpacking-"


def unpack(archive: ArchiveFile, found: Contents, folder: str, own: Mapping[str, str]) -> list[str]:
    """Write an archive's files to a new workspace.

    Args:
        archive: The archive.
        found: Its contents.
        folder: The workspace's folder; it doesn't exist, or is empty.
        own: Text of the files that make a folder a workspace, by path in it.

    Returns:
        The paths of the archive's files in the workspace, sorted.

    Raises:
        UsageError: The folder is taken.
        StageError: A member is damaged or not what the archive says; nothing was made.
        WorkspaceError: The folder can't be written; nothing was made.
    """
    folder = os.path.abspath(folder)
    restored = places(archive, found, own)
    _require_free(folder)
    try:
        door = Door(os.path.dirname(folder))
        with door.temporary(TEMPORARY) as temporary:
            top = os.path.join(temporary, "workspace")
            door.make_new(top)
            for member, place in sorted(restored.items()):
                _write(door, os.path.join(top, place), _content(archive, found, member))
            for place, text in own.items():
                _write(door, os.path.join(top, place), [text.encode("utf-8")])
            for inner, _, _ in os.walk(top):
                door.flush_folder(inner)
            # A folder that is not empty any longer is not replaced: the system sees to that.
            door.rename(top, folder)
            # The workspace is there; only a power cut in this moment could still take its name.
            with contextlib.suppress(OSError):
                door.flush_root()
    except OSError as error:
        raise _unwritable(folder, error) from error
    return sorted(restored.values())


def _unwritable(folder: str, error: OSError) -> WorkspaceError:
    return WorkspaceError(
        "the workspace can't be written, and nothing of it was",
        where=shown(folder),
        found=error.strerror or str(error),
        fix="free some space, or choose another folder",
    )


def _require_free(folder: str) -> None:
    fix = "choose another folder, or remove this one"
    try:
        if os.path.islink(folder) or (os.path.lexists(folder) and not os.path.isdir(folder)):
            raise UsageError("the folder's name is taken", where=shown(folder), found="a file or a link", fix=fix)
        if not os.path.isdir(folder):
            return
        inside = sorted(os.listdir(folder))
        is_here = os.path.samefile(folder, os.curdir)
    except (OSError, ValueError) as error:
        told = getattr(error, "strerror", None) or str(error)
        raise UsageError("the folder can't be used", where=shown(folder), found=told, fix=fix) from error
    if inside:
        raise UsageError("the folder is not empty", where=shown(folder), found=shown(", ".join(inside)), fix=fix)
    if is_here:
        # It is replaced by a new one, and whoever stands in it would stand nowhere.
        fix = "give the name of a new folder"
        raise UsageError("the working directory can't be replaced", where=shown(folder), fix=fix)


def _content(archive: ArchiveFile, found: Contents, member: str) -> Iterable[bytes]:
    """A member's content as it is restored; a source is compared with its digest."""
    if member not in found.sources:
        return chunks(archive, member)
    data = read_member(archive, member, LARGEST_SOURCE)
    expected = found.digests.get(member)
    if expected is not None and bytes_digest(data) != expected:
        raise fault(archive.path, "a source is not the one that the model was built from", member, DISTRUST)
    return [without_version(data) if found.mltk else data]


def _write(door: Door, path: str, pieces: Iterable[bytes]) -> None:
    with door.create(path) as file:
        for piece in pieces:
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
