"""What a `.keras` or `.h5` file claims to hold, compared with what it has, before Keras reads any of it.

Keras has limits of its own; they begin at gigabytes, and those of links inside HDF5 came one release after another.
"""

from __future__ import annotations

import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mltkbuild.errors import StageError

_EXPANSION = 16
"""So many times its own size a file may unfold to; Keras compresses nothing."""
_SPARE = 64 << 20
_LONGEST_CONFIG = 64 << 20
_MOST_OBJECTS = 100_000
_FIX = "give a whole .keras or .h5 file as Keras saves it"


def check(path: Path) -> None:
    """Refuse a file that unfolds to far more than it has, or that leads to other files.

    Args:
        path: A `.keras` or `.h5` file.

    Raises:
        StageError: It does, or it is damaged.
    """
    with _told(path):
        compare(path)


def compare(path: Path) -> None:
    """Do what `check` does, and leave what is damaged to who asks.

    Raises:
        StageError: The file unfolds to far more than it has, or leads to other files.
        OSError, KeyError, ValueError, RuntimeError, TypeError, zipfile.BadZipFile: It is damaged.
    """
    size = os.path.getsize(path)
    if not zipfile.is_zipfile(path):
        _check_h5(path, size)
        return
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if len(members) > _MOST_OBJECTS:
            raise _refused(f"{len(members)} members")
        _limit(sum(member.file_size for member in members), size)
        for member in members:
            if member.filename.endswith(".json") and member.file_size > _LONGEST_CONFIG:
                raise _refused(f"{member.filename} of {member.file_size} bytes")
            if member.filename.endswith(".h5"):
                with archive.open(member) as weights:
                    _check_h5(weights, size)


@contextmanager
def _told(path: Path) -> Iterator[None]:
    try:
        yield
    except StageError as error:
        raise error.at(str(path)) from error
    # What zipfile and h5py raise on a damaged file.
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, NotImplementedError, zipfile.BadZipFile) as error:
        found = " ".join(str(error).split())[:200] or type(error).__name__
        raise StageError("the Keras model can't be loaded", where=path, found=found, fix=_FIX) from error


def _limit(claimed: int, size: int) -> None:
    if claimed > _EXPANSION * size + _SPARE:
        raise _refused(f"{size} bytes that unfold to {claimed}")


def _refused(found: str) -> StageError:
    return StageError("the Keras file claims more than it can hold", found=found, fix=_FIX)


def _check_h5(file: Any, size: int) -> None:
    import h5py

    claimed, seen = 0, set()
    with h5py.File(file, "r") as opened:
        waiting = [opened["/"]]
        while waiting:
            group = waiting.pop()
            for name in group:
                if isinstance(group.get(name, getlink=True), h5py.SoftLink | h5py.ExternalLink):
                    raise _leads_out(f"the link {group.name}/{name}")
                item = group[name]
                place = h5py.h5o.get_info(item.id).addr
                if place in seen:
                    continue
                seen.add(place)
                if len(seen) > _MOST_OBJECTS:
                    raise _refused(f"more than {_MOST_OBJECTS} objects")
                if isinstance(item, h5py.Group):
                    waiting.append(item)
                elif isinstance(item, h5py.Dataset):
                    if item.external or item.is_virtual:
                        raise _leads_out(f"the data set {item.name}")
                    claimed += item.size * item.dtype.itemsize if item.shape is not None else 0
                    _limit(claimed, size)


def _leads_out(found: str) -> StageError:
    return StageError("the Keras file leads to other files", found=found, fix=_FIX)
