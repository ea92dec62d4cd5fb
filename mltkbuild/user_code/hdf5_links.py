"""Other files that an HDF5 file leads to: external links, external storage and the sources of virtual data sets.

HDF5 opens them by itself. Where it looks for them: HDF5 Reference Manual, H5Pset_elink_prefix, H5Pset_external and
H5Pset_virtual.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from mltkbuild.disk.digests import stamp_of
from mltkbuild.disk.records import Stamp

_SAME_FILE = "."
_PREFIXES = ("HDF5_EXT_PREFIX", "HDF5_EXTFILE_PREFIX", "HDF5_VDS_PREFIX")
_ORIGIN = "${ORIGIN}"


def files_behind(path: str) -> tuple[str, ...]:
    """The absolute paths where HDF5 may look for the files that a file names, whether they are there or not.

    Args:
        path: Absolute path of a file, which need not be HDF5's.
    """
    stamp = stamp_of(path)
    folder = os.path.dirname(path)
    places = [_prefix(os.environ[name], folder) for name in _PREFIXES if name in os.environ]
    names = _names(path, stamp) if stamp is not None else ()
    found = (os.path.join(place, name) for name in names for place in (*places, folder, os.getcwd()))
    return tuple(dict.fromkeys(map(os.path.abspath, found)))


def _prefix(value: str, folder: str) -> str:
    return folder + value.removeprefix(_ORIGIN) if value.startswith(_ORIGIN) else value


@lru_cache(maxsize=1 << 14)
def _names(path: str, stamp: Stamp) -> tuple[str, ...]:
    """The names of other files in one file; none where it is no HDF5 file, or a damaged one."""
    # It is there wherever anything opens such a file, and too slow to load where nothing does.
    h5py: Any = importlib.import_module("h5py")
    try:
        with h5py.File(path, "r") as file:
            return tuple(dict.fromkeys([*_linked(h5py, file.id), *_stored(h5py, file.id)]))
    except (OSError, RuntimeError, ValueError, KeyError):
        # Whoever opens it now gets the same error.
        return ()


def _linked(h5py: Any, file: Any) -> Iterator[str]:
    names: list[bytes] = []

    def look(name: bytes, link: Any) -> None:
        if link.type == h5py.h5l.TYPE_EXTERNAL:
            names.append(name)

    file.links.visit(look, info=True)
    for name in names:
        yield os.fsdecode(file.links.get_val(name)[0])


def _stored(h5py: Any, file: Any) -> Iterator[str]:
    """Where the values of data sets lie, if not in the file."""
    names: list[bytes] = []

    def look(name: bytes, item: Any) -> None:
        if item.type == h5py.h5o.TYPE_DATASET:
            names.append(name)

    h5py.h5o.visit(file, look, info=True)
    for name in names:
        made = h5py.h5d.open(file, name).get_create_plist()
        for index in range(made.get_external_count()):
            yield os.fsdecode(made.get_external(index)[0])
        if made.get_layout() == h5py.h5d.VIRTUAL:
            sources = (made.get_virtual_filename(index) for index in range(made.get_virtual_count()))
            yield from (source for source in sources if source != _SAME_FILE)
