"""Lists of many files with their stamps: the format on disk, and which files are no longer what a list says.

`file_lists` also runs this file as a process of its own, with the standard library alone, so that it begins at once:

    python -I -S file_scan.py LIST ROOT PART PARTS
"""

from __future__ import annotations

import os
import struct
import sys
from functools import partial
from itertools import chain, compress
from operator import attrgetter, ne

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Row = tuple[bytes, bytes, bytes, tuple[int, int, int, int] | None]
"""Folder with its closing slash, name, SHA-256 and stamp of a file; no stamp for one that must be read again."""

MAGIC = b"mltkbuild file list 1\n"
DIGEST = 32
_COUNTS = struct.Struct("<2Q")
_STAMP = struct.Struct("<3qQ")
_NO_STAMP = bytes(_STAMP.size)
_fields = attrgetter("st_size", "st_mtime_ns", "st_ctime_ns", "st_ino")


class Listing:
    """Files by folder, a row each; a plain class, because `dataclasses` takes longer to load than many files to check.

    Args:
        folders: Paths with a closing slash, relative to the workspace or absolute.
        counts: How many rows each folder has.
        names: The names of all rows.
        stamps: 32 bytes a row.
        digests: 32 bytes a row.
    """

    __slots__ = ("counts", "digests", "folders", "names", "stamps")

    def __init__(
        self, folders: Sequence[bytes], counts: Sequence[int], *, names: Sequence[bytes], stamps: bytes, digests: bytes
    ) -> None:
        self.folders = folders
        self.counts = counts
        self.names = names
        self.stamps = stamps
        self.digests = digests


def pack(rows: Sequence[Row]) -> bytes:
    """A list as bytes: head, rows a folder, stamps, digests, then the texts with a zero byte between them.

    Args:
        rows: At least one, sorted by folder.
    """
    counts: dict[bytes, int] = {}
    for folder, *_ in rows:
        counts[folder] = counts.get(folder, 0) + 1
    return b"".join(
        (
            MAGIC,
            _COUNTS.pack(len(counts), len(rows)),
            struct.pack(f"<{len(counts)}Q", *counts.values()),
            *(_packed_stamp(stamp) for _, _, _, stamp in rows),
            *(digest for _, _, digest, _ in rows),
            b"\0".join(chain(counts, (name for _, name, _, _ in rows))),
        )
    )


def _packed_stamp(stamp: tuple[int, int, int, int] | None) -> bytes:
    try:
        return _NO_STAMP if stamp is None else _STAMP.pack(*stamp)
    except struct.error:
        # A time beyond the year 2262: such a file is read each time.
        return _NO_STAMP


def unpack(data: bytes) -> Listing:
    """Read a list.

    Raises:
        ValueError: These bytes are no list, or one of another version.
    """
    start = len(MAGIC)
    if data[:start] != MAGIC or len(data) < start + _COUNTS.size:
        raise ValueError(f"it begins with {data[:start]!r}")
    folders, rows = _COUNTS.unpack_from(data, start)
    start += _COUNTS.size
    stamps = start + 8 * folders
    digests = stamps + _STAMP.size * rows
    texts = digests + DIGEST * rows
    words = data[texts:].split(b"\0") if texts <= len(data) else []
    if len(words) != folders + rows:
        raise ValueError(f"it has {len(words)} names, not {folders + rows}")
    counts = struct.unpack_from(f"<{folders}Q", data, start)
    if sum(counts) != rows:
        raise ValueError(f"its folders have {sum(counts)} files, not {rows}")
    return Listing(
        words[:folders], counts, names=words[folders:], stamps=data[stamps:digests], digests=data[digests:texts]
    )


def rows_of(listing: Listing) -> Iterable[Row]:
    """The rows of a list in their order."""
    folders = zip(listing.folders, listing.counts)  # noqa: B905  # `unpack` has compared their lengths
    places = chain.from_iterable([folder] * count for folder, count in folders)
    for row, (folder, name) in enumerate(zip(places, listing.names)):  # noqa: B905  # likewise
        packed = listing.stamps[row * _STAMP.size : (row + 1) * _STAMP.size]
        stamp = None if packed == _NO_STAMP else _STAMP.unpack(packed)
        yield folder, name, listing.digests[row * DIGEST : (row + 1) * DIGEST], stamp


def moved(listing: Listing, root: bytes, start: int, stop: int) -> list[int]:
    """The rows whose files have another stamp by now, have none in the list, or are gone.

    Args:
        listing: The list.
        root: Absolute path of the workspace.
        start: The first row to look at.
        stop: The row to end before.
    """
    found: list[int] = []
    first = 0
    for folder, count in zip(listing.folders, listing.counts, strict=True):
        low, high = max(first, start), min(first + count, stop)
        if low < high:
            stamps = listing.stamps[low * _STAMP.size : high * _STAMP.size]
            found += _moved_in(os.path.join(root, folder), listing.names[low:high], stamps, low)
        first += count
    return found


def _moved_in(folder: bytes, names: Sequence[bytes], stamps: bytes, first: int) -> Iterable[int]:
    """The rows of one folder that have moved: the folder's path is followed once, not for each file."""
    rows = range(first, first + len(names))
    if os.stat in os.supports_dir_fd:
        try:
            handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return _moved_singly(folder, names, stamps, first)
        try:
            found = map(_fields, map(partial(os.stat, dir_fd=handle), names))
            return list(compress(rows, map(ne, _STAMP.iter_unpack(stamps), found)))
        except (OSError, ValueError):
            pass
        finally:
            os.close(handle)
    return _moved_singly(folder, names, stamps, first)


def _moved_singly(folder: bytes, names: Sequence[bytes], stamps: bytes, first: int) -> Iterable[int]:
    """The same where a file is gone, or the folder can't be opened."""
    for row, (name, stamp) in enumerate(zip(names, _STAMP.iter_unpack(stamps), strict=True), first):
        try:
            same = _fields(os.stat(folder + name)) == stamp
        except (OSError, ValueError):
            same = False
        if not same:
            yield row


def share(rows: int, part: int, parts: int) -> tuple[int, int]:
    """The first row of one of several parts, and the row that it ends before."""
    return rows * part // parts, rows * (part + 1) // parts


def main(path: str, root: str, part: str, parts: str) -> None:
    """Write the number of moved rows in one part of a list, and the rows, 8 bytes each in the machine's order."""
    with open(path, "rb", buffering=0) as file:
        listing = unpack(file.read())
    found = moved(listing, os.fsencode(root), *share(len(listing.names), int(part), int(parts)))
    sys.stdout.buffer.write(struct.pack(f"={len(found) + 1}Q", len(found), *found))


if __name__ == "__main__":
    main(*sys.argv[1:])
