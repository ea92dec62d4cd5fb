"""Unpacks a downloaded archive beside it: nothing outside the folder, no links, no bombs, and never half of it."""

from __future__ import annotations

import stat
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from mltkbuild.disk.door import Door
from mltkbuild.disk.names import name_fault, shown
from mltkbuild.errors import DataError
from mltkbuild.extras import load

LARGEST = 64 << 30
"""More bytes than any of these data sets has."""
_MARK = ".complete"
_TEMPORARY = ".unpacking-"
_FIX = "delete the archive, and it is downloaded again"


Place = Callable[[str], str | None]
"""Where a member goes, by its name in the archive; None leaves it out."""


def without_top(name: str) -> str | None:
    """A member's name without the archive's one folder."""
    return name.partition("/")[2] or None


def unpack(archive: Path, folder: Path, digest: str, place: Place = without_top, *, merge: bool = False) -> Path:
    """Unpack an archive, unless that was done.

    Args:
        archive: A `.zip`, `.7z`, or `.tar` in any packing that Python knows.
        folder: Where its files go; it appears as a whole or not at all.
        digest: Stands for the archive's content; another one unpacks it anew.
        place: Where each member goes.
        merge: Whether the folder has other files, too. They stay, but for those of the same names; after a kill some of
            the archive's may be missing, and the next call adds all again.

    Raises:
        DataError: The archive is damaged, has a name that leads elsewhere, a link or a device, or is too large; or the
            folder has files that are somebody else's.
    """
    folder = folder.absolute()
    mark = folder / (f".{archive.name}{_MARK}" if merge else _MARK)
    stamp = f"{digest or archive.stat().st_size} {place.__name__}"
    try:
        door = Door(str(folder.parent))
        with door.locked(str(folder.parent / f".{folder.name}.lock")):
            if mark.is_file() and mark.read_text(encoding="utf-8") == stamp:
                return folder
            with door.temporary(_TEMPORARY) as temporary:
                scratch = Path(temporary, "files")
                door.make(str(scratch))
                _fill(archive, scratch, place)
                door.write(str(scratch / mark.name), stamp.encode())
                (_merge if merge else _replace)(door, scratch, folder)
                door.flush_root()
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, ValueError) as error:
        raise DataError("an archive is damaged", where=str(archive), found=str(error)[:200], fix=_FIX) from error
    except OSError as error:
        raise DataError(
            "an archive can't be unpacked",
            where=str(folder),
            found=error.strerror or str(error),
            fix="free some space, or set MLTK_DATASETS to a folder that can be written",
        ) from error
    return folder


def _replace(door: Door, scratch: Path, folder: Path) -> None:
    if folder.exists() and not (folder / _MARK).exists() and any(folder.iterdir()):
        raise DataError(
            "an archive's folder has other files",
            where=str(folder),
            found=f"no {_MARK}, which each unpacking leaves there",
            fix="move them away, or name another folder",
        )
    door.remove_tree(str(folder))
    door.rename(str(scratch), str(folder))


def _merge(door: Door, scratch: Path, folder: Path) -> None:
    """Move all files, the mark last; the folder itself may be a link of the user's."""
    into = Door(str(folder))
    for path in sorted(scratch.rglob("*"), key=lambda path: path.name.endswith(_MARK)):
        target = folder / path.relative_to(scratch)
        if path.is_dir():
            into.make(str(target))
        else:
            door.move(str(path), into, str(target))


def _fill(archive: Path, folder: Path, place: Place) -> None:
    if archive.suffix == ".7z":
        _unpack_7z(archive, folder, place)
        return
    written = 0
    for name, file in _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive):
        target = _target(archive, folder, name, place)
        if target is None:
            continue
        with Door(str(folder)).create(str(target)) as out:
            while chunk := file.read(1 << 20):
                written += len(chunk)
                if written > LARGEST:
                    raise _unfit(archive, name, f"more than {LARGEST >> 30} GiB")
                out.write(chunk)


def _target(archive: Path, folder: Path, name: str, place: Place) -> Path | None:
    """The file that a member becomes; None for one that is left out."""
    fault = name_fault(name)
    if fault is not None:
        raise _unfit(archive, name, fault)
    placed = place(name)
    return folder.joinpath(*placed.split("/")) if placed else None


def _unfit(archive: Path, name: str, why: str) -> DataError:
    return DataError("an archive has an unfit file", where=str(archive), found=f"{shown(name, 100)}: {why}", fix=_FIX)


def _zip_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with zipfile.ZipFile(archive) as file:
        for member in file.infolist():
            if stat.S_ISLNK(member.external_attr >> 16):
                raise _unfit(archive, member.filename, "is a link")
            if not member.is_dir():
                with file.open(member) as opened:
                    yield member.filename, opened


def _tar_members(archive: Path) -> Iterator[tuple[str, IO[bytes]]]:
    with tarfile.open(archive) as file:
        for member in file:
            if member.isdir():
                continue
            opened = file.extractfile(member) if member.isreg() else None
            if opened is None:
                raise _unfit(archive, member.name, "is a link or a device")
            yield member.name.removeprefix("./"), opened


def _unpack_7z(archive: Path, folder: Path, place: Place) -> None:
    py7zr = load("py7zr", "7z", f"unpacking {archive.name}")
    try:
        with py7zr.SevenZipFile(archive) as file:
            entries = file.list()
            if sum(entry.uncompressed for entry in entries) > LARGEST:
                raise _unfit(archive, archive.name, f"more than {LARGEST >> 30} GiB")
            for entry in entries:
                _target(archive, folder, entry.filename, place)
            file.extractall(folder / ".whole")  # noqa: S202  # every name was looked at
    except py7zr.Bad7zFile as error:
        raise DataError("an archive is damaged", where=str(archive), found=str(error)[:200], fix=_FIX) from error
    door = Door(str(folder))
    for path in sorted((folder / ".whole").rglob("*")):
        if path.is_symlink():
            raise _unfit(archive, path.name, "is a link")
        target = _target(archive, folder, path.relative_to(folder / ".whole").as_posix(), place)
        if path.is_file() and target is not None:
            door.rename(str(path), str(target))
    door.remove_tree(str(folder / ".whole"))
