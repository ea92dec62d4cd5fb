"""Unpacks a downloaded archive beside it: nothing outside the folder, no links, no bombs, and never half of it."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

from mltkbuild.disk.door import Door
from mltkbuild.disk.names import name_fault
from mltkbuild.errors import DataError
from mltkbuild.extras import load
from mltkbuild.shown import shown

LARGEST = 64 << 30
"""More bytes than any of these data sets has."""
MOST_FILES = 2_000_000
"""More files than any of these data sets has."""
_EXPANSION = 100
_SPARE = 256 << 20
"""So much larger than the archive its files may be, and so much more: samples can't be packed as small as nothing."""
_CHUNK = 1 << 20
_MEMORY = 1 << 29
_MARK = ".complete"
_TEMPORARY = ".unpacking-"
_DAMAGE = (
    *(tarfile.TarError, zipfile.BadZipFile, gzip.BadGzipFile, lzma.LZMAError, zlib.error),
    *(EOFError, ValueError, NotImplementedError, RuntimeError),
)
_FIX = "delete the archive, and it is downloaded again"


Place = Callable[[str], str | None]
"""Where a member goes, by its name in the archive; None leaves it out."""


def without_top(name: str) -> str | None:
    """A member's name without the archive's one folder."""
    return name.partition("/")[2] or None


def unpack(archive: Path, folder: Path, digest: str, place: Place = without_top, *, merge: bool = False) -> Path:
    """Unpack an archive, unless that was done.

    Args:
        archive: A `.zip`, `.7z`, or `.tar`, which gzip, bzip2 or xz may have packed.
        folder: Where its files go; it appears as a whole or not at all.
        digest: Stands for the archive's content; another one unpacks it anew. `content:HEX` is what `content_digest`
            has to give of its files.
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
                _check_content(archive, scratch, digest)
                door.write(str(scratch / mark.name), stamp.encode())
                (_merge if merge else _replace)(door, scratch, folder)
                door.flush_root()
    except _DAMAGE as error:
        raise DataError("an archive is damaged", where=str(archive), found=str(error)[:200], fix=_FIX) from error
    except OSError as error:
        raise DataError(
            "an archive can't be unpacked",
            where=str(folder),
            found=error.strerror or str(error),
            fix="free some space, or set MLTK_DATASETS to a folder that can be written",
        ) from error
    return folder


def _check_content(archive: Path, folder: Path, digest: str) -> None:
    kind, _, wanted = digest.partition(":")
    if kind == "content" and (found := content_digest(folder)) != wanted:
        what = "an archive's files are not those that were published"
        raise DataError(what, where=str(archive), found=f"{found}, not {wanted}", fix=_FIX)


def content_digest(folder: Path) -> str:
    """The SHA-256 of a list, as sha256sum prints it, of all files below a folder by their names."""
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as file:
            one = hashlib.file_digest(file, "sha256").hexdigest()
        digest.update(f"{one}  {path.relative_to(folder).as_posix()}\n".encode())
    return digest.hexdigest()


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
    written, most = 0, _most_bytes(archive)
    members = _zip_members(archive) if zipfile.is_zipfile(archive) else _tar_members(archive)
    for count, (name, file) in enumerate(members, 1):
        if count > MOST_FILES:
            raise _unfit(archive, name, f"more than {MOST_FILES:,} files")
        target = _target(archive, folder, name, place)
        if target is None:
            continue
        with Door(str(folder)).create(str(target)) as out:
            while chunk := file.read(1 << 20):
                written += len(chunk)
                if written > most:
                    raise _unfit(archive, name, _too_much(archive, most))
                out.write(chunk)


def _most_bytes(archive: Path) -> int:
    """How many bytes the files of an archive may have."""
    return min(LARGEST, _EXPANSION * archive.stat().st_size + _SPARE)


def _too_much(archive: Path, most: int) -> str:
    return f"more than {most:,} bytes come of an archive of {archive.stat().st_size:,}"


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
    with _unpacked(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as file:
        for member in file:
            if member.isdir():
                continue
            opened = file.extractfile(member) if member.isreg() else None
            if opened is None:
                raise _unfit(archive, member.name, "is a link or a device")
            yield member.name.removeprefix("./"), opened
        _end(stream, file.offset)


@contextmanager
def _unpacked(archive: Path) -> Iterator[IO[bytes]]:
    """The bytes of a `.tar`; its packing has a checksum at the end, which is looked at by who reads to there."""
    with archive.open("rb") as packed:
        head = packed.read(6)
        packed.seek(0)
        if head.startswith(b"\x1f\x8b"):
            with gzip.GzipFile(fileobj=packed) as stream:
                yield cast(IO[bytes], stream)
        elif head.startswith(b"BZh"):
            _check_packing(packed, bz2.BZ2Decompressor)
            with bz2.BZ2File(packed) as bz2_stream:
                yield cast(IO[bytes], bz2_stream)
        elif head.startswith(b"\xfd7zXZ\0"):
            _check_packing(packed, partial(lzma.LZMADecompressor, memlimit=_MEMORY))
            with lzma.LZMAFile(packed) as xz_stream:
                yield cast(IO[bytes], xz_stream)
        else:
            yield packed


def _check_packing(packed: IO[bytes], begin: Callable[[], Any]) -> None:
    """Raise an error if bytes follow a packing that are none: Python leaves them alone, and others may not."""
    one = begin()
    while chunk := packed.read(_CHUNK):
        while chunk:
            if one.eof and not chunk.strip(b"\0"):
                break
            if one.eof:
                one = begin()
            _decompress(one, chunk)
            chunk = one.unused_data
    if not one.eof:
        raise EOFError("it is cut")
    packed.seek(0)


def _decompress(one: Any, chunk: bytes) -> None:
    """Go on with a packing piece by piece, so that one that unpacks to very much needs no memory for it."""
    try:
        one.decompress(chunk, _CHUNK)
        while not one.eof and not one.needs_input:
            one.decompress(b"", _CHUNK)
    except OSError as error:
        # bzip2 says so of bytes that are none of its own.
        raise EOFError(str(error)) from error


def _end(stream: IO[bytes], offset: int) -> None:
    """Read what follows the last member: nothing but zeros, and the checksums of the packing."""
    stream.seek(offset)
    read = 0
    while chunk := stream.read(_CHUNK):
        read += len(chunk)
        if chunk.strip(b"\0"):
            raise EOFError("there are bytes behind its end")
        if read > LARGEST:
            raise EOFError(f"more than {LARGEST >> 30} GiB")


def _unpack_7z(archive: Path, folder: Path, place: Place) -> None:
    py7zr = load("py7zr", "7z", f"unpacking {archive.name}")
    try:
        with py7zr.SevenZipFile(archive) as file:
            entries = file.list()
            most = _most_bytes(archive)
            if sum(entry.uncompressed for entry in entries) > most:
                raise _unfit(archive, archive.name, _too_much(archive, most))
            if len(entries) > MOST_FILES:
                raise _unfit(archive, archive.name, f"more than {MOST_FILES:,} files")
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
