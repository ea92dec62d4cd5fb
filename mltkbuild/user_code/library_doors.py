"""Which functions of which libraries open files in native code, and what their arguments say about that."""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import FrameType
from typing import Any

from mltkbuild.user_code import hdf5_links, sqlite_doors, tensorflow_doors
from mltkbuild.user_code.children import process_started
from mltkbuild.user_code.events import opened
from mltkbuild.user_code.places import absolute
from mltkbuild.user_code.tensorflow_doors import matching
from mltkbuild.user_code.watched import Watched

Tell = Callable[..., None]
_NAMES = ("model_path", "font", "path", "filename", "source", "path_or_paths", "input_file", "where", "file")


@dataclass(frozen=True)
class After:
    """Takes what a function has returned, in place of its arguments."""

    tell: Tell


def _open_as(watched: Watched, frame: FrameType | None, path: Any, mode: str) -> None:
    if isinstance(path, str | bytes | os.PathLike):
        opened(watched, (path, mode, None), frame)


def _keyed(watched: Watched, frame: FrameType | None, file: Any, flag: str = "r", *_: Any, **__: Any) -> None:
    """A file of `dbm` or `shelve`, whose name some of its libraries end in `.db`."""
    name = os.fsdecode(file)
    for path in (name, name + ".db"):
        _open_as(watched, frame, path, {"r": "r", "n": "w"}.get(flag[:1], "r+"))


def _first(watched: Watched, frame: FrameType | None, *args: Any, **options: Any) -> None:
    """A function reads the path that it gets first, or by one of these names."""
    _open_as(watched, frame, args[0] if args else _by_name(options), "r")


def _by_mode(watched: Watched, frame: FrameType | None, path: Any, mode: Any = None, *_: Any, **__: Any) -> None:
    """A function opens the path that it gets first in a mode: letters, or a number that isn't 0 for writing."""
    letters = mode if isinstance(mode, str) else "w" if mode else "r"
    _open_as(watched, frame, path, letters)


def _made_of(watched: Watched, frame: FrameType | None, made: object, *args: Any, **options: Any) -> None:
    """An object reads the path that it is made of."""
    _first(watched, frame, *args, **options)


def _by_name(options: dict[str, Any]) -> Any:
    return next((options[name] for name in _NAMES if name in options), None)


def _sound(
    watched: Watched, frame: FrameType | None, made: object, file: Any, mode: str | None = "r", *_: Any, **__: Any
) -> None:
    path = absolute(file) if type(file) is str and mode == "r" else None
    if path is not None:
        # As most are opened, thousands of them.
        watched.read(path, frame)
    else:
        _open_as(watched, frame, file, mode or "r")


def _hdf5(watched: Watched, frame: FrameType | None, name: Any, flags: int = 1, *_: Any, **__: Any) -> None:
    _open_as(watched, frame, name, "r+" if flags & 1 else "r")
    _behind_hdf5(watched, name)


def _behind_hdf5(watched: Watched, name: Any) -> None:
    """The files that an HDF5 file leads to, which may lead further."""
    waiting, seen = [absolute(name)], set[str]()
    while waiting:
        path = waiting.pop()
        if path is None or path in seen:
            continue
        seen.add(path)
        for behind in hdf5_links.files_behind(path):
            # Nobody gave the library this path, but the file that it was given did.
            watched.read(behind, None)
            waiting.append(behind)


def _tables(watched: Watched, frame: FrameType | None, *args: Any, **options: Any) -> None:
    _first(watched, frame, *args, **options)
    _behind_hdf5(watched, args[0] if args else _by_name(options))


def _new_hdf5(watched: Watched, frame: FrameType | None, name: Any, *_: Any, **__: Any) -> None:
    _open_as(watched, frame, name, "w")


def _process(watched: Watched, frame: FrameType | None, process: Any) -> None:
    process_started(watched, (process._args, process._kwargs), frame)


def _all_below(watched: Watched, frame: FrameType | None, value: Any) -> None:
    """A path is read, or all files in a folder, or all that match a pattern, or each of several."""
    for item in value if isinstance(value, list | tuple) else [value]:
        path = absolute(item) if isinstance(item, str | bytes | os.PathLike) else None
        if path is None:
            continue
        if glob.has_magic(path) and not os.path.lexists(path):
            matching(watched, path, frame)
            _all_below(watched, frame, glob.glob(path, recursive=True))
        elif not os.path.isdir(path):
            watched.read(path, frame)
        for folder, _, names in os.walk(path):
            watched.list_folder(folder, frame)
            for name in names:
                watched.read(os.path.join(folder, name), frame)


