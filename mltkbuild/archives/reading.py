"""Zip archives of strangers: every member is judged by its headers before anything of it is used.

The rules are stricter than the format's (PKWARE's APPNOTE): the members lie side by side from the first byte to the
central directory, whose end is the end of the file. So no two programs can read the same archive differently.
"""

from __future__ import annotations

import hashlib
import os
import stat
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import BinaryIO

from mltkbuild.disk.names import clash, name_fault
from mltkbuild.errors import StageError, UsageError
from mltkbuild.shown import shown

MOST_MEMBERS = 10_000
MOST_BYTES = 2 << 30
"""Larger archives are ZIP64 ones."""
RATIO, RATIO_COUNTS_FROM = 1000, 8 << 20
"""Deflate shrinks nothing but a bomb so much."""

_STORED, _DEFLATED = 0, 8
_ENCRYPTED, _DESCRIPTOR, _UTF8 = 1 << 0, 1 << 3, 1 << 11
_FLAGS = 1 << 1 | 1 << 2 | _DESCRIPTOR | _UTF8
_END, _END_MARK = struct.Struct("<4s4H2LH"), b"PK\5\6"
_ENTRY, _ENTRY_MARK = struct.Struct("<4s6H3L5H2L"), b"PK\1\2"
_LOCAL, _LOCAL_MARK = struct.Struct("<4s5H3L2H"), b"PK\3\4"
_SUMS, _SUMS_MARK = struct.Struct("<3L"), b"PK\7\x08"
_LARGEST_DIRECTORY = 32 << 20
_CHUNK = 1 << 16
AGAIN = "get the archive again from where it came"
DISTRUST = "don't trust this archive; ask the one who made it for another"


@dataclass(frozen=True)
class Member:
    """One member as the central directory has it.

    Args:
        name: Its path in the archive; a folder's ends in a slash.
        flags: The general purpose flags.
        method: How it is compressed.
        sums: CRC-32, packed size and size, in bytes.
        attributes: The file attributes of the system that it comes from.
        offset: Where its local header begins.
        start: Where its data begins.
    """

    name: str
    flags: int
    method: int
    sums: tuple[int, int, int]
    attributes: int
    offset: int
    start: int = 0

    @property
    def packed(self) -> int:
        """Its size in the archive."""
        return self.sums[1]

    @property
    def size(self) -> int:
        """Its size once inflated."""
        return self.sums[2]


@dataclass(frozen=True)
class ArchiveFile:
    """An open archive whose headers are all right.

    Args:
        path: Where it lies, as given.
        size: Its size in bytes.
        members: The files in it by name, without folders.
        file: The open file.
    """

    path: str
    size: int
    members: Mapping[str, Member]
    file: BinaryIO


def fault(path: str, what: str, found: str | None = None, fix: str = AGAIN) -> StageError:
    """An error about an archive."""
    return StageError(what, where=shown(path), found=None if found is None else shown(found, 100), fix=fix)


def _without_waiting(name: str, flags: int) -> int:
    return os.open(name, flags | os.O_NONBLOCK)


@contextmanager
def open_archive(path: str) -> Iterator[ArchiveFile]:
    """Open an archive and check the headers of all members.

    Raises:
        UsageError: There is no such file, or it can't be read.
        StageError: It is no zip archive, damaged, or may do harm.
    """
    try:
        # A pipe would have the opening wait for its writer.
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115  # the `with` below closes it; errors differ
    except (OSError, ValueError) as error:
        raise _unreadable(path, getattr(error, "strerror", None) or str(error)) from error
    with file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise _unreadable(path, "no regular file")
        entries, begin = _directory(path, file, status.st_size)
        members = _laid(path, file, entries, begin)
        yield ArchiveFile(path, status.st_size, {one.name: one for one in members if one.name[-1] != "/"}, file)


def _unreadable(path: str, found: str) -> UsageError:
    return UsageError("the archive can't be read", where=shown(path), found=shown(found), fix="check the path")


# -- headers ---------------------------------------------------------------------------------------------------------


def _bytes_at(path: str, file: BinaryIO, offset: int, count: int) -> bytes:
    try:
        file.seek(offset)
        data = file.read(count)
    except OSError as error:
        raise _unreadable(path, error.strerror or str(error)) from error
    if len(data) != count:
        raise fault(path, "the archive is cut off", f"{len(data)} of {count} bytes at {offset}")
    return data


