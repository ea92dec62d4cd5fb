"""What TensorFlow opens by itself: files of `tf.io`, the streams of `tf.data`, checkpoints."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from types import FrameType
from typing import Any

from mltkbuild.data import streams
from mltkbuild.disk.inputs import EXISTS, MODIFIED, SIZE
from mltkbuild.user_code.askers import Code
from mltkbuild.user_code.watched import Watched

STREAM = "TensorFlow opens files in this stream that"
"""What can't be watched, as the stages say it."""
_GRAPH = "TensorFlow opens files in a graph that"
_TRACES_STREAM = "structured_function.py"


def _path(value: Any) -> str | None:
    """The absolute path on this machine that a text is; None for any other value."""
    if not isinstance(value, str | bytes | os.PathLike):
        return None
    text = os.fsdecode(value)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    return None if not text or "://" in text else os.path.abspath(text)


def _paths(value: Any) -> list[str] | None:
    """The absolute paths that a text or a tensor of texts is; None where they aren't known yet."""
    if not isinstance(value, str | bytes | os.PathLike | list | tuple):
        value = sys.modules["tensorflow"].get_static_value(value)
        if value is None:
            return None
        value = value.ravel().tolist() if hasattr(value, "ravel") else value
    items = value if isinstance(value, list | tuple) else [value]
    return [path for path in map(_path, items) if path is not None]


# -- tf.io.gfile -----------------------------------------------------------------------------------------------------