def _whole(watched: Watched, frame: FrameType | None, *args: Any, **options: Any) -> None:
    """A function reads what it gets first: a file, a folder of files, several of them."""
    _all_below(watched, frame, args[0] if args else _by_name(options))


def _made_of_whole(watched: Watched, frame: FrameType | None, made: object, *args: Any, **options: Any) -> None:
    _whole(watched, frame, *args, **options)


def _data_set(watched: Watched, frame: FrameType | None, made: Any) -> None:
    """A data set of pyarrow's names its files."""
    for path in getattr(made, "files", ()):
        watched.read_with_folder(os.path.abspath(path), frame)


def _environment(watched: Watched, frame: FrameType | None, path: Any, *_: Any, **__: Any) -> None:
    """LMDB opens a file, or the two in a folder, to read and to write."""
    place = absolute(path)
    if place is None:
        return
    for file in [os.path.join(place, name) for name in ("data.mdb", "lock.mdb")] if os.path.isdir(place) else [place]:
        watched.read_or_write(file, frame, reads=True, told=not file.endswith("lock.mdb"), empties=False)


def _functions(tell: Tell, *names: str) -> dict[str, Tell | After]:
    return dict.fromkeys(names, tell)


def _classes(tell: Tell, *names: str) -> dict[str, Tell | After]:
    return {f"{name}.__init__": tell for name in names}


_ARROW: dict[str, Mapping[str, Tell | After]] = {
    "pyarrow": {**_functions(_by_mode, "memory_map", "OSFile"), **_functions(_first, "input_stream")},
    "pyarrow.csv": _functions(_first, "read_csv", "open_csv"),
    "pyarrow.dataset": {"dataset": After(_data_set)},
    "pyarrow.feather": _functions(_first, "read_table", "read_feather"),
    "pyarrow.json": _functions(_first, "read_json", "open_json"),
    "pyarrow.orc": {**_functions(_first, "read_table"), **_classes(_made_of, "ORCFile")},
    "pyarrow.parquet": _functions(_whole, "read_table", "read_pandas", "read_metadata", "read_schema"),
    "pyarrow.parquet.core": {
        **_functions(_whole, "read_table", "read_pandas", "read_metadata", "read_schema"),
        **_classes(_made_of_whole, "ParquetFile", "ParquetDataset"),
    },
}
_POLARS = (
    *("read_csv", "scan_csv", "read_csv_batched", "read_parquet", "scan_parquet", "read_parquet_schema"),
    *("read_parquet_metadata", "read_ipc", "scan_ipc", "read_ipc_schema", "read_ndjson", "scan_ndjson", "read_json"),
    *("read_avro", "scan_lines", "read_lines"),
)
DOORS: Mapping[str, Mapping[str, Tell | After]] = {
    "multiprocessing.process": {"BaseProcess.start": _process},
    "dbm.gnu": {"open": _keyed},
    "dbm.ndbm": {"open": _keyed},
    "soundfile": {"SoundFile.__init__": _sound},
    "h5py.h5f": {"open": _hdf5, "create": _new_hdf5, "is_hdf5": _first},
    "PIL.ImageFont": _classes(_made_of, "FreeTypeFont"),
    "tensorflow.lite.python.interpreter": _classes(_made_of, "Interpreter"),
    "ai_edge_litert.interpreter": _classes(_made_of, "Interpreter"),
    "av": _functions(_by_mode, "open"),
    "cv2": {**_functions(_first, "imread", "imreadmulti", "VideoCapture"), **_functions(_by_mode, "FileStorage")},
    "lmdb": _functions(_environment, "open", "Environment"),
    "pandas": {**_functions(_first, "read_feather", "read_orc"), **_functions(_whole, "read_parquet")},
    "polars": _functions(_whole, *_POLARS),
    "sqlite3": {"connect": After(sqlite_doors.connected)},
    "sqlite3.dbapi2": {"connect": After(sqlite_doors.connected)},
    "tables": {"open_file": _tables},
    **_ARROW,
    **tensorflow_doors.DOORS,
}
"""The functions of a module, with what to tell as they are called."""