def _directory(path: str, file: BinaryIO, size: int) -> tuple[list[Member], int]:
    """The members in the order of the archive, and where the central directory begins."""
    if size < _END.size:
        raise fault(path, "this is no zip archive", f"{size} bytes")
    end = _END.unpack(_bytes_at(path, file, size - _END.size, _END.size))
    mark, disk, directory_disk, here, count, length, begin, comment = end
    if mark != _END_MARK or comment:
        raise _bad_end(path, file, size)
    if disk or directory_disk or here != count:
        raise fault(path, "this is a part of an archive", f"part {disk + 1}", "give the archive in one file")
    if count > MOST_MEMBERS or length > _LARGEST_DIRECTORY:
        found = f"{count:,} members, {length:,} bytes of names"
        raise fault(path, f"the archive has more than {MOST_MEMBERS:,} members, or very long names", found, DISTRUST)
    if begin + length != size - _END.size:
        raise fault(path, "the archive is damaged, or in ZIP64 format for 2 GiB and more", f"{size:,} bytes")
    entries = list(_entries(path, _bytes_at(path, file, begin, length)))
    if len(entries) != count:
        raise fault(path, "the archive's directory is damaged", f"{len(entries)} members instead of {count}")
    if not entries:
        raise fault(path, "the archive is empty")
    _check_together(path, entries, size)
    return sorted(entries, key=lambda entry: entry.offset), begin


def _bad_end(path: str, file: BinaryIO, size: int) -> StageError:
    """Tell a zip archive with something behind it from a file that is none."""
    window = min(size, _END.size + 0xFFFF)
    tail = _bytes_at(path, file, size - window, window)
    at = tail.rfind(_END_MARK)
    if 0 <= at <= len(tail) - _END.size:
        found = f"{len(tail) - at - _END.size:,} bytes more"
        return fault(path, "a comment or something else follows the archive's end", found)
    begins = _bytes_at(path, file, 0, 4)
    what = "the archive is cut off" if begins == _LOCAL_MARK else "this is no zip archive"
    return fault(path, what, f"{size:,} bytes without the end of one")


def _entries(path: str, data: bytes) -> Iterator[Member]:
    position = 0
    while position < len(data):
        if len(data) - position < _ENTRY.size:
            raise fault(path, "the archive's directory is damaged", f"{len(data) - position} bytes too many")
        fields = _ENTRY.unpack_from(data, position)
        mark, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, disk, _, attributes, offset = fields
        position += _ENTRY.size
        raw = data[position : position + named]
        position += named + extra + comment
        if mark != _ENTRY_MARK or position > len(data) or disk:
            raise fault(path, "the archive's directory is damaged", f"byte {position:,} of {len(data):,}")
        member = Member(_decoded(path, raw, flags), flags, method, (crc, packed, size), attributes, offset)
        _check_member(path, member)
        yield member


def _decoded(path: str, raw: bytes, flags: int) -> str:
    try:
        return raw.decode("utf-8" if flags & _UTF8 else "cp437")
    except UnicodeDecodeError as error:
        raise fault(path, "a member's name is no UTF-8", repr(raw)) from error


def _check_member(path: str, member: Member) -> None:
    """Refuse a member that is no plain file or folder with a plain name."""
    is_folder = member.name.endswith("/")
    wrong = name_fault(member.name.removesuffix("/"))
    if wrong is not None:
        raise fault(path, f"a member's name {wrong}", member.name or "''", DISTRUST)
    kind = stat.S_IFMT(member.attributes >> 16)
    if kind not in (0, stat.S_IFDIR if is_folder else stat.S_IFREG):
        words = {stat.S_IFLNK: "a symbolic link", stat.S_IFDIR: "a folder", stat.S_IFREG: "a file"}
        found = f"{member.name}: {words.get(kind, 'a device, a pipe or a socket')}"
        raise fault(path, "a member is no regular file", found, DISTRUST)
    if member.flags & _ENCRYPTED:
        raise fault(path, "a member is encrypted", member.name, "decrypt the archive and pack it again")
    if member.flags & ~_FLAGS or member.method not in (_STORED, _DEFLATED):
        found = f"{member.name}: method {member.method}, flags {member.flags:#x}"
        raise fault(path, "a member is compressed in a way that isn't known here", found, "pack it again with deflate")
    if (member.method == _STORED and member.packed != member.size) or (is_folder and member.size):
        raise fault(path, "a member's sizes contradict each other", member.name, DISTRUST)
    if _is_bomb(member.size, member.packed):
        found = f"{member.name}: {member.packed:,} bytes inflate to {member.size:,}"
        raise fault(path, "a member is a zip bomb", found, DISTRUST)


def _is_bomb(size: int, packed: int) -> bool:
    return size > RATIO_COUNTS_FROM and size > RATIO * packed


def _check_together(path: str, members: Sequence[Member], size: int) -> None:
    # A folder may be above files, but neither twice there nor a file as well.
    both = clash(member.name + "." if member.name[-1] == "/" else member.name for member in members)
    if both is not None:
        raise fault(path, "two members would be the same file", f"{both[0]} and {both[1]}", DISTRUST)
    total = sum(member.size for member in members)
    if total > MOST_BYTES or _is_bomb(total, size):
        found = f"{size:,} bytes inflate to {total:,}"
        raise fault(path, "the archive is a zip bomb, or larger than 2 GiB", found, DISTRUST)


