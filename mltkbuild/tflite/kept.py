"""What a `.tflite` holds beside what a rewrite changes, so that it is still there afterwards, or nothing is written.

Behind the flatbuffer may lie associated files, as TensorFlow's metadata writer packs them: a zip in the same file,
whose offsets count from the file's first byte. A later schema may have fields that this one doesn't know.
"""

from __future__ import annotations

import functools
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from mltkbuild.errors import StageError
from mltkbuild.tflite import claims
from mltkbuild.tflite.flatbuffer import ALIGNMENT

_END_OF_ZIP, _ENTRY = b"PK\x05\x06", b"PK\x01\x02"
# Of the end record and of an entry of the central directory, as PKWARE's APPNOTE has them.
_END_BYTES, _ENTRY_BYTES = 22, 46
_LONG = 0xFFFFFFFF
_FIX = "change it with the tool that made it, or remove what lies there first"


def behind(tflite: bytes) -> tuple[bytes, int]:
    """What lies behind the flatbuffer, and where it begins.

    Args:
        tflite: A file that `flatbuffer.load` reads.

    Raises:
        StageError: The file has a field that the schema doesn't know, so that nobody can tell what belongs to it.
    """
    try:
        end = max(_ends(tflite))
    except (struct.error, AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        raise _lost(f"a damaged flatbuffer: {error}") from error
    # Writers fill up with zeros behind the last value.
    aligned = -(-end // ALIGNMENT) * ALIGNMENT
    start = aligned if not any(tflite[end:aligned]) else end
    return tflite[start:], min(start, len(tflite))


def joined(flatbuffer: bytes, tail: bytes, start: int) -> bytes:
    """A flatbuffer with what lay behind another one from byte `start` on; a zip's offsets are moved with it."""
    if not tail:
        return flatbuffer
    padded = flatbuffer + bytes(-len(flatbuffer) % ALIGNMENT)
    return padded + _moved(tail, start, len(padded) - start)


def check(old: Any, new: Any) -> None:
    """Compare what was read of a file with what was written, both as objects of the schema.

    Raises:
        StageError: Something is another one than before.
    """
    difference = next(_differences(old, new, ""), None)
    if difference is not None:
        raise _lost(f"{difference} would come out another")


def _lost(found: str) -> StageError:
    return StageError("the file can't be written again as it is, so it was left alone", found=found, fix=_FIX)


def _differences(old: Any, new: Any, path: str) -> Iterator[str]:
    if isinstance(old, np.ndarray):
        if not isinstance(new, np.ndarray) or (old.dtype, old.tobytes()) != (new.dtype, new.tobytes()):
            yield path
    elif isinstance(old, list):
        if not isinstance(new, list) or len(old) != len(new):
            yield path
            return
        for place, pair in enumerate(zip(old, new, strict=True)):
            yield from _differences(*pair, f"{path}[{place}]")
    elif hasattr(old, "__dict__"):
        if type(old) is not type(new):
            yield path
            return
        for name, value in vars(old).items():
            yield from _differences(value, getattr(new, name), f"{path}.{name}".lstrip("."))
    # A NaN is like itself in its text alone.
    elif old != new and repr(old) != repr(new):
        yield path


# -- where the flatbuffer ends ---------------------------------------------------------------------------------------


class _Recorder:
    """Stands for a builder and notes which slot a field has."""

    def __init__(self) -> None:
        self.slot = -1

    def __getattr__(self, name: str) -> Any:
        return self._note

    def _note(self, slot: int, *_: object) -> None:
        self.slot = slot


@functools.cache
def _slots(kind: str) -> dict[str, int]:
    """The slot of each field of a table of the schema."""
    found = {}
    for name, add in vars(schema).items():
        field = name.removeprefix(f"{kind}Add")
        if field != name and hasattr(getattr(schema, kind), field):
            recorder = _Recorder()
            add(recorder, 0)
            found[field] = recorder.slot
    return found


def _ends(tflite: bytes) -> Iterator[int]:
    """Where each table, vector and text of a model ends.

    Raises:
        StageError: A table has a field that the schema doesn't know.
    """
    waiting = [schema.Model.GetRootAs(tflite, 0)]
    while waiting:
        table = waiting.pop()
        inner, slots, fields = table._tab, _slots(table.__class__.__name__), claims.fields_of(table.__class__)
        vtable = inner.Pos - _number(tflite, inner.Pos, "<i")
        yield vtable + _number(tflite, vtable, "<H")
        yield inner.Pos + _number(tflite, vtable + 2, "<H")
        _require_known(table, tflite, vtable, len(slots))
        for name in fields.numbers:
            if at := inner.Offset(4 + 2 * slots[name]):
                yield inner.Vector(at) + getattr(table, f"{name}AsNumpy")().nbytes
        for name in fields.items:
            if at := inner.Offset(4 + 2 * slots[name]):
                first, count = inner.Vector(at), inner.VectorLen(at)
                yield first + 4 * count
                values = [getattr(table, name)(place) for place in range(count)]
                waiting += [value for value in values if hasattr(value, "_tab")]
                texts = [place for place, value in enumerate(values) if isinstance(value, bytes)]
                yield from (_end_of_text(tflite, first + 4 * place) for place in texts)
        waiting += claims.unions_of(table)
        for name in fields.single:
            value, at = getattr(table, name)(), inner.Offset(4 + 2 * slots[name])
            if hasattr(value, "_tab"):
                waiting.append(value)
            elif isinstance(value, bytes) and at:
                yield _end_of_text(tflite, inner.Pos + at)


def _require_known(table: Any, tflite: bytes, vtable: int, known: int) -> None:
    count = (_number(tflite, vtable, "<H") - 4) // 2
    if any(_number(tflite, vtable + 4 + 2 * slot, "<H") for slot in range(known, count)):
        raise _lost(f"a field of {type(table).__name__} that a later version of TensorFlow Lite has")


def _end_of_text(tflite: bytes, at: int) -> int:
    text = at + _number(tflite, at, "<I")
    # A NUL ends it.
    return text + 4 + _number(tflite, text, "<I") + 1


def _number(data: bytes, at: int, form: str) -> int:
    return int(struct.unpack_from(form, data, at)[0])


# -- a zip behind it -------------------------------------------------------------------------------------------------


def _moved(tail: bytes, start: int, by: int) -> bytes:
    """A tail that began at byte `start`, with the offsets of a zip in it moved; of anything else, itself."""
    end = tail.rfind(_END_OF_ZIP)
    if end < 0 or end + _END_BYTES > len(tail) or not by:
        return tail
    count, size, offset = struct.unpack_from("<HII", tail, end + 10)
    if offset == _LONG or count == 0xFFFF:
        raise _lost("associated files in a zip of the 64-bit format")
    first = end - size
    # Some writers count from the zip's own first byte; then it may lie anywhere.
    if offset != start + first:
        return tail
    moved = bytearray(tail)
    struct.pack_into("<I", moved, end + 16, offset + by)
    place = first
    for _ in range(count):
        if tail[place : place + 4] != _ENTRY or place + _ENTRY_BYTES > end:
            raise _lost("a damaged zip behind the flatbuffer")
        struct.pack_into("<I", moved, place + 42, _number(tail, place + 42, "<I") + by)
        place += _ENTRY_BYTES + sum(struct.unpack_from("<HHH", tail, place + 28))
    return bytes(moved)