def _read(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        watched.read(path, frame)


def _written(watched: Watched, frame: FrameType | None, name: Any, mode: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        both = "+" in str(mode)
        watched.read_or_write(path, frame, reads=both, told=both, empties="w" in str(mode))


def _exists(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        watched.ask(EXISTS, path, frame)


def _status(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        watched.ask(SIZE, path, frame)
        watched.ask(MODIFIED, path, frame)


def _children(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        watched.list_folder(path, frame)


def _removed(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    if path is not None:
        watched.remove_tree(path)


def _folder(watched: Watched, frame: FrameType | None, name: Any, *_: Any) -> None:
    path = _path(name)
    while path is not None and not os.path.lexists(path):
        watched.make_folder(path)
        path = os.path.dirname(path)


def _copied(watched: Watched, frame: FrameType | None, source: Any, target: Any, *_: Any) -> None:
    _read(watched, frame, source)
    _written(watched, frame, target, "w")


def _renamed(watched: Watched, frame: FrameType | None, source: Any, target: Any, *_: Any) -> None:
    paths = _path(source), _path(target)
    if paths[0] is not None and paths[1] is not None:
        watched.move(paths[0], paths[1])


def _matching(watched: Watched, frame: FrameType | None, pattern: Any, *_: Any, **__: Any) -> None:
    """Which files there are whose names match."""
    for path in _paths(pattern) or ():
        matching(watched, path, frame)


def matching(watched: Watched, path: str, frame: FrameType | None) -> None:
    """Code asks which files there are whose names match an absolute path."""
    if not glob.has_magic(path):
        watched.ask(EXISTS, path, frame)
    for folder in _folders_of(path):
        watched.list_folder(folder, frame)


def _folders_of(pattern: str) -> Iterator[str]:
    """The folders that must be listed to find what matches a pattern."""
    above = os.path.dirname(pattern)
    if glob.has_magic(above):
        yield from _folders_of(above)
        yield from (folder for folder in glob.glob(above) if os.path.isdir(folder))
    elif glob.has_magic(pattern):
        yield above


# -- operations ------------------------------------------------------------------------------------------------------


def _read_file(watched: Watched, frame: FrameType | None, filename: Any, *_: Any, **__: Any) -> None:
    paths = _paths(filename)
    if paths is None:
        # A stream's own functions are looked at when it is read.
        if not _in_stream(frame) and watched.askers.nearest(frame)[0] is Code.WORKSPACE:
            watched.unseen[_GRAPH] = None
        return
    for path in paths:
        watched.read(path, frame)


def _in_stream(frame: FrameType | None) -> bool:
    while frame is not None:
        if frame.f_code.co_filename.endswith(_TRACES_STREAM):
            return True
        frame = frame.f_back
    return False


def _checkpoint(watched: Watched, frame: FrameType | None, prefix: Any, *_: Any, **__: Any) -> None:
    """A checkpoint is some files whose names begin alike."""
    for path in _paths(prefix) or ():
        for found in (path, *glob.glob(glob.escape(path) + ".*")):
            if os.path.isfile(found):
                watched.read(found, frame)


def _saved(watched: Watched, frame: FrameType | None, prefix: Any, *_: Any, **__: Any) -> None:
    for path in _paths(prefix) or ():
        for end in (".index", ".data-00000-of-00001"):
            watched.make(path + end)


def _merged(watched: Watched, frame: FrameType | None, parts: object, prefix: Any, *_: Any, **__: Any) -> None:
    _saved(watched, frame, prefix)


def _records(watched: Watched, frame: FrameType | None, made: object, path: Any, *_: Any, **__: Any) -> None:
    _written(watched, frame, path, "w")


def _table(watched: Watched, frame: FrameType | None, table: object, filename: Any, *_: Any, **__: Any) -> None:
    _read_file(watched, frame, filename)


def _summaries(watched: Watched, frame: FrameType | None, writer: object, logdir: Any, *_: Any, **__: Any) -> None:
    """A writer of summaries makes files with names of its own in a folder."""
    for path in _paths(logdir) or ():
        _folder(watched, frame, path)
        watched.make(os.path.join(path, "events"))


# -- tf.data ---------------------------------------------------------------------------------------------------------


def _iterated(watched: Watched, frame: FrameType | None, made: object, dataset: Any = None, *_: Any, **__: Any) -> None:
    _streamed(watched, frame, dataset)


def _streamed(watched: Watched, frame: FrameType | None, dataset: Any, *_: Any, **__: Any) -> None:
    """The workspace's code reads a stream; of what a loader returns the stage itself takes care."""
    if dataset is None or watched.askers.nearest(frame)[0] is Code.BUILD:
        return
    paths = streams.files_of(dataset)
    for path in paths:
        watched.read_with_folder(os.path.abspath(path), frame)
    if not paths and streams.opens_files(dataset):
        watched.unseen[STREAM] = None


def _kept(watched: Watched, frame: FrameType | None, dataset: object, path: Any = "", *_: Any, **__: Any) -> None:
    """A stream keeps its samples in files; where there are some from before, it takes them and reads nothing else."""
    for kept in _paths(path) or ():
        watched.kept[kept] = None
        there = [found for found in glob.glob(glob.escape(kept) + "*") if os.path.isfile(found)]
        there += [os.path.join(folder, name) for folder, _, names in os.walk(kept) for name in names]
        for found in there:
            watched.read_or_write(found, frame, reads=True, told=False, empties=False)
        if not there:
            watched.remove_tree(kept)
            _saved(watched, frame, kept)


DOORS: Mapping[str, Mapping[str, Callable[..., None]]] = {
    "tensorflow.python.lib.io._pywrap_file_io": {
        "BufferedInputStream": _read,
        "WritableFile": _written,
        "FileExists": _exists,
        "IsDirectory": _exists,
        "Stat": _status,
        "GetChildren": _children,
        "GetMatchingFiles": _matching,
        "DeleteFile": _removed,
        "DeleteRecursively": _removed,
        "CreateDir": _folder,
        "RecursivelyCreateDir": _folder,
        "CopyFile": _copied,
        "RenameFile": _renamed,
    },
    "tensorflow.python.ops.gen_io_ops": {
        "read_file": _read_file,
        "matching_files": _matching,
        "restore_v2": _checkpoint,
        "save_v2": _saved,
        "merge_v2_checkpoints": _merged,
    },
    "tensorflow.python.ops.gen_lookup_ops": {"initialize_table_from_text_file_v2": _table},
    "tensorflow.python.ops.gen_summary_ops": {"create_summary_file_writer": _summaries},
    "tensorflow.python.lib.io.tf_record": {"TFRecordWriter.__init__": _records},
    # These are other objects than those of the module above, or keep them under another name.
    "tensorflow._api.v2.io": {"matching_files": _matching},
    "tensorflow._api.v2.raw_ops": {"ReadFile": _read_file, "MatchingFiles": _matching, "RestoreV2": _checkpoint},
    "tensorflow.python.training.py_checkpoint_reader": {"NewCheckpointReader": _checkpoint},
    "tensorflow.python.data.ops.iterator_ops": {"OwnedIterator.__init__": _iterated},
    "tensorflow.python.data.ops.dataset_ops": {
        "DatasetV2.reduce": _streamed,
        "DatasetV2.get_single_element": _streamed,
        "DatasetV2.cache": _kept,
        "DatasetV2.snapshot": _kept,
    },
}