def _laid(path: str, file: BinaryIO, members: Sequence[Member], begin: int) -> Iterator[Member]:
    """The members with the places of their data, their local headers checked."""
    position = 0
    for member, following in zip(members, [*(one.offset for one in members[1:]), begin], strict=True):
        if member.offset != position:
            raise _not_side_by_side(path, f"{member.name} at {member.offset:,} instead of {position:,}")
        start = position + _local_size(path, file, member)
        position = start + member.packed
        if member.flags & _DESCRIPTOR and following - position in (_SUMS.size, _SUMS.size + 4):
            _check_descriptor(path, member, _bytes_at(path, file, position, following - position))
            position = following
        yield replace(member, start=start)
    if position != begin:
        raise _not_side_by_side(path, f"{begin - position:,} bytes before the directory")


def _not_side_by_side(path: str, found: str) -> StageError:
    return fault(path, "the archive's members overlap, or there is something between them", found, DISTRUST)


def _local_size(path: str, file: BinaryIO, member: Member) -> int:
    """The size of a member's local header, which has to say the same as the central directory."""
    header = _bytes_at(path, file, member.offset, _LOCAL.size)
    mark, _, flags, method, _, _, *sums, named, extra = _LOCAL.unpack(header)
    raw = _bytes_at(path, file, member.offset + _LOCAL.size, named)
    same_sums = tuple(sums) == member.sums or (flags & _DESCRIPTOR and not any(sums))
    if mark != _LOCAL_MARK or not same_sums or (flags, method) != (member.flags, member.method):
        raise fault(path, "a member's header contradicts the archive's directory", member.name, DISTRUST)
    if _decoded(path, raw, flags) != member.name:
        raise fault(path, "a member has two names", f"{member.name} and {raw!r}", DISTRUST)
    return _LOCAL.size + int(named) + int(extra)


def _check_descriptor(path: str, member: Member, data: bytes) -> None:
    marked = len(data) == _SUMS.size or data.startswith(_SUMS_MARK)
    if not marked or _SUMS.unpack(data[-_SUMS.size :]) != member.sums:
        raise fault(path, "a member's header contradicts the archive's directory", member.name, DISTRUST)


# -- contents --------------------------------------------------------------------------------------------------------


def chunks(archive: ArchiveFile, name: str) -> Iterator[bytes]:
    """A member's content piece by piece; it is right only once the last piece has come.

    Raises:
        StageError: There is no such member, or it isn't what its header says.
    """
    member = archive.members.get(name)
    if member is None:
        raise fault(archive.path, "the archive has no such member", name, "see `mltk summarize` for what it has")
    crc = count = 0
    packed = _packed(archive, member)
    try:
        for piece in packed if member.method == _STORED else _inflated(archive, member, packed):
            crc, count = zlib.crc32(piece, crc), count + len(piece)
            if count > member.size:
                raise fault(archive.path, "a member inflates to more than it says", name, DISTRUST)
            yield piece
    except zlib.error as error:
        raise fault(archive.path, "a member can't be inflated", name) from error
    if (crc, count) != (member.sums[0], member.size):
        raise fault(archive.path, "a member is damaged: its checksum or size is another one", name)


def _packed(archive: ArchiveFile, member: Member) -> Iterator[bytes]:
    """A member's bytes in the archive."""
    for offset in range(0, member.packed, _CHUNK):
        count = min(_CHUNK, member.packed - offset)
        yield _bytes_at(archive.path, archive.file, member.start + offset, count)


def _inflated(archive: ArchiveFile, member: Member, packed: Iterator[bytes]) -> Iterator[bytes]:
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    for data in packed:
        rest, is_full = data, False
        # A full piece may have more behind it, in the inflater alone.
        while (rest or is_full) and not inflate.eof:
            piece = inflate.decompress(rest, _CHUNK)
            rest, is_full = inflate.unconsumed_tail, len(piece) == _CHUNK
            yield piece
        if inflate.eof and (inflate.unused_data or rest):
            raise fault(archive.path, "a member has something behind its end", member.name, DISTRUST)
    if not inflate.eof:
        raise fault(archive.path, "a member is cut off", member.name)


def read_member(archive: ArchiveFile, name: str, limit: int) -> bytes:
    """A member's content.

    Args:
        archive: The archive.
        name: The member.
        limit: The most bytes that it may have.

    Raises:
        StageError: There is no such member, it is larger, or damaged.
    """
    member = archive.members.get(name)
    if member is not None and member.size > limit:
        found = f"{name}: {member.size:,} bytes"
        raise fault(archive.path, f"a member is larger than {limit:,} bytes", found, DISTRUST)
    return b"".join(chunks(archive, name))


def digest(archive: ArchiveFile, name: str | None = None) -> str:
    """SHA-256 of a member's content, or of the archive itself, hexadecimal.

    Raises:
        StageError: There is no such member, or it is damaged.
    """
    found = hashlib.sha256()
    for piece in _whole(archive) if name is None else chunks(archive, name):
        found.update(piece)
    return found.hexdigest()


def _whole(archive: ArchiveFile) -> Iterator[bytes]:
    for offset in range(0, archive.size, _CHUNK):
        yield _bytes_at(archive.path, archive.file, offset, min(_CHUNK, archive.size - offset))
